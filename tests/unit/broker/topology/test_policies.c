/* SPDX-License-Identifier: Apache-2.0 */
/* Which policy applies to what, that a change is in force at once, and that many queues do not keep
 * a tick. */
#include "broker/topology/policies.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>

#include <stdio.h>

#include "amqp/table.h"
#include "tests/unit/broker/messaging.h"

static struct rig *rig;
static uint64_t client;
static char why[1024];

static void
set_up(void)
{
    rig = messaging_rig(NULL);
    client = messaging_client(rig);
}

static void
tear_down(void)
{
    rig_free(&rig);
}

TestSuite(policies, .init = set_up, .fini = tear_down);

static enum status
apply_text(const char *text)
{
    struct config_environment environment = {0};
    char whole[4096];
    (void)snprintf(whole, sizeof(whole), "bourse: 1\n%slisteners: {amqp: {bind: '127.0.0.1:0'}}\n",
                   text);
    struct config *config =
        config_read_text("p.yaml", bytes_of(whole), CONFIG_FOR_SERVE, &environment);
    for (size_t i = 0; i < config->report.count; i++) {
        cr_assert(ne(int, config->report.items[i].severity, CONFIG_ERROR), "%s",
                  config->report.items[i].text);
    }
    /* The client's user is in every file: one that left it would lose its connection. */
    char hash[RIG_HASH_SIZE];
    struct config_user user = rig_user("u", rig_slow_hash("p", hash));
    config->users = &user;
    config->user_count = 1;
    enum status status = core_apply(rig->core, config, why, sizeof(why));
    config->user_count = 0;
    config_free(&config);
    rig_turn(rig);
    return status;
}

static void
apply(const char *text)
{
    cr_assert(eq(int, apply_text(text), STATUS_OK), "%s", why);
}

static struct queue *
queue_called(const char *name)
{
    struct queue *queue = vhost_find_queue(rig_vhost(rig), bytes_of(name));
    cr_assert(ne(ptr, queue, NULL), "%s", name);
    return queue;
}

static struct exchange *
exchange_called(const char *name)
{
    struct exchange *exchange = vhost_find_exchange(rig_vhost(rig), bytes_of(name));
    cr_assert(ne(ptr, exchange, NULL), "%s", name);
    return exchange;
}

static void
make_queue(const char *name, const char *type)
{
    struct buffer arguments;
    struct fault fault;
    buffer_init(&arguments);
    if (type != NULL) {
        table_put_text(&arguments, "x-queue-type", bytes_of(type));
    }
    struct queue_properties properties = {
        .name = bytes_of(name), .durable = true, .arguments = buffer_bytes(&arguments)};
    cr_assert(eq(int, vhost_declare_queue(rig_vhost(rig), &properties, NULL, &fault), STATUS_OK));
    buffer_fini(&arguments);
}

/* "NAME OPERATOR-NAME" of what applies to the queue, "-" for none. */
static const char *
applied(const char *queue)
{
    static char text[128];
    const struct policy *policy = queue_policy(queue_called(queue), POLICY_ORDINARY);
    const struct policy *above = queue_policy(queue_called(queue), POLICY_OPERATOR);
    (void)snprintf(text, sizeof(text), "%.*s %.*s",
                   BYTES_FORMAT(policy == NULL ? bytes_of("-") : policy->is.name),
                   BYTES_FORMAT(above == NULL ? bytes_of("-") : above->is.name));
    return text;
}

Test(policies, the_highest_priority_that_matches_applies_alone)
{
    make_queue("orders.eu", NULL);
    make_queue("orders.us", NULL);
    make_queue("mail", NULL);
    apply("policies:\n"
          "  low: {pattern: '.*', definition: {max-length: 1, message-ttl: 9}}\n"
          "  high: {pattern: '^orders', priority: 5, definition: {max-length: 2}}\n"
          "  eu: {pattern: 'eu$', priority: 7, definition: {expires: 3}}\n");
    cr_expect(eq(str, (char *)applied("orders.eu"), "eu -"));
    cr_expect(eq(str, (char *)applied("orders.us"), "high -"));
    cr_expect(eq(str, (char *)applied("mail"), "low -"));
    cr_expect(eq(i64, queue_called("orders.eu")->settings->max_length, -1));
    cr_expect(eq(i64, queue_called("orders.us")->settings->max_length, 2));
    cr_expect(eq(i64, queue_called("orders.us")->settings->message_ttl_ms, -1), "alone");
    cr_expect(eq(i64, queue_called("mail")->settings->message_ttl_ms, 9));
}

/* RabbitMQ leaves it open; here it is the same in every run. */
Test(policies, of_equal_priorities_the_first_name_applies)
{
    apply("policies:\n"
          "  b: {pattern: '.*', definition: {max-length: 1}}\n"
          "  a: {pattern: '.*', definition: {max-length: 2}}\n"
          "  ab: {pattern: '.*', definition: {max-length: 3}}\n");
    make_queue("q", NULL);
    cr_expect(eq(str, (char *)applied("q"), "a -"));
}

Test(policies, operator_policies_are_matched_by_themselves_and_limit_the_others)
{
    make_queue("q", NULL);
    make_queue("free", NULL);
    apply("policies:\n  mine: {pattern: '^q$', definition: {max-length: 10, expires: 7}}\n"
          "operator-policies:\n"
          "  mine: {pattern: '.*', definition: {max-length: 20}}\n"
          "  tight: {pattern: '^q', priority: 1, definition: {max-length: 5, message-ttl: 4}}\n");
    cr_expect(eq(str, (char *)applied("q"), "mine tight"));
    cr_expect(eq(str, (char *)applied("free"), "- mine"));
    const struct queue_settings *settings = queue_called("q")->settings;
    cr_expect(eq(i64, settings->max_length, 5));
    cr_expect(eq(i64, settings->expires_ms, 7));
    cr_expect(eq(i64, settings->message_ttl_ms, 4));
    cr_expect(
        eq(int, queue_settings_source(settings, SETTING_MAX_LENGTH), SETTING_FROM_OPERATOR_POLICY));
    cr_expect(eq(int, queue_settings_source(settings, SETTING_EXPIRES), SETTING_FROM_POLICY));
    cr_expect(eq(int, queue_settings_source(settings, SETTING_OVERFLOW), SETTING_IS_DEFAULT));
}

Test(policies, apply_to_says_which_objects)
{
    static const struct {
        const char *apply_to;
        bool classic, quorum, exchange;
    } rows[] = {
        {"all", true, true, true},
        {"queues", true, true, false},
        {"classic_queues", true, false, false},
        {"quorum_queues", false, true, false},
        {"streams", false, false, false},
        {"exchanges", false, false, true},
    };
    make_queue("c", "classic");
    make_queue("q", "quorum");
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char text[256];
        (void)snprintf(text, sizeof(text),
                       "policies: {p: {pattern: '.', apply-to: %s, definition: "
                       "{federation-upstream: x}}}\n",
                       rows[i].apply_to);
        apply(text);
        cr_expect(eq(int, strcmp(applied("c"), "p -") == 0, rows[i].classic), "row %zu", i);
        cr_expect(eq(int, strcmp(applied("q"), "p -") == 0, rows[i].quorum), "row %zu", i);
        cr_expect(eq(int, exchange_called("amq.topic")->policy != NULL, rows[i].exchange),
                  "row %zu", i);
    }
}

/* What is made later is under the policy from its first moment on, whoever makes it. */
Test(policies, a_new_queue_is_under_them_at_once)
{
    apply("policies: {p: {pattern: '^q', definition: {max-length: 3}}}\n");
    declare_queue(rig, client, "q1");
    declare_queue(rig, client, "other");
    cr_expect(eq(i64, queue_called("q1")->settings->max_length, 3));
    cr_expect(eq(i64, queue_called("other")->settings->max_length, -1));
}

/* Strict equivalence is about what was declared: a policy changes nothing of it. */
Test(policies, do_not_change_what_a_redeclaration_is_compared_with)
{
    declare_queue(rig, client, "q");
    apply("policies: {p: {pattern: '.*', definition: {message-ttl: 3}}}\n");
    declare_queue(rig, client, "q");
    cr_expect(eq(i64, queue_called("q")->settings->message_ttl_ms, 3));
    cr_expect(eq(sz, queue_called("q")->arguments.size, 0));
}

/* Lowered by a policy, a limit trims the queue before anything else is published. */
Test(policies, a_lower_limit_cuts_the_queue_at_once)
{
    make_queue("q", NULL);
    publish_numbers(rig, client, "q", 1, 9);
    apply("policies: {p: {pattern: '.*', definition: {max-length: 3}}}\n");
    rig_turn(rig);
    cr_expect(eq(u64, ready_count(rig, "q"), 3));
    const struct posted *oldest = get_message(rig, client, "q", true);
    cr_expect(bytes_equal_text(oldest->body, "7"));
}

Test(policies, a_changed_policy_is_in_force_at_once_and_one_that_left_the_file_stays)
{
    make_queue("q", NULL);
    apply("policies: {p: {pattern: '.*', definition: {max-length: 3}}}\n");
    cr_expect(eq(i64, queue_called("q")->settings->max_length, 3));
    apply("policies: {p: {pattern: '.*', definition: {max-length: 4}}}\n");
    cr_expect(eq(i64, queue_called("q")->settings->max_length, 4));
    apply("");
    cr_expect(eq(i64, queue_called("q")->settings->max_length, 4));
    cr_expect(rig_logged(rig, "event=topology.left_file kind=policy vhost=\"/\" name=\"p\""));
    buffer_clear(&rig->log_text);
    apply("");
    cr_expect(not(rig_logged(rig, "topology.left_file")), "told once");
    apply("policies: {p: {pattern: 'x', definition: {max-length: 4}}}\n");
    cr_expect(eq(i64, queue_called("q")->settings->max_length, -1));
    cr_expect(eq(ptr, (void *)queue_called("q")->settings, (void *)queue_settings_default()));
}

/* The same file again has nothing to do, however many queues there are. */
Test(policies, an_unchanged_policy_matches_nothing_anew)
{
    make_queue("q", NULL);
    apply("policies: {p: {pattern: '.*', definition: {max-length: 3, expires: 5}}}\n");
    cr_expect(rig_logged(rig, "event=policy.matched vhost=\"/\" objects=9 changed=9"));
    buffer_clear(&rig->log_text);
    apply("policies: {p: {definition: {expires: 5, max-length: 3}, pattern: '.*'}}\n");
    cr_expect(not(rig_logged(rig, "policy.")));
}

Test(policies, a_policy_can_be_deleted)
{
    make_queue("q", NULL);
    apply("policies: {p: {pattern: '.*', priority: 2, definition: {max-length: 3}},\n"
          "           r: {pattern: '.*', definition: {max-length: 7}}}\n");
    struct vhost *vhost = rig_vhost(rig);
    vhost_delete_policy(vhost, vhost_find_policy(vhost, POLICY_ORDINARY, bytes_of("p")));
    cr_expect(eq(i64, queue_called("q")->settings->max_length, 3), "until it is matched anew");
    vhost_match_policies_anew(vhost);
    cr_expect(eq(i64, queue_called("q")->settings->max_length, 7));
    vhost_delete_policy(vhost, vhost_find_policy(vhost, POLICY_ORDINARY, bytes_of("r")));
    vhost_match_policies_anew(vhost);
    cr_expect(eq(str, (char *)applied("q"), "- -"));
}

/* A change of arguments under a policy keeps both. */
Test(policies, arguments_that_change_are_put_together_with_the_policy)
{
    apply("queues: {q: {ttl: 1h, expires: 2h}}\n"
          "policies: {p: {pattern: '.*', definition: {message-ttl: 5000, max-length: 9}}}\n");
    const struct queue *queue = queue_called("q");
    cr_expect(eq(i64, queue->settings->message_ttl_ms, 5000));
    cr_expect(eq(i64, queue->settings->expires_ms, 7200000));
    apply("queues: {q: {ttl: 1s}}\n"
          "policies: {p: {pattern: '.*', definition: {message-ttl: 5000, max-length: 9}}}\n");
    cr_expect(eq(i64, queue->settings->message_ttl_ms, 1000));
    cr_expect(eq(i64, queue->settings->expires_ms, -1));
    cr_expect(eq(i64, queue->settings->max_length, 9));
    queue_check(queue);
}

/* What waits for a consumer too long under the new timeout goes back, though it was handed out
 * under the old one. */
Test(policies, a_consumer_timeout_holds_for_deliveries_that_are_open)
{
    declare_queue(rig, client, "q");
    consume(rig, client, 1, "q", "c", false);
    publish_text(rig, client, "q", "slow");
    (void)expect_delivery(rig, client, "slow");
    rig_step(rig, 60000);
    rig_expect_nothing(rig, client);
    apply("policies: {p: {pattern: '.*', definition: {consumer-timeout: 5000}}}\n");
    rig_step(rig, 10);
    (void)rig_expect(rig, client, 1, METHOD_BASIC_CANCEL);
    cr_expect(eq(u64, queue_called("q")->ready_count, 1));
}

/* A queue that is gone and still has an open delivery keeps what it was under. */
Test(policies, a_deleted_queue_outlives_its_policy)
{
    apply("policies: {p: {pattern: '.*', definition: {dead-letter-exchange: somewhere}}}\n");
    make_queue("q", NULL);
    struct queue *queue = queue_ref(queue_called("q"));
    struct vhost *vhost = rig_vhost(rig);
    (void)vhost_delete_queue(vhost, queue);
    vhost_delete_policy(vhost, vhost_find_policy(vhost, POLICY_ORDINARY, bytes_of("p")));
    vhost_match_policies_anew(vhost);
    cr_expect(bytes_equal_text(queue->settings->dead_letter_exchange, "somewhere"));
    queue_unref(&queue);
}

/* Exchanges ---------------------------------------------------------------------------------- */

Test(policies, an_alternate_exchange_takes_what_is_unrouted_at_once)
{
    declare_exchange(rig, client, "orders", "topic", NULL);
    declare_exchange(rig, client, "lost", "fanout", NULL);
    declare_queue(rig, client, "found");
    bind_queue(rig, client, "found", "lost", "");
    rig_publish(rig, client, 1, "orders", "k", "before");
    cr_expect(eq(u64, queue_called("found")->ready_count, 0));
    apply("policies: {p: {pattern: '^orders$', apply-to: exchanges,\n"
          "               definition: {alternate-exchange: lost}}}\n");
    rig_publish(rig, client, 1, "orders", "k", "after");
    cr_expect(eq(u64, queue_called("found")->ready_count, 1));
    apply("policies: {p: {pattern: '^other$', apply-to: exchanges,\n"
          "               definition: {alternate-exchange: lost}}}\n");
    rig_publish(rig, client, 1, "orders", "k", "and after");
    cr_expect(eq(u64, queue_called("found")->ready_count, 1));
}

Test(policies, an_argument_wins_over_an_alternate_exchange_of_a_policy)
{
    apply("exchanges: {orders: {unrouted: a}, a: {}, b: {}}\n"
          "policies: {p: {pattern: '^orders$', definition: {alternate-exchange: b}}}\n");
    const struct exchange *orders = exchange_called("orders");
    cr_expect(bytes_equal_text(orders->alternate, "a"));
    apply("exchanges: {orders: {}, a: {}, b: {}}\n"
          "policies: {p: {pattern: '^orders$', definition: {alternate-exchange: b}}}\n");
    cr_expect(bytes_equal_text(orders->alternate, "b"));
    vhost_delete_exchange(rig_vhost(rig), exchange_called("orders"));
}

/* Much to do ----------------------------------------------------------------------------------- */

/* So many queues, and rules that have to be run for each of them, that one tick cannot do. */
static void
make_much(uint32_t queue_count, uint32_t rule_count)
{
    char name[32];
    struct buffer definition;
    buffer_init(&definition);
    table_put_integer(&definition, "max-length", 5);
    for (uint32_t i = 0; i < queue_count; i++) {
        (void)snprintf(name, sizeof(name), "q%u", i);
        make_queue(name, NULL);
    }
    for (uint32_t i = 0; i < rule_count; i++) {
        bool is_last = i + 1 == rule_count;
        (void)snprintf(name, sizeof(name), is_last ? "q" : "nobody%u", i);
        struct policy_properties properties = {
            .name = bytes_of(name),
            .pattern = bytes_of(name),
            .priority = -(int32_t)i,
            .definition = buffer_bytes(&definition),
        };
        cr_assert(eq(int, vhost_put_policy(rig_vhost(rig), &properties), STATUS_OK));
    }
    buffer_fini(&definition);
}

static uint32_t
count_under_policy(void)
{
    uint32_t count = 0;
    uint32_t position = 0;
    const struct map_entry *entry;
    while ((entry = map_next(&rig_vhost(rig)->queues, &position)) != NULL) {
        const struct queue *queue = entry->value;
        count += queue->settings->max_length == 5;
    }
    return count;
}

/* 2,000 queues and 100 policies that none of them matches: some ten ticks. The last queue is
 * matched as well, queues that are made meanwhile at once, and those that go are no trouble. */
Test(policies, a_walk_takes_as_many_ticks_as_it_needs)
{
    enum { QUEUES = 2000, RULES = 100 };
    make_much(QUEUES, RULES);
    vhost_match_policies_anew(rig_vhost(rig));
    uint32_t in_first = count_under_policy();
    cr_expect(lt(u32, 0, in_first));
    cr_expect(lt(u32, in_first, QUEUES / 2));
    cr_expect(eq(u64, core_wait_ms(rig->core), 0));
    make_queue("q-new", NULL);
    cr_expect(eq(str, (char *)applied("q-new"), "q -"));
    (void)vhost_delete_queue(rig_vhost(rig), queue_called("q3"));
    uint32_t ticks = 1;
    for (; core_wait_ms(rig->core) == 0; ticks++) {
        rig_turn(rig);
        cr_assert(lt(u32, ticks, 100));
    }
    cr_expect(lt(u32, 4, ticks));
    cr_expect(eq(u32, count_under_policy(), QUEUES));
    cr_expect(rig_logged(rig, "event=policy.matched"));
}

/* A second change begins anew, and no queue is left under what was replaced. */
Test(policies, a_change_during_a_walk_begins_it_anew)
{
    enum { QUEUES = 2000, RULES = 100 };
    make_much(QUEUES, RULES);
    struct vhost *vhost = rig_vhost(rig);
    vhost_match_policies_anew(vhost);
    rig_turn(rig);
    vhost_delete_policy(vhost, vhost_find_policy(vhost, POLICY_ORDINARY, bytes_of("q")));
    vhost_match_policies_anew(vhost);
    while (core_wait_ms(rig->core) == 0) {
        rig_turn(rig);
    }
    cr_expect(eq(u32, count_under_policy(), 0));
}

/* At a start nobody waits, and nothing may happen to a queue that is not under its policies yet. */
Test(policies, before_the_first_connection_all_is_done_at_once)
{
    enum { QUEUES = 2000, RULES = 100 };
    rig_free(&rig);
    rig = messaging_rig(NULL);
    make_much(QUEUES, RULES);
    vhost_match_policies_anew(rig_vhost(rig));
    cr_expect(eq(u32, count_under_policy(), QUEUES));
}

/* Refusals ------------------------------------------------------------------------------------- */

/* The file was examined before; whoever calls the core is told as well, and nothing changes. */
Test(policies, a_file_with_a_bad_policy_changes_nothing)
{
    static const struct {
        const char *text, *told;
    } rows[] = {
        {"policies: {p: {pattern: 'a(', definition: {expires: 1}}}\n",
         "p.yaml:2:12: error: the pattern does not compile: missing closing parenthesis, at offset "
         "2"},
        {"policies: {p: {pattern: a, definition: {expires: 0}}}\n",
         "p.yaml:2:12: error: 0 is not a valid queue expiry ({value_zero,0}); it takes "
         "milliseconds "
         "from 1 to 315360000000"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        cr_expect(eq(int, apply_text(rows[i].text), STATUS_REJECTED));
        cr_expect(eq(str, why, (char *)rows[i].told));
        cr_expect(eq(ptr, vhost_policy_at(rig_vhost(rig), POLICY_ORDINARY, 0), NULL));
    }
}

/* It must not take the core's time, and nobody can say what it means. */
Test(policies, a_pattern_that_explodes_matches_nothing_and_is_told)
{
    apply("policies: {p: {pattern: '^(a+)+$', definition: {max-length: 1}}}\n");
    make_queue("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaab", NULL);
    cr_expect(eq(str, (char *)applied("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaab"), "- -"));
    cr_expect(rig_logged(rig, "event=policy.pattern_too_costly policy=\"p\""));
}

Test(policies, keys_without_effect_are_told_once_for_each_change)
{
    apply("policies: {p: {pattern: x, definition: {federation-upstream: u, max-age: 1h}}}\n");
    cr_expect(rig_logged(rig, "event=policy.keys_without_effect vhost=\"/\" policy=\"p\" "
                              "keys=\"federation-upstream, max-age\""));
    buffer_clear(&rig->log_text);
    apply("policies: {p: {pattern: x, definition: {federation-upstream: u, max-age: 1h}}}\n");
    cr_expect(not(rig_logged(rig, "policy.keys_without_effect")));
}

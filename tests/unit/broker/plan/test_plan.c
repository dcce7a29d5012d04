/* SPDX-License-Identifier: Apache-2.0 */
/* Plans: what applying a configuration would do, as an operator reads it; applying them; what has
 * drifted since. */
#include "broker/plan/plan.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <stdio.h>

#include "base/assert.h"
#include "broker/changes/audit.h"
#include "broker/plan/apply.h"
#include "tests/unit/broker/messaging.h"

static struct rig *rig;
static struct buffer text;
static char why[1024];
static uint64_t client;

static void
set_up(void)
{
    rig = messaging_rig(NULL);
    client = messaging_client(rig);
    core_find_user(rig->core, bytes_of("u"))->from_file = false; /* a client's, not a file's */
    buffer_init(&text);
}

static void
tear_down(void)
{
    buffer_fini(&text);
    rig_free(&rig);
}

TestSuite(plan, .init = set_up, .fini = tear_down);

/* Configurations ------------------------------------------------------------------------------ */

static const char *
get_variable(void *context, const char *name)
{
    (void)context;
    return strcmp(name, "SECRET") == 0 ? "canary" : NULL;
}

static struct config *
read_as(const char *yaml, enum config_purpose purpose)
{
    struct config_environment environment = {.get_variable = get_variable};
    struct config *config = config_read_text("shop.yaml", bytes_of(yaml), purpose, &environment);
    for (size_t i = 0; i < config->report.count; i++) {
        cr_assert(ne(int, config->report.items[i].severity, CONFIG_ERROR), "%s",
                  config->report.items[i].text);
    }
    return config;
}

static struct config *
read_yaml(const char *yaml)
{
    return read_as(yaml, CONFIG_FOR_SERVE);
}

/* Adds the octets of one text after the other: a configuration in parts. */
static const char *
joined(const char *first, const char *second)
{
    static char all[4096];
    (void)snprintf(all, sizeof(all), "%s%s", first, second);
    return all;
}

static const char *
plan_text_of(const char *yaml, const struct plan_options *options)
{
    static const struct plan_options plain = {.prune = false};
    struct config *config = read_yaml(yaml);
    struct plan *plan = plan_make(rig->core, config, options == NULL ? &plain : options);
    buffer_clear(&text);
    plan_put_text(&text, plan);
    buffer_put_u8(&text, 0);
    plan_free(&plan);
    config_free(&config);
    return (const char *)buffer_bytes(&text).data;
}

static enum status
apply_with(const char *yaml, const struct apply_options *options, struct apply_result *result)
{
    struct config *config = read_yaml(yaml);
    why[0] = '\0';
    enum status status = core_apply_as(rig->core, config, options, result, why, sizeof(why));
    plan_free(&result->plan);
    config_free(&config);
    rig_turn(rig);
    return status;
}

static enum status
apply_as(const char *yaml, enum generation_cause cause)
{
    struct apply_options options = {.cause = cause, .maker = bytes_of("oncall")};
    struct apply_result result;
    return apply_with(yaml, &options, &result);
}

static void
apply(const char *yaml)
{
    cr_assert(eq(int, apply_as(yaml, GENERATION_APPLY), STATUS_OK), "%s", why);
}

static uint64_t
generation(void)
{
    const struct generation *newest = core_generation_at(rig->core, 0);
    return newest == NULL ? 0 : newest->id;
}

static void
expect_text(const char *found, const char *expected)
{
    cr_expect(eq(str, (char *)found, (char *)expected));
}

static const char shop[] =
    "bourse: 1\n"
    "exchanges: {orders: {type: topic, unrouted: dead}, dead: {type: topic}}\n"
    "queues:\n"
    "  billing:\n"
    "    from: [{exchange: orders, key: 'order.#'}]\n"
    "    ttl: 5m\n"
    "    limits: {max-bytes: 2GiB, on-full: drop-oldest}\n"
    "    retry: {first: 2s, max: 5m, then: dead}\n"
    "    alert: {ready-above: 10, oldest-above: 1h}\n"
    "  dlq: {from: [{exchange: dead, key: '#'}]}\n"
    "listeners: {amqp: {bind: '127.0.0.1:0'}}\n"
    "protect: [dlq]\n";

static const char shop_users[] = "users:\n"
                                 "  billing:\n"
                                 "    auth: password\n"
                                 "    password-env: SECRET\n"
                                 "    consume: [billing]\n"
                                 "    publish: [orders]\n"
                                 "    topics: {orders: [order.*.paid]}\n"
                                 "    role: operator\n";

/* The text ------------------------------------------------------------------------------------ */

/* In the words of the file, in an order that does not depend on the file's. */
Test(plan, says_what_would_be_made_in_the_words_of_the_file)
{
    expect_text(plan_text_of(joined(shop, shop_users), NULL),
                "Plan for vhost /: 7 to create\n"
                "\n"
                "+ exchange dead\n"
                "      type: topic\n"
                "+ exchange orders\n"
                "      type: topic\n"
                "      unrouted: dead\n"
                "+ queue billing\n"
                "      alert.oldest-above: 1h\n"
                "      alert.ready-above: 10\n"
                "      dead-letter.exchange: dead\n"
                "      limits.max-bytes: 2GiB\n"
                "      limits.on-full: drop-oldest\n"
                "      retry: all\n"
                "      retry.attempts: 6\n"
                "      retry.factor: 2\n"
                "      retry.first: 2s\n"
                "      retry.jitter: 20%\n"
                "      retry.max: 5m\n"
                "      ttl: 5m\n"
                "+ queue dlq\n"
                "      protect: true\n"
                "+ binding dead -> dlq (key #)\n"
                "+ binding orders -> billing (key order.#)\n"
                "+ user billing\n"
                "      auth: password\n"
                "      role: operator\n"
                "      may publish to orders\n"
                "      may consume from billing\n"
                "      publishes to orders only with keys order.*.paid\n");
}

Test(plan, of_what_was_applied_says_that_there_is_nothing_to_do)
{
    apply(joined(shop, shop_users));
    expect_text(plan_text_of(joined(shop, shop_users), NULL), "Plan for vhost /: nothing to do\n");
}

/* Making a plan is asking: neither the core nor its digest is another afterwards. */
Test(plan, changes_nothing)
{
    struct config *config = read_yaml(shop);
    const struct plan_options options = {.prune = true};
    struct plan *first = plan_make(rig->core, config, &options);
    struct plan *second = plan_make(rig->core, config, &options);
    cr_expect(eq(u64, first->digest, second->digest));
    cr_expect(eq(ptr, vhost_find_queue(rig_vhost(rig), bytes_of("billing")), NULL));
    cr_expect(eq(sz, (size_t)generation(), 0));
    plan_free(&first);
    plan_free(&second);
    config_free(&config);
}

Test(plan, says_old_and_new_of_what_changes_in_place)
{
    apply(shop);
    expect_text(plan_text_of("bourse: 1\n"
                             "exchanges: {orders: {type: topic}, dead: {type: topic}}\n"
                             "queues:\n"
                             "  billing: {from: [{exchange: orders, key: 'order.#'}], ttl: 90s,\n"
                             "    limits: {max-bytes: 1500B}, arguments: {x-note: \"a b\"},\n"
                             "    retry: {first: 2s, max: 5m, attempts: 3, then: dead}}\n"
                             "  dlq: {from: [{exchange: dead, key: '#'}]}\n"
                             "listeners: {amqp: {bind: '127.0.0.1:0'}}\n",
                             NULL),
                "Plan for vhost /: 3 to change in place\n"
                "\n"
                "~ exchange orders\n"
                "      unrouted: dead -> (not set)\n"
                "~ queue billing\n"
                "      alert.oldest-above: 1h -> (not set)\n"
                "      alert.ready-above: 10 -> (not set)\n"
                "      arguments.x-note: (not set) -> \"a b\"\n"
                "      limits.max-bytes: 2GiB -> 1500B\n"
                "      limits.on-full: drop-oldest -> reject\n"
                "      retry.attempts: 6 -> 3\n"
                "      ttl: 5m -> 90s\n"
                "~ queue dlq\n"
                "      protect: true -> false\n");
}

static const char replaced[] =
    "bourse: 1\n"
    "exchanges: {orders: {type: fanout, unrouted: dead}, dead: {type: topic}}\n"
    "queues:\n"
    "  billing: {from: [{exchange: orders}], priorities: 5, ttl: 5m}\n"
    "  dlq: {from: [{exchange: dead, key: '#'}], consumers: {single-active: true}}\n"
    "listeners: {amqp: {bind: '127.0.0.1:0'}}\n";

static const char plain_shop[] =
    "bourse: 1\n"
    "exchanges: {orders: {type: topic, unrouted: dead}, dead: {type: topic}}\n"
    "queues:\n"
    "  billing: {from: [{exchange: orders, key: 'order.#'}], ttl: 5m}\n"
    "  dlq: {from: [{exchange: dead, key: '#'}]}\n"
    "listeners: {amqp: {bind: '127.0.0.1:0'}}\n"
    "protect: [dlq]\n";

/* What would be lost is counted, and which word allows it. */
Test(plan, counts_what_a_replacement_would_lose_and_refuses_it)
{
    apply(plain_shop);
    for (int i = 0; i < 1234; i++) {
        rig_publish(rig, client, 1, "", "billing", "m");
    }
    bind_queue(rig, client, "dlq", "orders", "x");
    /* Two bindings of the exchange are not in the new file: the old key, and that of a client. */
    expect_text(
        plan_text_of(replaced, NULL),
        "Plan for vhost /: 1 to create, 3 to replace\n"
        "\n"
        "! exchange orders\n"
        "      type: topic -> fanout\n"
        "      2 bindings that the file does not name would be lost\n"
        "      refused: needs --discard orders\n"
        "! queue billing\n"
        "      priorities: (not set) -> 5\n"
        "      1,234 messages would be lost\n"
        "      refused: needs --discard billing\n"
        "! queue dlq\n"
        "      consumers.single-active: (not set) -> true\n"
        "      protect: true -> false\n"
        "      refused, for it is protected: needs --unprotect dlq\n"
        "+ binding orders -> billing\n"
        "\n"
        "3 steps are refused: nothing of this plan can be applied without the words above\n");
    cr_expect(eq(int, apply_as(replaced, GENERATION_APPLY), STATUS_REJECTED));
    cr_expect(ne(ptr, strstr(why, "exchange orders would be replaced"), NULL), "%s", why);
    cr_expect(eq(u64, find_queue(rig, "billing")->ready_count, 1234));
}

/* With the words it is done, and what the file names is there again. */
Test(plan, replaces_what_it_may)
{
    apply(plain_shop);
    rig_publish(rig, client, 1, "", "billing", "m");
    const struct bytes discards[] = {bytes_of("billing"), bytes_of("orders")};
    const struct bytes unprotected[] = {bytes_of("dlq")};
    struct apply_options options = {.cause = GENERATION_APPLY,
                                    .maker = bytes_of("oncall"),
                                    .plan = {.discards = discards,
                                             .discard_count = ARRAY_LEN(discards),
                                             .unprotected = unprotected,
                                             .unprotected_count = ARRAY_LEN(unprotected)}};
    struct apply_result result;
    cr_assert(eq(int, apply_with(replaced, &options, &result), STATUS_OK), "%s", why);
    cr_expect(eq(u64, find_queue(rig, "billing")->ready_count, 0));
    cr_expect(eq(i64, find_queue(rig, "billing")->settings->max_priority, 5));
    cr_expect(find_queue(rig, "dlq")->settings->single_active_consumer);
    cr_expect(not(find_queue(rig, "dlq")->is_protected));
    rig_publish(rig, client, 1, "orders", "any", "m");
    cr_expect(eq(u64, find_queue(rig, "billing")->ready_count, 1));
    expect_text(plan_text_of(replaced, NULL), "Plan for vhost /: nothing to do\n");
}

/* Pruning ---------------------------------------------------------------------------------------
 */

static const char small[] = "bourse: 1\n"
                            "exchanges: {orders: {type: topic}}\n"
                            "queues: {billing: {from: [{exchange: orders, key: a}]}}\n"
                            "listeners: {amqp: {bind: '127.0.0.1:0'}}\n";

/* Without the word nothing goes; what belongs to a connection never does. */
Test(plan, prunes_only_where_it_is_told_to)
{
    apply(small);
    declare_queue(rig, client, "tmp");
    declare_exchange(rig, client, "x", "fanout", NULL);
    bind_queue(rig, client, "tmp", "x", "");
    bind_queue(rig, client, "billing", "orders", "b");
    struct queue_declare own = {.queue = bytes_of("own"), .exclusive = true};
    declare_queue_as(rig, client, &own);
    bind_queue(rig, client, "own", "orders", "c");
    expect_text(plan_text_of(small, NULL),
                "Plan for vhost /: nothing to do\n"
                "\n"
                "2 exchanges and queues that the file does not name stay (--prune deletes)\n");
    const struct plan_options prune = {.prune = true};
    expect_text(plan_text_of(small, &prune), "Plan for vhost /: 3 to delete\n"
                                             "\n"
                                             "- exchange x\n"
                                             "- queue tmp\n"
                                             "- binding orders -> billing (key b)\n");
    struct apply_options options = {.cause = GENERATION_APPLY, .plan = prune};
    struct apply_result result;
    cr_assert(eq(int, apply_with(small, &options, &result), STATUS_OK), "%s", why);
    cr_expect(eq(ptr, vhost_find_queue(rig_vhost(rig), bytes_of("tmp")), NULL));
    cr_expect(eq(ptr, vhost_find_exchange(rig_vhost(rig), bytes_of("x")), NULL));
    cr_expect(ne(ptr, vhost_find_queue(rig_vhost(rig), bytes_of("own")), NULL));
    expect_text(plan_text_of(small, &prune), "Plan for vhost /: nothing to do\n");
}

/* A queue with messages or consumers goes only by its name. */
Test(plan, does_not_prune_what_is_in_use)
{
    apply(small);
    declare_queue(rig, client, "tmp");
    rig_publish(rig, client, 1, "", "tmp", "m");
    rig_publish(rig, client, 1, "", "tmp", "m");
    consume(rig, client, 1, "tmp", "c", false);
    const struct plan_options prune = {.prune = true};
    expect_text(plan_text_of(small, &prune),
                "Plan for vhost /: 1 to delete\n"
                "\n"
                "- queue tmp\n"
                "      2 messages would be lost, 1 consumer would be cancelled\n"
                "      refused: needs --discard tmp\n"
                "\n"
                "1 step is refused: nothing of this plan can be applied without the words above\n");
}

/* Rights ----------------------------------------------------------------------------------------
 */

Test(plan, says_what_users_may_do_more_and_less)
{
    apply(joined(shop, shop_users));
    expect_text(plan_text_of(joined(shop, "users:\n"
                                          "  billing:\n"
                                          "    auth: password\n"
                                          "    password-env: SECRET\n"
                                          "    consume: [billing, dlq]\n"
                                          "    publish: [orders, 'de*']\n"
                                          "    topics: {orders: ['order.*.refunded']}\n"
                                          "    limits: {max-connections: 3}\n"),
                             NULL),
                "Plan for vhost /: 1 to change in place\n"
                "\n"
                "~ user billing\n"
                "      limits.max-connections: (not set) -> 3\n"
                "      role: operator -> none\n"
                "      may additionally publish to de*\n"
                "      may additionally consume from dlq\n"
                "      may additionally publish to orders with keys order.*.refunded\n"
                "      may no longer publish to orders with keys order.*.paid\n");
    expect_text(plan_text_of(shop, NULL), "Plan for vhost /: 1 to delete\n"
                                          "\n"
                                          "- user billing\n"
                                          "      is not in the file: may do nothing any more\n");
}

Test(plan, shows_rights_that_are_no_names_as_they_are)
{
    apply(joined(shop, shop_users));
    expect_text(plan_text_of(joined(shop, "users:\n"
                                          "  billing: {auth: password, password-env: SECRET, role: "
                                          "operator,\n"
                                          "    rights: {configure: '^tmp', read: '.*'}}\n"),
                             NULL),
                "Plan for vhost /: 1 to change in place\n"
                "\n"
                "~ user billing\n"
                "      rights.configure: (not set) -> \"^tmp\"\n"
                "      rights.read: \"^billing$\" -> .*\n"
                "      may no longer publish to orders\n"
                "      is no longer held to keys when publishing to orders\n");
}

/* Policies, names that want quotes, limits of the vhost. */
Test(plan, covers_policies_and_limits_and_odd_names)
{
    expect_text(plan_text_of("bourse: 1\nlimits: {max-queues: 9}\n"
                             "queues: {'a \"b\"': {}}\n"
                             "policies: {p: {pattern: ^a, definition: {message-ttl: 60000}}}\n"
                             "operator-policies: {o: {pattern: ^a, apply-to: queues, priority: 2,\n"
                             "  definition: {max-length: 5}}}\n"
                             "listeners: {amqp: {bind: '127.0.0.1:0'}}\n",
                             NULL),
                "Plan for vhost /: 3 to create, 1 to change in place\n"
                "\n"
                "~ vhost /\n"
                "      limits.max-queues: (not set) -> 9\n"
                "+ policy p\n"
                "      definition.message-ttl: 60000\n"
                "      pattern: \"^a\"\n"
                "+ operator policy o\n"
                "      apply-to: queues\n"
                "      definition.max-length: 5\n"
                "      pattern: \"^a\"\n"
                "      priority: 2\n"
                "+ queue \"a \\\"b\\\"\"\n");
}

/* Applying --------------------------------------------------------------------------------------
 */

Test(plan, that_was_looked_at_is_refused_when_the_broker_has_changed)
{
    struct config *config = read_yaml(small);
    const struct plan_options plain = {.prune = false};
    struct plan *plan = plan_make(rig->core, config, &plain);
    uint64_t digest = plan->digest;
    plan_free(&plan);
    config_free(&config);
    declare_exchange(rig, client, "orders", "fanout", NULL);
    struct apply_options options = {.cause = GENERATION_APPLY, .digest = &digest};
    struct apply_result result;
    cr_expect(eq(int, apply_with(small, &options, &result), STATUS_REJECTED));
    cr_expect(result.is_stale);
    cr_expect(eq(ptr, vhost_find_queue(rig_vhost(rig), bytes_of("billing")), NULL));
}

/* What happens beside it does not concern a plan. */
Test(plan, that_was_looked_at_holds_while_other_things_change)
{
    apply(small);
    struct config *config = read_yaml(shop);
    const struct plan_options plain = {.prune = false};
    struct plan *plan = plan_make(rig->core, config, &plain);
    uint64_t digest = plan->digest;
    plan_free(&plan);
    config_free(&config);
    declare_queue(rig, client, "other");
    rig_publish(rig, client, 1, "", "billing", "m");
    struct apply_options options = {.cause = GENERATION_APPLY, .digest = &digest};
    struct apply_result result;
    cr_expect(eq(int, apply_with(shop, &options, &result), STATUS_OK), "%s", why);
}

Test(plan, applied_twice_is_one_generation)
{
    apply(shop);
    cr_expect(eq(u64, generation(), 1));
    apply(shop);
    cr_expect(eq(u64, generation(), 1));
    apply(small);
    cr_expect(eq(u64, generation(), 2));
}

/* In slices of one object the plan is the same as at once. */
Test(plan, made_in_slices_is_the_same)
{
    apply(small);
    declare_queue(rig, client, "tmp");
    bind_queue(rig, client, "billing", "orders", "b");
    struct config *config = read_yaml(joined(shop, shop_users));
    const struct plan_options prune = {.prune = true};
    struct planner *planner = planner_new(rig->core, config, &prune);
    int steps = 1;
    while (!planner_step(planner, 1)) {
        steps++;
    }
    struct plan *sliced = planner_finish(&planner);
    struct plan *whole = plan_make(rig->core, config, &prune);
    cr_expect(lt(int, 10, steps));
    cr_expect(eq(u64, sliced->digest, whole->digest));
    plan_free(&sliced);
    plan_free(&whole);
    config_free(&config);
}

/* Generations -----------------------------------------------------------------------------------
 */

static struct config *
config_of(uint64_t id)
{
    const struct generation *old = core_find_generation(rig->core, id);
    cr_assert(ne(ptr, (void *)old, NULL));
    struct config *config = generation_config(old);
    cr_assert(eq(sz, config->report.error_count, 0), "%s", config->report.items[0].text);
    return config;
}

/* An earlier file is applied again by the same way, with what it needs of passwords kept. */
Test(plan, goes_back_to_an_earlier_generation)
{
    apply(joined(shop, shop_users));
    struct user *user = core_find_user(rig->core, bytes_of("billing"));
    cr_assert(user->has_secret);
    apply(shop);
    cr_assert(user->is_disabled);
    struct config *config = config_of(1);
    struct apply_options options = {
        .cause = GENERATION_ROLLBACK, .maker = bytes_of("oncall"), .restored_id = 1};
    struct apply_result result;
    cr_assert(
        eq(int, core_apply_as(rig->core, config, &options, &result, why, sizeof(why)), STATUS_OK),
        "%s", why);
    plan_free(&result.plan);
    config_free(&config);
    const struct generation *newest = core_generation_at(rig->core, 0);
    cr_expect(eq(u64, newest->id, 3));
    cr_expect(eq(u64, newest->restored_id, 1));
    cr_expect(eq(int, (int)newest->cause, GENERATION_ROLLBACK));
    cr_expect(bytes_equal_text(newest->maker, "oncall"));
    cr_expect(not(user->is_disabled));
    cr_expect(user->has_secret);
}

/* Over the control socket nobody logs in: that is the administrator of the machine, and no file. */
Test(plan, the_audit_tells_the_control_socket_from_a_file_that_is_read_again)
{
    static const struct {
        enum generation_cause cause;
        const char *maker, *user;
    } cases[] = {
        {GENERATION_RELOAD, "", "(file)"},
        {GENERATION_APPLY, "", "(local)"},
        {GENERATION_APPLY, "oncall", "oncall"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char yaml[512];
        struct apply_options options = {.cause = cases[i].cause, .maker = bytes_of(cases[i].maker)};
        struct apply_result result;
        (void)snprintf(yaml, sizeof(yaml), "bourse: 1\nexchanges: {x%zu: {type: fanout}}\n", i);
        cr_assert(eq(int, apply_with(yaml, &options, &result), STATUS_OK), "%s", why);
        const struct audit_entry *entry = audit_next(rig->core, i);
        cr_assert(ne(ptr, (void *)entry, NULL));
        cr_expect(bytes_equal_text(entry->user, cases[i].user), "case %zu: %.*s", i,
                  BYTES_FORMAT(entry->user));
    }
    cr_expect(rig_logged(rig, "by=\"(local)\""));
}

Test(plan, keeps_the_last_twenty_generations)
{
    for (int i = 1; i <= 25; i++) {
        char yaml[512];
        (void)snprintf(yaml, sizeof(yaml), "%s# %d\n", small, i);
        apply(yaml);
    }
    cr_expect(eq(u64, generation(), 25));
    cr_expect(eq(ptr, (void *)core_find_generation(rig->core, 5), NULL));
    cr_expect(ne(ptr, (void *)core_find_generation(rig->core, 6), NULL));
}

Test(plan, keeps_no_secret_in_a_generation)
{
    static const char hash[] = "$scrypt$ln=14,r=8,p=5$MDEyMzQ1Njc4OWFiY2RlZg$"
                               "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY";
    char yaml[1024];
    (void)snprintf(yaml, sizeof(yaml),
                   "%susers:\n  bi: {auth: password, password-hash: '%s', consume: [billing]}\n",
                   small, hash);
    apply(yaml);
    const struct generation *newest = core_generation_at(rig->core, 0);
    const char *kept = (const char *)newest->sources[0].text.data;
    cr_expect(eq(ptr, strstr(kept, "scrypt"), NULL), "%s", kept);
    cr_expect(ne(ptr, strstr(kept, "password-hash: \"(kept)\", consume: [billing]}"), NULL), "%s",
              kept);
    /* And the hash is still the user's when the text is applied again. */
    struct config *config = config_of(newest->id);
    const struct plan_options plain = {.prune = false};
    struct plan *plan = plan_make(rig->core, config, &plain);
    cr_expect(eq(sz, plan->step_count, 0));
    plan_free(&plan);
    config_free(&config);
    const struct user *user = core_find_user(rig->core, bytes_of("bi"));
    cr_expect(eq(str, user->password_hash, (char *)hash));
}

Test(plan, tells_when_a_queue_wants_attention)
{
    apply(shop);
    const struct config_alert *alert =
        core_find_alert(rig->core, bytes_of("/"), bytes_of("billing"));
    cr_assert(ne(ptr, (void *)alert, NULL));
    cr_expect(eq(i64, alert->ready_above, 10));
    cr_expect(eq(i64, alert->oldest_above_ms, 3600000));
    cr_expect(eq(ptr, (void *)core_find_alert(rig->core, bytes_of("/"), bytes_of("dlq")), NULL));
    apply(small);
    cr_expect(
        eq(ptr, (void *)core_find_alert(rig->core, bytes_of("/"), bytes_of("billing")), NULL));
}

/* The file of `serve` -----------------------------------------------------------------------------
 */

/* A start replaces nothing, whatever it is told elsewhere. */
Test(plan, of_a_start_never_replaces)
{
    cr_assert(eq(int, apply_as(plain_shop, GENERATION_START), STATUS_OK), "%s", why);
    cr_expect(eq(int, apply_as(replaced, GENERATION_RELOAD), STATUS_REJECTED));
    cr_expect(ne(ptr, strstr(why, "delete it or change the file"), NULL), "%s", why);
}

/* Otherwise every restart would take back what was applied meanwhile. */
Test(plan, of_an_unchanged_file_does_not_undo_what_was_applied_later)
{
    cr_assert(eq(int, apply_as(plain_shop, GENERATION_START), STATUS_OK), "%s", why);
    apply(small);
    cr_assert(eq(int, apply_as(plain_shop, GENERATION_START), STATUS_OK), "%s", why);
    cr_expect(eq(u64, generation(), 2));
    cr_expect(eq(i64, find_queue(rig, "billing")->settings->message_ttl_ms, -1));
    cr_assert(eq(int, apply_as(joined(plain_shop, "# changed\n"), GENERATION_START), STATUS_OK));
    cr_expect(eq(u64, generation(), 3));
    cr_expect(eq(i64, find_queue(rig, "billing")->settings->message_ttl_ms, 300000));
}

/* Each vhost has its own: applying one takes nothing from another. */
Test(plan, of_one_vhost_leaves_another_alone)
{
    apply(joined(shop, shop_users));
    apply("bourse: 1\nvhost: other\nqueues: {q: {}}\n"
          "listeners: {amqp: {bind: '127.0.0.1:0'}}\n");
    cr_expect(not(core_find_user(rig->core, bytes_of("billing"))->is_disabled));
    cr_expect(find_queue(rig, "billing")->from_file);
    cr_expect(not(rig_logged(rig, "topology.left_file")));
    /* Nor does a start with the file of another one. */
    cr_assert(eq(int,
                 apply_as("bourse: 1\nvhost: third\nqueues: {q: {}}\n"
                          "listeners: {amqp: {bind: '127.0.0.1:0'}}\n",
                          GENERATION_START),
                 STATUS_OK));
    cr_expect(not(core_find_user(rig->core, bytes_of("billing"))->is_disabled));
    cr_expect(find_queue(rig, "billing")->from_file);
}

/* Drift -------------------------------------------------------------------------------------------
 */

static const char *
drift_text(void)
{
    struct config *config = config_of(generation());
    const struct plan_options prune = {.prune = true};
    struct plan *plan = plan_make(rig->core, config, &prune);
    buffer_clear(&text);
    plan_put_drift(&text, plan);
    buffer_put_u8(&text, 0);
    plan_free(&plan);
    config_free(&config);
    return (const char *)buffer_bytes(&text).data;
}

static void
delete_queue(const char *name)
{
    struct method method = {.id = METHOD_QUEUE_DELETE, .queue_delete = {.queue = bytes_of(name)}};
    rig_send(rig, client, 1, &method);
    (void)rig_expect(rig, client, 1, METHOD_QUEUE_DELETE_OK);
}

/* Names what clients made, changed and deleted, with user and time. */
Test(plan, names_what_clients_have_changed_since)
{
    apply(plain_shop);
    expect_text(drift_text(), "Drift of vhost /: none\n");
    rig->now.wall_ms = INT64_C(1764144000000); /* 2025-11-26T08:00:00Z */
    rig_turn(rig);
    declare_queue(rig, client, "tmp");
    delete_queue("billing");
    delete_queue("dlq");
    struct queue_declare other = {.queue = bytes_of("dlq"), .durable = true};
    declare_queue_as(rig, client, &other);
    const char *found = drift_text();
    cr_expect(ne(ptr, strstr(found, "+ queue tmp: made by u at 2025-11-26T08:00:00Z\n"), NULL),
              "%s", found);
    cr_expect(ne(ptr, strstr(found, "- queue billing: is gone\n"), NULL), "%s", found);
    cr_expect(ne(ptr,
                 strstr(found, "~ queue dlq: is another by u at 2025-11-26T08:00:00Z\n"
                               "      owner: clients, not this file\n"
                               "      protect: false, not true\n"),
                 NULL),
              "%s", found);
    cr_expect(ne(ptr, strstr(found, "- binding dead -> dlq (key #): is gone\n"), NULL), "%s",
              found);
}

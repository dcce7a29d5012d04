/* SPDX-License-Identifier: Apache-2.0 */
/* Surveys of clients, exchanges, bindings and rights: in small slices, while things change. */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <stdio.h>

#include "broker/connections/house.h"
#include "broker/survey/binding_survey.h"
#include "broker/survey/client_survey.h"
#include "broker/survey/rights_survey.h"
#include "tests/unit/broker/messaging.h"

static struct rig *rig;
static uint64_t client;

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

TestSuite(surveys, .init = set_up, .fini = tear_down);

/* Clients ------------------------------------------------------------------------------------ */

static void
look_at_clients(struct client_survey *survey, uint32_t slice)
{
    uint32_t budget;
    do {
        budget = slice;
    } while (client_survey_step(survey, rig->core, &budget) == REQUEST_MORE);
    client_survey_sort(survey);
}

Test(surveys, a_connection_is_shown_as_it_is)
{
    struct client_survey survey = {.kind = SURVEY_CONNECTIONS};
    look_at_clients(&survey, 100);
    cr_assert(eq(u32, survey.rows.count, 1));
    const struct survey_connection *row = survey.rows.rows[0];
    cr_expect(bytes_equal_text(row->user, "u"));
    cr_expect(bytes_equal_text(row->vhost, "/"));
    cr_expect(eq(str, (char *)row->state, "running"));
    cr_expect(eq(str, (char *)row->mechanism, "PLAIN"));
    cr_expect(eq(u16, row->channels, 1));
    cr_expect(bytes_equal_text(row->peer_host, "127.0.0.1"));
    cr_expect(row->client_properties.size > 0, "what the client says of itself is kept");
    cr_expect(row->received_octets > 0);
    cr_expect(row->sent_octets > 0);
    cr_expect(eq(i64, row->opened_wall_ms, rig->now.wall_ms));
    client_survey_fini(&survey);
}

static bool
is_about(double rate, double expected)
{
    return rate > expected * 0.98 - 0.001 && rate < expected * 1.02 + 0.001;
}

/* Numbers of the moment: whoever looks once in a while learns what happened in between. */
Test(surveys, rates_are_of_the_time_between_two_looks)
{
    declare_queue(rig, client, "q");
    for (int look = 0; look < 2; look++) {
        struct client_survey channels = {.kind = SURVEY_CHANNELS, .viewer = {.sees_all = true}};
        struct client_survey connections = {.kind = SURVEY_CONNECTIONS,
                                            .viewer = {.sees_all = true}};
        struct exchange_survey exchanges = {
            .vhost = bytes_of("/"), .exchange = bytes_of(""), .viewer = {.sees_all = true}};
        struct core_survey core = {.leaves_queues = true};
        uint32_t budget = 100;
        rig_step(rig, 10000);
        publish_numbers(rig, client, "q", 1, look == 0 ? 5 : 100);
        look_at_clients(&channels, 100);
        look_at_clients(&connections, 100);
        (void)exchange_survey_step(&exchanges, rig->core, &budget);
        (void)core_survey_step(&core, rig->core, &budget);
        const struct survey_channel *channel = channels.rows.rows[0];
        const struct survey_connection *connection = connections.rows.rows[0];
        const struct survey_exchange *exchange = exchanges.rows.rows[0];
        double expected = look == 0 ? 0.5 : 10;
        cr_expect(is_about(channel->rates[CHANNEL_RATE_PUBLISHED], expected));
        cr_expect(is_about(exchange->published_rate, expected));
        cr_expect(is_about(exchange->routed_rate, expected));
        cr_expect(is_about(core.counter_rates[CORE_RATE_PUBLISHED], expected));
        cr_expect(connection->received_rate > expected);
        client_survey_fini(&channels);
        client_survey_fini(&connections);
        exchange_survey_fini(&exchanges);
        core_survey_fini(&core);
    }
}

/* Who does not see all sees his own (amqp-reference.md 26.1); the house is nobody's business. */
Test(surveys, a_viewer_sees_his_own_clients_or_all)
{
    struct fault fault;
    rig_add_user(rig, "other", "p");
    uint64_t theirs = rig_connect(rig, "other", "p");
    rig_open_channel(rig, theirs, 1);
    struct house *house = house_open(rig->core, bytes_make(NULL, 0), bytes_of("/"), &fault);
    cr_assert(ne(ptr, house, NULL));
    static const struct {
        const char *user; /* NULL: the house */
        bool sees_all;
        uint32_t count;
    } viewers[] = {{"u", false, 1},
                   {"other", false, 1},
                   {"nobody", false, 0},
                   {"u", true, 2},
                   {NULL, false, 2}};
    static const enum client_survey_kind kinds[] = {SURVEY_CONNECTIONS, SURVEY_CHANNELS};
    for (size_t i = 0; i < ARRAY_LEN(viewers) * 2; i++) {
        const char *user = viewers[i / 2].user;
        struct client_survey survey = {
            .viewer = {.user = user == NULL ? bytes_make(NULL, 0) : bytes_of(user),
                       .sees_all = viewers[i / 2].sees_all},
            .kind = kinds[i % 2],
        };
        look_at_clients(&survey, 100);
        cr_expect(eq(u32, survey.rows.count, viewers[i / 2].count), "viewer %zu", i);
        client_survey_fini(&survey);
    }
    house_free(&house);
}

Test(surveys, clients_are_chosen_by_vhost_user_and_name)
{
    struct client_survey all = {.kind = SURVEY_CHANNELS};
    rig_open_channel(rig, client, 12);
    look_at_clients(&all, 100);
    cr_assert(eq(u32, all.rows.count, 2));
    const struct survey_channel *twelfth = all.rows.rows[1];
    cr_expect(eq(u16, twelfth->number, 12));
    char name[256];
    (void)snprintf(name, sizeof(name), "%s (12)", (const char *)twelfth->connection.data);
    static const struct bytes any = {.data = NULL};
    const struct {
        struct bytes vhost, user, connection, channel;
        uint32_t count;
    } rows[] = {
        {bytes_of("/"), any, any, any, 2},       {bytes_of("v"), any, any, any, 0},
        {any, bytes_of("u"), any, any, 2},       {any, bytes_of("v"), any, any, 0},
        {any, any, twelfth->connection, any, 2}, {any, any, bytes_of("x"), any, 0},
        {any, any, any, bytes_of(name), 1},      {any, any, any, bytes_of(" (12)"), 0},
        {any, any, any, twelfth->connection, 0},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct client_survey survey = {
            .kind = SURVEY_CHANNELS,
            .vhost = rows[i].vhost,
            .user = rows[i].user,
            .connection = rows[i].connection,
            .channel = rows[i].channel,
        };
        look_at_clients(&survey, 3);
        cr_expect(eq(u32, survey.rows.count, rows[i].count), "row %zu", i);
        client_survey_fini(&survey);
    }
    client_survey_fini(&all);
}

/* Each consumer that is there all the time is met once, in slices of one row, while connections
 * come and go. */
Test(surveys, every_consumer_is_met_once)
{
    enum { CLIENTS = 20, TAGS = 7 };
    struct client_survey survey = {.kind = SURVEY_CONSUMERS};
    uint64_t links[CLIENTS];
    declare_queue(rig, client, "q");
    for (uint32_t i = 0; i < CLIENTS; i++) {
        links[i] = messaging_client(rig);
        for (uint32_t j = 0; j < TAGS; j++) {
            char tag[32];
            (void)snprintf(tag, sizeof(tag), "t%u-%u", (unsigned)i, (unsigned)j);
            consume(rig, links[i], 1, "q", tag, true);
        }
    }
    uint32_t gone = 0;
    for (uint32_t i = 0;; i++) {
        uint32_t budget = 2;
        if (client_survey_step(&survey, rig->core, &budget) == REQUEST_DONE) {
            break;
        }
        if (i % 16 == 15 && gone < CLIENTS / 2) {
            rig_hang_up(rig, links[2 * gone++]);
            (void)messaging_client(rig);
        }
    }
    client_survey_sort(&survey);
    uint32_t found = 0;
    for (uint32_t i = 0; i < survey.rows.count; i++) {
        const struct survey_subscription *row = survey.rows.rows[i];
        for (uint32_t j = 0; j < CLIENTS; j++) {
            found += row->link == links[j] && (j % 2 == 1 || j / 2 >= gone) ? 1 : 0;
        }
    }
    cr_expect(gone > 2, "%u", (unsigned)gone);
    cr_expect(eq(u32, found, (CLIENTS - gone) * TAGS));
    client_survey_fini(&survey);
}

Test(surveys, a_slice_takes_no_more_rows_than_its_budget)
{
    struct client_survey survey = {.kind = SURVEY_CHANNELS};
    for (uint16_t i = 2; i <= 200; i++) {
        rig_open_channel(rig, client, i);
    }
    uint32_t seen = 0;
    enum request_progress progress = REQUEST_MORE;
    while (progress == REQUEST_MORE) {
        uint32_t budget = 10;
        progress = client_survey_step(&survey, rig->core, &budget);
        cr_expect(le(u32, survey.rows.count - seen, 10));
        seen = survey.rows.count;
    }
    cr_expect(eq(u32, seen, 200));
    client_survey_fini(&survey);
}

Test(surveys, connections_of_a_survey_are_closed_with_the_reason)
{
    rig_add_user(rig, "other", "p");
    uint64_t theirs = rig_connect(rig, "other", "p");
    uint64_t unnamed = rig_open(rig);
    struct client_survey survey = {.kind = SURVEY_CONNECTIONS, .user = bytes_of("other")};
    uint32_t position = 0;
    uint32_t budget = 100;
    look_at_clients(&survey, 100);
    cr_assert(eq(int,
                 client_survey_close(&survey, rig->core, bytes_of("too loud"), &position, &budget),
                 REQUEST_DONE));
    rig_expect_close(rig, theirs, 320, "too loud");
    rig_expect_nothing(rig, client);
    cr_expect(not(rig_link(rig, unnamed)->is_closing));
    client_survey_fini(&survey);
}

/* Exchanges and bindings --------------------------------------------------------------------- */

static void
look_at_bindings(struct binding_survey *survey, uint32_t slice)
{
    uint32_t budget;
    do {
        budget = slice;
    } while (binding_survey_step(survey, rig->core, &budget) == REQUEST_MORE);
    binding_survey_sort(survey);
}

static void
set_key(uint32_t number, bool is_bound)
{
    struct vhost *vhost = rig_vhost(rig);
    struct exchange *source = vhost_find_exchange(vhost, bytes_of("amq.direct"));
    struct route_target *target = &find_queue(rig, "q")->target;
    struct fault fault;
    char key[16];
    (void)snprintf(key, sizeof(key), "%08u", (unsigned)number);
    struct bytes none = bytes_make(NULL, 0);
    enum status status = is_bound
                             ? vhost_bind(vhost, source, target, bytes_of(key), none, NULL, &fault)
                             : vhost_unbind(vhost, source, target, bytes_of(key), none, &fault);
    cr_assert(eq(int, status, STATUS_OK));
}

Test(surveys, the_default_exchange_binds_every_queue)
{
    struct binding_survey survey = {.ends = {.vhost = bytes_of("/")}};
    declare_queue(rig, client, "q");
    bind_queue(rig, client, "q", "amq.topic", "a.#");
    look_at_bindings(&survey, 1);
    cr_assert(eq(u32, survey.rows.count, 2));
    const struct survey_route *first = survey.rows.rows[0];
    const struct survey_route *second = survey.rows.rows[1];
    cr_expect(eq(u64, first->source.size, 0));
    cr_expect(bytes_equal_text(first->routing_key, "q"));
    cr_expect(bytes_equal_text(second->source, "amq.topic"));
    cr_expect(bytes_equal_text(second->destination, "q"));
    cr_expect(bytes_equal_text(second->routing_key, "a.#"));
    binding_survey_fini(&survey);
}

Test(surveys, bindings_are_chosen_by_their_ends)
{
    declare_queue(rig, client, "q");
    declare_queue(rig, client, "r");
    bind_queue(rig, client, "q", "amq.topic", "a");
    bind_queue(rig, client, "q", "amq.direct", "b");
    bind_exchange(rig, client, "amq.fanout", "amq.topic", "c");
    static const struct bytes any = {.data = NULL};
    const struct {
        struct survey_ends ends;
        uint32_t count;
        bool exist;
    } rows[] = {
        {{bytes_of("/"), any, any, false, false}, 5, true},
        {{bytes_of("/"), bytes_of("amq.topic"), any, false, false}, 2, true},
        {{bytes_of("/"), bytes_of("amq.topic"), bytes_of("q"), true, false}, 1, true},
        {{bytes_of("/"), bytes_of("amq.topic"), bytes_of("amq.fanout"), false, true}, 1, true},
        {{bytes_of("/"), bytes_of("amq.topic"), bytes_of("amq.fanout"), true, false}, 0, false},
        {{bytes_of("/"), any, bytes_of("amq.fanout"), false, true}, 1, true},
        {{bytes_of("/"), bytes_of(""), bytes_of("q"), true, false}, 1, true},
        {{bytes_of("/"), bytes_of("none"), any, false, false}, 0, false},
        {{bytes_of("none"), any, any, false, false}, 0, false},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct binding_survey survey = {.ends = rows[i].ends};
        look_at_bindings(&survey, 2);
        cr_expect(eq(u32, survey.rows.count, rows[i].count), "row %zu", i);
        cr_expect(eq(int, survey.ends_exist, rows[i].exist), "row %zu", i);
        binding_survey_fini(&survey);
    }
}

/* Few are taken off the queue at once, many are found by a walk over exchanges: nothing is cut off
 * either way. */
Test(surveys, all_bindings_of_a_queue_are_found)
{
    static const uint32_t counts[] = {3, 6000};
    uint32_t bound = 0;
    declare_queue(rig, client, "q");
    declare_queue(rig, client, "r");
    bind_queue(rig, client, "r", "amq.direct", "of another");
    for (size_t i = 0; i < ARRAY_LEN(counts); i++) {
        while (bound < counts[i]) {
            set_key(bound++, true);
        }
        struct binding_survey survey = {
            .viewer = {.sees_all = true},
            .ends = {.vhost = bytes_of("/"), .destination = bytes_of("q"), .only_to_queues = true}};
        look_at_bindings(&survey, 100);
        cr_expect(eq(u32, survey.rows.count, counts[i] + 1), "with that of the default exchange");
        const struct survey_route *last = survey.rows.rows[survey.rows.count - 1];
        cr_expect(bytes_equal_text(last->source, "amq.direct"));
        cr_expect(bytes_equal_text(last->vhost, "/"));
        binding_survey_fini(&survey);
    }
}

/* Bindings that are there all the time are in it once, whatever comes and goes meanwhile. */
Test(surveys, every_binding_is_met_once)
{
    enum { KEYS = 12000, LASTING = 3 };
    struct binding_survey survey = {
        .ends = {.vhost = bytes_of("/"), .source = bytes_of("amq.direct")}};
    declare_queue(rig, client, "q");
    for (uint32_t i = 0; i < KEYS; i++) {
        set_key(i, true);
    }
    for (uint32_t i = 0;; i++) {
        uint32_t budget = 100;
        if (binding_survey_step(&survey, rig->core, &budget) == REQUEST_DONE) {
            break;
        }
        if (i % 5 == 4) {
            set_key(KEYS + i, true);
            set_key(LASTING * (i % (KEYS / LASTING)), false);
        }
    }
    binding_survey_sort(&survey);
    uint32_t lasting = 0;
    for (uint32_t i = 0; i < survey.rows.count; i++) {
        const struct survey_route *row = survey.rows.rows[i];
        uint32_t number = (uint32_t)strtoul((const char *)row->routing_key.data, NULL, 10);
        lasting += number < KEYS && number % LASTING != 0 ? 1 : 0;
    }
    cr_expect(eq(u32, lasting, KEYS - KEYS / LASTING));
    binding_survey_fini(&survey);
}

/* Nothing changes: no slice is longer than its budget. */
Test(surveys, many_bindings_are_copied_in_small_slices)
{
    enum { KEYS = 20000, SLICE = 100 };
    struct binding_survey survey = {.viewer = {.sees_all = true}};
    declare_queue(rig, client, "q");
    for (uint32_t i = 0; i < KEYS; i++) {
        set_key(i, true);
    }
    uint32_t seen = 0;
    enum request_progress progress = REQUEST_MORE;
    while (progress == REQUEST_MORE) {
        uint32_t budget = SLICE;
        progress = binding_survey_step(&survey, rig->core, &budget);
        cr_assert(le(u32, survey.rows.count - seen, SLICE));
        seen = survey.rows.count;
    }
    cr_expect(eq(u32, seen, KEYS + 1));
    binding_survey_fini(&survey);
}

/* The exchange under way may go, and another of its name come. */
Test(surveys, an_exchange_may_go_in_the_middle)
{
    struct binding_survey survey = {.viewer = {.sees_all = true}};
    declare_queue(rig, client, "q");
    declare_exchange(rig, client, "x", "direct", NULL);
    for (int i = 0; i < 9; i++) {
        char key[2] = {(char)('a' + i), '\0'};
        bind_queue(rig, client, "q", "x", key);
    }
    uint32_t budget = 1;
    while (survey.rows.count < 3) {
        cr_assert(eq(int, binding_survey_step(&survey, rig->core, &budget), REQUEST_MORE));
        budget = 1;
    }
    struct vhost *vhost = rig_vhost(rig);
    vhost_delete_exchange(vhost, vhost_find_exchange(vhost, bytes_of("x")));
    rig_turn(rig);
    declare_exchange(rig, client, "x", "direct", NULL);
    look_at_bindings(&survey, 1);
    const struct survey_route *first = survey.rows.rows[0];
    cr_expect(bytes_equal_text(first->routing_key, "q"));
    binding_survey_fini(&survey);
}

Test(surveys, an_exchange_is_shown_as_it_is)
{
    struct exchange_survey survey = {.vhost = bytes_of("/"), .exchange = bytes_of("x")};
    uint32_t budget = 1;
    declare_queue(rig, client, "q");
    declare_exchange(rig, client, "x", "topic", NULL);
    bind_queue(rig, client, "q", "x", "#");
    rig_publish(rig, client, 1, "x", "a", "text");
    cr_assert(eq(int, exchange_survey_step(&survey, rig->core, &budget), REQUEST_DONE));
    cr_assert(eq(u32, survey.rows.count, 1));
    const struct survey_exchange *row = survey.rows.rows[0];
    cr_expect(eq(str, (char *)row->type, "topic"));
    cr_expect(eq(u32, row->bindings, 1));
    cr_expect(eq(u64, row->published, 1));
    cr_expect(eq(u64, row->routed, 1));
    exchange_survey_fini(&survey);

    struct exchange_survey all = {.vhost = bytes_make(NULL, 0)};
    enum request_progress progress = REQUEST_MORE;
    while (progress == REQUEST_MORE) {
        budget = 1;
        progress = exchange_survey_step(&all, rig->core, &budget);
    }
    exchange_survey_sort(&all);
    cr_expect(eq(u32, all.rows.count, map_count(&rig_vhost(rig)->exchanges)));
    exchange_survey_fini(&all);
}

/* Rights ------------------------------------------------------------------------------------- */

enum { VHOSTS = 30 };

static void
grant_many(struct config_user *user)
{
    static char names[VHOSTS][16];
    *user = rig_user("many", NULL);
    for (uint32_t i = 0; i < VHOSTS; i++) {
        (void)snprintf(names[i], sizeof(names[i]), "v%02u", (unsigned)i);
        (void)rig_add_vhost(rig, names[i]);
        cr_assert(eq(int, core_put_user(rig->core, user, bytes_of(names[i])), STATUS_OK));
    }
}

static void
look_at_rights(struct rights_survey *survey, uint32_t slice)
{
    uint32_t budget;
    do {
        budget = slice;
    } while (rights_survey_step(survey, rig->core, &budget) == REQUEST_MORE);
    rights_survey_sort(survey);
}

Test(surveys, permissions_are_met_once_though_they_change)
{
    struct rights_survey survey = {.kind = SURVEY_PERMISSIONS, .user = bytes_of("many")};
    struct config_user user;
    grant_many(&user);
    uint32_t budget = 10;
    cr_assert(eq(int, rights_survey_step(&survey, rig->core, &budget), REQUEST_MORE));
    cr_expect(survey.rows.count > 0);
    core_take_grant(rig->core, core_find_user(rig->core, bytes_of("many")), bytes_of("v00"));
    look_at_rights(&survey, 10);
    cr_expect(eq(u32, survey.rows.count, VHOSTS - 1));
    cr_expect(survey.user_exists);
    const struct survey_permission *first = survey.rows.rows[0];
    cr_expect(bytes_equal_text(first->vhost, "v01"));
    cr_expect(bytes_equal_text(first->rights[ACCESS_READ], ".*"));
    rights_survey_fini(&survey);
}

Test(surveys, permissions_are_chosen_by_user_and_vhost)
{
    struct config_user user;
    grant_many(&user);
    static const struct bytes any = {.data = NULL};
    const struct {
        struct bytes user, vhost;
        uint32_t count;
        bool exists;
    } rows[] = {
        {any, any, VHOSTS + 1, true},        {bytes_of("many"), any, VHOSTS, true},
        {any, bytes_of("v07"), 1, true},     {bytes_of("u"), bytes_of("v07"), 0, true},
        {bytes_of("nobody"), any, 0, false},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct rights_survey survey = {
            .kind = SURVEY_PERMISSIONS, .user = rows[i].user, .vhost = rows[i].vhost};
        look_at_rights(&survey, 7);
        cr_expect(eq(u32, survey.rows.count, rows[i].count), "row %zu", i);
        cr_expect(eq(int, survey.user_exists, rows[i].exists), "row %zu", i);
        rights_survey_fini(&survey);
    }
}

/* A user that has left the file is nobody. */
Test(surveys, users_are_shown_with_their_tags_and_without_those_who_are_gone)
{
    struct rights_survey survey = {.kind = SURVEY_USERS};
    struct config_user operator_user = rig_user("op", NULL);
    operator_user.role = ROLE_OPERATOR;
    operator_user.channels_max = 9;
    rig_put_user(rig, &operator_user);
    rig_add_user(rig, "gone", "p");
    core_disable_user(rig->core, core_find_user(rig->core, bytes_of("gone")));
    look_at_rights(&survey, 1);
    cr_assert(eq(u32, survey.rows.count, 2));
    const struct survey_user *row = survey.rows.rows[0];
    cr_expect(bytes_equal_text(row->name, "op"));
    cr_expect(bytes_equal_text(row->tags, "monitoring,policymaker,management"));
    cr_expect(eq(i64, row->channels_max, 9));
    cr_expect(row->has_rights);
    rights_survey_fini(&survey);
}

Test(surveys, limits_and_policies_are_of_vhosts_that_the_viewer_may_see)
{
    struct policy_properties policy = {
        .kind = POLICY_ORDINARY,
        .target = POLICY_FOR_QUEUES,
        .name = bytes_of("p"),
        .pattern = bytes_of("q"),
        .definition = bytes_of("\x0amax-lengthl\0\0\0\0\0\0\0\x03"),
    };
    policy.definition.size = 20;
    struct vhost *hidden = rig_add_vhost(rig, "hidden");
    hidden->queues_max = 5;
    rig_vhost(rig)->connections_max = 6;
    cr_assert(eq(int, vhost_put_policy(hidden, &policy), STATUS_OK));
    cr_assert(eq(int, vhost_put_policy(rig_vhost(rig), &policy), STATUS_OK));
    for (int sees_all = 0; sees_all < 2; sees_all++) {
        static const enum rights_survey_kind kinds[] = {SURVEY_POLICIES, SURVEY_VHOST_LIMITS};
        for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
            struct rights_survey survey = {
                .viewer = {.user = bytes_of("u"), .sees_all = sees_all == 1}, .kind = kinds[i]};
            look_at_rights(&survey, 1);
            cr_expect(eq(u32, survey.rows.count, sees_all + 1));
            rights_survey_fini(&survey);
        }
    }
}

/* SPDX-License-Identifier: Apache-2.0 */
/* SASL: nobody gets in whose response does not say a user and its password. The input is an octet
 * of who the peer is, the length of the mechanism's name, the name, and the response. */
#include "amqp/table.h"
#include "base/alloc.h"
#include "tests/fuzz/core_world.h"
#include "tests/fuzz/make.h"
#include "tests/fuzz/target.h"
#include "tests/support/exact_copy.h"

enum { INPUT_MAX = 1024, HEAD_SIZE = 2, LINK = 1, LONGEST_DELAY_MS = 60000 };
enum peer_bit { PEER_REMOTE = 1, PEER_TLS = 2, PEER_CERTIFICATE = 4, PEER_NAMED = 8 };

/* What the core has said to the one link. */
struct outcome {
    bool is_in; /* it got as far as connection.tune */
    bool is_closed;
};

static void
take_action(void *context, const struct net_action *action)
{
    struct outcome *outcome = context;
    enum method_id id;
    struct fault fault;
    assert(!outcome->is_closed);
    if (action->type == NET_ACTION_CLOSE) {
        outcome->is_closed = true;
    } else if (action->type == NET_ACTION_METHOD) {
        assert(method_identify(action->method.payload, &id, &fault) == STATUS_OK);
        outcome->is_in = outcome->is_in || id == METHOD_CONNECTION_TUNE;
    }
}

static bool
says_amqplain(struct bytes response)
{
    struct table_value user;
    struct table_value password;
    struct fault fault;
    return table_validate(response, TABLE_FIELDS_MAX, &fault) == STATUS_OK &&
           table_find(response, "LOGIN", &user) && table_find(response, "PASSWORD", &password) &&
           (user.type == 'S' || user.type == 'x') &&
           (password.type == 'S' || password.type == 'x') && bytes_equal_text(user.raw, "guest") &&
           bytes_equal_text(password.raw, "guest");
}

static bool
may_enter(struct bytes mechanism, struct bytes response, uint8_t peer)
{
    if (bytes_equal_text(mechanism, "PLAIN")) {
        return bytes_equal(response, bytes_make("\0guest\0guest", 12));
    }
    if (bytes_equal_text(mechanism, "EXTERNAL")) {
        uint8_t needed = PEER_TLS | PEER_CERTIFICATE | PEER_NAMED;
        return (peer & needed) == needed;
    }
    return bytes_equal_text(mechanism, "AMQPLAIN") && says_amqplain(response);
}

static void
post(struct core_world *world, struct net_event event)
{
    struct net_events events = core_net_events(world->core);
    event.link = LINK;
    events.handle(events.context, &event);
}

static void
turn(struct core_world *world, uint64_t step_ms)
{
    core_world_answer(world);
    core_end_tick(world->core);
    core_release_tick(world->core, chunk_pool_tick(world->pool));
    world->now.monotonic_ms += step_ms;
    core_begin_tick(world->core, world->now);
}

static void
log_in(struct core_world *world, const struct net_peer *peer, struct bytes mechanism,
       struct bytes response)
{
    struct method method = {
        .id = METHOD_CONNECTION_START_OK,
        .connection_start_ok = {.mechanism = mechanism, .response = response},
    };
    struct buffer payload;
    buffer_init(&payload);
    method_encode(&payload, &method);
    struct bytes copy = exact_copy(buffer_bytes(&payload));
    struct net_peer *taken = xalloc(sizeof(*taken));
    *taken = *peer;
    post(world, (struct net_event){.type = NET_EVENT_OPENED, .opened = {.peer = taken}});
    post(world, (struct net_event){.type = NET_EVENT_METHOD, .method = {.payload = copy}});
    exact_copy_free(copy);
    buffer_fini(&payload);
    turn(world, LONGEST_DELAY_MS);
    turn(world, LONGEST_DELAY_MS);
}

static void
put_users(struct core_world *world)
{
    struct config_user guest = core_world_user("guest", ".*");
    struct config_user device = core_world_user("device", ".*");
    device.auth = AUTH_CERTIFICATE;
    assert(core_world_put_user(world, &guest) == STATUS_OK);
    assert(core_world_put_user(world, &device) == STATUS_OK);
}

static void
run(struct bytes input)
{
    if (input.size < HEAD_SIZE) {
        return;
    }
    struct byte_reader reader = byte_reader_make(input);
    uint8_t bits = byte_reader_u8(&reader);
    struct bytes mechanism = byte_reader_shortstr(&reader);
    struct bytes response = byte_reader_take(&reader, byte_reader_left(&reader));
    if (!bytes_is_utf8(mechanism)) {
        return; /* such a method does not decode */
    }
    struct net_peer peer = {
        .address = "192.0.2.1",
        .is_loopback = (bits & PEER_REMOTE) == 0,
        .is_tls = (bits & PEER_TLS) != 0,
        .has_certificate = (bits & PEER_CERTIFICATE) != 0,
    };
    (void)snprintf(peer.user, sizeof(peer.user), "%s", (bits & PEER_NAMED) != 0 ? "device" : "");
    struct core_world world;
    struct outcome outcome = {0};
    struct core_settings settings = core_world_settings();
    core_world_init(&world, LOG_LEVEL_DEBUG);
    core_world_open(&world, &settings, (struct net_port){take_action, &outcome});
    put_users(&world);
    log_in(&world, &peer, mechanism, response);
    assert(outcome.is_in == may_enter(mechanism, response, bits));
    assert(outcome.is_in == (world.core->counters.logins_succeeded == 1));
    post(&world, (struct net_event){.type = NET_EVENT_CLOSED});
    turn(&world, 0);
    assert(core_connection_count(world.core) == 0);
    core_world_close(&world);
}

/* Builds a response that is nearly right. */
static size_t
mutate(uint8_t *data, size_t size, size_t size_max, struct draw *draw)
{
    static const char *const mechanisms[] = {"PLAIN", "AMQPLAIN", "EXTERNAL"};
    static const char *const words[] = {"guest", "device", "", "Guest", "nobody"};
    struct buffer out;
    buffer_init(&out);
    uint32_t mechanism = draw_below(draw, ARRAY_LEN(mechanisms));
    const char *user = words[draw_below(draw, ARRAY_LEN(words))];
    const char *password = words[draw_below(draw, ARRAY_LEN(words))];
    buffer_put_u8(&out, (uint8_t)draw_below(draw, 16));
    buffer_put_shortstr(&out, bytes_of(mechanisms[mechanism]));
    if (mechanism == 1) {
        table_put_text(&out, "LOGIN", bytes_of(user));
        table_put_text(&out, "PASSWORD", bytes_of(password));
    } else {
        buffer_printf(&out, "%c%s%c%s", 0, user, 0, password);
    }
    size_t out_size = buffer_size(&out);
    if (out_size <= size_max) {
        memcpy(data, buffer_bytes(&out).data, out_size);
        size = out_size;
    }
    if (draw_chance(draw, 40)) {
        data[draw_below(draw, (uint32_t)size)] ^= (uint8_t)(1U << draw_below(draw, 8));
    }
    buffer_fini(&out);
    return size;
}

const struct fuzz_target fuzz_login = {
    .name = "login", .size_max = INPUT_MAX, .run = run, .mutate = mutate};

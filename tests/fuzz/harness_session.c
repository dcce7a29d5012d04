/* SPDX-License-Identifier: Apache-2.0 */
/* Whole sessions: three clients talk to the real network side and the real core, over transports
 * that lie in memory. The first and the third are `guest`, who may do anything, the second is
 * `narrow`, who has rights on few names. After each input the queues must be sound, the memory of
 * messages must come back to nothing, and the broker must have fallen silent by itself.
 *
 * The second target, session_memory, also lets one allocation fail: the input begins with the
 * number of that allocation. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include "amqp/frame.h"
#include "amqp/table.h"
#include "net/network.h"
#include "tests/fuzz/client.h"
#include "tests/fuzz/core_world.h"
#include "tests/fuzz/session_input.h"
#include "tests/fuzz/target.h"
#include "tests/support/alloc_faults.h"

enum {
    INPUT_MAX = 8192,
    CLIENTS = 3,
    TURNS_MAX = 20000, /* of an input of INPUT_MAX octets that comes in sevens */
    ACCEPT_TURNS_MAX = 1000,
    FAULT_NUMBER_SIZE = 2,
    SMALL_FRAME_MAX = 4096,
};

struct session {
    struct core_world world;
    struct network *network;
    struct net_events core_events;
    bool tick_has_begun;
    uint16_t port;
    uint8_t settings; /* of enum session_setting */
    bool is_shut_down;
    bool is_disturbed; /* a login may fail: users are gone, or memory was not to be had */
    struct client clients[CLIENTS];
    struct client *accepted; /* whom the next accepted socket belongs to */
    struct client *current;
};

/* The loop, as broker/broker.c turns it: only within a turn may an allocation fail */

static struct clock_reading
read_clock(void *context)
{
    const struct session *session = context;
    return session->world.now;
}

static void
begin_tick(struct session *session)
{
    if (!session->tick_has_begun) {
        session->tick_has_begun = true;
        core_begin_tick(session->world.core, session->world.now);
    }
}

static void
forward_event(void *context, const struct net_event *event)
{
    struct session *session = context;
    begin_tick(session);
    session->core_events.handle(session->core_events.context, event);
}

static void
turn(struct session *session, uint64_t wait_ms)
{
    session->tick_has_begun = false;
    (void)alloc_faults_hold(false);
    network_poll(session->network, wait_ms);
    begin_tick(session);
    core_world_answer(&session->world);
    core_end_tick(session->world.core);
    network_flush(session->network);
    core_release_tick(session->world.core, chunk_pool_tick(session->world.pool));
    (void)alloc_faults_hold(true);
}

/* Until there is nothing to do without another event: it must not take for ever. */
static void
settle(struct session *session)
{
    int turns = 0;
    for (size_t i = 0; i < CLIENTS; i++) {
        if (session->clients[i].bell >= 0) {
            client_ring(&session->clients[i]);
        }
    }
    do {
        turn(session, 0);
        turns++;
        assert(turns < TURNS_MAX);
    } while (network_has_work(session->network) || core_wait_ms(session->world.core) == 0);
}

/* Answers of clients are new input; each is the only answer to something that is sent once. */
static void
settle_answers(struct session *session)
{
    bool has_input = true;
    for (int i = 0; i < 8 && has_input; i++) {
        settle(session);
        has_input = false;
        for (size_t j = 0; j < CLIENTS; j++) {
            has_input = has_input || buffer_size(&session->clients[j].sent) > 0;
        }
    }
}

static void
step(struct session *session, uint64_t ms)
{
    session->world.now.monotonic_ms += ms;
    session->world.now.wall_ms += (int64_t)ms;
    settle_answers(session);
}

/* Clients ------------------------------------------------------------------------------------- */

static void
connect_client(struct session *session, struct client *client)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(session->port)};
    struct linger linger = {.l_onoff = 1}; /* leaves no socket behind that waits */
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    client_renew(client);
    client->answers = (session->settings & SESSION_RUDE) == 0;
    client->read_max = (session->settings & SESSION_TRICKLE) != 0 ? 7 : SIZE_MAX;
    session->accepted = client;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert(fd >= 0);
    int done = setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger));
    assert(done == 0);
    done = connect(fd, (struct sockaddr *)&address, sizeof(address));
    /* The fuzzer's timer interrupts; the connection then goes on being made. */
    assert(done == 0 || errno == EINTR);
    socklen_t size = sizeof(address);
    done = getsockname(fd, (struct sockaddr *)&address, &size);
    assert(done == 0);
    client->port = address.sin_port;
    for (int i = 0; i < ACCEPT_TURNS_MAX && client->bell < 0; i++) {
        turn(session, 10);
    }
    assert(client->bell >= 0);
    close(fd);
}

static void
put_client_properties(const struct session *session, struct buffer *table)
{
    static const char *const names[] = {"consumer_cancel_notify", "connection.blocked",
                                        "authentication_failure_close"};
    struct buffer capabilities;
    buffer_init(&capabilities);
    bool is_capable = (session->settings & SESSION_INCAPABLE) == 0;
    for (size_t i = 0; i < ARRAY_LEN(names) && is_capable; i++) {
        table_put_boolean(&capabilities, names[i], true);
    }
    table_put_table(table, "capabilities", buffer_bytes(&capabilities));
    buffer_fini(&capabilities);
}

static void
send_start_ok(struct session *session, struct client *client)
{
    bool is_narrow = client == &session->clients[1];
    struct buffer table;
    buffer_init(&table);
    put_client_properties(session, &table);
    struct method start_ok = {
        .id = METHOD_CONNECTION_START_OK,
        .connection_start_ok = {.client_properties = buffer_bytes(&table),
                                .mechanism = bytes_of("PLAIN"),
                                .response = is_narrow ? bytes_make("\0narrow\0narrow", 14)
                                                      : bytes_make("\0guest\0guest", 12),
                                .locale = bytes_of("en_US")},
    };
    client_send_method(client, 0, &start_ok);
    buffer_fini(&table);
}

/* The handshake up to an open channel 1. A configuration that was loaded in between may have taken
 * the user away; then there is a connection without a login. */
static void
shake_hands(struct session *session, struct client *client)
{
    bool is_small = (session->settings & SESSION_SMALL_FRAMES) != 0;
    struct method tune_ok = {
        .id = METHOD_CONNECTION_TUNE_OK,
        .connection_tune_ok = {.channel_max = 2047,
                               .frame_max = is_small ? SMALL_FRAME_MAX : 131072,
                               .heartbeat = 60},
    };
    struct method open = {.id = METHOD_CONNECTION_OPEN,
                          .connection_open = {.virtual_host = bytes_of("/")}};
    client_send(client, bytes_make(protocol_header_supported, PROTOCOL_HEADER_SIZE));
    send_start_ok(session, client);
    settle(session);
    if (client->method_counts[METHOD_CONNECTION_TUNE] == 0) {
        return;
    }
    client_send_method(client, 0, &tune_ok);
    client_send_method(client, 0, &open);
    settle(session);
    client->frame_max = is_small ? SMALL_FRAME_MAX : 131072;
    client_send_method(client, 1, &(struct method){.id = METHOD_CHANNEL_OPEN});
    settle(session);
}

static void
log_in(struct session *session, struct client *client)
{
    shake_hands(session, client);
    assert(session->is_disturbed || client->method_counts[METHOD_CHANNEL_OPEN_OK] == 1);
}

/* Connects the client that is to send, if it is not yet. */
static struct client *
current(struct session *session)
{
    struct client *client = session->current;
    if (client_is_over(client)) {
        if (client->bell >= 0) {
            client_hang_up(client);
            settle(session);
        }
        connect_client(session, client);
        if ((session->settings & SESSION_RAW) == 0 && !session->is_shut_down) {
            log_in(session, client);
        }
    }
    return client;
}

/* Commands ------------------------------------------------------------------------------------ */

static const char *
get_variable(void *context, const char *name)
{
    (void)context;
    return strcmp(name, "N") == 0 ? "narrow" : "guest";
}

/* What SIGHUP does with a file that was read anew: more objects, fewer rights, users that are gone.
 */
static void
reload(struct session *session, uint16_t number)
{
    static const char *const texts[] = {
        "bourse: 1\n"
        "users: {guest: {auth: password, password-env: G, role: admin}}\n"
        "queues: {a: {}, b: {limits: {max-length: 2, on-full: reject}}}\n",
        "bourse: 1\n"
        "users:\n"
        "  guest: {auth: password, password-env: G, role: admin,\n"
        "          rights: {configure: \"^q\", write: \".*\", read: \"^b\"}}\n"
        "  narrow: {auth: password, password-env: N, rights: {read: \"^a\"}}\n",
        "bourse: 1\n"
        "users: {other: {auth: password, password-env: G, role: admin}}\n"
        "exchanges: {x: {type: topic}}\n"
        "queues: {c: {from: [{exchange: x, key: \"#\"}]}}\n",
    };
    struct config_environment environment = {.get_variable = get_variable};
    session->is_disturbed = true;
    struct config *config = config_read_text("f.yaml", bytes_of(texts[number % ARRAY_LEN(texts)]),
                                             CONFIG_FOR_SERVE, &environment);
    assert(config->report.error_count == 0);
    settle(session);
    session->tick_has_begun = false;
    begin_tick(session);
    /* Rejected where a client has made something else under a name; the log says so. */
    char why[512] = "";
    enum status status = core_apply(session->world.core, config, why, sizeof(why));
    assert(status == STATUS_OK || status == STATUS_REJECTED);
    config_free(&config);
    settle(session);
}

static void
hang_up(struct session *session)
{
    struct client *client = session->current;
    if (client->bell >= 0) {
        settle(session);
        client_hang_up(client);
        settle(session);
    }
}

static void
shut_down(struct session *session)
{
    settle(session);
    session->tick_has_begun = false;
    begin_tick(session);
    network_stop_listening(session->network);
    core_shut_down(session->world.core, "shutdown");
    session->is_shut_down = true;
    settle_answers(session);
}

/* Who is not connected any more stays so after a shutdown. */
static bool
can_send(const struct session *session)
{
    const struct client *client = session->current;
    return !session->is_shut_down || !client_is_over(client);
}

static void
handle_command(struct session *session, const struct session_piece *piece)
{
    switch ((enum session_command)piece->type) {
    case SESSION_CLIENT:
        session->current = &session->clients[piece->argument % CLIENTS];
        break;
    case SESSION_STEP:
        settle_answers(session);
        step(session, UINT64_C(10) * piece->argument);
        break;
    case SESSION_STUCK:
        session->is_disturbed = true;
        session->current->is_stuck = piece->argument % 2 == 1;
        break;
    case SESSION_HANG_UP:
        hang_up(session);
        break;
    case SESSION_ALLOC_FAULT:
        session->is_disturbed = true;
        alloc_faults_plan(piece->argument);
        break;
    case SESSION_TURN:
        settle_answers(session);
        break;
    case SESSION_RELOAD:
        reload(session, piece->argument);
        break;
    case SESSION_SHUT_DOWN:
        shut_down(session);
        break;
    case SESSION_COMMANDS_END:
        break;
    }
}

static bool
is_command(const struct session_piece *piece)
{
    return piece->type >= SESSION_CLIENT && piece->type < SESSION_COMMANDS_END;
}

/* Who is polite hears what became of a method before it sends the next one; the frames of a publish
 * belong together. */
static bool
waits_behind(const struct session *session, const struct session_piece *piece)
{
    enum method_id id;
    struct fault fault;
    return (session->settings & SESSION_RUDE) == 0 && piece->type == FRAME_TYPE_METHOD &&
           method_identify(bytes_make(piece->octets.data + FRAME_HEADER_SIZE,
                                      piece->octets.size - FRAME_OVERHEAD),
                           &id, &fault) == STATUS_OK &&
           !method_info(id)->has_content;
}

static void
play(struct session *session, struct bytes input)
{
    struct session_piece piece;
    while (session_piece_next(&input, &piece)) {
        if (is_command(&piece)) {
            handle_command(session, &piece);
        } else if (can_send(session)) {
            client_send(current(session), piece.octets);
            if (waits_behind(session, &piece)) {
                settle_answers(session);
            }
        }
    }
    settle_answers(session);
}

/* Beginning and end --------------------------------------------------------------------------- */

static struct core_settings
core_settings_of(uint8_t settings)
{
    struct core_settings core = core_world_settings();
    core.memory_mark_bytes = (settings & SESSION_MARKED) != 0 ? CHUNK_SIZE / 2 : 0;
    core.unacked_max = (settings & SESSION_FEW_UNACKED) != 0 ? 3 : 0;
    return core;
}

static void
put_users(struct core_world *world)
{
    struct config_user guest = core_world_user("guest", ".*");
    struct config_user narrow = core_world_user("narrow", "^(a|x|amq\\.)");
    struct config_topic_right topic = {
        .exchange = bytes_of("amq.topic"), .write = "^a", .read = "^{username}|a"};
    narrow.topics = &topic;
    narrow.topic_count = 1;
    narrow.channels_max = 2;
    assert(core_world_put_user(world, &guest) == STATUS_OK);
    assert(core_world_put_user(world, &narrow) == STATUS_OK);
}

static void
open_session(struct session *session, uint8_t settings)
{
    struct core_world *world = &session->world;
    struct clock_source clock = {.read = read_clock, .context = session};
    struct net_events events = {.handle = forward_event, .context = session};
    struct core_settings core = core_settings_of(settings);
    struct network_settings network = {.message_bytes_max = core.message_bytes_max};
    char why[128];
    session->settings = settings;
    session->current = &session->clients[0];
    for (size_t i = 0; i < CLIENTS; i++) {
        client_init(&session->clients[i]);
    }
    core_world_init(world, (settings & SESSION_LOGGED) != 0 ? LOG_LEVEL_DEBUG : LOG_LEVEL_ERROR);
    session->network =
        network_new(&network, NULL, core_world_memory(), &clock, &world->log, &events);
    assert(session->network != NULL);
    core_world_open(world, &core, network_port(session->network));
    session->core_events = core_net_events(world->core);
    chunk_pool_share_thread(world->pool, 0, network_chunk_writer(session->network));
    put_users(world);
    enum status status =
        network_listen(session->network,
                       &(struct listener_settings){.host = "127.0.0.1",
                                                   .factory = client_factory(&session->accepted)},
                       &session->port, why, sizeof(why));
    assert(status == STATUS_OK);
}

/* Everybody hangs up; then nobody is left, neither here nor there. */
static void
close_session(struct session *session)
{
    enum { LONGER_THAN_ANY_LINGER_MS = 60000 };
    core_world_check_queues(&session->world);
    for (size_t i = 0; i < CLIENTS; i++) {
        if (session->clients[i].bell >= 0) {
            client_hang_up(&session->clients[i]);
        }
    }
    settle(session);
    step(session, LONGER_THAN_ANY_LINGER_MS);
    assert(core_connection_count(session->world.core) == 0);
    assert(network_link_count(session->network) == 0);
    core_world_close(&session->world);
    network_free(&session->network);
    for (size_t i = 0; i < CLIENTS; i++) {
        client_fini(&session->clients[i]);
    }
}

static void
run_session(struct bytes input, uint32_t fault_number)
{
    if (input.size == 0) {
        return;
    }
    struct session session = {.accepted = NULL};
    alloc_faults_plan(0);
    (void)alloc_faults_hold(true);
    open_session(&session, input.data[0]);
    alloc_faults_plan(fault_number);
    session.is_disturbed = fault_number > 0;
    play(&session, bytes_make(input.data + 1, input.size - 1));
    alloc_faults_plan(0);
    close_session(&session);
}

static void
run(struct bytes input)
{
    run_session(input, 0);
}

static void
run_with_fault(struct bytes input)
{
    if (input.size > FAULT_NUMBER_SIZE) {
        run_session(bytes_make(input.data + FAULT_NUMBER_SIZE, input.size - FAULT_NUMBER_SIZE),
                    1U + get_u16(input.data) % 1024);
    }
}

static size_t
mutate_with_fault(uint8_t *data, size_t size, size_t size_max, struct draw *draw)
{
    if (size <= FAULT_NUMBER_SIZE || draw_chance(draw, 30)) {
        put_u16(data, (uint16_t)draw_below(draw, draw_chance(draw, 50) ? 40 : 1024));
        size = size < FAULT_NUMBER_SIZE ? FAULT_NUMBER_SIZE : size;
    }
    return FAULT_NUMBER_SIZE + session_mutate(data + FAULT_NUMBER_SIZE, size - FAULT_NUMBER_SIZE,
                                              size_max - FAULT_NUMBER_SIZE, draw);
}

const struct fuzz_target fuzz_session = {
    .name = "session", .size_max = INPUT_MAX, .run = run, .mutate = session_mutate};

const struct fuzz_target fuzz_session_memory = {.name = "session_memory",
                                                .size_max = INPUT_MAX,
                                                .run = run_with_fault,
                                                .mutate = mutate_with_fault};

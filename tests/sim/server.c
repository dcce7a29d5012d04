/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/sim/server.h"

#include <stdlib.h>

#include "amqp/properties.h"
#include "base/alloc.h"
#include "broker/access.h"
#include "broker/vhost.h"
#include "tests/sim/body.h"

static void *
heap_map(void *context, size_t size)
{
    (void)context;
    return aligned_alloc(4096, (size + 4095) & ~(size_t)4095);
}

static void
heap_unmap(void *context, void *memory, size_t size)
{
    (void)context;
    (void)size;
    free(memory);
}

static struct clock_reading
read_clock(void *context)
{
    const struct server *server = context;
    return server->now;
}

/* The last line is what is shown when a start is refused without another reason. */
static void
keep_line(void *context, struct bytes line)
{
    struct server *server = context;
    (void)snprintf(server->line, sizeof(server->line), "%.*s", BYTES_FORMAT(line));
}

static enum status
start_check(void *context, uint64_t id, struct bytes password, const char *hash)
{
    struct server *server = context;
    (void)password;
    (void)hash;
    if (server->check_count == SERVER_CHECKS_MAX) {
        return STATUS_FULL;
    }
    server->checks[server->check_count++] = id;
    return STATUS_OK;
}

void
server_init(struct server *server, uint64_t seed, struct net_port tap, struct storage *storage)
{
    *server = (struct server){
        .now = {.monotonic_ms = 1000000, .wall_ms = 1700000000000},
        .random_state = seed,
        .next_link = 1,
        .tap = tap,
        .storage = storage,
    };
    server->log = (struct log){
        .level = LOG_LEVEL_ERROR,
        .write = keep_line,
        .context = server,
        .clock = {.read = read_clock, .context = server},
    };
    buffer_init(&server->scratch);
}

void
server_fini(struct server *server)
{
    server_kill(server);
    buffer_fini(&server->scratch);
}

/* Starting and ending -------------------------------------------------------------------------- */

/* What a file would say: a vhost and a user who may do everything. */
static void
apply_users(struct server *server)
{
    struct config_user user = {
        .name = bytes_of(SERVER_USER),
        .auth = AUTH_PASSWORD,
        .password_hash = "$scrypt$",
        .configure = ".*",
        .write = ".*",
        .read = ".*",
        .connections_max = -1,
        .channels_max = -1,
    };
    struct config config = {
        .vhost = bytes_of("/"),
        .connections_max = -1,
        .queues_max = -1,
        .users = &user,
        .user_count = 1,
    };
    enum status status = core_apply(server->core, &config, server->why, sizeof(server->why));
    assert(status == STATUS_OK);
}

static void
make_core(struct server *server)
{
    struct core_settings settings = {
        .frame_max = 131072,
        .channel_max = 2047,
        .heartbeat_s = 60,
        .message_bytes_max = UINT64_C(16) << 20,
        .memory_mark_bytes = server->memory_mark_bytes,
        .disk_mark_bytes = SERVER_DISK_MARK,
    };
    struct core_ports ports = {
        .net = server->tap,
        .password = {.check = start_check, .context = server},
        .random = random_seeded(&server->random_state),
    };
    server->core = core_new(&settings, &ports, server->pool, &server->log, server->now);
    core_begin_tick(server->core, server->now);
}

static void
forward_chunk(struct server *server, enum net_event_type type, const struct chunk_notice *notice)
{
    struct net_event event = {.type = type, .chunk = *notice};
    struct net_events events = core_net_events(server->core);
    events.handle(events.context, &event);
}

static void
forward_opened(void *context, const struct chunk_notice *notice)
{
    forward_chunk(context, NET_EVENT_CHUNK_OPENED, notice);
}

static void
forward_closed(void *context, const struct chunk_notice *notice)
{
    forward_chunk(context, NET_EVENT_CHUNK_CLOSED, notice);
}

static enum status
start_storage(struct server *server)
{
    if (server->storage == NULL) {
        return STATUS_OK;
    }
    struct random_source random = random_seeded(&server->random_state);
    return storage_start(server->storage, server->core, server->pool, &server->log, &random,
                         &server->cut, server->why, sizeof(server->why));
}

enum status
server_start(struct server *server)
{
    assert(server->core == NULL);
    struct chunk_memory memory = {.map = heap_map, .unmap = heap_unmap};
    struct chunk_sink sink = {
        .opened = forward_opened, .closed = forward_closed, .context = server};
    server->pool = chunk_pool_new_with(memory);
    server->writer = chunk_writer_new(memory, sink);
    make_core(server);
    chunk_pool_share_thread(server->pool, 0, server->writer);
    enum status status = start_storage(server);
    if (status != STATUS_OK) {
        server_kill(server);
        return status;
    }
    apply_users(server);
    return STATUS_OK;
}

/* What was spilled cannot be given back: its place went with the core. */
static void
check_no_content_is_left(struct server *server)
{
    if (server->memory_mark_bytes == 0) {
        chunk_pool_end_tick(server->pool, chunk_pool_tick(server->pool));
        assert(chunk_pool_bytes(server->pool) == 0);
    }
}

void
server_kill(struct server *server)
{
    if (server->core == NULL) {
        return;
    }
    if (server->storage != NULL) {
        storage_drop_jobs(server->storage, server->core);
    }
    core_free(&server->core);
    if (server->storage != NULL) {
        storage_kill(server->storage, server->pool);
    }
    server->check_count = 0;
    check_no_content_is_left(server);
    chunk_pool_free(&server->pool);
    chunk_writer_free(&server->writer);
}

/* Events --------------------------------------------------------------------------------------- */

static const struct journal *
journal_of(const struct server *server)
{
    return server->storage == NULL ? NULL : server->storage->journal;
}

uint64_t
server_log_first(const struct server *server)
{
    return journal_of(server) == NULL ? 0 : journal_open_lsn(journal_of(server)) + 1;
}

uint64_t
server_log_last(const struct server *server)
{
    return journal_of(server) == NULL ? 0 : journal_token(journal_of(server));
}

uint64_t
server_flushed(const struct server *server)
{
    return server->storage == NULL ? 0 : storage_flushed(server->storage);
}

static struct history_span
handle(struct server *server, const struct net_event *event)
{
    struct history_span span = {.first = server_log_first(server)};
    struct net_events events = core_net_events(server->core);
    server->event_count++;
    events.handle(events.context, event);
    span.last = server_log_last(server);
    if (span.last < span.first) {
        span.last = span.first;
    }
    return span;
}

uint64_t
server_connect(struct server *server, const struct net_peer *peer)
{
    uint64_t link = server->next_link++;
    struct net_event event = {
        .type = NET_EVENT_OPENED, .link = link, .opened = {.peer = xalloc(sizeof(*peer))}};
    *event.opened.peer = *peer;
    (void)handle(server, &event);
    return link;
}

struct history_span
server_hang_up(struct server *server, uint64_t link)
{
    struct net_event event = {
        .type = NET_EVENT_CLOSED, .link = link, .closed = {.reason = NET_CLOSE_BY_PEER}};
    return handle(server, &event);
}

struct history_span
server_send(struct server *server, uint64_t link, uint16_t channel, const struct method *method)
{
    buffer_clear(&server->scratch);
    method_encode(&server->scratch, method);
    struct net_event event = {
        .type = NET_EVENT_METHOD,
        .channel = channel,
        .link = link,
        .method = {.payload = buffer_bytes(&server->scratch)},
    };
    return handle(server, &event);
}

static struct chunk_place
make_content(struct server *server, const struct server_publish *publish)
{
    static const uint8_t transient[] = {0, 0};
    static const uint8_t persistent[] = {PROPERTY_DELIVERY_MODE >> 8, 0, DELIVERY_MODE_PERSISTENT};
    struct content_shape shape = {
        .exchange = bytes_of(publish->exchange),
        .routing_key = bytes_of(publish->routing_key),
        .properties = publish->is_persistent ? bytes_make(persistent, sizeof(persistent))
                                             : bytes_make(transient, sizeof(transient)),
        .body_size = publish->size,
        .kind = publish->is_persistent ? CHUNK_KIND_PERSISTENT : CHUNK_KIND_TRANSIENT,
        .flags = publish->is_persistent ? CONTENT_PERSISTENT : 0,
    };
    struct chunk_place place;
    uint8_t *body;
    enum status status = chunk_writer_reserve(server->writer, &shape, &place, &body);
    assert(status == STATUS_OK);
    body_fill(body, publish->number, publish->size);
    return place;
}

struct history_span
server_publish(struct server *server, uint64_t link, uint16_t channel,
               const struct server_publish *publish)
{
    struct net_event event = {
        .type = NET_EVENT_PUBLISH,
        .channel = channel,
        .link = link,
        .publish = {.place = make_content(server, publish),
                    .body_size = publish->size,
                    .exchange = bytes_of(publish->exchange),
                    .routing_key = bytes_of(publish->routing_key),
                    .mandatory = publish->is_mandatory},
    };
    struct history_span span = handle(server, &event);
    chunk_writer_release(server->writer, event.publish.place);
    chunk_writer_report(server->writer);
    return span;
}

void
server_written(struct server *server, uint64_t link, uint64_t octets)
{
    struct net_event event = {
        .type = NET_EVENT_WRITTEN, .link = link, .written = {.octets = octets}};
    (void)handle(server, &event);
}

/* Turns ---------------------------------------------------------------------------------------- */

void
server_turn(struct server *server)
{
    while (server->check_count > 0) {
        core_password_done(server->core, server->checks[--server->check_count], true);
    }
    core_end_tick(server->core);
    server->sealed_last = server_log_last(server);
    core_release_tick(server->core, chunk_pool_tick(server->pool));
    if (server->storage != NULL) {
        storage_end_turn(server->storage, server->core);
    }
    core_begin_tick(server->core, server->now);
}

void
server_step_clock(struct server *server, uint64_t ms)
{
    server->now.monotonic_ms += ms;
    server->now.wall_ms += (int64_t)ms;
    core_begin_tick(server->core, server->now);
}

void
server_check(const struct server *server)
{
    uint32_t vhost_position = 0;
    const struct map_entry *entry;
    while ((entry = map_next(&server->core->vhosts, &vhost_position)) != NULL) {
        const struct vhost *vhost = entry->value;
        uint32_t position = 0;
        while ((entry = map_next(&vhost->queues, &position)) != NULL) {
            queue_check(entry->value);
        }
    }
}

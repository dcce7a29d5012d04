/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/sim/server.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "amqp/properties.h"
#include "amqp/table.h"
#include "base/alloc.h"
#include "broker/topology/vhost.h"
#include "broker/users/user.h"
#include "queues/expiry.h"
#include "tests/sim/body.h"
#include "tests/sim/dice.h"

static void *
heap_map(void *context, size_t size)
{
    (void)context;
    return aligned_alloc(4096, (size + 4095) & ~(size_t)4095);
}

static void
heap_unmap(void *context, void *memory, size_t size)
{
    struct server *server = context;
    wire_check_memory(&server->wire, memory, size);
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
server_init(struct server *server, uint64_t seed, struct net_port tap, struct wire_events to,
            struct storage *storage)
{
    *server = (struct server){
        .now = {.monotonic_ms = 1000000, .wall_ms = 1700000000000},
        .random_state = seed,
        .next_link = 1,
        .tap = tap,
        .storage = storage,
        .is_hurried = dice_mix(seed) % 3 == 0,
    };
    server->log = (struct log){
        .level = LOG_LEVEL_ERROR,
        .write = keep_line,
        .context = server,
        .clock = {.read = read_clock, .context = server},
    };
    buffer_init(&server->scratch);
    wire_init(&server->wire, to);
}

void
server_fini(struct server *server)
{
    server_kill(server);
    wire_fini(&server->wire);
    buffer_fini(&server->scratch);
}

/* Starting and ending -------------------------------------------------------------------------- */

/* As the broker says it. */
static int64_t
limit_of(uint32_t count_max)
{
    return count_max == 0 ? -1 : (int64_t)count_max;
}

/* A vhost and a user who may do everything. */
void
server_apply(struct server *server)
{
    struct config_user user = {
        .name = bytes_of(SERVER_USER),
        .auth = AUTH_PASSWORD,
        .password_hash = "$scrypt$",
        .configure = ".*",
        .write = ".*",
        .read = ".*",
        .connections_max = limit_of(server->user_connections_max),
        .channels_max = limit_of(server->user_channels_max),
    };
    struct config config = {
        .vhost = bytes_of("/"),
        .connections_max = limit_of(server->connections_max),
        .queues_max = limit_of(server->queues_max),
        .policies = server->policies,
        .policy_count = server->policy_count,
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
        .work_per_tick = server->work_per_tick,
        .lend_bytes_min = wire_is_direct(&server->wire) ? 0 : 100, /* about half of them */
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
    struct chunk_memory memory = {.map = heap_map, .unmap = heap_unmap, .context = server};
    server->pool = chunk_pool_new_with(memory);
    make_core(server);
    wire_start(&server->wire, server->pool, memory);
    enum status status = start_storage(server);
    if (status != STATUS_OK) {
        server_kill(server);
        return status;
    }
    server_apply(server);
    return STATUS_OK;
}

/* What was spilled cannot be given back: its place went with the core. */
static void
check_no_content_is_left(struct server *server)
{
    if (server->memory_mark_bytes == 0 && !server->is_broken) {
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
    struct net_events events = core_net_events(server->core);
    wire_drain(&server->wire, &events);
    core_free(&server->core);
    if (server->storage != NULL) {
        storage_kill(server->storage, server->pool);
    }
    server->check_count = 0;
    check_no_content_is_left(server);
    chunk_pool_free(&server->pool);
    wire_stop(&server->wire);
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

struct history_span
server_span_from(const struct server *server, uint64_t first)
{
    uint64_t last = server_log_last(server);
    return (struct history_span){.first = first, .last = last < first ? first : last};
}

struct history_span
server_handle(struct server *server, const struct net_event *event)
{
    uint64_t first = server_log_first(server);
    struct net_events events = core_net_events(server->core);
    server->event_count++;
    events.handle(events.context, event);
    return server_span_from(server, first);
}

/* The event and what is known of it say the same. */
static void
post(struct server *server, struct net_event *event, struct sent *sent)
{
    event->channel = sent->channel;
    event->link = sent->link;
    sent->type = event->type;
    wire_post_event(&server->wire, event, sent);
}

uint64_t
server_connect(struct server *server, uint32_t network, const struct net_peer *peer,
               struct sent *sent)
{
    struct net_event event = {.type = NET_EVENT_OPENED, .opened = {.peer = xalloc(sizeof(*peer))}};
    *event.opened.peer = *peer;
    sent->link = net_no_link(network) | server->next_link++;
    uint64_t link = sent->link;
    post(server, &event, sent);
    return link;
}

void
server_hang_up(struct server *server, struct sent *sent)
{
    struct net_event event = {.type = NET_EVENT_CLOSED, .closed = {.reason = NET_CLOSE_BY_PEER}};
    post(server, &event, sent);
}

void
server_send(struct server *server, const struct method *method, struct sent *sent)
{
    buffer_clear(&server->scratch);
    method_encode(&server->scratch, method);
    struct net_event event = {.type = NET_EVENT_METHOD,
                              .method = {.payload = buffer_bytes(&server->scratch)}};
    post(server, &event, sent);
}

enum { PROPERTIES_SIZE_MAX = 96 };

/* Headers, and nothing else. */
static struct bytes
make_note(const struct server_publish *publish, uint8_t out[static PROPERTIES_SIZE_MAX])
{
    char text[16];
    struct buffer table;
    (void)snprintf(text, sizeof(text), "%" PRIu32, publish->note);
    buffer_init(&table);
    table_put_text(&table, "text", bytes_of(text));
    table_put_integer(&table, "delivery-tag", (int64_t)publish->noted_tag);
    struct bytes octets = buffer_bytes(&table);
    out[0] = PROPERTY_HEADERS >> 8;
    out[1] = 0;
    put_u32(out + 2, (uint32_t)octets.size);
    memcpy(out + 6, octets.data, octets.size);
    size_t size = 6 + octets.size;
    buffer_fini(&table);
    return bytes_make(out, size);
}

static bool
has_headers(const struct server_publish *publish)
{
    return publish->delay != 0 || publish->deliver_at_ms != 0 || publish->noted_tag != 0;
}

/* Returns the octets. */
static size_t
put_headers(uint8_t *out, const struct server_publish *publish)
{
    struct buffer table;
    buffer_init(&table);
    if (publish->delay != 0) {
        table_put_integer(&table, "x-delay", (int64_t)publish->delay - 1);
    }
    if (publish->deliver_at_ms != 0) {
        table_put_integer(&table, "x-deliver-at", (int64_t)publish->deliver_at_ms);
    }
    struct bytes octets = buffer_bytes(&table);
    put_u32(out, (uint32_t)octets.size);
    memcpy(out + 4, octets.data, octets.size);
    size_t size = 4 + octets.size;
    buffer_fini(&table);
    return size;
}

/* Flags, and what is there in the order of the flags. */
static struct bytes
make_properties(const struct server_publish *publish, uint8_t out[static PROPERTIES_SIZE_MAX])
{
    size_t size = 2;
    if (publish->noted_tag != 0) {
        return make_note(publish, out);
    }
    memset(out, 0, PROPERTIES_SIZE_MAX);
    if (has_headers(publish)) {
        out[0] |= PROPERTY_HEADERS >> 8;
        size += put_headers(out + size, publish);
    }
    if (publish->is_persistent) {
        out[0] |= PROPERTY_DELIVERY_MODE >> 8;
        out[size++] = DELIVERY_MODE_PERSISTENT;
    }
    if (publish->priority != 0) {
        out[0] |= PROPERTY_PRIORITY >> 8;
        out[size++] = publish->priority;
    }
    if (publish->expiration != 0) {
        out[0] |= PROPERTY_EXPIRATION >> 8;
        int length = snprintf((char *)out + size + 1, PROPERTIES_SIZE_MAX - size - 1, "%" PRIu64,
                              publish->expiration - 1);
        out[size] = (uint8_t)length;
        size += 1 + (size_t)length;
    }
    if (publish->message_id != NULL) {
        out[1] |= PROPERTY_MESSAGE_ID & UINT8_MAX;
        out[size] = (uint8_t)strlen(publish->message_id);
        memcpy(out + size + 1, publish->message_id, out[size]);
        size += 1U + out[size];
    }
    return bytes_make(out, size);
}

static struct chunk_place
make_content(struct chunk_writer *writer, const struct server_publish *publish)
{
    uint8_t properties[PROPERTIES_SIZE_MAX];
    struct content_shape shape = {
        .exchange = bytes_of(publish->exchange),
        .routing_key = bytes_of(publish->routing_key),
        .properties = make_properties(publish, properties),
        .body_size = publish->size,
        .kind = publish->is_persistent ? CHUNK_KIND_PERSISTENT : CHUNK_KIND_TRANSIENT,
        .flags = (uint16_t)((publish->is_persistent ? CONTENT_PERSISTENT : 0) |
                            (has_headers(publish) ? CONTENT_HAS_HEADERS : 0)),
    };
    struct chunk_place place;
    uint8_t *body;
    enum status status = chunk_writer_reserve(writer, &shape, &place, &body);
    assert(status == STATUS_OK);
    body_fill(body, publish->number, publish->size);
    return place;
}

void
server_publish(struct server *server, const struct server_publish *publish, struct sent *sent)
{
    struct chunk_writer *writer = wire_writer(&server->wire, sent->link);
    struct net_event event = {
        .type = NET_EVENT_PUBLISH,
        .publish = {.place = make_content(writer, publish),
                    .body_size = publish->size,
                    .exchange = bytes_of(publish->exchange),
                    .routing_key = bytes_of(publish->routing_key),
                    .mandatory = publish->is_mandatory},
    };
    post(server, &event, sent);
    chunk_writer_release(writer, event.publish.place);
    if (wire_is_direct(&server->wire)) {
        chunk_writer_report(writer);
    }
}

void
server_written(struct server *server, uint64_t link, uint64_t octets)
{
    struct net_event event = {.type = NET_EVENT_WRITTEN, .written = {.octets = octets}};
    struct sent sent = {.link = link, .message = HISTORY_NONE};
    post(server, &event, &sent);
}

/* Turns ---------------------------------------------------------------------------------------- */

void
server_end_tick(struct server *server)
{
    while (server->check_count > 0) {
        core_password_done(server->core, server->checks[--server->check_count], true);
    }
    core_end_tick(server->core);
    server->sealed_last = server_log_last(server);
}

void
server_release_tick(struct server *server)
{
    uint64_t tick = chunk_pool_tick(server->pool);
    uint64_t passed_tick = wire_flush(&server->wire, tick);
    core_release_tick(server->core, server->frees_early ? tick : passed_tick);
    if (server->storage != NULL) {
        storage_end_turn(server->storage, server->core);
    }
    core_begin_tick(server->core, server->now);
    if (server->is_hurried) {
        server->core->unbinds_left = (uint32_t)(server->event_count % 3);
    }
}

void
server_step_clock(struct server *server, uint64_t ms)
{
    server->now.monotonic_ms += ms;
    server->now.wall_ms += (int64_t)ms;
    core_begin_tick(server->core, server->now);
}

enum server_due
server_look_for_due(struct server *server, const char *queue_name)
{
    struct vhost *vhost = core_find_vhost(server->core, bytes_of("/"));
    const struct queue *queue = vhost_find_queue(vhost, bytes_of(queue_name));
    if (queue == NULL || queue->times == NULL) {
        return SERVER_NOTHING_DUE;
    }
    uint64_t now_ms = server->now.monotonic_ms - server->core->base_ms;
    if (queue_head_is_away(queue)) {
        return SERVER_DUE_LATER; /* nobody knows before it is back */
    }
    if (queue_next_deadline_ms(queue) > now_ms) {
        return SERVER_NOTHING_DUE;
    }
    return list_link_is_linked(&queue->times->link) ? SERVER_DUE_LATER : SERVER_DUE_FORGOTTEN;
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

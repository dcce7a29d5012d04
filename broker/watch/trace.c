/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/watch/trace.h"

#include <stdlib.h>
#include <string.h>

#include "amqp/properties.h"
#include "amqp/table.h"
#include "base/alloc.h"
#include "base/assert.h"
#include "broker/durability/durable_topology.h"
#include "broker/publishing/publish.h"
#include "broker/publishing/route.h"
#include "broker/upkeep/limits.h"
#include "broker/watch/tap.h"

/* A content that waits for the end of the tick. */
struct trace {
    struct vhost *vhost;
    struct content_ref content; /* with a pin */
};

struct traces {
    struct core *core;
    struct trace *waiting; /* owned; in the order in which they were made */
    uint32_t count, capacity;
    struct buffer headers; /* scratch */
    struct buffer nested;  /* scratch */
    struct buffer block;   /* scratch */
};

struct traces *
traces_new(struct core *core)
{
    struct traces *traces = xalloc(sizeof(*traces));
    traces->core = core;
    buffer_init(&traces->headers);
    buffer_init(&traces->nested);
    buffer_init(&traces->block);
    return traces;
}

void
traces_free(struct traces **traces_pointer)
{
    struct traces *traces = *traces_pointer;
    if (traces == NULL) {
        return;
    }
    *traces_pointer = NULL;
    for (uint32_t i = 0; i < traces->count; i++) {
        chunk_pool_release(traces->core->pool, traces->waiting[i].content);
    }
    free(traces->waiting);
    buffer_fini(&traces->headers);
    buffer_fini(&traces->nested);
    buffer_fini(&traces->block);
    free(traces);
}

/* The switch ----------------------------------------------------------------------------------- */

void
vhost_restore_tracing(struct vhost *vhost)
{
    assert(!vhost->is_traced);
    vhost->is_traced = true;
    vhost->core->traced_vhost_count++;
}

bool
vhost_set_tracing(struct vhost *vhost, bool is_traced)
{
    struct core *core = vhost->core;
    if (vhost->is_traced == is_traced) {
        return false;
    }
    vhost->is_traced = is_traced;
    core->traced_vhost_count += is_traced ? 1 : UINT32_MAX;
    vhost_remember(vhost);
    return true;
}

void
vhost_forget_traces(struct vhost *vhost)
{
    struct core *core = vhost->core;
    struct traces *traces = core->traces;
    core->traced_vhost_count -= vhost->is_traced ? 1 : 0;
    vhost->is_traced = false;
    uint32_t kept = 0;
    for (uint32_t i = 0; traces != NULL && i < traces->count; i++) {
        if (traces->waiting[i].vhost == vhost) {
            chunk_pool_release(core->pool, traces->waiting[i].content);
        } else {
            traces->waiting[kept++] = traces->waiting[i];
        }
    }
    if (traces != NULL) {
        traces->count = kept;
    }
}

/* What a trace says ---------------------------------------------------------------------------- */

/* A message on its way, as its trace tells of it; views. */
struct sight {
    struct channel *channel;
    const struct content *content;
    const struct bytes *keys;
    uint32_t key_count;
    const char *event;   /* "publish" or "deliver" */
    struct bytes object; /* exchange or queue: the other half of the trace's key */
    bool is_delivery;
    bool is_redelivered;
};

/* RabbitMQ's clients expect I, four octets; what those do not hold has eight. */
static void
put_integer(struct buffer *table, const char *name, uint64_t value)
{
    if (value > INT32_MAX) {
        table_put_integer(table, name, (int64_t)value);
        return;
    }
    buffer_put_shortstr(table, bytes_of(name));
    buffer_put_u8(table, 'I');
    buffer_put_u32(table, (uint32_t)value);
}

static size_t
begin_array(struct buffer *table, const char *name)
{
    buffer_put_shortstr(table, bytes_of(name));
    buffer_put_u8(table, 'A');
    return table_begin_counted(table);
}

static void
put_item(struct buffer *table, struct bytes text)
{
    buffer_put_u8(table, 'S');
    buffer_put_longstr(table, text);
}

static void
put_keys(struct buffer *table, const struct sight *sight)
{
    size_t size_at = begin_array(table, "routing_keys");
    for (uint32_t i = 0; i < sight->key_count; i++) {
        put_item(table, sight->keys[i]);
    }
    table_end_counted(table, size_at);
}

static void
put_properties(struct buffer *table, const struct properties *properties)
{
    const struct {
        uint16_t flag;
        const char *name;
        struct bytes value;
    } texts[] = {
        {PROPERTY_CONTENT_TYPE, "content_type", properties->content_type},
        {PROPERTY_CONTENT_ENCODING, "content_encoding", properties->content_encoding},
        {PROPERTY_CORRELATION_ID, "correlation_id", properties->correlation_id},
        {PROPERTY_REPLY_TO, "reply_to", properties->reply_to},
        {PROPERTY_EXPIRATION, "expiration", properties->expiration},
        {PROPERTY_MESSAGE_ID, "message_id", properties->message_id},
        {PROPERTY_TYPE, "type", properties->type},
        {PROPERTY_USER_ID, "user_id", properties->user_id},
        {PROPERTY_APP_ID, "app_id", properties->app_id},
        {PROPERTY_CLUSTER_ID, "cluster_id", properties->cluster_id},
    };
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        if ((properties->flags & texts[i].flag) != 0) {
            table_put_text(table, texts[i].name, texts[i].value);
        }
    }
    if ((properties->flags & PROPERTY_HEADERS) != 0) {
        table_put_table(table, "headers", properties->headers);
    }
    if ((properties->flags & PROPERTY_DELIVERY_MODE) != 0) {
        put_integer(table, "delivery_mode", properties->delivery_mode);
    }
    if ((properties->flags & PROPERTY_PRIORITY) != 0) {
        put_integer(table, "priority", properties->priority);
    }
    if ((properties->flags & PROPERTY_TIMESTAMP) != 0) {
        put_integer(table, "timestamp", properties->timestamp);
    }
}

/* As many queues as fit `octets_max`: a message may reach more than a frame can name. */
static void
put_queues(const struct core *core, struct buffer *table, size_t octets_max)
{
    enum { ITEM_OVERHEAD = 5 };
    size_t size_at = begin_array(table, "routed_queues");
    for (uint32_t i = 0; i < core->routes.count; i++) {
        struct bytes name = queue_name(queue_of_target(core->routes.targets[i]));
        if (buffer_size(table) + ITEM_OVERHEAD + name.size > octets_max) {
            break;
        }
        put_item(table, name);
    }
    table_end_counted(table, size_at);
}

/* What fits the header frame of a message that a client could have published. */
static size_t
headers_octets_max(const struct core *core)
{
    enum { FRAME_OVERHEAD_AND_FLAGS = 8 + 12 + 2 + 4 };
    uint32_t frame_max = core->settings.frame_max;
    return frame_max == 0 ? UINT32_MAX : frame_max - FRAME_OVERHEAD_AND_FLAGS;
}

/* Everything but the properties and what a delivery has not. */
static void
put_facts(struct buffer *headers, const struct sight *sight, struct bytes properties)
{
    const struct connection *connection = sight->channel->connection;
    const struct core *core = connection->core;
    table_put_text(headers, "exchange_name", content_exchange(sight->content));
    put_keys(headers, sight);
    table_put_table(headers, "properties", properties);
    table_put_text(headers, "node", bytes_of(core->settings.node_name));
    if (sight->is_delivery) {
        put_integer(headers, "redelivered", sight->is_redelivered ? 1 : 0);
    }
    table_put_text(headers, "vhost", connection->vhost->name);
    table_put_text(headers, "connection", bytes_of(connection->name));
    put_integer(headers, "channel", sight->channel->number);
    table_put_text(headers, "user", connection->user->name);
}

/* Leaves the headers in the scratch buffer. The properties of a message that go too deep, or do not
 * fit, are left out. False: no memory. */
static bool
write_headers(struct traces *traces, const struct sight *sight)
{
    size_t octets_max = headers_octets_max(traces->core);
    UNINITIALIZED struct properties properties;
    struct fault fault;
    buffer_clear(&traces->nested);
    if (properties_decode_kept(&properties, content_properties(sight->content), &fault) ==
        STATUS_OK) {
        put_properties(&traces->nested, &properties);
    }
    buffer_clear(&traces->headers);
    put_facts(&traces->headers, sight, buffer_bytes(&traces->nested));
    if (buffer_size(&traces->headers) > octets_max ||
        table_validate(buffer_bytes(&traces->headers), TABLE_HEADER_FIELDS_MAX, &fault) !=
            STATUS_OK) {
        buffer_clear(&traces->headers);
        put_facts(&traces->headers, sight, bytes_make(NULL, 0));
    }
    if (!sight->is_delivery) {
        put_queues(traces->core, &traces->headers, octets_max);
    }
    return !traces->nested.failed && !traces->headers.failed;
}

/* "publish.orders", cut where no frame could carry it. Static text for no object is "publish.". */
static struct bytes
write_key(const struct sight *sight, uint8_t out[static UINT8_MAX])
{
    size_t event_size = strlen(sight->event);
    memcpy(out, sight->event, event_size);
    out[event_size] = '.';
    size_t room = UINT8_MAX - event_size - 1;
    size_t size =
        sight->object.size <= room ? sight->object.size : bytes_utf8_prefix(sight->object, room);
    if (size > 0) {
        memcpy(out + event_size + 1, sight->object.data, size);
    }
    return bytes_make(out, event_size + 1 + size);
}

/* The content of the trace, with a pin. False: no memory. */
static bool
make_content(struct traces *traces, const struct sight *sight, struct content_ref *ref_out)
{
    uint8_t key[UINT8_MAX];
    struct properties properties = {
        .flags = PROPERTY_HEADERS,
        .headers = buffer_bytes(&traces->headers),
    };
    buffer_clear(&traces->block);
    properties_encode(&traces->block, &properties);
    struct content_shape shape = {
        .exchange = bytes_of(TRACE_EXCHANGE),
        .routing_key = write_key(sight, key),
        .properties = buffer_bytes(&traces->block),
        .body_size = sight->content->body_size,
        .kind = CHUNK_KIND_TRANSIENT,
        .flags = CONTENT_HAS_HEADERS,
    };
    uint8_t *body;
    if (traces->block.failed ||
        chunk_pool_reserve(traces->core->pool, &shape, ref_out, &body) != STATUS_OK) {
        return false;
    }
    if (sight->content->body_size > 0) {
        memcpy(body, content_body(sight->content).data, sight->content->body_size);
    }
    return true;
}

static void
keep(struct traces *traces, struct vhost *vhost, struct content_ref content)
{
    if (traces->count == traces->capacity) {
        traces->capacity = traces->capacity == 0 ? 64 : 2 * traces->capacity;
        traces->waiting = xrealloc(traces->waiting, traces->capacity * sizeof(*traces->waiting));
    }
    traces->waiting[traces->count++] = (struct trace){.vhost = vhost, .content = content};
}

/* Whether it is to be seen at all. */
static bool
leaves_trace(const struct channel *channel, const struct content *content)
{
    const struct vhost *vhost = channel_vhost(channel);
    return vhost->is_traced && !bytes_equal_text(content_exchange(content), TRACE_EXCHANGE);
}

static void
trace(const struct sight *sight)
{
    struct core *core = channel_core(sight->channel);
    struct traces *traces = core->traces;
    struct content_ref content;
    core_spend(core, 1);
    if ((core->alarms & ALARM_MEMORY) != 0 || !write_headers(traces, sight) ||
        !make_content(traces, sight, &content)) {
        core->counters.traces_dropped++;
        return;
    }
    core->counters.traced++;
    keep(traces, channel_vhost(sight->channel), content);
}

void
channel_trace_publish(struct channel *channel, const struct content *content,
                      const struct bytes *keys, uint32_t key_count)
{
    if (!leaves_trace(channel, content)) {
        return;
    }
    struct sight sight = {
        .channel = channel,
        .content = content,
        .keys = keys,
        .key_count = key_count,
        .event = "publish",
        .object = content_exchange(content),
    };
    trace(&sight);
}

/* The keys under which a message came: its own, those of CC, and those of BCC, which stand behind
 * the body. Returns how many. */
static uint32_t
collect_keys(const struct content *content, struct bytes *keys)
{
    UNINITIALIZED struct properties properties;
    struct fault fault;
    uint32_t count = 1;
    keys[0] = content_routing_key(content);
    if ((content->flags & CONTENT_HAS_HEADERS) == 0 ||
        properties_decode_kept(&properties, content_properties(content), &fault) != STATUS_OK ||
        publish_collect_keys(properties.headers, "CC", keys, &count, &fault) != STATUS_OK) {
        return 1;
    }
    struct byte_reader reader = byte_reader_make(content_tail(content));
    uint16_t blind_count = byte_reader_left(&reader) == 0 ? 0 : byte_reader_u16(&reader);
    for (uint16_t i = 0; i < blind_count && count <= PUBLISH_HEADER_KEYS_MAX; i++) {
        struct bytes key = byte_reader_longstr(&reader);
        if (reader.failed) {
            break;
        }
        keys[count++] = key;
    }
    return count;
}

void
channel_trace_delivery(struct channel *channel, const struct queue *queue,
                       const struct content *content, bool is_redelivered)
{
    if (!leaves_trace(channel, content)) {
        return;
    }
    UNINITIALIZED struct bytes keys[1 + PUBLISH_HEADER_KEYS_MAX];
    struct sight sight = {
        .channel = channel,
        .content = content,
        .keys = keys,
        .key_count = collect_keys(content, keys),
        .event = "deliver",
        .object = queue_name(queue),
        .is_delivery = true,
        .is_redelivered = is_redelivered,
    };
    trace(&sight);
}

/* Sending -------------------------------------------------------------------------------------- */

/* One copy for a queue that core->routes has, if there is room for it. */
static void
send_to_queue(struct core *core, struct queue *queue, const struct trace *trace,
              const struct content *content)
{
    struct logged_message message = {.lsn = 0};
    if (core_refuses(core, queue, content->body_size) ||
        queue_reserve(queue, content_level(content, queue)) != STATUS_OK) {
        core->counters.traces_dropped++;
        return;
    }
    core_enqueue(core, queue, trace->content, content, &message);
}

/* Queues behind an exchange that delays have it at once: nothing in its headers asks for more. */
static void
send(struct core *core, const struct trace *trace)
{
    struct exchange *exchange = vhost_find_exchange(trace->vhost, bytes_of(TRACE_EXCHANGE));
    const struct content *content = chunk_pool_content(core->pool, trace->content);
    struct bytes key = content_routing_key(content);
    UNINITIALIZED struct properties properties;
    struct fault fault;
    if (exchange == NULL ||
        properties_decode_kept(&properties, content_properties(content), &fault) != STATUS_OK) {
        return;
    }
    struct route_message message = {
        .keys = &key,
        .key_count = 1,
        .headers = properties.headers,
        .properties = content_properties(content),
    };
    core_route(core, trace->vhost, exchange, &message);
    core_spend(core, 1 + core->routes.count + core->routes.visit_count);
    if (core_is_tapped(core)) {
        core_tap_exchanges(core, trace->vhost, exchange, content, &key, 1);
    }
    for (uint32_t i = 0; i < core->prompt_count; i++) {
        send_to_queue(core, queue_of_target(core->routes.targets[i]), trace, content);
    }
}

void
core_send_traces(struct core *core)
{
    struct traces *traces = core->traces;
    if (traces->count == 0) {
        return;
    }
    /* By number: a queue that is served to make room in it adds further ones. */
    for (uint32_t i = 0; i < traces->count; i++) {
        struct trace trace = traces->waiting[i];
        send(core, &trace);
        chunk_pool_release(core->pool, trace.content);
    }
    traces->count = 0;
}

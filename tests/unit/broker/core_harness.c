/* SPDX-License-Identifier: Apache-2.0 */
/* The core under test and the world around it. */
#include "tests/unit/broker/core_harness.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <stdio.h>
#include <stdlib.h>

#include "amqp/frame.h"
#include "amqp/reply.h"
#include "amqp/table.h"
#include "base/alloc.h"
#include "base/assert.h"
#include "tests/support/alloc_faults.h"
#include "tests/support/exact_copy.h"

static const char SLOW_PREFIX[] = "$scrypt$";
static const char FAST_PREFIX[] = "fast:";

/* Memory of chunks from the heap, so that the sanitizer sees whoever reads it too late. */
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
    const struct rig *rig = context;
    return rig->now;
}

static void
collect_log(void *context, struct bytes line)
{
    bool was_on_hold = alloc_faults_hold(true);
    buffer_put_bytes(context, line);
    alloc_faults_hold(was_on_hold);
}

/* The network ----------------------------------------------------------------------------------
 */

static struct posted *
add_posted(struct rig *rig, const struct net_action *action)
{
    if (rig->posted_count == rig->posted_capacity) {
        rig->posted_capacity = rig->posted_capacity * 2 + 64;
        rig->posted = xrealloc(rig->posted, rig->posted_capacity * sizeof(*rig->posted));
    }
    struct posted *posted = &rig->posted[rig->posted_count++];
    *posted =
        (struct posted){.type = action->type, .channel = action->channel, .link = action->link};
    return posted;
}

static void
copy_method(struct posted *posted, struct bytes payload)
{
    buffer_put_bytes(&posted->octets, payload);
    struct fault fault;
    cr_assert(
        eq(int, method_decode(&posted->method, buffer_bytes(&posted->octets), &fault), STATUS_OK),
        "the core posts what a client can decode: %s", fault.text);
}

static void
copy_deliver(struct posted *posted, const struct net_action *action)
{
    struct method deliver = {
        .id = METHOD_BASIC_DELIVER,
        .basic_deliver = {.consumer_tag = action->deliver.consumer_tag,
                          .delivery_tag = action->deliver.delivery_tag,
                          .redelivered = action->deliver.redelivered,
                          .exchange = action->deliver.exchange,
                          .routing_key = action->deliver.routing_key},
    };
    struct buffer payload;
    buffer_init(&payload);
    method_encode(&payload, &deliver);
    copy_method(posted, buffer_bytes(&payload));
    buffer_fini(&payload);
}

static void
copy_content(struct posted *posted, const struct content *content)
{
    buffer_put_bytes(&posted->content_octets, content_properties(content));
    buffer_put_bytes(&posted->content_octets, content_body(content));
    struct bytes all = buffer_bytes(&posted->content_octets);
    posted->properties = bytes_make(all.data, content->properties_size);
    posted->body = bytes_make(all.data + content->properties_size, content->body_size);
}

static void
copy_action(struct rig *rig, const struct net_action *action)
{
    struct posted *posted = add_posted(rig, action);
    struct rig_link *link = rig_link(rig, action->link);
    switch (action->type) {
    case NET_ACTION_METHOD:
        copy_method(posted, action->method.payload);
        break;
    case NET_ACTION_DELIVER:
        copy_deliver(posted, action);
        copy_content(posted, action->deliver.content);
        break;
    case NET_ACTION_CONTENT:
        copy_method(posted, action->content.payload);
        copy_content(posted, action->content.content);
        break;
    case NET_ACTION_TUNE:
        posted->frame_max = action->tune.frame_max;
        posted->heartbeat_s = action->tune.heartbeat_s;
        link->frame_max = action->tune.frame_max != 0 ? action->tune.frame_max : UINT32_MAX;
        break;
    case NET_ACTION_PAUSE:
    case NET_ACTION_RESUME:
        link->is_paused = action->type == NET_ACTION_PAUSE;
        break;
    case NET_ACTION_CLOSE:
        posted->linger_ms = action->close.linger_ms;
        link->is_closing = true;
        break;
    case NET_ACTION_ESTABLISHED:
    case NET_ACTION_CHUNK_RETURNED:
        break;
    }
}

static void
take_action(void *context, const struct net_action *action)
{
    struct rig *rig = context;
    if (action->type == NET_ACTION_CHUNK_RETURNED) {
        rig->returned = *action;
        rig->returned_count++;
        return;
    }
    cr_assert(ge(u64, action->link, 1));
    cr_assert(le(u64, action->link, rig->link_count));
    struct rig_link *link = rig_link(rig, action->link);
    cr_assert(not(link->is_gone), "nothing is posted for a link that is gone");
    cr_assert(not(link->is_closing), "nothing is posted for a link that was told to close");
    const struct content *content = NULL;
    if (action->type == NET_ACTION_DELIVER) {
        content = action->deliver.content;
    } else if (action->type == NET_ACTION_CONTENT) {
        content = action->content.content;
    }
    link->owed += net_action_octets(action, content, link->frame_max);
    bool was_on_hold = alloc_faults_hold(true);
    copy_action(rig, action);
    alloc_faults_hold(was_on_hold);
    if (action->loan != 0) {
        cr_assert(lt(sz, rig->loan_count, RIG_LOANS_MAX));
        rig->loans[rig->loan_count++] = action->loan;
    }
}

static void
forward_chunk(struct rig *rig, enum net_event_type type, const struct chunk_notice *notice)
{
    struct net_event event = {.type = type, .chunk = *notice};
    rig->events.handle(rig->events.context, &event);
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

static void
deliver_event(struct rig *rig, const struct net_event *event)
{
    rig->events.handle(rig->events.context, event);
    if (!rig->holds_turn) {
        rig_turn(rig);
    }
}

/* Password threads -----------------------------------------------------------------------------
 */

static bool
hash_is_of(const char *hash, struct bytes password)
{
    const char *tail = strncmp(hash, SLOW_PREFIX, sizeof(SLOW_PREFIX) - 1) == 0
                           ? hash + sizeof(SLOW_PREFIX) - 1
                           : hash + sizeof(FAST_PREFIX) - 1;
    return bytes_equal_text(password, tail);
}

static enum status
start_check(void *context, uint64_t id, struct bytes password, const char *hash)
{
    struct rig *rig = context;
    if (rig->check_count >= rig->checks_max) {
        return STATUS_FULL;
    }
    rig->checks_started++;
    rig->checks[rig->check_count++] =
        (struct rig_check){.id = id, .matches = hash_is_of(hash, password)};
    return STATUS_OK;
}

void
rig_verdict(struct rig *rig)
{
    cr_assert(ge(sz, rig->check_count, 1), "no check waits for a verdict");
    struct rig_check check = rig->checks[0];
    rig->check_count--;
    memmove(rig->checks, rig->checks + 1, rig->check_count * sizeof(check));
    core_password_done(rig->core, check.id, check.matches);
}

const char *
rig_slow_hash(const char *password, char out[static RIG_HASH_SIZE])
{
    (void)snprintf(out, RIG_HASH_SIZE, "%s%s", SLOW_PREFIX, password);
    return out;
}

const char *
rig_fast_hash(const char *password, char out[static RIG_HASH_SIZE])
{
    (void)snprintf(out, RIG_HASH_SIZE, "%s%s", FAST_PREFIX, password);
    return out;
}

/* The rig --------------------------------------------------------------------------------------
 */

struct core_settings
rig_settings(void)
{
    return (struct core_settings){
        .frame_max = 131072,
        .channel_max = 2047,
        .heartbeat_s = 60,
        .message_bytes_max = UINT64_C(16) << 20,
    };
}

struct rig *
rig_new_empty(const struct core_settings *settings)
{
    struct rig *rig = xalloc(sizeof(*rig));
    struct core_settings usual = rig_settings();
    rig->now = (struct clock_reading){.monotonic_ms = 1000000, .wall_ms = 1700000000000};
    rig->random_state = 42;
    rig->checks_max = RIG_CHECKS_MAX;
    buffer_init(&rig->log_text);
    rig->log = (struct log){
        .level = LOG_LEVEL_DEBUG,
        .write = collect_log,
        .context = &rig->log_text,
        .clock = {.read = read_clock, .context = rig},
    };
    struct chunk_memory memory = {.map = heap_map, .unmap = heap_unmap};
    struct chunk_sink sink = {.opened = forward_opened, .closed = forward_closed, .context = rig};
    rig->pool = chunk_pool_new_with(memory);
    rig->writer = chunk_writer_new(memory, sink);
    struct core_ports ports = {
        .net = {.post = take_action, .context = rig},
        .password = {.check = start_check, .context = rig},
        .random = random_seeded(&rig->random_state),
    };
    rig->core =
        core_new(settings != NULL ? settings : &usual, &ports, rig->pool, &rig->log, rig->now);
    rig->events = core_net_events(rig->core);
    chunk_pool_share_thread(rig->pool, 0, rig->writer);
    core_begin_tick(rig->core, rig->now);
    return rig;
}

struct rig *
rig_new(const struct core_settings *settings)
{
    struct rig *rig = rig_new_empty(settings);
    (void)rig_add_vhost(rig, "/");
    return rig;
}

void
rig_free(struct rig **rig_pointer)
{
    struct rig *rig = *rig_pointer;
    if (rig == NULL) {
        return;
    }
    core_free(&rig->core);
    chunk_pool_end_tick(rig->pool, chunk_pool_tick(rig->pool));
    cr_expect(eq(u64, chunk_pool_bytes(rig->pool), 0), "a content was not released");
    chunk_pool_free(&rig->pool);
    chunk_writer_free(&rig->writer);
    for (size_t i = 0; i < rig->posted_count; i++) {
        buffer_fini(&rig->posted[i].octets);
        buffer_fini(&rig->posted[i].content_octets);
    }
    free(rig->posted);
    buffer_fini(&rig->log_text);
    free(rig);
    *rig_pointer = NULL;
}

static void
report_written(struct rig *rig)
{
    for (uint64_t id = 1; id <= rig->link_count; id++) {
        struct rig_link *link = rig_link(rig, id);
        if (link->owed == 0 || link->is_stuck || link->is_gone) {
            continue;
        }
        struct net_event event = {
            .type = NET_EVENT_WRITTEN, .link = id, .written = {.octets = link->owed}};
        link->owed = 0;
        rig->events.handle(rig->events.context, &event);
    }
}

void
rig_return_loans(struct rig *rig)
{
    for (size_t i = 0; i < rig->loan_count; i++) {
        struct net_event event = {.type = NET_EVENT_LOAN_RETURNED,
                                  .returned = {.loan = rig->loans[i]}};
        rig->events.handle(rig->events.context, &event);
    }
    rig->loan_count = 0;
}

void
rig_turn(struct rig *rig)
{
    while (!rig->keeps_verdicts && rig->check_count > 0) {
        rig_verdict(rig);
    }
    core_end_tick(rig->core);
    core_release_tick(rig->core, chunk_pool_tick(rig->pool));
    core_begin_tick(rig->core, rig->now);
    report_written(rig);
    if (!rig->keeps_loans) {
        rig_return_loans(rig);
    }
}

void
rig_step(struct rig *rig, uint64_t ms)
{
    rig->now.monotonic_ms += ms;
    rig->now.wall_ms += (int64_t)ms;
    core_begin_tick(rig->core, rig->now);
    rig_turn(rig);
}

struct vhost *
rig_add_vhost(struct rig *rig, const char *name)
{
    struct vhost *vhost = vhost_new(rig->core, bytes_of(name));
    core_add_vhost(rig->core, vhost);
    return vhost;
}

struct vhost *
rig_vhost(struct rig *rig)
{
    return core_find_vhost(rig->core, bytes_of("/"));
}

struct config_user
rig_user(const char *name, const char *hash)
{
    return (struct config_user){
        .name = bytes_of(name),
        .auth = AUTH_PASSWORD,
        .password_hash = hash,
        .configure = ".*",
        .write = ".*",
        .read = ".*",
        .connections_max = -1,
        .channels_max = -1,
    };
}

void
rig_put_user(struct rig *rig, const struct config_user *user)
{
    cr_assert(eq(int, core_put_user(rig->core, user, bytes_of("/")), STATUS_OK));
}

void
rig_add_user(struct rig *rig, const char *name, const char *password)
{
    char hash[RIG_HASH_SIZE];
    struct config_user user = rig_user(name, rig_slow_hash(password, hash));
    rig_put_user(rig, &user);
}

bool
rig_logged(struct rig *rig, const char *text)
{
    struct bytes all = buffer_bytes(&rig->log_text);
    return all.size > 0 && memmem(all.data, all.size, text, strlen(text)) != NULL;
}

/* Links ----------------------------------------------------------------------------------------
 */

struct net_peer
rig_remote_peer(const char *address)
{
    struct net_peer peer = {.port = 40000, .local_port = 5672};
    (void)snprintf(peer.address, sizeof(peer.address), "%s", address);
    (void)snprintf(peer.local_address, sizeof(peer.local_address), "192.0.2.1");
    return peer;
}

struct net_peer
rig_local_peer(void)
{
    struct net_peer peer = rig_remote_peer("127.0.0.1");
    peer.is_loopback = true;
    return peer;
}

uint64_t
rig_open_as(struct rig *rig, const struct net_peer *peer)
{
    cr_assert(lt(sz, rig->link_count, RIG_LINKS_MAX));
    rig->link_count++;
    struct rig_link *link = rig_link(rig, rig->link_count);
    link->frame_max = FRAME_MAX_BEFORE_TUNE;
    link->read = rig->posted_count;
    uint64_t id = rig->link_count;
    struct net_event event = {
        .type = NET_EVENT_OPENED, .link = id, .opened = {.peer = xalloc(sizeof(*peer))}};
    *event.opened.peer = *peer;
    deliver_event(rig, &event);
    return id;
}

uint64_t
rig_open(struct rig *rig)
{
    struct net_peer peer = rig_local_peer();
    return rig_open_as(rig, &peer);
}

void
rig_hang_up(struct rig *rig, uint64_t id)
{
    struct rig_link *link = rig_link(rig, id);
    cr_assert(not(link->is_gone));
    struct net_event event = {
        .type = NET_EVENT_CLOSED,
        .link = id,
        .closed = {.reason = link->is_closing ? NET_CLOSE_BY_CORE : NET_CLOSE_BY_PEER},
    };
    link->is_gone = true; /* from now on nothing is posted for it, not even while this is handled */
    rig->events.handle(rig->events.context, &event);
    if (!rig->holds_turn) {
        rig_turn(rig);
    }
}

/* What clients send ----------------------------------------------------------------------------
 */

void
rig_send_payload(struct rig *rig, uint64_t link, uint16_t channel, struct bytes payload)
{
    cr_assert(not(rig_link(rig, link)->is_paused), "a paused link delivers nothing");
    struct bytes copy = exact_copy(payload);
    struct net_event event = {
        .type = NET_EVENT_METHOD, .channel = channel, .link = link, .method = {.payload = copy}};
    rig->events.handle(rig->events.context, &event);
    exact_copy_free(copy);
    if (!rig->holds_turn) {
        rig_turn(rig);
    }
}

void
rig_send(struct rig *rig, uint64_t link, uint16_t channel, const struct method *method)
{
    struct buffer payload;
    buffer_init(&payload);
    bool was_on_hold = alloc_faults_hold(true);
    method_encode(&payload, method);
    alloc_faults_hold(was_on_hold);
    rig_send_payload(rig, link, channel, buffer_bytes(&payload));
    buffer_fini(&payload);
}

void
rig_send_id(struct rig *rig, uint64_t link, uint16_t channel, enum method_id id)
{
    struct method method = {.id = id};
    rig_send(rig, link, channel, &method);
}

void
rig_send_fault(struct rig *rig, uint64_t link, uint16_t channel, const struct fault *fault)
{
    struct net_event event = {
        .type = NET_EVENT_FAULT, .channel = channel, .link = link, .fault = {.fault = fault}};
    deliver_event(rig, &event);
}

static struct chunk_place
make_content(struct rig *rig, const struct rig_publish *publish)
{
    static const uint8_t no_properties[2] = {0, 0};
    struct content_shape shape = {
        .exchange = bytes_of(publish->exchange),
        .routing_key = bytes_of(publish->routing_key),
        .properties = publish->properties.size > 0
                          ? publish->properties
                          : bytes_make(no_properties, sizeof(no_properties)),
        .body_size = (uint32_t)publish->body.size,
        .kind = publish->is_persistent ? CHUNK_KIND_PERSISTENT : CHUNK_KIND_TRANSIENT,
        .flags = (uint16_t)((publish->is_persistent ? CONTENT_PERSISTENT : 0) |
                            (publish->has_headers ? CONTENT_HAS_HEADERS : 0)),
    };
    struct chunk_place place;
    uint8_t *body;
    cr_assert(eq(int, chunk_writer_reserve(rig->writer, &shape, &place, &body), STATUS_OK));
    if (publish->body.size > 0) {
        memcpy(body, publish->body.data, publish->body.size);
    }
    return place;
}

void
rig_publish_as(struct rig *rig, uint64_t link, uint16_t channel, const struct rig_publish *publish)
{
    cr_assert(not(rig_link(rig, link)->is_paused), "a paused link delivers nothing");
    struct bytes exchange = exact_copy(bytes_of(publish->exchange));
    struct bytes routing_key = exact_copy(bytes_of(publish->routing_key));
    struct net_event event = {
        .type = NET_EVENT_PUBLISH,
        .channel = channel,
        .link = link,
        .publish = {.body_size = publish->body.size,
                    .exchange = exchange,
                    .routing_key = routing_key,
                    .mandatory = publish->mandatory,
                    .immediate = publish->immediate},
    };
    if (publish->oversize != 0) {
        event.publish.body_size = publish->oversize;
    } else {
        bool was_on_hold = alloc_faults_hold(true);
        event.publish.place = make_content(rig, publish);
        alloc_faults_hold(was_on_hold);
    }
    rig->events.handle(rig->events.context, &event);
    if (event.publish.place.content != NULL) {
        chunk_writer_release(rig->writer, event.publish.place);
        chunk_writer_report(rig->writer);
    }
    exact_copy_free(exchange);
    exact_copy_free(routing_key);
    if (!rig->holds_turn) {
        rig_turn(rig);
    }
}

void
rig_publish(struct rig *rig, uint64_t link, uint16_t channel, const char *exchange,
            const char *routing_key, const char *body)
{
    struct rig_publish publish = {
        .exchange = exchange, .routing_key = routing_key, .body = bytes_of(body)};
    rig_publish_as(rig, link, channel, &publish);
}

/* Handshake ------------------------------------------------------------------------------------
 */

static void
put_client_properties(struct buffer *table, bool has_capabilities)
{
    static const char *const names[] = {"consumer_cancel_notify", "connection.blocked",
                                        "authentication_failure_close"};
    table_put_text(table, "connection_name", bytes_of("a client"));
    if (!has_capabilities) {
        return;
    }
    struct buffer capabilities;
    buffer_init(&capabilities);
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        table_put_boolean(&capabilities, names[i], true);
    }
    table_put_table(table, "capabilities", buffer_bytes(&capabilities));
    buffer_fini(&capabilities);
}

void
rig_start_ok(struct rig *rig, uint64_t link, const char *mechanism, struct bytes response,
             bool has_capabilities)
{
    struct buffer table;
    buffer_init(&table);
    put_client_properties(&table, has_capabilities);
    struct method method = {
        .id = METHOD_CONNECTION_START_OK,
        .connection_start_ok = {.client_properties = buffer_bytes(&table),
                                .mechanism = bytes_of(mechanism),
                                .response = response,
                                .locale = bytes_of("en_US")},
    };
    rig_send(rig, link, 0, &method);
    buffer_fini(&table);
}

void
rig_start_plain(struct rig *rig, uint64_t link, const char *user, const char *password)
{
    struct buffer response;
    buffer_init(&response);
    buffer_put_u8(&response, 0);
    buffer_put_bytes(&response, bytes_of(user));
    buffer_put_u8(&response, 0);
    buffer_put_bytes(&response, bytes_of(password));
    rig_start_ok(rig, link, "PLAIN", buffer_bytes(&response), true);
    buffer_fini(&response);
}

void
rig_tune_ok(struct rig *rig, uint64_t link, uint16_t channel_max, uint32_t frame_max,
            uint16_t heartbeat_s)
{
    struct method method = {.id = METHOD_CONNECTION_TUNE_OK,
                            .connection_tune_ok = {.channel_max = channel_max,
                                                   .frame_max = frame_max,
                                                   .heartbeat = heartbeat_s}};
    rig_send(rig, link, 0, &method);
}

void
rig_open_vhost(struct rig *rig, uint64_t link, const char *vhost)
{
    struct method method = {.id = METHOD_CONNECTION_OPEN,
                            .connection_open = {.virtual_host = bytes_of(vhost)}};
    rig_send(rig, link, 0, &method);
}

uint64_t
rig_connect(struct rig *rig, const char *user, const char *password)
{
    uint64_t link = rig_open(rig);
    (void)rig_expect(rig, link, 0, METHOD_CONNECTION_START);
    rig_start_plain(rig, link, user, password);
    const struct connection_tune tune =
        rig_expect(rig, link, 0, METHOD_CONNECTION_TUNE)->connection_tune;
    rig_tune_ok(rig, link, tune.channel_max, tune.frame_max, tune.heartbeat);
    rig_open_vhost(rig, link, "/");
    (void)rig_expect(rig, link, 0, METHOD_CONNECTION_OPEN_OK);
    return link;
}

void
rig_open_channel(struct rig *rig, uint64_t link, uint16_t channel)
{
    rig_send_id(rig, link, channel, METHOD_CHANNEL_OPEN);
    (void)rig_expect(rig, link, channel, METHOD_CHANNEL_OPEN_OK);
}

/* What the core posted -------------------------------------------------------------------------
 */

static bool
is_on_the_wire(enum net_action_type type)
{
    return type == NET_ACTION_METHOD || type == NET_ACTION_DELIVER || type == NET_ACTION_CONTENT;
}

const struct posted *
rig_next(struct rig *rig, uint64_t link)
{
    size_t *read = &rig_link(rig, link)->read;
    while (*read < rig->posted_count) {
        const struct posted *posted = &rig->posted[(*read)++];
        if (posted->link == link && is_on_the_wire(posted->type)) {
            return posted;
        }
    }
    return NULL;
}

const struct posted *
rig_expect_posted(struct rig *rig, uint64_t link, uint16_t channel, enum method_id id)
{
    const struct posted *posted = rig_next(rig, link);
    cr_assert(ne(ptr, (void *)posted, NULL), "%s was expected, nothing came",
              method_info(id)->name);
    const struct method *method = &posted->method;
    cr_assert(eq(int, method->id, id), "%s was expected, %s came: %.*s", method_info(id)->name,
              method_info(method->id)->name,
              method->id == METHOD_CONNECTION_CLOSE ? (int)method->connection_close.reply_text.size
              : method->id == METHOD_CHANNEL_CLOSE  ? (int)method->channel_close.reply_text.size
                                                    : 0,
              method->id == METHOD_CONNECTION_CLOSE
                  ? (const char *)method->connection_close.reply_text.data
                  : (const char *)method->channel_close.reply_text.data);
    cr_assert(eq(u16, posted->channel, channel));
    return posted;
}

const struct method *
rig_expect(struct rig *rig, uint64_t link, uint16_t channel, enum method_id id)
{
    return &rig_expect_posted(rig, link, channel, id)->method;
}

void
rig_expect_nothing(struct rig *rig, uint64_t link)
{
    const struct posted *posted = rig_next(rig, link);
    cr_assert(eq(ptr, (void *)posted, NULL), "nothing was expected, %s came",
              posted != NULL ? method_info(posted->method.id)->name : "");
}

static void
expect_reply(uint16_t code, struct bytes text, uint16_t expected_code, const char *expected)
{
    char whole[600];
    (void)snprintf(whole, sizeof(whole), "%s - %s", reply_code_name(expected_code), expected);
    cr_assert(eq(u16, code, expected_code), "%.*s", BYTES_FORMAT(text));
    cr_assert(bytes_equal_text(text, whole), "\"%.*s\" is not \"%s\"", BYTES_FORMAT(text), whole);
}

void
rig_expect_close(struct rig *rig, uint64_t link, uint16_t code, const char *text)
{
    const struct method *method = rig_expect(rig, link, 0, METHOD_CONNECTION_CLOSE);
    expect_reply(method->connection_close.reply_code, method->connection_close.reply_text, code,
                 text);
}

void
rig_expect_channel_close(struct rig *rig, uint64_t link, uint16_t channel, uint16_t code,
                         const char *text)
{
    const struct method *method = rig_expect(rig, link, channel, METHOD_CHANNEL_CLOSE);
    expect_reply(method->channel_close.reply_code, method->channel_close.reply_text, code, text);
}

size_t
rig_count(const struct rig *rig, uint64_t link, enum net_action_type type)
{
    size_t count = 0;
    for (size_t i = 0; i < rig->posted_count; i++) {
        count += rig->posted[i].link == link && rig->posted[i].type == type ? 1 : 0;
    }
    return count;
}

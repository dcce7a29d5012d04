/* SPDX-License-Identifier: Apache-2.0 */
/* The life of a link. Its descriptor is watched for edges, once, in both directions: pausing,
 * waiting for a writable socket and going on later need no system call then, and a busy link is on
 * a list and not reported again and again. The price is that an edge must not be forgotten: a link
 * that may have more input stays on the ready list until a read said that there is none. */
#include "net/link.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "amqp/frame.h"
#include "amqp/method.h"
#include "base/alloc.h"
#include "base/assert.h"
#include "net/network_state.h"

enum {
    DRAIN_MS = 2000,           /* how long a peer may take to end its side after we ended ours */
    PEER_END_LINGER_MS = 1000, /* a peer that ended its side may still read what was on its way */
    CLASS_AND_METHOD_SIZE = 4,
    CONNECTION_CLOSE = 50,
    CHANNEL_CLOSE = 40,
};

static void link_on_event(struct loop_watch *watch, uint32_t events);
static void link_on_deadline(struct timer *timer, void *context);
static void link_on_heartbeat(struct timer *timer, void *context);

/* Beginning and end --------------------------------------------------------------------------- */

static void
link_arm_deadline(struct link *link, uint64_t due_ms)
{
    timer_arm(&link->network->timers, &link->deadline, due_ms, link_on_deadline, link);
}

/* Neither of them is established: the peer's part is to say hello in time. */
static void
link_init(struct link *link, struct network *network, const struct newcomer *newcomer)
{
    link->watch.ready = link_on_event;
    link->network = network;
    link->fd = newcomer->fd;
    link->source = newcomer->source;
    link->peer = xalloc(sizeof(*link->peer));
    *link->peer = newcomer->peer;
    link->address = xstrdup(newcomer->peer.address);
    link->port = newcomer->peer.port;
    link->state = newcomer->is_behind_proxy ? LINK_PROXY : LINK_HANDSHAKE;
    link->frame_max = FRAME_MAX_BEFORE_TUNE;
    link->read_size = READ_SIZE;
    link->accepted_ms = network->now_ms;
    buffer_init(&link->input);
    assembly_table_init(&link->assemblies);
    output_init(&link->output);
}

struct link *
link_new(struct network *network, const struct newcomer *newcomer)
{
    struct link *link = xalloc(sizeof(*link));
    link_init(link, network, newcomer);
    link->transport = newcomer->factory.make(newcomer->factory.context, link->fd);
    network->unestablished_count++;
    if (link->transport == NULL || network_register(network, link) != STATUS_OK) {
        link_free(link);
        return NULL;
    }
    if (loop_add(&network->loop, &link->watch, link->fd,
                 EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET) != STATUS_OK) {
        link_free(link);
        return NULL;
    }
    uint32_t limit_ms =
        link->peer->is_tls ? network->settings.tls_handshake_ms : network->settings.handshake_ms;
    link_arm_deadline(link, link->accepted_ms + limit_ms);
    if (!link->peer->is_tls && link->state == LINK_HANDSHAKE) {
        (void)link_greet(link);
    }
    return link;
}

static void
link_leave_lists(struct link *link)
{
    list_remove(&link->ready_link);
    list_remove(&link->dirty_link);
    list_remove(&link->report_link);
    timer_cancel(&link->network->timers, &link->deadline);
    timer_cancel(&link->network->timers, &link->heartbeat_timer);
}

void
link_free(struct link *link)
{
    struct network *network = link->network;
    link_leave_lists(link);
    if (!link->is_established) {
        listeners_forget(network, link);
    }
    network_unregister(network, link);
    assembly_table_fini(&link->assemblies, network->writer);
    output_fini(&link->output, &network->outputs);
    buffer_fini(&link->input);
    if (link->transport != NULL) {
        link->transport->operations->free(link->transport);
    }
    close(link->fd);
    atomic_fetch_sub_explicit(&network->load, 1, memory_order_relaxed);
    free(link->peer);
    free(link->address);
    free(link);
}

static void
link_make_report(struct link *link)
{
    if (!list_link_is_linked(&link->report_link)) {
        list_append(&link->network->reports, &link->report_link);
    }
}

/* Its input is of interest again, or of none any more. */
static void
link_forget_room(struct link *link)
{
    if (link->awaits_room) {
        link->awaits_room = false;
        list_remove(&link->ready_link);
    }
}

/* From here on only the socket matters; what the core still posts for the link is dropped. */
static void
link_leave_core(struct link *link, enum net_close_reason reason)
{
    if (link->state >= LINK_CLOSING) {
        return;
    }
    link->reason = reason;
    link->is_paused = false;
    link->awaits_core = false;
    link_forget_room(link);
    link->ignores_content = true;
    timer_cancel(&link->network->timers, &link->heartbeat_timer);
    assembly_table_fini(&link->assemblies, link->network->writer);
}

void
link_end(struct link *link, enum net_close_reason reason)
{
    if (link->state == LINK_ENDED) {
        return;
    }
    link_leave_core(link, reason);
    link_leave_lists(link);
    link->state = LINK_ENDED;
    link->is_closed_due = true;
    link_make_report(link);
}

static void
link_make_dirty(struct link *link)
{
    if (!list_link_is_linked(&link->dirty_link)) {
        list_append(&link->network->dirty, &link->dirty_link);
    }
}

void
link_close(struct link *link, enum net_close_reason reason, uint32_t linger_ms)
{
    if (link->state >= LINK_CLOSING) {
        return;
    }
    if (linger_ms == 0) {
        link_end(link, reason);
        return;
    }
    link_leave_core(link, reason);
    link->state = LINK_CLOSING;
    link_arm_deadline(link, link->network->now_ms + linger_ms);
    link_make_dirty(link);
    link_make_ready(link);
}

/* Everything is written: tells the peer, and then waits for its end. */
static void
link_drain(struct link *link)
{
    link->transport->operations->shutdown(link->transport);
    (void)shutdown(link->fd,
                   SHUT_WR); /* fails only when the peer is gone, which the read will tell */
    link->state = LINK_DRAINING;
    link->is_closed_due = true;
    link_make_report(link);
    link_arm_deadline(link, link->network->now_ms + DRAIN_MS);
    link_make_ready(link);
}

void
link_peer_ended(struct link *link)
{
    if (link->state == LINK_PROTOCOL) {
        /* A connection without an octet is a health probe or a port scan. */
        log_debug(link->network->log, "link.closed_before_protocol_header", "peer=%s port=%u",
                  link->address, link->port);
    }
    if (output_is_empty(&link->output)) {
        link_end(link, NET_CLOSE_BY_PEER);
        return;
    }
    link_close(link, NET_CLOSE_BY_PEER, PEER_END_LINGER_MS);
    link->is_closed_due = true;
    link_make_report(link);
}

void
link_broke(struct link *link, const char *event)
{
    bool is_reset = errno == ECONNRESET || errno == EPIPE;
    log_limited(link->network->log, LOG_LEVEL_DEBUG, event, "peer=%s port=%u reason=\"%s\"",
                link->address, link->port, link->transport->operations->error(link->transport));
    link_end(link, is_reset ? NET_CLOSE_BY_PEER : NET_CLOSE_ERROR);
}

/* Events and timers --------------------------------------------------------------------------- */

static void
link_greeted(struct link *link)
{
    link->transport->operations->describe(link->transport, link->peer);
    link->state = LINK_PROTOCOL;
    link_arm_deadline(link, link->accepted_ms + link->network->settings.handshake_ms);
    link_make_ready(link);
}

bool
link_greet(struct link *link)
{
    struct transport *transport = link->transport;
    transport->used_private_key = false;
    switch (transport->operations->handshake(transport)) {
    case STATUS_OK:
        link_greeted(link);
        break;
    case STATUS_AGAIN:
        break; /* both directions are watched */
    default:
        log_limited(link->network->log, LOG_LEVEL_INFO, "link.handshake_failed",
                    "peer=%s port=%u reason=\"%s\"", link->address, link->port,
                    transport->operations->error(transport));
        link_end(link, NET_CLOSE_ERROR);
        break;
    }
    return transport->used_private_key;
}

/* Puts a link in its handshake on the list of those that may take a step. */
static void
link_make_greeting(struct link *link)
{
    if (!list_link_is_linked(&link->ready_link)) {
        list_append(&link->network->greeting, &link->ready_link);
    }
}

void
link_begin_handshake(struct link *link)
{
    link->state = LINK_HANDSHAKE;
    if (link->peer->is_tls) {
        link_make_greeting(link);
    } else {
        (void)link_greet(link);
    }
}

static void
link_on_event(struct loop_watch *watch, uint32_t events)
{
    struct link *link = CONTAINER_OF(watch, struct link, watch);
    bool is_readable = (events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0;
    bool is_writable = (events & (EPOLLOUT | EPOLLHUP | EPOLLERR)) != 0;
    if ((events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0) {
        link->is_hung_up = true;
    }
    if (link->state == LINK_ENDED) {
        return;
    }
    if (link->state == LINK_PROXY) {
        if (is_readable) {
            link_read_proxy_header(link);
        }
        return;
    }
    if (link->state == LINK_HANDSHAKE) {
        bool wants_write = (link->transport->wants & TRANSPORT_WANTS_WRITE) != 0;
        if (is_readable || (is_writable && wants_write)) {
            link_make_greeting(link);
        }
        return;
    }
    if ((link->is_paused || link->awaits_room) && (events & (EPOLLHUP | EPOLLERR)) != 0) {
        link_end(link, NET_CLOSE_BY_PEER); /* nothing that is unread can be answered any more */
        return;
    }
    if (is_readable) {
        /* The next read may hand out a record that lay in the transport, and not see the socket. */
        link->transport->is_drained = false;
    }
    if (is_readable || (is_writable && link->read_wants_write)) {
        link_make_ready(link);
    }
    if (!output_is_empty(&link->output) && (is_writable || link->write_wants_read)) {
        link_make_dirty(link);
    }
}

static void
link_on_deadline(struct timer *timer, void *context)
{
    (void)timer;
    struct link *link = context;
    if (link->state < LINK_CLOSING) {
        log_limited(link->network->log, LOG_LEVEL_INFO, "link.handshake_timeout",
                    "peer=%s port=%u after_ms=%" PRIu64, link->address, link->port,
                    link->network->now_ms - link->accepted_ms);
    }
    link_end(link, NET_CLOSE_DEADLINE);
}

/* Sends a heartbeat if nothing else is on its way: what is, says as much once the socket takes it,
 * and nothing may come between the octets of a frame. */
static void
link_send_heartbeat(struct link *link)
{
    link->heartbeat.last_write_ms = link->network->now_ms;
    if (!output_is_empty(&link->output)) {
        return;
    }
    if (output_put_uncounted(&link->output, &link->network->outputs, frame_heartbeat,
                             sizeof(frame_heartbeat)) != STATUS_OK) {
        link_end(link, NET_CLOSE_ERROR);
        return;
    }
    link_make_dirty(link);
}

/* A link on the ready list has input that nobody has looked at. */
static bool
link_is_listening(const struct link *link)
{
    return link_may_read(link) && !list_link_is_linked(&link->ready_link);
}

static void
link_arm_heartbeat(struct link *link)
{
    uint64_t due_ms = heartbeat_due_ms(&link->heartbeat, link_is_listening(link));
    timer_arm(&link->network->timers, &link->heartbeat_timer, due_ms, link_on_heartbeat, link);
}

static void
link_on_heartbeat(struct timer *timer, void *context)
{
    (void)timer;
    struct link *link = context;
    uint64_t now_ms = link->network->now_ms;
    switch (heartbeat_check(&link->heartbeat, link_is_listening(link), now_ms)) {
    case HEARTBEAT_FINE:
        break;
    case HEARTBEAT_SEND_DUE:
        link_send_heartbeat(link);
        break;
    case HEARTBEAT_PEER_GONE:
        log_limited(link->network->log, LOG_LEVEL_WARN, "link.heartbeat_missed",
                    "peer=%s port=%u idle_ms=%" PRIu64, link->address, link->port,
                    now_ms - link->heartbeat.last_read_ms);
        link_end(link, NET_CLOSE_HEARTBEAT);
        break;
    }
    if (link->state < LINK_CLOSING) {
        link_arm_heartbeat(link);
    }
}

void
link_make_ready(struct link *link)
{
    bool reads = link_may_read(link) && link->state != LINK_ENDED && link->state > LINK_HANDSHAKE;
    if (reads && !list_link_is_linked(&link->ready_link)) {
        list_append(&link->network->ready, &link->ready_link);
    }
}

/* Writing ------------------------------------------------------------------------------------- */

static size_t
link_write(struct link *link)
{
    uint64_t octets;
    uint64_t counted;
    errno = 0;
    enum status status =
        output_write(&link->output, &link->network->outputs, link->transport, &octets, &counted);
    if (octets > 0) {
        link->heartbeat.last_write_ms = link->network->now_ms;
        link->written += counted;
        link_make_report(link);
    }
    switch (status) {
    case STATUS_OK:
        link->write_wants_read = false;
        if (!output_is_empty(&link->output)) {
            list_append(&link->network->unwritten, &link->dirty_link);
        } else if (link->state == LINK_CLOSING) {
            link_drain(link);
        }
        break;
    case STATUS_AGAIN:
        link->write_wants_read = (link->transport->wants & TRANSPORT_WANTS_READ) != 0;
        break;
    default:
        link_broke(link, "link.write_failed");
        break;
    }
    return octets;
}

size_t
link_flush(struct link *link)
{
    size_t octets = link_write(link);
    if (link->state != LINK_ENDED) {
        link_settle(link);
    }
    return octets;
}

void
link_settle(struct link *link)
{
    if (output_settle(&link->output, &link->network->outputs) != STATUS_OK) {
        link_end(link, NET_CLOSE_ERROR);
    }
}

/* The core ------------------------------------------------------------------------------------ */

void
link_post(struct link *link, struct net_event *event)
{
    const struct net_events *events = &link->network->events;
    link->network->event_count++;
    event->link = link->id;
    events->handle(events->context, event);
}

/* The core knows the link and has not heard of its end. */
static bool
link_is_known(const struct link *link)
{
    return link->is_opened && !link->is_closed_reported;
}

void
link_report(struct link *link)
{
    if (link->written > 0 && link_is_known(link)) {
        struct net_event event = {.type = NET_EVENT_WRITTEN};
        event.written.octets = link->written;
        link->written = 0;
        link_post(link, &event);
    }
    if (link->is_closed_due && link_is_known(link)) {
        link->is_closed_reported = true;
        struct net_event event = {.type = NET_EVENT_CLOSED};
        event.closed.reason = link->reason;
        link_post(link, &event);
    }
    if (link->state == LINK_ENDED) {
        link_free(link);
    }
}

/* The core closes the connection or one of its channels: contents that still come are dropped. */
static void
link_note_close(struct link *link, uint16_t channel, struct bytes payload)
{
    assert(payload.size >= CLASS_AND_METHOD_SIZE);
    uint16_t class_id = get_u16(payload.data);
    uint16_t method_id = get_u16(payload.data + 2);
    if (class_id == CLASS_CONNECTION && method_id == CONNECTION_CLOSE) {
        link->ignores_content = true;
        assembly_table_fini(&link->assemblies, link->network->writer);
        link_find_room(link); /* close-ok is behind what it will drop */
    } else if (class_id == CLASS_CHANNEL && method_id == CHANNEL_CLOSE && !link->ignores_content &&
               assembly_discard(&link->assemblies, link->network->writer, channel) != STATUS_OK) {
        link_end(link, NET_CLOSE_ERROR);
    }
}

static void
link_put(struct link *link, const struct net_action *action, const struct content *content)
{
    if (output_put(&link->output, &link->network->outputs, action, content, link->frame_max) !=
        STATUS_OK) {
        log_limited(link->network->log, LOG_LEVEL_WARN, "link.no_memory", "peer=%s port=%u",
                    link->address, link->port);
        output_pool_return(&link->network->outputs, action->loan);
        link_end(link, NET_CLOSE_ERROR);
        return;
    }
    link_make_dirty(link);
}

static void
link_tune(struct link *link, uint32_t frame_max, uint16_t heartbeat_s)
{
    assert(frame_max >= FRAME_MAX_MINIMUM);
    link->frame_max = frame_max;
    link->heartbeat.interval_ms = heartbeat_s * 1000U;
    link->heartbeat.last_read_ms = link->network->now_ms;
    link->heartbeat.last_write_ms = link->network->now_ms;
    timer_cancel(&link->network->timers, &link->heartbeat_timer);
    if (heartbeat_s > 0) {
        link_arm_heartbeat(link);
    }
}

static void
link_establish(struct link *link)
{
    if (link->is_established) {
        return;
    }
    listeners_forget(link->network, link);
    link->is_established = true;
    timer_cancel(&link->network->timers, &link->deadline);
}

/* The core has dealt with the handshake's last method: the next one may be looked at. */
static void
link_go_on(struct link *link)
{
    if (link->awaits_core) {
        link->awaits_core = false;
        link_make_ready(link);
    }
}

static void
link_resume(struct link *link)
{
    link->is_paused = false;
    link_forget_room(link);                               /* it asks again */
    link->heartbeat.last_read_ms = link->network->now_ms; /* it could not be heard until now */
    link_make_ready(link);
}

bool
link_awaits_room(struct link *link)
{
    struct network *network = link->network;
    if (network_group_has_room(network->group)) {
        return false;
    }
    link->awaits_room = network_await_room(network, link);
    return link->awaits_room;
}

void
link_find_room(struct link *link)
{
    if (link->awaits_room) {
        link_forget_room(link);
        link->heartbeat.last_read_ms = link->network->now_ms; /* as above */
        link_make_ready(link);
    }
}

void
link_act(struct link *link, const struct net_action *action)
{
    if (link->state >= LINK_CLOSING) {
        output_pool_return(&link->network->outputs, action->loan);
        return;
    }
    switch (action->type) {
    case NET_ACTION_METHOD:
        link_note_close(link, action->channel, action->method.payload);
        if (link->state != LINK_ENDED) {
            link_put(link, action, NULL);
        }
        link_go_on(link);
        break;
    case NET_ACTION_DELIVER:
        link_put(link, action, action->deliver.content);
        break;
    case NET_ACTION_CONTENT:
        link_put(link, action, action->content.content);
        break;
    case NET_ACTION_TUNE:
        link_tune(link, action->tune.frame_max, action->tune.heartbeat_s);
        link_go_on(link);
        break;
    case NET_ACTION_ESTABLISHED:
        link_establish(link);
        link_go_on(link);
        break;
    case NET_ACTION_PAUSE:
        link->is_paused = true;
        list_remove(&link->ready_link);
        break;
    case NET_ACTION_RESUME:
        link_go_on(link);
        link_resume(link);
        break;
    case NET_ACTION_CLOSE:
        link_close(link, NET_CLOSE_BY_CORE, action->close.linger_ms);
        break;
    case NET_ACTION_CHUNK_RETURNED:
        break; /* of no link */
    }
}

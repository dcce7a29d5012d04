/* SPDX-License-Identifier: Apache-2.0 */
/* Reading a link: where octets go, and who looks at them. Nearly all go to memory that the links of
 * a network share and are parsed where they lie. */
#include <errno.h>
#include <sys/socket.h>

#include "amqp/frame.h"
#include "base/assert.h"
#include "net/copy.h"
#include "net/input.h"
#include "net/link.h"
#include "net/network_state.h"

enum {
    DIRECT_READ_MIN = 16 * 1024,  /* from here on the rest of a body frame is read into its chunk */
    DIRECT_READ_MAX = 128 * 1024, /* at a time, and of a frame in the link's own buffer */
};

/* Input of a link that is on its way out. Whatever TLS would make of it is of no interest. */
static size_t
link_drop_input(struct link *link)
{
    ssize_t count = recv(link->fd, link->network->scratch, READ_SIZE, MSG_DONTWAIT);
    if (count > 0) {
        link_make_ready(link);
        return (size_t)count;
    }
    bool is_blocked = count < 0 && (errno == EAGAIN || errno == EWOULDBLOCK);
    if (!is_blocked && (link->state == LINK_DRAINING || count < 0)) {
        link_end(link, link->reason);
    }
    return 0;
}

/* Where the next read goes. */
struct read_place {
    uint8_t *at;
    size_t room;
    enum { READ_TO_SCRATCH, READ_TO_INPUT, READ_TO_CONTENT } kind;
};

/* What is read at a time of `left` octets. */
static size_t
direct_room(size_t left)
{
    return left < DIRECT_READ_MAX ? left : DIRECT_READ_MAX;
}

static struct read_place
link_read_place(struct link *link)
{
    size_t tail = buffer_size(&link->input);
    if (link->state == LINK_PROTOCOL) {
        /* No octet more than it takes to tell a client from a stranger. */
        copy_octets(link->network->scratch, buffer_bytes(&link->input).data, tail);
        return (struct read_place){link->network->scratch + tail, PROTOCOL_HEADER_SIZE - tail,
                                   READ_TO_SCRATCH};
    }
    if (link->stream_left > DIRECT_READ_MIN) {
        uint8_t *body = assembly_body_at(&link->assemblies, link->stream_channel);
        if (body != NULL) {
            return (struct read_place){body, direct_room(link->stream_left - 1), READ_TO_CONTENT};
        }
    }
    if (tail > TAIL_COPY_MAX) {
        size_t room = direct_room(link->input_needed - tail);
        return (struct read_place){buffer_reserve(&link->input, room), room, READ_TO_INPUT};
    }
    copy_octets(link->network->scratch, buffer_bytes(&link->input).data, tail);
    return (struct read_place){link->network->scratch + tail, link->read_size, READ_TO_SCRATCH};
}

/* The next read brings about as many messages as a turn should take of one peer. */
static void
link_set_read_size(struct link *link, size_t size, uint64_t event_count)
{
    uint64_t wanted = event_count == 0 ? READ_SIZE : size * READ_EVENTS / event_count;
    link->read_size = wanted < READ_SIZE_MIN ? READ_SIZE_MIN
                      : wanted > READ_SIZE   ? READ_SIZE
                                             : (uint32_t)wanted;
}

/* Keeps what the parser has left in the scratch memory. */
static void
link_keep_input(struct link *link, struct bytes rest)
{
    if (rest.size == 0) {
        buffer_fini(&link->input);
        return;
    }
    buffer_clear(&link->input);
    buffer_put_bytes(&link->input, rest);
    if (link->input.failed) {
        link_end(link, NET_CLOSE_ERROR);
    }
}

/* Parses the link's own buffer in place. */
static void
link_parse_input(struct link *link)
{
    struct bytes octets = buffer_bytes(&link->input);
    size_t done = input_parse(link, octets);
    buffer_consume(&link->input, done);
    if (done == octets.size) {
        buffer_fini(&link->input);
    }
    link->input_is_unparsed = done < octets.size && !link_may_read(link);
}

static void
link_parse_scratch(struct link *link, size_t size)
{
    struct bytes octets = bytes_make(link->network->scratch, size);
    size_t done = input_parse(link, octets);
    link->input_is_unparsed = done < size && !link_may_read(link);
    link_keep_input(link, bytes_make(octets.data + done, size - done));
}

/* `size` octets came to `place`. */
static void
link_took_input(struct link *link, struct read_place place, size_t size)
{
    link->heartbeat.last_read_ms = link->network->now_ms;
    if (link->state == LINK_DISTRUSTED) {
        return;
    }
    uint64_t event_count = link->network->event_count;
    switch (place.kind) {
    case READ_TO_SCRATCH:
        link_parse_scratch(link, (size_t)(place.at - link->network->scratch) + size);
        link_set_read_size(link, size, link->network->event_count - event_count);
        break;
    case READ_TO_INPUT:
        buffer_commit(&link->input, size);
        link_parse_input(link);
        break;
    case READ_TO_CONTENT:
        input_took_body(link, place.at, size);
        break;
    }
}

/* Whether the next read may bring something without the descriptor telling. */
static bool
link_may_have_more(const struct link *link)
{
    const struct transport *transport = link->transport;
    return !transport->is_drained || link->is_hung_up ||
           transport->operations->has_pending(transport);
}

static size_t
link_read_transport(struct link *link)
{
    struct transport *transport = link->transport;
    struct read_place place = link_read_place(link);
    if (place.at == NULL) {
        link_end(link, NET_CLOSE_ERROR);
        return 0;
    }
    size_t size = 0;
    errno = 0;
    switch (transport->operations->read(transport, place.at, place.room, &size)) {
    case STATUS_OK:
        link->read_wants_write = false;
        link_took_input(link, place, size);
        if (link_may_have_more(link)) {
            link_make_ready(link);
        }
        return size;
    case STATUS_AGAIN:
        link->read_wants_write = (transport->wants & TRANSPORT_WANTS_WRITE) != 0;
        return 0;
    case STATUS_CLOSED:
        link_peer_ended(link);
        return 0;
    default:
        link_broke(link, "link.read_failed");
        return 0;
    }
}

/* A transport of records hands out one at a time; those that it has read already are worth no turn
 * of their own. */
static bool
link_has_record(const struct link *link)
{
    const struct transport *transport = link->transport;
    return link->state == LINK_FRAMES && list_link_is_linked(&link->ready_link) &&
           !link->input_is_unparsed && transport->operations->has_pending(transport);
}

static size_t
link_read_records(struct link *link)
{
    size_t size = link_read_transport(link);
    while (size < link->read_size && link_has_record(link)) {
        list_remove(&link->ready_link);
        size += link_read_transport(link);
    }
    return size;
}

size_t
link_read(struct link *link)
{
    if (link->state == LINK_CLOSING || link->state == LINK_DRAINING) {
        return link_drop_input(link);
    }
    assert(link->state != LINK_ENDED);
    if (!link->input_is_unparsed) {
        return link_read_records(link);
    }
    /* What waited since a pause comes first; the socket has its turn after it. */
    size_t size = buffer_size(&link->input);
    link_parse_input(link);
    link_make_ready(link);
    return size;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* The parser of a link. Faults found here end the connection, but it is the core that closes it. */
#include "net/input.h"

#include "amqp/frame.h"
#include "amqp/method.h"
#include "amqp/properties.h"
#include "amqp/reply.h"
#include "base/assert.h"
#include "net/copy.h"
#include "net/network_state.h"
#include "net/whole_publish.h"

enum {
    BASIC_PUBLISH = 40,
    CHANNEL_OPEN = 10,
    CHANNEL_CLOSE_OK = 41,
    METHOD_IDS_SIZE = 4,
    REFUSAL_LINGER_MS = 1000,
};

/* Whether what follows in the input may still be handled. */
static bool
input_goes_on(const struct link *link)
{
    return link->state == LINK_FRAMES && link_may_read(link);
}

/* Reports a fault unless the connection is being closed anyway; contents are of no interest then.
 */
static void
input_fault(struct link *link, uint16_t channel, const struct fault *fault, bool is_publish)
{
    if (link->ignores_content) {
        return;
    }
    link->ignores_content = true;
    assembly_table_fini(&link->assemblies, link->network->writer);
    struct net_event event = {.type = NET_EVENT_FAULT, .channel = channel};
    event.fault.fault = fault;
    event.fault.class_id = is_publish ? CLASS_BASIC : 0;
    event.fault.method_id = is_publish ? BASIC_PUBLISH : 0;
    link_post(link, &event);
}

/* The peer broke the framing: nobody knows where the next frame begins. */
static void
input_break(struct link *link, uint16_t channel, const struct fault *fault)
{
    link->state = LINK_DISTRUSTED;
    link->stream_left = 0;
    input_fault(link, channel, fault, false);
}

static struct assembly_limits
input_limits(const struct link *link)
{
    return (struct assembly_limits){
        .message_bytes_max = link->network->settings.message_bytes_max,
        .bytes_max = link->network->settings.assembly_bytes_max,
    };
}

/* Reports a publish. It has left the table before, so the core may close the channel meanwhile. */
static void
input_publish(struct link *link, uint16_t channel, struct assembled *assembled)
{
    struct net_event event = {.type = NET_EVENT_PUBLISH, .channel = channel};
    event.publish.place = assembled->place;
    event.publish.body_size = assembled->body_size;
    event.publish.exchange = assembled->exchange;
    event.publish.routing_key = assembled->routing_key;
    event.publish.mandatory = assembled->mandatory;
    event.publish.immediate = assembled->immediate;
    link_post(link, &event);
    if (assembled->place.content != NULL) {
        chunk_writer_release(link->network->writer, assembled->place);
    }
    assembled_fini(assembled);
}

/* Methods ------------------------------------------------------------------------------------- */

static void
input_begin_publish(struct link *link, uint16_t channel, struct bytes payload)
{
    UNINITIALIZED struct fault fault;
    UNINITIALIZED struct method method;
    if (method_decode(&method, payload, &fault) != STATUS_OK ||
        assembly_begin(&link->assemblies, channel, &method.basic_publish, &fault) != STATUS_OK) {
        input_fault(link, channel, &fault, true);
    }
}

/* The peer knows that its channel is closed when it says so, or opens the channel anew. */
static bool
ends_discarding(uint16_t class_id, uint16_t method_id)
{
    return class_id == CLASS_CHANNEL &&
           (method_id == CHANNEL_CLOSE_OK || method_id == CHANNEL_OPEN);
}

/* A method where a content was due. */
static void
input_fault_interrupted(struct link *link, uint16_t channel)
{
    UNINITIALIZED struct fault fault;
    enum status status = fault_connection(
        &fault, REPLY_UNEXPECTED_FRAME,
        "expected content header for class %d, got non content header frame instead", CLASS_BASIC);
    if (assembly_has_header(&link->assemblies, channel)) {
        status = fault_connection(&fault, REPLY_UNEXPECTED_FRAME,
                                  "expected content body, got non content body frame instead");
    }
    assert(status == STATUS_FAULT);
    input_fault(link, channel, &fault, true);
}

static void
input_method(struct link *link, const struct frame *frame)
{
    uint16_t class_id = get_u16(frame->payload.data);
    uint16_t method_id = get_u16(frame->payload.data + 2);
    /* Before the connection is open a publish is just another method out of place, and nobody's
     * body gets memory; on channel 0 it is out of place always. */
    bool is_publish = class_id == CLASS_BASIC && method_id == BASIC_PUBLISH &&
                      link->is_established && frame->channel != 0;
    bool is_discarding = assembly_is_discarding(&link->assemblies, frame->channel);
    if (is_publish && (link->ignores_content || is_discarding)) {
        return;
    }
    if (assembly_is_due(&link->assemblies, frame->channel)) {
        input_fault_interrupted(link, frame->channel);
        return;
    }
    if (is_publish) {
        input_begin_publish(link, frame->channel, frame->payload);
        return;
    }
    if (is_discarding && ends_discarding(class_id, method_id)) {
        assembly_forget(&link->assemblies, frame->channel);
    }
    /* The handshake goes step by step: how a frame is to be read may depend on the answer, which
     * takes its time if the core is another thread. */
    link->awaits_core = !link->is_established && !link->ignores_content;
    struct net_event event = {.type = NET_EVENT_METHOD, .channel = frame->channel};
    event.method.payload = frame->payload;
    link_post(link, &event);
}

static void
input_method_frame(struct link *link, const struct frame *frame)
{
    if (frame->payload.size >= METHOD_IDS_SIZE) {
        input_method(link, frame);
        return;
    }
    UNINITIALIZED struct fault fault;
    enum status status = fault_connection(&fault, REPLY_SYNTAX_ERROR,
                                          "method frame of %zu octets has no class and method id",
                                          frame->payload.size);
    assert(status == STATUS_FAULT);
    input_fault(link, frame->channel, &fault, false);
}

/* Contents ------------------------------------------------------------------------------------ */

static void
input_header_frame(struct link *link, const struct frame *frame)
{
    if (link->ignores_content) {
        return;
    }
    bool is_publish = assembly_is_due(&link->assemblies, frame->channel);
    struct assembly_limits limits = input_limits(link);
    struct assembled assembled;
    UNINITIALIZED struct fault fault;
    switch (assembly_header(&link->assemblies, link->network->writer, &limits, frame->channel,
                            frame->payload, &assembled, &fault)) {
    case STATUS_OK:
        input_publish(link, frame->channel, &assembled);
        break;
    case STATUS_FAULT:
        input_fault(link, frame->channel, &fault, is_publish);
        break;
    default:
        break;
    }
}

/* False when a body frame of this size is out of order; its octets are then dropped. */
static bool
input_body_is_right(struct link *link, uint16_t channel, uint32_t size)
{
    UNINITIALIZED struct fault fault;
    if (link->ignores_content) {
        return false;
    }
    if (assembly_check_body(&link->assemblies, channel, size, &fault) != STATUS_OK) {
        input_fault(link, channel, &fault, assembly_is_due(&link->assemblies, channel));
        return false;
    }
    return true;
}

static void
input_end_body(struct link *link, uint16_t channel)
{
    struct assembled assembled;
    if (assembly_end_body(&link->assemblies, link->network->writer, channel, &assembled) ==
        STATUS_OK) {
        input_publish(link, channel, &assembled);
    }
}

static void
input_body_frame(struct link *link, const struct frame *frame)
{
    if (input_body_is_right(link, frame->channel, (uint32_t)frame->payload.size)) {
        assembly_body(&link->assemblies, frame->channel, frame->payload);
        input_end_body(link, frame->channel);
    }
}

/* Starts to take a body frame of which only the front is there; its header was checked. */
static void
input_begin_stream(struct link *link, const uint8_t *header)
{
    link->stream_channel = get_u16(header + 1);
    uint32_t size = get_u32(header + 3);
    link->stream_left = size + 1;
    (void)input_body_is_right(link, link->stream_channel, size);
}

/* Where there is nothing to assemble any more, the octets fall on the floor. */
static void
input_stream_payload(struct link *link, struct bytes octets)
{
    if (!link->ignores_content) {
        assembly_body(&link->assemblies, link->stream_channel, octets);
    }
    link->stream_left -= (uint32_t)octets.size;
}

void
input_took_body(struct link *link, const uint8_t *at, size_t size)
{
    assert(size < link->stream_left);
    input_stream_payload(link, bytes_make(at, size));
}

/* Takes what there is of the current body frame; returns how much that was. */
static size_t
input_stream(struct link *link, struct bytes octets)
{
    size_t payload_left = link->stream_left - 1;
    size_t size = octets.size < payload_left ? octets.size : payload_left;
    input_stream_payload(link, bytes_make(octets.data, size));
    if (link->stream_left > 1 || size == octets.size) {
        return size;
    }
    link->stream_left = 0;
    uint8_t end = octets.data[size];
    if (end != FRAME_END) {
        UNINITIALIZED struct fault fault;
        enum status status = fault_connection(
            &fault, REPLY_FRAME_ERROR, "frame of type %d ends in octet 0x%02x instead of 0x%02x",
            FRAME_TYPE_BODY, end, FRAME_END);
        assert(status == STATUS_FAULT);
        input_break(link, link->stream_channel, &fault);
        return octets.size;
    }
    if (!link->ignores_content) {
        input_end_body(link, link->stream_channel);
    }
    return size + 1;
}

/* Frames -------------------------------------------------------------------------------------- */

static void
input_frame(struct link *link, const struct frame *frame)
{
    switch (frame->type) {
    case FRAME_TYPE_METHOD:
        input_method_frame(link, frame);
        break;
    case FRAME_TYPE_HEADER:
        input_header_frame(link, frame);
        break;
    case FRAME_TYPE_BODY:
        input_body_frame(link, frame);
        break;
    case FRAME_TYPE_HEARTBEAT:
        break; /* that it came was noted when it was read */
    }
}

/* Handles one frame, or the front of a body frame; returns how many octets it took, 0 when more
 * must come first. */
static size_t
input_next_frame(struct link *link, struct bytes octets)
{
    struct frame frame;
    UNINITIALIZED struct fault fault;
    switch (frame_decode(&frame, octets, link->frame_max, &link->input_needed, &fault)) {
    case STATUS_OK:
        if (frame.type == FRAME_TYPE_HEADER && !link->ignores_content && link_awaits_room(link)) {
            return 0;
        }
        input_frame(link, &frame);
        return frame.payload.size + FRAME_OVERHEAD;
    case STATUS_FAULT:
        input_break(link, octets.size >= FRAME_HEADER_SIZE ? get_u16(octets.data + 1) : 0, &fault);
        return octets.size;
    default:
        break;
    }
    if (octets.size < FRAME_HEADER_SIZE || octets.data[0] != FRAME_TYPE_BODY) {
        return 0;
    }
    input_begin_stream(link, octets.data);
    return FRAME_HEADER_SIZE;
}

/* What the header of a whole publish says about its content. False when the block is not right. */
static bool
input_read_properties(struct bytes block, enum chunk_kind *kind_out, uint16_t *flags_out)
{
    uint8_t delivery_mode;
    bool has_headers = false;
    if (!whole_publish_is_plain(block, &delivery_mode)) {
        UNINITIALIZED struct properties properties;
        UNINITIALIZED struct fault fault;
        if (properties_decode(&properties, block, &fault) != STATUS_OK) {
            return false;
        }
        delivery_mode = properties.delivery_mode;
        has_headers = (properties.flags & PROPERTY_HEADERS) != 0;
    }
    bool is_persistent = delivery_mode == DELIVERY_MODE_PERSISTENT;
    *kind_out = is_persistent ? CHUNK_KIND_PERSISTENT : CHUNK_KIND_TRANSIENT;
    *flags_out = (uint16_t)((is_persistent ? CONTENT_PERSISTENT : 0) |
                            (has_headers ? CONTENT_HAS_HEADERS : 0));
    return true;
}

/* Lays down the content of a whole publish; false when the long way has to say why not. */
static bool
input_reserve_whole(struct link *link, struct whole_publish *publish, struct chunk_place *place_out)
{
    struct content_shape *shape = &publish->shape;
    uint8_t *body;
    if (shape->body_size > link->network->settings.message_bytes_max ||
        !input_read_properties(shape->properties, &shape->kind, &shape->flags) ||
        chunk_writer_reserve(link->network->writer, shape, place_out, &body) != STATUS_OK) {
        return false;
    }
    copy_octets(body, publish->body, shape->body_size);
    return true;
}

/* Handles a publish all of which is at the front of `octets`; returns how many octets it took, 0
 * when there is none or something is unusual about it. */
static size_t
input_whole_publish(struct link *link, struct bytes octets)
{
    UNINITIALIZED struct whole_publish publish;
    UNINITIALIZED struct net_event event;
    struct chunk_place *place = &event.publish.place;
    if (!whole_publish_decode(&publish, octets, link->frame_max) ||
        !input_reserve_whole(link, &publish, place)) {
        return 0;
    }
    event.type = NET_EVENT_PUBLISH;
    event.channel = publish.channel;
    event.publish.body_size = publish.shape.body_size;
    event.publish.exchange = content_exchange(place->content);
    event.publish.routing_key = content_routing_key(place->content);
    event.publish.mandatory = publish.mandatory;
    event.publish.immediate = publish.immediate;
    link_post(link, &event);
    chunk_writer_release(link->network->writer, *place);
    return publish.size;
}

/* Whether nothing but the octets themselves decides what a publish means. */
static bool
input_is_plain(const struct link *link)
{
    return link->assemblies.count == 0 && link->is_established && !link->ignores_content;
}

/* Handles what comes next; returns how many octets it took, 0 when more must come first. */
static size_t
input_next(struct link *link, struct bytes octets)
{
    if (link->stream_left > 0) {
        return input_stream(link, octets);
    }
    bool is_short = input_is_plain(link) && network_group_has_room(link->network->group);
    size_t taken = is_short ? input_whole_publish(link, octets) : 0;
    return taken > 0 ? taken : input_next_frame(link, octets);
}

/* Names of publishes whose header frame is not here yet must outlive the read buffer. */
static void
input_keep_names(struct link *link)
{
    if (link->assemblies.borrowed_count == 0) {
        return;
    }
    struct assembly_limits limits = input_limits(link);
    UNINITIALIZED struct fault fault;
    if (assembly_keep_names(&link->assemblies, &limits, &fault) != STATUS_OK) {
        input_fault(link, 0, &fault, true);
    }
}

static size_t
input_frames(struct link *link, struct bytes octets)
{
    size_t done = 0;
    while (done < octets.size && input_goes_on(link)) {
        size_t taken = input_next(link, bytes_make(octets.data + done, octets.size - done));
        if (taken == 0) {
            break;
        }
        done += taken;
    }
    input_keep_names(link);
    assembly_trim(&link->assemblies);
    return link->state == LINK_FRAMES ? done : octets.size;
}

/* Protocol header ----------------------------------------------------------------------------- */

static void
input_refuse(struct link *link, const char *event)
{
    log_limited(link->network->log, LOG_LEVEL_INFO, event, "peer=%s port=%u", link->address,
                link->port);
    if (output_put_uncounted(&link->output, &link->network->outputs, protocol_header_supported,
                             PROTOCOL_HEADER_SIZE) != STATUS_OK) {
        link_end(link, NET_CLOSE_ERROR);
        return;
    }
    link_close(link, NET_CLOSE_BY_PEER, REFUSAL_LINGER_MS);
}

static void
input_open(struct link *link)
{
    link->state = LINK_FRAMES;
    link->is_opened = true;
    struct net_event event = {.type = NET_EVENT_OPENED};
    event.opened.peer = link->peer;
    link->peer = NULL;
    link_post(link, &event);
}

static size_t
input_protocol_header(struct link *link, struct bytes octets)
{
    enum protocol_header header;
    if (protocol_header_decode(octets, &header) != STATUS_OK) {
        link->input_needed = PROTOCOL_HEADER_SIZE;
        return 0;
    }
    switch (header) {
    case PROTOCOL_AMQP_0_9_1:
        input_open(link);
        return PROTOCOL_HEADER_SIZE;
    case PROTOCOL_OTHER_AMQP:
        input_refuse(link, "link.other_amqp_version");
        break;
    case PROTOCOL_HTTP:
        input_refuse(link, "link.http_on_amqp_port");
        break;
    case PROTOCOL_UNKNOWN:
        input_refuse(link, "link.unknown_protocol");
        break;
    case PROTOCOL_TLS:
        log_limited(link->network->log, LOG_LEVEL_INFO, "link.tls_on_plain_port", "peer=%s port=%u",
                    link->address, link->port);
        link_end(link, NET_CLOSE_BY_PEER);
        break;
    }
    return octets.size;
}

size_t
input_parse(struct link *link, struct bytes octets)
{
    size_t done = 0;
    if (link->state == LINK_PROTOCOL) {
        done = input_protocol_header(link, octets);
    }
    if (link->state == LINK_FRAMES) {
        done += input_frames(link, bytes_make(octets.data + done, octets.size - done));
        return done;
    }
    return link->state == LINK_PROTOCOL ? done : octets.size;
}

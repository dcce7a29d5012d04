/* SPDX-License-Identifier: Apache-2.0 */
/* Frames, and the eight octets with which a client opens a connection. */
#include "amqp/frame.h"

#include <inttypes.h>

#include "amqp/reply.h"
#include "base/assert.h"

const uint8_t frame_heartbeat[FRAME_OVERHEAD] = {FRAME_TYPE_HEARTBEAT, 0, 0, 0, 0, 0, 0, FRAME_END};

const uint8_t protocol_header_supported[PROTOCOL_HEADER_SIZE] = {'A', 'M', 'Q', 'P', 0, 0, 9, 1};

/* What can be told to be wrong from the header alone. */
static enum status
check_header(uint8_t type, uint16_t channel, uint32_t payload_size, uint32_t frame_max,
             struct fault *fault)
{
    uint64_t payload_max = (uint64_t)frame_max - FRAME_OVERHEAD;
    switch (type) {
    case FRAME_TYPE_METHOD:
    case FRAME_TYPE_HEADER:
    case FRAME_TYPE_BODY:
        break;
    case FRAME_TYPE_HEARTBEAT:
        if (channel != 0) {
            return fault_connection(fault, REPLY_UNEXPECTED_FRAME, "heartbeat on channel %u",
                                    channel);
        }
        if (payload_size != 0) {
            return fault_connection(fault, REPLY_FRAME_ERROR,
                                    "heartbeat with a payload of %" PRIu32 " octets", payload_size);
        }
        break;
    default:
        return fault_connection(fault, REPLY_FRAME_ERROR, "unknown frame type %u", type);
    }
    if (payload_size > payload_max + FRAME_TOLERANCE) {
        return fault_connection(fault, REPLY_FRAME_ERROR,
                                "frame of type %u has a payload of %" PRIu32
                                " octets, more than the limit of %" PRIu64,
                                type, payload_size, payload_max);
    }
    return STATUS_OK;
}

static enum status
need(size_t *needed_out, size_t size)
{
    if (needed_out != NULL) {
        *needed_out = size;
    }
    return STATUS_AGAIN;
}

enum status
frame_decode(struct frame *frame, struct bytes input, uint32_t frame_max, size_t *needed_out,
             struct fault *fault)
{
    assert(frame_max >= FRAME_OVERHEAD);
    if (input.size < FRAME_HEADER_SIZE) {
        return need(needed_out, FRAME_HEADER_SIZE);
    }
    uint8_t type = input.data[0];
    uint16_t channel = get_u16(input.data + 1);
    uint32_t payload_size = get_u32(input.data + 3);
    enum status status = check_header(type, channel, payload_size, frame_max, fault);
    if (status != STATUS_OK) {
        return status;
    }
    size_t frame_size = (size_t)payload_size + FRAME_OVERHEAD;
    if (input.size < frame_size) {
        return need(needed_out, frame_size);
    }
    uint8_t end = input.data[frame_size - 1];
    if (end != FRAME_END) {
        return fault_connection(fault, REPLY_FRAME_ERROR,
                                "frame of type %u ends in octet 0x%02x instead of 0x%02x", type,
                                end, FRAME_END);
    }
    frame->type = (enum frame_type)type;
    frame->channel = channel;
    frame->payload = bytes_make(input.data + FRAME_HEADER_SIZE, payload_size);
    return STATUS_OK;
}

void
frame_encode(struct buffer *out, enum frame_type type, uint16_t channel, struct bytes payload)
{
    assert(payload.size <= UINT32_MAX - FRAME_OVERHEAD);
    uint8_t *at = buffer_reserve(out, payload.size + FRAME_OVERHEAD);
    if (at == NULL) {
        return;
    }
    frame_put_header(at, type, channel, (uint32_t)payload.size);
    if (payload.size > 0) {
        memcpy(at + FRAME_HEADER_SIZE, payload.data, payload.size);
    }
    at[FRAME_HEADER_SIZE + payload.size] = FRAME_END;
    buffer_commit(out, payload.size + FRAME_OVERHEAD);
}

/* Protocol header ---------------------------------------------------------------------------- */

enum { ANY_OCTET = -1 };

struct protocol_pattern {
    enum protocol_header header;
    size_t size;
    int octets[PROTOCOL_HEADER_SIZE]; /* ANY_OCTET matches each */
};

/* The more specific one of two that begin alike stands first. A TLS record is its type, the version
 * and the length, of two octets each, and here a handshake message of type ClientHello. */
static const struct protocol_pattern patterns[] = {
    {PROTOCOL_AMQP_0_9_1, 8, {'A', 'M', 'Q', 'P', 0, 0, 9, 1}},
    {PROTOCOL_AMQP_0_9_1, 8, {'A', 'M', 'Q', 'P', 1, 1, 0, 9}},
    {PROTOCOL_OTHER_AMQP, 4, {'A', 'M', 'Q', 'P'}},
    {PROTOCOL_HTTP, 4, {'G', 'E', 'T', ' '}},
    {PROTOCOL_HTTP, 5, {'H', 'E', 'A', 'D', ' '}},
    {PROTOCOL_HTTP, 5, {'P', 'O', 'S', 'T', ' '}},
    {PROTOCOL_HTTP, 4, {'P', 'U', 'T', ' '}},
    {PROTOCOL_HTTP, 8, {'O', 'P', 'T', 'I', 'O', 'N', 'S', ' '}},
    {PROTOCOL_HTTP, 8, {'C', 'O', 'N', 'N', 'E', 'C', 'T', ' '}},
    {PROTOCOL_HTTP, 4, {'P', 'R', 'I', ' '}}, /* HTTP/2 */
    {PROTOCOL_TLS, 6, {0x16, 0x03, ANY_OCTET, ANY_OCTET, ANY_OCTET, 0x01}},
};

/* Whether `input` matches the pattern as far as both go. */
static bool
pattern_matches(const struct protocol_pattern *pattern, struct bytes input)
{
    for (size_t i = 0; i < pattern->size && i < input.size; i++) {
        if (pattern->octets[i] != ANY_OCTET && pattern->octets[i] != input.data[i]) {
            return false;
        }
    }
    return true;
}

enum status
protocol_header_decode(struct bytes input, enum protocol_header *header_out)
{
    for (size_t i = 0; i < ARRAY_LEN(patterns); i++) {
        if (!pattern_matches(&patterns[i], input)) {
            continue;
        }
        if (input.size < patterns[i].size) {
            return STATUS_AGAIN;
        }
        *header_out = patterns[i].header;
        return STATUS_OK;
    }
    *header_out = PROTOCOL_UNKNOWN;
    return STATUS_OK;
}

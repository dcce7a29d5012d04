/* SPDX-License-Identifier: Apache-2.0 */
/* Frames of AMQP 0-9-1 (specification, 4.2.3): type, channel, payload size, payload, end octet. */
#ifndef BOURSE_AMQP_FRAME_H
#define BOURSE_AMQP_FRAME_H

#include "base/buffer.h"
#include "base/bytes.h"
#include "base/status.h"

enum frame_type {
    FRAME_TYPE_METHOD = 1,
    FRAME_TYPE_HEADER = 2,
    FRAME_TYPE_BODY = 3,
    FRAME_TYPE_HEARTBEAT = 8,
};

enum {
    FRAME_HEADER_SIZE = 7,
    FRAME_OVERHEAD = 8, /* header and end octet; counts towards frame-max */
    FRAME_END = 0xCE,
    FRAME_TOLERANCE = 8, /* octets over the limit that a client's wrong arithmetic may add */
    FRAME_MAX_BEFORE_TUNE = 8192,
    FRAME_MAX_MINIMUM = 4096,
    PROTOCOL_HEADER_SIZE = 8,
};

struct frame {
    enum frame_type type;
    uint16_t channel;
    struct bytes payload; /* borrowed from the input */
};

/* Decodes the frame at the start of `input`, once all of it has arrived.
 *
 * On STATUS_OK `frame->payload` points into `input`; the frame took payload.size + FRAME_OVERHEAD
 * octets. STATUS_AGAIN asks for more bytes and leaves `frame` alone; `*needed_out` (may be NULL) is
 * then the size of the whole frame when its header is there, else FRAME_HEADER_SIZE. STATUS_FAULT
 * means that the peer broke the framing: an unknown type, a payload over
 * `frame_max - FRAME_OVERHEAD + FRAME_TOLERANCE` (told from the header alone, before the payload
 * has arrived), no end octet where one belongs, a heartbeat with a payload: 501 at connection
 * scope; a heartbeat on a channel other than 0: 505. `frame_max` is at least FRAME_OVERHEAD: who
 * agreed on 0, no limit, passes one all the same. Never allocates. */
MUST_CHECK enum status frame_decode(struct frame *frame, struct bytes input, uint32_t frame_max,
                                    size_t *needed_out, struct fault *fault);

/* Writes the seven octets in front of a payload. */
static inline void
frame_put_header(uint8_t *at, enum frame_type type, uint16_t channel, uint32_t payload_size)
{
    at[0] = (uint8_t)type;
    put_u16(at + 1, channel);
    put_u32(at + 3, payload_size);
}

/* Appends a whole frame around `payload`. */
void frame_encode(struct buffer *out, enum frame_type type, uint16_t channel, struct bytes payload);

/* A heartbeat frame, ready to send. */
extern const uint8_t frame_heartbeat[FRAME_OVERHEAD];

/* What the first eight octets of a connection ask for. */
enum protocol_header {
    PROTOCOL_AMQP_0_9_1, /* AMQP 0 0 9 1, and AMQP 1 1 0 9, which means the same */
    PROTOCOL_OTHER_AMQP, /* answer protocol_header_supported and close */
    PROTOCOL_HTTP,       /* a web browser or probe on the wrong port */
    PROTOCOL_TLS,        /* a TLS hello on the plain port */
    PROTOCOL_UNKNOWN,
};

/* Reads up to PROTOCOL_HEADER_SIZE octets. STATUS_AGAIN while they could still become any answer;
 * STATUS_OK as soon as the answer is certain. */
MUST_CHECK enum status protocol_header_decode(struct bytes input, enum protocol_header *header_out);

extern const uint8_t protocol_header_supported[PROTOCOL_HEADER_SIZE];

#endif

/* SPDX-License-Identifier: Apache-2.0 */

/* AMQP 0-9-1 on the wire, as far as the load generator and the relay need it: big-endian fields
 * written into a buffer of known capacity and read back with bounds. It shares no line with amqp/
 * on purpose: a tool that measures and checks the broker must not inherit the broker's mistakes.
 *
 * A writer that runs over its capacity is our own bug and is asserted. A reader that runs out of
 * bytes returns zeros from then on and sets `failed`; the bytes came from a peer. */

#ifndef BENCH_WIRE_H
#define BENCH_WIRE_H

#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

enum {
    WIRE_FRAME_METHOD = 1,
    WIRE_FRAME_HEADER = 2,
    WIRE_FRAME_BODY = 3,
    WIRE_FRAME_HEARTBEAT = 8,
    WIRE_FRAME_END = 0xCE,
    WIRE_FRAME_HEAD_BYTES = 7,  /* type, channel, payload size */
    WIRE_FRAME_EXTRA_BYTES = 8, /* the head and the end octet */
    WIRE_FRAME_BYTES_MAX = 131072,
    WIRE_SHORTSTR_MAX = 255,
};

/* Class id in the upper half, method id in the lower, as the first four octets of a method frame.
 */
enum wire_method {
    WIRE_CONNECTION_START = 10 << 16 | 10,
    WIRE_CONNECTION_START_OK = 10 << 16 | 11,
    WIRE_CONNECTION_TUNE = 10 << 16 | 30,
    WIRE_CONNECTION_TUNE_OK = 10 << 16 | 31,
    WIRE_CONNECTION_OPEN = 10 << 16 | 40,
    WIRE_CONNECTION_OPEN_OK = 10 << 16 | 41,
    WIRE_CONNECTION_CLOSE = 10 << 16 | 50,
    WIRE_CONNECTION_CLOSE_OK = 10 << 16 | 51,
    WIRE_CONNECTION_BLOCKED = 10 << 16 | 60,
    WIRE_CONNECTION_UNBLOCKED = 10 << 16 | 61,
    WIRE_CHANNEL_OPEN = 20 << 16 | 10,
    WIRE_CHANNEL_OPEN_OK = 20 << 16 | 11,
    WIRE_CHANNEL_CLOSE = 20 << 16 | 40,
    WIRE_CHANNEL_CLOSE_OK = 20 << 16 | 41,
    WIRE_EXCHANGE_DECLARE = 40 << 16 | 10,
    WIRE_EXCHANGE_DECLARE_OK = 40 << 16 | 11,
    WIRE_EXCHANGE_DELETE = 40 << 16 | 20,
    WIRE_EXCHANGE_DELETE_OK = 40 << 16 | 21,
    WIRE_QUEUE_DECLARE = 50 << 16 | 10,
    WIRE_QUEUE_DECLARE_OK = 50 << 16 | 11,
    WIRE_QUEUE_BIND = 50 << 16 | 20,
    WIRE_QUEUE_BIND_OK = 50 << 16 | 21,
    WIRE_QUEUE_DELETE = 50 << 16 | 40,
    WIRE_QUEUE_DELETE_OK = 50 << 16 | 41,
    WIRE_BASIC_QOS = 60 << 16 | 10,
    WIRE_BASIC_QOS_OK = 60 << 16 | 11,
    WIRE_BASIC_CONSUME = 60 << 16 | 20,
    WIRE_BASIC_CONSUME_OK = 60 << 16 | 21,
    WIRE_BASIC_CANCEL = 60 << 16 | 30,
    WIRE_BASIC_CANCEL_OK = 60 << 16 | 31,
    WIRE_BASIC_PUBLISH = 60 << 16 | 40,
    WIRE_BASIC_RETURN = 60 << 16 | 50,
    WIRE_BASIC_DELIVER = 60 << 16 | 60,
    WIRE_BASIC_ACK = 60 << 16 | 80,
    WIRE_BASIC_NACK = 60 << 16 | 120,
    WIRE_CONFIRM_SELECT = 85 << 16 | 10,
    WIRE_CONFIRM_SELECT_OK = 85 << 16 | 11,
};

/* A frame of which all octets have arrived; `payload` points into the input it was found in. */
struct wire_frame {
    uint8_t type;
    uint16_t channel;
    uint32_t payload_bytes;
    const uint8_t *payload;
};

/* What became of an attempt to take one frame from the front of some input. */
enum wire_found {
    WIRE_FOUND_FRAME,
    WIRE_FOUND_TOO_LITTLE, /* more octets have to arrive first */
    WIRE_FOUND_GARBAGE,    /* no end octet where one belongs, or larger than any frame may be */
};

struct wire_writer {
    uint8_t *bytes; /* borrowed */
    size_t length;
    size_t capacity;
    size_t frame_start; /* of the frame begun last */
};

struct wire_reader {
    const uint8_t *at;
    const uint8_t *end;
    bool failed;
};

static inline uint16_t
wire_load_short(const uint8_t *at)
{
    return (uint16_t)(at[0] << 8 | at[1]);
}

static inline uint32_t
wire_load_long(const uint8_t *at)
{
    uint32_t value;
    memcpy(&value, at, sizeof value);
    return __builtin_bswap32(value);
}

static inline uint64_t
wire_load_longlong(const uint8_t *at)
{
    uint64_t value;
    memcpy(&value, at, sizeof value);
    return __builtin_bswap64(value);
}

static inline void
wire_store_long(uint8_t *at, uint32_t value)
{
    value = __builtin_bswap32(value);
    memcpy(at, &value, sizeof value);
}

static inline void
wire_store_longlong(uint8_t *at, uint64_t value)
{
    value = __builtin_bswap64(value);
    memcpy(at, &value, sizeof value);
}

static inline void
wire_put_bytes(struct wire_writer *writer, const void *bytes, size_t length)
{
    assert(length <= writer->capacity - writer->length);
    if (length > 0) {
        memcpy(writer->bytes + writer->length, bytes, length);
    }
    writer->length += length;
}

static inline void
wire_put_octet(struct wire_writer *writer, uint8_t value)
{
    wire_put_bytes(writer, &value, 1);
}

static inline void
wire_put_short(struct wire_writer *writer, uint16_t value)
{
    uint8_t bytes[2] = {(uint8_t)(value >> 8), (uint8_t)value};
    wire_put_bytes(writer, bytes, sizeof bytes);
}

static inline void
wire_put_long(struct wire_writer *writer, uint32_t value)
{
    uint8_t bytes[4];
    wire_store_long(bytes, value);
    wire_put_bytes(writer, bytes, sizeof bytes);
}

static inline void
wire_put_longlong(struct wire_writer *writer, uint64_t value)
{
    uint8_t bytes[8];
    wire_store_longlong(bytes, value);
    wire_put_bytes(writer, bytes, sizeof bytes);
}

static inline void
wire_put_shortstr(struct wire_writer *writer, const char *text)
{
    size_t length = strlen(text);
    assert(length <= WIRE_SHORTSTR_MAX);
    wire_put_octet(writer, (uint8_t)length);
    wire_put_bytes(writer, text, length);
}

/* A field table of no entries. */
static inline void
wire_put_empty_table(struct wire_writer *writer)
{
    wire_put_long(writer, 0);
}

/* Leaves room for a 32-bit length; wire_end_length() fills it in. Returns the place to give it. */
static inline size_t
wire_begin_length(struct wire_writer *writer)
{
    wire_put_long(writer, 0);
    return writer->length;
}

static inline void
wire_end_length(struct wire_writer *writer, size_t begin)
{
    wire_store_long(writer->bytes + begin - 4, (uint32_t)(writer->length - begin));
}

static inline void
wire_begin_frame(struct wire_writer *writer, uint8_t type, uint16_t channel)
{
    writer->frame_start = writer->length;
    wire_put_octet(writer, type);
    wire_put_short(writer, channel);
    wire_put_long(writer, 0);
}

static inline void
wire_end_frame(struct wire_writer *writer)
{
    size_t payload = writer->frame_start + WIRE_FRAME_HEAD_BYTES;
    wire_store_long(writer->bytes + payload - 4, (uint32_t)(writer->length - payload));
    wire_put_octet(writer, WIRE_FRAME_END);
}

static inline void
wire_begin_method(struct wire_writer *writer, uint16_t channel, enum wire_method method)
{
    wire_begin_frame(writer, WIRE_FRAME_METHOD, channel);
    wire_put_long(writer, (uint32_t)method);
}

static inline struct wire_reader
wire_reader_of(const struct wire_frame *frame)
{
    return (struct wire_reader){.at = frame->payload, .end = frame->payload + frame->payload_bytes};
}

/* Returns the place of the next `length` octets, or NULL once the input has run out. */
static inline const uint8_t *
wire_get_bytes(struct wire_reader *reader, size_t length)
{
    if (reader->failed || (size_t)(reader->end - reader->at) < length) {
        reader->failed = true;
        return NULL;
    }
    const uint8_t *bytes = reader->at;
    reader->at += length;
    return bytes;
}

static inline uint8_t
wire_get_octet(struct wire_reader *reader)
{
    const uint8_t *bytes = wire_get_bytes(reader, 1);
    return bytes == NULL ? 0 : bytes[0];
}

static inline uint16_t
wire_get_short(struct wire_reader *reader)
{
    const uint8_t *bytes = wire_get_bytes(reader, 2);
    return bytes == NULL ? (uint16_t)0 : wire_load_short(bytes);
}

static inline uint32_t
wire_get_long(struct wire_reader *reader)
{
    const uint8_t *bytes = wire_get_bytes(reader, 4);
    return bytes == NULL ? 0 : wire_load_long(bytes);
}

static inline uint64_t
wire_get_longlong(struct wire_reader *reader)
{
    const uint8_t *bytes = wire_get_bytes(reader, 8);
    return bytes == NULL ? 0 : wire_load_longlong(bytes);
}

/* Copies a shortstr into `text_out` as a C string; octets that are not printable become '?', for
 * the text is shown to a person. An absent string is "". */
static inline void
wire_get_text(struct wire_reader *reader, char text_out[WIRE_SHORTSTR_MAX + 1])
{
    size_t length = wire_get_octet(reader);
    const uint8_t *bytes = wire_get_bytes(reader, length);
    if (bytes == NULL) {
        length = 0;
    }
    for (size_t i = 0; i < length; i++) {
        text_out[i] = (char)(bytes[i] >= 0x20 && bytes[i] < 0x7F ? bytes[i] : '?');
    }
    text_out[length] = '\0';
}

/* Looks for one whole frame at the front of `length` octets at `input`; never allocates. On
 * WIRE_FOUND_FRAME it occupies payload_bytes + WIRE_FRAME_EXTRA_BYTES octets of the input. */
static inline enum wire_found
wire_find_frame(const uint8_t *input, size_t length, struct wire_frame *frame_out)
{
    if (length < WIRE_FRAME_EXTRA_BYTES) {
        return WIRE_FOUND_TOO_LITTLE;
    }
    uint32_t payload_bytes = wire_load_long(input + 3);
    if (payload_bytes > WIRE_FRAME_BYTES_MAX - WIRE_FRAME_EXTRA_BYTES) {
        return WIRE_FOUND_GARBAGE;
    }
    if (length < (size_t)payload_bytes + WIRE_FRAME_EXTRA_BYTES) {
        return WIRE_FOUND_TOO_LITTLE;
    }
    if (input[WIRE_FRAME_HEAD_BYTES + payload_bytes] != WIRE_FRAME_END) {
        return WIRE_FOUND_GARBAGE;
    }
    *frame_out = (struct wire_frame){
        .type = input[0],
        .channel = wire_load_short(input + 1),
        .payload_bytes = payload_bytes,
        .payload = input + WIRE_FRAME_HEAD_BYTES,
    };
    return WIRE_FOUND_FRAME;
}

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* The method codec. methods.def becomes one straight-line reader and one writer per method: the
 * compiler checks every field's type, and the hot methods need no path of their own. */
#include "amqp/method.h"

#include "amqp/reply.h"
#include "amqp/table.h"
#include "base/assert.h"

/* Methods by id ------------------------------------------------------------------------------ */

#define METHOD(upper, lower, name, class_id, method_id, sender, content, fields)                   \
    [METHOD_##upper] = {name, class_id, method_id, sender, content},
static const struct method_info method_infos[METHOD_COUNT] = {
#include "amqp/methods.def"
};

const struct method_info *
method_info(enum method_id id)
{
    assert(id < METHOD_COUNT);
    return &method_infos[id];
}

enum { METHOD_IDS_SIZE = 4 };

enum status
method_identify(struct bytes payload, enum method_id *id_out, struct fault *fault)
{
    if (payload.size < METHOD_IDS_SIZE) {
        return fault_connection(fault, REPLY_SYNTAX_ERROR, "method frame is cut short");
    }
    uint16_t class_id = get_u16(payload.data);
    uint16_t method_id = get_u16(payload.data + 2);
    switch ((uint32_t)class_id << 16 | method_id) {
#define METHOD(upper, lower, name, class_id, method_id, sender, content, fields)                   \
    case (class_id) << 16 | (method_id):                                                           \
        *id_out = METHOD_##upper;                                                                  \
        return STATUS_OK;
#include "amqp/methods.def"
    default:
        return fault_connection(fault, REPLY_NOT_IMPLEMENTED, "unknown method %u of class %u",
                                method_id, class_id);
    }
}

/* Decoding ----------------------------------------------------------------------------------- */

/* Where the reading of a method's arguments stands. A peer that breaks several rules at once hears
 * of lengths first: what lies in a field means nothing before the fields are known to be there. */
struct decoder {
    struct byte_reader reader;
    uint8_t bits;        /* the octet that the current run of bits shares */
    unsigned bits_left;  /* of it */
    enum status content; /* STATUS_FAULT when a field's content was bad */
    struct fault *fault; /* of the first such field */
};

static bool
decode_bit(struct decoder *decoder)
{
    if (decoder->bits_left == 0) {
        decoder->bits = byte_reader_u8(&decoder->reader);
        decoder->bits_left = 8;
    }
    bool bit = (decoder->bits & 1) != 0;
    decoder->bits >>= 1;
    decoder->bits_left--;
    return bit;
}

/* The reader, for a field that is no bit: it ends a run of them. */
static struct byte_reader *
next_field(struct decoder *decoder)
{
    decoder->bits_left = 0;
    return &decoder->reader;
}

static struct bytes
decode_shortstr(struct decoder *decoder)
{
    struct bytes text = byte_reader_shortstr(next_field(decoder));
    if (!bytes_is_utf8(text) && decoder->content == STATUS_OK) {
        decoder->content =
            fault_connection(decoder->fault, REPLY_FRAME_ERROR, "Malformed UTF-8 in shortstr");
    }
    return text;
}

static struct bytes
decode_table(struct decoder *decoder)
{
    struct bytes table = byte_reader_longstr(next_field(decoder));
    if (decoder->content == STATUS_OK) {
        decoder->content = table_validate(table, TABLE_FIELDS_MAX, decoder->fault);
    }
    return table;
}

#define OCTET(name) arguments->name = byte_reader_u8(next_field(decoder));
#define SHORT(name) arguments->name = byte_reader_u16(next_field(decoder));
#define LONG(name) arguments->name = byte_reader_u32(next_field(decoder));
#define LONGLONG(name) arguments->name = byte_reader_u64(next_field(decoder));
#define BIT(name) arguments->name = decode_bit(decoder);
#define SHORTSTR(name) arguments->name = decode_shortstr(decoder);
#define LONGSTR(name) arguments->name = byte_reader_longstr(next_field(decoder));
#define TABLE(name) arguments->name = decode_table(decoder);
#define NO_FIELDS                                                                                  \
    (void)decoder;                                                                                 \
    arguments->nothing = 0;
#define METHOD(upper, lower, name, class_id, method_id, sender, content, fields)                   \
    static void decode_##lower(struct decoder *decoder, struct lower *arguments)                   \
    {                                                                                              \
        fields                                                                                     \
    }
#include "amqp/methods.def"

/* The verdict after the last field. */
static enum status
decoder_finish(struct decoder *decoder, enum method_id id)
{
    const char *name = method_infos[id].name;
    if (decoder->reader.failed) {
        return fault_connection(decoder->fault, REPLY_SYNTAX_ERROR, "arguments of %s are cut short",
                                name);
    }
    size_t left = byte_reader_left(&decoder->reader);
    if (left != 0) {
        return fault_connection(decoder->fault, REPLY_SYNTAX_ERROR,
                                "%zu octets left over after the arguments of %s", left, name);
    }
    return decoder->content;
}

enum status
method_decode(struct method *method, struct bytes payload, struct fault *fault)
{
    enum method_id id;
    enum status status = method_identify(payload, &id, fault);
    if (status != STATUS_OK) {
        return status;
    }
    struct bytes rest = bytes_make(payload.data + METHOD_IDS_SIZE, payload.size - METHOD_IDS_SIZE);
    struct decoder decoder = {.reader = byte_reader_make(rest), .fault = fault};
    switch (id) {
#define METHOD(upper, lower, name, class_id, method_id, sender, content, fields)                   \
    case METHOD_##upper: {                                                                         \
        struct lower arguments = {0};                                                              \
        decode_##lower(&decoder, &arguments);                                                      \
        status = decoder_finish(&decoder, id);                                                     \
        if (status == STATUS_OK) {                                                                 \
            method->lower = arguments;                                                             \
        }                                                                                          \
        break;                                                                                     \
    }
#include "amqp/methods.def"
    case METHOD_COUNT:
        assert(id != METHOD_COUNT);
    }
    if (status == STATUS_OK) {
        method->id = id;
    }
    return status;
}

/* Encoding ----------------------------------------------------------------------------------- */

struct encoder {
    struct buffer *out;
    uint8_t bits;
    unsigned bit_count;
};

/* Writes the octet of a run of bits that has ended. */
static void
flush_bits(struct encoder *encoder)
{
    if (encoder->bit_count > 0) {
        buffer_put_u8(encoder->out, encoder->bits);
    }
    encoder->bits = 0;
    encoder->bit_count = 0;
}

static void
encode_bit(struct encoder *encoder, bool bit)
{
    if (encoder->bit_count == 8) {
        flush_bits(encoder);
    }
    encoder->bits = (uint8_t)(encoder->bits | bit << encoder->bit_count);
    encoder->bit_count++;
}

/* The output, for a field that is no bit: it ends a run of them. */
static struct buffer *
next_output(struct encoder *encoder)
{
    flush_bits(encoder);
    return encoder->out;
}

#define OCTET(name) buffer_put_u8(next_output(encoder), arguments->name);
#define SHORT(name) buffer_put_u16(next_output(encoder), arguments->name);
#define LONG(name) buffer_put_u32(next_output(encoder), arguments->name);
#define LONGLONG(name) buffer_put_u64(next_output(encoder), arguments->name);
#define BIT(name) encode_bit(encoder, arguments->name);
#define SHORTSTR(name) buffer_put_shortstr(next_output(encoder), arguments->name);
#define LONGSTR(name) buffer_put_longstr(next_output(encoder), arguments->name);
#define TABLE(name) buffer_put_longstr(next_output(encoder), arguments->name);
#define NO_FIELDS                                                                                  \
    (void)encoder;                                                                                 \
    (void)arguments;
#define METHOD(upper, lower, name, class_id, method_id, sender, content, fields)                   \
    static void encode_##lower(struct encoder *encoder, const struct lower *arguments)             \
    {                                                                                              \
        fields                                                                                     \
    }
#include "amqp/methods.def"

void
method_encode(struct buffer *out, const struct method *method)
{
    const struct method_info *info = method_info(method->id);
    struct encoder encoder = {.out = out};
    buffer_put_u16(out, info->class_id);
    buffer_put_u16(out, info->method_id);
    switch (method->id) {
#define METHOD(upper, lower, name, class_id, method_id, sender, content, fields)                   \
    case METHOD_##upper:                                                                           \
        encode_##lower(&encoder, &method->lower);                                                  \
        break;
#include "amqp/methods.def"
    case METHOD_COUNT:
        assert(method->id != METHOD_COUNT);
    }
    flush_bits(&encoder);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Content headers and their property blocks, in the order of the flags (specification, 4.2.6.1 and
 * the class basic). */
#include "amqp/properties.h"

#include "amqp/reply.h"
#include "amqp/table.h"

/* Bit 0 announces a second flag word, which fourteen properties never need; bit 1 is no property.
 */
enum { PROPERTY_FLAGS_UNDEFINED = 0x0003 };

enum { CLASS_ID_SIZE = 2, WEIGHT_SIZE = 2, BODY_SIZE_SIZE = 8, FLAG_WORD_SIZE = 2 };
enum { CONTENT_HEADER_FIXED_SIZE = CLASS_ID_SIZE + WEIGHT_SIZE + BODY_SIZE_SIZE };

enum status
content_header_decode(struct content_header *header, struct bytes payload, struct fault *fault)
{
    if (payload.size < CONTENT_HEADER_FIXED_SIZE + FLAG_WORD_SIZE) {
        return fault_connection(fault, REPLY_SYNTAX_ERROR, "content header is cut short");
    }
    struct byte_reader reader = byte_reader_make(payload);
    uint16_t class_id = byte_reader_u16(&reader);
    uint16_t weight = byte_reader_u16(&reader);
    if (weight != 0) {
        return fault_connection(fault, REPLY_UNEXPECTED_FRAME,
                                "content header has weight %u instead of 0", weight);
    }
    header->class_id = class_id;
    header->body_size = byte_reader_u64(&reader);
    header->properties = byte_reader_take(&reader, byte_reader_left(&reader));
    return STATUS_OK;
}

/* Readers that read only what the flags announce. */
static struct bytes
read_shortstr(struct byte_reader *reader, uint16_t flags, enum property_flag flag)
{
    return (flags & flag) != 0 ? byte_reader_shortstr(reader) : (struct bytes){0};
}

static uint8_t
read_octet(struct byte_reader *reader, uint16_t flags, enum property_flag flag)
{
    return (flags & flag) != 0 ? byte_reader_u8(reader) : 0;
}

static struct properties
read_properties(struct byte_reader *reader)
{
    struct properties read = {.flags = byte_reader_u16(reader)};
    uint16_t flags = read.flags;
    read.content_type = read_shortstr(reader, flags, PROPERTY_CONTENT_TYPE);
    read.content_encoding = read_shortstr(reader, flags, PROPERTY_CONTENT_ENCODING);
    if ((flags & PROPERTY_HEADERS) != 0) {
        read.headers = byte_reader_longstr(reader);
    }
    read.delivery_mode = read_octet(reader, flags, PROPERTY_DELIVERY_MODE);
    read.priority = read_octet(reader, flags, PROPERTY_PRIORITY);
    read.correlation_id = read_shortstr(reader, flags, PROPERTY_CORRELATION_ID);
    read.reply_to = read_shortstr(reader, flags, PROPERTY_REPLY_TO);
    read.expiration = read_shortstr(reader, flags, PROPERTY_EXPIRATION);
    read.message_id = read_shortstr(reader, flags, PROPERTY_MESSAGE_ID);
    if ((flags & PROPERTY_TIMESTAMP) != 0) {
        read.timestamp = byte_reader_u64(reader);
    }
    read.type = read_shortstr(reader, flags, PROPERTY_TYPE);
    read.user_id = read_shortstr(reader, flags, PROPERTY_USER_ID);
    read.app_id = read_shortstr(reader, flags, PROPERTY_APP_ID);
    read.cluster_id = read_shortstr(reader, flags, PROPERTY_CLUSTER_ID);
    return read;
}

static enum status
decode(struct properties *properties, struct bytes block, uint32_t fields_max, struct fault *fault)
{
    struct byte_reader reader = byte_reader_make(block);
    struct properties read = read_properties(&reader);
    if ((read.flags & PROPERTY_FLAGS_UNDEFINED) != 0) {
        return fault_connection(fault, REPLY_SYNTAX_ERROR,
                                "property flags 0x%04x include undefined ones", read.flags);
    }
    if (reader.failed) {
        return fault_connection(fault, REPLY_SYNTAX_ERROR, "properties are cut short");
    }
    if (byte_reader_left(&reader) != 0) {
        return fault_connection(fault, REPLY_SYNTAX_ERROR,
                                "%zu octets left over after the properties",
                                byte_reader_left(&reader));
    }
    enum status status = table_validate(read.headers, fields_max, fault);
    if (status != STATUS_OK) {
        return status;
    }
    *properties = read;
    return STATUS_OK;
}

enum status
properties_decode(struct properties *properties, struct bytes block, struct fault *fault)
{
    return decode(properties, block, TABLE_HEADER_FIELDS_MAX, fault);
}

enum status
properties_decode_kept(struct properties *properties, struct bytes block, struct fault *fault)
{
    return decode(properties, block, UINT32_MAX, fault);
}

int
properties_read_priority(struct bytes block)
{
    struct byte_reader reader = byte_reader_make(block);
    uint16_t flags = byte_reader_u16(&reader);
    (void)read_shortstr(&reader, flags, PROPERTY_CONTENT_TYPE);
    (void)read_shortstr(&reader, flags, PROPERTY_CONTENT_ENCODING);
    if ((flags & PROPERTY_HEADERS) != 0) {
        (void)byte_reader_longstr(&reader);
    }
    (void)read_octet(&reader, flags, PROPERTY_DELIVERY_MODE);
    return byte_reader_u8(&reader);
}

/* Writers that write only what the flags announce. */
static void
write_shortstr(struct buffer *out, uint16_t flags, enum property_flag flag, struct bytes value)
{
    if ((flags & flag) != 0) {
        buffer_put_shortstr(out, value);
    }
}

static void
write_octet(struct buffer *out, uint16_t flags, enum property_flag flag, uint8_t value)
{
    if ((flags & flag) != 0) {
        buffer_put_u8(out, value);
    }
}

void
properties_encode(struct buffer *out, const struct properties *properties)
{
    uint16_t flags = properties->flags;
    buffer_put_u16(out, flags);
    write_shortstr(out, flags, PROPERTY_CONTENT_TYPE, properties->content_type);
    write_shortstr(out, flags, PROPERTY_CONTENT_ENCODING, properties->content_encoding);
    if ((flags & PROPERTY_HEADERS) != 0) {
        buffer_put_longstr(out, properties->headers);
    }
    write_octet(out, flags, PROPERTY_DELIVERY_MODE, properties->delivery_mode);
    write_octet(out, flags, PROPERTY_PRIORITY, properties->priority);
    write_shortstr(out, flags, PROPERTY_CORRELATION_ID, properties->correlation_id);
    write_shortstr(out, flags, PROPERTY_REPLY_TO, properties->reply_to);
    write_shortstr(out, flags, PROPERTY_EXPIRATION, properties->expiration);
    write_shortstr(out, flags, PROPERTY_MESSAGE_ID, properties->message_id);
    if ((flags & PROPERTY_TIMESTAMP) != 0) {
        buffer_put_u64(out, properties->timestamp);
    }
    write_shortstr(out, flags, PROPERTY_TYPE, properties->type);
    write_shortstr(out, flags, PROPERTY_USER_ID, properties->user_id);
    write_shortstr(out, flags, PROPERTY_APP_ID, properties->app_id);
    write_shortstr(out, flags, PROPERTY_CLUSTER_ID, properties->cluster_id);
}

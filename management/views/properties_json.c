/* SPDX-License-Identifier: Apache-2.0 */
#include "management/views/properties_json.h"

#include <stdio.h>

#include "base/assert.h"

/* The properties that are texts, in the order in which they are written. */
static const struct {
    const char *name;
    uint16_t flag;
    size_t offset;
} texts[] = {
    {"content_type", PROPERTY_CONTENT_TYPE, offsetof(struct properties, content_type)},
    {"content_encoding", PROPERTY_CONTENT_ENCODING, offsetof(struct properties, content_encoding)},
    {"correlation_id", PROPERTY_CORRELATION_ID, offsetof(struct properties, correlation_id)},
    {"reply_to", PROPERTY_REPLY_TO, offsetof(struct properties, reply_to)},
    {"expiration", PROPERTY_EXPIRATION, offsetof(struct properties, expiration)},
    {"message_id", PROPERTY_MESSAGE_ID, offsetof(struct properties, message_id)},
    {"type", PROPERTY_TYPE, offsetof(struct properties, type)},
    {"user_id", PROPERTY_USER_ID, offsetof(struct properties, user_id)},
    {"app_id", PROPERTY_APP_ID, offsetof(struct properties, app_id)},
    {"cluster_id", PROPERTY_CLUSTER_ID, offsetof(struct properties, cluster_id)},
};

static struct bytes *
text_of(struct properties *properties, size_t offset)
{
    return (struct bytes *)(void *)((char *)properties + offset);
}

static void
write_numbers(struct json_writer *json, const struct properties *properties)
{
    if ((properties->flags & PROPERTY_DELIVERY_MODE) != 0) {
        json_put_unsigned(json, "delivery_mode", properties->delivery_mode);
    }
    if ((properties->flags & PROPERTY_PRIORITY) != 0) {
        json_put_unsigned(json, "priority", properties->priority);
    }
    if ((properties->flags & PROPERTY_TIMESTAMP) != 0) {
        json_put_unsigned(json, "timestamp", properties->timestamp);
    }
}

void
properties_write(struct json_writer *json, struct bytes block)
{
    UNINITIALIZED struct properties properties;
    struct fault fault;
    json_begin_object(json);
    if (properties_decode_kept(&properties, block, &fault) == STATUS_OK) {
        for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
            if ((properties.flags & texts[i].flag) != 0) {
                json_put_text(json, texts[i].name, *text_of(&properties, texts[i].offset));
            }
        }
        write_numbers(json, &properties);
        if ((properties.flags & PROPERTY_HEADERS) != 0) {
            json_key(json, "headers");
            json_table(json, properties.headers);
        }
    }
    json_end_object(json);
}

/* Reading ------------------------------------------------------------------------------------ */

static bool
read_texts(const json_t *object, struct properties *properties, char *why)
{
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        struct bytes text = bytes_make(NULL, 0);
        if (!json_read_text(object, texts[i].name, &text, why)) {
            return false;
        }
        if (text.size > UINT8_MAX) {
            (void)snprintf(why, JSON_WHY_SIZE, "\"%s\" has more than 255 octets", texts[i].name);
            return false;
        }
        if (text.data != NULL) {
            *text_of(properties, texts[i].offset) = text;
            properties->flags |= texts[i].flag;
        }
    }
    return true;
}

static bool
read_number(const json_t *object, const char *name, int64_t max, uint16_t flag,
            struct properties *properties, int64_t *out, char *why)
{
    *out = -1;
    if (!json_read_integer(object, name, 0, max, out, why)) {
        return false;
    }
    properties->flags |= *out >= 0 ? flag : 0;
    return true;
}

static bool
read_numbers(const json_t *object, struct properties *properties, char *why)
{
    int64_t mode;
    int64_t priority;
    int64_t timestamp;
    if (!read_number(object, "delivery_mode", 2, PROPERTY_DELIVERY_MODE, properties, &mode, why) ||
        !read_number(object, "priority", UINT8_MAX, PROPERTY_PRIORITY, properties, &priority,
                     why) ||
        !read_number(object, "timestamp", INT64_MAX, PROPERTY_TIMESTAMP, properties, &timestamp,
                     why)) {
        return false;
    }
    properties->delivery_mode = (uint8_t)mode;
    properties->priority = (uint8_t)priority;
    properties->timestamp = (uint64_t)timestamp;
    return true;
}

static bool
read_headers(const json_t *object, struct properties *properties, struct buffer *table, char *why)
{
    const json_t *headers = json_object_get(object, "headers");
    if (headers == NULL || json_is_null(headers)) {
        return true;
    }
    if (!json_is_object(headers)) {
        (void)snprintf(why, JSON_WHY_SIZE, "\"headers\" takes an object");
        return false;
    }
    if (!json_read_table(headers, table, why)) {
        return false;
    }
    properties->headers = buffer_bytes(table);
    properties->flags |= PROPERTY_HEADERS;
    return true;
}

bool
properties_read(const json_t *object, struct buffer *out, char why[static JSON_WHY_SIZE])
{
    struct properties properties = {.flags = 0};
    struct buffer table;
    buffer_init(&table);
    bool is_good = read_texts(object, &properties, why) && read_numbers(object, &properties, why) &&
                   read_headers(object, &properties, &table, why);
    if (is_good) {
        properties_encode(out, &properties);
    }
    buffer_fini(&table);
    if (is_good && out->failed) {
        (void)snprintf(why, JSON_WHY_SIZE, "no memory for it");
    }
    return is_good && !out->failed;
}

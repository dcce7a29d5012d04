/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/text/message_headers.h"

#include <errno.h>
#include <stdlib.h>

#include "amqp/properties.h"
#include "amqp/table.h"

enum { NAME_SIZE_MAX = 255, VALUE_SIZE_MAX = 64 * 1024 };

static bool
is_integer(const char *text, int64_t *value_out)
{
    char *end;
    errno = 0;
    long long value = strtoll(text, &end, 10);
    bool begins = (text[0] >= '0' && text[0] <= '9') || text[0] == '-' || text[0] == '+';
    *value_out = value;
    return begins && end != text && *end == '\0' && errno == 0;
}

static void
put_list(struct buffer *table, const char *name, const char *keys)
{
    buffer_put_shortstr(table, bytes_of(name));
    buffer_put_u8(table, 'A');
    size_t size_at = table_begin_counted(table);
    for (;;) {
        size_t size = strcspn(keys, ",");
        buffer_put_u8(table, 'S');
        buffer_put_longstr(table, bytes_make(keys, size));
        if (keys[size] == '\0') {
            break;
        }
        keys += size + 1;
    }
    table_end_counted(table, size_at);
}

static void
put_value(struct buffer *table, const char *name, const char *value)
{
    size_t size = strlen(value);
    int64_t integer;
    if (strcmp(name, "CC") == 0 || strcmp(name, "BCC") == 0) {
        put_list(table, name, value);
    } else if (is_integer(value, &integer)) {
        table_put_integer(table, name, integer);
    } else if (strcmp(value, "true") == 0 || strcmp(value, "false") == 0) {
        table_put_boolean(table, name, value[0] == 't');
    } else if (size >= 2 && value[0] == '"' && value[size - 1] == '"') {
        table_put_text(table, name, bytes_make(value + 1, size - 2));
    } else {
        table_put_text(table, name, bytes_make(value, size));
    }
}

bool
message_header_put(struct buffer *table, const char *given, const char **why_out)
{
    char name[NAME_SIZE_MAX + 1];
    const char *equals = strchr(given, '=');
    size_t size = equals == NULL ? 0 : (size_t)(equals - given);
    if (equals == NULL || size == 0) {
        *why_out = "is not NAME=VALUE";
        return false;
    }
    if (size > NAME_SIZE_MAX) {
        *why_out = "has a name of more than 255 octets";
        return false;
    }
    if (strlen(equals + 1) > VALUE_SIZE_MAX) {
        *why_out = "has a value of more than 64 KiB";
        return false;
    }
    memcpy(name, given, size);
    name[size] = '\0';
    put_value(table, name, equals + 1);
    return true;
}

void
message_properties_put(struct buffer *block, struct bytes headers)
{
    struct properties properties = {.flags = PROPERTY_HEADERS, .headers = headers};
    properties_encode(block, &properties);
}

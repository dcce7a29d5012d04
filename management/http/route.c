/* SPDX-License-Identifier: Apache-2.0 */
#include "management/http/route.h"

#include <stdio.h>

#include "base/assert.h"

/* Paths -------------------------------------------------------------------------------------- */

static int
hex_digit(uint8_t octet)
{
    if (octet >= '0' && octet <= '9') {
        return octet - '0';
    }
    uint8_t lower = octet | 0x20;
    return lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
}

/* Decodes one segment to `out`; false with the reason. */
static bool
decode_segment(struct bytes text, uint8_t *out, size_t *size_out, const char **why_out)
{
    size_t size = 0;
    for (size_t i = 0; i < text.size; i++) {
        uint8_t octet = text.data[i];
        if (octet == '%') {
            bool is_whole = text.size - i > 2;
            int high = is_whole ? hex_digit(text.data[i + 1]) : -1;
            int low = is_whole ? hex_digit(text.data[i + 2]) : -1;
            if (high < 0 || low < 0) {
                *why_out = "a percent sign is followed by two hexadecimal digits";
                return false;
            }
            octet = (uint8_t)(high << 4 | low);
            i += 2;
        }
        if (octet == 0) {
            *why_out = "a name has no octet 0";
            return false;
        }
        out[size++] = octet;
    }
    *size_out = size;
    if (!bytes_is_utf8(bytes_make(out, size))) {
        *why_out = "a name is UTF-8";
        return false;
    }
    return true;
}

/* The octets up to the next slash. */
static struct bytes
take_segment(struct bytes *path)
{
    const uint8_t *slash = path->size == 0 ? NULL : memchr(path->data, '/', path->size);
    size_t size = slash == NULL ? path->size : (size_t)(slash - path->data);
    struct bytes segment = bytes_make(path->data, size);
    size_t taken = slash == NULL ? size : size + 1;
    *path = bytes_make(path->data + taken, path->size - taken);
    return segment;
}

/* One slash at the end means nothing. */
static struct bytes
without_last_slash(struct bytes path)
{
    size_t cut = path.size > 0 && path.data[path.size - 1] == '/' ? 1 : 0;
    return bytes_make(path.data, path.size - cut);
}

bool
route_split(struct bytes path, uint8_t *out, struct route_path *path_out, const char **why_out)
{
    if (path.size == 0 || path.data[0] != '/') {
        *why_out = "a path begins with a slash";
        return false;
    }
    struct bytes rest = without_last_slash(bytes_make(path.data + 1, path.size - 1));
    path_out->count = 0;
    bool has_more = rest.size > 0;
    while (has_more) {
        has_more = rest.size > 0 && memchr(rest.data, '/', rest.size) != NULL;
        struct bytes segment = take_segment(&rest);
        size_t size = 0;
        if (path_out->count == ROUTE_SEGMENTS_MAX) {
            *why_out = "the path has too many parts";
            return false;
        }
        if (!decode_segment(segment, out, &size, why_out)) {
            return false;
        }
        path_out->segments[path_out->count++] = bytes_make(out, size);
        out += size;
    }
    return true;
}

/* The table ---------------------------------------------------------------------------------- */

/* Whether the path fits the pattern; notes its names. */
static bool
matches(const char *pattern, const struct route_path *path, struct route_match *match)
{
    struct bytes rest = bytes_of(pattern + 1);
    uint32_t count = 0;
    match->name_count = 0;
    while (rest.size > 0) {
        struct bytes wanted = take_segment(&rest);
        if (count == path->count) {
            return false;
        }
        struct bytes found = path->segments[count++];
        if (wanted.data[0] == '{') {
            assert(match->name_count < ROUTE_NAMES_MAX);
            match->names[match->name_count++] = found;
        } else if (!bytes_equal(wanted, found)) {
            return false;
        }
    }
    return count == path->count;
}

/* Words count more than names where both fit: rows are in no order that matters. */
static uint32_t
names_in(const char *pattern)
{
    uint32_t count = 0;
    for (const char *at = pattern; *at != '\0'; at++) {
        count += *at == '{' ? 1 : 0;
    }
    return count;
}

/* The path as it is written with the fewest names: what is more special hides what is less. */
static uint32_t
fewest_names(const struct route *table, size_t count, const struct route_path *path)
{
    uint32_t fewest = UINT32_MAX;
    for (size_t i = 0; i < count; i++) {
        struct route_match match;
        uint32_t names = names_in(table[i].path);
        if (names < fewest && matches(table[i].path, path, &match)) {
            fewest = names;
        }
    }
    return fewest;
}

enum route_verdict
route_find(const struct route *table, size_t count, enum route_method method,
           const struct route_path *path, struct route_match *match)
{
    *match = (struct route_match){.route = NULL};
    uint32_t names = fewest_names(table, count, path);
    for (size_t i = 0; i < count; i++) {
        const struct route *route = &table[i];
        struct route_match found = {.route = route};
        if (names_in(route->path) != names || !matches(route->path, path, &found)) {
            continue;
        }
        uint32_t allowed = match->allowed | 1u << route->method;
        if (route->method == method) {
            *match = found;
        }
        match->allowed = allowed;
    }
    if (match->route != NULL) {
        return ROUTE_FOUND;
    }
    return match->allowed != 0 ? ROUTE_NO_METHOD : ROUTE_NO_PATH;
}

const char *
route_allowed_text(uint32_t allowed, char out[static 64])
{
    static const char *const names[ROUTE_METHOD_COUNT] = {
        [ROUTE_GET] = "GET, HEAD",
        [ROUTE_PUT] = "PUT",
        [ROUTE_POST] = "POST",
        [ROUTE_DELETE] = "DELETE",
    };
    size_t size = 0;
    out[0] = '\0';
    for (unsigned i = 0; i < ROUTE_METHOD_COUNT; i++) {
        if ((allowed & 1u << i) != 0) {
            int written = snprintf(out + size, 64 - size, "%s%s", size > 0 ? ", " : "", names[i]);
            assert(written > 0 && size + (size_t)written < 64);
            size += (size_t)written;
        }
    }
    return out;
}

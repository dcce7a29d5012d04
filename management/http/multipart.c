/* SPDX-License-Identifier: Apache-2.0 */
#include "management/http/multipart.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

enum { BOUNDARY_MAX = 70, MARK_SIZE = BOUNDARY_MAX + 8 };

static bool
begins_with(const char *text, const char *start)
{
    return strncasecmp(text, start, strlen(start)) == 0;
}

/* Where `what` is in `text`; NULL: nowhere. */
static const uint8_t *
find(struct bytes text, struct bytes what)
{
    return text.size == 0 ? NULL : memmem(text.data, text.size, what.data, what.size);
}

static struct bytes
behind(struct bytes text, const uint8_t *at)
{
    return bytes_make(at, text.size - (size_t)(at - text.data));
}

/* "\r\n--BOUNDARY", which stands in front of every part but the first, where the line end may be
 * missing. */
static bool
read_boundary(const char *content_type, char mark[static MARK_SIZE])
{
    static const char key[] = "boundary=";
    const char *at = begins_with(content_type, "multipart/form-data") ? content_type : NULL;
    while (at != NULL && !begins_with(at, key)) {
        at = strpbrk(at, "; ");
        at = at == NULL ? NULL : at + 1;
    }
    if (at == NULL) {
        return false;
    }
    at += sizeof(key) - 1;
    bool is_quoted = *at == '"';
    at += is_quoted ? 1 : 0;
    size_t size = strcspn(at, is_quoted ? "\"" : "; \t");
    if (size == 0 || size > BOUNDARY_MAX) {
        return false;
    }
    (void)snprintf(mark, MARK_SIZE, "\r\n--%.*s", (int)size, at);
    return true;
}

/* Whether the head of a part says that it is called `name`. */
static bool
is_called(struct bytes head, const char *name)
{
    char wanted[80];
    (void)snprintf(wanted, sizeof(wanted), "; name=\"%.60s\"", name);
    return find(head, bytes_of(wanted)) != NULL;
}

/* Cuts the next part off `rest`, which begins behind a boundary; false at the end. */
static bool
next_part(struct bytes *rest, struct bytes mark, struct bytes *head_out, struct bytes *content_out)
{
    const uint8_t *end = find(*rest, mark);
    if (end == NULL) {
        return false;
    }
    struct bytes part = bytes_make(rest->data, (size_t)(end - rest->data));
    const uint8_t *content = find(part, bytes_of("\r\n\r\n"));
    *rest = behind(*rest, end + mark.size);
    if (content == NULL) {
        return false;
    }
    *head_out = bytes_make(part.data, (size_t)(content - part.data));
    *content_out = behind(part, content + 4);
    return true;
}

bool
multipart_find(const char *content_type, struct bytes body, const char *name, struct bytes *out)
{
    char text[MARK_SIZE];
    struct bytes head;
    struct bytes content;
    if (content_type == NULL || !read_boundary(content_type, text)) {
        return false;
    }
    struct bytes mark = bytes_of(text);
    struct bytes first = bytes_make(mark.data + 2, mark.size - 2);
    const uint8_t *start = find(body, first);
    if (start == NULL) {
        return false;
    }
    struct bytes rest = behind(body, start + first.size);
    while (next_part(&rest, mark, &head, &content)) {
        if (is_called(head, name)) {
            *out = content;
            return true;
        }
    }
    return false;
}

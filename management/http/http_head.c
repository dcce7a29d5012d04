/* SPDX-License-Identifier: Apache-2.0 */
#include "management/http/http_head.h"

#include <string.h>
#include <strings.h>

#include "management/http/server.h"

void
http_head_begin(struct http_head *head)
{
    struct buffer line = head->line;
    struct buffer fields = head->fields;
    buffer_clear(&line);
    buffer_clear(&fields);
    *head = (struct http_head){.line = line, .fields = fields};
}

void
http_head_fini(struct http_head *head)
{
    buffer_fini(&head->line);
    buffer_fini(&head->fields);
}

static void
keep_octet(struct buffer *part, uint8_t octet)
{
    if (buffer_size(part) < HTTP_HEAD_MAX) {
        buffer_put_u8(part, octet);
    }
}

/* A line has ended: the request line, a header, or, with nothing in it, the head. */
static void
end_line(struct http_head *head)
{
    if (head->has_line) {
        keep_octet(&head->fields, '\n');
    }
    head->is_over = head->has_line && !head->is_in_text;
    head->has_line = true;
    head->is_in_text = false;
}

static void
take_octet(struct http_head *head, uint8_t octet)
{
    head->size++;
    if (octet == '\n') {
        end_line(head);
        return;
    }
    if (octet == '\r') {
        return;
    }
    head->has_fold =
        head->has_fold || (head->has_line && !head->is_in_text && (octet == ' ' || octet == '\t'));
    head->is_in_text = true;
    head->has_control = head->has_control || (octet < ' ' && octet != '\t') || octet == 0x7f;
    keep_octet(head->has_line ? &head->fields : &head->line, octet);
}

size_t
http_head_take(struct http_head *head, struct bytes octets)
{
    size_t taken = 0;
    while (taken < octets.size && !head->is_over) {
        take_octet(head, octets.data[taken++]);
    }
    return taken;
}

/* The octets up to the next space. */
static struct bytes
take_word(struct bytes *line)
{
    const uint8_t *space = line->size == 0 ? NULL : memchr(line->data, ' ', line->size);
    size_t size = space == NULL ? line->size : (size_t)(space - line->data);
    size_t taken = space == NULL ? size : size + 1;
    struct bytes word = bytes_make(line->data, size);
    *line = bytes_make(line->data + taken, line->size - taken);
    return word;
}

static bool
find_method(struct bytes word, enum route_method *method_out)
{
    static const struct {
        const char *name;
        enum route_method method;
    } rows[] = {
        {"GET", ROUTE_GET},   {"HEAD", ROUTE_GET},      {"PUT", ROUTE_PUT},
        {"POST", ROUTE_POST}, {"DELETE", ROUTE_DELETE},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        if (bytes_equal_text(word, rows[i].name)) {
            *method_out = rows[i].method;
            return true;
        }
    }
    return false;
}

/* What is in front of the query. */
static struct bytes
without_query(struct bytes target)
{
    size_t size = 0;
    while (size < target.size && target.data[size] != '?' && target.data[size] != '#') {
        size++;
    }
    return bytes_make(target.data, size);
}

bool
http_head_split(const struct http_head *head, enum route_method *method_out, struct bytes *path_out)
{
    struct bytes line = buffer_bytes(&head->line);
    if (!head->has_line || head->line.failed || line.size == 0 ||
        !find_method(take_word(&line), method_out)) {
        return false;
    }
    *path_out = without_query(take_word(&line));
    return true;
}

static struct bytes
without_blanks(struct bytes text)
{
    while (text.size > 0 && (text.data[0] == ' ' || text.data[0] == '\t')) {
        text = bytes_make(text.data + 1, text.size - 1);
    }
    while (text.size > 0 && (text.data[text.size - 1] == ' ' || text.data[text.size - 1] == '\t')) {
        text.size--;
    }
    return text;
}

struct bytes
http_head_find(const struct http_head *head, const char *name)
{
    struct bytes left = buffer_bytes(&head->fields);
    size_t name_size = strlen(name);
    while (left.size > 0 && !head->fields.failed) {
        const uint8_t *end = memchr(left.data, '\n', left.size);
        size_t size = end == NULL ? left.size : (size_t)(end - left.data);
        if (size > name_size && left.data[name_size] == ':' &&
            strncasecmp((const char *)left.data, name, name_size) == 0) {
            return without_blanks(bytes_make(left.data + name_size + 1, size - name_size - 1));
        }
        size += end == NULL ? 0 : 1;
        left = bytes_make(left.data + size, left.size - size);
    }
    return bytes_make(NULL, 0);
}

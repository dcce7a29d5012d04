/* SPDX-License-Identifier: Apache-2.0 */
/* What of HTTP is read by us and not by a library. The input is an octet, which says where the
 * network cuts, and a request. Its head is the same however it is cut; its path is refused with a
 * reason, or what it was taken apart to makes the same again when it is encoded anew, and there is
 * one route for it or none; the part of a form lies within the body. */
#include "management/http/http_head.h"
#include "management/http/multipart.h"
#include "management/http/route.h"

#include <stdio.h>
#include <stdlib.h>

#include "management/json/base64.h"
#include "tests/fuzz/target.h"
#include "tests/support/exact_copy.h"

enum { INPUT_MAX = 4096 };

/* The head, fed in pieces of so many octets. */
static struct http_head
head_of(struct bytes request, size_t piece)
{
    struct http_head head = {.has_line = false};
    http_head_begin(&head);
    for (size_t at = 0; at < request.size; at += piece) {
        size_t left = request.size - at;
        http_head_take(&head, bytes_make(request.data + at, left < piece ? left : piece));
    }
    return head;
}

static void
check_same(const struct http_head *one, const struct http_head *other)
{
    assert(bytes_equal(buffer_bytes(&one->line), buffer_bytes(&other->line)));
    assert(bytes_equal(buffer_bytes(&one->fields), buffer_bytes(&other->fields)));
    assert(one->size == other->size);
    assert(one->has_line == other->has_line);
    assert(one->is_over == other->is_over);
    assert(one->has_control == other->has_control);
    assert(one->has_fold == other->has_fold);
}

/* Every octet as %XX: whatever the name is, its segment is one. */
static void
put_encoded(struct buffer *out, struct bytes name)
{
    buffer_put_u8(out, '/');
    for (size_t i = 0; i < name.size; i++) {
        buffer_printf(out, "%%%02X", name.data[i]);
    }
}

static void
check_match(const struct route_match *match, const struct route_path *path)
{
    assert(match->name_count <= ROUTE_NAMES_MAX);
    assert(match->name_count <= path->count);
    for (uint32_t i = 0; i < match->name_count; i++) {
        assert(memchr(match->names[i].data, 0, match->names[i].size) == NULL);
        assert(bytes_is_utf8(match->names[i]));
    }
}

static enum route_verdict
find(enum route_method method, const struct route_path *path, struct route_match *match)
{
    enum route_verdict verdict = route_find(routes, route_count, method, path, match);
    assert((verdict == ROUTE_FOUND) == (match->route != NULL));
    if (verdict == ROUTE_FOUND) {
        assert(match->route->method == method);
        check_match(match, path);
    }
    return verdict;
}

/* The same path, written in another way. */
static void
check_again(enum route_method method, const struct route_path *path)
{
    struct buffer text;
    struct route_path again;
    struct route_match matches[2];
    const char *why = NULL;
    buffer_init(&text);
    for (uint32_t i = 0; i < path->count; i++) {
        put_encoded(&text, path->segments[i]);
    }
    buffer_put_bytes(&text, bytes_of("/"));
    size_t size = buffer_size(&text);
    uint8_t *octets = malloc(size);
    assert(octets != NULL);
    bool is_good = route_split(buffer_bytes(&text), octets, &again, &why);
    assert(is_good && again.count == path->count);
    for (uint32_t i = 0; i < path->count; i++) {
        assert(bytes_equal(again.segments[i], path->segments[i]));
    }
    assert(find(method, path, &matches[0]) == find(method, &again, &matches[1]));
    assert(matches[0].route == matches[1].route);
    free(octets);
    buffer_fini(&text);
}

static void
check_path(enum route_method method, struct bytes text)
{
    struct route_path path;
    const char *why = NULL;
    uint8_t *octets = malloc(text.size + 1);
    assert(octets != NULL);
    if (route_split(text, octets, &path, &why)) {
        assert(path.count <= ROUTE_SEGMENTS_MAX);
        check_again(method, &path);
    } else {
        assert(why != NULL);
    }
    free(octets);
}

/* The line behind the request's, as the type of a form whose body is all the rest. */
static void
check_form(struct bytes request)
{
    char type[256];
    struct bytes part;
    const uint8_t *end = memchr(request.data, '\n', request.size);
    size_t size = end == NULL ? 0 : (size_t)(end - request.data);
    if (end == NULL || size >= sizeof(type) || memchr(request.data, 0, size) != NULL) {
        return;
    }
    memcpy(type, request.data, size);
    type[size] = '\0';
    struct bytes body = exact_copy(bytes_make(end + 1, request.size - size - 1));
    if (multipart_find(type, body, "file", &part)) {
        assert(part.size <= body.size);
        assert(part.size == 0 ||
               (part.data >= body.data && part.data + part.size <= body.data + body.size));
    }
    exact_copy_free(body);
}

/* What is read of base64 is written as something that reads the same. */
static void
check_base64(struct bytes text)
{
    struct buffer octets;
    buffer_init(&octets);
    if (base64_read(&octets, text)) {
        assert(buffer_size(&octets) <= text.size);
    }
    buffer_fini(&octets);
}

static void
run(struct bytes input)
{
    if (input.size < 2) {
        return;
    }
    size_t piece = 1 + input.data[0] % 64;
    struct bytes request = exact_copy(bytes_make(input.data + 1, input.size - 1));
    struct http_head whole = head_of(request, request.size);
    struct http_head cut = head_of(request, piece);
    enum route_method method = ROUTE_GET;
    struct bytes path;
    check_same(&whole, &cut);
    if (http_head_split(&whole, &method, &path)) {
        check_path(method, path);
    }
    check_form(request);
    check_base64(request);
    http_head_fini(&whole);
    http_head_fini(&cut);
    exact_copy_free(request);
}

const struct fuzz_target fuzz_http = {.name = "http", .size_max = INPUT_MAX, .run = run};

/* SPDX-License-Identifier: Apache-2.0 */
#include "management/http/http_head.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>

static struct http_head head;

static void
set_up(void)
{
    head = (struct http_head){.has_line = false};
    http_head_begin(&head);
}

static void
tear_down(void)
{
    http_head_fini(&head);
}

TestSuite(http_head, .init = set_up, .fini = tear_down);

static void
take(const char *text)
{
    http_head_take(&head, bytes_of(text));
}

/* How it is cut by the network means nothing. */
Test(http_head, is_the_same_in_pieces_of_any_size)
{
    static const char text[] = "PUT /api/queues/%2F/a?x=y HTTP/1.1\r\nHost: x\r\n\r\nbody";
    for (size_t piece = 1; piece < sizeof(text); piece++) {
        http_head_begin(&head);
        for (size_t at = 0; at < sizeof(text) - 1; at += piece) {
            size_t left = sizeof(text) - 1 - at;
            http_head_take(&head, bytes_make(text + at, left < piece ? left : piece));
        }
        enum route_method method;
        struct bytes path;
        cr_assert(head.is_over && head.has_line && !head.has_control);
        cr_assert(http_head_split(&head, &method, &path));
        cr_expect(eq(int, method, ROUTE_PUT));
        cr_expect(bytes_equal_text(path, "/api/queues/%2F/a"));
        cr_expect(eq(sz, head.size, sizeof(text) - sizeof("body")));
    }
}

/* By the line alone the body is bounded, before the headers are there. */
Test(http_head, knows_the_path_as_soon_as_the_line_has_ended)
{
    enum route_method method;
    struct bytes path;
    take("GET /api/overview HTTP/1.1");
    cr_expect(eq(int, http_head_split(&head, &method, &path), false));
    take("\r\n");
    cr_expect(http_head_split(&head, &method, &path));
    cr_expect(eq(int, head.is_over, false));
}

Test(http_head, has_no_path_where_a_method_is_none_of_a_route)
{
    static const char *const lines[] = {"PATCH / HTTP/1.1\n", "get / HTTP/1.1\n", "\n", " \n",
                                        "GETX / HTTP/1.1\n"};
    for (size_t i = 0; i < ARRAY_LEN(lines); i++) {
        enum route_method method;
        struct bytes path;
        http_head_begin(&head);
        take(lines[i]);
        cr_expect(eq(int, http_head_split(&head, &method, &path), false), "%s", lines[i]);
    }
}

/* A header ends at a NUL for libevent, and not for a proxy in front. */
Test(http_head, sees_control_characters_up_to_its_end_and_not_in_the_body)
{
    static const struct {
        struct bytes text;
        bool has_control;
    } rows[] = {
        {{(const uint8_t *)"GET / HTTP/1.1\r\nA: b\0c\r\n\r\n", 26}, true},
        {{(const uint8_t *)"GET /\x01 HTTP/1.1\r\n\r\n", 19}, true},
        {{(const uint8_t *)"GET / HTTP/1.1\r\nA: \x7f\r\n\r\n", 24}, true},
        {{(const uint8_t *)"GET / HTTP/1.1\r\nA:\tb\r\n\r\n", 24}, false},
        {{(const uint8_t *)"GET / HTTP/1.1\r\nA: b\r\n\r\n\0\0", 26}, false},
        {{(const uint8_t *)"GET / HTTP/1.1\r\nA: \xc3\xa4\r\n\r\n", 25}, false},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        http_head_begin(&head);
        http_head_take(&head, rows[i].text);
        cr_expect(eq(int, head.has_control, rows[i].has_control), "row %zu", i);
        cr_expect(head.is_over, "row %zu", i);
    }
}

/* For libevent it is the same header, for a proxy in front it may be one of its own. */
Test(http_head, sees_a_header_that_goes_on_in_another_line)
{
    static const struct {
        const char *text;
        bool has_fold;
    } rows[] = {
        {"GET / HTTP/1.1\r\nA: b\r\n c: d\r\n\r\n", true},
        {"GET / HTTP/1.1\r\nA: b\r\n\tc: d\r\n\r\n", true},
        {"GET / HTTP/1.1\r\n A: b\r\n\r\n", true},
        {"GET / HTTP/1.1\r\nA: b\r\nc: d\r\n\r\n", false},
        {"GET / HTTP/1.1\r\nA: b \r\n\r\n {", false},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        http_head_begin(&head);
        take(rows[i].text);
        cr_expect(eq(int, head.has_fold, rows[i].has_fold), "row %zu", i);
    }
}

/* What a client sends in place of a line is not kept. */
Test(http_head, keeps_no_more_of_a_line_than_a_head_may_have)
{
    for (int i = 0; i < 40000; i++) {
        take("x");
    }
    cr_expect(le(sz, buffer_size(&head.line), 16 * 1024));
}

Test(http_head, finds_the_first_header_of_a_name_as_far_as_it_has_come)
{
    take("POST / HTTP/1.1\r\nHost:  x \r\nCONTENT-length:7\r\nContent-Length: 8\r\nHostile: y\r\n");
    cr_expect(bytes_equal_text(http_head_find(&head, "Host"), "x"));
    cr_expect(bytes_equal_text(http_head_find(&head, "Content-Length"), "7"));
    cr_expect(eq(ptr, (void *)http_head_find(&head, "Expect").data, NULL));
    cr_expect(eq(ptr, (void *)http_head_find(&head, "POST / HTTP/1.1").data, NULL));
    take("Expect: 100-continue\r\n\r\nCookie: no\r\n");
    cr_expect(bytes_equal_text(http_head_find(&head, "expect"), "100-continue"));
    cr_expect(eq(ptr, (void *)http_head_find(&head, "Cookie").data, NULL));
}

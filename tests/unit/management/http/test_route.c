/* SPDX-License-Identifier: Apache-2.0 */
/* Paths and the table of routes. */
#include "management/http/route.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <string.h>

#include "management/json/json_reader.h"
#include "management/routes/openapi.h"

static struct route_path path;
static uint8_t octets[4096];
static const char *why;

static bool
split(const char *text)
{
    why = "";
    return route_split(bytes_of(text), octets, &path, &why);
}

static bool
has_segment(uint32_t at, const char *text)
{
    return at < path.count && bytes_equal_text(path.segments[at], text);
}

/* An encoded slash belongs to a name, and a plus is a plus. */
Test(route, a_path_is_split_before_it_is_decoded)
{
    cr_assert(split("/api/queues/%2F/a%2fb+c%25"));
    cr_expect(eq(u32, path.count, 4));
    cr_expect(has_segment(2, "/"));
    cr_expect(has_segment(3, "a/b+c%"));
}

Test(route, one_slash_at_the_end_means_nothing)
{
    cr_assert(split("/api/queues/x/"));
    cr_expect(eq(u32, path.count, 3));
    cr_assert(split("/"));
    cr_expect(eq(u32, path.count, 0));
}

Test(route, an_empty_part_is_a_part)
{
    cr_assert(split("/api//x"));
    cr_expect(eq(u32, path.count, 3));
    cr_expect(has_segment(1, ""));
}

Test(route, what_is_no_path_is_refused_with_the_reason)
{
    static const struct {
        const char *path, *why;
    } rows[] = {
        {"", "begins with a slash"},
        {"api", "begins with a slash"},
        {"/a%", "two hexadecimal digits"},
        {"/a%2", "two hexadecimal digits"},
        {"/a%g0", "two hexadecimal digits"},
        {"/a%2/b", "two hexadecimal digits"},
        {"/a%00", "octet 0"},
        {"/a%ff", "UTF-8"},
        {"/%c3%28", "UTF-8"},
        {"/1/2/3/4/5/6/7/8/9/10/11/12/13", "too many"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        cr_expect(not(split(rows[i].path)), "%s", rows[i].path);
        cr_expect(ne(ptr, strstr(why, rows[i].why), NULL), "%s: %s", rows[i].path, why);
    }
}

static const struct route table[] = {
    {.method = ROUTE_GET, .path = "/a/{x}"},
    {.method = ROUTE_PUT, .path = "/a/{x}"},
    {.method = ROUTE_GET, .path = "/a/fixed"},
    {.method = ROUTE_DELETE, .path = "/a/{x}/b/{y}"},
};

static enum route_verdict
find(enum route_method method, const char *text, struct route_match *match)
{
    cr_assert(split(text));
    return route_find(table, ARRAY_LEN(table), method, &path, match);
}

Test(route, a_row_is_found_by_method_and_path)
{
    struct route_match match;
    cr_assert(eq(int, find(ROUTE_PUT, "/a/1", &match), ROUTE_FOUND));
    cr_expect(eq(ptr, (void *)match.route, (void *)&table[1]));
    cr_assert(eq(int, find(ROUTE_DELETE, "/a/1/b/2%2F", &match), ROUTE_FOUND));
    cr_expect(eq(u32, match.name_count, 2));
    cr_expect(bytes_equal_text(match.names[0], "1"));
    cr_expect(bytes_equal_text(match.names[1], "2/"));
}

Test(route, a_word_goes_before_a_name)
{
    struct route_match match;
    cr_assert(eq(int, find(ROUTE_GET, "/a/fixed", &match), ROUTE_FOUND));
    cr_expect(eq(ptr, (void *)match.route, (void *)&table[2]));
}

Test(route, a_path_without_the_method_says_which_there_are)
{
    struct route_match match;
    char text[64];
    cr_assert(eq(int, find(ROUTE_POST, "/a/1", &match), ROUTE_NO_METHOD));
    cr_expect(eq(str, (char *)route_allowed_text(match.allowed, text), "GET, HEAD, PUT"));
    cr_expect(eq(int, find(ROUTE_GET, "/a", &match), ROUTE_NO_PATH));
    cr_expect(eq(int, find(ROUTE_GET, "/a/1/b", &match), ROUTE_NO_PATH));
}

/* T21: who may call what is in the table, for every row. */
Test(route, every_row_of_the_table_says_who_may_call_it)
{
    for (size_t i = 0; i < route_count; i++) {
        const struct route *row = &routes[i];
        bool is_open = (row->flags & ROUTE_OPEN) != 0;
        bool is_of_session = (row->flags & ROUTE_OF_SESSION) != 0;
        bool changes = row->method != ROUTE_GET && !is_of_session;
        cr_expect(eq(int, row->needs == ABILITY_NONE, is_open), "%s", row->path);
        cr_expect(not(is_open && changes), "%s", row->path);
        bool only_looks = row->needs == ABILITY_LOOK || row->needs == ABILITY_SEE_ALL;
        bool only_asks = (row->flags & ROUTE_ONLY_ASKS) != 0;
        bool only_signs_in = strcmp(row->path, "/api/login") == 0;
        cr_expect(not(only_asks && row->method != ROUTE_POST), "%s", row->path);
        cr_expect(not(changes && only_looks && !only_asks && !only_signs_in),
                  "%s is a change that a role may make which only looks", row->path);
        cr_expect(ne(ptr, row->handle, NULL), "%s", row->path);
        cr_expect(ne(sz, strlen(row->summary), 0), "%s", row->path);
        const char *first_name = strchr(row->path, '{');
        bool starts_with_vhost = first_name != NULL && strncmp(first_name, "{vhost}", 7) == 0;
        bool is_in_vhost = (row->flags & ROUTE_IN_VHOST) != 0;
        cr_expect(not(is_in_vhost && !starts_with_vhost), "%s", row->path);
        /* An administrator gives rights in vhosts, also where there are none of his own. */
        cr_expect(not(starts_with_vhost && !is_in_vhost && row->needs != ABILITY_ADMIN), "%s",
                  row->path);
    }
}

Test(route, each_role_has_its_abilities)
{
    cr_expect(eq(u8, abilities_of_role(ROLE_NONE), ABILITY_NONE));
    cr_expect(eq(u8, abilities_of_role(ROLE_MONITOR), ABILITY_LOOK | ABILITY_SEE_ALL));
    cr_expect(eq(u8, abilities_of_role(ROLE_ADMIN), ABILITY_ALL));
    cr_expect(eq(u8, abilities_of_role(ROLE_OPERATOR) & ABILITY_ADMIN, 0));
    cr_expect(eq(u8, abilities_of_tags(bytes_of("administrator")), ABILITY_ALL));
    cr_expect(eq(u8, abilities_of_tags(bytes_of("x, monitoring")), ABILITY_LOOK | ABILITY_SEE_ALL));
    cr_expect(eq(u8, abilities_of_tags(bytes_of("")), ABILITY_NONE));
    cr_expect(eq(u8, abilities_of_tags(bytes_of("monitoring,management")),
                 ABILITY_LOOK | ABILITY_SEE_ALL | ABILITY_OPERATE));
}

/* The description is made from the table: it has each path once, and under it each method. */
Test(route, the_description_has_every_row_of_the_table_and_no_other)
{
    struct json_writer json;
    char reason[JSON_WHY_SIZE];
    size_t described = 0;
    json_init(&json);
    openapi_write(&json, routes, route_count, "1.2.3");
    json_t *root = json_read(buffer_bytes(&json.out), reason);
    json_fini(&json);
    cr_assert(ne(ptr, root, NULL), "%s", reason);
    json_t *paths = json_object_get(root, "paths");
    const char *name;
    json_t *operations;
    json_object_foreach(paths, name, operations)
    {
        described += json_object_size(operations);
    }
    cr_expect(eq(sz, described, route_count));
    for (size_t i = 0; i < route_count; i++) {
        static const char *const methods[] = {"get", "put", "post", "delete"};
        json_t *found =
            json_object_get(json_object_get(paths, routes[i].path), methods[routes[i].method]);
        cr_expect(ne(ptr, found, NULL), "%s", routes[i].path);
        cr_expect(eq(str, (char *)json_string_value(json_object_get(found, "summary")),
                     (char *)routes[i].summary));
    }
    json_decref(root);
}

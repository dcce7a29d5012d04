/* SPDX-License-Identifier: Apache-2.0 */
#include "management/routes/openapi.h"

#include <stdio.h>
#include <string.h>

#include "management/http/call.h"
#include "management/routes/handlers.h"

#ifndef BOURSE_VERSION
#error "the Makefile defines BOURSE_VERSION"
#endif

static const char *const methods[ROUTE_METHOD_COUNT] = {
    [ROUTE_GET] = "get",
    [ROUTE_PUT] = "put",
    [ROUTE_POST] = "post",
    [ROUTE_DELETE] = "delete",
};

/* What a route needs, as one reads it. */
static const char *
role_text(const struct route *route)
{
    switch (route->needs) {
    case ABILITY_NONE:
        return "needs no login";
    case ABILITY_LOOK:
        return "needs any role";
    case ABILITY_SEE_ALL:
        return "needs the role monitor";
    case ABILITY_OPERATE:
        return "needs the role operator, or the tag management, and rights as over AMQP";
    case ABILITY_POLICY:
        return "needs the role operator, or the tag policymaker";
    default:
        return "needs the role admin";
    }
}

/* One for each {name} of the path. */
static void
write_parameters(struct json_writer *json, const char *path)
{
    json_key(json, "parameters");
    json_begin_array(json);
    for (const char *at = strchr(path, '{'); at != NULL; at = strchr(at, '{')) {
        at++;
        json_begin_object(json);
        json_put_text(json, "name", bytes_make(at, strcspn(at, "}")));
        json_put_string(json, "in", "path");
        json_put_bool(json, "required", true);
        json_key(json, "schema");
        json_begin_object(json);
        json_put_string(json, "type", "string");
        json_end_object(json);
        json_end_object(json);
    }
    json_end_array(json);
}

static void
write_media(struct json_writer *json, const char *type)
{
    json_key(json, type);
    json_begin_object(json);
    json_key(json, "schema");
    json_begin_object(json);
    json_put_string(json, "type", "object");
    json_end_object(json);
    json_end_object(json);
}

static void
write_body(struct json_writer *json, const struct route *route)
{
    char text[64];
    if (route->body_max == 0) {
        return;
    }
    (void)snprintf(text, sizeof(text), "at most %zu octets", route->body_max);
    json_key(json, "requestBody");
    json_begin_object(json);
    json_put_string(json, "description", text);
    json_key(json, "content");
    json_begin_object(json);
    write_media(json, "application/json");
    if ((route->flags & ROUTE_TAKES_FORM) != 0) {
        write_media(json, "multipart/form-data");
    }
    json_end_object(json);
    json_end_object(json);
}

static void
write_response(struct json_writer *json, const char *status, const char *text)
{
    json_key(json, status);
    json_begin_object(json);
    json_put_string(json, "description", text);
    json_end_object(json);
}

static void
write_responses(struct json_writer *json, const struct route *route)
{
    json_key(json, "responses");
    json_begin_object(json);
    if (route->method == ROUTE_GET || route->method == ROUTE_POST) {
        write_response(json, "200", "what was asked for");
    }
    if (route->method == ROUTE_PUT || route->method == ROUTE_POST) {
        write_response(json, "201", "made");
    }
    if (route->method != ROUTE_GET) {
        write_response(json, "204", "done; what is durable is on disk");
        write_response(json, "400", "malformed, or refused; the reason says why");
    }
    if ((route->flags & ROUTE_OPEN) == 0) {
        write_response(json, "401", "not logged in, or not allowed");
    }
    write_response(json, "default", "an object with error and reason");
    json_end_object(json);
}

static void
write_security(struct json_writer *json, const struct route *route)
{
    json_key(json, "security");
    json_begin_array(json);
    if ((route->flags & ROUTE_OPEN) == 0) {
        json_begin_object(json);
        json_key(json, "basic");
        json_begin_array(json);
        json_end_array(json);
        json_end_object(json);
    }
    json_end_array(json);
}

static void
write_operation(struct json_writer *json, const struct route *route)
{
    json_key(json, methods[route->method]);
    json_begin_object(json);
    json_put_string(json, "summary", route->summary);
    json_put_string(json, "description", role_text(route));
    write_parameters(json, route->path);
    write_body(json, route);
    write_responses(json, route);
    write_security(json, route);
    json_end_object(json);
}

/* All methods of the path, where it stands first in the table. */
static void
write_path(struct json_writer *json, const struct route *table, size_t count, size_t first)
{
    for (size_t i = 0; i < first; i++) {
        if (strcmp(table[i].path, table[first].path) == 0) {
            return;
        }
    }
    json_key(json, table[first].path);
    json_begin_object(json);
    for (size_t i = first; i < count; i++) {
        if (strcmp(table[i].path, table[first].path) == 0) {
            write_operation(json, &table[i]);
        }
    }
    json_end_object(json);
}

static void
write_head(struct json_writer *json, const char *version)
{
    json_put_string(json, "openapi", "3.1.0");
    json_key(json, "info");
    json_begin_object(json);
    json_put_string(json, "title", "Bourse management interface");
    json_put_string(json, "version", version);
    json_end_object(json);
    json_key(json, "components");
    json_begin_object(json);
    json_key(json, "securitySchemes");
    json_begin_object(json);
    json_key(json, "basic");
    json_begin_object(json);
    json_put_string(json, "type", "http");
    json_put_string(json, "scheme", "basic");
    json_end_object(json);
    json_end_object(json);
    json_end_object(json);
}

void
openapi_write(struct json_writer *json, const struct route *table, size_t count,
              const char *version)
{
    json_begin_object(json);
    write_head(json, version);
    json_key(json, "paths");
    json_begin_object(json);
    for (size_t i = 0; i < count; i++) {
        write_path(json, table, count, i);
    }
    json_end_object(json);
    json_end_object(json);
}

void
handle_openapi(struct call *call)
{
    struct json_writer json;
    json_init(&json);
    openapi_write(&json, routes, route_count, BOURSE_VERSION);
    call_answer_json(call, 200, &json);
    json_fini(&json);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* RabbitMQ's health checks: 200 {"status": "ok"}, or 503 {"status": "failed", "reason": ...}. All
 * go through the core: one that hangs is not well. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/assert.h"
#include "base/clock.h"
#include "management/ask/survey_ask.h"
#include "management/http/server.h"
#include "management/routes/handlers.h"
#include "management/views/node_json.h"
#include "management/views/row_answer.h"

/* Checks that look at the core --------------------------------------------------------------- */

/* An answer of more members than health_answer has: {"status": ..., the caller's ... }. */
static void
begin_verdict(struct json_writer *json, const char *status)
{
    json_init(json);
    json_begin_object(json);
    json_put_string(json, "status", status);
}

static void
end_verdict(struct call *call, int status, struct json_writer *json)
{
    json_end_object(json);
    call_answer_json(call, status, json);
    json_fini(json);
}

static void
write_alarm(struct json_writer *json, const struct management *management, const char *resource)
{
    json_begin_object(json);
    json_put_string(json, "node", management->node);
    json_put_string(json, "resource", resource);
    json_end_object(json);
}

static void
write_alarms(struct call *call, struct survey_ask *ask)
{
    uint8_t alarms = ask->core.alarms;
    struct json_writer json;
    if ((alarms & (ALARM_MEMORY | ALARM_DISK)) == 0) {
        health_answer(call, true, NULL);
        return;
    }
    begin_verdict(&json, "failed");
    json_put_string(&json, "reason",
                    (alarms & ALARM_DISK) != 0 ? "publishers are blocked: low on disk"
                                               : "publishers are blocked: low on memory");
    json_key(&json, "alarms");
    json_begin_array(&json);
    if ((alarms & ALARM_MEMORY) != 0) {
        write_alarm(&json, call->management, "memory");
    }
    if ((alarms & ALARM_DISK) != 0) {
        write_alarm(&json, call->management, "disk space");
    }
    json_end_array(&json);
    end_verdict(call, 503, &json);
}

void
handle_check_alarms(struct call *call)
{
    call_ask(call, &survey_ask_for_core(call, write_alarms)->ask);
}

/* Virtual hosts, the store and the limit of connections: while the core answers they are there, and
 * a node has no limit of connections. */
static void
write_well(struct call *call, struct survey_ask *ask)
{
    (void)ask;
    health_answer(call, true, NULL);
}

void
handle_check_core(struct call *call)
{
    call_ask(call, &survey_ask_new(write_well)->ask);
}

void
handle_check_service(struct call *call)
{
    if (!atomic_load(&call->management->is_ready)) {
        health_answer(call, false, "the broker is starting or stopping");
        return;
    }
    call_ask(call, &survey_ask_new(write_well)->ask);
}

/* One node is never critical to others. */
static void
write_single(struct call *call, struct survey_ask *ask)
{
    struct json_writer json;
    (void)ask;
    begin_verdict(&json, "ok");
    json_put_string(&json, "reason", "single node cluster");
    end_verdict(call, 200, &json);
}

void
handle_check_quorum(struct call *call)
{
    call_ask(call, &survey_ask_new(write_single)->ask);
}

/* Listeners ---------------------------------------------------------------------------------- */

/* A whole number from 1 to `max`; 0: it is none. */
static uint64_t
number_of(const struct call *call, uint32_t position, uint64_t max)
{
    struct bytes text = call_name(call, position);
    uint64_t value = 0;
    for (size_t i = 0; i < text.size; i++) {
        uint8_t octet = text.data[i];
        if (octet < '0' || octet > '9' || value > max) {
            return 0;
        }
        value = value * 10 + (uint64_t)(octet - '0');
    }
    return value <= max ? value : 0;
}

static void
write_port_missing(struct call *call, uint64_t port)
{
    struct listener_walk walk = {.broker_position = 0};
    struct listener_row row;
    struct json_writer json;
    begin_verdict(&json, "failed");
    json_put_string(&json, "reason", "No active listener");
    json_put_unsigned(&json, "missing", port);
    json_key(&json, "ports");
    json_begin_array(&json);
    while (listener_next(call->management, &walk, &row)) {
        json_unsigned(&json, row.port);
    }
    json_end_array(&json);
    end_verdict(call, 503, &json);
}

void
handle_check_port(struct call *call)
{
    uint64_t port = number_of(call, 0, UINT16_MAX);
    struct listener_walk walk = {.broker_position = 0};
    struct listener_row row;
    if (port == 0) {
        call_fail(call, 400, "a port is a number from 1 to 65535, not \"%.*s\"",
                  BYTES_FORMAT(call_name(call, 0)));
        return;
    }
    while (listener_next(call->management, &walk, &row)) {
        if (row.port == port) {
            struct json_writer json;
            begin_verdict(&json, "ok");
            json_put_unsigned(&json, "port", port);
            end_verdict(call, 200, &json);
            return;
        }
    }
    write_port_missing(call, port);
}

/* Capital letters or not. */
static bool
is_called(struct bytes name, const char *text)
{
    return name.size == strlen(text) && strncasecmp((const char *)name.data, text, name.size) == 0;
}

/* The name of a listener's protocol; others are looked for as they are. */
static struct bytes
protocol_of(struct bytes asked)
{
    static const char *const other_names[][2] = {
        {"amqp091", "amqp"},    {"amqp0.9.1", "amqp"},    {"amqp0-9-1", "amqp"},
        {"amqps", "amqp/ssl"},  {"amqp/tls", "amqp/ssl"}, {"prometheus", "http/prometheus"},
        {"management", "http"},
    };
    for (size_t i = 0; i < ARRAY_LEN(other_names); i++) {
        if (is_called(asked, other_names[i][0])) {
            return bytes_of(other_names[i][1]);
        }
    }
    return asked;
}

static void
write_protocol_missing(struct call *call, struct bytes protocol)
{
    struct listener_walk walk = {.broker_position = 0};
    struct listener_row row;
    struct json_writer json;
    begin_verdict(&json, "failed");
    json_put_string(&json, "reason", "No active listener");
    json_put_text(&json, "missing", protocol);
    json_key(&json, "protocols");
    json_begin_array(&json);
    while (listener_next(call->management, &walk, &row)) {
        json_text(&json, bytes_of(row.protocol));
    }
    json_end_array(&json);
    end_verdict(call, 503, &json);
}

void
handle_check_protocol(struct call *call)
{
    struct bytes protocol = call_name(call, 0);
    struct listener_walk walk = {.broker_position = 0};
    struct listener_row row;
    while (listener_next(call->management, &walk, &row)) {
        if (is_called(protocol_of(protocol), row.protocol)) {
            struct json_writer json;
            begin_verdict(&json, "ok");
            json_put_string(&json, "protocol", row.protocol);
            end_verdict(call, 200, &json);
            return;
        }
    }
    write_protocol_missing(call, protocol);
}

/* Certificates ------------------------------------------------------------------------------- */

/* Days of a unit; 0: there is no such unit. */
static uint64_t
days_of_unit(struct bytes unit)
{
    static const struct {
        const char *name;
        uint64_t days;
    } units[] = {
        {"day", 1},    {"days", 1},    {"week", 7},   {"weeks", 7},
        {"month", 30}, {"months", 30}, {"year", 365}, {"years", 365},
    };
    for (size_t i = 0; i < ARRAY_LEN(units); i++) {
        if (bytes_equal_text(unit, units[i].name)) {
            return units[i].days;
        }
    }
    return 0;
}

static void
write_expired(struct call *call, int64_t limit_ms)
{
    static const char *const listeners[LISTENER_KIND_COUNT] = {
        [LISTENER_AMQP] = "amqp",   [LISTENER_AMQPS] = "amqps",     [LISTENER_HTTP] = "http",
        [LISTENER_HTTPS] = "https", [LISTENER_METRICS] = "metrics",
    };
    struct json_writer json;
    begin_verdict(&json, "failed");
    json_put_string(&json, "reason", "Certificates expiring");
    json_key(&json, "expired");
    json_begin_array(&json);
    for (int i = 0; i < LISTENER_KIND_COUNT; i++) {
        int64_t end_ms = atomic_load(&call->management->certificate_ends_ms[i]);
        if (end_ms != 0 && end_ms < limit_ms) {
            json_begin_object(&json);
            json_put_string(&json, "node", call->management->node);
            json_put_string(&json, "protocol", listeners[i]);
            json_put_number(&json, "certfile_expires_on_ms", end_ms);
            json_end_object(&json);
        }
    }
    json_end_array(&json);
    end_verdict(call, 503, &json);
}

void
handle_check_certificates(struct call *call)
{
    enum { WITHIN_MAX = 100000 };
    static const int64_t DAY_MS = INT64_C(24) * 60 * 60 * 1000;
    uint64_t within = number_of(call, 0, WITHIN_MAX);
    uint64_t days = days_of_unit(call_name(call, 1));
    if (within == 0 || days == 0) {
        call_fail(call, 400,
                  within == 0 ? "Invalid expiration value: it is a number from 1 to 100000"
                              : "Time unit not recognised: it is days, weeks, months or years");
        return;
    }
    struct clock_source clock = clock_system();
    int64_t limit_ms = clock.read(clock.context).wall_ms + (int64_t)(within * days) * DAY_MS;
    for (int i = 0; i < LISTENER_KIND_COUNT; i++) {
        int64_t end_ms = atomic_load(&call->management->certificate_ends_ms[i]);
        if (end_ms != 0 && end_ms < limit_ms) {
            write_expired(call, limit_ms);
            return;
        }
    }
    health_answer(call, true, NULL);
}

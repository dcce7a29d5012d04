/* SPDX-License-Identifier: Apache-2.0 */
/* What a person should look at, the worst first, each with its reason and one thing to do. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "broker/survey/measure.h"
#include "management/http/server.h"
#include "management/monitor/monitor.h"
#include "management/routes/handlers.h"

enum severity { SEVERITY_CRITICAL, SEVERITY_WARNING, SEVERITY_INFO };

/* What is said of a queue or exchange; the texts take its value and its limit. */
struct concern_text {
    const char *kind;
    enum severity severity;
    const char *what, *why, *action;
    const char *what_of_one; /* NULL: as of more */
};

static const struct concern_text concerns[CONCERN_COUNT] = {
    [CONCERN_OLDEST_ABOVE] = {"queue_oldest_above", SEVERITY_CRITICAL,
                              "the oldest message is %s old",
                              "its file says alert.oldest-above: %s",
                              "look at its consumers; start more of them, or find out what holds "
                              "them up",
                              NULL},
    [CONCERN_READY_ABOVE] = {"queue_ready_above", SEVERITY_CRITICAL, "%s messages are ready",
                             "its file says alert.ready-above: %s",
                             "look at its consumers, or at what publishes more than usual",
                             "1 message is ready"},
    [CONCERN_UNSERVED] = {"queue_unserved", SEVERITY_WARNING,
                          "%s messages are ready and nobody takes them", "it has no consumer",
                          "start its consumer, or purge and delete the queue if nobody needs it",
                          "1 message is ready and nobody takes it"},
    [CONCERN_IDLE_CONSUMERS] = {"queue_idle_consumers", SEVERITY_WARNING,
                                "%s messages wait though there are consumers",
                                "nothing was acknowledged in the last minute",
                                "see what its consumers hold unacknowledged; a prefetch that is "
                                "used up, or a consumer that hangs",
                                "1 message waits though there are consumers"},
    [CONCERN_BUSY_CONSUMERS] = {"queue_busy_consumers", SEVERITY_WARNING,
                                "%s messages wait for consumers that are busy",
                                "its consumers had room for another message in less than 20 % of "
                                "the last minute",
                                "start more consumers, give them a larger prefetch, or find out "
                                "what makes them slow",
                                "1 message waits for consumers that are busy"},
    [CONCERN_PAUSED] = {"queue_paused", SEVERITY_WARNING, "%s messages wait in a paused queue",
                        "an operator has paused it", "resume it when what it waits for is done",
                        "1 message waits in a paused queue"},
    [CONCERN_UNROUTABLE] = {"unroutable", SEVERITY_WARNING,
                            "messages reach no queue: %s since the broker began",
                            "no binding of the exchange took the last ones, within ten minutes",
                            "ask bourse route why; bind a queue, or give it an alternate exchange "
                            "(unrouted)",
                            NULL},
    [CONCERN_DEAD_LETTERS] = {"dead_letters", SEVERITY_INFO, "%s dead letters are there",
                              "they were rejected, came too late or failed too often",
                              "look at their groups, then replay or drop them",
                              "1 dead letter is there"},
};

/* The findings of a measure, sorted. */
struct attention {
    struct call_ask ask;
    struct survey_viewer viewer;
    struct measure measure;
};

static const char *
severity_name(enum severity severity)
{
    static const char *const names[] = {"critical", "warning", "info"};
    return names[severity];
}

/* The longest unit of which there is at least one. */
static void
put_duration(char *out, size_t size, uint64_t ms)
{
    static const struct {
        uint64_t ms;
        const char *unit;
    } units[] = {{86400000, "d"}, {3600000, "h"}, {60000, "min"}, {1000, "s"}};
    for (size_t i = 0; i < ARRAY_LEN(units); i++) {
        if (ms >= units[i].ms) {
            (void)snprintf(out, size, "%" PRIu64 " %s", ms / units[i].ms, units[i].unit);
            return;
        }
    }
    (void)snprintf(out, size, "%" PRIu64 " ms", ms);
}

static void
put_value(char *out, size_t size, enum measure_concern concern, uint64_t value)
{
    if (concern == CONCERN_OLDEST_ABOVE) {
        put_duration(out, size, value);
    } else {
        (void)snprintf(out, size, "%" PRIu64, value);
    }
}

static void
begin_item(struct json_writer *json, enum severity severity, const char *kind, const char *object)
{
    json_begin_object(json);
    json_put_string(json, "severity", severity_name(severity));
    json_put_string(json, "kind", kind);
    json_put_string(json, "object", object);
}

static void
end_item(struct json_writer *json, const char *what, const char *why, const char *action)
{
    json_put_string(json, "what", what);
    json_put_string(json, "why", why);
    json_put_string(json, "action", action);
    json_end_object(json);
}

/* `text` with `value` in the place of its "%s", if it has one. */
static void
fill_in(char *out, size_t size, const char *text, const char *value)
{
    const char *place = strstr(text, "%s");
    if (place == NULL) {
        (void)snprintf(out, size, "%s", text);
    } else {
        (void)snprintf(out, size, "%.*s%s%s", (int)(place - text), text, value, place + 2);
    }
}

static void
write_finding(struct json_writer *json, const struct measure_finding *finding)
{
    const struct concern_text *text = &concerns[finding->concern];
    bool has_limit =
        finding->concern == CONCERN_OLDEST_ABOVE || finding->concern == CONCERN_READY_ABOVE;
    char value[32];
    char limit[32];
    char what[256];
    char why[256];
    put_value(value, sizeof(value), finding->concern, finding->value);
    put_value(limit, sizeof(limit), finding->concern, finding->limit);
    bool is_one = finding->value == 1 && text->what_of_one != NULL;
    fill_in(what, sizeof(what), is_one ? text->what_of_one : text->what, value);
    fill_in(why, sizeof(why), text->why, limit);
    begin_item(json, text->severity, text->kind,
               finding->concern == CONCERN_UNROUTABLE ? "exchange" : "queue");
    json_put_text(json, "vhost", finding->vhost);
    json_put_text(json, "name", finding->name);
    json_put_unsigned(json, "value", finding->value);
    if (has_limit) {
        json_put_unsigned(json, "limit", finding->limit);
    } else {
        json_put_null(json, "limit");
    }
    end_item(json, what, why, text->action);
}

static int
compare_findings(const void *a, const void *b)
{
    const struct measure_finding *first = a;
    const struct measure_finding *second = b;
    int order = (int)concerns[first->concern].severity - (int)concerns[second->concern].severity;
    order = order != 0 ? order : (int)first->concern - (int)second->concern;
    order = order != 0 ? order : bytes_compare(first->vhost, second->vhost);
    return order != 0 ? order : bytes_compare(first->name, second->name);
}

/* The broker itself ---------------------------------------------------------------------------- */

static void
write_alarms(struct json_writer *json, const struct measure *measure)
{
    if (measure->memory_alarm != 0) {
        begin_item(json, SEVERITY_CRITICAL, "memory_alarm", "broker");
        json_put_unsigned(json, "value", measure->memory_bytes);
        json_put_unsigned(json, "limit", measure->memory_mark_bytes);
        end_item(json, "publishers are blocked", "messages take more memory than server.memory",
                 "let consumers catch up, or give the broker more memory");
    }
    if (measure->disk_alarm != 0) {
        begin_item(json, SEVERITY_CRITICAL, "disk_alarm", "broker");
        json_put_unsigned(json, "value", measure->disk_free_bytes);
        json_put_unsigned(json, "limit", measure->disk_mark_bytes);
        end_item(json, "publishers are blocked", "the disk has less room than server.disk-free",
                 "make room on the file system of the data directory");
    }
}

static void
write_certificate(struct json_writer *json, const char *listener, int64_t left_ms)
{
    static const int64_t DAY_MS = INT64_C(86400000);
    enum { DAYS_MIN = 14 };
    char what[64] = "the certificate has ended";
    bool has_ended = left_ms < 0;
    if (left_ms >= DAYS_MIN * DAY_MS) {
        return;
    }
    if (!has_ended) {
        (void)snprintf(what, sizeof(what), "the certificate ends in %" PRId64 " days",
                       left_ms / DAY_MS);
    }
    begin_item(json, has_ended ? SEVERITY_CRITICAL : SEVERITY_WARNING, "certificate_ends",
               "listener");
    json_put_string(json, "name", listener);
    json_put_number(json, "value", left_ms);
    json_put_number(json, "limit", DAYS_MIN * DAY_MS);
    end_item(json, what, "clients will refuse to connect", "put a new one in its place and reload");
}

static void
write_certificates(struct json_writer *json, struct management *management, int64_t now_ms)
{
    for (int i = 0; i < LISTENER_KIND_COUNT; i++) {
        int64_t end_ms = atomic_load(&management->certificate_ends_ms[i]);
        if (end_ms != 0) {
            write_certificate(json, config_listener_name((enum config_listener_kind)i),
                              end_ms - now_ms);
        }
    }
}

static void
write_reload(struct json_writer *json, const struct management *management)
{
    if (atomic_load(&management->reload_has_failed)) {
        begin_item(json, SEVERITY_WARNING, "reload_failed", "broker");
        json_put_null(json, "value");
        json_put_null(json, "limit");
        end_item(json, "the configuration that was read last was refused",
                 "the log says why; what was in force still is",
                 "run bourse check on the file, mend it and reload");
    }
}

static void
write_blocked(struct json_writer *json, const struct measure *measure)
{
    char what[64];
    if (measure->blocked_connections > 0) {
        (void)snprintf(what, sizeof(what), "%" PRIu64 " connections are blocked",
                       measure->blocked_connections);
        begin_item(json, SEVERITY_WARNING, "clients_blocked", "broker");
        json_put_unsigned(json, "value", measure->blocked_connections);
        json_put_null(json, "limit");
        end_item(json, what, "they publish while memory or disk is short",
                 "end what blocks them; bourse ls connections says who they are");
    }
}

/* As many came as went: nobody kept them. */
static void
write_churn(struct json_writer *json, const struct monitor *monitor)
{
    enum { CHURN_MAX = 60 };
    char what[96];
    uint64_t opened = 0;
    uint64_t closed = 0;
    point_ring_churn(monitor_points(monitor), &opened, &closed);
    if (opened >= CHURN_MAX && closed >= CHURN_MAX) {
        (void)snprintf(what, sizeof(what),
                       "%" PRIu64 " connections were opened within a minute, and %" PRIu64
                       " closed",
                       opened, closed);
        begin_item(json, SEVERITY_WARNING, "connection_churn", "broker");
        json_put_unsigned(json, "value", opened);
        json_put_unsigned(json, "limit", CHURN_MAX);
        end_item(json, what, "each costs a handshake and a login",
                 "have the client keep one connection open; connection.established in the log says "
                 "they are");
    }
}

static void
write_drift(struct json_writer *json, const struct drift_watch *watch)
{
    char what[96];
    const struct drift_found *found;
    for (size_t at = 0; (found = drift_watch_at(watch, at)) != NULL; at++) {
        if (found->count == 0) {
            continue;
        }
        (void)snprintf(what, sizeof(what), "%" PRIu64 " difference%s from its configuration",
                       found->count, found->count == 1 ? "" : "s");
        begin_item(json, SEVERITY_WARNING, "topology_drift", "vhost");
        json_put_text(json, "vhost", found->vhost);
        json_put_text(json, "name", found->vhost);
        json_put_unsigned(json, "value", found->count);
        json_put_unsigned(json, "limit", 0);
        end_item(json, what, "clients or operators have made, changed or deleted something",
                 "look at bourse drift; put it into the file, or apply the file again");
    }
}

static void
write_lost_lines(struct json_writer *json, const struct management *management)
{
    uint64_t dropped = 0;
    if (management->log != NULL) {
        pthread_mutex_lock(&management->log->lock);
        dropped = management->log->dropped;
        pthread_mutex_unlock(&management->log->lock);
    }
    if (dropped > 0) {
        begin_item(json, SEVERITY_INFO, "log_lines_dropped", "broker");
        json_put_unsigned(json, "value", dropped);
        json_put_null(json, "limit");
        end_item(json, "lines of log were lost", "whoever reads the log was too slow",
                 "look at what reads standard error of the broker");
    }
}

/* Who does not see all is told nothing of configurations, as by the route about drift. */
static void
write_house(struct json_writer *json, const struct call *call, const struct measure *measure)
{
    const struct management *management = call->management;
    write_blocked(json, measure);
    write_churn(json, management->monitor);
    write_reload(json, management);
    if ((call->user.abilities & ABILITY_SEE_ALL) != 0) {
        write_drift(json, monitor_drift(management->monitor));
    }
    write_lost_lines(json, management);
}

static void
then(struct call *call, struct call_ask *ask)
{
    struct attention *attention = CONTAINER_OF(ask, struct attention, ask);
    struct measure *measure = &attention->measure;
    struct clock_source clock = clock_system();
    int64_t now_ms = clock.read(clock.context).wall_ms;
    struct json_writer json;
    json_init(&json);
    json_begin_object(&json);
    json_put_number(&json, "checked_ms", now_ms);
    json_key(&json, "items");
    json_begin_array(&json);
    write_alarms(&json, measure);
    qsort(measure->findings, measure->finding_count, sizeof(*measure->findings), compare_findings);
    uint32_t at = 0;
    while (at < measure->finding_count &&
           concerns[measure->findings[at].concern].severity == SEVERITY_CRITICAL) {
        write_finding(&json, &measure->findings[at++]);
    }
    write_certificates(&json, call->management, now_ms);
    while (at < measure->finding_count &&
           concerns[measure->findings[at].concern].severity == SEVERITY_WARNING) {
        write_finding(&json, &measure->findings[at++]);
    }
    write_house(&json, call, measure);
    while (at < measure->finding_count) {
        write_finding(&json, &measure->findings[at++]);
    }
    json_end_array(&json);
    json_end_object(&json);
    call_answer_json(call, 200, &json);
    json_fini(&json);
}

static enum request_progress
step(struct request *request, struct core *core, uint32_t *budget)
{
    struct attention *attention = CONTAINER_OF(request, struct attention, ask.desk.request);
    return measure_step(&attention->measure, core, budget);
}

static void
free_attention(struct call_ask *ask)
{
    struct attention *attention = CONTAINER_OF(ask, struct attention, ask);
    measure_fini(&attention->measure);
    free(attention);
}

void
handle_attention(struct call *call)
{
    struct attention *attention = xalloc(sizeof(*attention));
    attention->ask.desk.request.step = step;
    attention->ask.then = then;
    attention->ask.free = free_attention;
    attention->viewer = call_viewer(call);
    attention->measure.looks_at_exchanges = true;
    attention->measure.viewer = &attention->viewer;
    call_ask(call, &attention->ask);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* What the monitor remembers, for charts. */
#include "management/ask/survey_ask.h"
#include "management/http/server.h"
#include "management/monitor/monitor.h"
#include "management/routes/handlers.h"
#include "management/views/queue_json.h"

static void
begin_points(struct json_writer *json, uint64_t interval_ms)
{
    json_init(json);
    json_begin_object(json);
    json_put_unsigned(json, "interval_ms", interval_ms);
    json_key(json, "points");
    json_begin_array(json);
}

static void
answer_points(struct call *call, struct json_writer *json)
{
    json_end_array(json);
    json_end_object(json);
    call_answer_json(call, 200, json);
    json_fini(json);
}

static void
write_point(struct json_writer *json, const struct monitor_point *point)
{
    json_begin_object(json);
    json_put_number(json, "at_ms", point->at_ms);
    json_put_real(json, "published_rate", point->published);
    json_put_real(json, "confirmed_rate", point->confirmed);
    json_put_real(json, "delivered_rate", point->delivered);
    json_put_real(json, "acked_rate", point->acked);
    json_put_unsigned(json, "ready", point->ready);
    json_put_unsigned(json, "unacked", point->unacked);
    json_put_unsigned(json, "oldest_ready_age_ms", point->oldest_ready_ms);
    json_put_unsigned(json, "dead_letters", point->dead_letters);
    json_put_unsigned(json, "connections", point->connections);
    json_put_unsigned(json, "memory_bytes", point->memory_bytes);
    json_end_object(json);
}

void
handle_history(struct call *call)
{
    const struct point_ring *points = monitor_points(call->management->monitor);
    struct json_writer json;
    begin_points(&json, MONITOR_INTERVAL_MS);
    const struct monitor_point *point;
    for (uint32_t at = 0; (point = point_ring_at(points, at)) != NULL; at++) {
        write_point(&json, point);
    }
    answer_points(call, &json);
}

static void
write_queue_point(struct json_writer *json, const struct monitor_queue_point *point)
{
    json_begin_object(json);
    json_put_number(json, "at_ms", point->at_ms);
    json_put_unsigned(json, "ready", point->ready);
    json_put_unsigned(json, "unacked", point->unacked);
    age_write(json, "oldest_ready_age_ms", point->oldest_ready_ms);
    json_put_real(json, "arrival_rate", point->arrived);
    json_put_real(json, "service_rate", point->served);
    json_end_object(json);
}

/* Only of queues that are there, so that nobody fills the monitor with others. */
static void
write_queue_history(struct call *call, struct survey_ask *ask)
{
    if (ask->queues.count == 0) {
        call_fail(call, 404, "there is no such queue");
        return;
    }
    const struct monitor_queue *queue =
        monitor_watch(call->management->monitor, call_name(call, 0), call_name(call, 1));
    struct json_writer json;
    begin_points(&json, MONITOR_QUEUE_INTERVAL_MS);
    const struct monitor_queue_point *point;
    for (uint32_t at = 0; (point = monitor_queue_point_at(queue, at)) != NULL; at++) {
        write_queue_point(&json, point);
    }
    answer_points(call, &json);
}

void
handle_queue_history(struct call *call)
{
    struct survey_ask *ask = survey_ask_for_queues(call, write_queue_history);
    ask->queues.vhost = call_name(call, 0);
    ask->queues.queue = call_name(call, 1);
    ask->queues.leaves_clocks = true;
    call_ask(call, &ask->ask);
}

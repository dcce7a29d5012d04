/* SPDX-License-Identifier: Apache-2.0 */
#include "management/monitor/monitor.h"

#include <event2/event.h>
#include <inttypes.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "broker/topology/vhost.h"
#include "broker/upkeep/queue_clocks.h"
#include "management/http/server.h"

/* A queue that is over a limit. */
struct monitor_alert {
    struct list_link link;
    enum measure_concern concern;
    uint64_t seen_tick;
    struct bytes vhost, queue; /* owned, in the same allocation */
};

/* What a queue is asked for. */
struct queue_question {
    struct bytes vhost, name; /* of the sample's arena */
    struct monitor_queue_point point;
    bool is_there;
};

/* One look at the core; its own until it is back. */
struct sample {
    struct desk_request desk;
    struct monitor *monitor; /* NULL: nobody waits for it any more */
    struct measure measure;
    struct arena arena; /* owned */
    struct queue_question questions[MONITOR_QUEUES_MAX];
    uint32_t question_count;
};

struct monitor {
    struct management *management; /* borrowed */
    struct event *timer;           /* owned */
    struct sample *under_way;      /* NULL: none */
    uint64_t tick;
    uint64_t next_tick;       /* of the next look */
    uint64_t next_queue_tick; /* of the next look at queues */
    struct point_ring points;
    struct core_counters before; /* at the last point */
    uint64_t before_uptime_ms;
    struct long_view long_view;
    struct monitor_queue *queues[MONITOR_QUEUES_MAX]; /* owned */
    uint32_t queue_count;
    struct list alerts;        /* of struct monitor_alert; owns */
    struct drift_watch *drift; /* owned */
    uint64_t all_queue_count;  /* at the last look */
};

/* Looking, on the core's thread ---------------------------------------------------------------- */

static void
answer_question(struct core *core, struct queue_question *question)
{
    const struct vhost *vhost = core_find_vhost(core, question->vhost);
    struct queue *queue = vhost == NULL ? NULL : vhost_find_queue(vhost, question->name);
    if (queue == NULL) {
        return;
    }
    struct queue_clock_reading reading;
    core_read_queue_clocks(core, queue, &reading);
    question->is_there = true;
    question->point = (struct monitor_queue_point){
        .ready = queue->ready_count,
        .unacked = queue->unacked_count,
        .oldest_ready_ms = reading.oldest_ready_ms,
        .arrived = reading.rates[RATE_10_S].arrived,
        .served = reading.rates[RATE_10_S].served,
    };
}

static enum request_progress
step(struct request *request, struct core *core, uint32_t *budget)
{
    struct sample *sample = CONTAINER_OF(request, struct sample, desk.request);
    if (measure_step(&sample->measure, core, budget) == REQUEST_MORE) {
        return REQUEST_MORE;
    }
    for (uint32_t i = 0; i < sample->question_count; i++) {
        answer_question(core, &sample->questions[i]);
    }
    return REQUEST_DONE;
}

/* Points --------------------------------------------------------------------------------------- */

static int64_t
wall_ms(void)
{
    struct clock_source clock = clock_system();
    return clock.read(clock.context).wall_ms;
}

static double
rate(uint64_t now, uint64_t before, uint64_t elapsed_ms)
{
    return elapsed_ms == 0 || now < before ? 0 : (double)(now - before) * 1000 / (double)elapsed_ms;
}

static void
add_point(struct monitor *monitor, const struct measure *measure)
{
    const struct core_counters *now = &measure->counters;
    const struct core_counters *before = &monitor->before;
    uint64_t elapsed_ms =
        monitor->points.count == 0 ? 0 : measure->uptime_ms - monitor->before_uptime_ms;
    const struct monitor_point point = {
        .at_ms = wall_ms(),
        .uptime_ms = measure->uptime_ms,
        .published = rate(now->published, before->published, elapsed_ms),
        .confirmed = rate(now->confirmed, before->confirmed, elapsed_ms),
        .delivered = rate(now->delivered, before->delivered, elapsed_ms),
        .acked = rate(now->acked, before->acked, elapsed_ms),
        .ready = measure->ready,
        .unacked = measure->unacked,
        .oldest_ready_ms = measure->oldest_ready_ms,
        .dead_letters = measure->dead_letters,
        .connections = measure->connections,
        .memory_bytes = measure->memory_bytes,
        .opened = now->connections_opened,
        .closed = now->connections_closed,
    };
    point_ring_add(&monitor->points, &point);
    monitor->before = *now;
    monitor->before_uptime_ms = measure->uptime_ms;
}

static void
add_to_long_view(struct monitor *monitor, const struct measure *measure)
{
    struct store_flushes flushes = {.sum_us = 0};
    broker_add_flushes(monitor->management->broker, &flushes);
    long_view_add(&monitor->long_view, wall_ms(), &flushes,
                  measure->dead_letters + measure->waiting[WAITING_PARKED]);
}

const struct long_view *
monitor_long_view(const struct monitor *monitor)
{
    return &monitor->long_view;
}

const struct point_ring *
monitor_points(const struct monitor *monitor)
{
    return &monitor->points;
}

const struct monitor_queue_point *
monitor_queue_point_at(const struct monitor_queue *queue, uint32_t at)
{
    uint32_t first = (queue->next + MONITOR_POINTS - queue->count) % MONITOR_POINTS;
    return at < queue->count ? &queue->points[(first + at) % MONITOR_POINTS] : NULL;
}

const struct drift_watch *
monitor_drift(const struct monitor *monitor)
{
    return monitor->drift;
}

/* Queues --------------------------------------------------------------------------------------- */

static struct monitor_queue *
find_queue(const struct monitor *monitor, struct bytes vhost, struct bytes name)
{
    for (uint32_t i = 0; i < monitor->queue_count; i++) {
        struct monitor_queue *queue = monitor->queues[i];
        if (bytes_equal(bytes_make(queue->vhost, queue->vhost_size), vhost) &&
            bytes_equal(bytes_make(queue->name, queue->name_size), name)) {
            return queue;
        }
    }
    return NULL;
}

static void
forget_queue(struct monitor *monitor, uint32_t at)
{
    struct monitor_queue *queue = monitor->queues[at];
    monitor->queues[at] = monitor->queues[--monitor->queue_count];
    free(queue->vhost);
    free(queue->name);
    free(queue);
}

static void
forget_oldest(struct monitor *monitor)
{
    uint32_t oldest = 0;
    for (uint32_t i = 1; i < monitor->queue_count; i++) {
        if (monitor->queues[i]->asked_tick < monitor->queues[oldest]->asked_tick) {
            oldest = i;
        }
    }
    forget_queue(monitor, oldest);
}

static char *
copy_text(struct bytes text)
{
    char *copy = xalloc(text.size + 1);
    if (text.size > 0) {
        memcpy(copy, text.data, text.size);
    }
    return copy;
}

const struct monitor_queue *
monitor_watch(struct monitor *monitor, struct bytes vhost, struct bytes name)
{
    struct monitor_queue *queue = find_queue(monitor, vhost, name);
    if (queue == NULL) {
        if (monitor->queue_count == MONITOR_QUEUES_MAX) {
            forget_oldest(monitor);
        }
        queue = xalloc(sizeof(*queue));
        queue->vhost = copy_text(vhost);
        queue->vhost_size = vhost.size;
        queue->name = copy_text(name);
        queue->name_size = name.size;
        monitor->queues[monitor->queue_count++] = queue;
    }
    queue->asked_tick = monitor->tick;
    return queue;
}

static void
add_queue_points(struct monitor *monitor, const struct sample *sample)
{
    for (uint32_t i = 0; i < sample->question_count; i++) {
        const struct queue_question *question = &sample->questions[i];
        struct monitor_queue *queue = find_queue(monitor, question->vhost, question->name);
        if (queue != NULL && question->is_there) {
            queue->points[queue->next] = question->point;
            queue->points[queue->next].at_ms = wall_ms();
            queue->next = (queue->next + 1) % MONITOR_POINTS;
            queue->count += queue->count < MONITOR_POINTS ? 1 : 0;
        }
    }
}

/* Alerts --------------------------------------------------------------------------------------- */

static const char *
kind_of(enum measure_concern concern)
{
    return concern == CONCERN_READY_ABOVE ? "ready-above" : "oldest-above";
}

static struct monitor_alert *
find_alert(const struct monitor *monitor, const struct measure_finding *finding)
{
    LIST_FOR_EACH(&monitor->alerts, link)
    {
        struct monitor_alert *alert = CONTAINER_OF(link, struct monitor_alert, link);
        if (alert->concern == finding->concern && bytes_equal(alert->vhost, finding->vhost) &&
            bytes_equal(alert->queue, finding->name)) {
            return alert;
        }
    }
    return NULL;
}

static void
begin_alert(struct monitor *monitor, const struct measure_finding *finding)
{
    char vhost[256];
    char queue[512];
    struct monitor_alert *alert = xalloc(sizeof(*alert) + finding->vhost.size + finding->name.size);
    uint8_t *text = (uint8_t *)(alert + 1);
    memcpy(text, finding->vhost.data, finding->vhost.size);
    memcpy(text + finding->vhost.size, finding->name.data, finding->name.size);
    alert->vhost = bytes_make(text, finding->vhost.size);
    alert->queue = bytes_make(text + finding->vhost.size, finding->name.size);
    alert->concern = finding->concern;
    alert->seen_tick = monitor->tick;
    list_append(&monitor->alerts, &alert->link);
    log_warn(monitor->management->log, "queue.alert_on",
             "vhost=%s queue=%s kind=%s value=%" PRIu64 " limit=%" PRIu64,
             log_escape(vhost, sizeof(vhost), finding->vhost),
             log_escape(queue, sizeof(queue), finding->name), kind_of(finding->concern),
             finding->value, finding->limit);
}

static void
end_alert(struct monitor *monitor, struct monitor_alert *alert)
{
    char vhost[256];
    char queue[512];
    log_info(monitor->management->log, "queue.alert_off", "vhost=%s queue=%s kind=%s",
             log_escape(vhost, sizeof(vhost), alert->vhost),
             log_escape(queue, sizeof(queue), alert->queue), kind_of(alert->concern));
    list_remove(&alert->link);
    free(alert);
}

/* One that comes and goes is told of once: it has to stay away for a while. */
static void
heed_alerts(struct monitor *monitor, const struct measure *measure)
{
    for (uint32_t i = 0; i < measure->finding_count; i++) {
        const struct measure_finding *finding = &measure->findings[i];
        if (finding->concern != CONCERN_READY_ABOVE && finding->concern != CONCERN_OLDEST_ABOVE) {
            continue;
        }
        struct monitor_alert *alert = find_alert(monitor, finding);
        if (alert == NULL) {
            begin_alert(monitor, finding);
        } else {
            alert->seen_tick = monitor->tick;
        }
    }
    struct list_link *next;
    for (struct list_link *link = list_first(&monitor->alerts); link != NULL; link = next) {
        struct monitor_alert *alert = CONTAINER_OF(link, struct monitor_alert, link);
        next = list_next(&monitor->alerts, link);
        if (monitor->tick - alert->seen_tick >= MONITOR_ALERT_TICKS) {
            end_alert(monitor, alert);
        }
    }
}

/* In turn -------------------------------------------------------------------------------------- */

static void
free_sample(struct sample *sample)
{
    measure_fini(&sample->measure);
    arena_fini(&sample->arena);
    free(sample);
}

static void
on_answered(struct desk_request *desk)
{
    struct sample *sample = CONTAINER_OF(desk, struct sample, desk);
    struct monitor *monitor = sample->monitor;
    if (monitor != NULL) {
        monitor->under_way = NULL;
        if (desk->request.status == STATUS_OK) {
            add_point(monitor, &sample->measure);
            add_to_long_view(monitor, &sample->measure);
            add_queue_points(monitor, sample);
            heed_alerts(monitor, &sample->measure);
            monitor->all_queue_count = sample->measure.queues;
            monitor->next_tick = monitor->tick + sample->measure.queues / MONITOR_MANY_QUEUES;
        }
    }
    free_sample(sample);
}

static void
ask_for_queues(struct monitor *monitor, struct sample *sample)
{
    for (uint32_t i = monitor->queue_count; i > 0; i--) {
        if (monitor->tick - monitor->queues[i - 1]->asked_tick > MONITOR_PATIENCE_TICKS) {
            forget_queue(monitor, i - 1);
        }
    }
    for (uint32_t i = 0; i < monitor->queue_count; i++) {
        const struct monitor_queue *queue = monitor->queues[i];
        sample->questions[sample->question_count++] = (struct queue_question){
            .vhost = arena_copy(&sample->arena, bytes_make(queue->vhost, queue->vhost_size)),
            .name = arena_copy(&sample->arena, bytes_make(queue->name, queue->name_size)),
        };
    }
}

static void
look(struct monitor *monitor)
{
    struct sample *sample = xalloc(sizeof(*sample));
    sample->monitor = monitor;
    sample->desk.request.step = step;
    sample->desk.answered = on_answered;
    if (monitor->tick >= monitor->next_queue_tick) {
        monitor->next_queue_tick = monitor->tick + MONITOR_QUEUE_TICKS;
        ask_for_queues(monitor, sample);
    }
    monitor->under_way = sample;
    request_desk_post(monitor->management->desk, &sample->desk);
}

static void
on_timer(evutil_socket_t fd, short events, void *context)
{
    struct monitor *monitor = context;
    (void)fd;
    (void)events;
    bool is_ready = atomic_load(&monitor->management->is_ready);
    if (is_ready && monitor->under_way == NULL && monitor->tick >= monitor->next_tick) {
        look(monitor);
    }
    if (is_ready) {
        drift_watch_tick(monitor->drift, monitor->all_queue_count);
    }
    monitor->tick++;
}

struct monitor *
monitor_new(struct management *management)
{
    static const struct timeval interval = {.tv_sec = MONITOR_INTERVAL_MS / 1000};
    struct monitor *monitor = xalloc(sizeof(*monitor));
    monitor->management = management;
    list_init(&monitor->alerts);
    monitor->drift = drift_watch_new(management);
    monitor->timer = event_new(management->base, -1, EV_PERSIST, on_timer, monitor);
    if (monitor->timer == NULL || event_add(monitor->timer, &interval) != 0) {
        monitor_free(&monitor);
    }
    return monitor;
}

void
monitor_free(struct monitor **monitor_pointer)
{
    struct monitor *monitor = *monitor_pointer;
    if (monitor == NULL) {
        return;
    }
    if (monitor->timer != NULL) {
        event_free(monitor->timer);
    }
    if (monitor->under_way != NULL) {
        monitor->under_way->monitor = NULL;
    }
    drift_watch_free(&monitor->drift);
    while (monitor->queue_count > 0) {
        forget_queue(monitor, 0);
    }
    for (struct list_link *link; (link = list_pop(&monitor->alerts)) != NULL;) {
        free(CONTAINER_OF(link, struct monitor_alert, link));
    }
    free(monitor);
    *monitor_pointer = NULL;
}

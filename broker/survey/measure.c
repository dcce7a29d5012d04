/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/survey/measure.h"

#include "broker/changes/generation.h"
#include "broker/connections/connection.h"
#include "broker/core/core_clock.h"
#include "broker/survey/survey.h"
#include "broker/topology/vhost.h"
#include "broker/upkeep/queue_clocks.h"

/* Where dead letters go --------------------------------------------------------------------------
 */

static void
add_target(struct measure *measure, uint64_t id)
{
    struct bytes key = bytes_make(&id, sizeof(id));
    if (map_get(&measure->targets, key) == NULL) {
        key = arena_copy(&measure->arena, key);
        map_put(&measure->targets, key, (void *)key.data);
    }
}

static bool
is_target(const struct measure *measure, uint64_t id)
{
    return map_get(&measure->targets, bytes_make(&id, sizeof(id))) != NULL;
}

/* Behind the default exchange it is the queue of the key that counts. */
static void
look_at_queue(struct measure *measure, const struct queue *queue)
{
    const struct queue_settings *settings = queue->settings;
    const struct vhost *vhost = queue->vhost;
    if (!settings->has_dead_letter_exchange) {
        return;
    }
    if (settings->dead_letter_exchange.size == 0) {
        const struct queue *target =
            settings->has_dead_letter_routing_key
                ? vhost_find_queue(vhost, settings->dead_letter_routing_key)
                : NULL;
        if (target != NULL) {
            add_target(measure, target->target.id);
        }
        return;
    }
    const struct exchange *exchange = vhost_find_exchange(vhost, settings->dead_letter_exchange);
    if (exchange != NULL) {
        add_target(measure, exchange->target.id);
    }
}

/* Bound to an exchange of that kind; those that lie behind another exchange are not looked for. */
static bool
takes_dead_letters(const struct measure *measure, const struct queue *queue, uint32_t *budget)
{
    if (map_count(&measure->targets) == 0) {
        return false;
    }
    bool takes = is_target(measure, queue->target.id);
    uint32_t looked = 0;
    LIST_FOR_EACH(&queue->target.bindings, link)
    {
        enum { BINDINGS_MAX = 64 };
        if (takes || looked++ == BINDINGS_MAX) {
            break;
        }
        const struct exchange *source = CONTAINER_OF(link, struct binding, target_link)->source;
        takes = is_target(measure, source->target.id);
    }
    *budget -= looked / 8 < *budget ? looked / 8 : *budget;
    return takes;
}

/* One queue ------------------------------------------------------------------------------------ */

/* What is known of it. */
struct measured_queue {
    const struct queue *queue;
    struct queue_clock_reading reading;
    bool takes_dead_letters;
};

static struct measure_finding *
mildest_finding(struct measure *measure)
{
    struct measure_finding *mildest = &measure->findings[0];
    for (uint32_t i = 1; i < measure->finding_count; i++) {
        mildest = measure->findings[i].concern > mildest->concern ? &measure->findings[i] : mildest;
    }
    return mildest;
}

/* Where there are too many, the milder ones make room. */
static void
add_finding_of(struct measure *measure, const struct vhost *vhost, struct bytes name,
               struct measure_finding finding)
{
    bool is_full = measure->finding_count == MEASURE_FINDINGS_MAX;
    if ((is_full && finding.concern >= measure->mildest) ||
        (measure->viewer != NULL && !survey_may_see(vhost->core, measure->viewer, vhost->name))) {
        return;
    }
    finding.vhost = arena_copy(&measure->arena, vhost->name);
    finding.name = arena_copy(&measure->arena, name);
    *(is_full ? mildest_finding(measure) : &measure->findings[measure->finding_count++]) = finding;
    if (measure->finding_count == MEASURE_FINDINGS_MAX) {
        measure->mildest = mildest_finding(measure)->concern;
    }
}

static void
add_finding(struct measure *measure, const struct queue *queue, enum measure_concern concern,
            uint64_t value, uint64_t limit)
{
    struct measure_finding finding = {.concern = concern, .value = value, .limit = limit};
    add_finding_of(measure, queue->vhost, queue_name(queue), finding);
}

static void
heed_alert(struct measure *measure, const struct core *core, const struct measured_queue *measured)
{
    const struct queue *queue = measured->queue;
    const struct vhost *vhost = queue->vhost;
    const struct config_alert *alert = core_find_alert(core, vhost->name, queue_name(queue));
    if (alert == NULL) {
        return;
    }
    uint64_t age_ms = measured->reading.oldest_ready_ms;
    bool has_many = alert->has_ready && queue->ready_count > (uint64_t)alert->ready_above;
    bool is_late =
        alert->has_oldest && age_ms != NEVER_MS && age_ms > (uint64_t)alert->oldest_above_ms;
    measure->alerting += has_many || is_late ? 1 : 0;
    if (has_many) {
        add_finding(measure, queue, CONCERN_READY_ABOVE, queue->ready_count,
                    (uint64_t)alert->ready_above);
    }
    if (is_late) {
        add_finding(measure, queue, CONCERN_OLDEST_ABOVE, age_ms, (uint64_t)alert->oldest_above_ms);
    }
}

/* Consumers without acknowledgement take all there is; if something stays, theirs is not the only
 * fault. */
static void
find_concerns(struct measure *measure, const struct measured_queue *measured)
{
    const struct queue *queue = measured->queue;
    const struct queue_rates *rates = &measured->reading.rates[RATE_1_MIN];
    enum { PATIENCE_MS = 60 * 1000 };
    bool is_old = measured->reading.oldest_ready_ms != NEVER_MS &&
                  measured->reading.oldest_ready_ms >= PATIENCE_MS;
    if (queue->ready_count == 0) {
        return;
    }
    if (measured->takes_dead_letters) {
        add_finding(measure, queue, CONCERN_DEAD_LETTERS, queue->ready_count, 0);
    } else if (queue->is_paused) {
        add_finding(measure, queue, CONCERN_PAUSED, queue->ready_count, 0);
    } else if (queue->consumer_count == 0) {
        add_finding(measure, queue, CONCERN_UNSERVED, queue->ready_count, 0);
    } else if (is_old && rates->served < 0.01) {
        add_finding(measure, queue, CONCERN_IDLE_CONSUMERS, queue->ready_count, 0);
    } else if (is_old && queue_consumer_utilisation(queue) < 0.2) {
        add_finding(measure, queue, CONCERN_BUSY_CONSUMERS, queue->ready_count, 0);
    }
}

static uint64_t
older(uint64_t oldest_ms, uint64_t age_ms)
{
    return age_ms == NEVER_MS || age_ms < oldest_ms ? oldest_ms : age_ms;
}

static void
add_times(struct measure *measure, const struct queue_clock_reading *reading)
{
    measure->oldest_ready_ms = older(measure->oldest_ready_ms, reading->oldest_ready_ms);
    measure->oldest_unacked_ms = older(measure->oldest_unacked_ms, reading->oldest_unacked_ms);
}

static void
add_messages(struct measure *measure, const struct measured_queue *measured)
{
    const struct queue *queue = measured->queue;
    measure->ready += queue->ready_count;
    measure->unacked += queue->unacked_count;
    measure->ready_bytes += queue->ready_bytes;
    measure->unacked_bytes += queue->clocks == NULL ? 0 : queue->clocks->lent_bytes;
    measure->consumers += queue->consumer_count;
    measure->dying += queue->dying == NULL ? 0 : queue->dying->count;
    measure->unserved += queue->ready_count > 0 && queue->consumer_count == 0 ? 1 : 0;
    for (int i = 0; i < WAITING_KIND_COUNT && queue->waiting != NULL; i++) {
        measure->waiting[i] += queue->waiting->counts[i];
    }
    if (measured->takes_dead_letters) {
        measure->dead_letters += queue->ready_count + queue->unacked_count;
    }
}

/* The clocks come first: messages whose time is over die then. */
static void
count_queue(struct measure *measure, struct core *core, struct queue *queue, uint32_t *budget)
{
    struct measured_queue measured = {.queue = queue};
    survey_spend_on_clocks(queue, budget);
    core_read_queue_clocks(core, queue, &measured.reading);
    measured.takes_dead_letters = takes_dead_letters(measure, queue, budget);
    measure->queues++;
    add_messages(measure, &measured);
    add_times(measure, &measured.reading);
    heed_alert(measure, core, &measured);
    find_concerns(measure, &measured);
}

/* Exchanges ------------------------------------------------------------------------------------ */

static void
look_at_exchange(struct measure *measure, const struct core *core, const struct exchange *exchange)
{
    uint64_t ago_ms = core_from_now_ms(core) - exchange->unroutable_ms;
    if (exchange->unroutable_count > 0 && ago_ms < MEASURE_UNROUTABLE_MS) {
        struct measure_finding finding = {.concern = CONCERN_UNROUTABLE,
                                          .value = exchange->unroutable_count};
        add_finding_of(measure, exchange->vhost, exchange->name, finding);
    }
}

/* True: it is over. */
static bool
look_at_exchanges(struct measure *measure, struct survey_plan plan, uint32_t *budget)
{
    const struct exchange *exchange;
    plan.map = SURVEY_EXCHANGES;
    plan.enter = NULL;
    while (*budget > 0 && !measure->exchanging.is_done &&
           (exchange = survey_walk_next(&measure->exchanging, &plan, budget)) != NULL) {
        look_at_exchange(measure, plan.core, exchange);
    }
    return measure->exchanging.is_done;
}

/* All ------------------------------------------------------------------------------------------ */

static void
enter_vhost(void *context, const struct vhost *vhost)
{
    struct measure *measure = context;
    measure->vhosts++;
    measure->exchanges += map_count(&vhost->exchanges);
}

static void
read_core(struct measure *measure, struct core *core)
{
    measure->counters = core->counters;
    measure->waits = core->queue_memory.waits;
    measure->uptime_ms = core_uptime_ms(core);
    measure->connections = core->connection_count;
    measure->channels = core->counters.channels_opened - core->counters.channels_closed;
    measure->memory_bytes = chunk_pool_bytes(core->pool) + core->queue_memory.bytes;
    measure->memory_mark_bytes = core->settings.memory_mark_bytes;
    measure->disk_free_bytes = core->disk_free_bytes;
    measure->disk_mark_bytes = core->disk_mark_bytes;
    measure->held_bytes = core->held_bytes;
    measure->memory_alarm = (core->alarms & ALARM_MEMORY) != 0;
    measure->disk_alarm = (core->alarms & ALARM_DISK) != 0;
    if ((core->alarms & (ALARM_MEMORY | ALARM_DISK)) == 0) {
        return;
    }
    LIST_FOR_EACH(&core->connection_list, link)
    {
        const struct connection *connection = CONTAINER_OF(link, struct connection, core_link);
        measure->blocked_connections += connection->blocked_sent ? 1 : 0;
    }
}

/* True: it is over. */
static bool
look_for_targets(struct measure *measure, const struct survey_plan *plan, uint32_t *budget)
{
    const struct queue *queue;
    if (!measure->has_targets) {
        measure->has_targets = true;
        map_init(&measure->targets, plan->core->seed);
    }
    while (!measure->looking.is_done &&
           (queue = survey_walk_next(&measure->looking, plan, budget)) != NULL) {
        look_at_queue(measure, queue);
    }
    return measure->looking.is_done;
}

enum request_progress
measure_step(struct measure *measure, struct core *core, uint32_t *budget)
{
    static const struct survey_viewer house = {.sees_all = true};
    struct survey_plan plan = {.core = core, .viewer = &house, .arena = &measure->arena};
    if (!look_for_targets(measure, &plan, budget)) {
        return REQUEST_MORE;
    }
    plan.enter = enter_vhost;
    plan.survey = measure;
    struct queue *queue;
    while (*budget > 0 && !measure->counting.is_done &&
           (queue = survey_walk_next(&measure->counting, &plan, budget)) != NULL) {
        count_queue(measure, core, queue, budget);
    }
    if (!measure->counting.is_done ||
        (measure->looks_at_exchanges && !look_at_exchanges(measure, plan, budget))) {
        return REQUEST_MORE;
    }
    read_core(measure, core);
    return REQUEST_DONE;
}

void
measure_fini(struct measure *measure)
{
    if (measure->has_targets) {
        map_fini(&measure->targets);
        measure->has_targets = false;
    }
    arena_fini(&measure->arena);
}

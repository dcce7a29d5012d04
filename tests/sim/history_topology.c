/* SPDX-License-Identifier: Apache-2.0 */
/* Queues, exchanges, bindings. */
#include <inttypes.h>

#include "tests/sim/history_parts.h"

uint32_t
history_find_queue(const struct history *history, uint32_t name)
{
    return history->queue_by_name[name];
}

uint32_t
history_find_exchange(const struct history *history, uint32_t name)
{
    return history->exchange_by_name[name];
}

uint32_t
history_make_queue(struct history *history, uint32_t name, uint64_t id, bool is_durable,
                   struct history_limit limit, struct history_span span)
{
    uint32_t handle = history->queue_count;
    struct history_queue *queue =
        HISTORY_PUSH(history->queues, history->queue_count, history->queue_capacity);
    *queue = (struct history_queue){
        .name = name,
        .id = id,
        .is_durable = is_durable,
        .presence = HISTORY_PRESENT,
        .limit = limit,
        .retry = {.verdicts = HISTORY_ANY_VERDICT, .limit = -1, .max_age_ms = -1},
        .ttl_ms = UINT64_MAX,
        .expires_ms = UINT64_MAX,
        .used_ms = history->now_ms,
        .used_end_ms = history->now_ms,
        .made = span,
        .dead_letter_name = HISTORY_NONE,
    };
    history->queue_by_name[name] = handle;
    return handle;
}

uint32_t
history_make_exchange(struct history *history, uint32_t name, enum history_kind kind,
                      bool is_durable, struct history_span span)
{
    uint32_t handle = history->exchange_count;
    struct history_exchange *exchange =
        HISTORY_PUSH(history->exchanges, history->exchange_count, history->exchange_capacity);
    *exchange = (struct history_exchange){
        .name = name,
        .kind = kind,
        .is_durable = is_durable,
        .presence = HISTORY_PRESENT,
        .made = span,
    };
    history->exchange_by_name[name] = handle;
    return handle;
}

static void
drop_binding(struct history_binding *binding, struct history_span span)
{
    if (binding->presence != HISTORY_ABSENT) {
        binding->presence = HISTORY_ABSENT;
        binding->gone = span;
    }
}

void
history_drop_queue(struct history *history, uint32_t handle, struct history_span span)
{
    struct history_queue *queue = &history->queues[handle];
    history_doubt_chains(history, queue);
    queue->presence = HISTORY_ABSENT;
    queue->gone = span;
    history_forget_consumers(queue);
    history->queue_by_name[queue->name] = HISTORY_NONE;
    for (uint32_t i = 0; i < history->binding_count; i++) {
        if (history->bindings[i].queue == handle) {
            drop_binding(&history->bindings[i], span);
        }
    }
}

void
history_drop_exchange(struct history *history, uint32_t handle, struct history_span span)
{
    struct history_exchange *exchange = &history->exchanges[handle];
    exchange->presence = HISTORY_ABSENT;
    exchange->gone = span;
    history->exchange_by_name[exchange->name] = HISTORY_NONE;
    for (uint32_t i = 0; i < history->binding_count; i++) {
        if (history->bindings[i].exchange == handle) {
            drop_binding(&history->bindings[i], span);
        }
    }
}

static struct history_binding *
find_binding(struct history *history, uint32_t exchange, uint32_t queue, uint32_t key)
{
    for (uint32_t i = 0; i < history->binding_count; i++) {
        struct history_binding *binding = &history->bindings[i];
        if (binding->presence == HISTORY_PRESENT && binding->exchange == exchange &&
            binding->queue == queue && binding->key == key) {
            return binding;
        }
    }
    return NULL;
}

/* Those that nothing brings back. */
static void
forget_bindings(struct history *history)
{
    if (history->keeps_all) {
        return;
    }
    uint32_t kept = 0;
    for (uint32_t i = 0; i < history->binding_count; i++) {
        const struct history_binding *binding = &history->bindings[i];
        if (binding->presence != HISTORY_ABSENT ||
            (binding->is_durable && binding->gone.last > history->promised)) {
            history->bindings[kept++] = *binding;
        }
    }
    history->binding_count = kept;
}

struct history_span
history_bind(struct history *history, uint32_t exchange, uint32_t queue, uint32_t key,
             struct history_span span)
{
    struct history_binding *binding = find_binding(history, exchange, queue, key);
    if (binding != NULL) {
        return binding->made;
    }
    forget_bindings(history);
    binding = HISTORY_PUSH(history->bindings, history->binding_count, history->binding_capacity);
    *binding = (struct history_binding){
        .exchange = exchange,
        .queue = queue,
        .key = key,
        .is_durable = history->exchanges[exchange].is_durable && history->queues[queue].is_durable,
        .presence = HISTORY_PRESENT,
        .made = span,
    };
    return span;
}

void
history_unbind(struct history *history, uint32_t exchange, uint32_t queue, uint32_t key,
               struct history_span span)
{
    struct history_binding *binding = find_binding(history, exchange, queue, key);
    if (binding != NULL) {
        drop_binding(binding, span);
    }
}

/* Policies ------------------------------------------------------------------------------------- */

void
history_change_settings(struct history *history, uint32_t handle,
                        const struct history_settings *settings)
{
    struct history_queue *queue = &history->queues[handle];
    queue->limit = settings->limit;
    queue->retry = settings->retry;
    queue->ttl_ms = settings->ttl_ms;
    if (queue->pace.rate != settings->release_rate) {
        history_set_rate(queue, settings->release_rate);
    }
    if (queue->timeout_ms != settings->timeout_ms) {
        queue->timeout_ms = settings->timeout_ms;
        queue->timeout_changed_ms = history->now_ms;
    }
    queue->dead_letter_name = settings->dead_letter_name;
}

/* Leases --------------------------------------------------------------------------------------- */

void
history_use_queue(struct history *history, uint32_t handle, bool is_over)
{
    struct history_queue *queue = &history->queues[handle];
    queue->used_ms = is_over ? queue->used_ms : history->now_ms;
    queue->used_end_ms = history->now_ms;
}

static bool
is_unused(const struct history *history, const struct history_queue *queue, uint64_t used_ms)
{
    return queue->expires_ms != UINT64_MAX && history->now_ms >= used_ms + queue->expires_ms;
}

bool
history_may_expire(const struct history *history, uint32_t handle)
{
    const struct history_queue *queue = &history->queues[handle];
    return is_unused(history, queue, queue->used_ms);
}

void
history_expire_queue(struct history *history, uint32_t handle, bool has_consumers,
                     struct history_span span)
{
    const struct history_queue *queue = &history->queues[handle];
    if (has_consumers || !history_may_expire(history, handle)) {
        history_wrong(history, HISTORY_LOST,
                      "queue q%" PRIu32 " expires at %" PRIu64 "%s, and was used at %" PRIu64,
                      queue->name, history->now_ms, has_consumers ? " with its consumers" : "",
                      queue->used_ms);
    }
    history->sums.queues_expired++;
    history_drop_queue(history, handle, span);
}

void
history_check_lease(struct history *history, uint32_t handle)
{
    enum { LATE_MS = 30 }; /* two steps of the timers, and a turn */
    const struct history_queue *queue = &history->queues[handle];
    if (is_unused(history, queue, queue->used_end_ms + LATE_MS)) {
        history_wrong(history, HISTORY_UNEXPECTED,
                      "queue q%" PRIu32 " is there at %" PRIu64 ", unused since %" PRIu64
                      ", with a lease of %" PRIu64,
                      queue->name, history->now_ms, queue->used_end_ms, queue->expires_ms);
    }
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Queues, exchanges, bindings. */
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
        .retry.limit = -1,
        .ttl_ms = UINT64_MAX,
        .made = span,
        .dead_letter_name = HISTORY_NONE,
    };
    history->queue_by_name[name] = handle;
    return handle;
}

uint32_t
history_make_exchange(struct history *history, uint32_t name, bool is_fanout, bool is_durable,
                      struct history_span span)
{
    uint32_t handle = history->exchange_count;
    struct history_exchange *exchange =
        HISTORY_PUSH(history->exchanges, history->exchange_count, history->exchange_capacity);
    *exchange = (struct history_exchange){
        .name = name,
        .is_fanout = is_fanout,
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

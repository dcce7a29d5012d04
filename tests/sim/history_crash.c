/* SPDX-License-Identifier: Apache-2.0 */
/* What is left when the broker is gone, and whether the next one has it. */
#include <inttypes.h>
#include <string.h>

#include "tests/sim/history_parts.h"

static enum history_presence
spoken_of(struct history_span span, uint64_t cut)
{
    if (cut >= span.last) {
        return HISTORY_PRESENT;
    }
    return cut < span.first ? HISTORY_ABSENT : HISTORY_MAYBE;
}

/* What was made, and (with `is_gone`) undone. */
static enum history_presence
after_cut(struct history_span made, bool is_gone, struct history_span gone, uint64_t cut)
{
    enum history_presence was_made = spoken_of(made, cut);
    enum history_presence was_undone = is_gone ? spoken_of(gone, cut) : HISTORY_ABSENT;
    if (was_made == HISTORY_ABSENT || was_undone == HISTORY_PRESENT) {
        return HISTORY_ABSENT;
    }
    return was_made == HISTORY_MAYBE || was_undone == HISTORY_MAYBE ? HISTORY_MAYBE
                                                                    : HISTORY_PRESENT;
}

enum history_presence
history_queue_after_cut(const struct history_queue *queue, uint64_t cut)
{
    if (!queue->is_durable || queue->is_over) {
        return HISTORY_ABSENT;
    }
    return after_cut(queue->made, queue->presence == HISTORY_ABSENT, queue->gone, cut);
}

enum history_presence
history_copy_after_cut(const struct history *history, const struct history_copy *copy, uint64_t cut)
{
    if (!copy->is_durable) {
        return HISTORY_ABSENT;
    }
    struct history_span made =
        copy->is_dead_letter ? copy->moved : history->messages[copy->message].made;
    enum history_presence presence = after_cut(made, copy->place == HISTORY_DONE, copy->gone, cut);
    return presence == HISTORY_PRESENT && copy->is_maybe ? HISTORY_MAYBE : presence;
}

enum history_presence
history_exchange_after_cut(const struct history_exchange *exchange, uint64_t cut)
{
    if (!exchange->is_durable || exchange->is_over) {
        return HISTORY_ABSENT;
    }
    return after_cut(exchange->made, exchange->presence == HISTORY_ABSENT, exchange->gone, cut);
}

/* A binding goes with either end, and the log says so only once. */
enum history_presence
history_binding_after_cut(const struct history *history, const struct history_binding *binding,
                          uint64_t cut)
{
    if (!binding->is_durable ||
        history_queue_after_cut(&history->queues[binding->queue], cut) == HISTORY_ABSENT ||
        history_exchange_after_cut(&history->exchanges[binding->exchange], cut) == HISTORY_ABSENT) {
        return HISTORY_ABSENT;
    }
    return after_cut(binding->made, binding->presence == HISTORY_ABSENT, binding->gone, cut);
}

/* Crashing ------------------------------------------------------------------------------------- */

static void
check_promises(struct history *history, uint64_t cut)
{
    if (cut < history->promised) {
        history_wrong(history, HISTORY_LOST,
                      "the log ends at %" PRIu64 ", but what it had up to %" PRIu64
                      " was answered or confirmed",
                      cut, history->promised);
    }
    history->promised = 0;
}

struct crash {
    uint64_t cut;
    uint64_t now_ms;
    bool is_power_cut;
};

static void
keep_copy(struct history_queue *queue, struct history_copy copy, enum history_presence presence,
          const struct crash *crash)
{
    history_keep_failures(queue, &copy, crash->now_ms);
    copy.gone = HISTORY_ALWAYS;
    copy.is_maybe = presence == HISTORY_MAYBE;
    copy.is_marked = copy.was_seen && (!crash->is_power_cut || crash->cut >= copy.handed_at);
    copy.is_mark_free = !copy.is_marked;
    copy.was_seen = copy.is_marked; /* and if so, then after every later crash */
    copy.handed_at = 0;
    copy.moved = HISTORY_ALWAYS;
    copy.position = 0;
    copy.awaits_position = false;
    queue->maybe_count += copy.is_maybe && copy.place == HISTORY_READY;
    queue->waiting_count += copy.place == HISTORY_WAITING;
    queue->copies[queue->copy_count++] = copy;
}

static void
check_loss(struct history *history, const struct history_queue *queue,
           const struct history_copy *copy, uint64_t cut)
{
    const struct history_message *message = &history->messages[copy->message];
    if (copy->is_durable && message->is_confirmed && !copy->is_dead_letter &&
        spoken_of(message->made, cut) == HISTORY_ABSENT) {
        history_wrong(history, HISTORY_LOST,
                      "message %" PRIu32 " of queue q%" PRIu32 " was confirmed", copy->message,
                      queue->name);
    }
}

/* Drops the copies that are gone; the others are ready. */
static void
crash_queue(struct history *history, struct history_queue *queue, const struct crash *crash)
{
    uint32_t count = queue->copy_count;
    queue->copy_count = 0;
    queue->maybe_count = 0;
    queue->waiting_count = 0;
    queue->dying_count = 0;
    queue->position_count = 0;
    queue->first_awaiting = 0;
    history_forget_consumers(queue);
    history_crash_pauses(queue, crash->cut);
    history_set_rate(queue, queue->pace.rate);
    for (uint32_t i = 0; i < count; i++) {
        enum history_presence presence =
            history_copy_after_cut(history, &queue->copies[i], crash->cut);
        if (presence != HISTORY_ABSENT) {
            keep_copy(queue, queue->copies[i], presence, crash);
        } else {
            check_loss(history, queue, &queue->copies[i], crash->cut);
        }
    }
    queue->due_count = 0;
    queue->ready_count = queue->copy_count - queue->waiting_count;
    queue->first_ready = 0;
    history_sort_copies(queue);
}

static void
crash_queues(struct history *history, const struct crash *crash)
{
    for (uint32_t handle = 0; handle < history->queue_count; handle++) {
        struct history_queue *queue = &history->queues[handle];
        if (queue->is_over) {
            continue;
        }
        queue->presence = history_queue_after_cut(queue, crash->cut);
        queue->made = HISTORY_ALWAYS;
        queue->gone = HISTORY_ALWAYS;
        queue->is_over = queue->presence == HISTORY_ABSENT;
        if (queue->is_over) {
            queue->copy_count = 0;
        }
        crash_queue(history, queue, crash);
    }
}

static void
crash_exchanges(struct history *history, uint64_t cut)
{
    for (uint32_t i = 0; i < history->exchange_count; i++) {
        struct history_exchange *exchange = &history->exchanges[i];
        exchange->presence = history_exchange_after_cut(exchange, cut);
        exchange->is_over = exchange->presence == HISTORY_ABSENT;
        exchange->made = HISTORY_ALWAYS;
        exchange->gone = HISTORY_ALWAYS;
    }
}

/* Absent ones are dropped, for nothing brings them back. */
static void
crash_bindings(struct history *history, uint64_t cut)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < history->binding_count; i++) {
        struct history_binding binding = history->bindings[i];
        binding.presence = history_binding_after_cut(history, &binding, cut);
        binding.made = HISTORY_ALWAYS;
        binding.gone = HISTORY_ALWAYS;
        binding.was_found = false;
        if (binding.presence != HISTORY_ABSENT) {
            history->bindings[kept++] = binding;
        }
    }
    history->binding_count = kept;
}

/* What is left of them was there always, from now on. */
static void
settle_messages(struct history *history)
{
    for (; history->settled_count < history->message_count; history->settled_count++) {
        history->messages[history->settled_count].made = HISTORY_ALWAYS;
    }
}

void
history_crash(struct history *history, uint64_t cut, bool is_power_cut)
{
    struct crash crash = {.cut = cut, .now_ms = history->now_ms, .is_power_cut = is_power_cut};
    history->unfinished_count = 0; /* their spans have no end */
    check_promises(history, cut);
    history_crash_chains(history, cut);
    history_crash_returns(history, cut);
    crash_bindings(history, cut); /* looks at both ends, so it comes first */
    crash_queues(history, &crash);
    crash_exchanges(history, cut);
    settle_messages(history);
    memset(history->queue_by_name, 0xFF, sizeof(history->queue_by_name));
    memset(history->exchange_by_name, 0xFF, sizeof(history->exchange_by_name));
    history->sums.crashes++;
    history_expire_written(history);
}

/* Finding -------------------------------------------------------------------------------------- */

static void
forget_queue(struct history *history, struct history_queue *queue)
{
    if (queue->presence == HISTORY_PRESENT) {
        history_wrong(history, HISTORY_LOST, "queue q%" PRIu32 " (id %" PRIu64 ") is gone",
                      queue->name, queue->id);
    }
    queue->presence = HISTORY_ABSENT;
    queue->is_over = true;
}

void
history_found_queue(struct history *history, uint32_t name, uint64_t id, uint64_t ready_count)
{
    bool is_known = false;
    for (uint32_t handle = 0; handle < history->queue_count; handle++) {
        struct history_queue *queue = &history->queues[handle];
        if (queue->name != name || queue->presence == HISTORY_ABSENT) {
            continue;
        }
        if (queue->id != id) {
            forget_queue(history, queue);
            continue;
        }
        is_known = true;
        queue->presence = HISTORY_PRESENT;
        queue->taken_count = 0;
        history_use_queue(history, handle, false);
        history->queue_by_name[name] = handle;
        history_end_waiting(history, handle);
        history_expect_ready(history, handle, ready_count, "recovery");
    }
    if (!is_known && id != 0) {
        history_wrong(history, HISTORY_TOPOLOGY,
                      "queue q%" PRIu32 " (id %" PRIu64 ") should not be there", name, id);
    }
}

void
history_found_exchange(struct history *history, uint32_t name, bool is_there)
{
    bool is_known = false;
    for (uint32_t handle = 0; handle < history->exchange_count; handle++) {
        struct history_exchange *exchange = &history->exchanges[handle];
        if (exchange->name != name || exchange->presence == HISTORY_ABSENT) {
            continue;
        }
        if (!is_there && exchange->presence == HISTORY_PRESENT) {
            history_wrong(history, HISTORY_LOST, "exchange x%" PRIu32 " is gone", name);
        }
        is_known = true;
        exchange->presence = is_there ? HISTORY_PRESENT : HISTORY_ABSENT;
        exchange->is_over = !is_there;
        history->exchange_by_name[name] = is_there ? handle : HISTORY_NONE;
    }
    if (is_there && !is_known) {
        history_wrong(history, HISTORY_TOPOLOGY, "exchange x%" PRIu32 " should not be there", name);
    }
}

void
history_found_binding(struct history *history, uint32_t exchange_name, uint32_t queue_name,
                      uint32_t key)
{
    uint32_t exchange = history->exchange_by_name[exchange_name];
    uint32_t queue = history->queue_by_name[queue_name];
    for (uint32_t i = 0; i < history->binding_count; i++) {
        struct history_binding *binding = &history->bindings[i];
        if (binding->exchange == exchange && binding->queue == queue && binding->key == key &&
            !binding->was_found) {
            binding->was_found = true;
            binding->presence = HISTORY_PRESENT;
            return;
        }
    }
    history_wrong(history, HISTORY_TOPOLOGY,
                  "binding from x%" PRIu32 " to q%" PRIu32 " under k%" PRIu32
                  " should not be there",
                  exchange_name, queue_name, key);
}

void
history_end_findings(struct history *history)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < history->binding_count; i++) {
        const struct history_binding *binding = &history->bindings[i];
        if (binding->was_found) {
            history->bindings[kept++] = *binding;
        } else if (binding->presence == HISTORY_PRESENT) {
            history_wrong(history, HISTORY_LOST,
                          "the binding from x%" PRIu32 " to q%" PRIu32 " under k%" PRIu32
                          " is gone",
                          history->exchanges[binding->exchange].name,
                          history->queues[binding->queue].name, binding->key);
        }
    }
    history->binding_count = kept;
}

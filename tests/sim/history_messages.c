/* SPDX-License-Identifier: Apache-2.0 */
/* Messages on their way through queues. */
#include <inttypes.h>
#include <string.h>

#include "base/assert.h"
#include "tests/sim/history_parts.h"

/* Publishing ----------------------------------------------------------------------------------- */

static void
add_target(struct history_message *message, uint32_t queue)
{
    for (uint32_t i = 0; i < message->target_count; i++) {
        if (message->targets[i] == queue) {
            return;
        }
    }
    assert(message->target_count < HISTORY_TARGETS_MAX);
    message->targets[message->target_count++] = queue;
}

void
history_route(struct history *history, uint32_t number)
{
    struct history_message *message = &history->messages[number];
    message->target_count = 0;
    if (message->exchange == HISTORY_DEFAULT_EXCHANGE) {
        if (message->key < HISTORY_NAMES && history->queue_by_name[message->key] != HISTORY_NONE) {
            add_target(message, history->queue_by_name[message->key]);
        }
        return;
    }
    uint32_t exchange = history->exchange_by_name[message->exchange];
    assert(exchange != HISTORY_NONE);
    if (history_is_picked(history, number)) {
        return; /* the broker says whom */
    }
    bool is_fanout = history->exchanges[exchange].kind == HISTORY_FANOUT;
    for (uint32_t i = 0; i < history->binding_count; i++) {
        const struct history_binding *binding = &history->bindings[i];
        if (binding->presence == HISTORY_PRESENT && binding->exchange == exchange &&
            (is_fanout || binding->key == message->key)) {
            add_target(message, binding->queue);
        }
    }
}

uint32_t
history_attempt(struct history *history, uint32_t exchange_name, uint32_t key, bool is_persistent,
                uint32_t size)
{
    uint32_t number = history->message_count;
    struct history_message *message =
        HISTORY_PUSH(history->messages, history->message_count, history->message_capacity);
    *message = (struct history_message){
        .exchange = exchange_name,
        .key = key,
        .is_persistent = is_persistent,
        .size = size,
    };
    history_route(history, number);
    history->sums.attempted++;
    return number;
}

/* Deadlines are rounded up to a step of the broker's timers. A message without time may be handed
 * out in the tick in which it comes, if it has not died before that ends. */
void
history_set_deadline(struct history *history, const struct history_queue *queue,
                     struct history_copy *copy, uint64_t from_ms)
{
    enum { STEP_MS = 10 };
    uint64_t expiration = copy->is_timeless ? 0 : history->messages[copy->message].expiration;
    uint64_t ttl_ms = expiration == 0 ? UINT64_MAX : expiration - 1;
    ttl_ms = queue->ttl_ms < ttl_ms ? queue->ttl_ms : ttl_ms;
    if (ttl_ms == UINT64_MAX) {
        return;
    }
    history->has_mortals = true;
    copy->is_instant = ttl_ms == 0;
    copy->written_ms = from_ms + ttl_ms;
    copy->deadline_ms = (copy->written_ms + STEP_MS - 1) / STEP_MS * STEP_MS;
    if (copy->is_instant) {
        copy->deadline_ms = history->now_ms;
    }
}

static uint8_t
level_of(const struct history_queue *queue, const struct history_message *message)
{
    enum { QUORUM_LEVEL = 4 }; /* of a message that does not say */
    if (queue->is_quorum && message->priority == 0) {
        return QUORUM_LEVEL;
    }
    return message->priority < queue->level_max ? message->priority : queue->level_max;
}

uint64_t
history_there_bytes(const struct history *history, const struct history_queue *queue,
                    bool with_maybe)
{
    uint64_t bytes = 0;
    for (uint32_t at = history_next_there(queue, queue->first_ready); at < queue->copy_count;
         at = history_next_there(queue, at + 1)) {
        const struct history_copy *copy = &queue->copies[at];
        bytes += copy->is_maybe && !with_maybe ? 0 : history->messages[copy->message].size;
    }
    return bytes;
}

static void
begin_waiting(struct history *history, struct history_queue *queue, struct history_copy *copy)
{
    history_begin_waiting(history, queue, copy, history->messages[copy->message].due_ms);
    copy->logged.due_ms = copy->due_ms;
    history->sums.delayed++;
}

struct history_copy *
history_append_copy(struct history *history, uint32_t handle, uint32_t number,
                    const struct history_copy *origin)
{
    struct history_queue *queue = &history->queues[handle];
    bool is_dead_letter = origin != NULL;
    struct history_copy copy = {
        .message = number,
        .level = level_of(queue, &history->messages[number]),
        .is_durable =
            queue->is_durable && (history->messages[number].is_persistent || queue->is_quorum),
        .is_dead_letter = is_dead_letter,
        .arrived_ms = history->now_ms,
        .arrived_end_ms = history->now_ms,
    };
    if (is_dead_letter) {
        copy.chain = origin->chain;
        copy.stage = origin->stage + 1;
        copy.is_timeless = origin->is_timeless;
        copy.is_replayed = origin->is_replayed;
        copy.death_count = origin->death_count;
        copy.carried = origin->carried;
        memcpy(copy.deaths, origin->deaths, sizeof(copy.deaths));
    }
    copy.lsn = history_find_lsn(history, queue, &copy);
    copy.awaits_position = true;
    queue->taken_count++;
    if (!is_dead_letter && history->messages[number].due_ms != 0) {
        begin_waiting(history, queue, &copy);
    } else {
        history_set_deadline(history, queue, &copy, history->now_ms);
        queue->ready_count++;
    }
    struct history_copy *place =
        HISTORY_PUSH(queue->copies, queue->copy_count, queue->copy_capacity);
    *place = copy;
    return place;
}

void
history_leave(struct history_queue *queue, uint32_t at, enum history_place place)
{
    struct history_copy *copy = &queue->copies[at];
    assert(history_is_there(copy));
    queue->ready_count -= copy->place == HISTORY_READY;
    queue->due_count -= copy->place == HISTORY_DUE;
    queue->maybe_count -= copy->is_maybe;
    copy->place = (uint8_t)place;
    queue->first_ready = history_next_there(queue, queue->first_ready);
}

/* Its time is over; the broker may take a while to let it die. */
static void
expire(struct history *history, struct history_queue *queue, uint32_t at)
{
    history->sums.expired++;
    queue->ready_count--;
    queue->due_count++;
    queue->copies[at].place = HISTORY_DUE;
}

void
history_expire_if_due(struct history *history, struct history_queue *queue, uint32_t at)
{
    const struct history_copy *copy = &queue->copies[at];
    if (copy->deadline_ms != 0 && copy->deadline_ms <= history->now_ms) {
        expire(history, queue, at);
    }
}

/* Why it is asked what is due. What comes in the tick under way and has no time is left until that
 * ends; a new broker takes what the log says. */
enum occasion { ON_CLOCK, ON_END_OF_TICK, ON_START };

static bool
is_due(const struct history *history, const struct history_copy *copy, enum occasion occasion)
{
    if (copy->deadline_ms == 0 || (copy->is_instant && occasion == ON_CLOCK)) {
        return false;
    }
    bool is_as_written = occasion == ON_START && !copy->logged.is_return;
    return (is_as_written ? copy->written_ms : copy->deadline_ms) <= history->now_ms;
}

static void
expire_due(struct history *history, enum occasion occasion)
{
    for (uint32_t i = 0; history->has_mortals && i < history->queue_count; i++) {
        struct history_queue *queue = &history->queues[i];
        for (uint32_t at = queue->first_ready; at < queue->copy_count; at++) {
            const struct history_copy *copy = &queue->copies[at];
            if (copy->place == HISTORY_READY && is_due(history, copy, occasion)) {
                expire(history, queue, at);
            }
        }
    }
}

void
history_expire_written(struct history *history)
{
    expire_due(history, ON_START);
}

void
history_set_time(struct history *history, uint64_t now_ms)
{
    history->now_ms = now_ms;
    expire_due(history, ON_CLOCK);
}

/* What a crash had the broker count anew may be due a little later than it was before. */
void
history_has_expired(struct history *history, uint32_t handle)
{
    enum { LATE_MS = 30 };
    struct history_queue *queue = &history->queues[handle];
    for (uint32_t at = queue->first_ready; queue->due_count > 0 && at < queue->copy_count; at++) {
        const struct history_copy *copy = &queue->copies[at];
        if (copy->place != HISTORY_DUE || copy->written_ms + LATE_MS > history->now_ms) {
            continue;
        }
        if (copy->is_maybe) {
            history_give_up_maybe(history, queue, at);
            continue;
        }
        history_wrong(history, HISTORY_LOST,
                      "message %" PRIu32 " of queue q%" PRIu32 " was due at %" PRIu64
                      ", and nobody saw it die at %" PRIu64,
                      copy->message, queue->name, copy->written_ms, history->now_ms);
        return;
    }
}

uint32_t
history_target(const struct history *history, uint32_t number, uint32_t at)
{
    uint32_t queue = history->messages[number].targets[at];
    return history->queues[queue].presence == HISTORY_ABSENT
               ? history->queue_by_name[history->queues[queue].name]
               : queue;
}

/* Whether the queue has no room for that, with all that may be in it or with what must be. */
bool
history_is_full_for(const struct history *history, const struct history_queue *queue,
                    struct history_load load, bool with_maybe)
{
    uint64_t count = queue->ready_count + queue->due_count - (with_maybe ? 0 : queue->maybe_count);
    return queue->limit.overflow == HISTORY_REFUSES &&
           (count + load.count > queue->limit.length_max ||
            history_there_bytes(history, queue, with_maybe) + load.bytes > queue->limit.bytes_max);
}

void
history_check_limit(struct history *history, uint32_t handle, uint32_t number,
                    struct history_load load, bool takes)
{
    const struct history_queue *queue = &history->queues[handle];
    if (!takes && !history_is_full_for(history, queue, load, true)) {
        history_wrong(history, HISTORY_LOST,
                      "queue q%" PRIu32 " refuses message %" PRIu32 " with %" PRIu32
                      " in it, though it is not full",
                      queue->name, number, queue->ready_count);
    } else if (takes && history_is_full_for(history, queue, load, false)) {
        history_wrong(history, HISTORY_ANSWER,
                      "queue q%" PRIu32 " takes message %" PRIu32 " though it is full", queue->name,
                      number);
    }
}

static void
add_copy(struct history *history, uint32_t handle, uint32_t number, bool takes)
{
    struct history_message *message = &history->messages[number];
    if (takes) {
        message->is_logged |= history_append_copy(history, handle, number, NULL)->is_durable;
    } else {
        message->is_refused = true;
        history->sums.refused++;
    }
}

void
history_commit(struct history *history, uint32_t number, const bool *takes,
               struct history_span span)
{
    history->messages[number].made = span;
    for (uint32_t i = 0; i < history->messages[number].target_count; i++) {
        uint32_t queue = history_target(history, number, i);
        if (queue != HISTORY_NONE) {
            add_copy(history, queue, number, takes == NULL || takes[i]);
        }
    }
}

/* What comes later is let in whatever the queue is full of. */
void
history_enqueue(struct history *history, uint32_t number, const bool *takes,
                struct history_span span)
{
    const struct history_message *message = &history->messages[number];
    struct history_load load = {.count = 1, .bytes = message->size};
    for (uint32_t i = 0; i < message->target_count; i++) {
        uint32_t queue = history_target(history, number, i);
        bool is_taken = takes == NULL || takes[i];
        if (queue != HISTORY_NONE && !(is_taken && message->due_ms != 0)) {
            history_check_limit(history, queue, number, load, is_taken);
        }
    }
    history_commit(history, number, takes, span);
}

void
history_confirm(struct history *history, uint32_t number, uint64_t flushed)
{
    struct history_message *message = &history->messages[number];
    if (message->is_confirmed) {
        history_wrong(history, HISTORY_ANSWER, "message %" PRIu32 " is confirmed twice", number);
    }
    message->is_confirmed = true;
    history->sums.confirmed++;
    if (message->is_logged) {
        history_promise(history, message->made, flushed, "a confirm");
    }
}

/* Handing out ---------------------------------------------------------------------------------- */

/* Why it is wrong to hand out `number` now. */
static uint32_t
refuse(struct history *history, const struct history_queue *queue, uint32_t number, uint32_t next)
{
    for (uint32_t at = queue->copy_count; at-- > 0;) {
        const struct history_copy *copy = &queue->copies[at];
        if (copy->message != number) {
            continue;
        }
        if (copy->place == HISTORY_DUE) {
            history_wrong(history, HISTORY_UNEXPECTED,
                          "queue q%" PRIu32 " hands out message %" PRIu32 " after its time",
                          queue->name, number);
        } else if (copy->place == HISTORY_READY) {
            history_wrong(history, HISTORY_ORDER,
                          "queue q%" PRIu32 " hands out message %" PRIu32 " before %" PRIu32,
                          queue->name, number, queue->copies[next].message);
        } else if (copy->place == HISTORY_WAITING) {
            history_wrong(history, HISTORY_UNEXPECTED,
                          "queue q%" PRIu32 " hands out message %" PRIu32 ", which waits",
                          queue->name, number);
        } else if (copy->place == HISTORY_LENT) {
            history_wrong(history, HISTORY_DUPLICATED,
                          "queue q%" PRIu32 " hands out message %" PRIu32
                          ", which is with a client",
                          queue->name, number);
        } else {
            history_wrong(history, HISTORY_UNEXPECTED,
                          "queue q%" PRIu32 " hands out message %" PRIu32 ", which is done with",
                          queue->name, number);
        }
        return HISTORY_NONE;
    }
    history_wrong(history, HISTORY_UNEXPECTED,
                  "queue q%" PRIu32 " hands out message %" PRIu32 ", which is not in it",
                  queue->name, number);
    return HISTORY_NONE;
}

static void
check_mark(struct history *history, const struct history_queue *queue,
           const struct history_copy *copy, bool is_redelivered)
{
    if (copy->is_mark_free || copy->is_marked == is_redelivered) {
        return;
    }
    history_wrong(history, copy->is_marked ? HISTORY_DUPLICATED : HISTORY_ANSWER,
                  "queue q%" PRIu32 " hands out message %" PRIu32 " with redelivered %s",
                  queue->name, copy->message, is_redelivered ? "set" : "clear");
}

static void
check_hold(struct history *history, const struct history_queue *queue, struct history_copy *copy)
{
    if (history_is_held(history, copy) && !copy->is_hold_free) {
        history_wrong(history, HISTORY_UNEXPECTED,
                      "queue q%" PRIu32 " hands out message %" PRIu32 " at %" PRIu64
                      ", which is held until %" PRIu64,
                      queue->name, copy->message, history->now_ms, copy->held_until_ms);
    }
    copy->held_until_ms = 0;
    copy->is_hold_free = false;
}

void
history_note_unfinished(struct history *history, uint32_t queue, uint32_t copy, bool is_purged)
{
    *HISTORY_PUSH(history->unfinished, history->unfinished_count, history->unfinished_capacity) =
        (struct history_unfinished){.queue = queue, .copy = copy, .is_purged = is_purged};
}

static void
take(struct history *history, uint32_t handle, uint32_t at, const struct history_handing *handing)
{
    struct history_queue *queue = &history->queues[handle];
    struct history_copy *copy = &queue->copies[at];
    history_prove(history, handle, at);
    history_leave(queue, at, handing->is_final ? HISTORY_DONE : HISTORY_LENT);
    copy->handed_at = handing->span.last;
    copy->standing = HISTORY_STANDS_IN_LINE;
    if (handing->is_final) {
        copy->gone = (struct history_span){.first = handing->span.first, .last = UINT64_MAX};
        history_note_unfinished(history, handle, at, false);
        history->sums.acknowledged++;
    }
}

/* It is another, perhaps of the same message; and the last cut went through it, so it is not there.
 */
static bool
is_passed(const struct history_copy *copy, const struct history_handing *handing)
{
    return copy->is_maybe && (copy->message != handing->message ||
                              history_compare(copy, handing->identity) == HISTORY_IS_ANOTHER);
}

uint32_t
history_hand_out(struct history *history, uint32_t handle, const struct history_handing *handing)
{
    uint32_t number = handing->message;
    struct history_queue *queue = &history->queues[handle];
    if (queue->pauses.is_paused) {
        history_wrong(history, HISTORY_UNEXPECTED,
                      "queue q%" PRIu32 " hands out message %" PRIu32 ", though it is paused",
                      queue->name, number);
    }
    uint32_t next = history_first(queue, false);
    uint32_t at = next;
    while (at < queue->copy_count && is_passed(&queue->copies[at], handing)) {
        at = history_behind(queue, at);
    }
    if (at == queue->copy_count || queue->copies[at].message != number) {
        return refuse(history, queue, number, next);
    }
    for (uint32_t behind; next != at; next = behind) {
        behind = history_behind(queue, next);
        history_give_up_maybe(history, queue, next);
    }
    check_mark(history, queue, &queue->copies[at], handing->is_redelivered);
    check_hold(history, queue, &queue->copies[at]);
    history->sums.delivered++;
    history->sums.redelivered += handing->is_redelivered;
    take(history, handle, at, handing);
    return at;
}

void
history_see(struct history *history, uint32_t queue, uint32_t copy)
{
    history->queues[queue].copies[copy].was_seen = true;
}

/* Where strict order is not kept any more, it waits elsewhere as soon as somebody asks. */
static void
check_is_held(struct history *history, const struct history_queue *queue,
              const struct history_copy *copy)
{
    if (!queue->retry.holds && !copy->is_maybe && !copy->is_hold_free) {
        history_wrong(history, HISTORY_ORDER,
                      "message %" PRIu32 " of queue q%" PRIu32
                      " is held, though strict order is not kept",
                      copy->message, queue->name);
    }
}

void
history_expect_empty(struct history *history, uint32_t handle)
{
    struct history_queue *queue = &history->queues[handle];
    if (queue->pauses.is_paused) {
        return;
    }
    for (uint32_t at = history_first(queue, false), behind; at < queue->copy_count; at = behind) {
        behind = history_behind(queue, at);
        if (history_is_held(history, &queue->copies[at])) {
            check_is_held(history, queue, &queue->copies[at]);
            return;
        }
        if (queue->copies[at].is_maybe) {
            history_give_up_maybe(history, queue, at);
            continue;
        }
        history_wrong(history, HISTORY_LOST,
                      "queue q%" PRIu32 " is said to be empty, but message %" PRIu32 " of %" PRIu32
                      " was not handed out",
                      queue->name, queue->copies[at].message, queue->ready_count);
        return;
    }
}

void
history_expect_ready(struct history *history, uint32_t handle, uint64_t ready_count,
                     const char *what)
{
    const struct history_queue *queue = &history->queues[handle];
    if (ready_count > queue->ready_count + queue->due_count) {
        history_wrong(history, HISTORY_UNEXPECTED,
                      "queue q%" PRIu32 " has %" PRIu64 " messages by %s, should have %" PRIu32,
                      queue->name, ready_count, what, queue->ready_count);
    } else if (ready_count + queue->maybe_count < queue->ready_count) {
        history_wrong(history, HISTORY_LOST,
                      "queue q%" PRIu32 " has %" PRIu64 " messages by %s, should have %" PRIu32
                      " (%" PRIu32 " of them perhaps)",
                      queue->name, ready_count, what, queue->ready_count, queue->maybe_count);
    }
}

void
history_check_ready(struct history *history, uint32_t handle, uint64_t ready_count)
{
    const struct history_queue *queue = &history->queues[handle];
    uint64_t count_max = queue->ready_count + queue->due_count;
    if (ready_count > count_max || ready_count + queue->maybe_count < count_max) {
        history_wrong(history, ready_count > count_max ? HISTORY_UNEXPECTED : HISTORY_LOST,
                      "queue q%" PRIu32 " has %" PRIu64 " messages, should have %" PRIu64
                      " (%" PRIu32 " of them perhaps)",
                      queue->name, ready_count, count_max, queue->maybe_count);
    }
}

/* Settling ------------------------------------------------------------------------------------- */

bool
history_copy_is_logged(const struct history *history, uint32_t queue, uint32_t copy)
{
    return history->queues[queue].presence == HISTORY_PRESENT &&
           history->queues[queue].copies[copy].is_durable;
}

void
history_settle(struct history *history, uint32_t queue, uint32_t at, struct history_span span)
{
    struct history_copy *copy = &history->queues[queue].copies[at];
    assert(copy->place == HISTORY_LENT);
    copy->place = HISTORY_DONE;
    copy->gone = span;
    history->sums.acknowledged++;
}

void
history_give_back(struct history *history, uint32_t handle, uint32_t at)
{
    struct history_queue *queue = &history->queues[handle];
    struct history_copy *copy = &queue->copies[at];
    if (copy->was_heard) {
        copy->was_heard = false;
        return;
    }
    if (queue->retry.counts && queue->presence == HISTORY_PRESENT) {
        history_wrong(history, HISTORY_LOST,
                      "message %" PRIu32 " of queue q%" PRIu32 " does not come back", copy->message,
                      queue->name);
    }
    assert(copy->place == HISTORY_LENT);
    history_come_back(history, queue, at);
}

void
history_come_back(struct history *history, struct history_queue *queue, uint32_t at)
{
    struct history_copy *copy = &queue->copies[at];
    copy->place = HISTORY_READY;
    copy->is_marked = true;
    copy->is_mark_free = false;
    copy->held_until_ms = 0;
    copy->is_hold_free = false;
    history_stand_again(queue, copy);
    queue->ready_count++;
    if (at < queue->first_ready) {
        queue->first_ready = at;
    }
    history_expire_if_due(history, queue, at);
}

bool
history_purge(struct history *history, uint32_t handle, uint64_t first)
{
    struct history_queue *queue = &history->queues[handle];
    bool is_logged = false;
    history_doubt_chains(history, queue);
    for (uint32_t at = history_next_there(queue, queue->first_ready); at < queue->copy_count;
         at = history_next_there(queue, at)) {
        history_leave(queue, at, HISTORY_DONE); /* one that is_maybe was perhaps never there */
        queue->copies[at].gone = (struct history_span){.first = first, .last = UINT64_MAX};
        history_note_unfinished(history, handle, at, true);
        is_logged |= queue->copies[at].is_durable;
    }
    return is_logged;
}

void
history_end_tick(struct history *history, uint64_t last, uint64_t purged_last)
{
    expire_due(history, ON_END_OF_TICK);
    uint32_t kept = 0;
    for (uint32_t i = 0; i < history->unfinished_count; i++) {
        struct history_unfinished unfinished = history->unfinished[i];
        uint64_t end = unfinished.is_purged ? purged_last : last;
        if (end == UINT64_MAX) {
            history->unfinished[kept++] = unfinished;
            continue;
        }
        struct history_span *gone = &history->queues[unfinished.queue].copies[unfinished.copy].gone;
        gone->last = end > gone->first ? end : gone->first;
    }
    history->unfinished_count = kept;
}

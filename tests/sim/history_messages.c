/* SPDX-License-Identifier: Apache-2.0 */
/* Messages on their way through queues. */
#include <inttypes.h>

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
    bool is_fanout = history->exchanges[exchange].is_fanout;
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
static void
set_deadline(struct history *history, struct history_queue *queue, struct history_copy *copy)
{
    enum { STEP_MS = 10 };
    uint64_t expiration = history->messages[copy->message].expiration;
    if (expiration == 0) {
        return;
    }
    history->has_mortals = true;
    copy->written_ms = history->now_ms + expiration - 1;
    copy->deadline_ms = (copy->written_ms + STEP_MS - 1) / STEP_MS * STEP_MS;
    if (expiration == 1) {
        copy->deadline_ms = history->now_ms;
        copy->is_instant = true;
        copy->is_maybe = true;
        queue->maybe_count++;
    }
}

/* The first ready copy from `at` on at that level, or the number of copies. */
static uint32_t
next_at_level(const struct history_queue *queue, uint32_t at, uint8_t level)
{
    while (at < queue->copy_count &&
           (queue->copies[at].place != HISTORY_READY || queue->copies[at].level != level)) {
        at++;
    }
    return at;
}

/* The ready copy that is served first of those at `level` and below, or the number of copies. */
static uint32_t
first_ready_at(const struct history_queue *queue, int level)
{
    uint32_t at = queue->copy_count;
    for (; at == queue->copy_count && level >= 0; level--) {
        at = next_at_level(queue, queue->first_ready, (uint8_t)level);
    }
    return at;
}

static uint32_t
first_ready(const struct history_queue *queue)
{
    return first_ready_at(queue, queue->level_max);
}

/* The one that is served behind the ready copy `at`: of its level, or of the next that has one. */
static uint32_t
ready_behind(const struct history_queue *queue, uint32_t at)
{
    uint8_t level = queue->copies[at].level;
    uint32_t next = next_at_level(queue, at + 1, level);
    return next < queue->copy_count ? next : first_ready_at(queue, level - 1);
}

/* The copy is ready no longer: nothing before the first of the others is. */
static void
pass_over(struct history_queue *queue)
{
    while (queue->first_ready < queue->copy_count &&
           queue->copies[queue->first_ready].place != HISTORY_READY) {
        queue->first_ready++;
    }
}

/* Octets of what is ready, with what may be there or without it. */
static uint64_t
ready_bytes(const struct history *history, const struct history_queue *queue, bool with_maybe)
{
    uint64_t bytes = 0;
    for (uint32_t at = first_ready(queue); queue->ready_count > 0 && at < queue->copy_count;
         at = ready_behind(queue, at)) {
        const struct history_copy *copy = &queue->copies[at];
        bytes += copy->is_maybe && !with_maybe ? 0 : history->messages[copy->message].size;
    }
    return bytes;
}

static uint8_t
level_of(const struct history_queue *queue, const struct history_message *message)
{
    return message->priority < queue->level_max ? message->priority : queue->level_max;
}

static struct history_copy *
append_copy(struct history *history, uint32_t handle, uint32_t number)
{
    struct history_queue *queue = &history->queues[handle];
    if (queue->ready_count == 0) {
        queue->first_ready = queue->copy_count;
    }
    struct history_copy *copy =
        HISTORY_PUSH(queue->copies, queue->copy_count, queue->copy_capacity);
    *copy = (struct history_copy){
        .message = number,
        .level = level_of(queue, &history->messages[number]),
        .is_durable = queue->is_durable && history->messages[number].is_persistent,
    };
    queue->ready_count++;
    set_deadline(history, queue, copy);
    return copy;
}

/* Its time is over; the broker may take a while to let it die. */
static void
expire(struct history *history, struct history_queue *queue, uint32_t at)
{
    history->sums.expired++;
    struct history_copy *copy = &queue->copies[at];
    queue->ready_count--;
    queue->maybe_count -= copy->is_maybe;
    queue->overdue_count++;
    copy->place = HISTORY_DONE;
    copy->gone = HISTORY_ALWAYS;
    copy->is_maybe = false;
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
    return (occasion == ON_START ? copy->written_ms : copy->deadline_ms) <= history->now_ms;
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

void
history_has_expired(struct history *history, uint32_t queue)
{
    history->queues[queue].overdue_count = 0;
}

uint32_t
history_target(const struct history *history, uint32_t number, uint32_t at)
{
    uint32_t queue = history->messages[number].targets[at];
    return history->queues[queue].presence == HISTORY_ABSENT
               ? history->queue_by_name[history->queues[queue].name]
               : queue;
}

/* Whether the queue has no room for the message, with all that may be in it or with what must be.
 */
static bool
is_full_for(const struct history *history, const struct history_queue *queue, uint32_t size,
            bool with_maybe)
{
    uint64_t count = queue->ready_count - (with_maybe ? 0 : queue->maybe_count);
    return queue->limit.overflow == HISTORY_REFUSES &&
           (count + 1 > queue->limit.length_max ||
            ready_bytes(history, queue, with_maybe) + size > queue->limit.bytes_max);
}

static void
refuse_copy(struct history *history, uint32_t handle, uint32_t number)
{
    struct history_queue *queue = &history->queues[handle];
    struct history_message *message = &history->messages[number];
    message->is_refused = true;
    history->sums.refused++;
    if (!is_full_for(history, queue, message->size, true)) {
        history_wrong(history, HISTORY_LOST,
                      "queue q%" PRIu32 " refuses message %" PRIu32 " with %" PRIu32
                      " in it, though it is not full",
                      queue->name, number, queue->ready_count);
    }
}

static void
take_copy(struct history *history, uint32_t handle, uint32_t number)
{
    struct history_queue *queue = &history->queues[handle];
    if (is_full_for(history, queue, history->messages[number].size, false)) {
        history_wrong(history, HISTORY_ANSWER,
                      "queue q%" PRIu32 " takes message %" PRIu32 " though it is full", queue->name,
                      number);
    }
    queue->taken_count++;
    history->messages[number].is_logged |= append_copy(history, handle, number)->is_durable;
}

void
history_enqueue(struct history *history, uint32_t number, const bool *takes,
                struct history_span span)
{
    history->messages[number].made = span;
    for (uint32_t i = 0; i < history->messages[number].target_count; i++) {
        uint32_t queue = history_target(history, number, i);
        if (queue == HISTORY_NONE) {
            continue;
        }
        if (takes != NULL && !takes[i]) {
            refuse_copy(history, queue, number);
        } else {
            take_copy(history, queue, number);
        }
    }
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

/* A copy that the cut went through turns out not to be there; from a queue that drops it may have
 * been dropped, which the log may say at any time. */
static void
give_up_maybe(struct history_queue *queue, uint32_t at)
{
    struct history_copy *copy = &queue->copies[at];
    copy->place = HISTORY_DONE;
    copy->gone = queue->limit.overflow == HISTORY_DROPS ? (struct history_span){0, UINT64_MAX}
                                                        : HISTORY_ALWAYS;
    copy->is_maybe = false;
    queue->ready_count--;
    queue->maybe_count--;
}

/* Why it is wrong to hand out `number` now. */
static uint32_t
refuse(struct history *history, const struct history_queue *queue, uint32_t number, uint32_t next)
{
    for (uint32_t at = queue->copy_count; at-- > 0;) {
        const struct history_copy *copy = &queue->copies[at];
        if (copy->message != number) {
            continue;
        }
        if (copy->place == HISTORY_READY) {
            history_wrong(history, HISTORY_ORDER,
                          "queue q%" PRIu32 " hands out message %" PRIu32 " before %" PRIu32,
                          queue->name, number, queue->copies[next].message);
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
note_unfinished(struct history *history, uint32_t queue, uint32_t copy, bool is_purged)
{
    *HISTORY_PUSH(history->unfinished, history->unfinished_count, history->unfinished_capacity) =
        (struct history_unfinished){.queue = queue, .copy = copy, .is_purged = is_purged};
}

static void
take(struct history *history, uint32_t handle, uint32_t at, bool is_final, struct history_span span)
{
    struct history_queue *queue = &history->queues[handle];
    struct history_copy *copy = &queue->copies[at];
    queue->ready_count--;
    queue->maybe_count -= copy->is_maybe;
    copy->is_maybe = false;
    copy->place = is_final ? HISTORY_DONE : HISTORY_LENT;
    pass_over(queue);
    copy->handed_at = span.last;
    if (is_final) {
        copy->gone = (struct history_span){.first = span.first, .last = UINT64_MAX};
        note_unfinished(history, handle, at, false);
        history->sums.acknowledged++;
    }
}

uint32_t
history_hand_out(struct history *history, uint32_t handle, uint32_t number, bool is_redelivered,
                 bool is_final, struct history_span span)
{
    struct history_queue *queue = &history->queues[handle];
    uint32_t next = first_ready(queue);
    uint32_t at = next;
    while (at < queue->copy_count && queue->copies[at].message != number &&
           queue->copies[at].is_maybe) {
        at = ready_behind(queue, at);
    }
    if (at == queue->copy_count || queue->copies[at].message != number) {
        return refuse(history, queue, number, next);
    }
    for (uint32_t behind; next != at; next = behind) {
        behind = ready_behind(queue, next);
        give_up_maybe(queue, next);
    }
    check_mark(history, queue, &queue->copies[at], is_redelivered);
    history->sums.delivered++;
    history->sums.redelivered += is_redelivered;
    take(history, handle, at, is_final, span);
    return at;
}

void
history_see(struct history *history, uint32_t queue, uint32_t copy)
{
    history->queues[queue].copies[copy].was_seen = true;
}

void
history_expect_empty(struct history *history, uint32_t handle)
{
    struct history_queue *queue = &history->queues[handle];
    for (uint32_t at = first_ready(queue), behind; at < queue->copy_count; at = behind) {
        behind = ready_behind(queue, at);
        if (queue->copies[at].is_maybe) {
            give_up_maybe(queue, at);
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
    if (ready_count > queue->ready_count + queue->overdue_count) {
        history_wrong(history, HISTORY_UNEXPECTED,
                      "queue q%" PRIu32 " has %" PRIu64 " messages by %s, should have %" PRIu32,
                      queue->name, ready_count, what, queue->ready_count);
    } else if (ready_count < queue->ready_count - queue->maybe_count) {
        history_wrong(history, HISTORY_LOST,
                      "queue q%" PRIu32 " has %" PRIu64 " messages by %s, should have %" PRIu32
                      " (%" PRIu32 " of them perhaps)",
                      queue->name, ready_count, what, queue->ready_count, queue->maybe_count);
    }
}

/* Limits --------------------------------------------------------------------------------------- */

static bool
is_over_limit(const struct history *history, const struct history_queue *queue)
{
    return queue->limit.overflow == HISTORY_DROPS &&
           (queue->ready_count > queue->limit.length_max ||
            ready_bytes(history, queue, true) > queue->limit.bytes_max);
}

static void
drop_first(struct history *history, uint32_t handle, uint64_t first)
{
    struct history_queue *queue = &history->queues[handle];
    uint32_t at = first_ready(queue);
    struct history_copy *copy = &queue->copies[at];
    assert(at < queue->copy_count);
    copy->place = HISTORY_DONE;
    copy->gone = (struct history_span){.first = first, .last = UINT64_MAX};
    note_unfinished(history, handle, at, false);
    queue->ready_count--;
    pass_over(queue);
    history->sums.dropped++;
}

/* Of a queue some of whose messages are perhaps not there nobody knows which were dropped. */
static void
doubt_first(struct history_queue *queue, uint64_t count)
{
    for (uint32_t at = first_ready(queue); count > 0; at = ready_behind(queue, at), count--) {
        queue->maybe_count += !queue->copies[at].is_maybe;
        queue->copies[at].is_maybe = true;
    }
}

void
history_see_ready(struct history *history, uint32_t handle, uint64_t ready_count, uint64_t first)
{
    struct history_queue *queue = &history->queues[handle];
    if (queue->limit.overflow != HISTORY_DROPS || ready_count >= queue->ready_count) {
        return;
    }
    if (queue->maybe_count > 0) {
        if (is_over_limit(history, queue)) {
            doubt_first(queue, queue->ready_count - ready_count);
        }
        return;
    }
    while (queue->ready_count > ready_count) {
        if (!is_over_limit(history, queue)) {
            history_wrong(history, HISTORY_LOST,
                          "queue q%" PRIu32 " drops messages though it is within its limit: it has"
                          " %" PRIu64 " of %" PRIu32,
                          queue->name, ready_count, queue->ready_count);
            return;
        }
        drop_first(history, handle, first);
    }
}

void
history_cut(struct history *history, uint32_t handle, uint64_t first)
{
    struct history_queue *queue = &history->queues[handle];
    while (queue->maybe_count == 0 && is_over_limit(history, queue)) {
        drop_first(history, handle, first);
    }
    if (is_over_limit(history, queue)) {
        doubt_first(queue, queue->ready_count);
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
history_die(struct history *history, uint32_t handle, uint32_t at, struct history_span span)
{
    struct history_queue *queue = &history->queues[handle];
    if (queue->presence != HISTORY_PRESENT || queue->dead_letter_name == HISTORY_NONE) {
        history_settle(history, handle, at, span);
        return;
    }
    assert(queue->copies[at].place == HISTORY_LENT);
    queue->copies[at].place = HISTORY_DYING;
    *HISTORY_PUSH(queue->dying, queue->dying_count, queue->dying_capacity) = at;
}

static void
move_dead(struct history *history, uint32_t handle, uint32_t at, struct history_span span)
{
    struct history_queue *queue = &history->queues[handle];
    assert(queue->copies[at].place == HISTORY_DYING);
    queue->copies[at].place = HISTORY_DONE;
    queue->copies[at].gone = span;
    uint32_t target = history->queue_by_name[queue->dead_letter_name];
    if (target != HISTORY_NONE) {
        uint32_t number = queue->copies[at].message;
        struct history_copy *copy = append_copy(history, target, number);
        copy->is_dead_letter = true;
        copy->moved = span;
        history->sums.dead_lettered++;
    }
}

void
history_move_dead(struct history *history, uint32_t handle, uint32_t count,
                  struct history_span span)
{
    struct history_queue *queue = &history->queues[handle];
    assert(count <= queue->dying_count);
    for (uint32_t i = 0; i < count; i++) {
        move_dead(history, handle, queue->dying[i], span);
    }
    queue->dying_count -= count;
    for (uint32_t i = 0; i < queue->dying_count; i++) {
        queue->dying[i] = queue->dying[i + count];
    }
}

void
history_give_back(struct history *history, uint32_t handle, uint32_t at)
{
    struct history_queue *queue = &history->queues[handle];
    struct history_copy *copy = &queue->copies[at];
    assert(copy->place == HISTORY_LENT);
    copy->place = HISTORY_READY;
    copy->is_marked = true;
    copy->is_mark_free = false;
    queue->ready_count++;
    if (at < queue->first_ready) {
        queue->first_ready = at;
    }
    if (copy->deadline_ms != 0 && copy->deadline_ms <= history->now_ms) {
        expire(history, queue, at);
    }
}

bool
history_purge(struct history *history, uint32_t handle, uint64_t first)
{
    struct history_queue *queue = &history->queues[handle];
    bool is_logged = false;
    for (uint32_t at = first_ready(queue), behind; at < queue->copy_count; at = behind) {
        behind = ready_behind(queue, at);
        queue->copies[at].place = HISTORY_DONE; /* one that is_maybe was perhaps never there */
        queue->copies[at].gone = (struct history_span){.first = first, .last = UINT64_MAX};
        note_unfinished(history, handle, at, true);
        is_logged |= queue->copies[at].is_durable;
    }
    queue->ready_count = 0;
    queue->maybe_count = 0;
    queue->first_ready = queue->copy_count;
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

/* SPDX-License-Identifier: Apache-2.0 */
/* Levels change places as a whole, which costs the same however long they are: blocks, what is
 * spilled and a job under way move with their deque. What is known of the others is a count of
 * messages and a bit each. */
#include "queues/levels.h"

#include <stdlib.h>

#include "base/alloc.h"
#include "queues/clocks.h"
#include "queues/expiry.h"
#include "queues/queue.h"

uint8_t
queue_logged_level(const struct queue *queue, uint8_t level)
{
    return (uint8_t)(level - queue->level_default);
}

uint8_t
queue_level_from_log(const struct queue *queue, uint8_t logged)
{
    uint8_t level = (uint8_t)(logged + queue->level_default);
    return level < queue->level_max ? level : queue->level_max;
}

/* Which are ready ------------------------------------------------------------------------------ */

static void
note_ready(struct queue_levels *levels, uint8_t level, bool is_ready)
{
    uint64_t bit = UINT64_C(1) << level % 64;
    if (is_ready) {
        levels->ready[level / 64] |= bit;
    } else {
        levels->ready[level / 64] &= ~bit;
    }
}

/* There is one. */
static uint8_t
highest_ready(const struct queue_levels *levels)
{
    int word = LEVEL_WORDS - 1;
    while (levels->ready[word] == 0) {
        word--;
        assert(word >= 0);
    }
    return (uint8_t)(word * 64 + 63 - __builtin_clzll(levels->ready[word]));
}

/* Life ----------------------------------------------------------------------------------------- */

static size_t
levels_size(const struct queue *queue)
{
    return sizeof(struct queue_levels) +
           ((size_t)queue->level_max + 1) * sizeof(struct queue_level);
}

uint64_t
queue_levels_bytes(const struct queue *queue)
{
    return queue->levels == NULL ? 0 : levels_size(queue);
}

enum status
queue_open_level(struct queue *queue, uint8_t level)
{
    if (queue->level_max == 0 || queue->levels != NULL || level == queue_front_level(queue)) {
        return STATUS_OK;
    }
    struct queue_levels *levels = try_alloc(levels_size(queue));
    if (levels == NULL) {
        return STATUS_NO_MEMORY;
    }
    *levels = (struct queue_levels){0};
    for (unsigned i = 0; i <= queue->level_max; i++) {
        levels->of[i] = (struct queue_level){
            .deque.memory = queue->deque.memory,
            .next_position = position_of_level((uint8_t)i) + 1,
        };
    }
    entry_deque_count_memory(&queue->deque, 0, levels_size(queue));
    queue->levels = levels;
    queue_clocks_on_levels(queue);
    if (queue->times != NULL) {
        queue_times_on_levels(queue);
    }
    return STATUS_OK;
}

void
queue_free_levels(struct queue *queue)
{
    if (queue->levels == NULL) {
        return;
    }
    for (unsigned i = 0; i <= queue->level_max; i++) {
        entry_deque_fini(&queue->levels->of[i].deque);
    }
    entry_deque_count_memory(&queue->deque, levels_size(queue), 0);
    free(queue->levels);
    queue->levels = NULL;
}

void
queue_forget_ready_levels(struct queue *queue)
{
    struct queue_levels *levels = queue->levels;
    for (unsigned i = 0; i <= queue->level_max; i++) {
        levels->of[i].ready_count = 0;
    }
    memset(levels->ready, 0, sizeof(levels->ready));
    levels->ready_count = 0;
}

/* Changing places ------------------------------------------------------------------------------ */

static void
send_back(struct queue *queue)
{
    struct queue_levels *levels = queue->levels;
    uint8_t number = queue_front_level(queue);
    struct queue_level *level = &levels->of[number];
    level->ready_count = queue_deque_living(queue);
    level->next_position = queue->next_position;
    if (queue->times != NULL) {
        level->order = queue->times->order;
    }
    entry_deque_move(&queue->deque, &level->deque);
    levels->ready_count += level->ready_count;
    note_ready(levels, number, level->ready_count > 0);
}

static void
bring_to_front(struct queue *queue, uint8_t number)
{
    struct queue_levels *levels = queue->levels;
    struct queue_level *level = &levels->of[number];
    entry_deque_move(&level->deque, &queue->deque);
    queue->next_position = level->next_position;
    if (queue->times != NULL) {
        queue->times->order = level->order;
    }
    levels->ready_count -= level->ready_count;
    level->ready_count = 0;
    note_ready(levels, number, false);
}

void
queue_turn_to_level(struct queue *queue, uint8_t level)
{
    if (queue->level_max == 0 || level == queue_front_level(queue)) {
        return;
    }
    assert(queue->levels != NULL);
    assert(level <= queue->level_max);
    send_back(queue);
    bring_to_front(queue, level);
}

void
queue_serve_highest(struct queue *queue)
{
    if (queue->levels == NULL || queue->levels->ready_count == 0) {
        return;
    }
    uint8_t highest = highest_ready(queue->levels);
    if (highest > queue_front_level(queue) || queue_deque_living(queue) == 0) {
        queue_turn_to_level(queue, highest);
    }
}

bool
queue_turn_to_deque(struct queue *queue, const struct entry_deque *deque)
{
    if (deque == &queue->deque) {
        return true;
    }
    for (unsigned i = 0; queue->levels != NULL && i <= queue->level_max; i++) {
        if (deque == &queue->levels->of[i].deque) {
            queue_turn_to_level(queue, (uint8_t)i);
            return true;
        }
    }
    return false;
}

/* Finding -------------------------------------------------------------------------------------- */

/* NULL: it is in front. */
static struct queue_level *
level_of(const struct queue *queue, uint64_t position)
{
    uint8_t number = position_level(position);
    bool is_in_front = queue->levels == NULL || number == queue_front_level(queue);
    assert(is_in_front || number <= queue->level_max);
    return is_in_front ? NULL : &queue->levels->of[number];
}

struct entry_deque *
queue_deque_of(struct queue *queue, uint64_t position)
{
    struct queue_level *level = level_of(queue, position);
    return level == NULL ? &queue->deque : &level->deque;
}

static uint64_t
first_position(const struct queue_level *level)
{
    return level->next_position - level->ready_count - level->deque.dead_count;
}

uint64_t
queue_first_position_of(const struct queue *queue, uint64_t position)
{
    const struct queue_level *level = level_of(queue, position);
    return level == NULL ? queue_deque_position(queue) : first_position(level);
}

bool
queue_knows_position(const struct queue *queue, uint64_t position)
{
    const struct queue_level *level = level_of(queue, position);
    return position < (level == NULL ? queue->next_position : level->next_position);
}

/* A message of a lower level may come back while a higher one waits, and one that was taken out of
 * the middle (queue_lend_last) to where others stand before it. */
bool
queue_returned_is_next(const struct queue *queue)
{
    return queue->settings->type == QUEUE_TYPE_QUORUM || queue_deque_living(queue) == 0 ||
           queue_returned_position(queue, 0) <= queue_deque_position(queue);
}

uint64_t
queue_levels_deadline_ms(const struct queue *queue, uint8_t *level_out)
{
    const struct queue_entry *head = entry_deque_head(&queue->deque);
    uint64_t earliest_ms =
        head == NULL ? NEVER_MS : queue_deadline_ms(queue, head, queue_deque_position(queue));
    *level_out = queue_front_level(queue);
    for (int word = 0; queue->levels != NULL && word < LEVEL_WORDS; word++) {
        for (uint64_t left = queue->levels->ready[word]; left != 0; left &= left - 1) {
            int number = word * 64 + __builtin_ctzll(left);
            const struct queue_level *level = &queue->levels->of[number];
            head = entry_deque_head(&level->deque);
            uint64_t due_ms =
                head == NULL ? NEVER_MS : queue_deadline_ms(queue, head, first_position(level));
            if (due_ms < earliest_ms) {
                earliest_ms = due_ms;
                *level_out = (uint8_t)number;
            }
        }
    }
    return earliest_ms;
}

/* Reserving ------------------------------------------------------------------------------------ */

enum status
queue_reserve_level(struct queue *queue, uint8_t level)
{
    if (queue_open_level(queue, level) != STATUS_OK || queue_make_clocks(queue) != STATUS_OK) {
        return STATUS_NO_MEMORY;
    }
    struct entry_deque *deque = queue_deque_of(queue, position_of_level(level));
    return entry_deque_has_room(deque) ? STATUS_OK : entry_deque_reserve(deque, 1);
}

enum status
queue_announce_level(struct queue *queue, uint8_t level)
{
    if (level == queue_front_level(queue)) {
        return STATUS_OK;
    }
    if (queue_open_level(queue, level) != STATUS_OK) {
        return STATUS_NO_MEMORY;
    }
    queue->levels->of[level].announced_count++;
    queue->levels->announced_count++;
    return STATUS_OK;
}

enum status
queue_reserve_announced_levels(struct queue *queue)
{
    struct queue_levels *levels = queue->levels;
    for (unsigned i = 0; levels->announced_count > 0 && i <= queue->level_max; i++) {
        struct queue_level *level = &levels->of[i];
        if (level->announced_count > 0 &&
            entry_deque_reserve(&level->deque, level->announced_count) != STATUS_OK) {
            return STATUS_NO_MEMORY;
        }
    }
    return STATUS_OK;
}

void
queue_forget_announced_levels(struct queue *queue)
{
    struct queue_levels *levels = queue->levels;
    for (unsigned i = 0; levels->announced_count > 0 && i <= queue->level_max; i++) {
        levels->announced_count -= levels->of[i].announced_count;
        levels->of[i].announced_count = 0;
    }
}

/* Checking ------------------------------------------------------------------------------------- */

static uint64_t
check_level(const struct queue *queue, uint8_t number)
{
    const struct queue_level *level = &queue->levels->of[number];
    uint64_t body_bytes;
    uint64_t place_count = entry_deque_check(&level->deque, 0, &body_bytes);
    bool is_ready = (queue->levels->ready[number / 64] >> number % 64 & 1) != 0;
    assert(place_count == level->ready_count + level->deque.dead_count);
    assert(is_ready == (level->ready_count > 0));
    assert(level->announced_count == 0);
    assert(position_level(level->next_position) == number);
    return body_bytes;
}

/* What waits is lower than what is served, unless nothing of that is left. */
uint64_t
queue_check_levels(const struct queue *queue)
{
    const struct queue_levels *levels = queue->levels;
    if (levels == NULL) {
        return 0;
    }
    uint64_t body_bytes = 0;
    uint64_t ready_count = 0;
    for (unsigned i = 0; i <= queue->level_max; i++) {
        if (i == queue_front_level(queue)) {
            assert(levels->of[i].deque.head == NULL);
            assert(levels->of[i].deque.bytes == 0);
            continue;
        }
        body_bytes += check_level(queue, (uint8_t)i);
        ready_count += levels->of[i].ready_count;
    }
    assert(ready_count == levels->ready_count);
    assert(levels->announced_count == 0);
    assert(ready_count == 0 ||
           (queue_deque_living(queue) > 0 && highest_ready(levels) < queue_front_level(queue)));
    return body_bytes;
}

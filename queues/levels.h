/* SPDX-License-Identifier: Apache-2.0 */
/* Messages by priority: a queue with priorities has a deque per level, and serves the highest in
 * which something is ready. The deque of the level in front is the queue's own, so that whoever
 * takes messages does what it does in any queue; the others wait here and change places with it.
 *
 * A position says both where a message stands in its level and how levels stand to each other:
 * rising positions are the order of service.
 *
 * There is nothing here until messages of a second level come: a quorum queue that never sees a
 * priority is a queue with one deque. */
#ifndef BOURSE_QUEUES_LEVELS_H
#define BOURSE_QUEUES_LEVELS_H

#include "queues/arrival_marks.h"
#include "queues/entry_deque.h"
#include "queues/times.h"

enum {
    /* A position: 255 less the level (in a queue without priorities 0), and below that the number
     * of the message in its level, from 1 without gaps. */
    POSITION_LEVEL_SHIFT = 56,
    /* What RabbitMQ's quorum queues have. */
    QUORUM_LEVEL_MAX = 31,
    QUORUM_LEVEL_DEFAULT = 4,
    PRIORITY_ABSENT = -1, /* of a message without the property */
};

/* The level of a message, by its position in a queue with priorities. */
static inline uint8_t
position_level(uint64_t position)
{
    return (uint8_t)(UINT8_MAX - (position >> POSITION_LEVEL_SHIFT));
}

/* Before the first message of a level. */
static inline uint64_t
position_of_level(uint8_t level)
{
    return (uint64_t)(UINT8_MAX - level) << POSITION_LEVEL_SHIFT;
}

/* The number of a message in its level. */
static inline uint64_t
position_number(uint64_t position)
{
    return position & ((UINT64_C(1) << POSITION_LEVEL_SHIFT) - 1);
}

/* What a level has while another is in front. */
struct queue_level {
    struct entry_deque deque;
    uint64_t next_position;
    uint64_t ready_count;         /* in the deque; 0 of the level in front */
    struct queue_deadlines order; /* of its messages, if the queue has times */
    struct arrival_marks marks;   /* of its messages, also while it is in front */
    uint32_t announced_count;     /* as queue->announced_count; 0 of the level in front */
};

enum { LEVEL_WORDS = (UINT8_MAX + 1) / 64 };

struct queue_levels {
    uint64_t ready_count;        /* of all levels that are not in front */
    uint32_t announced_count;    /* the same */
    uint64_t ready[LEVEL_WORDS]; /* bits: levels not in front in which something is ready */
    struct queue_level of[];     /* queue->level_max + 1 */
};

struct queue;

/* What the log keeps of the level (row_state.priority): how far it is above that of a message
 * without the property, modulo 256; so it is 0 for all messages of most queues. */
uint8_t queue_logged_level(const struct queue *queue, uint8_t level);
uint8_t queue_level_from_log(const struct queue *queue, uint8_t logged);

/* Room for a message at `level` that must not fail, as queue_reserve. */
MUST_CHECK enum status queue_reserve_level(struct queue *queue, uint8_t level);

/* Makes the level, if it is the first beside that in front. STATUS_NO_MEMORY changes nothing. */
MUST_CHECK enum status queue_open_level(struct queue *queue, uint8_t level);

/* Brings the level, which was opened or reserved, to the front: what is pushed from now on is
 * pushed there. Before anybody looks at the head again, queue_serve_highest brings the highest
 * level in which something is ready to the front. */
void queue_turn_to_level(struct queue *queue, uint8_t level);
void queue_serve_highest(struct queue *queue);

/* The deque in which the message at `position` stands, or stood, and the position of the first
 * there. */
struct entry_deque *queue_deque_of(struct queue *queue, uint64_t position);
uint64_t queue_first_position_of(const struct queue *queue, uint64_t position);

/* Whether a message has ever had that position. */
bool queue_knows_position(const struct queue *queue, uint64_t position);

/* Within the queue: ---------------------------------------------------------------------------- */

/* queue_announce and its end, of levels that are not in front. */
MUST_CHECK enum status queue_announce_level(struct queue *queue, uint8_t level);
MUST_CHECK enum status queue_reserve_announced_levels(struct queue *queue);
void queue_forget_announced_levels(struct queue *queue);

/* Every ready message was dropped: the deques of all levels are empty. */
void queue_forget_ready_levels(struct queue *queue);

/* The earliest deadline among the oldest messages of all levels, that in front included, whatever
 * has come back, and which level that is; NEVER_MS: none has one, as far as they are in memory. */
uint64_t queue_levels_deadline_ms(const struct queue *queue, uint8_t *level_out);

/* Turns to the level whose deque it is; false: it is none of the queue's. */
bool queue_turn_to_deque(struct queue *queue, const struct entry_deque *deque);

/* Octets of memory of the structure itself, which counts as the queue's. */
uint64_t queue_levels_bytes(const struct queue *queue);
void queue_free_levels(struct queue *queue);

/* Walks the levels that are not in front and asserts that they agree; returns the octets of the
 * bodies of their messages. For tests. */
uint64_t queue_check_levels(const struct queue *queue);

#endif

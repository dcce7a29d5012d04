/* SPDX-License-Identifier: Apache-2.0 */
/* What the files that make up the history share; nobody else includes it. */
#ifndef BOURSE_TESTS_SIM_HISTORY_PARTS_H
#define BOURSE_TESTS_SIM_HISTORY_PARTS_H

#include "tests/sim/history.h"

/* Makes room for one more element and returns the array. */
void *history_grow(void *array, uint32_t count, uint32_t *capacity, size_t size);

#define HISTORY_PUSH(array, count, capacity)                                                       \
    ((array) = history_grow((array), (count), &(capacity), sizeof(*(array))), &(array)[(count)++])

/* Whether the copy is in its queue, though perhaps nobody gets it any more. */
static inline bool
history_is_there(const struct history_copy *copy)
{
    return copy->place == HISTORY_READY || copy->place == HISTORY_DUE;
}

/* The first copy from `at` on that is there, or the number of copies. */
static inline uint32_t
history_next_there(const struct history_queue *queue, uint32_t at)
{
    while (at < queue->copy_count && !history_is_there(&queue->copies[at])) {
        at++;
    }
    return at;
}

/* The copy that is served first of those that are there, due ones (which nobody gets any more)
 * included or not; or the number of copies. */
uint32_t history_first(const struct history_queue *queue, bool with_due);

/* The ready one that is served behind the copy `at`; or the number of copies. */
uint32_t history_behind(const struct history_queue *queue, uint32_t at);

/* A copy of that queue came back: where it stands from now on. */
void history_stand_again(struct history_queue *queue, struct history_copy *copy);

/* Whether the copy is ready, but is not handed out yet. */
static inline bool
history_is_held(const struct history *history, const struct history_copy *copy)
{
    return copy->held_until_ms > history->now_ms;
}

enum history_likeness { HISTORY_IS_ANOTHER, HISTORY_MAY_BE_IT, HISTORY_IS_IT };
enum history_likeness history_compare(const struct history_copy *copy,
                                      struct history_identity identity);

/* Copies get their positions, as far as those were heard of. */
void history_settle_positions(const struct history *history, struct history_queue *queue);

/* Where the log has a copy that comes now; 0: nowhere. */
uint64_t history_find_lsn(struct history *history, const struct history_queue *queue,
                          const struct history_copy *copy);

/* A copy that is there leaves for `place`; counts follow. One that is_maybe stays so, for who looks
 * back. */
void history_leave(struct history_queue *queue, uint32_t at, enum history_place place);

/* A copy that the cut went through turns out not to be there; or to be there, so that no other of
 * its chain is. */
void history_give_up_maybe(struct history *history, struct history_queue *queue, uint32_t at);
void history_prove(struct history *history, uint32_t queue, uint32_t at);

/* Whether it has failed more often than its queue allows, or may have. */
bool history_is_tried_out(const struct history_queue *queue, const struct history_copy *copy);

/* The copy, which was lent or waited at its place, is ready again. */
void history_come_back(struct history *history, struct history_queue *queue, uint32_t at);

/* The log says so of the copy. */
void history_note_state(struct history *history, uint32_t queue, uint32_t copy,
                        struct history_state state, struct history_span span);

/* What the headers of a copy say that has died, where it goes. */
struct history_headers history_carry(const struct history_copy *copy);

/* What the log says of each copy after a cut. */
void history_crash_returns(struct history *history, uint64_t cut);

/* What the broker knows of a copy that has survived a crash. */
void history_keep_failures(const struct history_queue *queue, struct history_copy *copy,
                           uint64_t now_ms);

/* A copy that the log knows begins to wait. */
void history_begin_waiting(struct history *history, struct history_queue *queue,
                           struct history_copy *copy, uint64_t due_ms);

/* Whether a copy that waits comes in at that time. */
bool history_is_its_time(const struct history_copy *copy, uint64_t due_ms);

/* After a crash: those that wait and were not found are not there. */
void history_end_waiting(struct history *history, uint32_t queue);

/* Has copies stand as in the log. */
void history_sort_copies(struct history_queue *queue);

/* Notes when the copy that comes at `from_ms` dies by itself. */
void history_set_deadline(struct history *history, const struct history_queue *queue,
                          struct history_copy *copy, uint64_t from_ms);

/* The time of a copy that is ready is over, if it is. */
void history_expire_if_due(struct history *history, struct history_queue *queue, uint32_t at);

/* The number of a new chain. */
uint32_t history_begin_chain(struct history *history);

/* All that may be in the queue goes, and nobody will know whether it was there. */
void history_doubt_chains(struct history *history, const struct history_queue *queue);

/* Notes of each chain whether one of its copies is there after the cut. */
void history_crash_chains(struct history *history, uint64_t cut);

/* A message comes to the queue, as its last. `origin` is the copy that died elsewhere, NULL: it was
 * published. */
struct history_copy *history_append_copy(struct history *history, uint32_t queue, uint32_t message,
                                         const struct history_copy *origin);

/* Octets of what is there, with what may be there or without it. */
uint64_t history_there_bytes(const struct history *history, const struct history_queue *queue,
                             bool with_maybe);

/* Whether the queue has no room for that, with all that may be in it or with what must be. */
bool history_is_full_for(const struct history *history, const struct history_queue *queue,
                         struct history_load load, bool with_maybe);

/* The end of what the log says of it comes with the tick, or later. */
void history_note_unfinished(struct history *history, uint32_t queue, uint32_t copy,
                             bool is_purged);

/* What is overdue comes in, not too soon after others; nothing that should have is still away. */
void history_keep_pace(struct history *history, struct history_queue *queue, uint64_t due_ms);
void history_check_pace(struct history *history, const struct history_queue *queue);
void history_set_rate(struct history_queue *queue, uint32_t rate);

/* What the log says of pauses after a cut. */
void history_crash_pauses(struct history_queue *queue, uint64_t cut);

/* The broker is gone, or the queue: nobody consumes any more. */
void history_forget_consumers(struct history_queue *queue);

/* The broker is gone: what is due is never handed out again. */
void history_expire_written(struct history *history);

/* The positions of something that is there or gone for good. */
static const struct history_span HISTORY_ALWAYS = {0, 0};

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* A message that died is where it died or where it went, and after a crash as well: of a chain of
 * such copies one is there, or none when the last is done with. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "tests/sim/history_parts.h"

uint32_t
history_begin_chain(struct history *history)
{
    if (history->chain_count == 0) {
        history->chain_count = 1; /* 0 means none */
    }
    history->chains = history_grow(history->chains, history->chain_count, &history->chain_capacity,
                                   sizeof(*history->chains));
    history->chains[history->chain_count] = HISTORY_CHAIN_MAY_END;
    return history->chain_count++;
}

/* Another copy of the chain that is or may be there, or NULL. */
static struct history_copy *
find_other(struct history *history, const struct history_copy *copy,
           struct history_queue **queue_out)
{
    for (uint32_t i = 0; i < history->queue_count; i++) {
        struct history_queue *queue = &history->queues[i];
        bool is_there = queue->presence == HISTORY_PRESENT;
        for (uint32_t at = queue->first_ready; at < queue->copy_count && is_there; at++) {
            struct history_copy *other = &queue->copies[at];
            if (other != copy && other->chain == copy->chain && other->place != HISTORY_DONE) {
                *queue_out = queue;
                return other;
            }
        }
    }
    return NULL;
}

void
history_give_up_maybe(struct history *history, struct history_queue *queue, uint32_t at)
{
    struct history_copy *copy = &queue->copies[at];
    if (copy->place == HISTORY_WAITING) {
        queue->waiting_count--;
        copy->place = HISTORY_DONE;
    } else {
        history_leave(queue, at, HISTORY_DONE);
    }
    copy->gone = HISTORY_ALWAYS;
    struct history_queue *other;
    if (copy->chain != 0 && history->chains[copy->chain] == HISTORY_CHAIN_GOES_ON &&
        find_other(history, copy, &other) == NULL) {
        history_wrong(history, HISTORY_LOST,
                      "message %" PRIu32
                      " is neither where it died nor where it went, queue q%" PRIu32,
                      copy->message, queue->name);
    }
}

/* No other of its chain is there. */
static void
give_up_others(struct history *history, uint32_t handle, const struct history_copy *copy)
{
    history->chains[copy->chain] = HISTORY_CHAIN_MAY_END;
    struct history_queue *queue;
    for (struct history_copy *other; (other = find_other(history, copy, &queue)) != NULL;) {
        if (!other->is_maybe) {
            history_wrong(history, HISTORY_DUPLICATED,
                          "message %" PRIu32 " is in queue q%" PRIu32 " and in q%" PRIu32,
                          copy->message, history->queues[handle].name, queue->name);
            return;
        }
        history_give_up_maybe(history, queue, (uint32_t)(other - queue->copies));
    }
}

void
history_prove(struct history *history, uint32_t handle, uint32_t at)
{
    struct history_queue *queue = &history->queues[handle];
    struct history_copy *copy = &queue->copies[at];
    if (!copy->is_maybe) {
        return;
    }
    queue->maybe_count -= history_is_there(copy);
    copy->is_maybe = false;
    if (copy->chain != 0) {
        give_up_others(history, handle, copy);
    }
}

void
history_doubt_chains(struct history *history, const struct history_queue *queue)
{
    for (uint32_t at = queue->first_ready; at < queue->copy_count && queue->maybe_count > 0; at++) {
        const struct history_copy *copy = &queue->copies[at];
        if (copy->is_maybe && copy->chain != 0) {
            history->chains[copy->chain] = HISTORY_CHAIN_MAY_END;
        }
    }
}

/* Crashes -------------------------------------------------------------------------------------- */

/* What is known of a chain. */
struct chain {
    const struct history_copy *first, *last; /* NULL: it has no copy */
    const struct history_queue *last_queue;
    uint32_t copy_count;
    bool is_transient; /* one of them at least */
};

static struct chain *
collect_chains(const struct history *history)
{
    struct chain *chains = xalloc((history->chain_count + 1) * sizeof(*chains));
    for (uint32_t i = 0; i < history->queue_count; i++) {
        const struct history_queue *queue = &history->queues[i];
        for (uint32_t at = 0; at < queue->copy_count && !queue->is_over; at++) {
            const struct history_copy *copy = &queue->copies[at];
            struct chain *chain = &chains[copy->chain];
            chain->copy_count++;
            chain->is_transient |= !copy->is_durable;
            if (chain->first == NULL || copy->stage < chain->first->stage) {
                chain->first = copy;
            }
            if (chain->last == NULL || copy->stage > chain->last->stage) {
                chain->last = copy;
                chain->last_queue = queue;
            }
        }
    }
    return chains;
}

/* The first was written down for certain, each but the last went on, and the last was not done
 * with. */
static bool
goes_on(const struct history *history, const struct chain *chain, uint64_t cut)
{
    if (chain->first == NULL || chain->is_transient || chain->first->is_maybe ||
        chain->copy_count != chain->last->stage - chain->first->stage + 1) {
        return false;
    }
    struct history_span made = chain->first->is_dead_letter
                                   ? chain->first->moved
                                   : history->messages[chain->first->message].made;
    return cut >= made.last && chain->last->place != HISTORY_DONE &&
           chain->last_queue->presence == HISTORY_PRESENT;
}

/* The queues of a chain that a crash may take away take its copies along. */
static bool
keeps_queues(const struct history *history, uint64_t cut)
{
    for (uint32_t i = 0; i < history->queue_count; i++) {
        const struct history_queue *queue = &history->queues[i];
        bool has_copies = queue->copy_count > 0 && !queue->is_over && queue->is_durable;
        if (has_copies && history_queue_after_cut(queue, cut) != HISTORY_PRESENT) {
            return false;
        }
    }
    return true;
}

void
history_judge_chains(const struct history *history, uint64_t cut, enum history_chain *chains_out)
{
    struct chain *chains = collect_chains(history);
    bool is_certain = keeps_queues(history, cut);
    for (uint32_t i = 1; i < history->chain_count; i++) {
        bool must_go_on = is_certain && goes_on(history, &chains[i], cut);
        chains_out[i] = must_go_on ? HISTORY_CHAIN_GOES_ON : HISTORY_CHAIN_MAY_END;
    }
    free(chains);
}

void
history_crash_chains(struct history *history, uint64_t cut)
{
    if (history->chain_count > 0) {
        history_judge_chains(history, cut, history->chains);
    }
}

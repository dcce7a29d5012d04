/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/sim/judge.h"

#include <inttypes.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "tests/sim/history_parts.h"

static bool
has_queue(const struct found *found, uint64_t id)
{
    for (uint32_t i = 0; i < found->queue_count; i++) {
        if (found->queues[i].id == id) {
            return true;
        }
    }
    return false;
}

/* Messages ------------------------------------------------------------------------------------- */

/* The next row of that queue from `at` on, or the number of rows. */
static uint32_t
next_row(const struct found *found, uint64_t id, uint32_t at)
{
    while (at < found->row_count && found->rows[at].queue != id) {
        at++;
    }
    return at;
}

static bool
is_row_of(const struct found_row *row, const struct history_copy *copy)
{
    return row->message == copy->message && (copy->lsn == 0 || row->lsn == copy->lsn);
}

static void
check_row(struct history *history, const struct history_queue *queue,
          const struct history_copy *copy, const struct found_row *row, uint64_t cut)
{
    bool must_be_marked = copy->was_seen && copy->handed_at <= cut;
    if (must_be_marked && !row->was_handed_out) {
        history_wrong(history, HISTORY_DUPLICATED,
                      "message %" PRIu32 " of queue q%" PRIu32 " was seen and has no mark",
                      copy->message, queue->name);
    }
    if (row->body_size != history->messages[copy->message].size) {
        history_wrong(history, HISTORY_BODY, "message %" PRIu32 " has another size", copy->message);
    }
}

/* Rows and copies side by side: both in the order of the log. `chain_rows` counts what is found of
 * each chain. */
static void
compare_messages(struct history *history, const struct history_queue *queue,
                 const struct found *found, uint64_t cut, uint32_t *chain_rows)
{
    uint32_t at = next_row(found, queue->id, 0);
    for (uint32_t i = 0; i < queue->copy_count; i++) {
        const struct history_copy *copy = &queue->copies[i];
        enum history_presence presence = history_copy_after_cut(history, copy, cut);
        bool is_next = at < found->row_count && is_row_of(&found->rows[at], copy);
        if (presence != HISTORY_ABSENT && is_next) {
            check_row(history, queue, copy, &found->rows[at], cut);
            chain_rows[copy->chain]++;
            at = next_row(found, queue->id, at + 1);
        } else if (presence == HISTORY_PRESENT) {
            history_wrong(history, HISTORY_LOST,
                          "message %" PRIu32 " of queue q%" PRIu32 " is not there or not in order",
                          copy->message, queue->name);
            return;
        }
    }
    if (at < found->row_count) {
        history_wrong(history, HISTORY_UNEXPECTED,
                      "queue q%" PRIu32 " has message %" PRIu32
                      ", which is done with, was not written, or is damaged",
                      queue->name, found->rows[at].message);
    }
}

static void
judge_messages(struct history *history, const struct history_queue *queue,
               const struct found *found, uint64_t cut, uint32_t *chain_rows)
{
    struct history_queue sorted = *queue;
    sorted.copies = xalloc((queue->copy_count + 1) * sizeof(*sorted.copies));
    for (uint32_t i = 0; i < queue->copy_count; i++) {
        sorted.copies[i] = queue->copies[i];
    }
    history_sort_copies(&sorted);
    compare_messages(history, &sorted, found, cut, chain_rows);
    free(sorted.copies);
}

static void
judge_queue(struct history *history, const struct history_queue *queue, const struct found *found,
            uint64_t cut, uint32_t *chain_rows)
{
    enum history_presence presence = history_queue_after_cut(queue, cut);
    bool is_there = has_queue(found, queue->id);
    if (is_there && presence == HISTORY_ABSENT && queue->is_durable) {
        history_wrong(history, HISTORY_TOPOLOGY, "queue q%" PRIu32 " should not be there",
                      queue->name);
    } else if (!is_there && presence == HISTORY_PRESENT) {
        history_wrong(history, HISTORY_LOST, "queue q%" PRIu32 " is gone", queue->name);
    } else if (is_there && queue->is_durable) {
        judge_messages(history, queue, found, cut, chain_rows);
    }
}

/* A message that died is where it died or where it went. */
static void
judge_chains(struct history *history, uint64_t cut, const uint32_t *chain_rows)
{
    enum history_chain *chains = xalloc((history->chain_count + 1) * sizeof(*chains));
    history_judge_chains(history, cut, chains);
    for (uint32_t i = 1; i < history->chain_count; i++) {
        if (chain_rows[i] > 1) {
            history_wrong(history, HISTORY_DUPLICATED,
                          "a message is where it died and there where "
                          "it went");
        } else if (chain_rows[i] == 0 && chains[i] == HISTORY_CHAIN_GOES_ON) {
            history_wrong(history, HISTORY_LOST,
                          "a message is neither where it died nor where it "
                          "went");
        }
    }
    free(chains);
}

/* Every queue that was found is one that was made. */
static void
judge_queues(struct history *history, const struct found *found, uint64_t cut, uint32_t *chain_rows)
{
    uint32_t known_count = 0;
    for (uint32_t i = 0; i < history->queue_count; i++) {
        const struct history_queue *queue = &history->queues[i];
        if (queue->is_over || !queue->is_durable) {
            continue;
        }
        known_count += has_queue(found, queue->id);
        judge_queue(history, queue, found, cut, chain_rows);
    }
    if (known_count < found->queue_count) {
        history_wrong(history, HISTORY_TOPOLOGY, "a queue is there that nobody made");
    }
}

/* Exchanges and bindings ----------------------------------------------------------------------- */

static uint64_t
exchange_id(const struct found *found, uint32_t name)
{
    for (uint32_t i = 0; i < found->exchange_count; i++) {
        if (found->exchanges[i].name == name) {
            return found->exchanges[i].id;
        }
    }
    return 0;
}

/* Of several with one name at most one is there at any cut. */
static void
judge_exchanges(struct history *history, const struct found *found, uint64_t cut)
{
    for (uint32_t name = 0; name < HISTORY_NAMES; name++) {
        bool must = false;
        bool may = false;
        for (uint32_t i = 0; i < history->exchange_count; i++) {
            if (history->exchanges[i].name == name) {
                enum history_presence presence =
                    history_exchange_after_cut(&history->exchanges[i], cut);
                must |= presence == HISTORY_PRESENT;
                may |= presence != HISTORY_ABSENT;
            }
        }
        bool is_there = exchange_id(found, name) != 0;
        if (must && !is_there) {
            history_wrong(history, HISTORY_LOST, "exchange x%" PRIu32 " is gone", name);
        } else if (is_there && !may) {
            history_wrong(history, HISTORY_TOPOLOGY, "exchange x%" PRIu32 " should not be there",
                          name);
        }
    }
}

static bool
has_binding(const struct found *found, uint64_t source, uint64_t target, uint32_t key)
{
    for (uint32_t i = 0; i < found->binding_count; i++) {
        const struct found_binding *binding = &found->bindings[i];
        if (binding->source == source && binding->target == target && binding->key == key) {
            return true;
        }
    }
    return false;
}

/* Whether another binding between the same ends, made later or before, is there. */
static bool
may_be_another(const struct history *history, const struct history_binding *binding, uint64_t cut)
{
    for (uint32_t i = 0; i < history->binding_count; i++) {
        const struct history_binding *other = &history->bindings[i];
        if (other != binding && other->queue == binding->queue && other->key == binding->key &&
            history->exchanges[other->exchange].name ==
                history->exchanges[binding->exchange].name &&
            history_binding_after_cut(history, other, cut) != HISTORY_ABSENT) {
            return true;
        }
    }
    return false;
}

static void
judge_binding(struct history *history, const struct history_binding *binding,
              const struct found *found, uint64_t cut)
{
    const struct history_exchange *exchange = &history->exchanges[binding->exchange];
    const struct history_queue *queue = &history->queues[binding->queue];
    enum history_presence presence = history_binding_after_cut(history, binding, cut);
    bool is_there = has_binding(found, exchange_id(found, exchange->name), queue->id, binding->key);
    if (presence == HISTORY_PRESENT && !is_there) {
        history_wrong(history, HISTORY_LOST,
                      "the binding from x%" PRIu32 " to q%" PRIu32 " under k%" PRIu32 " is gone",
                      exchange->name, queue->name, binding->key);
    } else if (presence == HISTORY_ABSENT && is_there && !may_be_another(history, binding, cut)) {
        history_wrong(history, HISTORY_TOPOLOGY,
                      "the binding from x%" PRIu32 " to q%" PRIu32 " under k%" PRIu32
                      " should not be there",
                      exchange->name, queue->name, binding->key);
    }
}

void
judge_found(struct history *history, const struct found *found, uint64_t cut, uint64_t promised)
{
    if (cut < promised) {
        history_wrong(history, HISTORY_LOST,
                      "the log ends at %" PRIu64 ", but what it had up to %" PRIu64
                      " was answered or confirmed",
                      cut, promised);
    }
    uint32_t *chain_rows = xalloc((history->chain_count + 1) * sizeof(*chain_rows));
    judge_queues(history, found, cut, chain_rows);
    judge_chains(history, cut, chain_rows);
    free(chain_rows);
    judge_exchanges(history, found, cut);
    for (uint32_t i = 0; i < history->binding_count; i++) {
        judge_binding(history, &history->bindings[i], found, cut);
    }
}

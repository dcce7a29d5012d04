/* SPDX-License-Identifier: Apache-2.0 */
/* Messages that come back: of a queue that counts (settings.counts_failures), each return is noted
 * in a row (queues/failures.h), and then one of three things happens. The message is tried again at
 * once; or it waits, as the queue's retry settings say; or it has been tried often enough, or is
 * too old, and dies.
 *
 * Where the queue keeps strict order, and where there is no memory for waiting, a message that is
 * to wait goes back to its place, and nothing of the queue is handed out before its time has come,
 * or strict order is not kept any more and there is memory: then it waits as others do.
 *
 * A message over its limit that no dead-letter exchange takes is parked in its queue, which is that
 * queue's quarantine: it is never dropped.
 *
 * Owner: the core thread. */
#ifndef BOURSE_BROKER_DEATH_RETRY_H
#define BOURSE_BROKER_DEATH_RETRY_H

#include "broker/durability/durability.h"
#include "queues/retry.h"
#include "queues/unacked.h"
#include "store/row_state.h"

struct channel;

/* As the log has it. */
enum row_verdict retry_row_verdict(enum retry_verdict verdict);

/* A delivery of the channel has ended without an acknowledgement: gives the message back to its
 * queue, which is not deleted and counts, or lets it die. `item` was taken out of its table; the
 * count of its content passes on, its references do not. */
void channel_return_counted(struct channel *channel, struct unacked *item,
                            enum retry_verdict verdict);

/* The same for a queue that does not count: the message goes back to its place. */
void core_give_back(struct core *core, struct unacked *item);

/* A message leaves the queue for good: forgets what is known of its failures. Returns where the log
 * has it, for core_log_removal_with; 0: nowhere. */
uint64_t core_end_failures(struct core *core, struct queue *queue, uint64_t position);

/* The message is done with, as core_log_removal, wherever it stood at `position`. */
static inline void
core_log_departure(struct core *core, struct queue *queue, const struct queue_entry *entry,
                   uint64_t position)
{
    if (queue_entry_has_failed(entry)) {
        core_log_removal_with(core, queue, entry, core_end_failures(core, queue, position));
    } else {
        core_log_removal(core, queue, entry);
    }
}

/* The message leaves memory only, as one that cannot be read: what the log has of it stays there,
 * and so does what that takes of its space. */
static inline void
core_set_failures_aside(struct core *core, struct queue *queue, const struct queue_entry *entry,
                        uint64_t position)
{
    if (queue_entry_has_failed(entry)) {
        (void)core_end_failures(core, queue, position);
    }
}

/* Whether the next message may be handed out as far as its failures are concerned, or there is
 * none; those before it that were tried more often than the queue allows now die. False: it is to
 * be tried later, and core_head_is_there is called then. The queue has failures. */
bool core_head_may_be_tried(struct core *core, struct queue *queue);

/* Whether the next message is held back, for longer than anybody should wait for it. */
static inline bool
core_head_is_held(const struct queue *queue)
{
    return queue->failures != NULL && queue->failures->held_position != 0;
}

/* The head may be another one than before: what it was held back for is over then. */
void core_heed_hold(struct core *core, struct queue *queue);

/* The queue's settings are others: if it does not keep strict order any more, the message that it
 * was held back for waits without it. */
void core_review_hold(struct core *core, struct queue *queue);

/* The content that the next message, which has failed before if `*copy_out` is set, is to be handed
 * out with; its count is the caller's. Else the message's own will do. STATUS_NO_MEMORY. The queue
 * has failures, and its head is ready. */
MUST_CHECK enum status core_show_head(struct core *core, struct queue *queue, uint32_t frame_max,
                                      struct content_ref *copy_out);

/* As queue_push, for a message from the log that has failed before, or waits for its next try; one
 * that may be tried now comes in behind what was restored before it. STATUS_NO_MEMORY. */
struct recovered_row;
MUST_CHECK enum status core_restore_failed(struct core *core, struct queue *queue,
                                           struct queue_entry *entry,
                                           const struct recovered_row *row);

/* Every ready message is about to be dropped: forgets what is known of their failures. */
void core_purge_failures(struct core *core, struct queue *queue);

/* The same for every message that waits. */
void core_purge_waiting_failures(struct core *core, struct queue *queue);

/* The queue is deleted: what has not been settled keeps its row until it is. */
void core_stop_retries(struct core *core, struct queue *queue);

/* Parks a message that has died of its limit and has nowhere to go. STATUS_NO_MEMORY: it still is
 * dying; on STATUS_OK the count of its content has passed on. */
MUST_CHECK enum status core_park(struct core *core, struct queue *queue,
                                 const struct dying_message *message);

/* Somebody has the message tried anew that is at `position` and waits, or is parked: what is known
 * of its failures counts no more, and is written down so. It still waits. */
void core_forgive(struct core *core, struct queue *queue, const struct queue_entry *entry,
                  uint64_t position);

#endif

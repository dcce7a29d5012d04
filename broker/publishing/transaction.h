/* SPDX-License-Identifier: Apache-2.0 */
/* What a channel in transaction mode has said and not yet meant: messages that passed their checks
 * and were routed, and settlements. A transaction that is larger than the limits here closes its
 * channel with 406, which discards it. */
#ifndef BOURSE_BROKER_PUBLISHING_TRANSACTION_H
#define BOURSE_BROKER_PUBLISHING_TRANSACTION_H

#include "base/status.h"
#include "broker/channels/channel.h"

enum {
    TRANSACTION_OPERATIONS_MAX = 1000000,      /* copies for queues, and settlements */
    TRANSACTION_OCTETS_MAX = 64 * 1024 * 1024, /* of bodies, each copy counted */
};

/* How long the memory alarm may last before transactions are discarded for it. */
enum { TRANSACTION_PATIENCE_MS = 10000 };

struct transaction *transaction_new(struct channel *channel);

/* What it has so far: copies for queues, and settlements. NULL has nothing. */
uint32_t transaction_publish_count(const struct transaction *transaction);
uint32_t transaction_settled_count(const struct transaction *transaction);

/* Each counts the content once more; the first two hold their target by reference and by name.
 * `row_due_ms` is when the queue is to have the message, as a row of it is due (queues/waiting.h);
 * 0: with the commit. A return goes behind the targets of a mandatory message: it is sent if the
 * commit reaches none of them. STATUS_FAULT: 406 when the transaction grows too large, 506 without
 * memory. */
MUST_CHECK enum status transaction_add_message(struct channel *channel, struct queue *queue,
                                               struct content_ref content, uint64_t row_due_ms,
                                               struct fault *fault);
MUST_CHECK enum status transaction_add_reply(struct channel *channel, struct bytes name,
                                             struct content_ref content, struct fault *fault);
MUST_CHECK enum status transaction_add_return(struct channel *channel, struct content_ref content,
                                              struct fault *fault);

/* Takes the item, which was taken out of the table. On STATUS_FAULT it has gone back to its
 * queue. */
MUST_CHECK enum status transaction_add_settlement(struct channel *channel, struct unacked *item,
                                                  enum settlement settlement, struct fault *fault);

/* Carries everything out, messages first, in the order in which it was said; what is durable of it
 * is one batch of the log. `*token_out` is what commit-ok has to wait for. STATUS_FAULT: 506, or
 * 406 when it does not fit the log. Then nothing of it has happened, and it is still there: it is
 * discarded with the channel, which the fault ends. */
MUST_CHECK enum status transaction_commit(struct channel *channel, uint64_t *token_out,
                                          struct fault *fault);

/* Call when the memory alarm goes on, and when it ends. What a transaction has cannot leave memory,
 * and the publishers of all of them are blocked: they could wait for each other's memory for ever.
 * So while the alarm lasts for TRANSACTION_PATIENCE_MS and longer, and they keep more than a
 * quarter of the mark, the oldest is discarded, and then the next: its channel ends with 406. */
void core_watch_transactions(struct core *core, bool memory_is_short);

/* Drops the messages; what was settled is open again on the channel. STATUS_FAULT: 506. */
MUST_CHECK enum status transaction_rollback(struct channel *channel, struct fault *fault);

#endif

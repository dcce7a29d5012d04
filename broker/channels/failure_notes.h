/* SPDX-License-Identifier: Apache-2.0 */
/* Failure notes: before a consumer rejects a message, it may say why, by a small message to the
 * exchange bourse.control of its vhost, routing key failure-note, on the channel on which it was
 * handed the message. The note is kept with the open delivery until that is settled: with an
 * acknowledgement it goes, with a death it travels with the dead letter (failure.h), and where the
 * message is tried again in a queue that counts it stays with that. It is in no queue. A later note
 * takes the place of an earlier one.
 *
 * Who has a delivery open may say why it failed: no right to write is asked for. In a transaction a
 * note takes effect at once, and stays with the delivery if that is open again after a rollback.
 *
 * Memory counts with that of the queues. What one connection may have noted of open deliveries is
 * bounded, in number and octets: nobody fills the memory mark with it. */
#ifndef BOURSE_BROKER_CHANNELS_FAILURE_NOTES_H
#define BOURSE_BROKER_CHANNELS_FAILURE_NOTES_H

#include "broker/channels/channel.h"
#include "broker/message/failure.h"

#define CONTROL_EXCHANGE "bourse.control"
#define CONTROL_KEY_NOTE "failure-note"

enum {
    FAILURE_NOTE_OCTETS_MAX = 4096,     /* of properties and body */
    FAILURE_NOTES_MAX = 1024,           /* of one connection, for deliveries that are open */
    FAILURE_NOTES_OCTETS_MAX = 1 << 20, /* of memory, of one connection */
};

/* Whether the publish is a note. The exchange may be a client's own of that name, from before there
 * was this one: then it is an ordinary message. */
bool channel_is_note(const struct channel *channel, const struct net_event *event);

/* Keeps the note. STATUS_FAULT: 406, it is malformed, too large, of no open delivery, or too much
 * with the others; 506, there is no memory. */
MUST_CHECK enum status channel_take_note(struct channel *channel, const struct net_event *event,
                                         struct fault *fault);

/* Takes the note of a delivery that ends; NULL: it has none. Owned by the caller, who calls
 * core_forget_note when it is freed. */
struct failure_note *channel_end_note(struct channel *channel, uint64_t tag);

/* The same, and frees it. */
void channel_drop_note(struct channel *channel, uint64_t tag);

/* Frees what is known of a failure, its note included; NULL is fine. Its memory counts no more. */
void core_free_failure(struct core *core, struct failure **failure);

/* A message dies with this attempt, which its queue has counted: what is known of it; NULL when
 * there is no note, or no memory to carry it. Its memory counts. */
struct failure *channel_end_failed(struct channel *channel, uint64_t tag, enum row_verdict verdict);

/* The same for a delivery that was rejected for good; NULL when there is no note, and no earlier
 * failure, or no memory. */
struct failure *channel_end_rejected(struct channel *channel, const struct unacked *item,
                                     enum row_verdict verdict);

/* The message is tried again after counted failure `number` (0: one that does not count): the note
 * of the delivery, if there is one, is kept with it (queues/failure_history.h). */
void channel_keep_note(struct channel *channel, const struct unacked *item, struct failure_row *row,
                       uint32_t number);

#endif

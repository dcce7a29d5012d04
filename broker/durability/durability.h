/* SPDX-License-Identifier: Apache-2.0 */
/* What the core writes down, and what waits until it is written. Without a store (memory-only mode)
 * every call here is a no-op and nothing waits.
 *
 * Two things wait: answers and confirms for the commit of what they stand for (commit_wait.h), and
 * the head of a queue for its mark (handing_out.h). */
#ifndef BOURSE_BROKER_DURABILITY_DURABILITY_H
#define BOURSE_BROKER_DURABILITY_DURABILITY_H

#include "broker/core/core.h"
#include "queues/queue.h"
#include "store/io_job.h"
#include "store/journal.h"
#include "store/recovery.h"
#include "store/space.h"

/* How long an acknowledgement may wait for company before it is written, and then for a flush that
 * nobody else asks for. */
enum {
    CORE_WRITE_WAIT_MS = 10,
    CORE_FLUSH_WAIT_MS = 90,
};

/* Octets handed to the log and not yet written beyond which publishers are not read; they are read
 * again below half of it. */
enum { CORE_LOG_BACKLOG_OCTETS = 8 * 1024 * 1024 };

/* From now on what is durable goes to `journal`; its rows are counted in `space`. Both are
 * borrowed, and outlive the core or are taken away with NULL. */
void core_attach_store(struct core *core, struct journal *journal, struct space *space);

static inline bool
core_has_log(const struct core *core)
{
    return core->journal != NULL;
}

/* Messages ------------------------------------------------------------------------------------- */

/* Whether a copy of the content in that queue has to survive a restart. */
bool core_logs(const struct core *core, const struct queue *queue, const struct content *content);

/* Starts the list of durable queues that one content goes to (`expiration` as in struct
 * logged_message); core_log_target adds one, with a mark when a consumer waits there, and with the
 * deadline and the level that the message has in that queue; core_log_publish writes the message
 * down for all of them and gives it its LSN (0: the list is empty). STATUS_FULL: message and list
 * do not fit a segment together; STATUS_NO_MEMORY. Both change nothing. */
void core_log_begin(struct core *core, const struct content *content, uint64_t expiration);
MUST_CHECK enum status core_log_target(struct core *core, const struct queue *queue);
/* The same with what else the log keeps of the message in that queue: until when it waits, its
 * level; a deadline that queue or message ask for, and the level, are set here. NULL or empty:
 * nothing, as core_log_target. Neighbours with the same share a record. */
MUST_CHECK enum status core_log_target_with(struct core *core, const struct queue *queue,
                                            const struct row_state *state);
/* core_log_target for a queue that is to have the message when `row_due_ms` has come, as a row of
 * it is due (queues/waiting.h). Its deadline counts from then. */
MUST_CHECK enum status core_log_delayed_target(struct core *core, const struct queue *queue,
                                               uint64_t row_due_ms);
/* One or the other; `row_due_ms` 0: the queue is to have it at once. */
static inline MUST_CHECK enum status
core_log_target_until(struct core *core, const struct queue *queue, uint64_t row_due_ms)
{
    return row_due_ms == 0 ? core_log_target(core, queue)
                           : core_log_delayed_target(core, queue, row_due_ms);
}
MUST_CHECK enum status core_log_publish(struct core *core, struct content_ref content,
                                        uint64_t *lsn_out);

/* Whether core_log_target keeps more of such a message in that queue than that it is there. */
bool core_log_keeps_state(const struct queue *queue, const struct content *content,
                          uint64_t expiration);

/* What a transaction will write down, at most. */
struct log_need {
    uint32_t publish_count;  /* messages with a durable queue */
    uint32_t targets_max;    /* queues of the one with most of them */
    uint32_t states_max;     /* the same of those that the log keeps something of; their records
                                (record_row_state_size_max, one each) are in record_octets */
    uint64_t content_octets; /* each content rounded up to RECORD_ALIGNMENT */
    uint64_t record_octets;
};

/* Has all of it stand or fall together, and none of the calls above and below fail for it, until
 * the tick ends. STATUS_FULL: a segment cannot hold it; STATUS_NO_MEMORY. Both write nothing down.
 */
MUST_CHECK enum status core_log_reserve(struct core *core, const struct log_need *need);

/* Whether a segment can hold it. */
bool core_log_fits(const struct core *core, const struct log_need *need);

/* The message, whose state stands in the log at `state_lsn` (core_log_return; 0: nowhere), is done
 * with in `queue`: acknowledged, dropped, delivered for good. */
void core_log_removal_with(struct core *core, const struct queue *queue,
                           const struct queue_entry *entry, uint64_t state_lsn);
/* The same for one without a state. */
static inline void
core_log_removal(struct core *core, const struct queue *queue, const struct queue_entry *entry)
{
    if (queue_entry_lsn(entry) != 0) {
        core_log_removal_with(core, queue, entry, 0);
    }
}

/* The same for a message that was purged from the queue with that id; 0: the queue is gone. */
void core_log_discarded_with(struct core *core, uint64_t queue_id, const struct queue_entry *entry,
                             uint64_t state_lsn);
void core_log_discarded(struct core *core, uint64_t queue_id, const struct queue_entry *entry);

/* Has the log keep `state` of the message in `queue` in place of what it knew, which stands at
 * `state_lsn` (0: nothing, or what came with the message): a retry that waits, a delivery that
 * counts; with the attempts that have failed (NULL: nothing is known of any). Returns where the new
 * one stands; whoever has the entry keeps that with it and gives it back here, or to one of the two
 * above when the message leaves. What is in no log, or in a queue that is gone, is left as it is,
 * and `state_lsn` comes back. The state goes with the tick's batch; who has to wait for it takes
 * core_log_token. */
uint64_t core_log_return(struct core *core, const struct queue *queue,
                         const struct queue_entry *entry, const struct row_state *state,
                         const struct row_attempts *attempts, uint64_t state_lsn);

/* What the log keeps at `state_lsn` (0: nothing) of a message that is about to leave by itself
 * means nothing any more. */
void core_log_end_state(struct core *core, const struct queue *queue, uint64_t state_lsn);

/* Topology ------------------------------------------------------------------------------------- */

/* What a record of docs/store-format.md takes beside its texts and tables, at most. */
enum { CORE_RECORD_FIXED = 96 };

/* Call before a change whose record has so many octets of texts and tables: a change that was made
 * can be neither refused nor forgotten. STATUS_FULL: it would not fit a segment; STATUS_NO_MEMORY.
 * Without a log every change is fine. */
MUST_CHECK enum status core_prepare_record(struct core *core, uint64_t text_octets);

/* Where the next record is encoded (store/record.h: a SET or a DELETE); empty. */
struct buffer *core_begin_record(struct core *core);

/* Hands over what was encoded there; nothing when there is no log. */
void core_log_record(struct core *core);

/* The records of this tick that follow, so many octets in all, stand or fall together, where one
 * segment has room for them. */
void core_log_together(struct core *core, uint64_t record_octets);

/* What an answer about durable objects has to wait for: every change of them so far. */
static inline uint64_t
core_topology_token(const struct core *core)
{
    return core->topology_token;
}

/* Everything written down so far. */
uint64_t core_log_token(const struct core *core);
bool core_is_committed(const struct core *core, uint64_t token);

/* The loop ------------------------------------------------------------------------------------- */

/* Hands the tick's batch over, with a flush if somebody waits. What nobody waits for goes at once
 * as well, if it is much or has a message in it; a few records go with the next batch that somebody
 * waits for, or by themselves after CORE_WRITE_WAIT_MS. While a flush is under way a few messages
 * wait as well: they go when it is done, which is when the log's thread would take them. */
void core_seal_tick(struct core *core);

/* Whether the next one has something to do at once: to hand over, or give a deadline to, what a
 * tick wrote down after its batch was handed over, as purges do, or a flush. */
bool core_wants_seal(const struct core *core);

/* The journal's position has moved. */
void core_on_written(struct core *core);
void core_on_committed(struct core *core);

/* Whether the log has more to write than publishers may add to. */
bool core_log_is_behind(const struct core *core);

/* Call when a client has had something written down: while the log has more to write than
 * publishers may add to, the connection is not read. */
void connection_heed_log(struct connection *connection);

/* Recovery ------------------------------------------------------------------------------------- */

/* Puts one message back; recovery_sink.row. STATUS_CORRUPT: it names a queue that is not there. */
MUST_CHECK enum status core_restore_row(void *context, const struct recovered_row *row);

#endif

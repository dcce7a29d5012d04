/* SPDX-License-Identifier: Apache-2.0 */
/* The core's end of the log: everything durable that a tick does is appended here and gets its LSN
 * at once; at the end of the tick the batch is sealed and handed to the log thread. How far the log
 * has come back as two numbers: written (in the kernel) and committed (on disk as configured).
 * Nobody else knows what makes a commit.
 *
 * Who must wait remembers journal_token() after its last append, and waits until
 * journal_is_committed(token).
 *
 * A batch never crosses a segment: when the next append would not fit, the batch so far is handed
 * over and a new one begins in the next segment. What must not be torn apart (a transaction) asks
 * for room first.
 *
 * Owner: the core thread. Makes no system call. */
#ifndef BOURSE_STORE_JOURNAL_H
#define BOURSE_STORE_JOURNAL_H

#include "base/status.h"
#include "store/batch.h"
#include "store/chunk.h"

struct journal;

/* Where batches go. */
struct journal_port {
    /* Takes the batch. It comes back through journal_batch_written. */
    void (*submit)(void *context, struct batch *batch);
    void *context;
};

/* A segment is left early when it speaks of so many removals: its index names each with 16 octets,
 * and a segment that holds nothing else would have 30 million. */
enum { JOURNAL_REMOVALS_MAX = 2 * 1024 * 1024 };

/* The segment that the journal begins in, and those that follow. */
struct journal_settings {
    uint64_t epoch;
    uint16_t group;
    uint64_t segment_number; /* of the first segment of this epoch */
    uint64_t segment_base;
    uint64_t segment_capacity; /* of its file, header included */
    uint64_t slot_size;        /* of every later segment: its file and its place in LSN space */
    uint32_t removals_max;     /* of a segment, but for the last batch's; 0: JOURNAL_REMOVALS_MAX */
};

/* `pool` and `port` are borrowed. The first batch holds the EPOCH record. */
struct journal *journal_new(const struct journal_settings *settings, struct chunk_pool *pool,
                            const struct journal_port *port);
void journal_free(struct journal **journal); /* the open batch is dropped; none is under way */

/* Appends a message for `queue_count` durable queues (ids as in store/record.h, with their flag).
 * The content is kept until it is written; `*lsn_out` is its name for good. STATUS_NO_MEMORY
 * changes nothing. The caller has made sure that it fits a segment (journal_fits). */
MUST_CHECK enum status journal_publish(struct journal *journal, struct content_ref content,
                                       const uint64_t *queues, uint32_t queue_count,
                                       uint64_t *lsn_out);

/* What the log is to keep of a new message in some of the queues that it goes to. */
struct journal_state {
    struct row_state state;
    uint32_t first, count; /* those queues: from which of the list on, and how many; at least 1 */
};

/* The same with what the log keeps of it in some of those queues. The states are in the batch of
 * the message and go with it; space does not count them. */
MUST_CHECK enum status journal_publish_with(struct journal *journal, struct content_ref content,
                                            const uint64_t *queues, uint32_t queue_count,
                                            const struct journal_state *states,
                                            uint32_t state_count, uint64_t *lsn_out);

/* What the log keeps from now on of the message in that queue, in place of what it knew; with the
 * attempts at it that failed (NULL: none, or nobody knows when). Returns
 * where it stands: its segment is needed until the message leaves the queue or the next state takes
 * the place of this one (space_add_state). It is given back by the same number then. Nobody waits
 * for it unless they ask for a token. */
uint64_t journal_return(struct journal *journal, uint64_t queue, uint64_t lsn,
                        const struct row_state *state, const struct row_attempts *attempts);

/* The message is done with in that queue. Nobody waits for it unless they ask for a token. */
void journal_remove(struct journal *journal, uint64_t queue, uint64_t lsn);

/* Messages of the queue up to `lsn` may have been handed out. */
void journal_hand_out(struct journal *journal, uint64_t queue, uint64_t lsn);

/* Appends one encoded record (a SET or a DELETE). */
void journal_put(struct journal *journal, struct bytes record);

/* Whether contents of so many octets in all (each rounded up to 8), with `record_octets` of
 * records, fit one batch at all. */
bool journal_fits(const struct journal *journal, uint64_t content_octets, uint64_t record_octets);

/* What is appended until the tick ends, up to so many octets, will be in one batch. They fit. */
void journal_reserve(struct journal *journal, uint64_t content_octets, uint64_t record_octets);

/* The same, and no journal_publish of the next `publish_count` fails. STATUS_NO_MEMORY appends
 * nothing. */
MUST_CHECK enum status journal_reserve_publishes(struct journal *journal, uint32_t publish_count,
                                                 uint64_t content_octets, uint64_t record_octets);

/* Names everything appended so far; 0 while nothing was ever appended. */
uint64_t journal_token(const struct journal *journal);

static inline bool
journal_token_is_committed(uint64_t token, uint64_t commit_lsn)
{
    return token <= commit_lsn;
}

/* The time of what is appended from now on, as it stands in the log: the tick's wall clock. */
void journal_set_time(struct journal *journal, int64_t wall_ms);

/* The end of the tick: hands over what was appended. `wants_flush`: somebody waits for it, or for
 * something before it. Without, it is written and flushed with the next that wants it; see
 * journal_can_wait. True when something was handed over. */
bool journal_seal(struct journal *journal, bool wants_flush);

/* Whether the open batch (false: none) may as well stay open for a while: it is small, nobody waits
 * for it to be written, and it has no message, or the log's thread takes nothing before the flush
 * is done that it is in, or soon will be. Then journal_committed is called. Handing a few records
 * over by themselves costs more than they do: it wakes a thread. */
bool journal_can_wait(const struct journal *journal);

/* Whether something was appended that no journal_seal has handed over yet. */
bool journal_is_open(const struct journal *journal);

/* True while something was handed over that no flush was asked for: after 100 ms call journal_seal
 * with `wants_flush`, which hands over an empty batch if need be. */
bool journal_wants_flush(const struct journal *journal);

/* The port's reports: the batch is in the kernel (the journal releases its contents and keeps it
 * for later); everything below `commit_lsn` is on disk. */
void journal_batch_written(struct journal *journal, struct batch *batch);
void journal_committed(struct journal *journal, uint64_t commit_lsn);

uint64_t journal_written_lsn(const struct journal *journal);
uint64_t journal_commit_lsn(const struct journal *journal);
/* Where the batch under way begins: a message at or above it is not written yet. */
uint64_t journal_open_lsn(const struct journal *journal);
/* The segment under way. */
uint64_t journal_segment_number(const struct journal *journal);
uint64_t journal_segment_base(const struct journal *journal);
/* Segments of this epoch that the journal has left behind, the oldest first, until they are
 * forgotten: where the last batch of each ends. */
struct journal_segment {
    uint64_t number, base_lsn, end_lsn;
};
const struct journal_segment *journal_oldest_left(const struct journal *journal); /* NULL: none */
void journal_forget_left(struct journal *journal);                                /* that one */
/* Octets handed over and not yet written: bounded by whoever feeds the core (8 MiB). */
uint64_t journal_backlog_octets(const struct journal *journal);

#endif

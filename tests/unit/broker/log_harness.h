/* SPDX-License-Identifier: Apache-2.0 */
/* A core with a log whose disk is the test's: the journal is a real one, and what it hands over is
 * written and flushed when the test says so. Every record is noted as it was handed over, so that a
 * test can compare what the log says with what the core holds. All contents and entries stay in
 * memory. */
#ifndef BOURSE_TESTS_UNIT_BROKER_LOG_HARNESS_H
#define BOURSE_TESTS_UNIT_BROKER_LOG_HARNESS_H

#include "broker/durability/durability.h"
#include "store/journal.h"
#include "store/record.h"
#include "store/space.h"
#include "tests/unit/broker/messaging.h"

/* One message in one queue. */
struct logged_row {
    uint64_t lsn, queue;
    uint64_t number; /* what the body says, as digits */
    uint32_t body_size;
    uint32_t batch;     /* which: the first is 1 */
    uint32_t end_batch; /* that says that the message is done with; 0: none does */
    bool is_marked;     /* it may have been handed out at once */
};

/* Messages of the queue up to `lsn` may have been handed out. */
struct logged_mark {
    uint64_t queue, lsn;
    uint32_t batch;
};

enum { LOG_TYPES_MAX = 64 };

struct log_rig {
    struct rig *rig;
    struct journal *journal;
    struct space *space;
    struct list handed_over; /* batches that are not written yet */
    struct logged_row *rows; /* by rising LSN */
    size_t row_count, row_capacity;
    struct logged_mark *marks;
    size_t mark_count, mark_capacity;
    uint32_t records[LOG_TYPES_MAX];    /* so many, by their type */
    uint32_t last_batch[LOG_TYPES_MAX]; /* with a record of that type */
    struct record last_state;           /* the last ROW_STATE; its queues are gone */
    struct row_attempts last_attempts;  /* of it; empty where it has none */
    uint32_t batch_count;               /* handed over */
    uint32_t written_count;             /* reported written */
    uint32_t committed_count;           /* reported committed */
    bool flush_is_due;                  /* a batch that is written wants one */
    uint32_t flush_count;               /* handed over with the wish for a flush */
};

enum { LOG_SLOT_SIZE = 4 << 20 };

/* Segments of `slot_size` octets; 0: LOG_SLOT_SIZE. User "u" exists. */
struct log_rig *log_rig_new(const struct core_settings *settings, uint64_t slot_size);
void log_rig_free(struct log_rig **log);

/* The disk: the next `max` batches reach the kernel; what has reached it is flushed, if a batch
 * asked for that; both for all of them. The core is told, and the turn ends. */
void log_write(struct log_rig *log, uint32_t max);
void log_flush(struct log_rig *log);
void log_commit(struct log_rig *log);

/* Commits as often as it takes until nothing is under way; lets time pass for what waits to be
 * written. */
void log_settle(struct log_rig *log);

/* What a recovery would find in the queue after the first `batches` batches. */
uint64_t log_row_count(const struct log_rig *log, uint64_t queue, uint32_t batches);
/* Whether the row is there then, and whether it comes back marked as redelivered. */
bool log_has_row(const struct log_rig *log, uint64_t queue, uint64_t number, uint32_t batches,
                 bool *is_marked_out);

/* Whether the message, which has just been handed out, comes back marked or not at all, at whatever
 * moment from now on the process is killed. */
bool log_tells_of_handout(const struct log_rig *log, uint64_t queue, uint64_t number);

/* Asserts that log, account of space and durable queues agree; when every message in a durable
 * queue is persistent and no purge is under way. */
void log_check(const struct log_rig *log);

/* Clients. A declared queue is durable, and its answer was waited for. */
void log_declare(struct log_rig *log, uint64_t link, const char *name);
void log_publish(struct log_rig *log, uint64_t link, const char *exchange, const char *key,
                 const char *text);
void log_publish_numbers(struct log_rig *log, uint64_t link, const char *key, int first, int last);
void select_confirms(struct rig *rig, uint64_t link, uint16_t channel);

/* Asserts that one basic.ack came for all publishes up to `number`. */
void expect_confirm(struct rig *rig, uint64_t link, uint16_t channel, uint64_t number,
                    bool multiple);

#endif

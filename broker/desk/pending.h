/* SPDX-License-Identifier: Apache-2.0 */
/* What an operator does with messages that wait for a time in a queue (queues/waiting.h): looks at
 * them, in the order in which they are due; lets them in early; takes them out.
 *
 * A message is named by its key, which the list gives: it stays the same while the message waits in
 * this process. After a restart delayed messages have others.
 *
 * What concerns many goes in slices, some rows a tick, between which clients are served; so does
 * looking for an application's message-id, which is in the content: where that is on disk it is
 * read, a block at a time, and let go of again. What is done is written down in the order in which
 * it happens.
 *
 * Owner: the core thread. */
#ifndef BOURSE_BROKER_DESK_PENDING_H
#define BOURSE_BROKER_DESK_PENDING_H

#include "broker/core/core.h"
#include "queues/waiting.h"

/* Rows that one request looks at in one tick. */
enum { CORE_PENDING_PER_TICK = 1024 };

/* One message that waits. */
struct pending_message {
    enum waiting_kind kind;
    struct due_key key;
    uint64_t due_wall_ms; /* milliseconds since 1970; INT64_MAX: it is parked */
    uint64_t lsn;         /* where the log has it; 0: in no log */
    uint32_t body_size;
    const struct content *content; /* in memory, as long as the tick lasts; NULL: it is on disk */
};

/* The messages behind `after` (NULL: from the first on), at most `max`; returns how many. */
uint32_t core_list_pending(const struct core *core, const struct queue *queue,
                           const struct due_key *after, struct pending_message *out, uint32_t max);

/* Lets one message in now; its time to live begins. What is known of its failures counts no more.
 * STATUS_REJECTED: none waits under that key. STATUS_NO_MEMORY: it still waits. */
MUST_CHECK enum status core_release_pending(struct core *core, struct queue *queue,
                                            const struct due_key *key);

/* Takes one message out for good; false: none waits under that key. It is no dead letter. */
bool core_cancel_pending(struct core *core, struct queue *queue, const struct due_key *key);

enum pending_action {
    PENDING_RELEASE,
    PENDING_CANCEL,
};

/* The same for all that waited when this was asked for; what is delivered and comes to wait
 * meanwhile may be among them. */
struct pending_request {
    enum pending_action action;
    uint32_t kinds;          /* a bit for each enum waiting_kind */
    struct bytes message_id; /* only messages with that message-id; data NULL: whatever they have.
                                Copied */
    struct bytes user;       /* who asks, for the audit. Copied */
    /* It is done: with so many messages; `unreadable` were not looked at, because their contents
     * could not be read. It is on disk when `token` is committed (core_is_committed). Called from
     * core_end_tick, never from core_request_pending. NULL: nobody asks. */
    void (*done)(void *context, uint64_t count, uint64_t unreadable, uint64_t token);
    void *context;
};

/* STATUS_NO_MEMORY changes nothing. A queue that is deleted meanwhile ends it. */
MUST_CHECK enum status core_request_pending(struct core *core, struct queue *queue,
                                            const struct pending_request *request);

/* Who asked with that context is gone: the request goes on, and nobody is told. */
void core_leave_pending(struct core *core, const void *context);

/* A slice of every request. */
void core_work_on_pending(struct core *core);

/* With the core: nobody is told. No job is under way. */
void core_forget_pending(struct core *core);

/* Within paging: an IO_FETCH or IO_SPILL for a request is back. Takes the job. */
struct paging_job;
void pending_end_fetch(struct core *core, struct paging_job *job);
void pending_end_restore(struct core *core, struct paging_job *job);

#endif

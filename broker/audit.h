/* SPDX-License-Identifier: Apache-2.0 */
/* What operators have done to the messages of queues: who, what, which messages, how many, and what
 * they said about it. Each entry is a line of the log (events audit.replay, audit.drop,
 * audit.pause, audit.resume), and the last AUDIT_KEPT of them are kept in the log of messages as
 * well, in front of what they are about, and are there after a restart.
 *
 * Owner: the core thread. */
#ifndef BOURSE_BROKER_AUDIT_H
#define BOURSE_BROKER_AUDIT_H

#include "broker/core.h"

enum { AUDIT_KEPT = 1000 };

enum audit_action { AUDIT_REPLAY, AUDIT_DROP, AUDIT_PAUSE, AUDIT_RESUME, AUDIT_ACTION_COUNT };

/* Of what goes on for a while there are two. */
enum audit_phase { AUDIT_BEGUN, AUDIT_ENDED };

/* "replay", "drop", "pause", "resume". Static memory. */
const char *audit_action_name(enum audit_action action);

/* Texts are empty where there is nothing to say. */
struct audit_entry {
    uint64_t number; /* rises by one; the first is 1 */
    int64_t wall_ms;
    enum audit_action action;
    enum audit_phase phase;
    struct bytes user, vhost, queue;
    struct bytes batch;  /* of a replay */
    struct bytes filter; /* which messages were meant, as `name="value"` pairs; empty: all */
    struct bytes target; /* of a replay: where to, the same way */
    struct bytes note;
    struct bytes outcome; /* "done", "cancelled", "given up" */
    uint64_t done_count, stayed_count;
};

/* With the core. */
struct audit;
struct audit *audit_new(void);
void audit_free(struct audit **audit);

/* A job of the desk that changes something begins, or is over. */
struct desk_job;
void audit_job(struct core *core, const struct desk_job *job, enum audit_phase phase);

/* The queue is paused, or goes on. */
void audit_pause(struct core *core, const struct queue *queue, bool is_paused, struct bytes user,
                 struct bytes note);

/* The oldest entry that is kept and has a number above `number`; NULL: there is none. Good until
 * the next one is made. */
const struct audit_entry *audit_next(const struct core *core, uint64_t number);

/* From the log, in any order. STATUS_CORRUPT: it makes no sense, or there are two of its number. */
MUST_CHECK enum status audit_restore(struct core *core, uint64_t id, struct bytes rest);

#endif

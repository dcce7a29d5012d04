/* SPDX-License-Identifier: Apache-2.0 */
/* What operators have done to messages, rights and topology: who, what, to which, how many, and
 * what they said about it. Each entry is a line of the log, and the last AUDIT_KEPT of them are
 * kept in the log of messages as well, in front of what they are about or in one batch with it, and
 * are there after a restart. What clients do over AMQP is none of it, and neither is what only
 * looks.
 *
 * Owner: the core thread. */
#ifndef BOURSE_BROKER_CHANGES_AUDIT_H
#define BOURSE_BROKER_CHANGES_AUDIT_H

#include "broker/core/core.h"

enum { AUDIT_KEPT = 1000 };

/* Numbers of the log. */
enum audit_action {
    AUDIT_REPLAY,
    AUDIT_DROP,
    AUDIT_PAUSE,
    AUDIT_RESUME,
    AUDIT_PURGE,
    AUDIT_RELEASE, /* waiting messages are let in */
    AUDIT_CANCEL,  /* waiting messages are taken out */
    AUDIT_QUEUE_DELETED,
    AUDIT_EXCHANGE_DELETED,
    AUDIT_UNBOUND,
    AUDIT_CONNECTIONS_CLOSED,
    AUDIT_TOPOLOGY_APPLIED,
    AUDIT_DEFINITIONS_IMPORTED,
    AUDIT_USER_CREATED,
    AUDIT_USER_CHANGED,
    AUDIT_USER_DELETED,
    AUDIT_USER_LIMITED,
    AUDIT_RIGHTS_GRANTED,
    AUDIT_RIGHTS_REVOKED,
    AUDIT_TOPICS_CHANGED,
    AUDIT_VHOST_CREATED,
    AUDIT_VHOST_CHANGED,
    AUDIT_VHOST_DELETED,
    AUDIT_VHOST_LIMITED,
    AUDIT_VHOST_PROTECTED,
    AUDIT_VHOST_UNPROTECTED,
    AUDIT_POLICY_PUT,
    AUDIT_POLICY_DELETED,
    AUDIT_PARAMETER_PUT,
    AUDIT_PARAMETER_DELETED,
    AUDIT_TRACE_STARTED,
    AUDIT_TRACE_STOPPED,
    AUDIT_TAKE,   /* messages by get, for good */
    AUDIT_REJECT, /* the same, as a consumer rejects */
    AUDIT_ACTION_COUNT
};

/* Of what goes on for a while there are two. */
enum audit_phase { AUDIT_BEGUN, AUDIT_ENDED };

/* The event of the log: "audit.replay", "user.created". Static memory. */
const char *audit_action_event(enum audit_action action);
/* The same without "audit." in front: "replay", "user.created". */
const char *audit_action_name(enum audit_action action);

/* Texts are empty where there is nothing to say. */
struct audit_entry {
    uint64_t number; /* rises by one; the first is 1 */
    int64_t wall_ms;
    enum audit_action action;
    enum audit_phase phase;
    struct bytes user;   /* "(local)": the control socket; "(file)": the file of `serve` */
    struct bytes vhost;  /* empty: it is about none, or about more than one */
    struct bytes queue;  /* whose messages, or what was deleted */
    struct bytes batch;  /* of a replay */
    struct bytes filter; /* which messages were meant, as `name="value"` pairs; empty: all */
    struct bytes target; /* of a replay where to, of a change to what; the same way */
    struct bytes note;
    struct bytes outcome; /* "done", "cancelled", "given up"; "interrupted": the broker stopped */
    uint64_t done_count;  /* messages, connections, objects */
    uint64_t stayed_count;
};

/* With the core. */
struct audit;
struct audit *audit_new(void);
void audit_free(struct audit **audit);

/* Adds an entry, with a number and a time of its own; views for the call. The line of the log is
 * written by whoever calls it, where the event does not begin with "audit.". */
void audit_add(struct core *core, struct audit_entry entry);

/* What a method of AMQP has done for an operator; nothing where `connection` is a client's. */
struct connection;
void audit_method(const struct connection *connection, const struct audit_entry *entry);
/* The same of what tools do again and again: within a minute after an entry that says the same, and
 * with none in between, that one has the sum and the later time. */
void audit_method_again(const struct connection *connection, const struct audit_entry *entry);
void audit_deleted_exchange(const struct connection *connection, struct bytes exchange);
void audit_unbound(const struct connection *connection, struct bytes source,
                   struct bytes destination, struct bytes routing_key);

/* A job of the desk that changes something begins, or is over. */
struct desk_job;
void audit_job(struct core *core, const struct desk_job *job, enum audit_phase phase);

/* Waiting messages of a queue are to be let in or taken out, or have been: with phase, counts, and
 * the filter where the request does not say which. */
struct pending_request;
void audit_pending(struct core *core, const struct queue *queue,
                   const struct pending_request *request, struct audit_entry entry);

/* The queue is paused, or goes on. */
void audit_pause(struct core *core, const struct queue *queue, bool is_paused, struct bytes user,
                 struct bytes note);

/* The oldest entry that is kept and has a number above `number`; NULL: there is none. Good until
 * the next one is made. */
const struct audit_entry *audit_next(const struct core *core, uint64_t number);

/* From the log, in any order. STATUS_CORRUPT: it makes no sense, or there are two of its number. */
MUST_CHECK enum status audit_restore(struct core *core, uint64_t id, struct bytes rest);

#endif

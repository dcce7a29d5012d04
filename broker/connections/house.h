/* SPDX-License-Identifier: Apache-2.0 */
/* A connection of the house: what the management interface does for a user goes the way of a
 * client's methods, through the same handlers, rights and texts, and its answers wait for the same
 * commits. It has a link that no network knows, no socket, no heartbeat and no window, and counts
 * neither as a connection nor as a channel anywhere.
 *
 * One call at a time: house_call or house_publish, then house_is_answered in every slice of the
 * request (broker/core/request.h) that wants it. What was said is read from house->answer until the
 * next call. A refusal (answer.reply_code not 0) ends the house's channel: close the house then.
 *
 * Owner: the core thread. Never opened, called or closed from within a handler: only from a
 * request's slice. */
#ifndef BOURSE_BROKER_CONNECTIONS_HOUSE_H
#define BOURSE_BROKER_CONNECTIONS_HOUSE_H

#include "amqp/method.h"
#include "base/buffer.h"
#include "broker/connections/connection.h"
#include "broker/users/user.h"

/* What came of a call. Views live until the next call or the end of the house. */
struct house_answer {
    uint16_t reply_code;  /* 0: it was carried out; else as a client would have been told, with */
    char reply_text[256]; /* NUL-terminated; "NOT_FOUND - no queue 'q' in vhost '/'" */
    struct method method; /* declare-ok and so on; METHOD_BASIC_ACK or _NACK of a publish */
    bool was_returned;    /* publish: no queue took it */
    struct bytes exchange, routing_key, properties,
        body; /* of basic.get-ok: what the content says */
};

struct house {
    struct core *core;
    struct connection *connection; /* owned */
    bool is_answered;              /* nothing is under way */
    bool is_confirming;            /* the channel was put into confirm mode */
    struct house_answer answer;
    struct buffer octets; /* what the answer's views point to */
};

/* A house for who has not logged in yet. Takes `peer`: where the caller comes from, which decides
 * what a user who may come from loopback only is told, and how guessing is slowed. */
struct house *house_new(struct core *core, struct net_peer *peer);
void house_free(struct house **house); /* ends what it has: see connection_free */

/* Checks a password, as AMQP's PLAIN does: by the same desk, cache and throttle. Answered with
 * reply_code 0 and house_user set, or with 403. */
void house_login(struct house *house, struct bytes user, struct bytes password);

/* The same without a password: for a user who has been checked before, or the house itself
 * (core_house_user), which may do everything. */
void house_log_in_as(struct house *house, struct user *user);

static inline struct user *
house_user(const struct house *house)
{
    return house->connection->user;
}

/* Opens the vhost, with rights as connection.open asks for them but for limits. STATUS_FAULT: 530
 * `vhost V not found`, `access to vhost 'V' refused for user 'U'`. */
MUST_CHECK enum status house_enter(struct house *house, struct bytes vhost, struct fault *fault);

/* All three in one: for a user by name (data NULL: the house itself) in a vhost, without a
 * password. NULL: `fault` says why, 403 when there is no such user any more. */
struct house *house_open(struct core *core, struct bytes user, struct bytes vhost,
                         struct fault *fault);

/* Carries out a method of class exchange, queue, basic or tx on its one channel. Settlements are
 * answered at once, all others when a client would be. */
void house_call(struct house *house, const struct method *method);

struct house_message {
    struct bytes exchange, routing_key;
    struct bytes properties; /* a property block: flag words and values, at least two octets */
    struct bytes body;
};

/* Publishes, mandatory and confirmed: answered by METHOD_BASIC_ACK once it is on disk, or by
 * METHOD_BASIC_NACK when a queue refused it. While publishers are blocked it is refused at once,
 * with 506. */
void house_publish(struct house *house, const struct house_message *message);

static inline bool
house_is_answered(const struct house *house)
{
    return house->is_answered;
}

/* Who the local control socket speaks for. */
struct user *core_house_user(struct core *core);

/* Within the core: an action of the house's connection. */
void house_take_action(struct house *house, const struct net_action *action);

#endif

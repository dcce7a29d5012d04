/* SPDX-License-Identifier: Apache-2.0 */
/* A message that goes on from a queue to the queues behind an exchange, as a new message: with the
 * body that it had, other headers, and perhaps other keys. A dead letter (death_move.c) is one, and
 * so is what an operator replays (replay.c).
 *
 * Moving it has two halves, like a commit. The first finds out whom it reaches, makes the new
 * content and has room made for all of it, in queues and log; it may fail, and has changed nothing
 * then. The second changes things, and nothing in it can fail. The record of the removal from where
 * the message stood has room in the same batch of the log; it is the caller's to write.
 *
 * Owner: the core thread. */
#ifndef BOURSE_BROKER_PUBLISHING_LETTER_H
#define BOURSE_BROKER_PUBLISHING_LETTER_H

#include "amqp/properties.h"
#include "broker/publishing/publish.h"

struct exchange;
struct vhost;

struct letter {
    struct core *core;
    struct vhost *vhost;
    struct exchange *exchange;    /* to which it goes; letter_open leaves it alone */
    const struct content *old;    /* in memory as long as the letter is used */
    struct properties properties; /* the new ones: first those of `old`; views */
    struct bytes routing_key;     /* the new one */
    bool has_own_key;             /* letter_set_key gave it, and all others are gone */
    uint16_t flags;               /* of enum content_flag, beside what `old` says of its
                                     persistence */
    uint32_t key_count;
    uint32_t shown_key_count; /* of the keys: those that are not from BCC */
    struct bytes keys[1 + PUBLISH_HEADER_KEYS_MAX];
    struct content_ref content; /* the new one, pinned between the halves */
};

/* Begins with what `old` says: its properties and all the keys under which it was published, its
 * own first, then those of CC and BCC. `old` may lie outside of the chunk pool. */
void letter_open(struct letter *letter, struct core *core, struct vhost *vhost,
                 const struct content *old);

/* The key takes the place of all others; one that no frame can carry is cut. A view. */
void letter_set_key(struct letter *letter, struct bytes key);

/* What its headers may take: with the rest of the properties, and what lies behind the body, they
 * fit what a message may take that a client has published. */
size_t letter_header_octets_max(const struct letter *letter);

/* Gives it these headers; a view. */
void letter_set_headers(struct letter *letter, struct bytes headers);

/* Leaves in core->routes the queues that are to have it, and returns what that cost (core_spend),
 * which is the caller's to spend. */
uint32_t letter_route(const struct letter *letter);

/* The first half, for the queues in core->routes, of which there is one. `block` is scratch.
 * STATUS_FULL: no segment of the log holds it with all its queues; STATUS_NO_MEMORY. */
MUST_CHECK enum status letter_prepare(struct letter *letter, struct buffer *block);

/* What was prepared is not to be. */
void letter_abandon(struct letter *letter);

/* The second half: writes the message down and gives every queue its copy. */
void letter_publish(struct letter *letter);

#endif

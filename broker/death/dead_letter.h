/* SPDX-License-Identifier: Apache-2.0 */
/* How a message dies: it was rejected, its time is over, its queue is too long or it came back too
 * often. Every way in which a message leaves a queue unwanted ends in core_let_die and nowhere
 * else; what was consumed, purged, or lay in a deleted queue does not die.
 *
 * A queue with a dead-letter exchange keeps what has died in it, in the order of deaths
 * (queues/dying.h), until it can be moved: core_move_dead publishes each to that exchange. Its
 * removal and the new message are in one batch of the log, so that after a crash it is in exactly
 * one place: in its queue as long as it was not moved, else in the queues that it was moved to.
 * What stands in the way (its content is on disk, memory or the disk is short, the tick's share is
 * used up) makes it wait, and nothing makes it go.
 *
 * Owner: the core thread. Makes no system call. */
#ifndef BOURSE_BROKER_DEATH_DEAD_LETTER_H
#define BOURSE_BROKER_DEATH_DEAD_LETTER_H

#include "broker/core/core.h"
#include "queues/queue.h"

/* What is moved in one tick: messages of one queue; octets of bodies in all, for each is copied;
 * and work in all as core_spend counts it, a small part of a tick's, for one death may reach many
 * queues. */
enum {
    CORE_DEATHS_PER_QUEUE = 256,
    CORE_DEATH_OCTETS_PER_TICK = 1024 * 1024,
    CORE_DEATH_WORK_PER_TICK = CORE_WORK_PER_TICK / 16,
};

/* How long those wait that could not be moved for lack of memory. */
enum { CORE_DEATH_RETRY_MS = 20 };

struct dead_letters;
struct dead_letters *dead_letters_new(struct core *core);

/* With the core: lets go of what was not moved; nothing is written down. */
void dead_letters_free(struct dead_letters **letters);

/* Room for so many more messages to die of that in the queue, beyond those that die already: call
 * before they leave it. STATUS_NO_MEMORY: they have to stay, or what would let them die has to
 * fail. */
MUST_CHECK enum status core_reserve_deaths(struct queue *queue, enum death_reason reason,
                                           uint32_t count);

/* A message of `queue` dies: it goes to the queue's dead-letter exchange, or is dropped where there
 * is none or the queue is deleted. Its removal from the queue and what is published in its place
 * are in one batch of the log.
 *
 * The message has left the queue's ready and unacked ones before (queue_pop, queue_settle): the
 * caller passes on the entry, which is copied, and with it the count of its content, its row in
 * the log and what is known of its failures. `position` is where it stood; 0: it never came in. One
 * that dies of DEATH_DELIVERY_LIMIT is not dropped: what nobody takes is parked (retry.h). There
 * is room for it (core_reserve_deaths) where its deaths are kept, so it never
 * fails: what cannot be moved now is kept and moved later. It routes nothing itself, so it may be
 * called while the result of a routing pass is in use. */
void core_let_die(struct core *core, struct queue *queue, const struct queue_entry *entry,
                  uint64_t position, enum death_reason reason);

/* The same for a message of which more is known; takes `failure`, whose memory counts
 * (failure_notes.h); NULL: as above. */
void core_let_failed_die(struct core *core, struct queue *queue, const struct queue_entry *entry,
                         uint64_t position, enum death_reason reason, struct failure *failure);

/* Adds what the log will be given when the message dies and is moved at once, its removal excepted:
 * about as much, for nobody knows yet how many queues will have it. */
struct log_need;
void core_add_death_need(const struct core *core, const struct queue *queue,
                         const struct queue_entry *entry, struct log_need *need);

/* Moves what is dying and can be moved, within the bounds of a tick. Call at the end of a tick, and
 * where a client's method has let messages die, for what it asks next is to see them where they
 * went; never while the result of a routing pass is in use. */
void core_move_dead(struct core *core);

/* The deaths that somebody waits for: those behind `first`, up to `last`. */
struct death_range {
    uint64_t first, last; /* numbers of deaths */
};

/* The number of the last death so far; 0: none. */
uint64_t core_last_death(const struct core *core);

/* Whether what died in that range was moved or dropped. */
bool core_deaths_are_over(const struct core *core, struct death_range range);

/* The tick begins: it has its share again. */
void core_begin_moving_dead(struct core *core);

/* Commits whose dead letters were all moved go on: they are answered when that is on disk. */
void core_release_committers(struct core *core);

/* Whether core_move_dead has something to do at once. */
bool core_can_move_dead(const struct core *core);

/* Takes the message of the queue that died first out of its list, for whoever moves it
 * (death_move.h): lets go of its content, or passes the count of that on. */
void core_take_first_dead(struct core *core, struct queue *queue);
void core_pass_first_dead_on(struct core *core, struct queue *queue);

/* The queue's first dying message cannot be moved, ever: it is dying no more. What the log has of
 * it stays there, where it died. */
void core_set_dying_aside(struct core *core, struct queue *queue);

/* What the queue's first dying message has waited for is there. */
void core_dying_is_there(struct core *core, struct queue *queue);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* A queue: messages in order, and who takes them. It decides what comes next and who is next; how a
 * message reaches a socket, and what a channel still allows, is the broker's.
 *
 * Order: a deque of 24-octet entries in blocks of 8 KiB (the first grows from 16 entries), numbered
 * by a 64-bit position; returned messages wait ahead of it in a list sorted by position, so that a
 * message that comes back takes its original place. */
#ifndef BOURSE_QUEUES_QUEUE_H
#define BOURSE_QUEUES_QUEUE_H

#include "base/list.h"
#include "queues/consumer.h"
#include "queues/entry.h"
#include "queues/settings.h"
#include "routing/target.h"

struct queue_block;    /* 8 KiB of entries; queue.c */
struct queue_returned; /* messages that came back; queue.c */

struct queue {
    struct route_target target; /* first: CONTAINER_OF in the broker */
    struct bytes name;          /* owned */
    struct bytes arguments;     /* table body as declared; owned */
    struct queue_settings settings; /* views into arguments */
    void *vhost;                /* the broker's */
    uint64_t owner_link;        /* link id of the connection it is exclusive to; 0: none */
    struct list_link owner_list_link; /* in that connection's list of exclusive queues */
    struct list_link dispatch_link;   /* in the core's list of queues to dispatch */
    uint32_t references;        /* the vhost's, and one per open delivery or buffered publish */
    bool durable;
    bool exclusive;
    bool auto_delete;
    bool from_file;
    bool deleted;               /* no longer in the vhost; waits for the last reference */
    bool had_consumer;          /* auto-delete waits for the first */

    /* Messages. */
    struct queue_block *head_block; /* oldest; owned, singly linked */
    struct queue_block *tail_block;
    uint64_t next_position;     /* of the next message pushed; the first is 1 */
    struct queue_returned *returned; /* sorted by position; owned; NULL while empty */
    uint32_t returned_count;
    uint32_t returned_capacity;
    uint64_t ready_count;       /* returned ones included */
    uint64_t ready_bytes;       /* body octets of ready messages */
    uint64_t unacked_count;

    /* Consumers. */
    struct list consumers;       /* of queue_link */
    struct list ready_consumers; /* of ready_link; highest priority first, then by turn */
    uint32_t consumer_count;
    struct consumer *active;     /* the single active consumer; NULL: none, or not such a queue */
    struct consumer *exclusive_consumer; /* NULL: none */

    uint64_t published_count, delivered_count, acked_count, redelivered_count;
};

/* What a queue is made from; all views are copied. */
struct queue_properties {
    struct bytes name;
    struct bytes arguments; /* validated: queue_settings_read accepted them */
    bool durable, exclusive, auto_delete, from_file;
    uint64_t owner_link;
};

/* One reference, the vhost's. */
struct queue *queue_new(uint64_t id, const struct queue_properties *properties);
struct queue *queue_ref(struct queue *queue);

/* Frees the queue with the last reference. The contents of messages still in it must have been given
 * back with queue_purge. */
void queue_unref(struct queue **queue);

/* Appends a message. The caller has counted the content for the entry. STATUS_NO_MEMORY changes
 * nothing. */
MUST_CHECK enum status queue_push(struct queue *queue, const struct queue_entry *entry);

/* Takes the next message: returned ones first when their position is lower. False when nothing is
 * ready. The content's count passes to the caller. */
bool queue_pop(struct queue *queue, struct queue_entry *entry_out, uint64_t *position_out);

/* Puts a message back at its position, marked redelivered. The count of the content passes to the
 * queue. STATUS_NO_MEMORY cannot happen: queue_pop keeps room for what it hands out. */
void queue_return(struct queue *queue, const struct queue_entry *entry, uint64_t position);

/* Drops every ready message, releasing contents in `pool`; returns how many. */
uint64_t queue_purge(struct queue *queue, struct chunk_pool *pool);

/* Octets of memory that the queue's blocks hold: counts towards the memory mark. */
uint64_t queue_memory_bytes(const struct queue *queue);

/* Registers a consumer (its queue field is set; the registration's reference is taken over) and makes
 * it ready if the queue lets it be served: on a single-active-consumer queue only the active one. */
void queue_add_consumer(struct queue *queue, struct consumer *consumer);

/* Ends a registration; the consumer's queue and channel become NULL, and on a
 * single-active-consumer queue the next in order of registration becomes active. Drops the
 * registration's reference. */
void queue_remove_consumer(struct queue *queue, struct consumer *consumer);

/* Puts the consumer among the ready ones, behind those of its priority; nothing happens when it is
 * there already, or when the queue does not serve it (not the active one). */
void queue_consumer_ready(struct queue *queue, struct consumer *consumer);

/* Takes it out of the ready ones: it has no room or no window. */
void queue_consumer_not_ready(struct consumer *consumer);

/* The consumer whose turn it is, or NULL; queue_consumer_served moves it behind its equals. */
struct consumer *queue_next_consumer(struct queue *queue);
void queue_consumer_served(struct queue *queue, struct consumer *consumer);

/* Walks everything and asserts that the counters agree; for tests. */
void queue_check(const struct queue *queue);

#endif

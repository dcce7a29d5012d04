/* SPDX-License-Identifier: Apache-2.0 */
/* Messages that were purged and wait to be released, so that emptying a queue of millions holds
 * nobody up. In order: a purge is through when everything before it is. What is spilled is read
 * back first, for each message has something to release. */
#ifndef BOURSE_QUEUES_DISCARDS_H
#define BOURSE_QUEUES_DISCARDS_H

#include "queues/due_index.h"
#include "queues/entry_deque.h"

struct queue_discards {
    struct list purged;          /* of what was purged, the oldest first; owned */
    uint64_t discarded_sequence; /* of the last purge */
    uint64_t released_sequence;  /* purges up to here are released to the last message */
    /* Releases one message: its content, and what else its owner keeps of it. `queue_id` is 0 when
     * the queue is gone. */
    void (*release)(void *context, uint64_t queue_id, const struct queue_entry *entry);
    void *context;
};

void queue_discards_init(struct queue_discards *discards);
/* Releases what is in memory and forgets what is spilled: the end of the process, after which it
 * means nothing. No job of these deques is under way. */
void queue_discards_fini(struct queue_discards *discards);

/* Takes everything that the deque holds; nothing happens when it is empty. */
void queue_discards_add(struct queue_discards *discards, uint64_t queue_id,
                        struct entry_deque *deque);

/* The same for the messages in an index, which is empty then. The memory that it takes counts in
 * `memory` (NULL: nowhere) from now on. */
void queue_discards_add_rows(struct queue_discards *discards, uint64_t queue_id,
                             struct entry_memory *memory, struct due_index *rows);

/* Releases up to `message_max` messages. True when there are more in memory. */
bool queue_discards_release(struct queue_discards *discards, uint32_t message_max);

/* The deque that must be read back before more can be released (entry_deque_begin_read), or NULL.
 */
struct entry_deque *queue_discards_wants_read(const struct queue_discards *discards);

/* Whether queue_discards_release has something to do. */
bool queue_discards_can_go_on(const struct queue_discards *discards);

static inline bool
queue_discards_is_empty(const struct queue_discards *discards)
{
    return list_is_empty(&discards->purged);
}

#endif

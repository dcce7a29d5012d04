/* SPDX-License-Identifier: Apache-2.0 */
/* A queue: messages in order, and who takes them. It decides what comes next and who is next; how a
 * message reaches a socket, and what a channel still allows, is the broker's.
 *
 * Order: a deque of 24-octet entries (entry_deque.h), numbered by a 64-bit position without gaps;
 * in a queue with priorities one per level (levels.h), of which that in front is described here.
 * Returned messages wait ahead of it, the lowest position first, so that a message that comes back
 * takes its original place; in a quorum queue they wait in the order in which they came back.
 *
 * A message whose deadline has passed may be taken out wherever it stands (expiry.h). The place of
 * one that has died in the middle stays until the head comes there; counts are of those that live.
 *
 * What comes next may not be in memory: the entry in a spill file (queue_head_is_away), or its
 * content in the log or a spill file. Who takes messages asks first (broker/paging/paging.h). */
#ifndef BOURSE_QUEUES_QUEUE_H
#define BOURSE_QUEUES_QUEUE_H

#include "base/list.h"
#include "base/made.h"
#include "queues/consumer.h"
#include "queues/discards.h"
#include "queues/dying.h"
#include "queues/entry_deque.h"
#include "queues/failures.h"
#include "queues/levels.h"
#include "queues/policy.h"
#include "queues/settings.h"
#include "queues/times.h"
#include "routing/target.h"

struct returned_message; /* that came back; returned.h */
struct queue_clocks;     /* queues/clocks.h */
struct queue_windows;    /* broker/paging/paging_state.h */
struct queue_service;    /* who takes messages; queue_consumers.c */
struct queue_waiting;    /* messages that wait for a time; waiting.h */

/* How far the log says that messages may have been handed out; only of queues that had a backlog of
 * logged messages. */
struct queue_handout {
    struct list_link link; /* in the core's list of queues whose mark is not written yet */
    struct queue *queue;   /* whose it is */
    uint64_t written_lsn;  /* messages up to here are covered by what is written */
    uint64_t logged_lsn;   /* by what is appended */
    uint64_t raise_lsn;    /* handing out beyond it asks for the next mark */
    uint64_t token;        /* of the last mark (store/journal.h) */
};

struct queue {
    struct route_target target; /* first: CONTAINER_OF in the broker */
    struct bytes arguments;     /* table body; owned, in the same allocation as declared */
    const struct queue_settings *settings; /* what is in force; with those of arguments, or of
                                              policies, or queue_settings_default */
    void *vhost;                           /* the broker's */
    struct made made;                      /* by whom, and when */
    uint64_t owner_link;              /* link id of the connection it is exclusive to; 0: none */
    struct list_link owner_list_link; /* in that connection's list of exclusive queues; once
                                         deleted, in the core's of those that still have bindings */
    struct list_link dispatch_link;   /* in the core's list of queues to dispatch */
    uint32_t references; /* the vhost's, and one per open delivery or buffered publish */
    bool durable : 1;
    bool exclusive : 1;
    bool auto_delete : 1;
    bool from_file : 1;
    bool is_protected : 1;      /* the file has it under `protect` */
    uint8_t level_default : 3;  /* of a message without the property */
    bool is_named : 1;          /* by the file that is being applied */
    bool deleted : 1;           /* no longer in the vhost; waits for the last reference */
    bool had_consumer : 1;      /* auto-delete waits for the first */
    bool has_policies : 1;      /* one applies, ordinary or operator: settings are its */
    bool is_paused : 1;         /* nothing is handed out (broker/topology/pause.h) */
    bool has_own_arguments : 1; /* other than declared, in an allocation of their own */
    bool head_waits : 1; /* the next message cannot be handed out before the disk has answered */
    uint8_t level_max;   /* the highest level of its messages; 0: they have no priorities */
    uint8_t name_size;
    uint32_t unacked_count;   /* lent and not yet settled or returned */
    uint32_t announced_count; /* messages of a commit under way that have no room yet; 0 outside */
    uint64_t announced_bytes; /* octets of their bodies, as far as they count against a limit */

    /* Messages. */
    struct entry_deque deque;          /* counts the room for returned messages, too */
    uint64_t next_position;            /* of the next message pushed (levels.h) */
    struct queue_levels *levels;       /* owned; NULL: all messages so far were of one level */
    struct returned_message *returned; /* a heap by order; owned; NULL while empty */
    uint32_t returned_count;           /* those included that have died there */
    uint32_t returned_capacity;        /* at least returned_count + unacked_count */
    uint64_t ready_count;              /* returned ones included */
    uint64_t ready_bytes;              /* body octets of ready messages */
    struct queue_handout *handout;     /* owned; NULL: never needed */
    struct queue_windows
        *windows; /* the broker's (broker/paging/paging.h); NULL: nothing was fetched */
    struct queue_times *times;       /* owned; NULL: no message had a deadline, nor has the queue */
    struct queue_dying *dying;       /* owned; NULL: no message has died here yet */
    struct queue_failures *failures; /* owned; NULL: nothing was ever lent while it counted */
    struct queue_waiting *waiting;   /* owned; NULL: no message has waited here yet */
    struct queue_clocks *clocks;     /* owned; NULL: no message has come yet, and
                                        none was published that waits */

    /* Consumers. */
    struct queue_service *service; /* owned; NULL: it has no consumers */
    uint32_t consumer_count;
    uint32_t ready_consumer_count;

    uint8_t name_octets[]; /* name_size of them; settings and arguments as declared lie behind */
};

static inline struct bytes
queue_name(const struct queue *queue)
{
    return bytes_make(queue->name_octets, queue->name_size);
}

/* Octets from a queue with a name of so many to the settings that it was declared with. */
static inline size_t
queue_settings_offset(size_t name_size)
{
    size_t alignment = _Alignof(struct queue_settings);
    return (offsetof(struct queue, name_octets) + name_size + alignment - 1) / alignment *
           alignment;
}

/* What a queue is made from; all views are copied. */
struct queue_properties {
    struct bytes name;
    struct bytes arguments; /* validated: queue_settings_read accepted them */
    bool durable, exclusive, auto_delete, from_file, is_protected;
    struct made made;
    uint64_t owner_link;
};

/* One reference, the vhost's. NULL when there is no memory: the peer chose how much arguments take.
 */
struct queue *queue_new(uint64_t id, const struct queue_properties *properties);
struct queue *queue_ref(struct queue *queue);

/* Replaces the arguments, which are copied: queue_settings_read accepted them, and neither type,
 * priorities nor single-active-consumer change. Tells which settings are other than before (as
 * queue_settings_differences). STATUS_NO_MEMORY changes nothing. */
MUST_CHECK enum status queue_set_arguments(struct queue *queue, struct bytes arguments,
                                           uint32_t *changed_out);

/* From now on these policies apply, NULL: none. The queue takes references of its own. Returns
 * which settings are other than before. */
uint32_t queue_set_policies(struct queue *queue, struct policy *policy,
                            struct policy *operator_policy);

/* The policy of that kind that applies, or NULL. */
struct policy *queue_policy(const struct queue *queue, enum policy_kind kind);

/* Frees the queue with the last reference. The contents of messages still in it must have been
 * given back with queue_purge and queue_purge_waiting. */
void queue_unref(struct queue **queue);

/* From now on what this queue holds is counted in `memory`, and may be spilled from there; before
 * the first message it holds none. `memory` outlives the queue. */
static inline void
queue_count_memory(struct queue *queue, struct entry_memory *memory)
{
    assert(queue->deque.memory == memory || queue->deque.bytes == 0);
    queue->deque.memory = memory;
}

/* Appends a message without a deadline; queue_push_until (expiry.h) is for those that have one. The
 * caller has counted the content for the entry. STATUS_NO_MEMORY changes nothing. */
MUST_CHECK enum status queue_push(struct queue *queue, const struct queue_entry *entry);

/* The level in front; means nothing in a queue without priorities. */
static inline uint8_t
queue_front_level(const struct queue *queue)
{
    return position_level(queue->next_position);
}

/* The level at which a message of that priority stands; PRIORITY_ABSENT: of one that has none. */
static inline uint8_t
queue_level(const struct queue *queue, int priority)
{
    if (priority == PRIORITY_ABSENT) {
        return queue->level_default;
    }
    return priority < queue->level_max ? (uint8_t)priority : queue->level_max;
}

/* Room for so many messages in the deque in front, and for what is known of their times. */
MUST_CHECK enum status queue_reserve_places(struct queue *queue, uint32_t count);

/* Room for one message at `level` (of queue_level; 0 where there are no priorities) that must not
 * fail: the next push there cannot. Nobody else than those who have reserved pushes to a queue of
 * the same memory meanwhile. STATUS_NO_MEMORY changes no message; what was reserved and is not used
 * is given up with entry_memory_free_spares. */
static inline MUST_CHECK enum status
queue_reserve(struct queue *queue, uint8_t level)
{
    if (queue->level_max != 0 && level != queue_front_level(queue)) {
        return queue_reserve_level(queue, level);
    }
    return entry_deque_has_room(&queue->deque) ? STATUS_OK : queue_reserve_places(queue, 1);
}

/* The same for messages that are many, in steps: each is announced to its queue; in one with
 * priorities its level is as well (queue_announce_level), between which and the last step nothing
 * is taken out of the queue; then every queue reserves for all that were announced to it, which are
 * as many pushes that cannot fail. What has no room yet is given up with queue_forget_announced. */
static inline void
queue_announce(struct queue *queue, uint32_t body_size)
{
    queue->announced_count++;
    queue->announced_bytes += body_size;
}

static inline void
queue_forget_announced(struct queue *queue)
{
    queue->announced_count = 0;
    queue->announced_bytes = 0;
    if (queue->levels != NULL) {
        queue_forget_announced_levels(queue);
    }
}

static inline MUST_CHECK enum status
queue_reserve_announced(struct queue *queue)
{
    uint32_t count = queue->announced_count;
    enum status status = STATUS_OK;
    if (queue->levels != NULL) {
        count -= queue->levels->announced_count;
        status = queue_reserve_announced_levels(queue);
    }
    queue_forget_announced(queue);
    return status == STATUS_OK ? queue_reserve_places(queue, count) : status;
}

/* Whether more is ready than the queue's limits allow. A limit that is not set is -1, which no
 * count is above. */
static inline bool
queue_is_over_limit(const struct queue *queue)
{
    return queue->ready_count > (uint64_t)queue->settings->max_length ||
           queue->ready_bytes > (uint64_t)queue->settings->max_length_bytes;
}

/* Whether the queue refuses messages when it is full, and is full with one more of so many octets:
 * behind those that are announced to it. */
static inline bool
queue_would_refuse(const struct queue *queue, uint32_t body_size)
{
    return queue->settings->overflow != OVERFLOW_DROP_HEAD &&
           (queue->ready_count + queue->announced_count + 1 >
                (uint64_t)queue->settings->max_length ||
            queue->ready_bytes + queue->announced_bytes + body_size >
                (uint64_t)queue->settings->max_length_bytes);
}

/* Whether the next message is one that came back; there is one, or nothing came back. What is in
 * the deque of a plain queue stands behind all that was ever taken out of it. */
bool queue_returned_is_next(const struct queue *queue);
static inline bool
queue_head_is_returned(const struct queue *queue)
{
    bool is_plain = queue->times == NULL && queue->levels == NULL;
    return queue->returned_count > 0 && (is_plain || queue_returned_is_next(queue));
}

/* The next message, without taking it; NULL when nothing is ready, or it is away. Valid until the
 * queue changes. */
const struct queue_entry *queue_first_returned(const struct queue *queue); /* there is one */
static inline const struct queue_entry *
queue_peek(const struct queue *queue)
{
    return queue_head_is_returned(queue) ? queue_first_returned(queue)
                                         : entry_deque_head(&queue->deque);
}

/* Whether the entry of the next message is spilled: it is not to be taken before it was read back.
 */
bool queue_head_is_away(const struct queue *queue);

/* The LSN of the last logged message among some thousand at the head of the deque; 0: none. */
uint64_t queue_horizon_lsn(const struct queue *queue);

/* Messages in the deque that live. */
static inline uint64_t
queue_deque_living(const struct queue *queue)
{
    uint64_t living = queue->ready_count - queue->returned_count;
    living -= queue->levels == NULL ? 0 : queue->levels->ready_count;
    return queue->times == NULL ? living : living + queue->times->dead_returned.count;
}

/* Places in the deque, those of the dead included. */
static inline uint64_t
queue_deque_places(const struct queue *queue)
{
    return queue_deque_living(queue) + queue->deque.dead_count;
}

/* The position of the oldest message in the deque. */
static inline uint64_t
queue_deque_position(const struct queue *queue)
{
    return queue->next_position - queue_deque_places(queue);
}

/* The position of what queue_peek returns. */
uint64_t queue_head_position(const struct queue *queue);

/* One of the returned messages, in no order that means anything but that the first comes next;
 * NULL: it has died there. Who changes its content calls queue_note_patched. */
struct queue_entry *queue_returned_entry(struct queue *queue, uint32_t at);
uint64_t queue_returned_position(const struct queue *queue, uint32_t at);
void queue_note_patched(struct queue *queue, uint32_t at);

/* Messages whose entries could not be read back are not there any more. `deque` is where they
 * stood: one of the queue's, or one that has been purged since, which changes nothing. */
void queue_lose(struct queue *queue, const struct entry_deque *deque,
                const struct entry_loss *loss);

/* Takes the next message for good: returned ones first. False when nothing is ready, or
 * the next is away. The content's count passes to the caller. */
bool queue_pop(struct queue *queue, struct queue_entry *entry_out, uint64_t *position_out);

/* Takes the next message for a delivery that is to be settled, and keeps room for its return: it
 * counts as unacked until queue_settle or queue_return. STATUS_AGAIN when nothing is ready,
 * or the next is away; STATUS_NO_MEMORY changes nothing. */
MUST_CHECK enum status queue_lend(struct queue *queue, struct queue_entry *entry_out,
                                  uint64_t *position_out);

/* Lends the message that was pushed last: for one that was lent before a restart. STATUS_NO_MEMORY
 * changes nothing. */
MUST_CHECK enum status queue_lend_last(struct queue *queue, struct queue_entry *entry_out,
                                       uint64_t *position_out);

/* A message that was lent will not come back; its content's count stays the caller's to release. */
void queue_settle(struct queue *queue, const struct queue_entry *entry, uint64_t position);

/* A message that has left the queue is lent once more, and is given back, settled or put to wait:
 * as queue_lend in what is kept for it. STATUS_NO_MEMORY changes nothing. */
MUST_CHECK enum status queue_lend_again(struct queue *queue, const struct queue_entry *entry,
                                        uint64_t position);

/* Puts a message that was lent back at its position, marked redelivered. The count of the content
 * passes to the queue. */
void queue_return(struct queue *queue, const struct queue_entry *entry, uint64_t position);

/* Within the queue (expiry.c). queue_push_entry is queue_push and takes no note of deadlines.
 * queue_skip_dead gives up those that have died in front of the living. queue_take_from_deque is
 * queue_pop of the oldest message in the deque, which is in memory, whatever has come back. */
MUST_CHECK enum status queue_push_entry(struct queue *queue, const struct queue_entry *entry);
void queue_skip_dead(struct queue *queue);
void queue_take_from_deque(struct queue *queue, struct queue_entry *entry_out,
                           uint64_t *position_out);

/* Within the queue (waiting.c). A lent message stays away; one that stayed away comes back as with
 * queue_return, if there is memory (its flags may change). */
void queue_end_lending(struct queue *queue, const struct queue_entry *entry, uint64_t position);
MUST_CHECK enum status queue_put_back(struct queue *queue, struct queue_entry *entry,
                                      uint64_t position);

/* Drops every ready message and returns how many there were: the queue is empty at once, messages
 * are released from `discards` later; they are all released when its released_sequence has reached
 * what discarded_sequence is now. Returned messages, bounded by what channels may have open, are
 * released at once. */
uint64_t queue_purge(struct queue *queue, struct queue_discards *discards);

/* Octets of memory that the queue holds for its messages: counts towards the memory mark. */
uint64_t queue_memory_bytes(const struct queue *queue);

/* Registers a consumer (the registration's reference is taken over) and makes it ready if the queue
 * lets it be served: on a single-active-consumer queue only the active one. */
void queue_add_consumer(struct queue *queue, struct consumer *consumer);

/* Ends a registration; the consumer's queue and channel become NULL, and on a
 * single-active-consumer queue the next becomes active: in order of registration, in a quorum queue
 * by priority first. Drops the registration's reference. */
void queue_remove_consumer(struct queue *queue, struct consumer *consumer);

/* Its consumers in order of registration: the first, and the next behind one; NULL: there is none.
 */
struct consumer *queue_first_consumer(const struct queue *queue);
struct consumer *queue_consumer_behind(const struct queue *queue, const struct consumer *consumer);

/* The single active consumer, where there is to be one; else NULL. */
const struct consumer *queue_active_consumer(const struct queue *queue);

/* Whether its only consumer wants to be the only one. */
bool queue_is_in_exclusive_use(const struct queue *queue);

/* Puts the consumer among the ready ones, behind those of its priority; nothing happens when it is
 * there already, or when the queue does not serve it (not the active one). Costs the logarithm of
 * the number of ready ones. */
void queue_consumer_ready(struct queue *queue, struct consumer *consumer);

/* Takes it out of the ready ones: it has no room or no window. */
void queue_consumer_not_ready(struct consumer *consumer);

/* What part of about the last minute somebody could have taken a message (utilisation.h); 0: the
 * queue has no consumers. A pause does not count. */
double queue_consumer_utilisation(const struct queue *queue);

/* Whether somebody could be served. */
static inline bool
queue_has_ready_consumer(const struct queue *queue)
{
    return queue->ready_consumer_count > 0 && !queue->is_paused;
}

/* The consumer whose turn it is, or NULL; queue_consumer_served moves it behind its equals. */
struct consumer *queue_next_consumer(const struct queue *queue);
void queue_consumer_served(struct queue *queue, struct consumer *consumer);

/* Walks everything and asserts that the counters agree; for tests. */
void queue_check(const struct queue *queue);
void queue_check_consumers(const struct queue *queue); /* the part of it that is about consumers */

#endif

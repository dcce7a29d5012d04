/* SPDX-License-Identifier: Apache-2.0 */
/* The consumers of a queue: whose turn it is, and who is served at all where only one is. Ready
 * consumers stand in a heap by priority and turn, so that choosing one costs a logarithm however
 * many wait. */
#include "queues/queue.h"

#include <stdlib.h>

#include "base/alloc.h"
#include "base/assert.h"

enum { TURN_CAPACITY_MIN = 4 };

struct queue_turn {
    int64_t priority;
    uint64_t turn;
    struct consumer *consumer; /* its ready_slot is this place + 1 */
};

/* Turns ---------------------------------------------------------------------------------------- */

static bool
turn_is_before(const struct queue_turn *a, const struct queue_turn *b)
{
    return a->priority != b->priority ? a->priority > b->priority : a->turn < b->turn;
}

static void
put_turn(struct queue *queue, uint32_t at, const struct queue_turn *turn)
{
    queue->turns[at] = *turn;
    turn->consumer->ready_slot = at + 1;
}

/* Both move `turn` to its place, starting at the free place `at`. */
static void
sift_up(struct queue *queue, uint32_t at, struct queue_turn turn)
{
    while (at > 0 && turn_is_before(&turn, &queue->turns[(at - 1) / 2])) {
        put_turn(queue, at, &queue->turns[(at - 1) / 2]);
        at = (at - 1) / 2;
    }
    put_turn(queue, at, &turn);
}

static void
sift_down(struct queue *queue, uint32_t at, struct queue_turn turn)
{
    uint32_t count = queue->ready_consumer_count;
    for (uint32_t child = 2 * at + 1; child < count; child = 2 * at + 1) {
        if (child + 1 < count && turn_is_before(&queue->turns[child + 1], &queue->turns[child])) {
            child++;
        }
        if (!turn_is_before(&queue->turns[child], &turn)) {
            break;
        }
        put_turn(queue, at, &queue->turns[child]);
        at = child;
    }
    put_turn(queue, at, &turn);
}

static void
add_turn(struct queue *queue, struct consumer *consumer)
{
    if (consumer_is_ready(consumer)) {
        return;
    }
    assert(queue->ready_consumer_count < queue->turn_capacity);
    struct queue_turn turn = {
        .priority = consumer->priority, .turn = queue->next_turn++, .consumer = consumer};
    sift_up(queue, queue->ready_consumer_count++, turn);
}

void
queue_consumer_not_ready(struct consumer *consumer)
{
    if (!consumer_is_ready(consumer)) {
        return;
    }
    struct queue *queue = consumer->queue;
    uint32_t at = consumer->ready_slot - 1;
    assert(queue->turns[at].consumer == consumer);
    consumer->ready_slot = 0;
    struct queue_turn last = queue->turns[--queue->ready_consumer_count];
    if (at == queue->ready_consumer_count) {
        return;
    }
    if (at > 0 && turn_is_before(&last, &queue->turns[(at - 1) / 2])) {
        sift_up(queue, at, last);
    } else {
        sift_down(queue, at, last);
    }
}

struct consumer *
queue_next_consumer(const struct queue *queue)
{
    return queue->ready_consumer_count == 0 ? NULL : queue->turns[0].consumer;
}

void
queue_consumer_served(struct queue *queue, struct consumer *consumer)
{
    if (queue->ready_consumer_count <= 1) {
        return;
    }
    assert(consumer_is_ready(consumer));
    uint32_t at = consumer->ready_slot - 1;
    struct queue_turn turn = queue->turns[at];
    turn.turn = queue->next_turn++;
    sift_down(queue, at, turn);
}

/* Consumers ------------------------------------------------------------------------------------ */

static bool
is_single_active(const struct queue *queue)
{
    return queue->settings->single_active_consumer;
}

static void
activate(struct queue *queue, struct consumer *consumer)
{
    if (queue->active != NULL) {
        queue_consumer_not_ready(queue->active);
    }
    queue->active = consumer;
    queue->successor = NULL;
    if (consumer != NULL) {
        add_turn(queue, consumer);
    }
}

/* Who becomes active when nobody is: the first registered, in a quorum queue among those of the
 * highest priority. */
static struct consumer *
find_heir(const struct queue *queue)
{
    struct consumer *heir = NULL;
    LIST_FOR_EACH(&queue->consumers, link)
    {
        struct consumer *consumer = CONTAINER_OF(link, struct consumer, queue_link);
        if (heir == NULL || consumer->priority > heir->priority) {
            heir = consumer;
        }
        if (queue->settings->type == QUEUE_TYPE_CLASSIC) {
            break;
        }
    }
    return heir;
}

/* Whether `consumer` comes before `other` when a quorum queue chooses its active consumer. */
static bool
supersedes(const struct queue *queue, const struct consumer *consumer, const struct consumer *other)
{
    return queue->settings->type == QUEUE_TYPE_QUORUM && consumer->priority > other->priority;
}

/* The active one is served no more when another has precedence, and gives way once it has settled
 * what it holds. */
static void
give_way(struct queue *queue)
{
    queue_consumer_not_ready(queue->active);
    if (queue->active->unacked_count == 0) {
        activate(queue, queue->successor);
    }
}

/* A newcomer on a queue that serves one consumer at a time. */
static void
join_single_active(struct queue *queue, struct consumer *consumer)
{
    if (queue->active == NULL) {
        activate(queue, consumer);
        return;
    }
    const struct consumer *best = queue->successor != NULL ? queue->successor : queue->active;
    if (supersedes(queue, consumer, best)) {
        queue->successor = consumer;
        give_way(queue);
    }
}

static void
leave_single_active(struct queue *queue, const struct consumer *consumer)
{
    if (consumer == queue->active) {
        queue->active = NULL;
        activate(queue, find_heir(queue));
        return;
    }
    if (consumer == queue->successor) {
        struct consumer *heir = find_heir(queue);
        queue->successor = supersedes(queue, heir, queue->active) ? heir : NULL;
        if (queue->successor == NULL) {
            add_turn(queue, queue->active);
        }
    }
}

static void
make_room_for_turn(struct queue *queue)
{
    if (queue->consumer_count < queue->turn_capacity) {
        return;
    }
    uint32_t capacity = queue->turn_capacity == 0 ? TURN_CAPACITY_MIN : queue->turn_capacity * 2;
    queue->turns = xrealloc(queue->turns, capacity * sizeof(*queue->turns));
    queue->turn_capacity = capacity;
}

void
queue_add_consumer(struct queue *queue, struct consumer *consumer)
{
    assert(consumer->queue == NULL || consumer->queue == queue);
    consumer->queue = queue;
    make_room_for_turn(queue);
    list_append(&queue->consumers, &consumer->queue_link);
    queue->consumer_count++;
    queue->had_consumer = true;
    if (consumer->exclusive) {
        assert(queue->consumer_count == 1);
        queue->exclusive_consumer = consumer;
    }
    if (is_single_active(queue)) {
        join_single_active(queue, consumer);
    } else {
        add_turn(queue, consumer);
    }
}

void
queue_remove_consumer(struct queue *queue, struct consumer *consumer)
{
    assert(consumer->queue == queue);
    queue_consumer_not_ready(consumer);
    list_remove(&consumer->queue_link);
    queue->consumer_count--;
    if (queue->exclusive_consumer == consumer) {
        queue->exclusive_consumer = NULL;
    }
    if (is_single_active(queue)) {
        leave_single_active(queue, consumer);
    }
    if (queue->consumer_count == 0) {
        free(queue->turns);
        queue->turns = NULL;
        queue->turn_capacity = 0;
    }
    consumer->queue = NULL;
    consumer->channel = NULL;
    consumer_unref(&consumer);
}

void
queue_consumer_ready(struct queue *queue, struct consumer *consumer)
{
    assert(consumer->queue == queue);
    if (!is_single_active(queue)) {
        add_turn(queue, consumer);
    } else if (consumer == queue->active) {
        if (queue->successor != NULL) {
            give_way(queue);
        } else {
            add_turn(queue, consumer);
        }
    }
}

void
queue_check_consumers(const struct queue *queue)
{
    uint32_t count = 0;
    uint32_t ready_count = 0;
    LIST_FOR_EACH(&queue->consumers, link)
    {
        const struct consumer *consumer = CONTAINER_OF(link, struct consumer, queue_link);
        assert(consumer->queue == queue);
        count++;
        ready_count += consumer_is_ready(consumer);
    }
    assert(count == queue->consumer_count);
    assert(ready_count == queue->ready_consumer_count);
    for (uint32_t i = 0; i < ready_count; i++) {
        assert(queue->turns[i].consumer->ready_slot == i + 1);
        assert(i == 0 || turn_is_before(&queue->turns[(i - 1) / 2], &queue->turns[i]));
        assert(!is_single_active(queue) || queue->turns[i].consumer == queue->active);
    }
    assert(!is_single_active(queue) || (queue->active != NULL) == (count > 0));
}

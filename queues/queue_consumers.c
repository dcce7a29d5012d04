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

/* Made for the first consumer and given back behind the last: most queues that wait have none. */
struct queue_service {
    struct list consumers;    /* of queue_link, in order of registration */
    struct queue_turn *turns; /* ready consumers, a heap: highest priority first, then by turn;
                                 owned */
    uint32_t turn_capacity;   /* at least consumer_count */
    uint64_t next_turn;
    struct consumer *active;    /* the single active consumer; NULL: none, or not such a queue */
    struct consumer *successor; /* takes over when `active` has settled; NULL: none (quorum only) */
    struct consumer *exclusive; /* NULL: none */
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
    queue->service->turns[at] = *turn;
    turn->consumer->ready_slot = at + 1;
}

/* Both move `turn` to its place, starting at the free place `at`. */
static void
sift_up(struct queue *queue, uint32_t at, struct queue_turn turn)
{
    const struct queue_turn *heap = queue->service->turns;
    while (at > 0 && turn_is_before(&turn, &heap[(at - 1) / 2])) {
        put_turn(queue, at, &heap[(at - 1) / 2]);
        at = (at - 1) / 2;
    }
    put_turn(queue, at, &turn);
}

static void
sift_down(struct queue *queue, uint32_t at, struct queue_turn turn)
{
    const struct queue_turn *heap = queue->service->turns;
    uint32_t count = queue->ready_consumer_count;
    for (uint32_t child = 2 * at + 1; child < count; child = 2 * at + 1) {
        if (child + 1 < count && turn_is_before(&heap[child + 1], &heap[child])) {
            child++;
        }
        if (!turn_is_before(&heap[child], &turn)) {
            break;
        }
        put_turn(queue, at, &heap[child]);
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
    assert(queue->ready_consumer_count < queue->service->turn_capacity);
    struct queue_turn turn = {
        .priority = consumer->priority, .turn = queue->service->next_turn++, .consumer = consumer};
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
    assert(queue->service->turns[at].consumer == consumer);
    consumer->ready_slot = 0;
    struct queue_turn last = queue->service->turns[--queue->ready_consumer_count];
    if (at == queue->ready_consumer_count) {
        return;
    }
    if (at > 0 && turn_is_before(&last, &queue->service->turns[(at - 1) / 2])) {
        sift_up(queue, at, last);
    } else {
        sift_down(queue, at, last);
    }
}

struct consumer *
queue_next_consumer(const struct queue *queue)
{
    return queue_has_ready_consumer(queue) ? queue->service->turns[0].consumer : NULL;
}

void
queue_consumer_served(struct queue *queue, struct consumer *consumer)
{
    if (queue->ready_consumer_count <= 1) {
        return;
    }
    assert(consumer_is_ready(consumer));
    uint32_t at = consumer->ready_slot - 1;
    struct queue_turn turn = queue->service->turns[at];
    turn.turn = queue->service->next_turn++;
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
    struct queue_service *service = queue->service;
    if (service->active != NULL) {
        queue_consumer_not_ready(service->active);
    }
    service->active = consumer;
    service->successor = NULL;
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
    LIST_FOR_EACH(&queue->service->consumers, link)
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
    queue_consumer_not_ready(queue->service->active);
    if (queue->service->active->unacked_count == 0) {
        activate(queue, queue->service->successor);
    }
}

/* A newcomer on a queue that serves one consumer at a time. */
static void
join_single_active(struct queue *queue, struct consumer *consumer)
{
    struct queue_service *service = queue->service;
    if (service->active == NULL) {
        activate(queue, consumer);
        return;
    }
    const struct consumer *best = service->successor != NULL ? service->successor : service->active;
    if (supersedes(queue, consumer, best)) {
        service->successor = consumer;
        give_way(queue);
    }
}

static void
leave_single_active(struct queue *queue, const struct consumer *consumer)
{
    struct queue_service *service = queue->service;
    if (consumer == service->active) {
        service->active = NULL;
        activate(queue, find_heir(queue));
        return;
    }
    if (consumer == service->successor) {
        struct consumer *heir = find_heir(queue);
        service->successor = supersedes(queue, heir, service->active) ? heir : NULL;
        if (service->successor == NULL) {
            add_turn(queue, service->active);
        }
    }
}

static void
make_room_for_turn(struct queue_service *service, uint32_t consumer_count)
{
    if (consumer_count < service->turn_capacity) {
        return;
    }
    uint32_t capacity =
        service->turn_capacity == 0 ? TURN_CAPACITY_MIN : service->turn_capacity * 2;
    service->turns = xrealloc(service->turns, capacity * sizeof(*service->turns));
    service->turn_capacity = capacity;
}

static void
begin_service(struct queue *queue)
{
    queue->service = xalloc(sizeof(*queue->service));
    list_init(&queue->service->consumers);
}

static void
end_service(struct queue *queue)
{
    free(queue->service->turns);
    free(queue->service);
    queue->service = NULL;
}

void
queue_add_consumer(struct queue *queue, struct consumer *consumer)
{
    assert(consumer->queue == NULL || consumer->queue == queue);
    if (queue->service == NULL) {
        begin_service(queue);
    }
    consumer->queue = queue;
    make_room_for_turn(queue->service, queue->consumer_count);
    list_append(&queue->service->consumers, &consumer->queue_link);
    queue->consumer_count++;
    queue->had_consumer = true;
    if (consumer->exclusive) {
        assert(queue->consumer_count == 1);
        queue->service->exclusive = consumer;
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
    if (queue->service->exclusive == consumer) {
        queue->service->exclusive = NULL;
    }
    if (is_single_active(queue)) {
        leave_single_active(queue, consumer);
    }
    if (queue->consumer_count == 0) {
        end_service(queue);
    }
    consumer->queue = NULL;
    consumer->channel = NULL;
    consumer_unref(&consumer);
}

static struct consumer *
consumer_of(struct list_link *link)
{
    return link == NULL ? NULL : CONTAINER_OF(link, struct consumer, queue_link);
}

struct consumer *
queue_first_consumer(const struct queue *queue)
{
    return queue->service == NULL ? NULL : consumer_of(list_first(&queue->service->consumers));
}

struct consumer *
queue_consumer_behind(const struct queue *queue, const struct consumer *consumer)
{
    assert(consumer->queue == queue);
    return consumer_of(list_next(&queue->service->consumers, &consumer->queue_link));
}

const struct consumer *
queue_active_consumer(const struct queue *queue)
{
    return queue->service == NULL ? NULL : queue->service->active;
}

bool
queue_is_in_exclusive_use(const struct queue *queue)
{
    return queue->service != NULL && queue->service->exclusive != NULL;
}

void
queue_consumer_ready(struct queue *queue, struct consumer *consumer)
{
    assert(consumer->queue == queue);
    if (!is_single_active(queue)) {
        add_turn(queue, consumer);
    } else if (consumer == queue->service->active) {
        if (queue->service->successor != NULL) {
            give_way(queue);
        } else {
            add_turn(queue, consumer);
        }
    }
}

void
queue_check_consumers(const struct queue *queue)
{
    const struct queue_service *service = queue->service;
    uint32_t count = 0;
    uint32_t ready_count = 0;
    for (const struct consumer *consumer = queue_first_consumer(queue); consumer != NULL;
         consumer = queue_consumer_behind(queue, consumer)) {
        count++;
        ready_count += consumer_is_ready(consumer);
    }
    assert(count == queue->consumer_count);
    assert((service != NULL) == (count > 0));
    assert(ready_count == queue->ready_consumer_count);
    for (uint32_t i = 0; i < ready_count; i++) {
        const struct queue_turn *turn = &service->turns[i];
        assert(turn->consumer->ready_slot == i + 1);
        assert(i == 0 || turn_is_before(&service->turns[(i - 1) / 2], turn));
        assert(!is_single_active(queue) || turn->consumer == service->active);
    }
    assert(count == 0 || is_single_active(queue) == (service->active != NULL));
}

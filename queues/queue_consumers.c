/* SPDX-License-Identifier: Apache-2.0 */
/* The consumers of a queue: whose turn it is, and who is served at all where only one is. Ready
 * consumers stand in a heap by priority and turn, so that choosing one costs a logarithm however
 * many wait; so do those of whom one at a time is served, where priority says who is next. */
#include "queues/queue.h"

#include <stdlib.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "queues/utilisation.h"

enum { TURN_CAPACITY_MIN = 4 };

struct queue_turn {
    int64_t priority;
    uint64_t turn;
    struct consumer *consumer; /* its slot is this place + 1 */
};

/* Highest priority first, then by turn. */
struct turn_heap {
    struct queue_turn *turns; /* owned */
    uint32_t count;
    uint32_t capacity; /* at least consumer_count */
    bool is_of_heirs;
};

/* Made for the first consumer and given back behind the last: most queues that wait have none. */
struct queue_service {
    struct list consumers;  /* of queue_link, in order of registration */
    struct turn_heap ready; /* its count is the queue's ready_consumer_count */
    struct turn_heap heirs; /* all consumers, by registration; empty unless a quorum queue serves
                               one at a time */
    uint64_t next_turn;
    struct consumer *active;    /* the single active consumer; NULL: none, or not such a queue */
    struct consumer *successor; /* takes over when `active` has settled; NULL: none (quorum only) */
    struct consumer *exclusive; /* NULL: none */
    struct utilisation utilisation;
};

/* Heaps ---------------------------------------------------------------------------------------- */

static bool
turn_is_before(const struct queue_turn *a, const struct queue_turn *b)
{
    return a->priority != b->priority ? a->priority > b->priority : a->turn < b->turn;
}

static uint32_t *
slot_in(const struct turn_heap *heap, struct consumer *consumer)
{
    return heap->is_of_heirs ? &consumer->heir_slot : &consumer->ready_slot;
}

static void
put_turn(struct turn_heap *heap, uint32_t at, const struct queue_turn *turn)
{
    heap->turns[at] = *turn;
    *slot_in(heap, turn->consumer) = at + 1;
}

/* Both move `turn` to its place, starting at the free place `at`. */
static void
sift_up(struct turn_heap *heap, uint32_t at, struct queue_turn turn)
{
    while (at > 0 && turn_is_before(&turn, &heap->turns[(at - 1) / 2])) {
        put_turn(heap, at, &heap->turns[(at - 1) / 2]);
        at = (at - 1) / 2;
    }
    put_turn(heap, at, &turn);
}

static void
sift_down(struct turn_heap *heap, uint32_t at, struct queue_turn turn)
{
    const struct queue_turn *turns = heap->turns;
    for (uint32_t child = 2 * at + 1; child < heap->count; child = 2 * at + 1) {
        if (child + 1 < heap->count && turn_is_before(&turns[child + 1], &turns[child])) {
            child++;
        }
        if (!turn_is_before(&turns[child], &turn)) {
            break;
        }
        put_turn(heap, at, &turns[child]);
        at = child;
    }
    put_turn(heap, at, &turn);
}

/* Behind all of its priority. */
static void
heap_add(struct turn_heap *heap, struct consumer *consumer, uint64_t turn_number)
{
    assert(heap->count < heap->capacity);
    struct queue_turn turn = {
        .priority = consumer->priority, .turn = turn_number, .consumer = consumer};
    sift_up(heap, heap->count++, turn);
}

static void
heap_remove(struct turn_heap *heap, struct consumer *consumer)
{
    uint32_t *slot = slot_in(heap, consumer);
    uint32_t at = *slot - 1;
    assert(heap->turns[at].consumer == consumer);
    *slot = 0;
    struct queue_turn last = heap->turns[--heap->count];
    if (at == heap->count) {
        return;
    }
    if (at > 0 && turn_is_before(&last, &heap->turns[(at - 1) / 2])) {
        sift_up(heap, at, last);
    } else {
        sift_down(heap, at, last);
    }
}

static void
heap_make_room(struct turn_heap *heap, uint32_t consumer_count)
{
    if (consumer_count < heap->capacity) {
        return;
    }
    uint32_t capacity = heap->capacity == 0 ? TURN_CAPACITY_MIN : heap->capacity * 2;
    heap->turns = xrealloc(heap->turns, capacity * sizeof(*heap->turns));
    heap->capacity = capacity;
}

/* Turns ---------------------------------------------------------------------------------------- */

static int64_t
now_of(const struct queue *queue)
{
    return queue->deque.memory == NULL ? 0 : queue->deque.memory->now_ms;
}

static void
add_turn(struct queue *queue, struct consumer *consumer)
{
    struct queue_service *service = queue->service;
    if (!consumer_is_ready(consumer)) {
        heap_add(&service->ready, consumer, service->next_turn++);
        queue->ready_consumer_count = service->ready.count;
        utilisation_block(&service->utilisation, false, now_of(queue));
    }
}

void
queue_consumer_not_ready(struct consumer *consumer)
{
    if (consumer_is_ready(consumer)) {
        struct queue *queue = consumer->queue;
        heap_remove(&queue->service->ready, consumer);
        queue->ready_consumer_count = queue->service->ready.count;
        if (queue->ready_consumer_count == 0) {
            utilisation_block(&queue->service->utilisation, true, now_of(queue));
        }
    }
}

double
queue_consumer_utilisation(const struct queue *queue)
{
    return queue->service == NULL ? 0
                                  : utilisation_read(&queue->service->utilisation, now_of(queue));
}

struct consumer *
queue_next_consumer(const struct queue *queue)
{
    return queue_has_ready_consumer(queue) ? queue->service->ready.turns[0].consumer : NULL;
}

void
queue_consumer_served(struct queue *queue, struct consumer *consumer)
{
    if (queue->ready_consumer_count <= 1) {
        return;
    }
    assert(consumer_is_ready(consumer));
    struct turn_heap *ready = &queue->service->ready;
    uint32_t at = consumer->ready_slot - 1;
    struct queue_turn turn = ready->turns[at];
    turn.turn = queue->service->next_turn++;
    sift_down(ready, at, turn);
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

/* Whether priority says who is next where one is served at a time. */
static bool
has_heirs(const struct queue *queue)
{
    return is_single_active(queue) && queue->settings->type == QUEUE_TYPE_QUORUM;
}

/* Who becomes active when nobody is: the first registered, in a quorum queue among those of the
 * highest priority. */
static struct consumer *
find_heir(const struct queue *queue)
{
    const struct turn_heap *heirs = &queue->service->heirs;
    if (!has_heirs(queue)) {
        return queue_first_consumer(queue);
    }
    return heirs->count > 0 ? heirs->turns[0].consumer : NULL;
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
begin_service(struct queue *queue)
{
    queue->service = xalloc(sizeof(*queue->service));
    list_init(&queue->service->consumers);
    queue->service->heirs.is_of_heirs = true;
    utilisation_begin(&queue->service->utilisation, now_of(queue));
}

static void
end_service(struct queue *queue)
{
    free(queue->service->ready.turns);
    free(queue->service->heirs.turns);
    free(queue->service);
    queue->service = NULL;
}

static void
add_heir(struct queue *queue, struct consumer *consumer)
{
    struct queue_service *service = queue->service;
    heap_make_room(&service->heirs, queue->consumer_count);
    heap_add(&service->heirs, consumer, service->next_turn++);
}

void
queue_add_consumer(struct queue *queue, struct consumer *consumer)
{
    assert(consumer->queue == NULL || consumer->queue == queue);
    if (queue->service == NULL) {
        begin_service(queue);
    }
    consumer->queue = queue;
    heap_make_room(&queue->service->ready, queue->consumer_count);
    if (has_heirs(queue)) {
        add_heir(queue, consumer);
    }
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
    if (has_heirs(queue)) {
        heap_remove(&queue->service->heirs, consumer);
    }
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

static void
check_heap(const struct turn_heap *heap)
{
    for (uint32_t i = 0; i < heap->count; i++) {
        assert(*slot_in(heap, heap->turns[i].consumer) == i + 1);
        assert(i == 0 || turn_is_before(&heap->turns[(i - 1) / 2], &heap->turns[i]));
    }
}

static void
check_service(const struct queue *queue)
{
    const struct queue_service *service = queue->service;
    check_heap(&service->ready);
    check_heap(&service->heirs);
    assert(service->ready.count == queue->ready_consumer_count);
    assert(service->heirs.count == (has_heirs(queue) ? queue->consumer_count : 0));
    assert(is_single_active(queue) == (service->active != NULL));
    for (uint32_t i = 0; i < service->ready.count; i++) {
        assert(!is_single_active(queue) || service->ready.turns[i].consumer == service->active);
    }
}

void
queue_check_consumers(const struct queue *queue)
{
    uint32_t count = 0;
    uint32_t ready_count = 0;
    for (const struct consumer *consumer = queue_first_consumer(queue); consumer != NULL;
         consumer = queue_consumer_behind(queue, consumer)) {
        count++;
        ready_count += consumer_is_ready(consumer);
    }
    assert(count == queue->consumer_count);
    assert((queue->service != NULL) == (count > 0));
    assert(ready_count == queue->ready_consumer_count);
    if (queue->service != NULL) {
        check_service(queue);
    }
}

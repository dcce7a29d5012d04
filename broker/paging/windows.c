/* SPDX-License-Identifier: Apache-2.0 */
/* What was brought back into memory for the heads of queues, the room that it may take, and who
 * waits for room. */
#include <stdlib.h>

#include "base/alloc.h"
#include "broker/delivery/handing_out.h"
#include "broker/desk/desk_walk.h"
#include "broker/durability/durability.h"
#include "broker/paging/paging_state.h"

enum { EVICTIONS_MAX = 16 }; /* queues that are looked at to make room for a window */

static const uint64_t IDLE_MS = 1000;
static const uint64_t RETRY_MS = 10;

/* Windows -------------------------------------------------------------------------------------- */

static void
on_retry(struct timer *timer, void *context)
{
    (void)timer;
    paging_wake_waiting(context);
}

void
paging_wait_for_room(struct paging *paging, struct queue_windows *windows)
{
    if (!list_link_is_linked(&windows->wait_link)) {
        list_append(&paging->waiting, &windows->wait_link);
    }
    struct core *core = paging->core;
    if (!timer_is_armed(&paging->retry)) {
        timer_arm(&core->timers, &paging->retry, core->now.monotonic_ms + RETRY_MS, on_retry,
                  paging);
    }
}

static void
wake_one(struct paging *paging)
{
    struct list_link *link = list_pop(&paging->waiting);
    if (link != NULL) {
        core_head_is_there(paging->core,
                           CONTAINER_OF(link, struct queue_windows, wait_link)->queue);
    }
}

void
paging_wake_waiting(struct paging *paging)
{
    /* Who has to wait again stands behind the last of now. */
    struct list waiting;
    list_init(&waiting);
    struct list_link *link;
    while ((link = list_pop(&paging->waiting)) != NULL) {
        list_append(&waiting, link);
    }
    while ((link = list_pop(&waiting)) != NULL) {
        core_head_is_there(paging->core,
                           CONTAINER_OF(link, struct queue_windows, wait_link)->queue);
    }
}

struct queue_windows *
paging_windows_of(struct paging *paging, struct queue *queue)
{
    struct queue_windows *windows = queue->windows;
    if (windows == NULL) {
        windows = xalloc(sizeof(*windows));
        windows->queue = queue;
        windows->block_size = FETCH_WINDOW;
        queue->windows = windows;
        list_append(&paging->active, &windows->link);
    }
    return windows;
}

uint64_t
core_unreadable_count(const struct queue *queue)
{
    return queue->windows == NULL ? 0 : queue->windows->unreadable_count;
}

static void
give_up(struct paging *paging, const struct window *window)
{
    if (content_ref_is_set(window->chunk)) {
        chunk_pool_release(paging->core->pool, window->chunk);
        paging->window_octets -= window->octets;
        wake_one(paging);
    }
}

static void
give_up_at(struct paging *paging, struct queue_windows *windows, uint32_t at)
{
    struct window window = windows->windows[at];
    windows->window_count--;
    memmove(windows->windows + at, windows->windows + at + 1,
            (windows->window_count - at) * sizeof(*windows->windows));
    give_up(paging, &window);
}

static void
give_up_returned(struct paging *paging, struct queue_windows *windows)
{
    struct window returned = windows->returned;
    windows->returned = (struct window){0};
    give_up(paging, &returned);
}

void
paging_give_up_all(struct paging *paging, struct queue_windows *windows)
{
    while (windows->window_count > 0) {
        give_up_at(paging, windows, 0);
    }
    give_up_returned(paging, windows);
    windows->next_position = 0;
}

void
paging_give_up_passed(struct paging *paging, struct queue_windows *windows)
{
    uint64_t head = queue_deque_position(windows->queue);
    for (uint32_t i = windows->window_count; i > 0; i--) {
        if (windows->windows[i - 1].end_position <= head) {
            give_up_at(paging, windows, i - 1);
        }
    }
    if (windows->queue->returned_count == 0) {
        give_up_returned(paging, windows);
    }
}

void
paging_add_window(struct paging *paging, struct queue_windows *windows, const struct window *window,
                  bool is_returned)
{
    paging->window_octets += window->octets;
    if (is_returned) {
        give_up_returned(paging, windows);
        windows->returned = *window;
        return;
    }
    if (windows->window_count == WINDOWS_AHEAD) {
        give_up_at(paging, windows, 0);
    }
    windows->windows[windows->window_count++] = *window;
}

void
core_forget_windows(struct core *core, struct queue *queue)
{
    struct queue_windows *windows = queue->windows;
    if (windows == NULL) {
        return;
    }
    queue->windows = NULL;
    list_remove(&windows->link);
    list_remove(&windows->wait_link);
    paging_give_up_all(core->paging, windows);
    free(windows);
}

void
core_release_windows(struct core *core, struct queue *queue)
{
    struct queue_windows *windows = queue->windows;
    if (windows == NULL || windows->is_fetching) {
        return;
    }
    bool waits = list_link_is_linked(&windows->wait_link);
    if (windows->unreadable_count == 0) {
        core_forget_windows(core, queue);
    } else {
        paging_give_up_all(core->paging, windows);
    }
    if (waits) {
        /* Its head was waited for, and is gone: nobody else would say so. */
        core_head_is_there(core, queue);
    }
}

/* Room ----------------------------------------------------------------------------------------- */

/* What all windows may take: a quarter of the memory mark. */
static uint64_t
octets_max(const struct paging *paging)
{
    static const uint64_t WITHOUT_MARK = UINT64_C(64) << 20;
    uint64_t mark = paging->core->settings.memory_mark_bytes;
    return mark == 0 ? WITHOUT_MARK : mark / 4;
}

static bool
has_room(const struct paging *paging, uint64_t octets, uint64_t max)
{
    return paging->window_octets == 0 || paging->window_octets + octets <= max;
}

bool
paging_has_room_ahead(const struct paging *paging, uint64_t octets)
{
    return has_room(paging, octets, octets_max(paging) / 2);
}

static bool
can_use_windows(const struct queue_windows *windows)
{
    return windows->is_fetching || windows->queue->head_waits ||
           (windows->queue->ready_count > 0 && queue_has_ready_consumer(windows->queue));
}

static void
evict_windows(struct paging *paging, uint64_t octets)
{
    for (int i = 0; i < EVICTIONS_MAX && !has_room(paging, octets, octets_max(paging)); i++) {
        struct list_link *link = list_pop(&paging->active);
        if (link == NULL) {
            return;
        }
        list_append(&paging->active, link);
        struct queue_windows *windows = CONTAINER_OF(link, struct queue_windows, link);
        if (!can_use_windows(windows)) {
            paging_give_up_all(paging, windows);
        }
    }
}

bool
paging_make_room(struct paging *paging, uint64_t octets)
{
    evict_windows(paging, octets);
    bool has_given = true;
    while (has_given && !has_room(paging, octets, octets_max(paging))) {
        has_given = desk_walk_give_way(paging);
    }
    return has_room(paging, octets, octets_max(paging));
}

void
paging_drop_idle_windows(struct paging *paging, uint64_t octets)
{
    uint64_t before = paging->window_octets;
    for (int i = 0; i < EVICTIONS_MAX && before - paging->window_octets < octets; i++) {
        struct list_link *link = list_first(&paging->active);
        if (link == NULL) {
            return;
        }
        struct queue_windows *windows = CONTAINER_OF(link, struct queue_windows, link);
        if (windows->used_ms + IDLE_MS > paging->core->now.monotonic_ms) {
            return;
        }
        list_remove(link);
        list_append(&paging->active, link);
        windows->used_ms = paging->core->now.monotonic_ms;
        if (!windows->is_fetching) {
            paging_give_up_all(paging, windows);
        }
    }
}

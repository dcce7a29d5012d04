/* SPDX-License-Identifier: Apache-2.0 */
#include "queues/discards.h"

#include <stdlib.h>

#include "base/alloc.h"

/* What one purge has left. */
struct purged {
    struct list_link link;
    struct entry_deque deque;
    uint64_t queue_id;
    uint64_t sequence;
};

void
queue_discards_init(struct queue_discards *discards)
{
    *discards = (struct queue_discards){0};
    list_init(&discards->purged);
}

static struct purged *
first_purged(const struct queue_discards *discards)
{
    struct list_link *link = list_first(&discards->purged);
    return link == NULL ? NULL : CONTAINER_OF(link, struct purged, link);
}

static void
forget_first(struct queue_discards *discards)
{
    struct purged *purged = first_purged(discards);
    list_remove(&purged->link);
    discards->released_sequence = purged->sequence;
    entry_deque_fini(&purged->deque);
    free(purged);
}

void
queue_discards_fini(struct queue_discards *discards)
{
    LIST_FOR_EACH(&discards->purged, link)
    {
        entry_deque_forget_spilled(&CONTAINER_OF(link, struct purged, link)->deque);
    }
    while (queue_discards_release(discards, UINT32_MAX)) {
    }
}

void
queue_discards_add(struct queue_discards *discards, uint64_t queue_id, struct entry_deque *deque)
{
    /* An empty one may still have a job under way. */
    if (deque->head == NULL && deque->pages == NULL) {
        return;
    }
    struct purged *purged = xalloc(sizeof(*purged));
    purged->deque.memory = deque->memory;
    entry_deque_move(deque, &purged->deque);
    purged->queue_id = queue_id;
    purged->sequence = ++discards->discarded_sequence;
    list_append(&discards->purged, &purged->link);
}

/* What is left of it is spilled, or on its way there. */
static bool
must_wait(const struct purged *purged)
{
    return entry_deque_head(&purged->deque) == NULL &&
           (entry_deque_head_is_away(&purged->deque) || !entry_deque_is_settled(&purged->deque));
}

bool
queue_discards_can_go_on(const struct queue_discards *discards)
{
    const struct purged *purged = first_purged(discards);
    return purged != NULL && !must_wait(purged);
}

bool
queue_discards_release(struct queue_discards *discards, uint32_t message_max)
{
    struct purged *purged;
    while ((purged = first_purged(discards)) != NULL) {
        for (; entry_deque_head(&purged->deque) != NULL; message_max--) {
            if (message_max == 0) {
                return true;
            }
            struct queue_entry entry;
            entry_deque_take(&purged->deque, &entry);
            discards->release(discards->context, purged->queue_id, &entry);
        }
        if (must_wait(purged)) {
            return false;
        }
        forget_first(discards);
    }
    return false;
}

struct entry_deque *
queue_discards_wants_read(const struct queue_discards *discards)
{
    struct purged *purged = first_purged(discards);
    return purged != NULL && entry_deque_wants_read(&purged->deque) ? &purged->deque : NULL;
}

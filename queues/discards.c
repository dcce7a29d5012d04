/* SPDX-License-Identifier: Apache-2.0 */
#include "queues/discards.h"

#include <stdlib.h>

#include "base/alloc.h"

/* What one purge has left. */
struct purged {
    struct list_link link;
    struct entry_deque deque; /* what a purge of an index has left is counted as its memory */
    struct due_index rows;
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
add_purged(struct queue_discards *discards, uint64_t queue_id, struct entry_memory *memory)
{
    struct purged *purged = xalloc(sizeof(*purged));
    purged->deque.memory = memory;
    purged->queue_id = queue_id;
    purged->sequence = ++discards->discarded_sequence;
    list_append(&discards->purged, &purged->link);
    return purged;
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
    struct purged *purged = add_purged(discards, queue_id, deque->memory);
    entry_deque_move(deque, &purged->deque);
}

void
queue_discards_add_rows(struct queue_discards *discards, uint64_t queue_id,
                        struct entry_memory *memory, struct due_index *rows)
{
    if (rows->count == 0) {
        return;
    }
    struct purged *purged = add_purged(discards, queue_id, memory);
    purged->rows = *rows;
    *rows = (struct due_index){0};
    entry_deque_count_memory(&purged->deque, 0, purged->rows.bytes);
}

static bool
has_next(const struct purged *purged)
{
    return purged->rows.count > 0 || entry_deque_head(&purged->deque) != NULL;
}

/* What is left of it is spilled, or on its way there. */
static bool
must_wait(const struct purged *purged)
{
    return !has_next(purged) &&
           (entry_deque_head_is_away(&purged->deque) || !entry_deque_is_settled(&purged->deque));
}

bool
queue_discards_can_go_on(const struct queue_discards *discards)
{
    const struct purged *purged = first_purged(discards);
    return purged != NULL && !must_wait(purged);
}

/* Takes the next one that is in memory. */
static bool
take_next(struct purged *purged, struct queue_entry *entry_out)
{
    const struct due_row *first = due_index_first(&purged->rows);
    if (first != NULL) {
        struct due_row row;
        struct due_key key = first->key;
        uint64_t before = purged->rows.bytes;
        (void)due_index_take(&purged->rows, &key, &row);
        entry_deque_count_memory(&purged->deque, before, purged->rows.bytes);
        *entry_out = row.entry;
        return true;
    }
    if (entry_deque_head(&purged->deque) == NULL) {
        return false;
    }
    entry_deque_take(&purged->deque, entry_out);
    return true;
}

bool
queue_discards_release(struct queue_discards *discards, uint32_t message_max)
{
    struct purged *purged;
    while ((purged = first_purged(discards)) != NULL) {
        struct queue_entry entry;
        for (; message_max > 0 && take_next(purged, &entry); message_max--) {
            discards->release(discards->context, purged->queue_id, &entry);
        }
        if (has_next(purged)) {
            return true;
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

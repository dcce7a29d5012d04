/* SPDX-License-Identifier: Apache-2.0 */
/* The messages of a queue; its consumers are in queue_consumers.c. */
#include "queues/queue.h"

#include <stdlib.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "queues/clocks.h"
#include "queues/expiry.h"
#include "queues/queue_arguments.h"
#include "queues/returned.h"
#include "queues/waiting.h"

_Static_assert(sizeof(struct queue) <= 312, "a million queues may be idle");
_Static_assert(QUORUM_LEVEL_DEFAULT < 8, "queue.level_default has three bits");

/* Life ----------------------------------------------------------------------------------------- */

static void
put_bytes(uint8_t *to, struct bytes from)
{
    if (from.size > 0) {
        memcpy(to, from.data, from.size);
    }
}

/* A highest level of 0 acts as 1, as in RabbitMQ. */
static void
set_levels(struct queue *queue)
{
    const struct queue_settings *settings = queue->settings;
    queue->next_position = 1;
    if (settings->type == QUEUE_TYPE_QUORUM) {
        queue->level_max = QUORUM_LEVEL_MAX;
        queue->level_default = QUORUM_LEVEL_DEFAULT;
    } else if (settings->max_priority >= 0) {
        queue->level_max = settings->max_priority == 0 ? 1 : (uint8_t)settings->max_priority;
    } else {
        return;
    }
    queue->next_position += position_of_level(queue->level_default);
}

/* Most queues have no arguments, and with them no settings of their own. */
struct queue *
queue_new(uint64_t id, const struct queue_properties *properties)
{
    bool has_settings = properties->arguments.size > 0;
    size_t offset = queue_settings_offset(properties->name.size);
    size_t settings_size = has_settings ? sizeof(struct queue_settings) : 0;
    struct queue *queue = try_alloc(offset + settings_size + properties->arguments.size);
    if (queue == NULL) {
        return NULL;
    }
    assert(properties->name.size <= UINT8_MAX);
    *queue = (struct queue){.references = 1, .name_size = (uint8_t)properties->name.size};
    route_target_init(&queue->target, ROUTE_TARGET_QUEUE, id);
    put_bytes(queue->name_octets, properties->name);
    struct queue_settings *settings = (void *)((uint8_t *)queue + offset);
    uint8_t *arguments = (uint8_t *)settings + settings_size;
    put_bytes(arguments, properties->arguments);
    queue->arguments = bytes_make(arguments, properties->arguments.size);
    queue->settings = has_settings ? settings : queue_settings_default();
    if (has_settings) {
        queue_read_arguments(settings, queue->arguments);
    }
    queue->owner_link = properties->owner_link;
    queue->durable = properties->durable;
    queue->exclusive = properties->exclusive;
    queue->auto_delete = properties->auto_delete;
    queue->from_file = properties->from_file;
    queue->is_protected = properties->is_protected;
    queue->made = properties->made;
    set_levels(queue);
    return queue;
}

struct queue *
queue_ref(struct queue *queue)
{
    assert(queue->references > 0);
    queue->references++;
    return queue;
}

void
queue_unref(struct queue **queue_pointer)
{
    struct queue *queue = *queue_pointer;
    if (queue == NULL) {
        return;
    }
    *queue_pointer = NULL;
    assert(queue->references > 0);
    if (--queue->references > 0) {
        return;
    }
    assert(queue->ready_count == 0);
    assert(queue->unacked_count == 0);
    assert(queue->service == NULL);
    assert(queue->windows == NULL);
    list_remove(&queue->dispatch_link);
    list_remove(&queue->owner_list_link);
    queue_forget_times(queue);
    queue_forget_waiting(queue);
    queue_forget_clocks(queue);
    queue_free_levels(queue);
    if (queue->dying != NULL) {
        assert(queue->dying->count == 0);
        list_remove(&queue->dying->link);
        list_remove(&queue->dying->all_link);
        list_remove(&queue->dying->overlong_link);
        queue_free_dying(queue);
    }
    entry_deque_fini(&queue->deque);
    queue_free_returned(queue);
    if (queue->handout != NULL) {
        list_remove(&queue->handout->link);
        free(queue->handout);
    }
    queue_forget_failures(queue);
    queue_free_arguments(queue);
    free(queue);
}

/* The deque ------------------------------------------------------------------------------------ */

enum status
queue_reserve_places(struct queue *queue, uint32_t count)
{
    return queue_make_clocks(queue) != STATUS_OK ? STATUS_NO_MEMORY
                                                 : entry_deque_reserve(&queue->deque, count);
}

static inline enum status
push_entry(struct queue *queue, const struct queue_entry *entry)
{
    bool is_new_time = queue_clocks_are_behind(queue);
    if ((is_new_time && queue_make_clocks(queue) != STATUS_OK) ||
        entry_deque_push(&queue->deque, entry) != STATUS_OK) {
        return STATUS_NO_MEMORY;
    }
    if (is_new_time) {
        queue_clocks_on_new_time(queue, queue->next_position);
    }
    queue->next_position++;
    queue->ready_count++;
    queue->ready_bytes += entry->size;
    return STATUS_OK;
}

enum status
queue_push_entry(struct queue *queue, const struct queue_entry *entry)
{
    return push_entry(queue, entry);
}

enum status
queue_push(struct queue *queue, const struct queue_entry *entry)
{
    if (queue->times != NULL) {
        queue_times_on_endless(queue);
    }
    return push_entry(queue, entry);
}

void
queue_take_from_deque(struct queue *queue, struct queue_entry *entry_out, uint64_t *position_out)
{
    *position_out = queue_deque_position(queue);
    entry_deque_take(&queue->deque, entry_out);
    queue->ready_count--;
    queue->ready_bytes -= entry_out->size;
}

/* Where only the dead are left, nothing will be read back. */
void
queue_skip_dead(struct queue *queue)
{
    while (queue->times != NULL && queue->returned_count > 0 &&
           queue_times_is_dead(queue, queue_returned_position(queue, 0), true)) {
        queue_drop_first_returned(queue);
    }
    if (queue->deque.dead_count > 0) {
        entry_deque_drop_dead(&queue->deque, queue_deque_places(queue));
    }
}

/* Taking --------------------------------------------------------------------------------------- */

uint64_t
queue_head_position(const struct queue *queue)
{
    return queue_head_is_returned(queue) ? queue_returned_position(queue, 0)
                                         : queue_deque_position(queue);
}

void
queue_lose(struct queue *queue, const struct entry_deque *deque, const struct entry_loss *loss)
{
    if (!queue_turn_to_deque(queue, deque)) {
        return;
    }
    assert(queue->ready_count >= loss->count);
    queue->ready_count -= loss->count;
    queue->ready_bytes -= loss->bytes;
    queue_clocks_on_lost(queue, loss->count);
    queue_skip_dead(queue);
    queue_serve_highest(queue);
}

bool
queue_head_is_away(const struct queue *queue)
{
    return !queue_head_is_returned(queue) && entry_deque_head_is_away(&queue->deque);
}

uint64_t
queue_horizon_lsn(const struct queue *queue)
{
    enum { HORIZON_BLOCKS = 16 };
    return entry_deque_last_lsn(&queue->deque, HORIZON_BLOCKS);
}

/* Whether the queue is nothing but a deque, what came back and what is lent. */
static bool
is_plain(const struct queue *queue)
{
    return queue->times == NULL && queue->levels == NULL;
}

static bool
has_next(const struct queue *queue)
{
    return queue->ready_count > 0 && !queue_head_is_away(queue);
}

/* The next message of a plain queue, if there is one: what came back was once at the head, so it
 * stands before whatever is in the deque. */
static inline __attribute__((always_inline)) bool
take_plain(struct queue *queue, struct queue_entry *entry_out, uint64_t *position_out)
{
    if (queue->returned_count > 0) {
        queue_take_returned(queue, entry_out, position_out);
        return true;
    }
    if (queue->ready_count == 0 || entry_deque_head_is_away(&queue->deque)) {
        return false;
    }
    *position_out = queue->next_position - queue->ready_count - queue->deque.dead_count;
    entry_deque_take(&queue->deque, entry_out);
    queue->ready_count--;
    queue->ready_bytes -= entry_out->size;
    return true;
}

/* In any queue; there is a next message. */
static void
take_any(struct queue *queue, struct queue_entry *entry_out, uint64_t *position_out)
{
    if (queue_head_is_returned(queue)) {
        queue_take_returned(queue, entry_out, position_out);
    } else {
        queue_take_from_deque(queue, entry_out, position_out);
    }
}

/* After a message was taken. */
static void
go_on_behind(struct queue *queue)
{
    if (queue->times != NULL) {
        queue_skip_dead(queue);
    }
    queue_serve_highest(queue);
}

/* By itself, as that of queue_lend, so that plain queues need not make room for what it has. */
static __attribute__((noinline)) bool
pop_any(struct queue *queue, struct queue_entry *entry_out, uint64_t *position_out)
{
    if (!has_next(queue)) {
        return false;
    }
    take_any(queue, entry_out, position_out);
    queue_clocks_on_gone(queue, *position_out);
    if (queue->times != NULL) {
        queue_times_on_gone(queue, entry_out, *position_out);
    }
    go_on_behind(queue);
    return true;
}

bool
queue_pop(struct queue *queue, struct queue_entry *entry_out, uint64_t *position_out)
{
    if (!is_plain(queue)) {
        return pop_any(queue, entry_out, position_out);
    }
    bool taken = take_plain(queue, entry_out, position_out);
    if (taken) {
        queue_clocks_on_gone(queue, *position_out);
    }
    return taken;
}

static __attribute__((noinline)) bool
lend_any(struct queue *queue, struct queue_entry *entry_out, uint64_t *position_out)
{
    if (!has_next(queue)) {
        return false;
    }
    take_any(queue, entry_out, position_out);
    queue->unacked_count++;
    queue->clocks->lent_bytes += entry_out->size;
    if (queue->times != NULL) {
        queue_times_on_lent(queue, entry_out, *position_out);
    }
    go_on_behind(queue);
    return true;
}

static enum status
keep_room_to_lend(struct queue *queue)
{
    if (queue_keep_return_room(queue) != STATUS_OK) {
        return STATUS_NO_MEMORY;
    }
    return queue->settings->counts_failures ? queue_keep_failure_room(queue) : STATUS_OK;
}

enum status
queue_lend(struct queue *queue, struct queue_entry *entry_out, uint64_t *position_out)
{
    if (queue->ready_count == 0) {
        return STATUS_AGAIN;
    }
    if (keep_room_to_lend(queue) != STATUS_OK) {
        return STATUS_NO_MEMORY;
    }
    if (!is_plain(queue)) {
        return lend_any(queue, entry_out, position_out) ? STATUS_OK : STATUS_AGAIN;
    }
    if (!take_plain(queue, entry_out, position_out)) {
        return STATUS_AGAIN;
    }
    queue->unacked_count++;
    queue->clocks->lent_bytes += entry_out->size;
    return STATUS_OK;
}

enum status
queue_lend_again(struct queue *queue, const struct queue_entry *entry, uint64_t position)
{
    if (keep_room_to_lend(queue) != STATUS_OK) {
        return STATUS_NO_MEMORY;
    }
    queue->unacked_count++;
    queue->clocks->lent_bytes += entry->size;
    queue_clocks_on_back(queue, position);
    return STATUS_OK;
}

/* The message was pushed last, so it is in memory. Its place stays behind, as that of one that has
 * died: only queues with times look for such. */
enum status
queue_lend_last(struct queue *queue, struct queue_entry *entry_out, uint64_t *position_out)
{
    (void)queue_times_of(queue);
    uint64_t places = queue_deque_places(queue);
    assert(places > 0);
    if (queue_keep_return_room(queue) != STATUS_OK ||
        entry_deque_kill(&queue->deque, places - 1, entry_out) != STATUS_OK) {
        return STATUS_NO_MEMORY;
    }
    *position_out = queue->next_position - 1;
    queue->ready_count--;
    queue->ready_bytes -= entry_out->size;
    queue->unacked_count++;
    queue->clocks->lent_bytes += entry_out->size;
    queue_times_on_lent_last(queue, entry_out, *position_out);
    go_on_behind(queue);
    return STATUS_OK;
}

/* Every level's, the highest first: in the order of service. */
static void
purge_deques(struct queue *queue, uint64_t queue_id, struct queue_discards *discards)
{
    queue_discards_add(discards, queue_id, &queue->deque);
    if (queue->levels == NULL) {
        return;
    }
    for (int level = queue->level_max; level >= 0; level--) {
        queue_discards_add(discards, queue_id, &queue->levels->of[level].deque);
    }
    queue_forget_ready_levels(queue);
}

uint64_t
queue_purge(struct queue *queue, struct queue_discards *discards)
{
    uint64_t count = queue->ready_count;
    uint64_t queue_id = queue->deleted ? 0 : queue->target.id;
    for (uint32_t i = 0; i < queue->returned_count; i++) {
        const struct queue_entry *entry = queue_returned_entry(queue, i);
        if (entry != NULL) {
            queue_clocks_on_gone(queue, queue_returned_position(queue, i));
            discards->release(discards->context, queue_id, entry);
        }
    }
    queue_clocks_on_purged(queue);
    purge_deques(queue, queue_id, discards);
    queue->returned_count = 0;
    queue->ready_count = 0;
    queue->ready_bytes = 0;
    if (queue->times != NULL) {
        queue_times_on_purged(queue);
    }
    if (queue->unacked_count == 0) {
        queue_free_returned(queue);
    }
    return count;
}

uint64_t
queue_memory_bytes(const struct queue *queue)
{
    uint64_t bytes = queue->deque.bytes;
    for (unsigned i = 0; queue->levels != NULL && i <= queue->level_max; i++) {
        bytes += queue->levels->of[i].deque.bytes;
    }
    return bytes;
}

/* Checking ------------------------------------------------------------------------------------- */

static void
check_messages(const struct queue *queue)
{
    uint64_t bytes;
    uint64_t own_bytes = queue->returned_capacity * sizeof(*queue->returned) +
                         queue_check_dying(queue) + queue_waiting_bytes(queue) +
                         queue_check_failures(queue) + queue_levels_bytes(queue);
    queue_check_waiting(queue);
    if (queue->times != NULL) {
        own_bytes += queue_times_bytes(queue->times);
        queue_check_times(queue);
    }
    own_bytes += queue_check_clocks(queue);
    uint64_t count = entry_deque_check(&queue->deque, own_bytes, &bytes);
    assert(count == queue_deque_places(queue));
    bytes += queue_check_levels(queue);
    bytes += queue_check_returned(queue);
    assert(bytes == queue->ready_bytes);
}

void
queue_check(const struct queue *queue)
{
    check_messages(queue);
    queue_check_consumers(queue);
}

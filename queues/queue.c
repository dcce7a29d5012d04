/* SPDX-License-Identifier: Apache-2.0 */
/* The messages of a queue; its consumers are in queue_consumers.c. */
#include "queues/queue.h"

#include <stdlib.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "queues/clocks.h"
#include "queues/expiry.h"
#include "queues/waiting.h"

enum { RETURNED_CAPACITY_MIN = 16 };

/* The heap is ordered by `order`: the position, or in a quorum queue that does not keep strict
 * order the number of the return, which is behind all positions. */
struct queue_returned {
    uint64_t order;
    uint64_t position;
    struct queue_entry entry;
};

static const uint64_t RETURN_ORDER = UINT64_C(1) << 63;

_Static_assert(sizeof(struct queue) <= 360, "a million queues may be idle");

/* Life ----------------------------------------------------------------------------------------- */

static struct bytes
copy_behind(uint8_t **end, struct bytes bytes)
{
    uint8_t *copy = *end;
    if (bytes.size > 0) {
        memcpy(copy, bytes.data, bytes.size);
    }
    *end += bytes.size;
    return bytes_make(copy, bytes.size);
}

/* Of arguments that were found valid. */
static void
read_settings(struct queue_settings *settings, struct bytes arguments)
{
    struct fault fault;
    enum status status = queue_settings_read(settings, arguments, "queue", &fault);
    assert(status == STATUS_OK);
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
    size_t settings_size = has_settings ? sizeof(struct queue_settings) : 0;
    struct queue *queue = try_alloc(sizeof(*queue) + settings_size + properties->name.size +
                                    properties->arguments.size);
    if (queue == NULL) {
        return NULL;
    }
    *queue = (struct queue){.references = 1};
    struct queue_settings *settings = (struct queue_settings *)(queue + 1);
    uint8_t *end = (uint8_t *)settings + settings_size;
    route_target_init(&queue->target, ROUTE_TARGET_QUEUE, id);
    queue->name = copy_behind(&end, properties->name);
    queue->arguments = copy_behind(&end, properties->arguments);
    queue->settings = has_settings ? settings : queue_settings_default();
    if (has_settings) {
        read_settings(settings, queue->arguments);
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

/* Arguments that were changed, and what they say. */
struct changed_arguments {
    struct queue_settings settings;
    uint8_t octets[];
};

/* As declared they lie behind the name, in the queue's own allocation. NULL: they do. */
static struct changed_arguments *
changed_arguments(const struct queue *queue)
{
    if (queue->arguments.data == queue->name.data + queue->name.size) {
        return NULL;
    }
    const uint8_t *octets = queue->arguments.data;
    return (struct changed_arguments *)(uintptr_t)(octets -
                                                   offsetof(struct changed_arguments, octets));
}

/* What the arguments say, whatever policies do. */
static const struct queue_settings *
declared_settings(const struct queue *queue)
{
    const struct changed_arguments *changed = changed_arguments(queue);
    if (changed != NULL) {
        return &changed->settings;
    }
    return queue->arguments.size > 0 ? (const struct queue_settings *)(queue + 1)
                                     : queue_settings_default();
}

/* Policies ------------------------------------------------------------------------------------- */

/* Of queues that policies apply to. */
struct queue_policies {
    struct queue_settings settings; /* what is in force */
    struct policy *applied[POLICY_KIND_COUNT];
};

static struct queue_policies *
queue_policies(const struct queue *queue)
{
    return queue->has_policies ? (struct queue_policies *)(uintptr_t)queue->settings : NULL;
}

struct policy *
queue_policy(const struct queue *queue, enum policy_kind kind)
{
    const struct queue_policies *policies = queue_policies(queue);
    return policies == NULL ? NULL : policies->applied[kind];
}

static void
queue_policies_free(struct queue_policies *policies)
{
    if (policies != NULL) {
        policy_unref(&policies->applied[POLICY_ORDINARY]);
        policy_unref(&policies->applied[POLICY_OPERATOR]);
        free(policies);
    }
}

static void
merge_settings(struct queue_policies *policies, const struct queue_settings *declared)
{
    const struct policy *policy = policies->applied[POLICY_ORDINARY];
    const struct policy *operator_policy = policies->applied[POLICY_OPERATOR];
    queue_settings_merge(&policies->settings, declared, policy == NULL ? NULL : &policy->settings,
                         operator_policy == NULL ? NULL : &operator_policy->settings);
}

uint32_t
queue_set_policies(struct queue *queue, struct policy *policy, struct policy *operator_policy)
{
    struct queue_policies *before = queue_policies(queue);
    const struct queue_settings *settings_before = queue->settings;
    queue->has_policies = policy != NULL || operator_policy != NULL;
    queue->settings = declared_settings(queue);
    if (queue->has_policies) {
        struct queue_policies *policies = xalloc(sizeof(*policies));
        policies->applied[POLICY_ORDINARY] = policy_ref(policy);
        policies->applied[POLICY_OPERATOR] = policy_ref(operator_policy);
        merge_settings(policies, queue->settings);
        queue->settings = &policies->settings;
    }
    uint32_t changed = queue_settings_differences(settings_before, queue->settings);
    queue_policies_free(before);
    return changed;
}

/* Arguments ------------------------------------------------------------------------------------ */

enum status
queue_set_arguments(struct queue *queue, struct bytes arguments, uint32_t *changed_out)
{
    struct changed_arguments *changed = try_alloc(sizeof(*changed) + arguments.size);
    if (changed == NULL) {
        return STATUS_NO_MEMORY;
    }
    uint8_t *end = changed->octets;
    struct bytes copy = copy_behind(&end, arguments);
    read_settings(&changed->settings, copy);
    assert(changed->settings.type == queue->settings->type);
    assert(changed->settings.max_priority == queue->settings->max_priority);
    assert(changed->settings.single_active_consumer == queue->settings->single_active_consumer);
    struct queue_policies *policies = queue_policies(queue);
    struct queue_settings before = *queue->settings;
    struct changed_arguments *replaced = changed_arguments(queue);
    queue->arguments = copy;
    queue->settings = &changed->settings;
    if (policies != NULL) {
        merge_settings(policies, &changed->settings);
        queue->settings = &policies->settings;
    }
    *changed_out = queue_settings_differences(&before, queue->settings);
    free(replaced);
    return STATUS_OK;
}

struct queue *
queue_ref(struct queue *queue)
{
    assert(queue->references > 0);
    queue->references++;
    return queue;
}

static void
free_returned(struct queue *queue)
{
    entry_deque_count_memory(&queue->deque, queue->returned_capacity * sizeof(*queue->returned), 0);
    free(queue->returned);
    queue->returned = NULL;
    queue->returned_capacity = 0;
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
    list_remove(&queue->overlong_link);
    list_remove(&queue->owner_list_link);
    queue_forget_times(queue);
    queue_forget_waiting(queue);
    queue_forget_clocks(queue);
    queue_free_levels(queue);
    entry_deque_fini(&queue->deque);
    free_returned(queue);
    if (queue->handout != NULL) {
        list_remove(&queue->handout->link);
        free(queue->handout);
    }
    if (queue->dying != NULL) {
        assert(queue->dying->count == 0);
        list_remove(&queue->dying->link);
        list_remove(&queue->dying->all_link);
        free(queue->dying);
    }
    queue_forget_failures(queue);
    queue_policies_free(queue_policies(queue));
    free(changed_arguments(queue));
    free(queue);
}

/* The deque ------------------------------------------------------------------------------------ */

static inline enum status
push_entry(struct queue *queue, const struct queue_entry *entry)
{
    if (entry_deque_push(&queue->deque, entry) != STATUS_OK) {
        return STATUS_NO_MEMORY;
    }
    queue_clocks_on_push(queue, queue->next_position++);
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

/* Returned messages ---------------------------------------------------------------------------- */

static void
place_returned(struct queue *queue, const struct queue_returned *item)
{
    struct queue_returned *heap = queue->returned;
    uint32_t at = queue->returned_count++;
    while (at > 0 && heap[(at - 1) / 2].order > item->order) {
        heap[at] = heap[(at - 1) / 2];
        at = (at - 1) / 2;
    }
    heap[at] = *item;
}

static void
drop_first_returned(struct queue *queue)
{
    struct queue_returned *heap = queue->returned;
    uint32_t count = --queue->returned_count;
    struct queue_returned last = heap[count];
    uint32_t at = 0;
    for (uint32_t child = 1; child < count; child = 2 * at + 1) {
        if (child + 1 < count && heap[child + 1].order < heap[child].order) {
            child++;
        }
        if (last.order <= heap[child].order) {
            break;
        }
        heap[at] = heap[child];
        at = child;
    }
    heap[at] = last;
}

static void
take_returned(struct queue *queue, struct queue_entry *entry_out, uint64_t *position_out)
{
    *entry_out = queue->returned[0].entry;
    *position_out = queue->returned[0].position;
    drop_first_returned(queue);
    queue->ready_count--;
    queue->ready_bytes -= entry_out->size;
}

/* Where only the dead are left, nothing will be read back. */
void
queue_skip_dead(struct queue *queue)
{
    while (queue->times != NULL && queue->returned_count > 0 &&
           queue_times_is_dead(queue, queue->returned[0].position, true)) {
        drop_first_returned(queue);
    }
    if (queue->deque.dead_count > 0) {
        entry_deque_drop_dead(&queue->deque, queue_deque_places(queue));
    }
}

static uint64_t
returned_needed(const struct queue *queue)
{
    return (uint64_t)queue->returned_count + queue->unacked_count;
}

static enum status
resize_returned(struct queue *queue, uint32_t capacity)
{
    struct queue_returned *returned =
        try_realloc(queue->returned, capacity * sizeof(*queue->returned));
    if (returned == NULL) {
        return STATUS_NO_MEMORY;
    }
    entry_deque_count_memory(&queue->deque, queue->returned_capacity * sizeof(*returned),
                             capacity * sizeof(*returned));
    queue->returned = returned;
    queue->returned_capacity = capacity;
    return STATUS_OK;
}

/* Room to take one more message back. */
static enum status
keep_room(struct queue *queue)
{
    if (returned_needed(queue) < queue->returned_capacity) {
        return STATUS_OK;
    }
    if (queue->returned_capacity > UINT32_MAX / 2) {
        return STATUS_NO_MEMORY;
    }
    return resize_returned(queue, queue->returned_capacity == 0 ? RETURNED_CAPACITY_MIN
                                                                : queue->returned_capacity * 2);
}

/* Gives memory back when seven of eight places are unused. */
static void
shrink_room(struct queue *queue)
{
    uint32_t capacity = queue->returned_capacity;
    if (capacity > RETURNED_CAPACITY_MIN && returned_needed(queue) <= capacity / 8) {
        /* A shrinking that fails leaves the larger array, which is as good. */
        enum status status = resize_returned(queue, capacity / 2);
        (void)status;
    }
}

/* There is room. `entry` gets the flags that it has there. */
/* Returned messages come in the order of their return, those that keep strict order before them. A
 * quorum queue has 32 levels, so the first bit of all its positions is the same. */
static uint64_t
quorum_order(struct queue *queue, uint64_t position)
{
    bool keeps_place = queue->settings->retry.order == RETRY_ORDER_HOLD;
    return keeps_place ? position & ~RETURN_ORDER : RETURN_ORDER | queue->next_return++;
}

static void
put_back(struct queue *queue, struct queue_entry *entry, uint64_t position)
{
    assert(queue_knows_position(queue, position));
    assert(queue->returned_count < queue->returned_capacity);
    bool is_quorum = queue->settings->type == QUEUE_TYPE_QUORUM;
    queue_entry_set_flag(entry, ENTRY_REDELIVERED);
    if (entry->due != DUE_NONE) {
        queue_times_on_returned(queue, entry, position);
    }
    struct queue_returned item = {
        .order = is_quorum ? quorum_order(queue, position) : position,
        .position = position,
        .entry = *entry,
    };
    place_returned(queue, &item);
    queue->ready_count++;
    queue->ready_bytes += entry->size;
}

void
queue_return(struct queue *queue, const struct queue_entry *entry, uint64_t position)
{
    assert(queue->unacked_count > 0);
    struct queue_entry copy = *entry;
    put_back(queue, &copy, position);
    queue->unacked_count--;
}

enum status
queue_put_back(struct queue *queue, struct queue_entry *entry, uint64_t position)
{
    if (keep_room(queue) != STATUS_OK) {
        return STATUS_NO_MEMORY;
    }
    put_back(queue, entry, position);
    queue_clocks_on_back(queue, position);
    return STATUS_OK;
}

void
queue_end_lending(struct queue *queue, uint64_t position)
{
    assert(queue->unacked_count > 0);
    queue->unacked_count--;
    queue_clocks_on_gone(queue, position);
    shrink_room(queue);
}

void
queue_settle(struct queue *queue, const struct queue_entry *entry, uint64_t position)
{
    assert(queue->unacked_count > 0);
    queue->unacked_count--;
    queue_clocks_on_gone(queue, position);
    if (entry->due != DUE_NONE && queue->times != NULL) {
        queue_times_on_gone(queue, entry, position);
    }
    shrink_room(queue);
    if (queue->failures != NULL) {
        queue_shrink_failures(queue);
    }
}

/* Taking --------------------------------------------------------------------------------------- */

const struct queue_entry *
queue_first_returned(const struct queue *queue)
{
    assert(queue->returned_count > 0);
    return &queue->returned[0].entry;
}

struct queue_entry *
queue_returned_entry(struct queue *queue, uint32_t at)
{
    assert(at < queue->returned_count);
    assert(queue->returned != NULL);
    bool is_dead =
        queue->times != NULL && queue_times_is_dead(queue, queue->returned[at].position, false);
    return is_dead ? NULL : &queue->returned[at].entry;
}

uint64_t
queue_returned_position(const struct queue *queue, uint32_t at)
{
    assert(at < queue->returned_count);
    return queue->returned[at].position;
}

void
queue_note_patched(struct queue *queue, uint32_t at)
{
    const struct queue_returned *item = &queue->returned[at];
    if ((queue_entry_flags(&item->entry) & ENTRY_INDEXED) != 0) {
        queue_times_on_patched(queue, &item->entry, item->position);
    }
}

uint64_t
queue_head_position(const struct queue *queue)
{
    return queue_head_is_returned(queue) ? queue->returned[0].position
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
        take_returned(queue, entry_out, position_out);
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
        take_returned(queue, entry_out, position_out);
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
    if (queue->times != NULL) {
        queue_times_on_lent(queue, entry_out, *position_out);
    }
    go_on_behind(queue);
    return true;
}

static enum status
keep_room_to_lend(struct queue *queue)
{
    if (keep_room(queue) != STATUS_OK) {
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
    return STATUS_OK;
}

enum status
queue_lend_again(struct queue *queue, uint64_t position)
{
    if (keep_room_to_lend(queue) != STATUS_OK) {
        return STATUS_NO_MEMORY;
    }
    queue->unacked_count++;
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
    if (keep_room(queue) != STATUS_OK ||
        entry_deque_kill(&queue->deque, places - 1, entry_out) != STATUS_OK) {
        return STATUS_NO_MEMORY;
    }
    *position_out = queue->next_position - 1;
    queue->ready_count--;
    queue->ready_bytes -= entry_out->size;
    queue->unacked_count++;
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
        free_returned(queue);
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
    const struct queue_returned *heap = queue->returned;
    assert(queue->returned_count == 0 || heap != NULL);
    for (uint32_t i = 0; i < queue->returned_count; i++) {
        assert(i == 0 || heap[(i - 1) / 2].order < heap[i].order);
        assert(queue_knows_position(queue, heap[i].position));
        const struct queue_entry *entry = queue_returned_entry((struct queue *)queue, i);
        bytes += entry == NULL ? 0 : entry->size;
    }
    assert(bytes == queue->ready_bytes);
    assert(returned_needed(queue) <= queue->returned_capacity);
}

void
queue_check(const struct queue *queue)
{
    check_messages(queue);
    queue_check_consumers(queue);
}

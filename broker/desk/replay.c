/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/desk/replay.h"

#include "amqp/table.h"
#include "base/assert.h"
#include "broker/death/retry.h"
#include "broker/death/retry_headers.h"
#include "broker/paging/paging.h"
#include "broker/publishing/letter.h"
#include "broker/topology/vhost.h"
#include "broker/users/access.h"

/* What the headers of a replay take beside those that were there. */
enum { REPLAY_HEADERS_OCTETS_MAX = 1024 };

static const char *const replay_names[] = {"x-replay-batch", "x-replay-count", "x-replay-time",
                                           "x-replay-queue"};

void
replay_init(struct replay *replay, struct core *core, struct queue *queue)
{
    *replay = (struct replay){.core = core, .queue = queue};
    buffer_init(&replay->headers);
    buffer_init(&replay->block);
}

void
replay_fini(struct replay *replay)
{
    buffer_fini(&replay->headers);
    buffer_fini(&replay->block);
}

/* Taking out ----------------------------------------------------------------------------------- */

/* STATUS_NO_MEMORY changes nothing; never of a row that stands in its deque in memory. */
static enum status
take(struct queue *queue, const struct desk_row *row, struct queue_entry *entry_out)
{
    assert(row->place != DESK_UNACKED);
    *entry_out = row->entry;
    if (row->place == DESK_READY) {
        return queue_take_at(queue, row->stand, row->position, entry_out);
    }
    struct due_row taken;
    bool is_there = queue_take_waiting(queue, &row->key, &taken);
    assert(is_there);
    *entry_out = taken.entry;
    return STATUS_OK;
}

/* The message is nowhere in the queue any more. */
static void
end_taking(struct core *core, struct queue *queue, const struct desk_row *row,
           const struct queue_entry *entry)
{
    core_log_departure(core, queue, entry, row->position);
    queue_entry_release(entry, core->pool);
    if (row->place != DESK_READY) {
        return;
    }
    queue_end_taking(queue, row->position);
    core_heed_hold(core, queue);
    if (queue->ready_count == 0) {
        core_release_windows(core, queue);
    }
}

enum status
desk_drop_message(struct core *core, struct queue *queue, const struct desk_row *row)
{
    struct queue_entry entry;
    if (take(queue, row, &entry) != STATUS_OK) {
        return STATUS_NO_MEMORY;
    }
    end_taking(core, queue, row, &entry);
    return STATUS_OK;
}

/* Where to ------------------------------------------------------------------------------------- */

/* Whether there were any. */
static bool
take_origin_keys(struct letter *letter, struct bytes keys)
{
    struct byte_reader reader = byte_reader_make(keys);
    struct table_value item;
    uint32_t count = 0;
    while (count <= PUBLISH_HEADER_KEYS_MAX && table_array_next(&reader, &item)) {
        if (item.type == 'S') {
            letter->keys[count++] = item.raw;
        }
    }
    if (count > 0) {
        struct bytes first = letter->keys[0];
        letter_set_key(letter, first);
        letter->key_count = count;
    }
    return count > 0;
}

/* False: there is no such place. */
static bool
choose_origin(const struct replay *replay, struct letter *letter, const struct desk_facts *facts)
{
    const struct vhost *vhost = replay->queue->vhost;
    if (facts->origin_queue.data == NULL) {
        return false;
    }
    if (replay->target.to == REPLAY_TO_ORIGIN_QUEUE) {
        letter->exchange = vhost_find_exchange(vhost, bytes_of(""));
        letter_set_key(letter, facts->origin_queue);
        return vhost_find_queue(vhost, facts->origin_queue) != NULL;
    }
    letter->exchange = vhost_find_exchange(vhost, facts->origin_exchange);
    /* What is parked has the keys that it came with. */
    return letter->exchange != NULL &&
           (facts->origin_keys.size == 0
                ? bytes_equal(facts->origin_queue, queue_name(replay->queue))
                : take_origin_keys(letter, facts->origin_keys));
}

static bool
choose_target(const struct replay *replay, struct letter *letter, const struct desk_facts *facts)
{
    const struct replay_target *target = &replay->target;
    if (target->to != REPLAY_TO_EXCHANGE) {
        return choose_origin(replay, letter, facts);
    }
    letter->exchange = vhost_find_exchange(replay->queue->vhost, target->exchange);
    if (target->routing_key.data != NULL) {
        letter_set_key(letter, target->routing_key);
    }
    return letter->exchange != NULL;
}

/* Whether the user may publish it there, as basic.publish asks; a user who is gone may nothing. */
static bool
may_publish(const struct replay *replay, const struct letter *letter)
{
    const struct vhost *vhost = replay->queue->vhost;
    const struct exchange *exchange = letter->exchange;
    if (replay->user.data == NULL) {
        return true;
    }
    struct user *user = core_find_user(replay->core, replay->user);
    struct fault fault;
    bool may = user != NULL && !exchange->internal &&
               access_require_of(user, vhost, ACCESS_WRITE, ACCESS_EXCHANGE, exchange->name,
                                 &fault) == STATUS_OK;
    for (uint32_t i = 0; i < letter->key_count && may && exchange->type->is_topic; i++) {
        may = access_require_topic_of(user, vhost, ACCESS_WRITE, exchange->name, letter->keys[i],
                                      &fault) == STATUS_OK;
    }
    return may;
}

/* Headers -------------------------------------------------------------------------------------- */

/* What it said of its attempts goes as well: where it goes they begin anew, and a consumer who
 * counts by these headers would take the first of them for one too many. x-failure-count stays. */
static bool
is_of_others(const void *context, struct bytes name)
{
    (void)context;
    if (retry_headers_have(name)) {
        return false;
    }
    for (size_t i = 0; i < sizeof(replay_names) / sizeof(replay_names[0]); i++) {
        if (bytes_equal_text(name, replay_names[i])) {
            return false;
        }
    }
    return true;
}

/* Where they would not fit the frame of a client, the message goes without. */
static enum status
put_headers(struct replay *replay, struct letter *letter, const struct desk_facts *facts)
{
    struct buffer *headers = &replay->headers;
    buffer_clear(headers);
    table_copy_if(headers, letter->properties.headers, is_of_others, NULL);
    if (buffer_size(headers) + REPLAY_HEADERS_OCTETS_MAX <= letter_header_octets_max(letter)) {
        table_put_text(headers, "x-replay-batch", replay->batch);
        table_put_integer(headers, "x-replay-count", facts->replay_count + 1);
        buffer_put_shortstr(headers, bytes_of("x-replay-time"));
        buffer_put_u8(headers, 'T');
        buffer_put_u64(headers, (uint64_t)(replay->core->now.wall_ms / 1000));
        table_put_text(headers, "x-replay-queue", queue_name(replay->queue));
    }
    if (headers->failed) {
        return STATUS_NO_MEMORY;
    }
    letter_set_headers(letter, buffer_bytes(headers));
    letter->flags |= CONTENT_IS_REPLAYED;
    return STATUS_OK;
}

/* Sending on ----------------------------------------------------------------------------------- */

/* Whether one of the queues refuses it; that from which it comes has room for it. */
static bool
is_refused(const struct replay *replay, const struct desk_row *row)
{
    const struct core *core = replay->core;
    for (uint32_t i = 0; i < core->prompt_count; i++) {
        const struct queue *target = queue_of_target(core->routes.targets[i]);
        bool comes_back = target == replay->queue && row->place == DESK_READY;
        if (!comes_back && queue_would_refuse(target, row->entry.size)) {
            return true;
        }
    }
    return false;
}

/* Room was reserved in the queues that it goes to, the same one among them, perhaps. */
static enum status
change_places(const struct replay *replay, struct letter *letter, const struct desk_row *row)
{
    struct queue_entry entry;
    bool publishes_first = row->place == DESK_READY && row->stand == STAND_IN_DEQUE;
    if (publishes_first) {
        letter_publish(letter);
    }
    if (take(replay->queue, row, &entry) != STATUS_OK) {
        assert(!publishes_first);
        letter_abandon(letter);
        return STATUS_NO_MEMORY;
    }
    if (!publishes_first) {
        letter_publish(letter);
    }
    end_taking(replay->core, replay->queue, row, &entry);
    return STATUS_OK;
}

enum replay_result
replay_message(struct replay *replay, const struct desk_row *row, const struct desk_facts *facts)
{
    UNINITIALIZED struct letter letter;
    struct core *core = replay->core;
    letter_open(&letter, core, replay->queue->vhost, row->content);
    if (!choose_target(replay, &letter, facts)) {
        return REPLAY_NO_TARGET;
    }
    if (!may_publish(replay, &letter)) {
        return REPLAY_NOT_ALLOWED;
    }
    if (put_headers(replay, &letter, facts) != STATUS_OK) {
        return REPLAY_NO_MEMORY;
    }
    core_spend(core, letter_route(&letter));
    if (core->routes.count == 0) {
        return REPLAY_NO_TARGET;
    }
    if (is_refused(replay, row)) {
        return REPLAY_TARGET_FULL;
    }
    if (replay->is_dry) {
        return REPLAY_DONE;
    }
    enum status status = letter_prepare(&letter, &replay->block);
    if (status == STATUS_OK) {
        status = change_places(replay, &letter, row);
    }
    return status == STATUS_FULL ? REPLAY_TOO_LARGE
           : status == STATUS_OK ? REPLAY_DONE
                                 : REPLAY_NO_MEMORY;
}

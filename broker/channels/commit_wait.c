/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/channels/commit_wait.h"

#include "base/alloc.h"
#include "broker/durability/durability.h"

#include <stdlib.h>

enum { WAITS_FIRST = 8, WAITS_KEPT = 64 };

/* One thing to say: a confirm, or the next `answer_size` octets of the answers. */
struct commit_wait {
    uint64_t token;
    uint64_t confirm_number; /* 0: an answer */
    uint64_t began_ms; /* of a confirm: the core's time when the first of its publishes came */
    uint32_t answer_size;
    bool is_refusal; /* of a confirm: basic.nack */
};

struct commit_waits {
    struct commit_wait *items; /* in order, tokens never fall; owned */
    uint32_t start, end, capacity;
    uint32_t answer_count;
    struct buffer answers; /* encoded methods behind each other */
};

static struct commit_waits *
waits_of(struct channel *channel)
{
    if (channel->waits == NULL) {
        channel->waits = xalloc(sizeof(*channel->waits));
    }
    return channel->waits;
}

static void
make_room(struct commit_waits *waits)
{
    if (waits->end < waits->capacity) {
        return;
    }
    uint32_t count = waits->end - waits->start;
    if (waits->start >= waits->capacity / 2 && count > 0) {
        memmove(waits->items, waits->items + waits->start, count * sizeof(*waits->items));
        waits->start = 0;
        waits->end = count;
        return;
    }
    waits->capacity = waits->capacity == 0 ? WAITS_FIRST : waits->capacity * 2;
    waits->items = xrealloc(waits->items, waits->capacity * sizeof(*waits->items));
}

/* Puts one thing at the end. What waits has to be flushed. */
static void
push_wait(struct channel *channel, struct commit_wait wait)
{
    struct core *core = channel_core(channel);
    struct commit_waits *waits = waits_of(channel);
    if (waits->end > waits->start && waits->items[waits->end - 1].token > wait.token) {
        wait.token = waits->items[waits->end - 1].token;
    }
    make_room(waits);
    waits->items[waits->end++] = wait;
    core->wants_flush = true;
    if (!list_link_is_linked(&channel->commit_link)) {
        list_append(&core->awaiting_commit, &channel->commit_link);
        channel->connection->waiting_channels++;
    }
    if (++channel->connection->wait_count > COMMIT_WAITS_MAX) {
        connection_pause(channel->connection, PAUSE_COMMIT);
    }
}

static void
forget_waits(struct channel *channel, uint32_t count)
{
    struct connection *connection = channel->connection;
    assert(connection->wait_count >= count);
    connection->wait_count -= count;
    if (connection->wait_count <= COMMIT_WAITS_MAX) {
        connection_resume(connection, PAUSE_COMMIT);
    }
}

bool
channel_waits(const struct channel *channel)
{
    return channel->waits != NULL && channel->waits->end > channel->waits->start;
}

bool
channel_has_waiting_answer(const struct channel *channel)
{
    return channel->waits != NULL && channel->waits->answer_count > 0;
}

static void
send_refusal(struct channel *channel, uint64_t number)
{
    uint64_t count = number - channel->confirmed_number;
    channel->confirmed_number = number;
    struct method nack = {
        .id = METHOD_BASIC_NACK,
        .basic_nack = {.delivery_tag = number, .multiple = count > 1},
    };
    connection_send(channel->connection, channel->number, &nack);
}

/* So many publishes are confirmed, so long after they came. */
static void
count_confirms(struct core *core, uint64_t count, uint64_t waited_ms)
{
    unsigned bucket = 0;
    while (waited_ms > core_confirm_bounds_ms[bucket]) {
        bucket++;
    }
    core->counters.confirm_times[bucket] += count;
    core->counters.confirm_ms += count * waited_ms;
}

static void
send_confirm(struct channel *channel, uint64_t number)
{
    uint64_t count = number - channel->confirmed_number;
    channel->confirmed_number = number;
    channel_core(channel)->counters.confirmed += count;
    struct method ack = {
        .id = METHOD_BASIC_ACK,
        .basic_ack = {.delivery_tag = number, .multiple = count > 1},
    };
    connection_send(channel->connection, channel->number, &ack);
}

void
channel_confirm_after(struct channel *channel, uint64_t number, uint64_t token)
{
    struct core *core = channel_core(channel);
    if (!channel_waits(channel) && core_is_committed(core, token)) {
        count_confirms(core, number - channel->confirmed_number, 0);
        send_confirm(channel, number);
        return;
    }
    struct commit_waits *waits = waits_of(channel);
    if (waits->end > waits->start) {
        struct commit_wait *last = &waits->items[waits->end - 1];
        if (last->confirm_number != 0 && !last->is_refusal && token <= last->token) {
            last->confirm_number = number;
            return;
        }
    }
    push_wait(channel, (struct commit_wait){.token = token,
                                            .confirm_number = number,
                                            .began_ms = core->now.monotonic_ms});
}

void
channel_refuse_after(struct channel *channel, uint64_t number)
{
    if (!channel_waits(channel)) {
        send_refusal(channel, number);
        return;
    }
    struct commit_wait *last = &channel->waits->items[channel->waits->end - 1];
    if (last->confirm_number != 0 && last->is_refusal) {
        last->confirm_number = number;
        return;
    }
    push_wait(channel, (struct commit_wait){.confirm_number = number, .is_refusal = true});
}

void
channel_send_after(struct channel *channel, const struct method *method, uint64_t token)
{
    if (!channel_has_waiting_answer(channel) && core_is_committed(channel_core(channel), token)) {
        connection_send(channel->connection, channel->number, method);
        return;
    }
    struct commit_waits *waits = waits_of(channel);
    size_t before = buffer_size(&waits->answers);
    method_encode(&waits->answers, method);
    if (waits->answers.failed) {
        connection_drop(channel->connection, 0);
        return;
    }
    waits->answer_count++;
    push_wait(channel, (struct commit_wait){
                           .token = token,
                           .answer_size = (uint32_t)(buffer_size(&waits->answers) - before),
                       });
}

void
channel_send(struct channel *channel, const struct method *method)
{
    if (channel_has_waiting_answer(channel)) {
        channel_send_after(channel, method, 0);
        return;
    }
    connection_send(channel->connection, channel->number, method);
}

void
channel_send_last(struct channel *channel, const struct method *method)
{
    if (!channel_waits(channel)) {
        connection_send(channel->connection, channel->number, method);
        return;
    }
    const struct commit_waits *waits = channel->waits;
    channel_send_after(channel, method, waits->items[waits->end - 1].token);
}

static void
send_answer(struct channel *channel, struct commit_waits *waits, uint32_t size)
{
    connection_post_method(channel->connection, channel->number,
                           bytes_make(buffer_bytes(&waits->answers).data, size));
    buffer_consume(&waits->answers, size);
    waits->answer_count--;
}

static void
free_waits(struct channel *channel)
{
    if (channel->waits != NULL) {
        buffer_fini(&channel->waits->answers);
        free(channel->waits->items);
        free(channel->waits);
        channel->waits = NULL;
    }
}

/* Nothing waits any more. Many that did have left much memory. */
static void
finish_waiting(struct channel *channel)
{
    struct commit_waits *waits = channel->waits;
    list_remove(&channel->commit_link);
    channel->connection->waiting_channels--;
    connection_replay_later(channel->connection);
    waits->start = 0;
    waits->end = 0;
    if (waits->capacity > WAITS_KEPT) {
        free_waits(channel);
    }
}

/* How many from `start` on are confirms, and committed: one basic.ack says them all; or one
 * basic.nack all refusals. */
static uint32_t
confirms_at(const struct core *core, const struct commit_waits *waits, uint32_t start)
{
    uint32_t at = start;
    while (at < waits->end && waits->items[at].confirm_number != 0 &&
           waits->items[at].is_refusal == waits->items[start].is_refusal &&
           core_is_committed(core, waits->items[at].token)) {
        at++;
    }
    return at - start;
}

static void
say_confirms(struct channel *channel, const struct commit_wait *waits, uint32_t count)
{
    struct core *core = channel_core(channel);
    uint64_t number = waits[count - 1].confirm_number;
    if (waits->is_refusal) {
        send_refusal(channel, number);
        return;
    }
    uint64_t before = channel->confirmed_number;
    for (uint32_t i = 0; i < count; i++) {
        count_confirms(core, waits[i].confirm_number - before,
                       core->now.monotonic_ms - waits[i].began_ms);
        before = waits[i].confirm_number;
    }
    send_confirm(channel, number);
}

void
channel_on_commit(struct channel *channel)
{
    const struct core *core = channel_core(channel);
    /* What is sent may end the connection, and with it all that waits. */
    while (channel_waits(channel) &&
           core_is_committed(core, channel->waits->items[channel->waits->start].token)) {
        struct commit_waits *waits = channel->waits;
        uint32_t count = confirms_at(core, waits, waits->start);
        if (count == 0) {
            uint32_t answer_size = waits->items[waits->start++].answer_size;
            forget_waits(channel, 1);
            send_answer(channel, waits, answer_size);
        } else {
            waits->start += count;
            forget_waits(channel, count);
            say_confirms(channel, &waits->items[waits->start - count], count);
        }
    }
    if (list_link_is_linked(&channel->commit_link) && !channel_waits(channel)) {
        finish_waiting(channel);
    }
}

void
channel_drop_waits(struct channel *channel)
{
    if (channel_waits(channel)) {
        forget_waits(channel, channel->waits->end - channel->waits->start);
    }
    if (list_link_is_linked(&channel->commit_link)) {
        finish_waiting(channel);
    }
    free_waits(channel);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/commit_wait.h"

#include "base/alloc.h"
#include "broker/durability.h"

#include <stdlib.h>

enum { WAITS_FIRST = 8 };

/* One thing to say: a confirm, or the next `answer_size` octets of the answers. */
struct commit_wait {
    uint64_t token;
    uint64_t confirm_number; /* 0: an answer */
    uint32_t answer_size;
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
    if (waits->end - waits->start > COMMIT_WAITS_MAX) {
        connection_pause(channel->connection, PAUSE_COMMIT);
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
    if (!channel_waits(channel) && core_is_committed(channel_core(channel), token)) {
        send_confirm(channel, number);
        return;
    }
    struct commit_waits *waits = waits_of(channel);
    if (waits->end > waits->start) {
        struct commit_wait *last = &waits->items[waits->end - 1];
        if (last->confirm_number != 0 && token <= last->token) {
            last->confirm_number = number;
            return;
        }
    }
    push_wait(channel, (struct commit_wait){.token = token, .confirm_number = number});
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
    struct net_action action = {
        .type = NET_ACTION_METHOD,
        .channel = channel->number,
        .method = {.payload = bytes_make(buffer_bytes(&waits->answers).data, size)},
    };
    connection_post(channel->connection, &action, NULL);
    buffer_consume(&waits->answers, size);
    waits->answer_count--;
}

static void
finish_waiting(struct channel *channel)
{
    list_remove(&channel->commit_link);
    channel->connection->waiting_channels--;
    connection_resume(channel->connection, PAUSE_COMMIT);
    connection_replay_later(channel->connection);
}

void
channel_on_commit(struct channel *channel)
{
    struct commit_waits *waits = channel->waits;
    const struct core *core = channel_core(channel);
    while (waits->start < waits->end) {
        struct commit_wait wait = waits->items[waits->start];
        if (!core_is_committed(core, wait.token)) {
            return;
        }
        waits->start++;
        bool is_followed = waits->start < waits->end &&
                           waits->items[waits->start].confirm_number != 0 &&
                           core_is_committed(core, waits->items[waits->start].token);
        if (wait.confirm_number == 0) {
            send_answer(channel, waits, wait.answer_size);
        } else if (!is_followed) {
            send_confirm(channel, wait.confirm_number);
        }
    }
    waits->start = 0;
    waits->end = 0;
    finish_waiting(channel);
}

void
channel_drop_waits(struct channel *channel)
{
    if (list_link_is_linked(&channel->commit_link)) {
        finish_waiting(channel);
    }
    if (channel->waits != NULL) {
        buffer_fini(&channel->waits->answers);
        free(channel->waits->items);
        free(channel->waits);
        channel->waits = NULL;
    }
}

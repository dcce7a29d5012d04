/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/upkeep/ack_timeout.h"

#include "amqp/reply.h"
#include "base/alloc.h"
#include "broker/channels/channel.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* Looking at one open delivery takes some nanoseconds, and a channel may have a million: the next
 * look waits so long that this stays below a hundredth of the time. */
enum { LOOKED_AT_PER_MS = 1000 };

/* 0: none. */
static uint64_t
timeout_ms_of(const struct unacked *item)
{
    int64_t timeout_ms = item->queue->settings->consumer_timeout_ms;
    if (item->consumer != NULL && item->consumer->timeout_ms >= 0) {
        timeout_ms = item->consumer->timeout_ms;
    }
    return timeout_ms > 0 ? (uint64_t)timeout_ms : 0;
}

/* What was looked at, and when to look again. */
struct review {
    struct channel *channel;
    uint64_t due_ms; /* UINT64_MAX: never */
    uint64_t count;
};

static void on_timer(struct timer *timer, void *context);

static void
arm(struct channel *channel, uint64_t due_ms)
{
    struct core *core = channel_core(channel);
    timer_arm(&core->timers, &channel->timeouts.timer, due_ms, on_timer, channel);
}

void
channel_watch_delivery(struct channel *channel, const struct unacked *item)
{
    uint64_t timeout_ms = timeout_ms_of(item);
    if (timeout_ms == 0) {
        return;
    }
    const struct timer *timer = &channel->timeouts.timer;
    uint64_t due_ms = item->delivered_ms + timeout_ms;
    if (!timer_is_armed(timer) || due_ms < timer->due_ms) {
        arm(channel, due_ms);
    }
}

/* Timing out ----------------------------------------------------------------------------------- */

/* Without memory the tag is forgotten, and settling it closes the channel. */
static void
remember_tag(struct ack_timeouts *timeouts, uint64_t tag)
{
    if (timeouts->tags == NULL) {
        timeouts->tags = try_alloc(ACK_TIMEOUT_TAGS_MAX * sizeof(*timeouts->tags));
        if (timeouts->tags == NULL) {
            return;
        }
    }
    if (timeouts->tag_count == ACK_TIMEOUT_TAGS_MAX) {
        timeouts->tag_count--;
        memmove(timeouts->tags, timeouts->tags + 1, timeouts->tag_count * sizeof(tag));
    }
    uint32_t at = timeouts->tag_count++;
    while (at > 0 && timeouts->tags[at - 1] > tag) {
        timeouts->tags[at] = timeouts->tags[at - 1];
        at--;
    }
    timeouts->tags[at] = tag;
}

/* The place of the tag; `tag_count` when it is not there. */
static uint32_t
find_timed_out(const struct ack_timeouts *timeouts, uint64_t tag)
{
    uint32_t at = 0;
    while (at < timeouts->tag_count && timeouts->tags[at] < tag) {
        at++;
    }
    return at < timeouts->tag_count && timeouts->tags[at] == tag ? at : timeouts->tag_count;
}

bool
channel_has_timed_out(const struct channel *channel, uint64_t tag)
{
    return find_timed_out(&channel->timeouts, tag) < channel->timeouts.tag_count;
}

bool
channel_take_timed_out(struct channel *channel, uint64_t tag)
{
    struct ack_timeouts *timeouts = &channel->timeouts;
    uint32_t at = find_timed_out(timeouts, tag);
    if (at == timeouts->tag_count) {
        return false;
    }
    timeouts->tag_count--;
    memmove(timeouts->tags + at, timeouts->tags + at + 1, (timeouts->tag_count - at) * sizeof(tag));
    return true;
}

static void
log_timeout(const struct channel *channel, const struct unacked *item, uint64_t timeout_ms)
{
    char escaped[2 * UINT8_MAX + 3];
    log_limited(channel_core(channel)->log, LOG_LEVEL_WARN, "consumer.timeout",
                "conn=\"%s\" channel=%u tag=%" PRIu64 " queue=%s timeout_ms=%" PRIu64,
                channel->connection->name, (unsigned)channel->number, item->tag,
                log_escape(escaped, sizeof(escaped), queue_name(item->queue)), timeout_ms);
}

static bool
can_be_cancelled(const struct channel *channel, const struct unacked *item)
{
    return item->consumer != NULL &&
           (channel->connection->capabilities & CAPABILITY_CONSUMER_CANCEL_NOTIFY) != 0;
}

/* Nothing else that is open has failed. */
static void
close_for_timeout(struct channel *channel, uint64_t tag, uint64_t timeout_ms)
{
    struct unacked item;
    bool taken = unacked_table_take(&channel->unacked, tag, &item);
    assert(taken);
    channel_settle_return(channel, &item, RETRY_TIMEOUT);
    channel->blames_nobody = true;
    struct fault fault;
    (void)fault_channel(&fault, REPLY_PRECONDITION_FAILED,
                        "delivery acknowledgement on channel %u timed out. Timeout value used: "
                        "%" PRIu64 " ms. It is set by x-consumer-timeout of the consumer or the "
                        "queue, or by a policy",
                        (unsigned)channel->number, timeout_ms);
    channel_close(channel, &fault, 0, 0);
}

/* The message goes back before the consumer goes: the next one that becomes active is to get it
 * first. */
static void
return_and_cancel(struct channel *channel, uint64_t tag)
{
    struct unacked item;
    bool taken = unacked_table_take(&channel->unacked, tag, &item);
    assert(taken);
    remember_tag(&channel->timeouts, tag);
    struct consumer *consumer = consumer_ref(item.consumer);
    channel_settle_return(channel, &item, RETRY_TIMEOUT);
    if (consumer->queue != NULL) {
        channel_cancel_consumer(channel, consumer, true);
    }
    consumer_unref(&consumer);
}

/* False: the channel is closed. */
static bool
review_delivery(struct review *review, const struct unacked *item)
{
    struct channel *channel = review->channel;
    uint64_t timeout_ms = timeout_ms_of(item);
    if (timeout_ms == 0) {
        return true;
    }
    uint64_t due_ms = item->delivered_ms + timeout_ms;
    if (due_ms > channel_core(channel)->now.monotonic_ms) {
        review->due_ms = due_ms < review->due_ms ? due_ms : review->due_ms;
        return true;
    }
    log_timeout(channel, item, timeout_ms);
    channel_core(channel)->counters.timed_out++;
    if (!can_be_cancelled(channel, item)) {
        close_for_timeout(channel, item->tag, timeout_ms);
        return false;
    }
    return_and_cancel(channel, item->tag);
    return true;
}

/* Bounded by what a channel may have open. */
static void
review_deliveries(struct channel *channel)
{
    struct review review = {.channel = channel, .due_ms = UINT64_MAX};
    const struct unacked *item = unacked_table_next(&channel->unacked, 0);
    while (item != NULL) {
        uint64_t tag = item->tag;
        if (!review_delivery(&review, item)) {
            return;
        }
        review.count++;
        item = unacked_table_next(&channel->unacked, tag + 1);
    }
    struct core *core = channel_core(channel);
    if (review.due_ms == UINT64_MAX) {
        timer_cancel(&core->timers, &channel->timeouts.timer);
        return;
    }
    uint64_t soonest_ms = core->now.monotonic_ms + review.count / LOOKED_AT_PER_MS;
    arm(channel, review.due_ms > soonest_ms ? review.due_ms : soonest_ms);
}

static void
on_timer(struct timer *timer, void *context)
{
    (void)timer;
    review_deliveries(context);
}

void
channel_review_timeouts(struct channel *channel)
{
    if (channel->unacked.count > 0) {
        arm(channel, channel_core(channel)->now.monotonic_ms);
    }
}

void
queue_review_timeouts(struct queue *queue)
{
    for (const struct consumer *consumer = queue_first_consumer(queue); consumer != NULL;
         consumer = queue_consumer_behind(queue, consumer)) {
        channel_review_timeouts(consumer->channel);
    }
}

void
channel_end_timeouts(struct channel *channel)
{
    timer_cancel(&channel_core(channel)->timers, &channel->timeouts.timer);
    free(channel->timeouts.tags);
    channel->timeouts = (struct ack_timeouts){0};
}

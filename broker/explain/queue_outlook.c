/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/explain/queue_outlook.h"

#include "broker/topology/vhost.h"

/* As publishing asks, and as the queue is cut down afterwards. */
static enum queue_reception
foresee_reception(const struct queue *queue, uint32_t body_size)
{
    const struct queue_settings *settings = queue->settings;
    if (queue_would_refuse(queue, body_size)) {
        return settings->overflow == OVERFLOW_REJECT_PUBLISH_DLX ? RECEPTION_REFUSES_TO_DLX
                                                                 : RECEPTION_REFUSES;
    }
    bool is_over = queue->ready_count + 1 > (uint64_t)settings->max_length ||
                   queue->ready_bytes + body_size > (uint64_t)settings->max_length_bytes;
    return is_over ? RECEPTION_DROPS_OLDEST : RECEPTION_TAKES;
}

static void
foresee_time(const struct queue *queue, uint64_t expiration, struct queue_outlook *outlook)
{
    outlook->time_to_live_ms = queue->settings->message_ttl_ms;
    if (expiration == 0) {
        return;
    }
    int64_t own_ms = (int64_t)(expiration - 1); /* at most ten years */
    if (outlook->time_to_live_ms < 0 || own_ms < outlook->time_to_live_ms) {
        outlook->time_to_live_ms = own_ms;
        outlook->by_message = true;
    }
}

static void
foresee_dead_letters(const struct queue *queue, struct arena *arena, struct queue_outlook *outlook)
{
    const struct queue_settings *settings = queue->settings;
    outlook->has_dead_letters = settings->has_dead_letter_exchange;
    if (!outlook->has_dead_letters) {
        return;
    }
    outlook->dead_letter_exchange = arena_copy(arena, settings->dead_letter_exchange);
    outlook->dead_letters_get_lost =
        vhost_find_exchange(queue->vhost, settings->dead_letter_exchange) == NULL;
    if (settings->has_dead_letter_routing_key) {
        outlook->dead_letter_key = arena_copy(arena, settings->dead_letter_routing_key);
    }
}

void
queue_look_ahead(const struct queue *queue, uint32_t body_size, uint64_t expiration,
                 struct arena *arena, struct queue_outlook *outlook_out)
{
    const struct queue_settings *settings = queue->settings;
    *outlook_out = (struct queue_outlook){
        .reception = foresee_reception(queue, body_size),
        .ready_count = queue->ready_count,
        .ready_bytes = queue->ready_bytes,
        .max_length = settings->max_length,
        .max_length_bytes = settings->max_length_bytes,
        .overflow = settings->overflow,
        .delivery_limit = settings->counts_failures ? settings->delivery_limit : -1,
        .retries = settings->retry.type != RETRY_DISABLED,
        .single_active = settings->single_active_consumer,
        .exclusive = queue->exclusive,
        .consumer_count = queue->consumer_count,
    };
    foresee_time(queue, expiration, outlook_out);
    foresee_dead_letters(queue, arena, outlook_out);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/death/death_move.h"

#include <inttypes.h>

#include "amqp/table.h"
#include "base/assert.h"
#include "broker/death/dead_letter.h"
#include "broker/death/failure_facts.h"
#include "broker/death/retry.h"
#include "broker/death/retry_headers.h"
#include "broker/durability/durability.h"
#include "broker/message/death_headers.h"
#include "broker/paging/paging.h"
#include "broker/publishing/letter.h"
#include "broker/topology/vhost.h"

/* One message on its way. */
struct dead_letter {
    struct letter letter;
    struct core *core;
    struct queue *queue; /* in which it died */
    struct dying_message message;
    struct death_scratch *scratch;
    struct moving_cost *cost;
};

void
death_scratch_init(struct death_scratch *scratch)
{
    buffer_init(&scratch->headers);
    buffer_init(&scratch->failures);
    buffer_init(&scratch->block);
}

void
death_scratch_fini(struct death_scratch *scratch)
{
    buffer_fini(&scratch->headers);
    buffer_fini(&scratch->failures);
    buffer_fini(&scratch->block);
}

/* Headers -------------------------------------------------------------------------------------- */

/* The headers that the message has, and what is known of its failures, as far as there is room. */
static struct bytes
add_failures(const struct dead_letter *dead)
{
    struct bytes headers = dead->letter.properties.headers;
    const struct failure_row *failure = failure_row_of(dead->queue, &dead->message);
    struct buffer *failures = &dead->scratch->failures;
    buffer_clear(failures);
    if (failure == NULL ||
        headers.size + RETRY_HEADERS_OCTETS_MAX > letter_header_octets_max(&dead->letter)) {
        return headers;
    }
    retry_headers_put(failures, headers, failure);
    return buffer_bytes(failures);
}

/* Behind all others, in what room there is: what is known of why the message failed. */
static void
write_failure(const struct dead_letter *dead, const struct failure *failure,
              struct bytes old_headers)
{
    const struct properties *properties = &dead->letter.properties;
    struct buffer *headers = &dead->scratch->headers;
    bool has_id = (properties->flags & PROPERTY_MESSAGE_ID) != 0;
    struct failure_source source = {
        .queue = queue_name(dead->queue),
        .message_id = has_id ? properties->message_id : bytes_make(NULL, 0),
        .headers = old_headers,
    };
    size_t octets_max = letter_header_octets_max(&dead->letter);
    size_t octets = buffer_size(headers);
    failure_headers_put(headers, failure, &source, octets < octets_max ? octets_max - octets : 0);
}

/* Puts what the message has from now on into the scratch buffer. */
static void
put_headers(struct dead_letter *dead, const struct death *death)
{
    struct letter *letter = &dead->letter;
    struct buffer *headers = &dead->scratch->headers;
    UNINITIALIZED struct failure failure;
    bool has_failed = failure_gather(dead->core, dead->queue, &dead->message, &failure);
    struct death_source source = {
        .headers = add_failures(dead),
        .has_deaths = (letter->old->flags & CONTENT_HAS_DEATHS) != 0,
        .drops_cc = dead->queue->settings->has_dead_letter_routing_key,
        .drops_failure = has_failed,
        .drops_note = has_failed && failure.note != NULL,
    };
    buffer_clear(headers);
    bool has_deaths = death_headers_put(headers, &source, death, letter_header_octets_max(letter));
    letter->flags = (uint16_t)(CONTENT_HAS_HEADERS | (has_deaths ? CONTENT_HAS_DEATHS : 0));
    if (has_failed) {
        write_failure(dead, &failure, source.headers);
    }
}

/* Gives the letter its new headers, and takes its expiration away. */
static enum status
write_headers(struct dead_letter *dead)
{
    struct letter *letter = &dead->letter;
    const struct properties *properties = &letter->properties;
    bool expires = (properties->flags & PROPERTY_EXPIRATION) != 0;
    struct death death = {
        .reason = dead->message.reason,
        .queue = queue_name(dead->queue),
        .exchange = content_exchange(letter->old),
        .keys = letter->keys,
        .key_count = letter->shown_key_count,
        .time_s = (uint64_t)(dead->core->now.wall_ms / 1000),
        .expiration = expires ? properties->expiration : bytes_make(NULL, 0),
    };
    put_headers(dead, &death);
    if (dead->scratch->headers.failed || dead->scratch->failures.failed) {
        return STATUS_NO_MEMORY;
    }
    letter_set_headers(letter, buffer_bytes(&dead->scratch->headers));
    letter->properties.flags &= (uint16_t)~PROPERTY_EXPIRATION;
    return STATUS_OK;
}

/* Targets -------------------------------------------------------------------------------------- */

static void
tell_cycle(const struct dead_letter *dead, const struct queue *target)
{
    struct queue_dying *dying = dead->queue->dying;
    if (dying->has_told_cycle) {
        return;
    }
    dying->has_told_cycle = true;
    char text[QUEUE_FIELDS_SIZE];
    char target_text[RESOURCE_TEXT_SIZE];
    log_limited(dead->core->log, LOG_LEVEL_WARN, "dead_letter.cycle",
                "%s reason=%s target=%s action=\"dropped for that queue\"",
                vhost_queue_fields(dead->queue, text), death_reason_name(dead->message.reason),
                log_escape(target_text, sizeof(target_text), queue_name(target)));
}

/* Whether it may go round: somebody has rejected it, or an operator has replayed it since it died
 * last, or nothing is known of its deaths. */
static bool
may_come_again(const struct dead_letter *dead)
{
    return dead->message.reason == DEATH_REJECTED ||
           (dead->letter.old->flags & CONTENT_IS_REPLAYED) != 0 ||
           (dead->letter.flags & CONTENT_HAS_DEATHS) == 0;
}

/* A message that comes back to a queue again and again without anybody having rejected it would do
 * so for ever. */
static void
drop_cycles(struct dead_letter *dead)
{
    struct core *core = dead->core;
    struct route_set *set = &core->routes;
    if (may_come_again(dead)) {
        return;
    }
    uint32_t kept_count = 0;
    uint32_t prompt_count = core->prompt_count;
    for (uint32_t i = 0; i < set->count; i++) {
        const struct queue *target = queue_of_target(set->targets[i]);
        if (death_headers_have_cycle(dead->letter.properties.headers, queue_name(target))) {
            core->counters.dead_letter_cycles++;
            tell_cycle(dead, target);
            core->prompt_count -= i < prompt_count ? 1 : 0;
        } else {
            set->targets[kept_count++] = set->targets[i];
        }
    }
    set->count = kept_count;
}

/* Moving one ----------------------------------------------------------------------------------- */

/* The message is gone from where it died. */
static void
end_dying(struct core *core, struct queue *queue, const struct dying_message *message)
{
    core_log_departure(core, queue, &message->entry, message->position);
    core_take_first_dead(core, queue);
}

/* Nobody takes it. */
static enum moving
drop_letter(const struct dead_letter *dead)
{
    struct core *core = dead->core;
    if (dead->message.reason != DEATH_DELIVERY_LIMIT || dead->queue->deleted) {
        core->counters.dead_letters_dropped++;
        end_dying(core, dead->queue, &dead->message);
        return MOVING_DONE;
    }
    if (core_park(core, dead->queue, &dead->message) != STATUS_OK) {
        return MOVING_WAITS;
    }
    core_pass_first_dead_on(core, dead->queue);
    return MOVING_DONE;
}

/* No segment holds the message with all its queues. It stays in the log where it died, as if it
 * could not be read. */
static void
set_aside(const struct dead_letter *dead)
{
    char text[QUEUE_FIELDS_SIZE];
    log_limited(dead->core->log, LOG_LEVEL_ERROR, "dead_letter.too_large",
                "%s lsn=%" PRIu64 " what=\"message and list of its queues do not fit a segment\" "
                "action=\"set aside\"",
                vhost_queue_fields(dead->queue, text), queue_entry_lsn(&dead->message.entry));
    dead->core->counters.dead_letters_set_aside++;
    core_set_dying_aside(dead->core, dead->queue);
}

/* The targets are known, and there are some. */
static enum moving
deliver_letter(struct dead_letter *dead)
{
    struct core *core = dead->core;
    enum status status = letter_prepare(&dead->letter, &dead->scratch->block);
    if (status == STATUS_FULL && dead->message.reason == DEATH_DELIVERY_LIMIT) {
        return drop_letter(dead);
    }
    if (status == STATUS_FULL) {
        set_aside(dead);
        return MOVING_DONE;
    }
    if (status != STATUS_OK) {
        return MOVING_WAITS;
    }
    dead->cost->octets = dead->letter.old->body_size;
    letter_publish(&dead->letter);
    dead->queue->dying->moved_count++;
    core->counters.dead_lettered[dead->message.reason]++;
    end_dying(core, dead->queue, &dead->message);
    return MOVING_DONE;
}

/* Its content is in memory, and the exchange is there. */
static enum moving
move_letter(struct dead_letter *dead)
{
    const struct queue_settings *settings = dead->queue->settings;
    const struct content *old = chunk_pool_content(dead->core->pool, dead->message.entry.content);
    letter_open(&dead->letter, dead->core, dead->queue->vhost, old);
    if (write_headers(dead) != STATUS_OK) {
        return MOVING_WAITS;
    }
    if (settings->has_dead_letter_routing_key) {
        letter_set_key(&dead->letter, settings->dead_letter_routing_key);
    }
    dead->cost->work = letter_route(&dead->letter);
    drop_cycles(dead);
    return dead->core->routes.count == 0 ? drop_letter(dead) : deliver_letter(dead);
}

enum moving
core_move_first_dead(struct core *core, struct queue *queue, struct death_scratch *scratch,
                     struct moving_cost *cost_out)
{
    UNINITIALIZED struct dead_letter dead;
    *cost_out = (struct moving_cost){0};
    dead.core = core;
    dead.queue = queue;
    dead.scratch = scratch;
    dead.cost = cost_out;
    dead.message = *queue_first_dying(queue);
    dead.letter.exchange = vhost_find_exchange(queue->vhost, queue->settings->dead_letter_exchange);
    if (!queue->settings->has_dead_letter_exchange || dead.letter.exchange == NULL) {
        return drop_letter(&dead);
    }
    switch (core_bring_dying(core, queue)) {
    case DYING_IS_THERE:
        return move_letter(&dead);
    case DYING_IS_LOST:
        core_set_dying_aside(core, queue);
        return MOVING_DONE;
    case DYING_COMES:
        return MOVING_FETCHES;
    case DYING_WAITS:
        break;
    }
    return MOVING_WAITS;
}

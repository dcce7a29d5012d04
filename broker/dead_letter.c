/* SPDX-License-Identifier: Apache-2.0 */
/* Moving one message has two halves, like a commit. The first finds out whom it reaches, makes the
 * new content and has room made for all of it, in queues and log; it may fail, and has changed
 * nothing then. The second changes things, and nothing in it can fail. */
#include "broker/dead_letter.h"

#include <inttypes.h>
#include <stdlib.h>

#include "amqp/properties.h"
#include "amqp/table.h"
#include "base/alloc.h"
#include "base/assert.h"
#include "broker/channel.h"
#include "broker/death_headers.h"
#include "broker/durability.h"
#include "broker/expiry.h"
#include "broker/failure_facts.h"
#include "broker/failure_notes.h"
#include "broker/paging.h"
#include "broker/publish.h"
#include "broker/retry.h"
#include "broker/retry_headers.h"
#include "broker/route.h"
#include "broker/vhost.h"
#include "queues/clocks.h"

struct dead_letters {
    struct core *core;
    struct list dying;      /* of queue_dying.link: something can be moved */
    struct list waiting;    /* of queue_dying.link: tried again when the timer fires */
    struct list all;        /* of queue_dying.all_link: something is dying */
    uint64_t last_number;   /* of all deaths */
    struct timer retry;     /* armed while somebody waits */
    uint32_t octets_left;   /* in this tick */
    uint32_t work_left;     /* the same */
    struct buffer headers;  /* scratch */
    struct buffer failures; /* scratch */
    struct buffer block;    /* scratch */
};

/* What became of the attempt to move a message. */
enum moving {
    MOVING_DONE,
    MOVING_FETCHES, /* its content is on its way; core_dying_is_there is called */
    MOVING_WAITS,   /* for memory */
};

/* One message on its way. */
struct letter {
    struct core *core;
    struct queue *queue; /* in which it died */
    struct dying_message message;
    struct exchange *exchange;
    const struct content *old;
    struct properties properties; /* the new ones; views of the old content and of scratch */
    struct bytes routing_key;     /* the new one */
    bool has_deaths;              /* the new headers speak of them */
    uint32_t key_count;
    uint32_t shown_key_count; /* of the keys: those that are not from BCC */
    struct bytes keys[1 + PUBLISH_HEADER_KEYS_MAX];
    struct content_ref content; /* the new one, pinned */
};

struct dead_letters *
dead_letters_new(struct core *core)
{
    struct dead_letters *letters = xalloc(sizeof(*letters));
    letters->core = core;
    list_init(&letters->dying);
    list_init(&letters->waiting);
    list_init(&letters->all);
    buffer_init(&letters->headers);
    buffer_init(&letters->failures);
    buffer_init(&letters->block);
    letters->octets_left = CORE_DEATH_OCTETS_PER_TICK;
    letters->work_left = CORE_DEATH_WORK_PER_TICK;
    return letters;
}

/* Takes the message that died first out of the list; the count of its content passes on. */
static void
pass_first_on(struct core *core, struct queue *queue)
{
    struct queue *kept = queue_ref(queue);
    core_free_failure(core, &queue_first_dying(queue)->failure);
    queue_take_dying(queue);
    if (queue->dying->count == 0) {
        list_remove(&queue->dying->all_link);
    }
    core_heed_dying_window(core, queue);
    queue_unref(&kept);
}

static void
take_first(struct core *core, struct queue *queue)
{
    struct queue_entry entry = queue_first_dying(queue)->entry;
    pass_first_on(core, queue);
    queue_entry_release(&entry, core->pool);
}

void
core_set_dying_aside(struct core *core, struct queue *queue)
{
    const struct dying_message *first = queue_first_dying(queue);
    core_set_failures_aside(core, queue, &first->entry, first->position);
    take_first(core, queue);
}

static void
forget_all(struct core *core, struct list *list)
{
    struct list_link *link;
    while ((link = list_pop(list)) != NULL) {
        struct queue *queue = queue_ref(CONTAINER_OF(link, struct queue_dying, link)->queue);
        while (queue_first_dying(queue) != NULL) {
            take_first(core, queue);
        }
        queue_unref(&queue);
    }
}

void
dead_letters_free(struct dead_letters **letters_pointer)
{
    struct dead_letters *letters = *letters_pointer;
    if (letters == NULL) {
        return;
    }
    *letters_pointer = NULL;
    forget_all(letters->core, &letters->dying);
    forget_all(letters->core, &letters->waiting);
    timer_cancel(&letters->core->timers, &letters->retry);
    buffer_fini(&letters->headers);
    buffer_fini(&letters->failures);
    buffer_fini(&letters->block);
    free(letters);
}

/* Dying ---------------------------------------------------------------------------------------- */

void
core_let_die(struct core *core, struct queue *queue, const struct queue_entry *entry,
             uint64_t position, enum death_reason reason)
{
    core_let_failed_die(core, queue, entry, position, reason, NULL);
}

/* One that died between others has left while those before it are there: a purge is not to take for
 * ready what is dying. */
static void
leave_deque(struct queue *queue, const struct queue_entry *entry, uint64_t position)
{
    struct failure_row *row =
        queue_entry_has_failed(entry) ? queue_find_failure(queue, position) : NULL;
    if (row != NULL) {
        row->is_in_deque = false;
    }
}

void
core_let_failed_die(struct core *core, struct queue *queue, const struct queue_entry *entry,
                    uint64_t position, enum death_reason reason, struct failure *failure)
{
    assert(reason < DEATH_REASON_COUNT);
    struct queue_dying *dying = queue_dying_of(queue);
    queue_clocks_touch(queue);
    dying->died_count[reason]++;
    core->counters.died[reason]++;
    bool is_parked_else = reason == DEATH_DELIVERY_LIMIT;
    if (queue->deleted || !(queue->settings->has_dead_letter_exchange || is_parked_else)) {
        core->counters.dead_letters_dropped++;
        core_log_departure(core, queue, entry, position);
        queue_entry_release(entry, core->pool);
        core_free_failure(core, &failure);
        return;
    }
    leave_deque(queue, entry, position);
    struct dead_letters *letters = core->dead_letters;
    struct dying_message message = {
        .entry = *entry,
        .number = ++letters->last_number,
        .position = position,
        .failure = failure,
        .reason = reason,
    };
    if (dying->count == 0) {
        list_append(&letters->dying, &dying->link);
        list_append(&letters->all, &dying->all_link);
    }
    queue_add_dying(queue, &message);
}

uint64_t
core_last_death(const struct core *core)
{
    return core->dead_letters->last_number;
}

bool
core_deaths_are_over(const struct core *core, struct death_range range)
{
    LIST_FOR_EACH(&core->dead_letters->all, link)
    {
        struct queue *queue = CONTAINER_OF(link, struct queue_dying, all_link)->queue;
        if (queue_first_dying(queue)->number <= range.last &&
            queue_last_dying(queue)->number > range.first) {
            return false;
        }
    }
    return true;
}

void
core_release_committers(struct core *core)
{
    LIST_FOR_EACH(&core->committers, link)
    {
        struct channel *channel = CONTAINER_OF(link, struct channel, wait_link);
        if (core_deaths_are_over(core, channel->deaths)) {
            list_remove(link);
            channel->has_committed = true;
            connection_replay_later(channel->connection);
        }
    }
}

void
core_add_death_need(const struct core *core, const struct queue *queue,
                    const struct queue_entry *entry, struct log_need *need)
{
    enum { TARGETS_EXPECTED = 16, HEADERS_EXPECTED = 4096 };
    if (queue->deleted || !queue->settings->has_dead_letter_exchange ||
        chunk_pool_place(core->pool, entry->content) != CONTENT_IN_MEMORY) {
        return;
    }
    const struct content *content = chunk_pool_content(core->pool, entry->content);
    need->publish_count++;
    need->content_octets += content_octets(content) + content->properties_size + HEADERS_EXPECTED;
    need->record_octets += record_publish_size(TARGETS_EXPECTED) + RECORD_ACK_MAX +
                           TARGETS_EXPECTED * record_row_state_size_max(1);
}

/* Keys and headers ----------------------------------------------------------------------------- */

/* The keys of BCC lie behind the body. What does not fit there is none. */
static void
collect_blind_keys(struct letter *letter)
{
    struct byte_reader reader = byte_reader_make(content_tail(letter->old));
    if (byte_reader_left(&reader) == 0) {
        return;
    }
    uint16_t count = byte_reader_u16(&reader);
    for (uint16_t i = 0; i < count && letter->key_count <= PUBLISH_HEADER_KEYS_MAX; i++) {
        struct bytes key = byte_reader_longstr(&reader);
        if (reader.failed) {
            return;
        }
        letter->keys[letter->key_count++] = key;
    }
}

/* All the keys under which the message was published: its own, those of CC, those of BCC. */
static void
collect_keys(struct letter *letter)
{
    struct fault fault;
    letter->keys[0] = content_routing_key(letter->old);
    letter->key_count = 1;
    if (publish_collect_keys(letter->properties.headers, "CC", letter->keys, &letter->key_count,
                             &fault) != STATUS_OK) {
        letter->key_count = 1;
    }
    letter->shown_key_count = letter->key_count;
    collect_blind_keys(letter);
}

/* What the headers may take: with the rest of the properties, and what lies behind the body, they
 * fit what a message may take that a client has published. */
static size_t
header_octets_max(const struct letter *letter)
{
    enum { HEADER_FRAME_OVERHEAD = 8 + 12, FIELD_OVERHEAD = 2 + 4 };
    uint32_t frame_max = letter->core->settings.frame_max;
    size_t others = letter->old->properties_size - letter->properties.headers.size +
                    content_tail_octets(letter->old->flags) + HEADER_FRAME_OVERHEAD +
                    FIELD_OVERHEAD;
    if (frame_max == 0) {
        return SIZE_MAX;
    }
    return frame_max > others ? frame_max - others : 0;
}

/* The headers that the message has, and what is known of its failures, as far as there is room. */
static struct bytes
add_failures(const struct letter *letter)
{
    struct bytes headers = letter->properties.headers;
    const struct failure_row *failure = failure_row_of(letter->queue, &letter->message);
    struct buffer *failures = &letter->core->dead_letters->failures;
    buffer_clear(failures);
    if (failure == NULL || headers.size + RETRY_HEADERS_OCTETS_MAX > header_octets_max(letter)) {
        return headers;
    }
    retry_headers_put(failures, headers, failure);
    return buffer_bytes(failures);
}

/* Behind all others, in what room there is: what is known of why the message failed. */
static void
write_failure(const struct letter *letter, const struct failure *failure, struct bytes old_headers)
{
    const struct properties *properties = &letter->properties;
    struct buffer *headers = &letter->core->dead_letters->headers;
    bool has_id = (properties->flags & PROPERTY_MESSAGE_ID) != 0;
    struct failure_source source = {
        .queue = letter->queue->name,
        .message_id = has_id ? properties->message_id : bytes_make(NULL, 0),
        .headers = old_headers,
    };
    size_t octets_max = header_octets_max(letter);
    size_t octets = buffer_size(headers);
    failure_headers_put(headers, failure, &source, octets < octets_max ? octets_max - octets : 0);
}

/* Leaves the new headers in the scratch buffer and in the properties. */
static enum status
write_headers(struct letter *letter)
{
    struct buffer *headers = &letter->core->dead_letters->headers;
    struct properties *properties = &letter->properties;
    bool expires = (properties->flags & PROPERTY_EXPIRATION) != 0;
    struct death death = {
        .reason = letter->message.reason,
        .queue = letter->queue->name,
        .exchange = content_exchange(letter->old),
        .keys = letter->keys,
        .key_count = letter->shown_key_count,
        .time_s = (uint64_t)(letter->core->now.wall_ms / 1000),
        .expiration = expires ? properties->expiration : bytes_make(NULL, 0),
    };
    UNINITIALIZED struct failure failure;
    bool has_failed = failure_gather(letter->core, letter->queue, &letter->message, &failure);
    struct death_source source = {
        .headers = add_failures(letter),
        .has_deaths = (letter->old->flags & CONTENT_HAS_DEATHS) != 0,
        .drops_cc = letter->queue->settings->has_dead_letter_routing_key,
        .drops_failure = has_failed,
        .drops_note = has_failed && failure.note != NULL,
    };
    buffer_clear(headers);
    letter->has_deaths = death_headers_put(headers, &source, &death, header_octets_max(letter));
    if (has_failed) {
        write_failure(letter, &failure, source.headers);
    }
    if (headers->failed || letter->core->dead_letters->failures.failed) {
        return STATUS_NO_MEMORY;
    }
    properties->headers = buffer_bytes(headers);
    properties->flags = (uint16_t)((properties->flags | PROPERTY_HEADERS) & ~PROPERTY_EXPIRATION);
    return STATUS_OK;
}

/* The queue's dead-letter routing key takes the place of all others. One that no frame can carry is
 * cut. */
static void
choose_keys(struct letter *letter)
{
    const struct queue_settings *settings = letter->queue->settings;
    if (settings->has_dead_letter_routing_key) {
        struct bytes key = settings->dead_letter_routing_key;
        letter->keys[0] = bytes_make(key.data, bytes_utf8_prefix(key, UINT8_MAX));
        letter->key_count = 1;
    }
    letter->routing_key = letter->keys[0];
}

/* Targets -------------------------------------------------------------------------------------- */

static void
tell_cycle(const struct letter *letter, const struct queue *target)
{
    struct queue_dying *dying = letter->queue->dying;
    if (dying->has_told_cycle) {
        return;
    }
    dying->has_told_cycle = true;
    char text[QUEUE_FIELDS_SIZE];
    char target_text[RESOURCE_TEXT_SIZE];
    log_limited(letter->core->log, LOG_LEVEL_WARN, "dead_letter.cycle",
                "%s reason=%s target=%s action=\"dropped for that queue\"",
                vhost_queue_fields(letter->queue, text), death_reason_name(letter->message.reason),
                log_escape(target_text, sizeof(target_text), target->name));
}

/* A message that comes back to a queue again and again without anybody having rejected it would do
 * so for ever. */
static void
drop_cycles(struct letter *letter)
{
    struct route_set *set = &letter->core->routes;
    if (letter->message.reason == DEATH_REJECTED || !letter->has_deaths) {
        return;
    }
    uint32_t kept_count = 0;
    uint32_t prompt_count = letter->core->prompt_count;
    for (uint32_t i = 0; i < set->count; i++) {
        const struct queue *target = queue_of_target(set->targets[i]);
        if (death_headers_have_cycle(letter->properties.headers, target->name)) {
            letter->core->counters.dead_letter_cycles++;
            tell_cycle(letter, target);
            letter->core->prompt_count -= i < prompt_count ? 1 : 0;
        } else {
            set->targets[kept_count++] = set->targets[i];
        }
    }
    set->count = kept_count;
}

static void
spend(struct core *core, uint32_t work)
{
    struct dead_letters *letters = core->dead_letters;
    letters->work_left -= work < letters->work_left ? work : letters->work_left;
    core_spend(core, work);
}

/* Leaves in core->routes the queues that take the message. */
static void
find_targets(struct letter *letter)
{
    struct core *core = letter->core;
    struct route_message message = {
        .keys = letter->keys,
        .key_count = letter->key_count,
        .headers = letter->properties.headers,
        .properties = content_properties(letter->old),
    };
    core_route(core, letter->queue->vhost, letter->exchange, &message);
    spend(core, 1 + core->routes.count + core->routes.visit_count);
    drop_cycles(letter);
}

/* The new message ------------------------------------------------------------------------------ */

static enum status
make_content(struct letter *letter)
{
    const struct content *old = letter->old;
    struct dead_letters *letters = letter->core->dead_letters;
    buffer_clear(&letters->block);
    properties_encode(&letters->block, &letter->properties);
    if (letters->block.failed) {
        return STATUS_NO_MEMORY;
    }
    bool is_persistent = (old->flags & CONTENT_PERSISTENT) != 0;
    bool has_own_key = letter->queue->settings->has_dead_letter_routing_key;
    struct content_shape shape = {
        .exchange = letter->exchange->name,
        .routing_key = letter->routing_key,
        .properties = buffer_bytes(&letters->block),
        .body_size = old->body_size,
        .kind = is_persistent ? CHUNK_KIND_PERSISTENT : CHUNK_KIND_TRANSIENT,
        .flags = (uint16_t)((is_persistent ? CONTENT_PERSISTENT : 0) | CONTENT_HAS_HEADERS |
                            (letter->has_deaths ? CONTENT_HAS_DEATHS : 0)),
        .tail = has_own_key ? bytes_make(NULL, 0) : content_tail(old),
    };
    uint8_t *body;
    enum status status = chunk_pool_reserve(letter->core->pool, &shape, &letter->content, &body);
    if (status == STATUS_OK && old->body_size > 0) {
        memcpy(body, content_body(old).data, old->body_size);
    }
    return status;
}

/* Room for the message in all of its queues. */
static enum status
reserve_queues(struct core *core, const struct content *content)
{
    for (uint32_t i = 0; i < core->prompt_count; i++) {
        struct queue *target = queue_of_target(core->routes.targets[i]);
        if (queue_reserve(target, content_level(content, target)) != STATUS_OK) {
            return STATUS_NO_MEMORY;
        }
    }
    return core_reserve_delayed(core);
}

static uint32_t
count_logged(const struct core *core, const struct content *content)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < core->routes.count; i++) {
        count += core_logs(core, queue_of_target(core->routes.targets[i]), content) ? 1 : 0;
    }
    return count;
}

/* Of how many the log keeps a deadline (the message's own is gone), a level, or until when they
 * wait.
 */
static uint32_t
count_states(const struct core *core, const struct content *content)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < core->routes.count; i++) {
        const struct queue *target = queue_of_target(core->routes.targets[i]);
        bool has_state = core_logs(core, target, content) &&
                         (i >= core->prompt_count || core_log_keeps_state(target, content, 0));
        count += has_state ? 1 : 0;
    }
    return count;
}

/* Room in one batch for the message and its removal from where it died. */
static enum status
reserve_log(const struct letter *letter)
{
    struct core *core = letter->core;
    const struct content *content = chunk_pool_content(core->pool, letter->content);
    uint32_t logged_count = count_logged(core, content);
    if (logged_count == 0) {
        return STATUS_OK; /* the removal alone is in one batch wherever it is */
    }
    uint32_t state_count = count_states(core, content);
    struct log_need need = {
        .publish_count = 1,
        .targets_max = logged_count,
        .states_max = state_count,
        .content_octets = content_octets(content) + RECORD_ALIGNMENT,
        .record_octets = record_publish_size(logged_count) + RECORD_ACK_MAX +
                         state_count * record_row_state_size_max(1),
    };
    return core_log_reserve(core, &need);
}

/* The second half: nothing here fails. Writes the message down and gives every queue its copy. */
static void
publish_letter(const struct letter *letter)
{
    struct core *core = letter->core;
    const struct route_set *set = &core->routes;
    const struct content *content = chunk_pool_content(core->pool, letter->content);
    struct logged_message message = {0};
    enum status status = STATUS_OK;
    core_log_begin(core, content, 0);
    for (uint32_t i = 0; i < set->count && core_has_log(core); i++) {
        struct queue *target = queue_of_target(set->targets[i]);
        if (core_logs(core, target, content)) {
            status = core_log_target_until(core, target, route_due_ms(core, i));
            assert(status == STATUS_OK);
        }
    }
    status = core_log_publish(core, letter->content, &message.lsn);
    assert(status == STATUS_OK);
    for (uint32_t i = 0; i < set->count; i++) {
        message.due_ms = route_due_ms(core, i);
        core_enqueue(core, queue_of_target(set->targets[i]), letter->content, content, &message);
    }
}

/* Moving one ----------------------------------------------------------------------------------- */

/* The message is gone from where it died. */
static void
end_dying(struct core *core, struct queue *queue, const struct dying_message *message)
{
    core_log_departure(core, queue, &message->entry, message->position);
    take_first(core, queue);
}

/* Nobody takes it. */
static enum moving
drop_letter(struct core *core, struct queue *queue, const struct dying_message *message)
{
    if (message->reason != DEATH_DELIVERY_LIMIT || queue->deleted) {
        core->counters.dead_letters_dropped++;
        end_dying(core, queue, message);
        return MOVING_DONE;
    }
    if (core_park(core, queue, message) != STATUS_OK) {
        return MOVING_WAITS;
    }
    pass_first_on(core, queue);
    return MOVING_DONE;
}

/* No segment holds the message with all its queues. It stays in the log where it died, as if it
 * could not be read. */
static void
set_aside(struct letter *letter)
{
    char text[QUEUE_FIELDS_SIZE];
    log_limited(letter->core->log, LOG_LEVEL_ERROR, "dead_letter.too_large",
                "%s lsn=%" PRIu64 " what=\"message and list of its queues do not fit a segment\" "
                "action=\"set aside\"",
                vhost_queue_fields(letter->queue, text), queue_entry_lsn(&letter->message.entry));
    letter->core->counters.dead_letters_set_aside++;
    core_set_dying_aside(letter->core, letter->queue);
}

/* The first half. STATUS_FULL: no segment holds it; STATUS_NO_MEMORY. */
static enum status
prepare_letter(struct letter *letter)
{
    struct core *core = letter->core;
    if (make_content(letter) != STATUS_OK) {
        return STATUS_NO_MEMORY;
    }
    enum status status = reserve_queues(core, chunk_pool_content(core->pool, letter->content));
    if (status == STATUS_OK && (status = reserve_log(letter)) != STATUS_OK) {
        core_forget_delayed(core, core->routes.count);
    }
    if (status != STATUS_OK) {
        entry_memory_free_spares(&core->queue_memory);
        chunk_pool_release(core->pool, letter->content);
    }
    return status;
}

/* The targets are known, and there are some. */
static enum moving
deliver_letter(struct letter *letter)
{
    struct core *core = letter->core;
    enum status status = prepare_letter(letter);
    if (status == STATUS_FULL && letter->message.reason == DEATH_DELIVERY_LIMIT) {
        return drop_letter(core, letter->queue, &letter->message);
    }
    if (status == STATUS_FULL) {
        set_aside(letter);
        return MOVING_DONE;
    }
    if (status != STATUS_OK) {
        return MOVING_WAITS;
    }
    uint32_t octets = letter->old->body_size;
    struct dead_letters *letters = core->dead_letters;
    letters->octets_left -= octets < letters->octets_left ? octets : letters->octets_left;
    publish_letter(letter);
    chunk_pool_release(core->pool, letter->content);
    letter->queue->dying->moved_count++;
    core->counters.dead_lettered[letter->message.reason]++;
    end_dying(core, letter->queue, &letter->message);
    return MOVING_DONE;
}

/* Its content is in memory, and the exchange is there. */
static enum moving
move_letter(struct letter *letter)
{
    struct fault fault;
    letter->old = chunk_pool_content(letter->core->pool, letter->message.entry.content);
    if (properties_decode_kept(&letter->properties, content_properties(letter->old), &fault) !=
        STATUS_OK) {
        letter->properties = (struct properties){0}; /* never: it was decoded when it came */
    }
    collect_keys(letter);
    if (write_headers(letter) != STATUS_OK) {
        return MOVING_WAITS;
    }
    choose_keys(letter);
    find_targets(letter);
    if (letter->core->routes.count == 0) {
        return drop_letter(letter->core, letter->queue, &letter->message);
    }
    return deliver_letter(letter);
}

/* Asks for the content of the first one, if it is not in memory. */
static enum moving
move_first(struct core *core, struct queue *queue)
{
    UNINITIALIZED struct letter letter;
    letter.core = core;
    letter.queue = queue;
    letter.message = *queue_first_dying(queue);
    letter.exchange = vhost_find_exchange(queue->vhost, queue->settings->dead_letter_exchange);
    if (!queue->settings->has_dead_letter_exchange || letter.exchange == NULL) {
        return drop_letter(core, queue, &letter.message);
    }
    switch (core_bring_dying(core, queue)) {
    case DYING_IS_THERE:
        return move_letter(&letter);
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

/* Moving all ----------------------------------------------------------------------------------- */

static void
on_retry(struct timer *timer, void *context)
{
    (void)timer;
    struct dead_letters *letters = context;
    struct list_link *link;
    while ((link = list_pop(&letters->waiting)) != NULL) {
        list_append(&letters->dying, link);
    }
}

static void
wait_for_memory(struct dead_letters *letters, struct queue_dying *dying)
{
    struct core *core = letters->core;
    core_give_up_dying_window(core, dying->queue);
    list_append(&letters->waiting, &dying->link);
    if (!timer_is_armed(&letters->retry)) {
        timer_arm(&core->timers, &letters->retry, core->now.monotonic_ms + CORE_DEATH_RETRY_MS,
                  on_retry, letters);
    }
}

/* While the disk is nearly full, or the log has more to write than it should, everything stays
 * where it is. */
static bool
may_move(const struct core *core)
{
    bool disk_is_low = core_has_log(core) && (core->alarms & ALARM_DISK) != 0;
    return !disk_is_low && !core_log_is_behind(core);
}

/* Whether the tick has something left for the queue. */
static bool
has_share(const struct core *core, struct queue_dying *dying)
{
    uint64_t tick = chunk_pool_tick(core->pool);
    if (dying->tick != tick) {
        dying->tick = tick;
        dying->tick_count = 0;
    }
    const struct dead_letters *letters = core->dead_letters;
    return dying->tick_count < CORE_DEATHS_PER_QUEUE && letters->octets_left > 0 &&
           letters->work_left > 0 && !core_has_worked(core);
}

static enum moving
move_queue(struct core *core, struct queue *queue)
{
    enum moving moving = MOVING_DONE;
    while (moving == MOVING_DONE && queue_first_dying(queue) != NULL &&
           has_share(core, queue->dying) && may_move(core)) {
        queue->dying->tick_count++;
        moving = move_first(core, queue);
    }
    return moving;
}

bool
core_can_move_dead(const struct core *core)
{
    return !list_is_empty(&core->dead_letters->dying) && may_move(core);
}

void
core_begin_moving_dead(struct core *core)
{
    core->dead_letters->octets_left = CORE_DEATH_OCTETS_PER_TICK;
    core->dead_letters->work_left = CORE_DEATH_WORK_PER_TICK;
}

static void
give_up_windows(struct core *core)
{
    LIST_FOR_EACH(&core->dead_letters->all, link)
    {
        core_give_up_dying_window(core, CONTAINER_OF(link, struct queue_dying, all_link)->queue);
    }
}

void
core_move_dead(struct core *core)
{
    struct dead_letters *letters = core->dead_letters;
    if (!may_move(core)) {
        give_up_windows(core);
        return;
    }
    struct list left;
    list_init(&left);
    struct list_link *link;
    while ((link = list_pop(&letters->dying)) != NULL) {
        struct queue_dying *dying = CONTAINER_OF(link, struct queue_dying, link);
        struct queue *queue = queue_ref(dying->queue);
        enum moving moving = move_queue(core, queue);
        if (moving == MOVING_WAITS) {
            wait_for_memory(letters, dying);
        } else if (moving == MOVING_DONE && dying->count > 0) {
            list_append(&left, link);
        }
        queue_unref(&queue);
    }
    while ((link = list_pop(&left)) != NULL) {
        list_append(&letters->dying, link);
    }
}

void
core_dying_is_there(struct core *core, struct queue *queue)
{
    struct queue_dying *dying = queue->dying;
    if (dying != NULL && dying->count > 0 && !list_link_is_linked(&dying->link)) {
        list_append(&core->dead_letters->dying, &dying->link);
    }
}

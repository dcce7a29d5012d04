/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/publishing/letter.h"

#include "base/assert.h"
#include "broker/durability/durability.h"
#include "broker/publishing/route.h"
#include "broker/topology/vhost.h"
#include "broker/watch/tap.h"

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
    letter->routing_key = letter->keys[0];
}

void
letter_open(struct letter *letter, struct core *core, struct vhost *vhost,
            const struct content *old)
{
    struct fault fault;
    letter->core = core;
    letter->vhost = vhost;
    letter->old = old;
    letter->has_own_key = false;
    letter->flags = old->flags & (CONTENT_HAS_HEADERS | CONTENT_HAS_DEATHS);
    letter->content = (struct content_ref){0};
    if (properties_decode_kept(&letter->properties, content_properties(old), &fault) != STATUS_OK) {
        letter->properties = (struct properties){0}; /* never: it was decoded when it came */
    }
    collect_keys(letter);
}

void
letter_set_key(struct letter *letter, struct bytes key)
{
    letter->keys[0] = bytes_make(key.data, bytes_utf8_prefix(key, UINT8_MAX));
    letter->key_count = 1;
    letter->routing_key = letter->keys[0];
    letter->has_own_key = true;
}

size_t
letter_header_octets_max(const struct letter *letter)
{
    enum { HEADER_FRAME_OVERHEAD = 8 + 12, FIELD_OVERHEAD = 2 + 4 };
    struct bytes block = content_properties(letter->old);
    uint32_t frame_max = letter->core->settings.frame_max;
    size_t others = block.size - letter->properties.headers.size +
                    content_tail_octets(letter->old->flags) + HEADER_FRAME_OVERHEAD +
                    FIELD_OVERHEAD;
    if (frame_max == 0) {
        return SIZE_MAX;
    }
    return frame_max > others ? frame_max - others : 0;
}

void
letter_set_headers(struct letter *letter, struct bytes headers)
{
    letter->properties.headers = headers;
    letter->properties.flags |= PROPERTY_HEADERS;
    letter->flags |= CONTENT_HAS_HEADERS;
}

uint32_t
letter_route(const struct letter *letter)
{
    struct core *core = letter->core;
    struct route_message message = {
        .keys = letter->keys,
        .key_count = letter->key_count,
        .headers = letter->properties.headers,
        .properties = content_properties(letter->old),
    };
    core_route(core, letter->vhost, letter->exchange, &message);
    return 1 + core->routes.count + core->routes.visit_count;
}

/* The first half ------------------------------------------------------------------------------- */

static enum status
make_content(struct letter *letter, struct buffer *block)
{
    const struct content *old = letter->old;
    buffer_clear(block);
    properties_encode(block, &letter->properties);
    if (block->failed) {
        return STATUS_NO_MEMORY;
    }
    bool is_persistent = (old->flags & CONTENT_PERSISTENT) != 0;
    struct content_shape shape = {
        .exchange = letter->exchange->name,
        .routing_key = letter->routing_key,
        .properties = buffer_bytes(block),
        .body_size = old->body_size,
        .kind = is_persistent ? CHUNK_KIND_PERSISTENT : CHUNK_KIND_TRANSIENT,
        .flags = (uint16_t)((is_persistent ? CONTENT_PERSISTENT : 0) | letter->flags),
        .tail = letter->has_own_key ? bytes_make(NULL, 0) : content_tail(old),
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

static uint64_t
expiration_of(const struct letter *letter, const struct content *content)
{
    bool expires = (letter->properties.flags & PROPERTY_EXPIRATION) != 0;
    return expires ? content_expiration(content) : 0;
}

/* Of how many the log keeps a deadline, a level, or until when they wait. */
static uint32_t
count_states(const struct letter *letter, const struct content *content)
{
    const struct core *core = letter->core;
    uint64_t expiration = expiration_of(letter, content);
    uint32_t count = 0;
    for (uint32_t i = 0; i < core->routes.count; i++) {
        const struct queue *target = queue_of_target(core->routes.targets[i]);
        bool has_state =
            core_logs(core, target, content) &&
            (i >= core->prompt_count || core_log_keeps_state(target, content, expiration));
        count += has_state ? 1 : 0;
    }
    return count;
}

/* Room in one batch for the message and its removal from where it was. */
static enum status
reserve_log(const struct letter *letter)
{
    struct core *core = letter->core;
    const struct content *content = chunk_pool_content(core->pool, letter->content);
    uint32_t logged_count = count_logged(core, content);
    if (logged_count == 0) {
        return STATUS_OK; /* the removal alone is in one batch wherever it is */
    }
    uint32_t state_count = count_states(letter, content);
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

enum status
letter_prepare(struct letter *letter, struct buffer *block)
{
    struct core *core = letter->core;
    if (make_content(letter, block) != STATUS_OK) {
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

void
letter_abandon(struct letter *letter)
{
    struct core *core = letter->core;
    core_forget_delayed(core, core->routes.count);
    entry_memory_free_spares(&core->queue_memory);
    chunk_pool_release(core->pool, letter->content);
}

/* The second half ------------------------------------------------------------------------------ */

void
letter_publish(struct letter *letter)
{
    struct core *core = letter->core;
    const struct route_set *set = &core->routes;
    const struct content *content = chunk_pool_content(core->pool, letter->content);
    struct logged_message message = {.expiration = expiration_of(letter, content)};
    enum status status = STATUS_OK;
    if (core_is_tapped(core)) {
        core_tap_exchanges(core, letter->vhost, letter->exchange, content, letter->keys,
                           letter->key_count);
    }
    core_log_begin(core, content, message.expiration);
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
    chunk_pool_release(core->pool, letter->content);
}

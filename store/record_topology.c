/* SPDX-License-Identifier: Apache-2.0 */
/* Records of topology: vhosts, users, exchanges, queues, bindings, policies and generations. */
#include "store/record.h"

#include "base/assert.h"
#include "store/record_parts.h"

enum {
    VHOST_FIXED = 32,
    DESCRIBED_FIXED = 8, /* behind it: octets of the rest, and four that are 0 */
    USER_FIXED = 24,
    EXCHANGE_FIXED = 32,
    QUEUE_FIXED = 32,
    BINDING_FIXED = 32,
    POLICY_FIXED = 40,
    GENERATION_FIXED = 40,
    MADE_FIXED = 8,
};

/* Flag of a SET record: MADE_FIXED octets about its maker stand behind the fixed part. */
static const uint32_t RECORD_MADE = 1 << 8;

/* Decoding ------------------------------------------------------------------------------------- */

static bool
decode_vhost(struct record *record)
{
    const uint8_t *at = record_fixed_part(record, VHOST_FIXED);
    if (at == NULL) {
        return false;
    }
    record->vhost.id = get_u64_le(at);
    record->vhost.connections_max = (int64_t)get_u64_le(at + 8);
    record->vhost.queues_max = (int64_t)get_u64_le(at + 16);
    record->vhost.flags = get_u32_le(at + 24);
    uint32_t sizes[] = {get_u32_le(at + 28), 0};
    struct bytes *const tails[] = {&record->vhost.name, &record->vhost.rest};
    size_t fixed = VHOST_FIXED;
    if ((record->vhost.flags & RECORD_DESCRIBED) != 0) {
        fixed += DESCRIBED_FIXED;
        at = record_fixed_part(record, fixed);
        if (at == NULL) {
            return false;
        }
        sizes[1] = get_u32_le(at + VHOST_FIXED);
        record->vhost.flags &= ~(uint32_t)RECORD_DESCRIBED;
    }
    return record_cut_tail(record, fixed, sizes, tails, 2);
}

static bool
decode_user(struct record *record)
{
    const uint8_t *at = record_fixed_part(record, USER_FIXED);
    if (at == NULL) {
        return false;
    }
    record->user.id = get_u64_le(at);
    record->user.flags = get_u32_le(at + 8);
    uint32_t sizes[] = {get_u32_le(at + 12), get_u32_le(at + 16)};
    struct bytes *const tails[] = {&record->user.name, &record->user.rest};
    return record_cut_tail(record, USER_FIXED, sizes, tails, 2);
}

/* Who made it stands behind the fixed part when the flag says so, and is no property of the object:
 * the flag is taken away. Octets of both parts; 0: they do not fit. */
static size_t
decode_made(const struct record *record, size_t fixed, uint32_t *flags, struct made *made)
{
    *made = (struct made){0};
    if ((*flags & RECORD_MADE) == 0) {
        return fixed;
    }
    const uint8_t *at = record_fixed_part(record, fixed + MADE_FIXED);
    if (at == NULL) {
        return 0;
    }
    *flags &= ~RECORD_MADE;
    made->user = get_u32_le(at + fixed);
    made->wall_s = get_u32_le(at + fixed + 4);
    return fixed + MADE_FIXED;
}

static bool
decode_exchange(struct record *record)
{
    const uint8_t *at = record_fixed_part(record, EXCHANGE_FIXED);
    if (at == NULL) {
        return false;
    }
    record->exchange.id = get_u64_le(at);
    record->exchange.vhost = get_u64_le(at + 8);
    record->exchange.flags = get_u32_le(at + 16);
    uint32_t sizes[] = {get_u32_le(at + 20), get_u32_le(at + 24), get_u32_le(at + 28)};
    size_t fixed =
        decode_made(record, EXCHANGE_FIXED, &record->exchange.flags, &record->exchange.made);
    struct bytes *const tails[] = {&record->exchange.name, &record->exchange.type,
                                   &record->exchange.arguments};
    return fixed != 0 && record_cut_tail(record, fixed, sizes, tails, 3);
}

static bool
decode_queue(struct record *record)
{
    const uint8_t *at = record_fixed_part(record, QUEUE_FIXED);
    if (at == NULL) {
        return false;
    }
    record->queue.id = get_u64_le(at);
    record->queue.vhost = get_u64_le(at + 8);
    record->queue.flags = get_u32_le(at + 16);
    uint32_t sizes[] = {get_u32_le(at + 20), get_u32_le(at + 24)};
    size_t fixed = decode_made(record, QUEUE_FIXED, &record->queue.flags, &record->queue.made);
    struct bytes *const tails[] = {&record->queue.name, &record->queue.arguments};
    return fixed != 0 && record_cut_tail(record, fixed, sizes, tails, 2);
}

static bool
decode_binding(struct record *record)
{
    const uint8_t *at = record_fixed_part(record, BINDING_FIXED);
    if (at == NULL) {
        return false;
    }
    record->binding.source = get_u64_le(at);
    record->binding.target = get_u64_le(at + 8);
    record->binding.flags = get_u32_le(at + 16);
    uint32_t sizes[] = {get_u32_le(at + 20), get_u32_le(at + 24)};
    struct bytes *const tails[] = {&record->binding.routing_key, &record->binding.arguments};
    return record_cut_tail(record, BINDING_FIXED, sizes, tails, 2);
}

static bool
decode_policy(struct record *record)
{
    const uint8_t *at = record_fixed_part(record, POLICY_FIXED);
    if (at == NULL) {
        return false;
    }
    struct record_policy *policy = &record->policy;
    policy->id = get_u64_le(at);
    policy->vhost = get_u64_le(at + 8);
    policy->flags = get_u32_le(at + 16);
    policy->priority = (int32_t)get_u32_le(at + 20);
    policy->target = get_u32_le(at + 24);
    uint32_t sizes[] = {get_u32_le(at + 28), get_u32_le(at + 32), get_u32_le(at + 36)};
    struct bytes *const tails[] = {&policy->name, &policy->pattern, &policy->definition};
    return record_cut_tail(record, POLICY_FIXED, sizes, tails, 3);
}

static bool
decode_generation(struct record *record)
{
    const uint8_t *at = record_fixed_part(record, GENERATION_FIXED);
    if (at == NULL) {
        return false;
    }
    struct record_generation *generation = &record->generation;
    generation->id = get_u64_le(at);
    generation->vhost = get_u64_le(at + 8);
    generation->wall_ms = (int64_t)get_u64_le(at + 16);
    generation->cause = get_u32_le(at + 24);
    uint32_t sizes[] = {get_u32_le(at + 28), get_u32_le(at + 32)};
    struct bytes *const tails[] = {&generation->maker, &generation->rest};
    return record_cut_tail(record, GENERATION_FIXED, sizes, tails, 2);
}

bool
record_decode_topology(struct record *record)
{
    switch (record->type) {
    case RECORD_VHOST_SET:
        return decode_vhost(record);
    case RECORD_USER_SET:
        return decode_user(record);
    case RECORD_EXCHANGE_SET:
        return decode_exchange(record);
    case RECORD_QUEUE_SET:
        return decode_queue(record);
    case RECORD_POLICY_SET:
        return decode_policy(record);
    case RECORD_GENERATION_SET:
        return decode_generation(record);
    default: /* set or deleted, it has the same parts */
        return decode_binding(record);
    }
}

/* Encoding ------------------------------------------------------------------------------------- */

void
record_put_vhost(struct buffer *out, uint64_t id, int64_t connections_max, int64_t queues_max,
                 uint32_t flags, struct bytes name)
{
    record_put_described_vhost(out, id, connections_max, queues_max, flags, name,
                               bytes_make(NULL, 0));
}

void
record_put_described_vhost(struct buffer *out, uint64_t id, int64_t connections_max,
                           int64_t queues_max, uint32_t flags, struct bytes name, struct bytes rest)
{
    struct bytes tails[] = {name, rest};
    size_t fixed = rest.size == 0 ? VHOST_FIXED : VHOST_FIXED + DESCRIBED_FIXED;
    uint8_t *at = record_begin(out, RECORD_VHOST_SET, fixed, tails, 2);
    if (at != NULL && rest.size > 0) {
        flags |= RECORD_DESCRIBED;
        put_u32_le(at + VHOST_FIXED, (uint32_t)rest.size);
        put_u32_le(at + VHOST_FIXED + 4, 0);
    }
    if (at != NULL) {
        put_u64_le(at, id);
        put_u64_le(at + 8, (uint64_t)connections_max);
        put_u64_le(at + 16, (uint64_t)queues_max);
        put_u32_le(at + 24, flags);
        put_u32_le(at + 28, (uint32_t)name.size);
    }
}

void
record_put_user(struct buffer *out, uint64_t id, uint32_t flags, struct bytes name,
                struct bytes rest)
{
    struct bytes tails[] = {name, rest};
    uint8_t *at = record_begin(out, RECORD_USER_SET, USER_FIXED, tails, 2);
    if (at != NULL) {
        put_u64_le(at, id);
        put_u32_le(at + 8, flags);
        put_u32_le(at + 12, (uint32_t)name.size);
        put_u32_le(at + 16, (uint32_t)rest.size);
        put_u32_le(at + 20, 0);
    }
}

static bool
says_maker(struct made made)
{
    return made.user != 0 || made.wall_s != 0;
}

static size_t
made_octets(struct made made)
{
    return says_maker(made) ? MADE_FIXED : 0;
}

/* `fixed` are the octets before it; returns the flags of the record. */
static uint32_t
put_made(uint8_t *at, size_t fixed, uint32_t flags, struct made made)
{
    if (!says_maker(made)) {
        return flags;
    }
    put_u32_le(at + fixed, made.user);
    put_u32_le(at + fixed + 4, made.wall_s);
    return flags | RECORD_MADE;
}

void
record_put_made_exchange(struct buffer *out, uint64_t id, uint64_t vhost, uint32_t flags,
                         struct made made, struct bytes name, struct bytes type,
                         struct bytes arguments)
{
    struct bytes tails[] = {name, type, arguments};
    uint8_t *at =
        record_begin(out, RECORD_EXCHANGE_SET, EXCHANGE_FIXED + made_octets(made), tails, 3);
    if (at != NULL) {
        put_u64_le(at, id);
        put_u64_le(at + 8, vhost);
        put_u32_le(at + 16, put_made(at, EXCHANGE_FIXED, flags, made));
        put_u32_le(at + 20, (uint32_t)name.size);
        put_u32_le(at + 24, (uint32_t)type.size);
        put_u32_le(at + 28, (uint32_t)arguments.size);
    }
}

void
record_put_exchange(struct buffer *out, uint64_t id, uint64_t vhost, uint32_t flags,
                    struct bytes name, struct bytes type, struct bytes arguments)
{
    record_put_made_exchange(out, id, vhost, flags, (struct made){0}, name, type, arguments);
}

void
record_put_made_queue(struct buffer *out, uint64_t id, uint64_t vhost, uint32_t flags,
                      struct made made, struct bytes name, struct bytes arguments)
{
    struct bytes tails[] = {name, arguments};
    uint8_t *at = record_begin(out, RECORD_QUEUE_SET, QUEUE_FIXED + made_octets(made), tails, 2);
    if (at != NULL) {
        put_u64_le(at, id);
        put_u64_le(at + 8, vhost);
        put_u32_le(at + 16, put_made(at, QUEUE_FIXED, flags, made));
        put_u32_le(at + 20, (uint32_t)name.size);
        put_u32_le(at + 24, (uint32_t)arguments.size);
        put_u32_le(at + 28, 0);
    }
}

void
record_put_queue(struct buffer *out, uint64_t id, uint64_t vhost, uint32_t flags, struct bytes name,
                 struct bytes arguments)
{
    record_put_made_queue(out, id, vhost, flags, (struct made){0}, name, arguments);
}

void
record_put_binding(struct buffer *out, enum record_type type, uint64_t source, uint64_t target,
                   uint32_t flags, struct bytes routing_key, struct bytes arguments)
{
    assert(type == RECORD_BINDING_SET || type == RECORD_BINDING_DELETE);
    struct bytes tails[] = {routing_key, arguments};
    uint8_t *at = record_begin(out, type, BINDING_FIXED, tails, 2);
    if (at != NULL) {
        put_u64_le(at, source);
        put_u64_le(at + 8, target);
        put_u32_le(at + 16, flags);
        put_u32_le(at + 20, (uint32_t)routing_key.size);
        put_u32_le(at + 24, (uint32_t)arguments.size);
        put_u32_le(at + 28, 0);
    }
}

void
record_put_policy(struct buffer *out, const struct record_policy *policy)
{
    const struct bytes tails[] = {policy->name, policy->pattern, policy->definition};
    uint8_t *at = record_begin(out, RECORD_POLICY_SET, POLICY_FIXED, tails, 3);
    if (at != NULL) {
        put_u64_le(at, policy->id);
        put_u64_le(at + 8, policy->vhost);
        put_u32_le(at + 16, policy->flags);
        put_u32_le(at + 20, (uint32_t)policy->priority);
        put_u32_le(at + 24, policy->target);
        put_u32_le(at + 28, (uint32_t)policy->name.size);
        put_u32_le(at + 32, (uint32_t)policy->pattern.size);
        put_u32_le(at + 36, (uint32_t)policy->definition.size);
    }
}

void
record_put_generation(struct buffer *out, const struct record_generation *generation)
{
    const struct bytes tails[] = {generation->maker, generation->rest};
    uint8_t *at = record_begin(out, RECORD_GENERATION_SET, GENERATION_FIXED, tails, 2);
    if (at != NULL) {
        put_u64_le(at, generation->id);
        put_u64_le(at + 8, generation->vhost);
        put_u64_le(at + 16, (uint64_t)generation->wall_ms);
        put_u32_le(at + 24, generation->cause);
        put_u32_le(at + 28, (uint32_t)generation->maker.size);
        put_u32_le(at + 32, (uint32_t)generation->rest.size);
        put_u32_le(at + 36, 0);
    }
}

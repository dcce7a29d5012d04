/* SPDX-License-Identifier: Apache-2.0 */
/* Where a record begins and ends, and those of messages. Those of topology are record_topology.c's.
 */
#include "store/record.h"

#include "base/assert.h"
#include "store/record_fact.h"
#include "store/record_parts.h"

enum {
    PUBLISH_FIXED = 16,
    ACK_FIXED = 24,
    ROW_STATE_FIXED = 16,
    HANDOUT_FIXED = 16,
    ID_FIXED = 8,
};

/* Decoding ------------------------------------------------------------------------------------- */

bool
record_cut_tail(const struct record *record, size_t fixed, const uint32_t *sizes,
                struct bytes *const *out, size_t count)
{
    size_t at = RECORD_HEADER_SIZE + fixed;
    for (size_t i = 0; i < count; i++) {
        if (sizes[i] > record->octets.size - at) {
            return false;
        }
        *out[i] = bytes_make(record->octets.data + at, sizes[i]);
        at += sizes[i];
    }
    return record->octets.size - at < RECORD_ALIGNMENT;
}

static bool
decode_publish(struct record *record)
{
    const uint8_t *at = record_fixed_part(record, PUBLISH_FIXED);
    if (at == NULL) {
        return false;
    }
    record->publish.offset = get_u32_le(at);
    record->publish.size = get_u32_le(at + 4);
    record->publish.check = get_u32_le(at + 8);
    record->publish.queue_count = get_u32_le(at + 12);
    record->publish.queues = at + PUBLISH_FIXED;
    return record->publish.queue_count > 0 && record->publish.offset % RECORD_ALIGNMENT == 0 &&
           record_publish_size(record->publish.queue_count) == record->octets.size;
}

/* Reads one number of at most 64 bits in groups of 7, mostly one group: messages are mostly
 * acknowledged in the order in which they came. False when there is none. */
static inline bool
read_varint(struct bytes list, size_t *offset, uint64_t *value_out)
{
    if (*offset < list.size && (list.data[*offset] & 0x80) == 0) {
        *value_out = list.data[(*offset)++];
        return true;
    }
    uint64_t value = 0;
    for (unsigned shift = 0; shift < 64 && *offset < list.size; shift += 7) {
        uint8_t octet = list.data[(*offset)++];
        value |= (uint64_t)(octet & 0x7f) << shift;
        if ((octet & 0x80) == 0) {
            *value_out = value;
            return true;
        }
    }
    return false;
}

static bool
is_message_lsn(uint64_t lsn)
{
    return lsn >= RECORD_ALIGNMENT && lsn % RECORD_ALIGNMENT == 0 && lsn >> 63 == 0;
}

static inline bool
next_acked(const struct record *record, struct record_ack_position *position, uint64_t *lsn_out)
{
    if (position->index == record->ack.count) {
        return false;
    }
    if (position->index == 0) {
        position->lsn = record->ack.first_lsn;
    } else {
        uint64_t zigzag;
        if (!read_varint(record->ack.list, &position->offset, &zigzag)) {
            return false;
        }
        uint64_t delta = (zigzag >> 1) ^ (0 - (zigzag & 1));
        position->lsn += delta * RECORD_ALIGNMENT;
    }
    position->index++;
    *lsn_out = position->lsn;
    return true;
}

bool
record_ack_next(const struct record *record, struct record_ack_position *position,
                uint64_t *lsn_out)
{
    return next_acked(record, position, lsn_out);
}

/* Whether the list holds what the count says, and nothing else. */
static bool
check_ack_list(const struct record *record)
{
    struct record_ack_position position = {0};
    uint64_t lsn;
    while (next_acked(record, &position, &lsn)) {
        if (!is_message_lsn(lsn)) {
            return false;
        }
    }
    return position.index == record->ack.count && position.offset == record->ack.list.size;
}

static bool
decode_ack(struct record *record)
{
    const uint8_t *at = record_fixed_part(record, ACK_FIXED);
    if (at == NULL) {
        return false;
    }
    record->ack.queue = get_u64_le(at);
    record->ack.first_lsn = get_u64_le(at + 8);
    record->ack.count = get_u32_le(at + 16);
    uint32_t list_size = get_u32_le(at + 20);
    struct bytes *const list[] = {&record->ack.list};
    return record->ack.count > 0 && record_cut_tail(record, ACK_FIXED, &list_size, list, 1) &&
           check_ack_list(record);
}

/* Which of its parts a ROW_STATE has, 8 octets each, in this order; and what else is said of it.
 * The attempts stand behind the others. */
enum row_state_field {
    ROW_STATE_DUE = 1 << 0,
    ROW_STATE_DEADLINE = 1 << 1,
    ROW_STATE_ARRIVAL = 1 << 2,
    ROW_STATE_COUNTS = 1 << 3,
    ROW_STATE_CAME_WITH_MESSAGE = 1 << 4,
    ROW_STATE_ATTEMPTS = 1 << 5,
    ROW_STATE_FIELDS = (1 << 6) - 1,
};

static size_t
field_octets(uint8_t fields)
{
    return 8 * (size_t)__builtin_popcount(fields & (ROW_STATE_CAME_WITH_MESSAGE - 1U)) +
           ((fields & ROW_STATE_ATTEMPTS) != 0 ? ROW_ATTEMPTS_SIZE : 0);
}

/* The part of that kind, 0 when it is not there; moves behind it. */
static uint64_t
take_field(const uint8_t **at, uint8_t fields, enum row_state_field field)
{
    if ((fields & field) == 0) {
        return 0;
    }
    uint64_t value = get_u64_le(*at);
    *at += 8;
    return value;
}

/* The attempts, if they are there; moves behind them. */
static bool
take_attempts(const uint8_t **at, uint8_t fields, struct record *record)
{
    if ((fields & ROW_STATE_ATTEMPTS) == 0) {
        record->row_state.attempts = NULL;
        return true;
    }
    record->row_state.attempts = *at;
    *at += ROW_ATTEMPTS_SIZE;
    struct row_attempts attempts = record_state_attempts(record);
    return row_attempts_is_right(&attempts);
}

static bool
state_queues_are_right(const struct record *record)
{
    for (uint32_t i = 0; i < record->row_state.queue_count; i++) {
        uint64_t queue = record_state_queue(record, i);
        if (queue == 0 || (queue & RECORD_QUEUE_HANDED_OUT) != 0) {
            return false;
        }
    }
    return record->row_state.queue_count > 0;
}

static bool
decode_row_state(struct record *record)
{
    const uint8_t *at = record_fixed_part(record, ROW_STATE_FIXED);
    if (at == NULL) {
        return false;
    }
    uint8_t fields = at[8];
    struct row_state *state = &record->row_state.state;
    *state = (struct row_state){.verdict = at[9], .priority = at[10]};
    record->row_state.lsn = get_u64_le(at);
    record->row_state.came_with_message = (fields & ROW_STATE_CAME_WITH_MESSAGE) != 0;
    record->row_state.queue_count = get_u32_le(at + 12);
    size_t fixed = RECORD_HEADER_SIZE + ROW_STATE_FIXED + field_octets(fields);
    if ((fields & ~ROW_STATE_FIELDS) != 0 ||
        fixed + 8 * (uint64_t)record->row_state.queue_count != record->octets.size) {
        return false;
    }
    at += ROW_STATE_FIXED;
    state->due_ms = take_field(&at, fields, ROW_STATE_DUE);
    state->deadline_ms = take_field(&at, fields, ROW_STATE_DEADLINE);
    state->arrival_ms = take_field(&at, fields, ROW_STATE_ARRIVAL);
    uint64_t counts = take_field(&at, fields, ROW_STATE_COUNTS);
    state->delivery_count = (uint32_t)counts;
    state->acquired_count = (uint32_t)(counts >> 32);
    bool are_attempts_right = take_attempts(&at, fields, record);
    record->row_state.queues = at;
    return are_attempts_right && is_message_lsn(record->row_state.lsn) &&
           row_state_is_right(state) && state_queues_are_right(record);
}

static bool
decode_handout(struct record *record)
{
    const uint8_t *at = record_fixed_part(record, HANDOUT_FIXED);
    if (at == NULL || record->octets.size != RECORD_HEADER_SIZE + HANDOUT_FIXED) {
        return false;
    }
    record->handout.queue = get_u64_le(at);
    record->handout.lsn = get_u64_le(at + 8);
    return is_message_lsn(record->handout.lsn);
}

static bool
decode_id(struct record *record)
{
    const uint8_t *at = record_fixed_part(record, ID_FIXED);
    if (at == NULL || record->octets.size != RECORD_HEADER_SIZE + ID_FIXED) {
        return false;
    }
    record->deleted.id = get_u64_le(at);
    return true;
}

static bool
decode_unknown(struct record *record)
{
    record->type = RECORD_NOTE;
    return (record->flags & RECORD_IGNORABLE) != 0;
}

static bool
decode_body(struct record *record)
{
    switch (record->type) {
    case RECORD_PUBLISH:
        return decode_publish(record);
    case RECORD_ACK:
        return decode_ack(record);
    case RECORD_ROW_STATE:
        return decode_row_state(record);
    case RECORD_HANDOUT:
        return decode_handout(record);
    case RECORD_VHOST_SET:
    case RECORD_USER_SET:
    case RECORD_EXCHANGE_SET:
    case RECORD_QUEUE_SET:
    case RECORD_BINDING_SET:
    case RECORD_BINDING_DELETE:
    case RECORD_POLICY_SET:
    case RECORD_GENERATION_SET:
        return record_decode_topology(record);
    case RECORD_FACT_SET:
    case RECORD_FACT_DELETE:
        return record_decode_fact(record);
    case RECORD_VHOST_DELETE:
    case RECORD_USER_DELETE:
    case RECORD_EXCHANGE_DELETE:
    case RECORD_QUEUE_DELETE:
    case RECORD_POLICY_DELETE:
    case RECORD_GENERATION_DELETE:
    case RECORD_EPOCH:
        return decode_id(record);
    default:
        return decode_unknown(record);
    }
}

enum status
record_next(struct bytes *octets, struct record *record)
{
    if (octets->size == 0) {
        return STATUS_AGAIN;
    }
    if (octets->size < RECORD_HEADER_SIZE) {
        return STATUS_CORRUPT;
    }
    uint32_t size = get_u32_le(octets->data + 4);
    if (size < RECORD_HEADER_SIZE || size > octets->size || size % RECORD_ALIGNMENT != 0) {
        return STATUS_CORRUPT;
    }
    record->type = octets->data[0];
    record->flags = octets->data[1];
    record->octets = bytes_make(octets->data, size);
    if (!decode_body(record)) {
        return STATUS_CORRUPT;
    }
    *octets = bytes_make(octets->data + size, octets->size - size);
    return STATUS_OK;
}

uint64_t
record_queue(const struct record *record, uint32_t at)
{
    assert(at < record->publish.queue_count);
    return get_u64_le(record->publish.queues + 8 * (size_t)at);
}

uint64_t
record_state_queue(const struct record *record, uint32_t at)
{
    assert(at < record->row_state.queue_count);
    return get_u64_le(record->row_state.queues + 8 * (size_t)at);
}

struct row_attempts
record_state_attempts(const struct record *record)
{
    assert(record->row_state.attempts != NULL);
    return row_attempts_decode(record->row_state.attempts);
}

/* Encoding ------------------------------------------------------------------------------------- */

uint8_t *
record_begin(struct buffer *out, enum record_type type, size_t fixed, const struct bytes *tails,
             size_t tail_count)
{
    size_t size = RECORD_HEADER_SIZE + fixed;
    for (size_t i = 0; i < tail_count; i++) {
        size += tails[i].size;
    }
    size_t whole = record_aligned(size);
    uint8_t *at = buffer_reserve(out, whole);
    if (at == NULL) {
        return NULL;
    }
    record_put_header(at, type, whole);
    uint8_t *tail = at + RECORD_HEADER_SIZE + fixed;
    for (size_t i = 0; i < tail_count; i++) {
        if (tails[i].size > 0) {
            memcpy(tail, tails[i].data, tails[i].size);
        }
        tail += tails[i].size;
    }
    memset(tail, 0, whole - size);
    buffer_commit(out, whole);
    return at + RECORD_HEADER_SIZE;
}

void
record_put_publish(struct buffer *out, uint32_t offset, uint32_t size, const uint64_t *queues,
                   uint32_t queue_count)
{
    assert(queue_count > 0);
    struct bytes ids = bytes_make(queues, 8 * (size_t)queue_count);
    uint8_t *at = record_begin(out, RECORD_PUBLISH, PUBLISH_FIXED, &ids, 1);
    if (at != NULL) {
        put_u32_le(at, offset);
        put_u32_le(at + 4, size);
        put_u32_le(at + 8, 0);
        put_u32_le(at + 12, queue_count);
    }
}

static uint8_t *
put_field(uint8_t *at, uint64_t value)
{
    if (value != 0) {
        put_u64_le(at, value);
        at += 8;
    }
    return at;
}

void
record_put_row_state(struct buffer *out, uint64_t lsn, const struct row_state *state,
                     const struct row_attempts *attempts, bool came_with_message,
                     const uint64_t *queues, uint32_t queue_count)
{
    bool has_attempts = attempts != NULL && !row_attempts_is_empty(attempts);
    assert(is_message_lsn(lsn));
    assert(row_state_is_right(state));
    assert(!has_attempts || row_attempts_is_right(attempts));
    assert(queue_count > 0);
    uint64_t counts = (uint64_t)state->acquired_count << 32 | state->delivery_count;
    uint8_t fields = (state->due_ms != 0 ? ROW_STATE_DUE : 0) |
                     (state->deadline_ms != 0 ? ROW_STATE_DEADLINE : 0) |
                     (state->arrival_ms != 0 ? ROW_STATE_ARRIVAL : 0) |
                     (counts != 0 ? ROW_STATE_COUNTS : 0) |
                     (came_with_message ? ROW_STATE_CAME_WITH_MESSAGE : 0) |
                     (has_attempts ? ROW_STATE_ATTEMPTS : 0);
    size_t fixed = ROW_STATE_FIXED + field_octets(fields) + 8 * (size_t)queue_count;
    uint8_t *at = record_begin(out, RECORD_ROW_STATE, fixed, NULL, 0);
    if (at == NULL) {
        return;
    }
    put_u64_le(at, lsn);
    at[8] = fields;
    at[9] = state->verdict;
    at[10] = state->priority;
    at[11] = 0;
    put_u32_le(at + 12, queue_count);
    at = put_field(at + ROW_STATE_FIXED, state->due_ms);
    at = put_field(at, state->deadline_ms);
    at = put_field(at, state->arrival_ms);
    at = put_field(at, counts);
    if (has_attempts) {
        row_attempts_encode(attempts, at);
        at += ROW_ATTEMPTS_SIZE;
    }
    for (uint32_t i = 0; i < queue_count; i++) {
        put_u64_le(at + 8 * (size_t)i, queues[i] & ~RECORD_QUEUE_HANDED_OUT);
    }
}

void
record_put_handout(struct buffer *out, uint64_t queue, uint64_t lsn)
{
    uint8_t *at = record_begin(out, RECORD_HANDOUT, HANDOUT_FIXED, NULL, 0);
    if (at != NULL) {
        put_u64_le(at, queue);
        put_u64_le(at + 8, lsn);
    }
}

static void
put_id_record(struct buffer *out, enum record_type type, uint64_t id)
{
    uint8_t *at = record_begin(out, type, ID_FIXED, NULL, 0);
    if (at != NULL) {
        put_u64_le(at, id);
    }
}

void
record_put_delete(struct buffer *out, enum record_type type, uint64_t id)
{
    put_id_record(out, type, id);
}

void
record_put_epoch(struct buffer *out, uint64_t epoch)
{
    put_id_record(out, RECORD_EPOCH, epoch);
}

void
record_put_note(struct buffer *out)
{
    (void)record_begin(out, RECORD_NOTE, 0, NULL, 0);
}

/* Acknowledgements ----------------------------------------------------------------------------- */

void
record_ack_begin(struct record_ack_writer *writer, struct buffer *out, uint64_t queue, uint64_t lsn)
{
    assert(is_message_lsn(lsn));
    size_t start = buffer_size(out);
    uint8_t *at = buffer_reserve(out, RECORD_ACK_MAX);
    if (at == NULL) {
        return;
    }
    put_u64_le(at + RECORD_HEADER_SIZE, queue);
    put_u64_le(at + RECORD_HEADER_SIZE + 8, lsn);
    buffer_commit(out, RECORD_HEADER_SIZE + ACK_FIXED);
    *writer = (struct record_ack_writer){.start = start, .last_lsn = lsn, .count = 1};
}

void
record_ack_add(struct record_ack_writer *writer, struct buffer *out, uint64_t lsn)
{
    assert(is_message_lsn(lsn));
    uint8_t *at = buffer_reserve(out, RECORD_ACK_ADD_MAX);
    if (at == NULL) {
        return;
    }
    int64_t delta = ((int64_t)lsn - (int64_t)writer->last_lsn) / RECORD_ALIGNMENT;
    uint64_t zigzag = ((uint64_t)delta << 1) ^ (delta < 0 ? UINT64_MAX : 0);
    size_t size = 0;
    for (; zigzag >= 0x80; zigzag >>= 7) {
        at[size++] = (uint8_t)(zigzag | 0x80);
    }
    at[size++] = (uint8_t)zigzag;
    buffer_commit(out, size);
    writer->last_lsn = lsn;
    writer->count++;
}

void
record_ack_end(struct record_ack_writer *writer, struct buffer *out)
{
    size_t size = buffer_size(out) - writer->start;
    size_t whole = record_aligned(size);
    uint8_t *padding = buffer_reserve(out, RECORD_ALIGNMENT);
    if (padding == NULL) {
        return;
    }
    uint8_t *start = out->data + out->start + writer->start;
    memset(padding, 0, whole - size);
    buffer_commit(out, whole - size);
    record_put_header(start, RECORD_ACK, whole);
    put_u32_le(start + RECORD_HEADER_SIZE + 16, writer->count);
    put_u32_le(start + RECORD_HEADER_SIZE + 20, (uint32_t)(size - RECORD_HEADER_SIZE - ACK_FIXED));
    writer->count = 0;
}

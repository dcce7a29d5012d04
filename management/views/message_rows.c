/* SPDX-License-Identifier: Apache-2.0 */
#include "management/views/message_rows.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/assert.h"
#include "broker/upkeep/waiting.h"
#include "management/json/base64.h"
#include "management/views/properties_json.h"
#include "queues/failures.h"
#include "queues/levels.h"
#include "store/content.h"

/* Copying ------------------------------------------------------------------------------------ */

void
message_rows_fini(struct message_rows *rows)
{
    free(rows->items);
    arena_fini(&rows->arena);
}

/* What is not known stays that. */
static struct bytes
keep(struct message_rows *rows, struct bytes text)
{
    rows->octets += text.size;
    return text.data == NULL ? text : arena_copy(&rows->arena, text);
}

/* The same of what is empty when nothing is known. */
static struct bytes
keep_some(struct message_rows *rows, struct bytes text)
{
    return text.size == 0 ? bytes_make(NULL, 0) : keep(rows, text);
}

static struct bytes
shown_body(const struct message_rows *rows, const struct desk_row *row)
{
    struct bytes body = content_body(row->content);
    return bytes_make(body.data, bytes_utf8_prefix(body, rows->body_max));
}

/* Whether there is memory for copies of it; a body may have 128 MiB. */
static bool
has_room_for(struct message_rows *rows, const struct desk_row *row, const struct desk_facts *facts)
{
    const struct bytes parts[] = {
        content_exchange(row->content),
        content_routing_key(row->content),
        content_properties(row->content),
        shown_body(rows, row),
        facts->origin_queue,
        facts->origin_exchange,
        facts->reason,
        facts->error_class,
        facts->replay_batch,
    };
    size_t size = 0;
    for (size_t i = 0; i < ARRAY_LEN(parts); i++) {
        size += parts[i].size;
    }
    return arena_reserve(&rows->arena, size, ARRAY_LEN(parts));
}

static void
copy_content(struct message_rows *rows, struct message_row *to, const struct desk_row *row,
             const struct desk_facts *facts)
{
    to->exchange = keep(rows, content_exchange(row->content));
    to->routing_key = keep(rows, content_routing_key(row->content));
    to->properties = keep(rows, content_properties(row->content));
    to->body = keep(rows, shown_body(rows, row));
    to->origin_queue = keep(rows, facts->origin_queue);
    to->origin_exchange = keep(rows, facts->origin_exchange);
    to->reason = keep(rows, facts->reason);
    to->error_class = keep_some(rows, facts->error_class);
    to->replay_batch = keep_some(rows, facts->replay_batch);
    to->replay_count = facts->replay_count;
    to->failures = facts->failure == NULL ? 0 : facts->failure->delivery_count;
    to->arrival_wall_ms = facts->arrival_wall_ms;
    to->expiry_wall_ms = facts->expiry_wall_ms;
}

bool
message_rows_add(struct message_rows *rows, const struct core *core, const struct desk_row *row,
                 const struct desk_facts *facts)
{
    if (facts != NULL && !has_room_for(rows, row, facts)) {
        rows->has_no_memory = true;
        return false;
    }
    if (rows->count == rows->capacity) {
        rows->capacity = rows->capacity == 0 ? 32 : rows->capacity * 2;
        rows->items = xrealloc(rows->items, rows->capacity * sizeof(*rows->items));
    }
    struct message_row *to = &rows->items[rows->count++];
    *to = (struct message_row){
        .id = {.position = row->position, .lsn = queue_entry_lsn(&row->entry)},
        .place = row->place,
        .is_redelivered = (queue_entry_flags(&row->entry) & ENTRY_REDELIVERED) != 0,
        .is_unreadable = facts == NULL,
        .body_size = row->entry.size,
    };
    if (row->place == DESK_WAITING) {
        to->due_wall_ms = core_wall_of_row_ms(core, row->key.due_ms);
    }
    if (facts != NULL) {
        copy_content(rows, to, row, facts);
        uint64_t now_ms = (uint64_t)core->now.wall_ms;
        to->age_ms = to->arrival_wall_ms < now_ms ? now_ms - to->arrival_wall_ms : 0;
    }
    rows->octets += sizeof(*to);
    return rows->octets < rows->octets_max;
}

/* Writing ------------------------------------------------------------------------------------ */

void
json_put_known(struct json_writer *json, const char *name, struct bytes text)
{
    if (text.data == NULL) {
        json_put_null(json, name);
    } else {
        json_put_text(json, name, text);
    }
}

void
json_put_time(struct json_writer *json, const char *name, uint64_t wall_ms)
{
    if (wall_ms == 0) {
        json_put_null(json, name);
    } else {
        json_put_unsigned(json, name, wall_ms);
    }
}

static void
write_payload(struct json_writer *json, const struct message_row *row, bool always_base64)
{
    struct bytes body = row->body;
    struct buffer encoded;
    json_put_unsigned(json, "payload_bytes", row->body_size);
    if (!always_base64 && bytes_is_utf8(body)) {
        json_put_text(json, "payload", body);
        json_put_string(json, "payload_encoding", "string");
    } else {
        buffer_init(&encoded);
        base64_put(&encoded, body);
        json_put_text(json, "payload", buffer_bytes(&encoded));
        json_put_string(json, "payload_encoding", "base64");
        json->out.failed |= encoded.failed;
        buffer_fini(&encoded);
    }
    json_put_bool(json, "payload_truncated", body.size < row->body_size);
}

static void
write_history(struct json_writer *json, const struct message_row *row)
{
    json_put_known(json, "origin_queue", row->origin_queue);
    json_put_known(json, "origin_exchange", row->origin_exchange);
    json_put_known(json, "reason", row->reason);
    json_put_known(json, "error_class", row->error_class);
    json_put_known(json, "replay_batch", row->replay_batch);
    json_put_number(json, "replay_count", row->replay_count);
}

void
message_row_write(struct json_writer *json, const struct message_row *row, bool always_base64)
{
    char id[DESK_ID_TEXT_SIZE];
    json_begin_object(json);
    json_put_string(json, "id", desk_id_text(id, row->id));
    json_put_string(json, "place", desk_place_name(row->place));
    /* Beyond the level it is a number that every reader of JSON can hold. */
    json_put_unsigned(json, "position", position_number(row->id.position));
    json_put_unsigned(json, "lsn", row->id.lsn);
    json_put_time(json, "arrival_ms", row->arrival_wall_ms);
    json_put_unsigned(json, "age_ms", row->age_ms);
    json_put_time(json, "expiry_ms", row->expiry_wall_ms);
    json_put_time(json, "due_ms", row->due_wall_ms);
    json_put_bool(json, "redelivered", row->is_redelivered);
    json_put_unsigned(json, "failures", row->failures);
    json_put_bool(json, "unreadable", row->is_unreadable);
    json_put_known(json, "exchange", row->exchange);
    json_put_known(json, "routing_key", row->routing_key);
    write_history(json, row);
    if (!row->is_unreadable) {
        json_key(json, "properties");
        properties_write(json, row->properties);
        write_payload(json, row, always_base64);
    } else {
        json_put_unsigned(json, "payload_bytes", row->body_size);
    }
    json_end_object(json);
}

/* Texts -------------------------------------------------------------------------------------- */

static const char *const place_names[DESK_PLACE_COUNT] = {"ready", "waiting", "parked", "unacked"};

const char *
desk_place_name(enum desk_place place)
{
    return place_names[place];
}

bool
desk_place_read(struct bytes name, enum desk_place *place_out)
{
    for (size_t i = 0; i < DESK_PLACE_COUNT; i++) {
        if (bytes_equal_text(name, place_names[i])) {
            *place_out = (enum desk_place)i;
            return true;
        }
    }
    return false;
}

static int
hex_digit(uint8_t octet)
{
    if (octet >= '0' && octet <= '9') {
        return octet - '0';
    }
    return octet >= 'a' && octet <= 'f' ? octet - 'a' + 10 : -1;
}

/* One number, from `*at` on; false: there is none, or it is too large. */
static bool
read_hex(struct bytes text, size_t *at, uint64_t *number_out)
{
    size_t start = *at;
    uint64_t number = 0;
    for (; *at < text.size && hex_digit(text.data[*at]) >= 0; (*at)++) {
        number = number << 4 | (uint64_t)hex_digit(text.data[*at]);
    }
    *number_out = number;
    return *at > start && *at - start <= 16;
}

bool
hex_numbers_read(struct bytes text, uint64_t *numbers, uint32_t count)
{
    size_t at = 0;
    for (uint32_t i = 0; i < count; i++) {
        bool is_apart = i == 0 || (at < text.size && text.data[at++] == '-');
        if (!is_apart || !read_hex(text, &at, &numbers[i])) {
            return false;
        }
    }
    return at == text.size;
}

const char *
desk_id_text(char out[static DESK_ID_TEXT_SIZE], struct desk_id id)
{
    (void)snprintf(out, DESK_ID_TEXT_SIZE, "%" PRIx64 "-%" PRIx64, id.position, id.lsn);
    return out;
}

bool
desk_id_read(struct bytes text, struct desk_id *id_out)
{
    uint64_t numbers[2];
    if (!hex_numbers_read(text, numbers, 2)) {
        return false;
    }
    *id_out = (struct desk_id){.position = numbers[0], .lsn = numbers[1]};
    return true;
}

const char *
desk_cursor_text(char out[static DESK_CURSOR_TEXT_SIZE], const struct desk_cursor *cursor)
{
    (void)snprintf(out, DESK_CURSOR_TEXT_SIZE, "%" PRIx64 "-%" PRIx64 "-%" PRIx64 "-%" PRIx64,
                   cursor->phase, cursor->first, cursor->second, cursor->third);
    return out;
}

bool
desk_cursor_read(struct bytes text, struct desk_cursor *cursor_out)
{
    uint64_t numbers[4];
    if (!hex_numbers_read(text, numbers, 4) || numbers[0] > PHASE_END) {
        return false;
    }
    *cursor_out = (struct desk_cursor){
        .phase = numbers[0], .first = numbers[1], .second = numbers[2], .third = numbers[3]};
    return true;
}

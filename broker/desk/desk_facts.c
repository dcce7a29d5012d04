/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/desk/desk_facts.h"

#include "amqp/table.h"
#include "queues/clocks.h"
#include "queues/expiry.h"
#include "queues/failure_history.h"

static struct bytes
text_of(struct bytes table, const char *name)
{
    struct table_value value;
    bool is_text = table_find(table, name, &value) && value.type == 'S';
    return is_text ? value.raw : bytes_make(NULL, 0);
}

/* The death that is told of as the first one. */
static bool
is_first_death(struct bytes entry, const struct desk_facts *facts, struct bytes reason)
{
    return bytes_equal(text_of(entry, "queue"), facts->origin_queue) &&
           bytes_equal(text_of(entry, "reason"), reason);
}

static void
read_origin_keys(struct desk_facts *facts, struct bytes headers)
{
    struct table_value deaths;
    struct table_value item;
    struct table_value keys;
    if (!table_find(headers, "x-death", &deaths) || deaths.type != 'A') {
        return;
    }
    struct bytes reason = text_of(headers, "x-first-death-reason");
    struct byte_reader reader = byte_reader_make(deaths.raw);
    while (table_array_next(&reader, &item)) {
        if (item.type == 'F' && is_first_death(item.raw, facts, reason) &&
            table_find(item.raw, "routing-keys", &keys) && keys.type == 'A') {
            facts->origin_keys = keys.raw;
        }
    }
    struct byte_reader first = byte_reader_make(facts->origin_keys);
    if (table_array_next(&first, &item) && item.type == 'S') {
        facts->routing_key = item.raw;
    }
}

static void
read_deaths(struct desk_facts *facts, struct bytes headers)
{
    facts->origin_queue = text_of(headers, "x-first-death-queue");
    facts->origin_exchange = text_of(headers, "x-first-death-exchange");
    facts->reason = text_of(headers, "x-last-death-reason");
    facts->error_class = text_of(headers, "x-failure-class");
    read_origin_keys(facts, headers);
}

/* It has not left its queue, which knows why. */
static void
read_parked(struct desk_facts *facts, const struct queue *queue, const struct desk_row *row)
{
    facts->origin_queue = queue_name(queue);
    facts->origin_exchange = content_exchange(row->content);
    facts->origin_keys = bytes_make(NULL, 0);
    facts->reason = bytes_of(death_reason_name(DEATH_DELIVERY_LIMIT));
    facts->routing_key = content_routing_key(row->content);
}

static void
read_failure(struct desk_facts *facts, const struct queue *queue, const struct desk_row *row)
{
    if (!queue_entry_has_failed(&row->entry)) {
        return;
    }
    facts->failure = queue_find_failure(queue, row->position);
    const struct failure_history *history =
        facts->failure == NULL ? NULL : queue_find_history(queue, facts->failure);
    if (history != NULL && history->note != NULL && history->note->class.data != NULL) {
        facts->error_class = history->note->class;
    }
}

static void
read_replay(struct desk_facts *facts, struct bytes headers)
{
    struct table_value count;
    facts->replay_batch = text_of(headers, "x-replay-batch");
    bool is_counted = table_find(headers, "x-replay-count", &count) &&
                      table_value_class(&count) == TABLE_CLASS_INTEGER;
    int64_t replay_count = is_counted ? table_value_integer(&count) : 0;
    /* A client may have published it; the next replay counts on. */
    facts->replay_count = replay_count < 0 || replay_count == INT64_MAX ? 0 : replay_count;
}

uint64_t
desk_row_age_ms(const struct core *core, const struct queue *queue, const struct desk_row *row)
{
    uint64_t now_ms = core->now.monotonic_ms - core->base_ms;
    bool has_place = (row->position & QUEUE_POSITION_DELAYED) == 0 && queue->clocks != NULL;
    return has_place ? now_ms - queue_arrival_ms(queue, row->position) : 0;
}

static uint64_t
wall_of(const struct core *core, uint64_t due_ms)
{
    int64_t from_now_ms = (int64_t)(due_ms - (core->now.monotonic_ms - core->base_ms));
    int64_t wall_ms = core->now.wall_ms + from_now_ms;
    return wall_ms <= 0 ? 1 : (uint64_t)wall_ms;
}

static void
read_times(struct desk_facts *facts, const struct core *core, const struct queue *queue,
           const struct desk_row *row)
{
    uint64_t age_ms = desk_row_age_ms(core, queue, row);
    uint64_t wall_ms = (uint64_t)core->now.wall_ms;
    facts->arrival_wall_ms = age_ms < wall_ms ? wall_ms - age_ms : 0;
    bool has_deadline = row->entry.due != DUE_NONE && queue->times != NULL &&
                        row->place != DESK_PARKED && (row->position & QUEUE_POSITION_DELAYED) == 0;
    if (has_deadline) {
        facts->expiry_wall_ms = wall_of(core, queue_deadline_ms(queue, &row->entry, row->position));
    }
}

void
desk_facts_read(struct desk_facts *facts, const struct core *core, struct queue *queue,
                const struct desk_row *row)
{
    struct fault fault;
    *facts = (struct desk_facts){.routing_key = content_routing_key(row->content)};
    if (properties_decode_kept(&facts->properties, content_properties(row->content), &fault) !=
        STATUS_OK) {
        facts->properties = (struct properties){0}; /* never: it was decoded when it came */
    }
    struct bytes headers = facts->properties.headers;
    if ((row->content->flags & CONTENT_HAS_DEATHS) != 0) {
        read_deaths(facts, headers);
    }
    if (row->place == DESK_PARKED) {
        read_parked(facts, queue, row);
    }
    read_failure(facts, queue, row);
    read_replay(facts, headers);
    read_times(facts, core, queue, row);
}

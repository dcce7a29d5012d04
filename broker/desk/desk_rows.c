/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/desk/desk_rows.h"

#include <stdlib.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "broker/channels/channel.h"

/* Messages that came back and are noted at once: they stand in a heap, which is walked as a whole
 * for it. */
enum { NOTED_MAX = 1024 };

struct noted_message {
    uint64_t position;
    struct queue_entry entry;
};

/* Life ----------------------------------------------------------------------------------------- */

static uint32_t
level_index(const struct queue *queue, uint64_t position)
{
    return queue->level_max == 0 ? 0 : position_level(position);
}

static void
note_ends(struct desk_rows *rows)
{
    const struct queue *queue = rows->queue;
    for (uint32_t i = 0; queue->levels != NULL && i <= queue->level_max; i++) {
        rows->ends[i] = queue->levels->of[i].next_position;
    }
    rows->ends[level_index(queue, queue->next_position)] = queue->next_position;
    rows->delayed_end = queue->waiting == NULL ? 0 : queue->waiting->next_number;
}

enum status
desk_rows_init(struct desk_rows *rows, struct core *core, struct queue *queue, uint32_t places)
{
    uint64_t *ends = try_alloc(((size_t)queue->level_max + 1) * sizeof(*ends));
    struct noted_message *noted = try_alloc(NOTED_MAX * sizeof(*noted));
    if (ends == NULL || noted == NULL) {
        free(ends);
        free(noted);
        return STATUS_NO_MEMORY;
    }
    *rows = (struct desk_rows){
        .core = core, .queue = queue_ref(queue), .places = places, .ends = ends, .noted = noted};
    memset(ends, 0, ((size_t)queue->level_max + 1) * sizeof(*ends));
    note_ends(rows);
    return STATUS_OK;
}

void
desk_rows_fini(struct desk_rows *rows)
{
    queue_unref(&rows->queue);
    free(rows->ends);
    free(rows->noted);
    free(rows->run);
}

void
desk_rows_begin_slice(struct desk_rows *rows)
{
    rows->is_noted = false;
}

static enum desk_next
end_phase(struct desk_cursor *cursor)
{
    *cursor = (struct desk_cursor){.phase = cursor->phase + 1};
    return DESK_NEXT_PASSED;
}

/* Whether it was there when the rows were begun. */
static bool
is_known(const struct desk_rows *rows, uint64_t position)
{
    if ((position & QUEUE_POSITION_DELAYED) != 0) {
        uint64_t number = (position & ~QUEUE_POSITION_DELAYED) >> DELAYED_NUMBER_SHIFT;
        return number < rows->delayed_end;
    }
    return position < rows->ends[level_index(rows->queue, position)];
}

/* The first position at `position` or behind it that may be meant; UINT64_MAX: none. */
static uint64_t
next_meant(const struct desk_rows *rows, uint64_t position)
{
    uint32_t low = 0;
    uint32_t high = rows->only.count;
    if (rows->only.at == NULL) {
        return position;
    }
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (rows->only.at[middle] < position) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low < rows->only.count ? rows->only.at[low] : UINT64_MAX;
}

/* Those that came back ------------------------------------------------------------------------- */

static void
sift_down(struct noted_message *heap, uint32_t count, const struct noted_message *item)
{
    uint32_t at = 0;
    for (uint32_t child = 1; child < count; child = 2 * at + 1) {
        if (child + 1 < count && heap[child + 1].position > heap[child].position) {
            child++;
        }
        if (item->position >= heap[child].position) {
            break;
        }
        heap[at] = heap[child];
        at = child;
    }
    heap[at] = *item;
}

static void
sift_up(struct noted_message *heap, uint32_t at, const struct noted_message *item)
{
    while (at > 0 && heap[(at - 1) / 2].position < item->position) {
        heap[at] = heap[(at - 1) / 2];
        at = (at - 1) / 2;
    }
    heap[at] = *item;
}

static int
compare_noted(const void *left, const void *right)
{
    const struct noted_message *a = left;
    const struct noted_message *b = right;
    return (a->position > b->position) - (a->position < b->position);
}

/* Notes the first ones from `position` on: the largest of them is in front of a heap meanwhile. */
static void
note_returned(struct desk_rows *rows, uint64_t position)
{
    struct queue *queue = rows->queue;
    uint32_t count = 0;
    for (uint32_t i = 0; i < queue->returned_count; i++) {
        struct noted_message item = {.position = queue_returned_position(queue, i)};
        bool may_be_noted = item.position >= position && is_known(rows, item.position) &&
                            (count < NOTED_MAX || item.position < rows->noted[0].position);
        const struct queue_entry *entry = may_be_noted ? queue_returned_entry(queue, i) : NULL;
        if (entry == NULL) {
            continue;
        }
        item.entry = *entry;
        if (count < NOTED_MAX) {
            sift_up(rows->noted, count++, &item);
        } else {
            sift_down(rows->noted, count, &item);
        }
    }
    qsort(rows->noted, count, sizeof(*rows->noted), compare_noted);
    rows->noted_count = count;
    rows->is_noted = true;
}

/* The first noted one from `position` on; NULL: none. */
static const struct noted_message *
find_noted(const struct desk_rows *rows, uint64_t position)
{
    uint32_t low = 0;
    uint32_t high = rows->noted_count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (rows->noted[middle].position < position) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low < rows->noted_count ? &rows->noted[low] : NULL;
}

static enum desk_next
next_returned(struct desk_rows *rows, struct desk_cursor *cursor, struct desk_row *row_out)
{
    if (!rows->is_noted) {
        note_returned(rows, cursor->first);
    }
    const struct noted_message *noted = find_noted(rows, cursor->first);
    if (noted == NULL && rows->noted_count == NOTED_MAX) {
        note_returned(rows, cursor->first);
        noted = find_noted(rows, cursor->first);
    }
    if (noted == NULL) {
        return end_phase(cursor);
    }
    cursor->first = noted->position + 1;
    *row_out = (struct desk_row){
        .place = DESK_READY,
        .stand = STAND_RETURNED,
        .position = noted->position,
        .entry = noted->entry,
    };
    return DESK_NEXT_ROW;
}

/* The others ----------------------------------------------------------------------------------- */

static bool
run_holds(const struct desk_rows *rows, uint64_t position)
{
    return rows->run != NULL && position >= rows->run_first &&
           position - rows->run_first < rows->look.count;
}

static enum desk_next
look_at_position(struct desk_rows *rows, uint64_t position, uint64_t skip,
                 struct desk_cursor *cursor, struct desk_row *row_out)
{
    struct queue_entry entry;
    enum entry_sight sight = entry_deque_look(queue_deque_of(rows->queue, position), skip, &entry);
    if (sight == SIGHT_SPILLED && !run_holds(rows, position)) {
        cursor->first = position;
        return DESK_NEXT_SPILLED;
    }
    cursor->first = position + 1;
    if (sight == SIGHT_SPILLED) {
        entry = entry_look_read(&rows->look, rows->run, (uint32_t)(position - rows->run_first));
    }
    if (sight == SIGHT_DEAD || queue_entry_is_dead(&entry)) {
        return DESK_NEXT_PASSED;
    }
    *row_out = (struct desk_row){
        .place = DESK_READY,
        .stand = sight == SIGHT_SPILLED ? STAND_SPILLED : STAND_IN_DEQUE,
        .position = position,
        .entry = entry,
    };
    return DESK_NEXT_ROW;
}

/* Level by level, the highest first: so positions rise. */
static enum desk_next
next_ready(struct desk_rows *rows, struct desk_cursor *cursor, struct desk_row *row_out)
{
    const struct queue *queue = rows->queue;
    bool has_levels = queue->level_max != 0;
    uint32_t level = level_index(queue, cursor->first);
    if (has_levels && level > queue->level_max) {
        level = queue->level_max;
    }
    uint64_t end = rows->ends[level];
    if (end != 0) {
        uint64_t oldest = queue_first_position_of(queue, end - 1);
        uint64_t position = cursor->first > oldest ? cursor->first : oldest;
        position = next_meant(rows, position);
        if (position < end) {
            return look_at_position(rows, position, position - oldest, cursor, row_out);
        }
    }
    if (level == 0) {
        return end_phase(cursor);
    }
    cursor->first = position_of_level((uint8_t)(level - 1));
    return DESK_NEXT_PASSED;
}

uint64_t
desk_rows_find_run(const struct desk_rows *rows, const struct desk_cursor *cursor,
                   struct entry_look *look_out)
{
    uint32_t at;
    uint64_t oldest = queue_first_position_of(rows->queue, cursor->first);
    entry_deque_find_run(queue_deque_of(rows->queue, cursor->first), cursor->first - oldest,
                         look_out, &at);
    return cursor->first - at;
}

void
desk_rows_take_run(struct desk_rows *rows, const struct entry_look *look, uint64_t first,
                   uint8_t *octets)
{
    free(rows->run);
    rows->run = octets;
    rows->look = *look;
    rows->run_first = first;
}

/* Those that wait ------------------------------------------------------------------------------ */

static enum desk_next
next_waiting(const struct desk_rows *rows, struct desk_cursor *cursor, struct desk_row *row_out)
{
    const struct queue_waiting *waiting = rows->queue->waiting;
    if (waiting == NULL) {
        return end_phase(cursor);
    }
    struct due_key key = {.due_ms = cursor->first, .position = cursor->second};
    struct due_cursor at = due_index_seek(&waiting->index, &key);
    const struct due_row *row = due_cursor_next(&at);
    if (row == NULL) {
        return end_phase(cursor);
    }
    cursor->first = row->key.due_ms;
    cursor->second = row->key.position + 1;
    enum desk_place place = due_row_kind(row) == WAITING_PARKED ? DESK_PARKED : DESK_WAITING;
    if ((rows->places & 1U << place) == 0 || !is_known(rows, row->key.position)) {
        return DESK_NEXT_PASSED;
    }
    *row_out = (struct desk_row){
        .place = place,
        .position = row->key.position,
        .key = row->key,
        .entry = row->entry,
    };
    return DESK_NEXT_ROW;
}

/* Those at consumers --------------------------------------------------------------------------- */

/* The connection with the lowest link behind one that is gone. */
static struct connection *
connection_behind(const struct core *core, uint64_t link)
{
    struct connection *found = NULL;
    LIST_FOR_EACH(&core->connection_list, at)
    {
        struct connection *connection = CONTAINER_OF(at, struct connection, core_link);
        if (connection->link > link && (found == NULL || connection->link < found->link)) {
            found = connection;
        }
    }
    return found;
}

static struct connection *
connection_at(struct core *core, const struct desk_cursor *cursor)
{
    if (cursor->first == 0) {
        struct list_link *first = list_first(&core->connection_list);
        return first == NULL ? NULL : CONTAINER_OF(first, struct connection, core_link);
    }
    struct connection *connection = core_find_connection(core, cursor->first);
    return connection != NULL ? connection : connection_behind(core, cursor->first);
}

static enum desk_next
leave_connection(const struct core *core, const struct connection *connection,
                 struct desk_cursor *cursor)
{
    struct list_link *next = list_next(&core->connection_list, &connection->core_link);
    if (next == NULL) {
        return end_phase(cursor);
    }
    cursor->first = CONTAINER_OF(next, struct connection, core_link)->link;
    cursor->second = 0;
    cursor->third = 0;
    return DESK_NEXT_PASSED;
}

static enum desk_next
next_unacked(const struct desk_rows *rows, struct desk_cursor *cursor, struct desk_row *row_out)
{
    struct connection *connection = connection_at(rows->core, cursor);
    if (connection == NULL) {
        return end_phase(cursor);
    }
    if (connection->link != cursor->first) {
        *cursor = (struct desk_cursor){.phase = PHASE_UNACKED, .first = connection->link};
    }
    if (cursor->second >= connection->channel_capacity) {
        return leave_connection(rows->core, connection, cursor);
    }
    const struct channel *channel = connection->channels[cursor->second];
    const struct unacked *item =
        channel == NULL ? NULL : unacked_table_next(&channel->unacked, cursor->third);
    if (item == NULL) {
        cursor->second++;
        cursor->third = 0;
        return DESK_NEXT_PASSED;
    }
    cursor->third = item->tag + 1;
    if (item->queue != rows->queue || !is_known(rows, item->position)) {
        return DESK_NEXT_PASSED;
    }
    *row_out =
        (struct desk_row){.place = DESK_UNACKED, .position = item->position, .entry = item->entry};
    return DESK_NEXT_ROW;
}

/* All ------------------------------------------------------------------------------------------ */

static bool
has_phase(const struct desk_rows *rows, uint64_t phase)
{
    static const uint32_t places[] = {
        [PHASE_RETURNED] = 1 << DESK_READY,
        [PHASE_READY] = 1 << DESK_READY,
        [PHASE_WAITING] = 1 << DESK_WAITING | 1 << DESK_PARKED,
        [PHASE_UNACKED] = 1 << DESK_UNACKED,
    };
    return (rows->places & places[phase]) != 0;
}

enum desk_next
desk_rows_next(struct desk_rows *rows, struct desk_cursor *cursor, struct desk_row *row_out)
{
    if (cursor->phase >= PHASE_END || rows->queue->deleted) {
        cursor->phase = PHASE_END;
        return DESK_NEXT_END;
    }
    if (!has_phase(rows, cursor->phase)) {
        return end_phase(cursor);
    }
    switch ((enum desk_phase)cursor->phase) {
    case PHASE_RETURNED:
        return next_returned(rows, cursor, row_out);
    case PHASE_READY:
        return next_ready(rows, cursor, row_out);
    case PHASE_WAITING:
        return next_waiting(rows, cursor, row_out);
    case PHASE_UNACKED:
        return next_unacked(rows, cursor, row_out);
    case PHASE_END:
        break;
    }
    return DESK_NEXT_END;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "queues/failure_history.h"

#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "queues/queue.h"

/* Notes ---------------------------------------------------------------------------------------- */

static struct bytes
copy_behind(uint8_t **end, struct bytes text)
{
    if (text.data == NULL) {
        return text;
    }
    struct bytes copy = bytes_make(*end, text.size);
    memcpy(*end, text.data, text.size);
    *end += text.size;
    return copy;
}

struct failure_note *
failure_note_new(uint64_t tag, struct bytes class, struct bytes text, struct bytes advice)
{
    size_t octets = sizeof(struct failure_note) + class.size + text.size + advice.size;
    struct failure_note *note = try_alloc(octets);
    if (note == NULL) {
        return NULL;
    }
    uint8_t *end = note->copies;
    note->tag = tag;
    note->octets = (uint32_t)octets;
    note->class = copy_behind(&end, class);
    note->text = copy_behind(&end, text);
    note->advice = copy_behind(&end, advice);
    return note;
}

/* Histories ------------------------------------------------------------------------------------ */

static void
count_memory(struct queue *queue, size_t freed, size_t taken)
{
    queue->failures->history_octets += taken - freed;
    entry_deque_count_memory(&queue->deque, freed, taken);
}

static struct bytes
key_of(const uint64_t *position)
{
    return bytes_make(position, sizeof(*position));
}

/* Makes the table of all, where there is none; false: there is no memory. */
static bool
has_map(struct queue_failures *failures)
{
    if (failures->histories == NULL) {
        failures->histories = try_alloc(sizeof(*failures->histories));
        if (failures->histories == NULL) {
            return false;
        }
        map_init(failures->histories, 0);
    }
    return true;
}

/* NULL: there is too much already, or no memory. */
static struct failure_history *
new_history(struct queue *queue, struct failure_row *row)
{
    struct queue_failures *failures = queue->failures;
    struct failure_history *history =
        failures->history_octets >= FAILURE_HISTORY_OCTETS_MAX ? NULL : try_alloc(sizeof(*history));
    if (history == NULL || !has_map(failures)) {
        free(history);
        return NULL;
    }
    memset(history, 0, sizeof(*history));
    history->position = row->position;
    if (map_reserve(failures->histories, key_of(&history->position)) != STATUS_OK) {
        free(history);
        return NULL;
    }
    map_put(failures->histories, key_of(&history->position), history);
    row->has_history = true;
    count_memory(queue, 0, sizeof(*history));
    return history;
}

static struct failure_history *
find_history(const struct queue *queue, const struct failure_row *row)
{
    return row->has_history ? map_get(queue->failures->histories, key_of(&row->position)) : NULL;
}

const struct failure_history *
queue_find_history(const struct queue *queue, const struct failure_row *row)
{
    return find_history(queue, row);
}

static void
free_note(struct queue *queue, struct failure_history *history)
{
    if (history->note != NULL) {
        count_memory(queue, history->note->octets, 0);
        free(history->note);
        history->note = NULL;
    }
}

static void
keep_class(struct failure_history *history, uint32_t number, struct bytes class)
{
    struct failure_class *kept = &history->classes[row_attempts_place(number)];
    kept->size = (uint8_t)(class.size < FAILURE_CLASS_MAX ? class.size : FAILURE_CLASS_MAX);
    if (kept->size > 0) {
        memcpy(kept->text, class.data, kept->size);
    }
}

void
queue_keep_note(struct queue *queue, struct failure_row *row, uint32_t number,
                struct failure_note *note)
{
    struct failure_history *history = find_history(queue, row);
    if (history == NULL && (history = new_history(queue, row)) == NULL) {
        free(note);
        return;
    }
    free_note(queue, history);
    if (number > 0) {
        keep_class(history, number, note->class);
    }
    /* A longer one than before may be too much as well. */
    if (queue->failures->history_octets >= FAILURE_HISTORY_OCTETS_MAX) {
        free(note);
        return;
    }
    history->note = note;
    count_memory(queue, 0, note->octets);
}

void
queue_keep_no_note(struct queue *queue, const struct failure_row *row, uint32_t number)
{
    struct failure_history *history = find_history(queue, row);
    if (history != NULL) {
        keep_class(history, number, bytes_make(NULL, 0));
    }
}

struct bytes
failure_history_class(const struct failure_history *history, uint32_t number)
{
    const struct failure_class *class = &history->classes[row_attempts_place(number)];
    return class->size == 0 ? bytes_make(NULL, 0) : bytes_make(class->text, class->size);
}

static void
free_history(struct queue *queue, struct failure_history *history)
{
    free_note(queue, history);
    count_memory(queue, sizeof(*history), 0);
    free(history);
}

void
queue_forget_history(struct queue *queue, struct failure_row *row)
{
    if (row->has_history) {
        row->has_history = false;
        free_history(queue, map_remove(queue->failures->histories, key_of(&row->position)));
    }
}

void
queue_forget_histories(struct queue *queue)
{
    struct map *histories = queue->failures->histories;
    if (histories == NULL) {
        return;
    }
    uint32_t at = 0;
    for (struct map_entry *entry; (entry = map_next(histories, &at)) != NULL;) {
        free_history(queue, entry->value);
    }
    map_fini(histories);
    free(histories);
    queue->failures->histories = NULL;
}

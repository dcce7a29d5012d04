/* SPDX-License-Identifier: Apache-2.0 */
/* A bitmap per file. What is spilled together tends to come back together, so room is taken behind
 * the last that was taken, and a file that was filled once is only gone back to when most of it is
 * free again. */
#include "store/spill_space.h"

#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/assert.h"

enum { FILE_UNITS = SPILL_FILE_SIZE / SPILL_UNIT, WORD_BITS = 64 };

struct spill_file {
    uint64_t number;
    uint32_t units;
    uint32_t used;
    uint32_t cursor; /* where the next is looked for */
    uint64_t *bits;  /* of units in use; owned */
};

struct spill_space {
    struct spill_file *files; /* by rising number; owned */
    size_t count, capacity;
    size_t current;       /* of the file that room is taken in; any number while there is none */
    uint64_t next_number; /* of a file; the first is 1 */
    uint64_t *empty;      /* numbers of files to be removed; owned */
    size_t empty_count, empty_capacity;
    uint64_t bytes;
};

struct spill_space *
spill_space_new(void)
{
    struct spill_space *space = xalloc(sizeof(*space));
    space->next_number = 1;
    return space;
}

void
spill_space_free(struct spill_space **space_pointer)
{
    struct spill_space *space = *space_pointer;
    if (space == NULL) {
        return;
    }
    *space_pointer = NULL;
    for (size_t i = 0; i < space->count; i++) {
        free(space->files[i].bits);
    }
    free(space->files);
    free(space->empty);
    free(space);
}

static uint32_t
units_of(size_t size)
{
    assert(size > 0);
    size_t units = (size + SPILL_UNIT - 1) / SPILL_UNIT;
    assert(units <= UINT32_MAX);
    return (uint32_t)units;
}

static bool
is_taken(const struct spill_file *file, uint32_t unit)
{
    return (file->bits[unit / WORD_BITS] >> unit % WORD_BITS & 1) != 0;
}

static void
flip(struct spill_file *file, uint32_t unit, uint32_t count)
{
    for (uint32_t i = unit; i < unit + count; i++) {
        file->bits[i / WORD_BITS] ^= UINT64_C(1) << i % WORD_BITS;
    }
}

/* The first run of `count` free units between `from` and `to`; false when there is none. */
static bool
find_run(const struct spill_file *file, uint32_t from, uint32_t to, uint32_t count,
         uint32_t *unit_out)
{
    uint32_t run = 0;
    for (uint32_t unit = from; unit < to; unit++) {
        run = is_taken(file, unit) ? 0 : run + 1;
        if (run == count) {
            *unit_out = unit + 1 - count;
            return true;
        }
    }
    return false;
}

static bool
file_take(struct spill_file *file, uint32_t count, uint32_t *unit_out)
{
    if (file->units - file->used < count ||
        (!find_run(file, file->cursor, file->units, count, unit_out) &&
         !find_run(file, 0, file->units, count, unit_out))) {
        return false;
    }
    flip(file, *unit_out, count);
    file->used += count;
    file->cursor = *unit_out + count;
    return true;
}

static enum status
add_file(struct spill_space *space, uint32_t units)
{
    if (space->count == space->capacity) {
        size_t capacity = space->capacity == 0 ? 8 : space->capacity * 2;
        struct spill_file *files = try_realloc(space->files, capacity * sizeof(*files));
        if (files == NULL) {
            return STATUS_NO_MEMORY;
        }
        space->files = files;
        space->capacity = capacity;
    }
    size_t size = (units + WORD_BITS - 1) / WORD_BITS * sizeof(uint64_t);
    uint64_t *bits = try_alloc(size);
    if (bits == NULL) {
        return STATUS_NO_MEMORY;
    }
    memset(bits, 0, size);
    space->files[space->count++] =
        (struct spill_file){.number = space->next_number++, .units = units, .bits = bits};
    return STATUS_OK;
}

static void
remove_file(struct spill_space *space, size_t at)
{
    struct spill_file *file = &space->files[at];
    if (space->empty_count == space->empty_capacity) {
        size_t capacity = space->empty_capacity == 0 ? 8 : space->empty_capacity * 2;
        space->empty = xrealloc(space->empty, capacity * sizeof(*space->empty));
        space->empty_capacity = capacity;
    }
    space->empty[space->empty_count++] = file->number;
    free(file->bits);
    memmove(file, file + 1, (space->count - at - 1) * sizeof(*file));
    space->count--;
    if (space->current > at) {
        space->current--;
    }
}

/* Takes room in file `at`, if it has any in one piece. */
static bool
take_from(struct spill_space *space, size_t at, uint32_t count, uint64_t *place_out)
{
    struct spill_file *file = &space->files[at];
    uint32_t unit;
    if (!file_take(file, count, &unit)) {
        return false;
    }
    *place_out = file->number << 32 | unit;
    return true;
}

/* In the current file, in an old one that is mostly free, or in a new one; the last two become the
 * current one. */
static enum status
take_shared(struct spill_space *space, uint32_t count, uint64_t *place_out)
{
    if (space->current < space->count && take_from(space, space->current, count, place_out)) {
        return STATUS_OK;
    }
    for (size_t i = 0; i < space->count; i++) {
        const struct spill_file *file = &space->files[i];
        bool is_candidate = file->units == FILE_UNITS && file->used < FILE_UNITS / 4;
        if (is_candidate && take_from(space, i, count, place_out)) {
            space->current = i;
            return STATUS_OK;
        }
    }
    if (add_file(space, FILE_UNITS) != STATUS_OK) {
        return STATUS_NO_MEMORY;
    }
    space->current = space->count - 1;
    bool taken = take_from(space, space->current, count, place_out);
    assert(taken);
    return STATUS_OK;
}

/* In a file for it alone. */
static enum status
take_own(struct spill_space *space, uint32_t count, uint64_t *place_out)
{
    if (add_file(space, count) != STATUS_OK) {
        return STATUS_NO_MEMORY;
    }
    bool taken = take_from(space, space->count - 1, count, place_out);
    assert(taken);
    return STATUS_OK;
}

enum status
spill_space_take(struct spill_space *space, size_t size, uint64_t *place_out)
{
    uint32_t count = units_of(size);
    enum status status = count > FILE_UNITS / 4 ? take_own(space, count, place_out)
                                                : take_shared(space, count, place_out);
    if (status == STATUS_OK) {
        space->bytes += (uint64_t)count * SPILL_UNIT;
    }
    return status;
}

static size_t
find_file(const struct spill_space *space, uint64_t number)
{
    size_t low = 0;
    size_t high = space->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (space->files[middle].number < number) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    assert(low < space->count);
    assert(space->files[low].number == number);
    return low;
}

void
spill_space_give_back(struct spill_space *space, uint64_t place, size_t size)
{
    uint32_t count = units_of(size);
    uint32_t unit = (uint32_t)place;
    size_t at = find_file(space, spill_place_file(place));
    struct spill_file *file = &space->files[at];
    assert(unit < file->units && count <= file->units - unit);
    for (uint32_t i = unit; i < unit + count; i++) {
        assert(is_taken(file, i));
    }
    flip(file, unit, count);
    file->used -= count;
    space->bytes -= (uint64_t)count * SPILL_UNIT;
    if (file->used > 0) {
        return;
    }
    if (at == space->current && file->units == FILE_UNITS) {
        file->cursor = 0;
    } else {
        remove_file(space, at);
    }
}

bool
spill_space_take_empty(struct spill_space *space, uint64_t *number_out)
{
    if (space->empty_count == 0) {
        return false;
    }
    *number_out = space->empty[--space->empty_count];
    return true;
}

uint64_t
spill_space_bytes(const struct spill_space *space)
{
    return space->bytes;
}

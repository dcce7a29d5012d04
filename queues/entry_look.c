/* SPDX-License-Identifier: Apache-2.0 */
#include "base/assert.h"
#include "queues/entry_block.h"

#include <string.h>

static bool
is_listed_dead(const struct entry_pages *pages, uint64_t number)
{
    return pages->dead.count > 0 &&
           due_index_find(&pages->dead, &(struct due_key){.position = number}) != NULL;
}

enum entry_sight
entry_deque_look(const struct entry_deque *deque, uint64_t skip, struct queue_entry *entry_out)
{
    struct entry_place place = entry_deque_find(deque, skip);
    if (place.block == NULL) {
        return is_listed_dead(deque->pages, place.number) ? SIGHT_DEAD : SIGHT_SPILLED;
    }
    assert(place.at >= place.block->start);
    assert(place.at < place.block->end);
    const struct queue_entry *entry = &place.block->entries[place.at];
    if (queue_entry_is_dead(entry)) {
        return SIGHT_DEAD;
    }
    queue_entry_copy(entry_out, entry);
    return SIGHT_LIVING;
}

void
entry_deque_find_run(const struct entry_deque *deque, uint64_t skip, struct entry_look *look_out,
                     uint32_t *at_out)
{
    const struct entry_pages *pages = deque->pages;
    struct entry_place place = entry_deque_find(deque, skip);
    assert(place.block == NULL);
    uint64_t number = entry_pages_first_run_number(pages);
    const struct entry_run *run = NULL;
    for (uint32_t i = 0; i < pages->run_count; i++) {
        run = &pages->runs[(pages->run_first + i) % pages->run_capacity];
        if (place.number - number < run->count) {
            break;
        }
        number += run->count;
    }
    assert(run != NULL);
    assert(place.number - number < run->count);
    *look_out = (struct entry_look){
        .place = run->place,
        .size = (uint32_t)entry_run_octets(run),
        .crc = run->crc,
        .count = run->count,
        .is_logged = run->is_logged,
    };
    *at_out = (uint32_t)(place.number - number);
}

struct queue_entry
entry_look_read(const struct entry_look *look, const uint8_t *octets, uint32_t at)
{
    struct queue_entry entry;
    size_t size = look->size / look->count;
    (void)entry_pages_read_entry(octets + at * size, look->is_logged, &entry);
    return entry;
}

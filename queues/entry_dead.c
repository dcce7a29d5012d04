/* SPDX-License-Identifier: Apache-2.0 */
/* Entries that die where they stand. In memory a dead entry takes the place of one that lived. What
 * is spilled cannot be changed, so its number goes into a list that is applied when the run comes
 * back. */
#include <stdlib.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "queues/entry_block.h"

static const struct queue_entry DEAD = {.lsn_and_flags = ENTRY_DEAD};

/* Finding -------------------------------------------------------------------------------------- */

/* Notes every block of the chain, with room for as many more. */
static void
make_directory(struct entry_pages *pages)
{
    uint32_t capacity = pages->block_count * 2;
    struct entry_block **directory = try_alloc(capacity * sizeof(struct entry_block *));
    if (directory == NULL) {
        return;
    }
    uint32_t count = 0;
    for (struct entry_block *block = pages->deque->head; block != NULL; block = block->next) {
        directory[count++] = block;
    }
    assert(count == pages->block_count);
    entry_deque_count_memory(pages->deque, 0, capacity * sizeof(struct entry_block *));
    pages->directory = directory;
    pages->directory_count = count;
    pages->directory_capacity = capacity;
}

/* A short chain, or one for whose directory there is no memory, is walked. */
static struct entry_block *
nth_block(const struct entry_deque *deque, uint64_t number)
{
    struct entry_pages *pages = deque->pages;
    struct entry_block *block = deque->head;
    if (pages != NULL && pages->directory == NULL && number > 0) {
        make_directory(pages);
    }
    if (pages != NULL && pages->directory != NULL && number > 0) {
        assert(number < pages->directory_count);
        return pages->directory[pages->directory_first + number];
    }
    for (; number > 0; number--) {
        block = block->next;
    }
    return block;
}

static struct entry_place
place_in_block(const struct entry_deque *deque, uint64_t first_block, uint64_t at)
{
    return (struct entry_place){
        .block = nth_block(deque, first_block + at / ENTRY_BLOCK_CAPACITY),
        .at = (uint32_t)(at % ENTRY_BLOCK_CAPACITY),
    };
}

/* All blocks but the first and the last are full, so that arithmetic finds the block. */
struct entry_place
entry_deque_find(const struct entry_deque *deque, uint64_t skip)
{
    const struct entry_pages *pages = deque->pages;
    if (!deque->has_runs) {
        return place_in_block(deque, 0, deque->head->start + skip);
    }
    uint64_t front = (uint64_t)pages->front_count * ENTRY_BLOCK_CAPACITY;
    uint64_t at = skip + (front == 0 ? 0 : deque->head->start);
    if (at < front) {
        return place_in_block(deque, 0, at);
    }
    if (at - front < pages->run_places) {
        return (struct entry_place){.number = pages->finished_count + at};
    }
    return place_in_block(deque, pages->front_count, at - front - pages->run_places);
}

/* Dying ---------------------------------------------------------------------------------------- */

static enum status
add_to_list(struct entry_pages *pages, uint64_t number, const struct queue_entry *entry)
{
    struct due_row row = {.key = {.position = number}, .entry = *entry};
    uint64_t before = pages->dead.bytes;
    if (due_index_add(&pages->dead, &row) != STATUS_OK) {
        return STATUS_NO_MEMORY;
    }
    entry_deque_count_memory(pages->deque, before, pages->dead.bytes);
    return STATUS_OK;
}

static bool
take_from_list(struct entry_pages *pages, uint64_t number)
{
    struct due_row row;
    uint64_t before = pages->dead.bytes;
    bool taken = due_index_take(&pages->dead, &(struct due_key){.position = number}, &row);
    entry_deque_count_memory(pages->deque, before, pages->dead.bytes);
    return taken;
}

/* An entry that is in the log has let go of its content. */
static enum status
kill_spilled(struct entry_deque *deque, uint64_t number, struct queue_entry *entry)
{
    if (add_to_list(deque->pages, number, entry) != STATUS_OK) {
        return STATUS_NO_MEMORY;
    }
    if (queue_entry_lsn(entry) != 0) {
        entry->content = (struct content_ref){0};
    }
    return STATUS_OK;
}

static enum status
kill_in_place(struct entry_deque *deque, const struct entry_place *place, struct queue_entry *entry)
{
    assert(place->at >= place->block->start);
    assert(place->at < place->block->end);
    struct queue_entry *there = &place->block->entries[place->at];
    if (queue_entry_is_dead(there)) {
        return STATUS_AGAIN;
    }
    *entry = *there;
    *there = DEAD;
    place->block->dead_count++;
    if (deque->pages != NULL) {
        deque->pages->died_meanwhile = true;
    }
    return STATUS_OK;
}

enum status
entry_deque_kill(struct entry_deque *deque, uint64_t skip, struct queue_entry *entry)
{
    if (deque->dead_count == UINT32_MAX) {
        return STATUS_NO_MEMORY;
    }
    struct entry_place place = entry_deque_find(deque, skip);
    enum status status = place.block == NULL ? kill_spilled(deque, place.number, entry)
                                             : kill_in_place(deque, &place, entry);
    if (status == STATUS_OK) {
        deque->dead_count++;
        entry_deque_skip_dead(deque);
    }
    return status;
}

/* The dead in front ---------------------------------------------------------------------------- */

/* Where a whole block is dead, it goes at once. */
void
entry_deque_skip_dead(struct entry_deque *deque)
{
    const struct queue_entry *head;
    while (deque->dead_count > 0 && (head = entry_deque_head(deque)) != NULL &&
           queue_entry_is_dead(head)) {
        struct entry_block *block = deque->head;
        uint32_t left = block->end - block->start;
        uint32_t count = block->dead_count == left ? left : 1;
        block->start += count;
        block->dead_count -= count;
        deque->dead_count -= count;
        if (block->start == block->end) {
            entry_deque_finish_head(deque);
        }
    }
}

void
entry_deque_drop_dead(struct entry_deque *deque, uint64_t place_count)
{
    if (deque->dead_count == place_count && entry_deque_is_settled(deque)) {
        entry_deque_fini(deque);
        deque->dead_count = 0;
    }
}

/* What is spilled ------------------------------------------------------------------------------ */

/* Takes what entry_pages_list_dead has listed so far. */
static void
unlist(struct entry_pages *pages, uint64_t first, uint64_t end)
{
    for (uint64_t number = first; number < end; number++) {
        (void)take_from_list(pages, number);
    }
}

enum status
entry_pages_list_dead(struct entry_pages *pages, const struct entry_block *block, uint64_t number,
                      const struct entry_run *run, const uint8_t *octets)
{
    uint64_t first = number;
    for (uint32_t left = run->count; left > 0; block = block->next) {
        for (uint32_t i = block->start; i < block->end; i++, left--, number++) {
            struct queue_entry written;
            octets = entry_pages_read_entry(octets, run->is_logged, &written);
            bool has_died =
                queue_entry_is_dead(&block->entries[i]) && !queue_entry_is_dead(&written);
            if (has_died && add_to_list(pages, number, &written) != STATUS_OK) {
                unlist(pages, first, number);
                return STATUS_NO_MEMORY;
            }
        }
    }
    return STATUS_OK;
}

void
entry_pages_apply_dead(struct entry_pages *pages, struct entry_block *chain)
{
    uint64_t number = entry_pages_first_run_number(pages);
    for (struct entry_block *block = chain; block != NULL && pages->dead.count > 0;
         block = block->next, number += ENTRY_BLOCK_CAPACITY) {
        const struct due_row *row;
        while ((row = due_index_first(&pages->dead)) != NULL &&
               row->key.position - number < block->end) {
            uint64_t at = row->key.position - number;
            block->dead_count += queue_entry_is_dead(&block->entries[at]) ? 0 : 1;
            block->entries[at] = DEAD;
            (void)take_from_list(pages, row->key.position);
        }
    }
}

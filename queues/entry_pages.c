/* SPDX-License-Identifier: Apache-2.0 */
/* Spilling the middle of a deque. Nothing is taken out of the chain before it is on disk: the run
 * is copied into a buffer, written, and only then replaces its blocks. If the head gets there
 * first, the run is thrown away. */
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "queues/entry_block.h"
#include "store/spill_space.h"

enum {
    FRONT_KEPT = 4, /* blocks that stay in front of the first run */
    SPILL_FROM = 6, /* blocks: those in front, one to spill, and the one that is filled */
    READ_BELOW = 8, /* blocks in front: with fewer the next run is read */
    RUNS_FIRST = 16,
};

/* An entry that is in the log, as the file has it. */
struct logged_entry {
    uint64_t lsn_and_flags;
    uint32_t size;
    uint32_t due;
};

_Static_assert(sizeof(struct logged_entry) == 16, "a run of them is what a long backlog costs");

/* Life ----------------------------------------------------------------------------------------- */

void
entry_pages_forget_directory(struct entry_pages *pages)
{
    entry_deque_count_memory(pages->deque, pages->directory_capacity * sizeof(struct entry_block *),
                             0);
    free(pages->directory);
    pages->directory = NULL;
    pages->directory_first = 0;
    pages->directory_count = 0;
    pages->directory_capacity = 0;
}

/* The chain has one block more at its end. A directory that is full is made anew when it is needed
 * again, twice as large. */
static void
note_block(struct entry_pages *pages, struct entry_block *block)
{
    uint32_t end = pages->directory_first + pages->directory_count;
    if (end < pages->directory_capacity) {
        pages->directory[end] = block;
        pages->directory_count++;
    } else if (pages->directory != NULL) {
        entry_pages_forget_directory(pages);
    }
}

/* On the list of its owner: in front, if it has too many blocks in memory. */
static void
list_long(struct entry_pages *pages)
{
    struct entry_memory *memory = pages->deque->memory;
    if (pages->block_count > ENTRY_BLOCKS_MAX) {
        list_prepend(&memory->long_deques, &pages->link);
    } else {
        list_append(&memory->long_deques, &pages->link);
    }
}

void
entry_pages_on_block(struct entry_deque *deque)
{
    struct entry_pages *pages = deque->pages;
    if (pages == NULL) {
        /* Counted once: a chain that has grown to SPILL_FROM blocks since it was empty. */
        uint32_t count = 0;
        for (const struct entry_block *block = deque->head; block != NULL; block = block->next) {
            count++;
        }
        if (count < SPILL_FROM || deque->memory == NULL) {
            return;
        }
        pages = xalloc(sizeof(*pages));
        pages->deque = deque;
        pages->block_count = count;
        deque->pages = pages;
    } else {
        pages->block_count++;
        note_block(pages, deque->tail);
    }
    if (!list_link_is_linked(&pages->link) || pages->block_count == ENTRY_BLOCKS_MAX + 1) {
        list_remove(&pages->link);
        list_long(pages);
    }
}

void
entry_pages_on_head_done(struct entry_pages *pages, const struct entry_block *block)
{
    pages->block_count--;
    pages->finished_count += block->end;
    if (pages->directory_count > 0) {
        pages->directory_first++;
        pages->directory_count--;
    }
    if (pages->front_count > 0 && --pages->front_count == 0) {
        pages->front_last = NULL;
    }
    /* The head comes to the next block: it is no longer one to spill. */
    if (pages->spilling != NULL && pages->spilling == block->next && pages->run_count == 0) {
        pages->spilling = NULL;
    }
}

size_t
entry_run_octets(const struct entry_run *run)
{
    return run->count * (run->is_logged ? sizeof(struct logged_entry) : sizeof(struct queue_entry));
}

void
entry_pages_free(struct entry_deque *deque)
{
    struct entry_pages *pages = deque->pages;
    if (pages == NULL) {
        return;
    }
    assert(!pages->is_spilling);
    assert(!pages->is_reading);
    for (; pages->run_count > 0; pages->run_count--) {
        const struct entry_run *run = &pages->runs[pages->run_first];
        spill_space_give_back(deque->memory->space, run->place, entry_run_octets(run));
        pages->run_first = (pages->run_first + 1) % pages->run_capacity;
    }
    list_remove(&pages->link);
    entry_deque_count_memory(deque, entry_pages_bytes(pages), 0);
    due_index_fini(&pages->dead);
    free(pages->directory);
    free(pages->runs);
    free(pages);
    deque->pages = NULL;
    deque->has_runs = false;
}

struct entry_deque *
entry_pages_deque(const struct entry_pages *pages)
{
    return pages->deque;
}

bool
entry_deque_is_settled(const struct entry_deque *deque)
{
    return deque->pages == NULL || (!deque->pages->is_spilling && !deque->pages->is_reading);
}

/* Out ------------------------------------------------------------------------------------------ */

/* The oldest block that may go; NULL: too few. The tail block is being filled. */
static struct entry_block *
first_to_spill(const struct entry_pages *pages)
{
    if (pages->run_count > 0) {
        struct entry_block *block =
            pages->front_count == 0 ? pages->deque->head : pages->front_last->next;
        return block == pages->deque->tail ? NULL : block;
    }
    if (pages->block_count < SPILL_FROM) {
        return NULL;
    }
    struct entry_block *block = pages->deque->head;
    for (int i = 0; i < FRONT_KEPT; i++) {
        block = block->next;
    }
    return block;
}

static bool
block_is_logged(const struct entry_block *block)
{
    for (uint32_t i = block->start; i < block->end; i++) {
        const struct queue_entry *entry = &block->entries[i];
        if (queue_entry_lsn(entry) == 0 && !queue_entry_is_dead(entry)) {
            return false;
        }
    }
    return true;
}

/* Whether an entry could be asked back before the log has its content on disk. LSNs rise along the
 * deque. */
static bool
block_is_busy(const struct entry_memory *memory, const struct entry_block *block)
{
    for (uint32_t i = block->end; i > block->start && memory->busy_lsn != 0; i--) {
        uint64_t lsn = queue_entry_lsn(&block->entries[i - 1]);
        if (lsn != 0) {
            return lsn >= memory->busy_lsn;
        }
    }
    return false;
}

/* How many blocks from `block` on go into one run, and what it will be. */
static uint32_t
gather_run(const struct entry_deque *deque, const struct entry_block *block, struct entry_run *run)
{
    uint32_t block_count = 0;
    *run = (struct entry_run){.is_logged = true};
    for (; block != deque->tail; block = block->next) {
        struct entry_run longer = *run;
        longer.is_logged = run->is_logged && block_is_logged(block);
        longer.count = (run->count + (block->end - block->start)) & ENTRY_RUN_COUNT_MAX;
        longer.dead_count = (run->dead_count + block->dead_count) & ENTRY_RUN_COUNT_MAX;
        if (block_count > 0 &&
            (entry_run_octets(&longer) > ENTRY_RUN_OCTETS || block_is_busy(deque->memory, block))) {
            break;
        }
        *run = longer;
        block_count++;
    }
    return block_count;
}

static uint8_t *
copy_entry(const struct queue_entry *entry, bool is_logged, uint8_t *at)
{
    if (!is_logged) {
        struct queue_entry copy = *entry;
        if (queue_entry_lsn(entry) != 0) {
            copy.content = (struct content_ref){0};
        }
        memcpy(at, &copy, sizeof(copy));
        return at + sizeof(copy);
    }
    struct logged_entry copy = {
        .lsn_and_flags = entry->lsn_and_flags, .size = entry->size, .due = entry->due};
    memcpy(at, &copy, sizeof(copy));
    return at + sizeof(copy);
}

static void
copy_run(const struct entry_block *block, uint32_t block_count, struct entry_run *run, uint8_t *at)
{
    for (; block_count > 0; block_count--, block = block->next) {
        for (uint32_t i = block->start; i < block->end; i++) {
            at = copy_entry(&block->entries[i], run->is_logged, at);
            run->body_bytes += block->entries[i].size;
        }
    }
}

/* Room for one more run at the end of the ring. */
static enum status
grow_runs(struct entry_pages *pages)
{
    if (pages->run_count < pages->run_capacity) {
        return STATUS_OK;
    }
    uint32_t capacity = pages->run_capacity == 0 ? RUNS_FIRST : pages->run_capacity * 2;
    struct entry_run *runs = try_alloc(capacity * sizeof(*runs));
    if (runs == NULL) {
        return STATUS_NO_MEMORY;
    }
    assert(pages->run_count == pages->run_capacity);
    for (uint32_t i = 0; i < pages->run_count; i++) {
        runs[i] = pages->runs[(pages->run_first + i) % pages->run_capacity];
    }
    entry_deque_count_memory(pages->deque, 0, (capacity - pages->run_capacity) * sizeof(*runs));
    free(pages->runs);
    pages->runs = runs;
    pages->run_first = 0;
    pages->run_capacity = capacity;
    return STATUS_OK;
}

/* The run that is planned waits behind the last of the ring, not yet counted. */
static struct entry_run *
planned_run(struct entry_pages *pages)
{
    return &pages->runs[(pages->run_first + pages->run_count) % pages->run_capacity];
}

static bool
begin_spill(struct entry_pages *pages, struct entry_spill *spill_out)
{
    struct entry_block *block = first_to_spill(pages);
    struct entry_run run;
    uint64_t place;
    if (grow_runs(pages) != STATUS_OK) {
        return false;
    }
    uint32_t block_count = gather_run(pages->deque, block, &run);
    size_t size = entry_run_octets(&run);
    uint8_t *octets = try_alloc(size);
    if (octets == NULL) {
        return false;
    }
    if (spill_space_take(pages->deque->memory->space, size, &place) != STATUS_OK) {
        free(octets);
        return false;
    }
    copy_run(block, block_count, &run, octets);
    run.place = place;
    *planned_run(pages) = run;
    pages->spilling = block;
    pages->spilling_count = block_count;
    pages->is_spilling = true;
    pages->died_meanwhile = false;
    *spill_out =
        (struct entry_spill){.pages = pages, .octets = octets, .size = size, .place = place};
    return true;
}

/* Takes the first of the list that may spill now off it; who may later keeps its place. Bounded by
 * the list: who has nothing to spill leaves it until it grows again. */
static struct entry_pages *
next_to_spill(struct entry_memory *memory, bool under_pressure)
{
    LIST_FOR_EACH(&memory->long_deques, link)
    {
        struct entry_pages *pages = CONTAINER_OF(link, struct entry_pages, link);
        if (!under_pressure && pages->block_count <= ENTRY_BLOCKS_MAX) {
            return NULL;
        }
        const struct entry_block *block = pages->is_spilling ? NULL : first_to_spill(pages);
        bool is_busy = block != NULL && block_is_busy(memory, block);
        if (!is_busy) {
            list_remove(link);
        }
        if (block != NULL && !is_busy) {
            return pages;
        }
    }
    return NULL;
}

bool
entry_memory_begin_spill(struct entry_memory *memory, bool under_pressure,
                         struct entry_spill *spill_out)
{
    struct entry_pages *pages =
        memory->space == NULL ? NULL : next_to_spill(memory, under_pressure);
    return pages != NULL && begin_spill(pages, spill_out);
}

/* After a run has gone or could not: back on the list if there may be more. */
static void
list_again(struct entry_pages *pages)
{
    struct entry_memory *memory = pages->deque->memory;
    if (memory == NULL || list_link_is_linked(&pages->link) || first_to_spill(pages) == NULL) {
        return;
    }
    list_long(pages);
}

static void
let_contents_go(struct entry_block *block, struct chunk_pool *pool)
{
    for (uint32_t i = block->start; i < block->end; i++) {
        if (queue_entry_lsn(&block->entries[i]) != 0) {
            queue_entry_release(&block->entries[i], pool);
        }
    }
}

/* Where the chain leads to the blocks that were written: behind the front, which they end. */
static struct entry_block **
find_spilled(struct entry_pages *pages)
{
    if (pages->run_count > 0) {
        return pages->front_count == 0 ? &pages->deque->head : &pages->front_last->next;
    }
    pages->front_count = 1;
    pages->front_last = pages->deque->head;
    while (pages->front_last->next != pages->spilling) {
        pages->front_last = pages->front_last->next;
        pages->front_count++;
    }
    return &pages->front_last->next;
}

/* Whether the run may take the place of its blocks: nothing has died in them since it was written
 * down, or that could be noted. */
static bool
can_replace(struct entry_pages *pages, const struct entry_spill *spill)
{
    if (pages->spilling == NULL) {
        return false;
    }
    if (!pages->died_meanwhile) {
        return true;
    }
    uint64_t number = pages->finished_count + pages->run_places;
    for (const struct entry_block *block = pages->deque->head; block != pages->spilling;
         block = block->next) {
        number += ENTRY_BLOCK_CAPACITY;
    }
    return entry_pages_list_dead(pages, pages->spilling, number, planned_run(pages),
                                 spill->octets) == STATUS_OK;
}

static void
replace_blocks(struct entry_pages *pages, struct chunk_pool *pool)
{
    struct entry_block **place = find_spilled(pages);
    entry_pages_forget_directory(pages);
    pages->run_places += planned_run(pages)->count;
    for (; pages->spilling_count > 0; pages->spilling_count--) {
        struct entry_block *block = *place;
        *place = block->next;
        let_contents_go(block, pool);
        entry_deque_count_memory(pages->deque, entry_block_bytes(block->capacity), 0);
        pages->block_count--;
        free(block);
    }
    pages->run_count++;
    pages->deque->has_runs = true;
}

void
entry_pages_end_spill(struct entry_spill *spill, bool is_written, struct chunk_pool *pool)
{
    struct entry_pages *pages = spill->pages;
    assert(pages->is_spilling);
    pages->is_spilling = false;
    if (is_written && can_replace(pages, spill)) {
        planned_run(pages)->crc = spill->crc;
        replace_blocks(pages, pool);
    } else {
        spill_space_give_back(pages->deque->memory->space, spill->place, spill->size);
    }
    pages->spilling = NULL;
    list_again(pages);
    free(spill->octets);
    spill->octets = NULL;
}

/* Back ----------------------------------------------------------------------------------------- */

bool
entry_pages_head_is_away(const struct entry_pages *pages)
{
    return pages->front_count == 0;
}

bool
entry_pages_wants_read(const struct entry_pages *pages)
{
    return !pages->is_reading && pages->front_count < READ_BELOW;
}

bool
entry_deque_begin_read(struct entry_deque *deque, struct entry_spill *spill_out)
{
    struct entry_pages *pages = deque->pages;
    assert(pages->run_count > 0);
    assert(!pages->is_reading);
    const struct entry_run *run = &pages->runs[pages->run_first];
    uint8_t *octets = try_alloc(entry_run_octets(run));
    if (octets == NULL) {
        return false;
    }
    pages->is_reading = true;
    *spill_out = (struct entry_spill){
        .pages = pages,
        .octets = octets,
        .size = entry_run_octets(run),
        .place = run->place,
        .crc = run->crc,
    };
    return true;
}

static void
free_chain(struct entry_block *block)
{
    while (block != NULL) {
        struct entry_block *next = block->next;
        free(block);
        block = next;
    }
}

const uint8_t *
entry_pages_read_entry(const uint8_t *at, bool is_logged, struct queue_entry *entry_out)
{
    if (!is_logged) {
        memcpy(entry_out, at, sizeof(*entry_out));
        return at + sizeof(*entry_out);
    }
    struct logged_entry copy;
    memcpy(&copy, at, sizeof(copy));
    *entry_out = (struct queue_entry){
        .lsn_and_flags = copy.lsn_and_flags, .size = copy.size, .due = copy.due};
    return at + sizeof(copy);
}

/* What the run has next; where it could not be read, `*octets` is NULL and everything is dead. */
static void
take_from_run(const struct entry_run *run, const uint8_t **octets, struct queue_entry *entry_out)
{
    if (*octets != NULL) {
        *octets = entry_pages_read_entry(*octets, run->is_logged, entry_out);
    } else {
        *entry_out = (struct queue_entry){.lsn_and_flags = ENTRY_DEAD};
    }
}

/* The entries of the run in full blocks. STATUS_NO_MEMORY leaves nothing behind. */
static enum status
make_chain(const struct entry_run *run, const uint8_t *octets, struct entry_block **first_out,
           struct entry_block **last_out, uint32_t *count_out)
{
    struct entry_block *first = NULL;
    struct entry_block **place = &first;
    *count_out = 0;
    assert(run->count > 0); /* a block that has gone out was not empty */
    for (uint32_t done = 0; done < run->count; done += ENTRY_BLOCK_CAPACITY) {
        struct entry_block *block = try_alloc(entry_block_bytes(ENTRY_BLOCK_CAPACITY));
        if (block == NULL) {
            free_chain(first);
            return STATUS_NO_MEMORY;
        }
        uint32_t left = run->count - done;
        *block =
            (struct entry_block){.capacity = ENTRY_BLOCK_CAPACITY,
                                 .end = left < ENTRY_BLOCK_CAPACITY ? left : ENTRY_BLOCK_CAPACITY};
        for (uint32_t i = 0; i < block->end; i++) {
            take_from_run(run, &octets, &block->entries[i]);
            block->dead_count += queue_entry_is_dead(&block->entries[i]) ? 1 : 0;
        }
        *place = block;
        *last_out = block;
        place = &block->next;
        (*count_out)++;
    }
    *first_out = first;
    return STATUS_OK;
}

static void
forget_first_run(struct entry_pages *pages)
{
    const struct entry_run *run = &pages->runs[pages->run_first];
    spill_space_give_back(pages->deque->memory->space, run->place, entry_run_octets(run));
    pages->run_places -= run->count;
    pages->run_first = (pages->run_first + 1) % pages->run_capacity;
    if (--pages->run_count > 0) {
        return;
    }
    pages->deque->has_runs = false;
    pages->front_count = 0;
    pages->front_last = NULL;
    if (pages->spilling != NULL && pages->spilling == pages->deque->head) {
        pages->spilling = NULL;
    }
}

/* Puts the blocks at the end of the front. */
static void
insert_chain(struct entry_pages *pages, struct entry_block *first, struct entry_block *last,
             uint32_t count)
{
    struct entry_deque *deque = pages->deque;
    struct entry_block **place = pages->front_count == 0 ? &deque->head : &pages->front_last->next;
    entry_pages_forget_directory(pages);
    last->next = *place;
    *place = first;
    if (last->next == NULL) {
        deque->tail = last;
    }
    pages->front_last = last;
    pages->front_count += count;
    pages->block_count += count;
    entry_deque_count_memory(deque, 0, count * entry_block_bytes(ENTRY_BLOCK_CAPACITY));
}

/* What is lost with the first run: what was not dead before. */
static struct entry_loss
living_in_first_run(const struct entry_pages *pages)
{
    const struct entry_run *run = &pages->runs[pages->run_first];
    struct entry_loss living = {.count = run->count - run->dead_count, .bytes = run->body_bytes};
    uint64_t end = entry_pages_first_run_number(pages) + run->count;
    struct due_cursor cursor = due_index_seek(&pages->dead, &(struct due_key){0});
    for (const struct due_row *row; (row = due_cursor_next(&cursor)) != NULL;) {
        if (row->key.position >= end) {
            break;
        }
        living.count--;
        living.bytes -= row->entry.size;
    }
    return living;
}

/* `octets` is NULL when the run could not be read. */
static enum status
take_in(struct entry_pages *pages, const uint8_t *octets)
{
    struct entry_block *first = NULL;
    struct entry_block *last = NULL;
    uint32_t count;
    if (make_chain(&pages->runs[pages->run_first], octets, &first, &last, &count) != STATUS_OK) {
        return STATUS_NO_MEMORY;
    }
    entry_pages_apply_dead(pages, first);
    insert_chain(pages, first, last, count);
    forget_first_run(pages);
    return STATUS_OK;
}

enum status
entry_pages_end_read(struct entry_spill *spill, bool is_read, struct entry_loss *loss_out)
{
    struct entry_pages *pages = spill->pages;
    assert(pages->is_reading);
    pages->is_reading = false;
    *loss_out = (struct entry_loss){0};
    struct entry_deque *deque = pages->deque;
    struct entry_loss loss = is_read ? (struct entry_loss){0} : living_in_first_run(pages);
    enum status status = take_in(pages, is_read ? spill->octets : NULL);
    if (status == STATUS_OK) {
        assert(deque->dead_count <= UINT32_MAX - loss.count);
        deque->dead_count += (uint32_t)loss.count;
        *loss_out = loss;
        entry_deque_skip_dead(deque);
    }
    free(spill->octets);
    spill->octets = NULL;
    return status;
}

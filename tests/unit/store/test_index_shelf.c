/* SPDX-License-Identifier: Apache-2.0 */
/* What the writer of the log keeps for the index of a segment, beside what reading it gives. */
#include "store/index_shelf.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "store/io_job.h"
#include "store/journal.h"
#include "store/log_writer.h"
#include "tests/support/sim_disk.h"

enum { SLOT = 64 * 1024, LARGE = 30 * 1000, SEGMENTS = 6 };

static struct sim_disk *sim;
static struct disk disk;
static struct chunk_pool *pool;
static struct journal *journal;
static struct log_writer *writer;
static struct index_shelf *shelf;

static void
write_batch(void *context, struct batch *batch)
{
    (void)context;
    struct list waiting;
    struct list written;
    struct log_failure failure;
    list_init(&waiting);
    list_init(&written);
    list_append(&waiting, &batch->link);
    cr_assert(eq(int, log_writer_write(writer, &waiting, &written, &failure), STATUS_OK));
    list_remove(&batch->link);
    journal_batch_written(journal, batch);
}

static struct segment_header
header_of(uint64_t number)
{
    return (struct segment_header){
        .number = number,
        .base_lsn = number * SLOT,
        .slot_size = SLOT,
        .capacity = SLOT,
        .epoch = 1,
    };
}

static void
set_up(void)
{
    sim = sim_disk_new();
    disk = disk_of_sim(sim);
    pool = chunk_pool_new();
    struct journal_port port = {.submit = write_batch};
    struct journal_settings settings = {
        .epoch = 1,
        .segment_number = 1,
        .segment_base = SLOT,
        .segment_capacity = SLOT,
        .slot_size = SLOT,
    };
    journal = journal_new(&settings, pool, &port);
    writer = log_writer_new(&disk);
    shelf = index_shelf_new();
    log_writer_set_shelf(writer, shelf);
    for (uint64_t number = 1; number <= SEGMENTS; number++) {
        struct segment_header header = header_of(number);
        cr_assert(eq(int, segment_prepare(&disk, &header, 0, NULL), STATUS_OK));
    }
}

static void
tear_down(void)
{
    log_writer_free(&writer);
    index_shelf_free(&shelf);
    journal_free(&journal);
    chunk_pool_free(&pool);
    sim_disk_free(&sim);
}

TestSuite(index_shelf, .init = set_up, .fini = tear_down);

static uint64_t
publish(uint32_t size, const uint64_t *queues, uint32_t queue_count)
{
    struct content_shape shape = {.body_size = size, .kind = CHUNK_KIND_PERSISTENT};
    struct content_ref content;
    uint8_t *body;
    cr_assert(eq(int, chunk_pool_reserve(pool, &shape, &content, &body), STATUS_OK));
    memset(body, 'x', size);
    uint64_t lsn;
    cr_assert(eq(int, journal_publish(journal, content, queues, queue_count, &lsn), STATUS_OK));
    chunk_pool_release(pool, content);
    return lsn;
}

/* Fills the segment under way, and begins the next. */
static void
leave_segment(void)
{
    static const uint64_t QUEUE = 1;
    uint64_t number = journal_segment_number(journal);
    while (journal_segment_number(journal) == number) {
        (void)publish(LARGE, &QUEUE, 1);
        (void)journal_seal(journal, false);
    }
}

static uint64_t
end_of(uint64_t number)
{
    const struct journal_segment *left = journal_oldest_left(journal);
    while (left->number < number) {
        journal_forget_left(journal);
        left = journal_oldest_left(journal);
    }
    return left->end_lsn;
}

static bool
take(uint64_t number, uint64_t end_lsn)
{
    struct segment_index index;
    bool is_there = index_shelf_take(shelf, number, end_lsn, &index);
    if (is_there) {
        segment_index_fini(&index);
    }
    return is_there;
}

/* Everything that an index knows: messages for several queues, in any order and twice, removals of
 * rows of this segment and of an older one, states of both, several of one row in a batch and some
 * of rows that end, and small records. */
static void
write_all_kinds(void)
{
    static const uint64_t MANY[] = {7, 3, 7, 5 | RECORD_QUEUE_HANDED_OUT, 1};
    uint64_t first = publish(100, MANY, ARRAY_LEN(MANY));
    uint64_t second = publish(0, MANY, 2);
    (void)journal_return(journal, 1, first, &(struct row_state){.due_ms = 1}, NULL);
    (void)journal_seal(journal, true);
    (void)journal_return(journal, 9, SLOT / 2, &(struct row_state){.due_ms = 2}, NULL);
    (void)journal_return(journal, 8, SLOT / 2, &(struct row_state){.due_ms = 3}, NULL);
    (void)journal_return(journal, 1, first, &(struct row_state){.due_ms = 4}, NULL);
    (void)journal_return(journal, 1, first, &(struct row_state){.due_ms = 5}, NULL);
    (void)journal_return(journal, 3, first, &(struct row_state){.due_ms = 6}, NULL);
    journal_remove(journal, 3, first);
    journal_remove(journal, 5, first);
    journal_remove(journal, 5, first);
    journal_remove(journal, 7, second);
    journal_remove(journal, 9, SLOT / 2);
    (void)journal_seal(journal, false);
    (void)journal_seal(journal, true);
    journal_hand_out(journal, 3, second);
    (void)journal_seal(journal, false);
}

/* The file of an index, as it is now; removes it. The caller frees it. */
static uint8_t *
read_index_file(uint64_t number, size_t *size_out)
{
    char name[STORE_NAME_SIZE];
    store_file_name(STORE_FILE_INDEX, number, 0, name);
    struct bytes content = sim_disk_content(sim, name);
    uint8_t *copy = malloc(content.size);
    memcpy(copy, content.data, content.size);
    *size_out = content.size;
    cr_assert(eq(int, disk.unlink(disk.context, name), STATUS_OK));
    return copy;
}

/* Whoever recovers must not see which way an index was made. */
Test(index_shelf, what_is_kept_makes_the_index_that_reading_makes)
{
    for (uint64_t number = 1; number <= 3; number++) {
        write_all_kinds();
        leave_segment();
        struct io_job job = {.type = IO_INDEX,
                             .index = {.number = number, .end_lsn = end_of(number)}};
        io_job_take_kept(&job, shelf);
        cr_assert(ne(ptr, job.index.kept, NULL));
        io_job_run(&job, &disk, NULL);
        cr_assert(eq(int, job.status, STATUS_OK));
        cr_expect(eq(ptr, job.index.kept, NULL));
        size_t kept_size;
        uint8_t *kept = read_index_file(number, &kept_size);

        struct io_job reading = {.type = IO_INDEX,
                                 .index = {.number = number, .end_lsn = job.index.end_lsn}};
        io_job_run(&reading, &disk, NULL);
        cr_assert(eq(int, reading.status, STATUS_OK));
        size_t read_size;
        uint8_t *read = read_index_file(number, &read_size);
        cr_assert(eq(sz, kept_size, read_size));
        cr_expect(eq(int, memcmp(kept, read, read_size), 0), "segment %d", (int)number);
        cr_expect(eq(u64, job.index.topology_lsn, reading.index.topology_lsn));
        cr_expect(eq(u64, job.index.runs.count, reading.index.runs.count));
        free(kept);
        free(read);
    }
}

/* Rows that are still to come would be missing. */
Test(index_shelf, a_segment_is_given_out_once_and_when_it_is_full)
{
    write_all_kinds();
    cr_expect(not(take(1, journal_open_lsn(journal))), "it is under way");
    leave_segment();
    uint64_t end = end_of(1);
    cr_expect(take(1, end));
    cr_expect(not(take(1, end)));
}

/* An index that ends elsewhere than the journal says is not the segment's. */
Test(index_shelf, a_segment_that_ends_elsewhere_is_not_given_out)
{
    leave_segment();
    cr_expect(not(take(1, end_of(1) - BATCH_ALIGNMENT)));
}

/* A keeper that does not come along costs time, not memory. */
Test(index_shelf, no_more_than_some_full_segments_are_kept)
{
    for (uint64_t number = 1; number <= INDEX_SHELF_SEGMENTS + 1; number++) {
        leave_segment();
    }
    for (uint64_t number = 1; number <= INDEX_SHELF_SEGMENTS + 1; number++) {
        uint64_t end = end_of(number);
        cr_expect(eq(int, take(number, end), number <= INDEX_SHELF_SEGMENTS), "segment %d",
                  (int)number);
    }
}

/* They are asked for in their order: what was passed over would lie here for good. */
Test(index_shelf, what_was_passed_over_is_forgotten)
{
    leave_segment();
    uint64_t end = end_of(1);
    leave_segment();
    cr_expect(take(2, end_of(2)));
    cr_expect(not(take(1, end)));
}

/* A record for so many queues, added again and again as if it were in another batch. */
static void
add_rows(struct buffer *control, uint64_t row_count, uint32_t queue_count)
{
    struct bytes left = buffer_bytes(control);
    struct record record;
    cr_assert(eq(int, record_next(&left, &record), STATUS_OK));
    for (uint64_t i = 0; i < row_count / queue_count; i++) {
        struct batch_header batch = {.base_lsn = SLOT + 4096 * (i + 1)};
        index_shelf_add(shelf, &record, &batch, 10);
    }
}

/* Sixteen octets a message make millions of rows of a segment: those are read, as they always were.
 */
Test(index_shelf, a_segment_with_too_many_rows_is_not_kept_but_the_next_one_is)
{
    enum { QUEUES = 1000 };
    static uint64_t queues[QUEUES];
    for (uint64_t i = 0; i < QUEUES; i++) {
        queues[i] = i + 1;
    }
    struct buffer control = {0};
    record_put_publish(&control, 0, 64, queues, QUEUES);
    cr_assert(not(control.failed));
    uint64_t too_many = INDEX_SHELF_OCTETS / sizeof(struct index_row) + QUEUES;
    struct segment_header header = header_of(1);
    index_shelf_begin(shelf, &header);
    add_rows(&control, too_many, QUEUES);
    index_shelf_end(shelf, 2 * SLOT);
    cr_expect(not(take(1, 2 * SLOT)));

    header = header_of(2);
    index_shelf_begin(shelf, &header);
    add_rows(&control, 4 * QUEUES, QUEUES);
    index_shelf_end(shelf, 3 * SLOT);
    cr_expect(take(2, 3 * SLOT));
    buffer_fini(&control);
}

/* What could not be written is made from the segment the next time. */
Test(index_shelf, an_index_that_could_not_be_written_is_read_later)
{
    leave_segment();
    struct io_job job = {.type = IO_INDEX, .index = {.number = 1, .end_lsn = end_of(1)}};
    io_job_take_kept(&job, shelf);
    sim_disk_fail(sim, SIM_DISK_WRITE, 1, ENOSPC);
    io_job_run(&job, &disk, NULL);
    cr_assert(eq(int, job.status, STATUS_IO));
    cr_expect(eq(int, job.failure.error, ENOSPC));
    io_job_take_kept(&job, shelf);
    io_job_run(&job, &disk, NULL);
    cr_expect(eq(int, job.status, STATUS_OK));
}

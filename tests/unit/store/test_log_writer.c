/* SPDX-License-Identifier: Apache-2.0 */
/* The work of the log's thread as plain calls, with a journal in front and a simulated disk behind.
 */
#include "store/log_writer.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "store/crc32c.h"
#include "store/journal.h"
#include "tests/support/sim_disk.h"

enum { SLOT = 64 * 1024, LARGE = 30 * 1000 };

static uint64_t slot_size; /* SLOT, unless a test needs more room */

static struct sim_disk *sim;
static struct disk disk;
static struct chunk_pool *pool;
static struct journal *journal;
static struct log_writer *writer;
static struct list submitted;
static struct log_failure failure;

static void
submit(void *context, struct batch *batch)
{
    (void)context;
    list_append(&submitted, &batch->link);
}

static struct segment_header
header_of(uint64_t number)
{
    return (struct segment_header){
        .number = number,
        .base_lsn = number * slot_size,
        .slot_size = slot_size,
        .capacity = slot_size,
        .epoch = 1,
    };
}

static void
prepare(uint64_t number)
{
    struct segment_header header = header_of(number);
    cr_assert(eq(int, segment_prepare(&disk, &header, 0, NULL), STATUS_OK));
}

static void
begin(uint64_t slot)
{
    slot_size = slot;
    sim = sim_disk_new();
    disk = disk_of_sim(sim);
    pool = chunk_pool_new();
    list_init(&submitted);
    struct journal_port port = {.submit = submit};
    struct journal_settings settings = {
        .epoch = 1,
        .segment_number = 1,
        .segment_base = slot,
        .segment_capacity = slot,
        .slot_size = slot,
    };
    journal = journal_new(&settings, pool, &port);
    writer = log_writer_new(&disk);
    failure = (struct log_failure){0};
    prepare(1);
}

static void
set_up(void)
{
    begin(SLOT);
}

static void
tear_down(void)
{
    for (struct list_link *link; (link = list_pop(&submitted)) != NULL;) {
        journal_batch_written(journal, CONTAINER_OF(link, struct batch, link));
    }
    log_writer_free(&writer);
    journal_free(&journal);
    chunk_pool_free(&pool);
    sim_disk_free(&sim);
}

TestSuite(log_writer, .init = set_up, .fini = tear_down);

/* One message, in a batch of its own. */
static uint64_t
publish(uint32_t size)
{
    struct content_shape shape = {.body_size = size, .kind = CHUNK_KIND_PERSISTENT};
    struct content_ref content;
    uint8_t *body;
    cr_assert(eq(int, chunk_pool_reserve(pool, &shape, &content, &body), STATUS_OK));
    memset(body, 'x', size);
    uint64_t queue = 1;
    uint64_t lsn;
    cr_assert(eq(int, journal_publish(journal, content, &queue, 1, &lsn), STATUS_OK));
    chunk_pool_release(pool, content);
    return lsn;
}

static enum status
write_next(void)
{
    cr_assert(not(list_is_empty(&submitted)));
    struct list written;
    list_init(&written);
    enum status status = log_writer_write(writer, &submitted, &written, &failure);
    cr_expect(eq(int, list_is_empty(&written), status != STATUS_OK));
    for (struct list_link *link; (link = list_pop(&written)) != NULL;) {
        journal_batch_written(journal, CONTAINER_OF(link, struct batch, link));
    }
    return status;
}

/* Publishes and writes. */
static enum status
write_message(uint32_t size)
{
    (void)publish(size);
    cr_assert(journal_seal(journal, true));
    return write_next();
}

static const uint8_t *
octets_at(uint64_t lsn)
{
    char name[STORE_NAME_SIZE];
    store_file_name(STORE_FILE_SEGMENT, lsn / SLOT, 0, name);
    return sim_disk_content(sim, name).data + lsn % SLOT;
}

/* docs/store-format.md, Batches: header, contents, records, zeros, each where it belongs. */
Test(log_writer, a_batch_stands_where_its_header_says)
{
    uint64_t lsn = publish(1000);
    publish(10);
    cr_assert(journal_seal(journal, true));
    cr_assert(eq(int, write_next(), STATUS_OK));

    uint64_t base = SLOT + SEGMENT_HEADER_SIZE;
    struct batch_header header;
    cr_assert(eq(int, batch_header_decode(&header, octets_at(base)), STATUS_OK));
    cr_expect(eq(u64, header.base_lsn, base));
    cr_expect(eq(u32, header.record_count, 3), "the epoch and two messages");
    const uint8_t *control = octets_at(base) + BATCH_HEADER_SIZE + header.data_size;
    cr_expect(eq(u32, crc32c(0, control, header.control_size), header.control_crc));
    cr_expect(eq(u64, batch_header_end(&header), journal_written_lsn(journal)));
    const struct content *content = (const struct content *)(const void *)octets_at(lsn);
    cr_expect(eq(u32, content->body_size, 1000));
    cr_expect(eq(u32, content->check,
                 content_check(bytes_make(octets_at(lsn), sizeof(*content) + 1000), lsn)));
}

static void
see_where_writes_end(void *context, const struct sim_disk_op *op)
{
    uint32_t *ends_within_page = context;
    if (op->call == SIM_DISK_WRITE && (op->offset + op->size) % 4096 != 0) {
        ++*ends_within_page;
    }
}

/* A page that is written in part is read first, by the thread that confirms wait for, when a
 * segment that is used again is not in memory. */
Test(log_writer, a_write_ends_with_a_page_of_the_file)
{
    uint32_t ends_within_page = 0;
    sim_disk_set_hook(sim, see_where_writes_end, &ends_within_page);
    for (uint32_t size = 1; size < 10000; size += 1777) {
        cr_assert(eq(int, write_message(size), STATUS_OK));
    }
    sim_disk_set_hook(sim, NULL, NULL);
    cr_expect(eq(u32, ends_within_page, 0));
    cr_expect(eq(u64, sim_disk_content(sim, "seg.0000000000000001").size, SLOT));
}

/* A batch of many runs is one gathering write: nothing of it can be on the disk without having been
 * asked for together. */
Test(log_writer, a_batch_is_written_in_one_call)
{
    for (size_t i = 0; i < 40; i++) {
        publish(100);
    }
    cr_assert(journal_seal(journal, true));
    uint64_t writes = sim_disk_call_count(sim, SIM_DISK_WRITE);
    cr_assert(eq(int, write_next(), STATUS_OK));
    cr_expect(eq(u64, sim_disk_call_count(sim, SIM_DISK_WRITE), writes + 1));
}

/* Publishes a message in a batch of its own, which is not written yet. */
static void
hand_over(uint32_t size)
{
    (void)publish(size);
    cr_assert(journal_seal(journal, true));
}

static uint64_t
write_count(void)
{
    return sim_disk_call_count(sim, SIM_DISK_WRITE);
}

static uint64_t
batches_left(void)
{
    uint64_t count = 0;
    LIST_FOR_EACH(&submitted, link)
    {
        count++;
    }
    return count;
}

/* A call to the kernel costs more than a small batch: what gathered during a flush needs one. */
Test(log_writer, batches_behind_each_other_are_written_in_one_call)
{
    for (uint32_t size = 1; size < 4000; size += 177) {
        hand_over(size);
    }
    uint64_t writes = write_count();
    cr_assert(eq(int, write_next(), STATUS_OK));
    cr_expect(list_is_empty(&submitted));
    cr_expect(eq(u64, write_count(), writes + 1));
    cr_expect(eq(u64, journal_written_lsn(journal), journal_token(journal)));
}

/* The segment after some batches, written at once or one by one; the caller frees it. */
static uint8_t *
segment_after_batches(bool is_gathered)
{
    tear_down();
    set_up();
    for (uint32_t size = 1; size < 6000; size += 577) {
        hand_over(size);
        if (!is_gathered) {
            cr_assert(eq(int, write_next(), STATUS_OK));
        }
    }
    if (is_gathered) {
        cr_assert(eq(int, write_next(), STATUS_OK));
    }
    struct bytes content = sim_disk_content(sim, "seg.0000000000000001");
    cr_assert(eq(sz, content.size, SLOT));
    uint8_t *copy = malloc(content.size);
    memcpy(copy, content.data, content.size);
    return copy;
}

/* docs/store-format.md knows batches, not calls: whoever reads must not see how they were written.
 */
Test(log_writer, batches_written_at_once_are_the_octets_of_batches_written_one_by_one)
{
    uint8_t *gathered = segment_after_batches(true);
    uint8_t *single = segment_after_batches(false);
    cr_expect(eq(int, memcmp(gathered, single, SLOT), 0));
    free(gathered);
    free(single);
}

/* Each segment is a file, and the one before is flushed in between. */
Test(log_writer, one_call_writes_no_batch_of_the_next_segment)
{
    prepare(2);
    for (size_t i = 0; i < 3; i++) {
        hand_over(LARGE);
    }
    cr_assert(eq(int, write_next(), STATUS_OK));
    cr_expect(eq(u64, log_writer_durable_lsn(writer), 0));
    cr_expect(lt(u64, journal_written_lsn(journal), 2 * SLOT));
    cr_expect(not(list_is_empty(&submitted)), "the third is in segment 2");
    cr_assert(eq(int, write_next(), STATUS_OK));
    cr_expect(list_is_empty(&submitted));
    cr_expect(ne(u64, log_writer_durable_lsn(writer), 0));
}

/* What is as long as a batch may be is written in pieces that stay in the cache. */
Test(log_writer, one_call_writes_a_mebibyte_at_most_unless_a_batch_is_larger)
{
    enum { MEBIBYTE = 1024 * 1024, BODY = 300 * 1000 };
    static const uint32_t BODIES[] = {BODY, BODY, BODY, BODY, MEBIBYTE, BODY};
    static const uint64_t BATCHES_OF_CALL[] = {3, 1, 1, 1};
    tear_down();
    begin(8 * (uint64_t)MEBIBYTE);
    for (size_t i = 0; i < ARRAY_LEN(BODIES); i++) {
        hand_over(BODIES[i]);
    }
    for (size_t i = 0; i < ARRAY_LEN(BATCHES_OF_CALL); i++) {
        uint64_t before = batches_left();
        cr_assert(eq(int, write_next(), STATUS_OK));
        cr_expect(eq(u64, before - batches_left(), BATCHES_OF_CALL[i]), "call %zu", i);
    }
    cr_expect(list_is_empty(&submitted));
}

/* The kernel takes IOV_MAX parts at once; a call that would need more is two anyhow. */
Test(log_writer, one_call_writes_no_more_parts_than_the_kernel_takes)
{
    static const uint64_t PARTS_OF_ONE = 4; /* header, content, records, zeros */
    uint64_t count = IOV_MAX / PARTS_OF_ONE + 10;
    for (uint64_t i = 0; i < count; i++) {
        hand_over(10);
    }
    cr_assert(eq(int, write_next(), STATUS_OK));
    cr_expect(eq(u64, batches_left(), 10));
    cr_assert(eq(int, write_next(), STATUS_OK));
    cr_expect(list_is_empty(&submitted));
}

/* F5: what is on the disk of a write that failed nobody knows, of none of its batches. */
Test(log_writer, a_call_that_fails_reports_none_of_its_batches_as_written)
{
    for (size_t i = 0; i < 5; i++) {
        hand_over(1000);
    }
    sim_disk_fail(sim, SIM_DISK_WRITE, 1, EIO);
    cr_assert(eq(int, write_next(), STATUS_IO));
    cr_expect(eq(u64, batches_left(), 5));
    cr_expect(eq(u64, journal_written_lsn(journal), 0));
}

/* The next batch proves what was durable: never more than a flush has covered. */
Test(log_writer, a_batch_says_what_was_flushed_when_it_was_written)
{
    struct batch_header header;
    cr_assert(eq(int, write_message(10), STATUS_OK));
    uint64_t second = journal_written_lsn(journal);
    cr_assert(eq(int, write_message(10), STATUS_OK));
    cr_assert(eq(int, batch_header_decode(&header, octets_at(second)), STATUS_OK));
    cr_expect(eq(u64, header.durable_lsn, 0));
    uint64_t third = journal_written_lsn(journal);
    cr_assert(eq(int, log_writer_flush(writer, &failure), STATUS_OK));
    cr_expect(eq(u64, log_writer_durable_lsn(writer), third));
    cr_assert(eq(int, write_message(10), STATUS_OK));
    cr_expect(eq(u64, log_writer_durable_lsn(writer), third));
    cr_assert(eq(int, batch_header_decode(&header, octets_at(third)), STATUS_OK));
    cr_expect(eq(u64, header.durable_lsn, third));
}

/* A flush costs milliseconds: none without something to flush. */
Test(log_writer, what_is_flushed_is_not_flushed_again)
{
    uint64_t before = sim_disk_call_count(sim, SIM_DISK_FLUSH);
    cr_assert(eq(int, log_writer_flush(writer, &failure), STATUS_OK));
    cr_expect(eq(u64, sim_disk_call_count(sim, SIM_DISK_FLUSH), before));
    cr_assert(eq(int, write_message(10), STATUS_OK));
    cr_assert(eq(int, log_writer_flush(writer, &failure), STATUS_OK));
    cr_assert(eq(int, log_writer_flush(writer, &failure), STATUS_OK));
    cr_expect(eq(u64, sim_disk_call_count(sim, SIM_DISK_FLUSH), before + 1));
}

/* The log goes on in the next segment only once the old one is on the disk: otherwise a later batch
 * could be there without an earlier one, and the flush of the new file would commit both. */
Test(log_writer, a_segment_is_flushed_before_the_next_is_written)
{
    prepare(2);
    for (size_t i = 0; i < 2; i++) {
        cr_assert(eq(int, write_message(LARGE), STATUS_OK));
    }
    uint64_t end = journal_written_lsn(journal);
    cr_assert(lt(u64, end, 2 * SLOT));
    cr_expect(eq(u64, log_writer_durable_lsn(writer), 0));
    uint64_t flushes = sim_disk_call_count(sim, SIM_DISK_FLUSH);
    cr_assert(eq(int, write_message(LARGE), STATUS_OK));
    cr_expect(lt(u64, 2 * SLOT, journal_written_lsn(journal)));
    cr_expect(eq(u64, sim_disk_call_count(sim, SIM_DISK_FLUSH), flushes + 1));
    cr_expect(eq(u64, log_writer_durable_lsn(writer), end));
}

/* Part 7: without a spare the log waits; what is there can be flushed meanwhile. */
Test(log_writer, a_batch_waits_for_its_segment_and_nothing_happens_until_then)
{
    for (size_t i = 0; i < 2; i++) {
        cr_assert(eq(int, write_message(LARGE), STATUS_OK));
    }
    uint64_t end = journal_written_lsn(journal);
    uint64_t flushes = sim_disk_call_count(sim, SIM_DISK_FLUSH);
    cr_assert(eq(int, write_message(LARGE), STATUS_AGAIN));
    cr_expect(eq(u64, sim_disk_call_count(sim, SIM_DISK_FLUSH), flushes));
    cr_assert(eq(int, log_writer_flush(writer, &failure), STATUS_OK));
    cr_expect(eq(u64, log_writer_durable_lsn(writer), end));
    prepare(2);
    cr_assert(eq(int, write_next(), STATUS_OK));
    cr_assert(eq(int, log_writer_flush(writer, &failure), STATUS_OK));
    cr_expect(eq(u64, log_writer_durable_lsn(writer), journal_written_lsn(journal)));
}

/* A file that is not the segment it is called is not written to: it may be somebody's messages. */
Test(log_writer, a_file_with_the_wrong_header_is_not_written_to)
{
    prepare(2);
    prepare(3);
    sim_disk_swap(sim, "seg.0000000000000002", "seg.0000000000000003");
    for (size_t i = 0; i < 2; i++) {
        cr_assert(eq(int, write_message(LARGE), STATUS_OK));
    }
    cr_assert(eq(int, write_message(LARGE), STATUS_IO));
    cr_expect(eq(int, failure.error, EBADMSG));
    cr_expect(eq(str, failure.file, (char *)"seg.0000000000000002"));
}

/* F4, F5, I9: whichever call fails, the writer is asked in vain from then on: it writes nothing,
 * flushes nothing, and does not move its durable LSN. */
Test(log_writer, a_writer_that_failed_never_writes_or_flushes_again)
{
    static const struct {
        enum sim_disk_call call;
        uint64_t nth;
        const char *what;
    } rows[] = {
        {SIM_DISK_OPEN, 1, "open"},
        {SIM_DISK_OPEN, 2, "open"},
        {SIM_DISK_READ, 1, "read the header"},
        {SIM_DISK_READ, 2, "read the header"},
        {SIM_DISK_WRITE, 1, "write"},
        {SIM_DISK_WRITE, 2, "write"},
        {SIM_DISK_WRITE, 3, "write"},
        {SIM_DISK_FLUSH, 1, "flush"},
        {SIM_DISK_FLUSH, 2, "flush"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        tear_down();
        set_up();
        prepare(2);
        sim_disk_fail(sim, rows[i].call, rows[i].nth, EIO);
        enum status status = STATUS_OK;
        uint64_t durable = 0;
        for (size_t message = 0; message < 3 && status == STATUS_OK; message++) {
            status = write_message(LARGE);
            if (status == STATUS_OK && message == 0) {
                status = log_writer_flush(writer, &failure);
            }
            durable = log_writer_durable_lsn(writer);
        }
        cr_expect(eq(int, status, STATUS_IO), "row %zu", i);
        cr_expect(eq(str, (char *)failure.what, (char *)rows[i].what), "row %zu", i);
        cr_expect(eq(int, failure.error, EIO));

        uint64_t writes = sim_disk_call_count(sim, SIM_DISK_WRITE);
        uint64_t flushes = sim_disk_call_count(sim, SIM_DISK_FLUSH);
        failure = (struct log_failure){0};
        cr_expect(eq(int, write_message(10), STATUS_IO));
        cr_expect(eq(str, (char *)failure.what, (char *)rows[i].what), "the first failure");
        cr_expect(eq(int, log_writer_flush(writer, &failure), STATUS_IO));
        cr_expect(eq(u64, sim_disk_call_count(sim, SIM_DISK_WRITE), writes));
        cr_expect(eq(u64, sim_disk_call_count(sim, SIM_DISK_FLUSH), flushes));
        cr_expect(eq(u64, log_writer_durable_lsn(writer), durable));
    }
}

/* F2: whatever the power cut leaves, what was reported as durable is there. */
Test(log_writer, what_is_durable_survives_any_power_cut)
{
    prepare(2);
    for (size_t i = 0; i < 3; i++) {
        cr_assert(eq(int, write_message(LARGE), STATUS_OK));
    }
    uint64_t durable = log_writer_durable_lsn(writer);
    cr_assert(ge(u64, durable, 1));
    for (uint64_t seed = 1; seed <= 50; seed++) {
        struct sim_disk *copy = sim_disk_copy(sim);
        uint64_t state = seed;
        struct random_source random = random_seeded(&state);
        sim_disk_crash(copy, SIM_DISK_RANDOM, &random);
        struct bytes content = sim_disk_content(copy, "seg.0000000000000001");
        uint64_t lsn = SLOT + SEGMENT_HEADER_SIZE;
        while (lsn < durable) {
            struct batch_header header;
            const uint8_t *at = content.data + (lsn - SLOT);
            cr_assert(eq(int, batch_header_decode(&header, at), STATUS_OK));
            const uint8_t *control = at + BATCH_HEADER_SIZE + header.data_size;
            cr_assert(eq(u32, crc32c(0, control, header.control_size), header.control_crc));
            lsn = batch_header_end(&header);
        }
        sim_disk_free(&copy);
    }
}

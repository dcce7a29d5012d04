/* SPDX-License-Identifier: Apache-2.0 */
#include "store/journal.h"

#include "store/crc32c.h"
#include "store/little_endian.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <stdlib.h>

#include "tests/support/alloc_faults.h"

enum { SLOT = 64 * 1024, FIRST = 16 * 1024, BATCHES_MAX = 64 };

static struct chunk_pool *pool;
static struct journal *journal;
static struct batch *batches[BATCHES_MAX];
static size_t batch_count;

static void
take_batch(void *context, struct batch *batch)
{
    (void)context;
    cr_assert(batch_count < BATCHES_MAX);
    batches[batch_count++] = batch;
}

static void
set_up(void)
{
    struct journal_port port = {.submit = take_batch};
    struct journal_settings settings = {
        .epoch = 3,
        .segment_number = 5,
        .segment_base = 5 * SLOT,
        .segment_capacity = FIRST,
        .slot_size = SLOT,
    };
    pool = chunk_pool_new();
    journal = journal_new(&settings, pool, &port);
    batch_count = 0;
}

static void
write_all(void)
{
    for (size_t i = 0; i < batch_count; i++) {
        journal_batch_written(journal, batches[i]);
    }
    batch_count = 0;
}

static void
tear_down(void)
{
    write_all();
    journal_free(&journal);
    chunk_pool_end_tick(pool, chunk_pool_tick(pool));
    cr_expect(eq(u64, chunk_pool_bytes(pool), 0));
    chunk_pool_free(&pool);
}

TestSuite(journal, .init = set_up, .fini = tear_down);

/* A persistent content whose body has so many octets; counted once. */
static struct content_ref
make_content(uint32_t body_size, uint8_t octet)
{
    struct content_shape shape = {
        .exchange = bytes_of("x"),
        .routing_key = bytes_of("key"),
        .properties = bytes_make("\0\0", 2),
        .body_size = body_size,
        .kind = CHUNK_KIND_PERSISTENT,
        .flags = CONTENT_PERSISTENT,
    };
    struct content_ref ref;
    uint8_t *body;
    cr_assert(eq(int, chunk_pool_reserve(pool, &shape, &ref, &body), STATUS_OK));
    memset(body, octet, body_size);
    return ref;
}

static uint64_t
publish(uint32_t body_size, uint8_t octet)
{
    struct content_ref ref = make_content(body_size, octet);
    uint64_t queue = 1;
    uint64_t lsn;
    cr_assert(eq(int, journal_publish(journal, ref, &queue, 1, &lsn), STATUS_OK));
    chunk_pool_release(pool, ref);
    return lsn;
}

/* What the batch puts on the disk, as one run of octets; the caller frees it. */
static uint8_t *
octets_of(struct batch *batch)
{
    uint8_t *octets = calloc(1, batch_size(batch));
    batch_finish(batch, 11, NULL);
    memcpy(octets, batch->header_octets, BATCH_HEADER_SIZE);
    size_t at = BATCH_HEADER_SIZE;
    for (size_t i = 0; i < batch->run_count; i++) {
        memcpy(octets + at, batch->runs[i].iov_base, batch->runs[i].iov_len);
        at += batch->runs[i].iov_len;
    }
    cr_expect(eq(sz, at, BATCH_HEADER_SIZE + batch->header.data_size));
    memcpy(octets + at, batch->control.data, buffer_size(&batch->control));
    return octets;
}

/* The LSN that publishing returns is where the content stands, and its check word is right there.
 */
Test(journal, a_message_is_found_at_its_lsn)
{
    uint64_t lsns[] = {publish(100, 'a'), publish(3000, 'b')};
    cr_assert(journal_seal(journal, true));
    cr_assert(eq(sz, batch_count, 1));
    uint8_t *octets = octets_of(batches[0]);
    for (size_t i = 0; i < 2; i++) {
        uint8_t *at = octets + (lsns[i] - batches[0]->header.base_lsn);
        struct content content;
        memcpy(&content, at, sizeof(content));
        cr_expect(eq(u32, content.body_size, i == 0 ? 100 : 3000));
        cr_expect(eq(u32, content.check,
                     content_check(bytes_make(at, content_octets(&content)), lsns[i])));
        cr_expect(ne(u32, content.check,
                     content_check(bytes_make(at, content_octets(&content)), lsns[i] + 8)));
    }
    free(octets);
}

Test(journal, records_decode_in_the_order_of_appending)
{
    uint64_t lsn = publish(10, 'a');
    journal_remove(journal, 1, lsn);
    journal_remove(journal, 1, lsn);
    journal_remove(journal, 2, lsn);
    journal_hand_out(journal, 1, lsn);
    (void)publish(10, 'b');
    cr_assert(journal_seal(journal, true));
    static const enum record_type types[] = {RECORD_EPOCH, RECORD_PUBLISH, RECORD_ACK,
                                             RECORD_ACK,   RECORD_HANDOUT, RECORD_PUBLISH};
    struct bytes left = buffer_bytes(&batches[0]->control);
    struct record record;
    size_t count = 0;
    while (record_next(&left, &record) == STATUS_OK) {
        cr_assert(count < 6);
        cr_expect(eq(int, (int)record.type, (int)types[count]));
        count++;
    }
    cr_expect(eq(sz, count, 6));
    cr_expect(eq(u32, batches[0]->header.record_count, 6));
}

/* What the log keeps of a message beyond that it is there stands behind its PUBLISH: with it or not
 * at all. */
Test(journal, states_stand_in_the_batch_of_their_message)
{
    uint64_t queues[] = {1, 2 | RECORD_QUEUE_HANDED_OUT, 3, 4};
    const struct journal_state states[] = {
        {.state = {.deadline_ms = 77}, .first = 0, .count = 2},
        {.state = {.due_ms = 88}, .first = 3, .count = 1},
    };
    struct content_ref ref = make_content(20, 'a');
    uint64_t lsn;
    cr_assert(eq(int, journal_publish_with(journal, ref, queues, 4, states, 2, &lsn), STATUS_OK));
    chunk_pool_release(pool, ref);
    cr_assert(journal_seal(journal, true));
    struct bytes left = buffer_bytes(&batches[0]->control);
    struct record records[4];
    for (size_t i = 0; i < 4; i++) {
        cr_assert(eq(int, record_next(&left, &records[i]), STATUS_OK));
    }
    cr_expect(eq(sz, left.size, 0));
    cr_expect(eq(u32, batches[0]->header.record_count, 4));
    cr_expect(eq(int, (int)records[1].type, RECORD_PUBLISH));
    cr_assert(eq(int, (int)records[2].type, RECORD_ROW_STATE));
    cr_expect(eq(u64, records[2].row_state.lsn, lsn));
    cr_expect(records[2].row_state.came_with_message);
    cr_expect(eq(u64, records[2].row_state.state.deadline_ms, 77));
    cr_assert(eq(u32, records[2].row_state.queue_count, 2));
    cr_expect(eq(u64, record_state_queue(&records[2], 1), 2));
    cr_expect(eq(u64, record_state_queue(&records[3], 0), 4));
    cr_expect(eq(u64, records[3].row_state.state.due_ms, 88));
}

/* Without a state a message takes what it always took. */
Test(journal, a_message_without_state_has_its_record_alone)
{
    (void)publish(20, 'a');
    cr_assert(journal_seal(journal, true));
    size_t epoch_size = RECORD_HEADER_SIZE + 8;
    cr_expect(eq(sz, buffer_size(&batches[0]->control), epoch_size + record_publish_size(1)));
}

/* What is handed out names the segment that the state stands in. */
Test(journal, a_returned_message_tells_where_its_state_stands)
{
    uint64_t lsn = publish(20, 'a');
    cr_assert(journal_seal(journal, true));
    journal_remove(journal, 2, lsn);
    struct row_state state = {.due_ms = 99, .delivery_count = 1, .verdict = ROW_VERDICT_REJECT};
    uint64_t state_lsn = journal_return(journal, 1, lsn, &state, NULL);
    cr_assert(journal_seal(journal, true));
    const struct batch_header *header = &batches[1]->header;
    cr_expect(eq(u64, state_lsn, header->base_lsn));
    cr_expect(eq(u32, header->record_count, 2));
    struct bytes left = buffer_bytes(&batches[1]->control);
    struct record record;
    cr_assert(eq(int, record_next(&left, &record), STATUS_OK));
    cr_assert(eq(int, record_next(&left, &record), STATUS_OK));
    cr_assert(eq(int, (int)record.type, RECORD_ROW_STATE));
    cr_expect(not(record.row_state.came_with_message));
    cr_expect(row_state_equals(&record.row_state.state, &state));
    cr_expect(eq(u64, record_state_queue(&record, 0), 1));
}

/* States count when it is asked whether a message still fits the segment. */
Test(journal, states_do_not_cross_the_end_of_a_segment)
{
    uint64_t queues[64];
    struct journal_state states[64];
    for (uint32_t i = 0; i < 64; i++) {
        queues[i] = i + 1;
        states[i] = (struct journal_state){
            .state = {.due_ms = i + 1, .deadline_ms = 1, .arrival_ms = 1, .delivery_count = 1},
            .first = i,
            .count = 1};
    }
    uint64_t number = journal_segment_number(journal);
    uint64_t lsn = 0;
    while (journal_segment_number(journal) == number) {
        struct content_ref ref = make_content(20, 'a');
        enum status status = journal_publish_with(journal, ref, queues, 64, states, 64, &lsn);
        cr_assert(eq(int, status, STATUS_OK));
        chunk_pool_release(pool, ref);
    }
    cr_assert(journal_seal(journal, true));
    cr_expect(lt(u64, journal_segment_base(journal), lsn));
}

/* Forty ticks of one message each, while nothing comes back from the disk. */
static void
gather_ticks(void)
{
    for (int tick = 0; tick < 40; tick++) {
        (void)publish(10, 'a');
        cr_assert(journal_seal(journal, true));
    }
}

Test(journal, what_gathers_during_a_slow_flush_takes_no_memory_the_next_time)
{
    enum { FAR = 1000 };
    gather_ticks();
    write_all();
    alloc_faults_plan(FAR);
    gather_ticks();
    cr_expect(eq(u32, alloc_faults_left(), FAR), "batches are used again, with their memory");
    alloc_faults_plan(0);
}

/* Contents that lie behind each other in one chunk are one run: one part of the gathered write. */
Test(journal, neighbours_in_a_chunk_are_one_run)
{
    for (int i = 0; i < 100; i++) {
        (void)publish(50, 'x');
    }
    cr_assert(journal_seal(journal, true));
    cr_expect(eq(sz, batches[0]->run_count, 1));
}

/* A content that is logged nowhere (no durable queue took it) is no part of the data section. */
Test(journal, what_is_not_published_is_left_out)
{
    (void)publish(50, 'x');
    struct content_ref skipped = make_content(50, 'y');
    (void)publish(50, 'z');
    cr_assert(journal_seal(journal, true));
    cr_expect(eq(sz, batches[0]->run_count, 2));
    chunk_pool_release(pool, skipped);
}

/* Batches stand behind each other, and the chain says so. */
Test(journal, batches_follow_each_other_without_a_gap)
{
    (void)publish(10, 'a');
    cr_assert(journal_seal(journal, true));
    (void)publish(10, 'b');
    cr_assert(journal_seal(journal, true));
    cr_expect(eq(u64, batches[0]->header.base_lsn, 5 * SLOT + 4096));
    cr_expect(eq(u16, batches[0]->header.flags, BATCH_FIRST_OF_EPOCH));
    cr_expect(eq(u64, batches[1]->header.base_lsn, batches[0]->end_lsn));
    cr_expect(eq(u32, batches[1]->header.skipped, 0));
    cr_expect(eq(u16, batches[1]->header.flags, 0));
}

/* Design, part 7: a batch never crosses a segment; the next one begins in the next, and what was
 * appended before goes on its own. */
Test(journal, what_does_not_fit_goes_into_the_next_segment)
{
    (void)publish(8000, 'a');
    uint64_t second = publish(8000, 'b');
    cr_assert(eq(sz, batch_count, 1));
    cr_expect(eq(u64, batches[0]->segment_number, 5));
    cr_assert(journal_seal(journal, true));
    cr_expect(eq(u64, batches[1]->segment_number, 6));
    cr_expect(eq(u64, batches[1]->segment_base, 6 * SLOT));
    cr_expect(eq(u64, second, 6 * SLOT + 4096 + BATCH_HEADER_SIZE));
    cr_expect(
        eq(u64, batches[0]->end_lsn + batches[1]->header.skipped, batches[1]->header.base_lsn));
    const struct journal_segment *left = journal_oldest_left(journal);
    cr_assert(left != NULL && left->number == 5);
    cr_expect(eq(u64, left->end_lsn, batches[0]->end_lsn));
    journal_forget_left(journal);
    cr_expect(journal_oldest_left(journal) == NULL);
}

/* A transaction asks first, so that it is not torn apart by a roll. */
Test(journal, what_was_reserved_is_in_one_batch)
{
    (void)publish(4000, 'a');
    journal_reserve(journal, 3 * 4096, 3 * 64);
    uint64_t lsns[] = {publish(4000, 'b'), publish(4000, 'c'), publish(4000, 'd')};
    cr_assert(journal_seal(journal, true));
    cr_assert(eq(sz, batch_count, 2));
    for (size_t i = 0; i < 3; i++) {
        cr_expect(lsns[i] > batches[1]->header.base_lsn && lsns[i] < batches[1]->end_lsn);
    }
}

/* So that it is not torn apart by a lack of memory either. */
Test(journal, a_publish_that_was_reserved_for_does_not_fail)
{
    enum { PUBLISHES = 100, REMOVALS = 200 };
    uint64_t content_size = PUBLISHES * UINT64_C(64);
    uint64_t record_size = PUBLISHES * record_publish_size(1) + REMOVALS * RECORD_ACK_MAX;
    uint32_t nth = 1;
    for (;; nth++) {
        alloc_faults_plan(nth);
        enum status status =
            journal_reserve_publishes(journal, PUBLISHES, content_size, record_size);
        alloc_faults_plan(0);
        if (status == STATUS_OK) {
            break;
        }
        cr_assert(lt(u32, nth, 10));
    }
    cr_expect(eq(u32, nth, 4), "runs, contents, records");
    for (uint64_t i = 0; i < PUBLISHES; i++) {
        struct content_ref between = make_content(10, 'x'); /* no run goes on in the next */
        struct content_ref ref = make_content(10, 'y');
        uint64_t lsn;
        alloc_faults_plan(1);
        cr_assert(eq(int, journal_publish(journal, ref, &(uint64_t){1}, 1, &lsn), STATUS_OK));
        journal_remove(journal, 2 + i % 2, lsn);
        journal_remove(journal, 4, lsn);
        cr_assert(eq(u32, alloc_faults_left(), 1), "nothing was allocated");
        alloc_faults_plan(0);
        chunk_pool_release(pool, between);
        chunk_pool_release(pool, ref);
    }
    cr_assert(journal_seal(journal, true));
    cr_expect(eq(sz, batch_count, 1));
    cr_expect(eq(sz, batches[0]->run_count, PUBLISHES));
}

/* A commit that only settles, or has nothing durable in it, gets no batch for that alone. */
Test(journal, reserving_for_no_publish_opens_no_batch)
{
    cr_assert(eq(int, journal_reserve_publishes(journal, 0, 0, 480), STATUS_OK));
    cr_expect(not(journal_is_open(journal)));
}

/* I1: who waits is let go only by a commit that covers the batch. */
Test(journal, a_token_is_committed_with_its_batch)
{
    cr_expect(eq(u64, journal_token(journal), 0));
    (void)publish(10, 'a');
    uint64_t token = journal_token(journal);
    cr_assert(journal_seal(journal, true));
    uint64_t first_end = batches[0]->end_lsn;
    (void)publish(10, 'b');
    uint64_t second = journal_token(journal);
    cr_assert(journal_seal(journal, true));
    cr_expect(not(journal_token_is_committed(token, journal_commit_lsn(journal))));
    write_all();
    cr_expect(not(journal_token_is_committed(token, journal_commit_lsn(journal))));
    journal_committed(journal, first_end);
    cr_expect(journal_token_is_committed(token, journal_commit_lsn(journal)));
    cr_expect(not(journal_token_is_committed(second, journal_commit_lsn(journal))));
}

/* An acknowledgement is written without a flush, and flushed by whatever asks for one next. */
Test(journal, a_flush_can_be_asked_for_afterwards)
{
    uint64_t lsn = publish(10, 'a');
    cr_assert(journal_seal(journal, true));
    journal_remove(journal, 1, lsn);
    cr_assert(journal_seal(journal, false));
    cr_expect(journal_wants_flush(journal));
    cr_expect(not(journal_seal(journal, false)));
    cr_assert(journal_seal(journal, true));
    cr_expect(not(journal_wants_flush(journal)));
    cr_expect(batches[2]->wants_flush);
    cr_expect(not(journal_seal(journal, true)));
}

/* The log's thread takes nothing while it flushes: what is handed over then is only more batches.
 */
Test(journal, what_nobody_waits_for_can_wait_while_a_flush_is_under_way)
{
    cr_expect(not(journal_can_wait(journal)), "there is nothing");
    (void)publish(10, 'a');
    cr_expect(not(journal_can_wait(journal)), "no flush is under way");
    cr_assert(journal_seal(journal, true));
    cr_expect(not(journal_can_wait(journal)), "there is nothing else");
    (void)publish(10, 'b');
    cr_expect(journal_can_wait(journal));
    journal_committed(journal, batches[0]->end_lsn);
    cr_expect(not(journal_can_wait(journal)), "the flush is done");
}

/* A crash of the process forgets what was not handed over: a removal, whose message comes again. */
Test(journal, a_few_removals_can_wait_for_company)
{
    uint64_t lsn = publish(10, 'a');
    cr_assert(journal_seal(journal, true));
    journal_committed(journal, batches[0]->end_lsn);
    journal_remove(journal, 1, lsn);
    cr_expect(journal_can_wait(journal), "no flush is under way, and yet");
    (void)publish(10, 'b');
    cr_expect(not(journal_can_wait(journal)), "a message does not wait");
}

Test(journal, a_mark_that_a_consumer_waits_for_cannot_wait)
{
    uint64_t lsn = publish(10, 'a');
    cr_assert(journal_seal(journal, true));
    journal_hand_out(journal, 1, lsn);
    cr_expect(not(journal_can_wait(journal)));
}

/* What gathers in a batch that is open is counted in no backlog, and is not read meanwhile. */
Test(journal, what_amounts_to_something_cannot_wait)
{
    (void)publish(10, 'a');
    cr_assert(journal_seal(journal, true));
    (void)publish(1000, 'b');
    cr_expect(journal_can_wait(journal));
    (void)publish(FIRST, 'c');
    cr_expect(not(journal_can_wait(journal)));
}

/* A message stays in memory until its batch is in the kernel, whoever has let go of it. */
Test(journal, contents_are_kept_until_they_are_written)
{
    (void)publish(100, 'a');
    cr_assert(journal_seal(journal, true));
    chunk_pool_end_tick(pool, chunk_pool_tick(pool));
    cr_expect(ge(u64, chunk_pool_bytes(pool), 1));
    write_all();
    chunk_pool_end_tick(pool, chunk_pool_tick(pool));
    cr_expect(eq(u64, chunk_pool_bytes(pool), 0));
}

Test(journal, only_what_fits_a_segment_is_taken)
{
    cr_expect(journal_fits(journal, SLOT - 8192, 64));
    cr_expect(not(journal_fits(journal, SLOT, 64)));
    cr_expect(not(journal_fits(journal, UINT64_MAX, UINT64_MAX)));
}

/* Its index has 16 octets for each. */
Test(journal, a_segment_of_many_removals_is_left_early_and_never_within_a_batch)
{
    enum { REMOVALS_MAX = 3 };
    struct journal_port port = {.submit = take_batch};
    struct journal_settings settings = {
        .epoch = 3,
        .segment_number = 5,
        .segment_base = 5 * SLOT,
        .segment_capacity = SLOT,
        .slot_size = SLOT,
        .removals_max = REMOVALS_MAX,
    };
    journal_free(&journal);
    journal = journal_new(&settings, pool, &port);
    for (uint64_t i = 0; i < 2 * REMOVALS_MAX; i++) {
        journal_remove(journal, 1, 8 * (i + 1));
        cr_expect(eq(u64, journal_segment_number(journal), 5));
    }
    cr_assert(journal_seal(journal, false));
    cr_expect(eq(u64, journal_segment_number(journal), 5), "not before something comes");
    journal_remove(journal, 1, 800);
    cr_expect(eq(u64, journal_segment_number(journal), 6));
    cr_expect(eq(u64, journal_open_lsn(journal), 6 * SLOT + 4096));
    const struct journal_segment *left = journal_oldest_left(journal);
    cr_assert(left != NULL);
    cr_expect(eq(u64, left->number, 5));
    cr_expect(eq(u64, left->end_lsn, batches[0]->end_lsn));
    cr_assert(journal_seal(journal, false));
    journal_remove(journal, 1, 808);
    cr_expect(eq(u64, journal_segment_number(journal), 6), "the count begins anew");
    cr_assert(journal_seal(journal, false));
}

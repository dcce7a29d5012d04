/* SPDX-License-Identifier: Apache-2.0 */
/* What the log keeps of one message in one queue: the last that was said of it comes back, wherever
 * it was said, and nothing of a message that is gone. */
#include "store/row_state.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <stdlib.h>

#include "base/assert.h"
#include "store/crc32c.h"
#include "store/fold.h"
#include "store/little_endian.h"
#include "store/pack.h"
#include "store/snapshot.h"
#include "store/space.h"
#include "tests/support/sim_disk.h"
#include "tests/support/store_maker.h"

enum { VHOST = 1, ORDERS = 2, BILLS = 3 };

static struct sim_disk *sim;
static struct disk disk;
static struct store_maker maker;
static struct store_content content;
static struct log_failure failure;
static char why[512];

static void
start(void)
{
    store_content_fini(&content);
    enum status status = store_maker_start(&maker, &content, why, sizeof(why));
    cr_assert(eq(int, status, STATUS_OK), "%s", why);
}

static void
restart(void)
{
    store_maker_end(&maker);
    start();
}

static void
set_up(void)
{
    sim = sim_disk_new();
    disk = disk_of_sim(sim);
    store_maker_init(&maker, &disk);
    start();
    store_maker_vhost(&maker, VHOST, "/");
    store_maker_queue(&maker, ORDERS, VHOST, "orders");
    store_maker_queue(&maker, BILLS, VHOST, "bills");
    store_maker_seal(&maker, true);
}

static void
tear_down(void)
{
    store_maker_fini(&maker);
    store_content_fini(&content);
    sim_disk_free(&sim);
}

TestSuite(row_state, .init = set_up, .fini = tear_down);

static struct row_state
full_state(uint64_t due_ms)
{
    return (struct row_state){
        .due_ms = due_ms,
        .deadline_ms = UINT64_C(2082758400123),
        .arrival_ms = 1,
        .delivery_count = 2,
        .acquired_count = 3,
        .verdict = ROW_VERDICT_TIMEOUT,
        .priority = 255,
    };
}

static uint64_t
publish_with(uint64_t queue, struct row_state state)
{
    struct journal_state states = {.state = state, .count = 1};
    uint64_t lsn = store_maker_publish_with(&maker, &queue, 1, &states, 1, "message ", 10);
    store_maker_seal(&maker, true);
    return lsn;
}

static uint64_t
publish(uint64_t queue)
{
    uint64_t lsn = store_maker_publish(&maker, &queue, 1, "message ", 10);
    store_maker_seal(&maker, true);
    return lsn;
}

static uint64_t
give_back(uint64_t queue, uint64_t lsn, struct row_state state)
{
    uint64_t state_lsn = journal_return(maker.journal, queue, lsn, &state, NULL);
    store_maker_seal(&maker, true);
    return state_lsn;
}

/* Some that no other number gives. */
static struct row_attempts
attempts_of(uint32_t number)
{
    return (struct row_attempts){.times_ms = {number, 0, number * 7}, .verdicts = 1 | 2 << 6};
}

static void
fail(uint64_t queue, uint64_t lsn, uint32_t number)
{
    struct row_state state = {.delivery_count = number, .arrival_ms = 1};
    struct row_attempts attempts = attempts_of(number);
    (void)journal_return(maker.journal, queue, lsn, &state, &attempts);
    store_maker_seal(&maker, true);
}

static void
remove_message(uint64_t queue, uint64_t lsn)
{
    journal_remove(maker.journal, queue, lsn);
    store_maker_seal(&maker, true);
}

/* Goes on into the next segment; what fills it is done with at once. */
static uint64_t
leave_segment(void)
{
    static const uint64_t QUEUE = ORDERS;
    uint64_t number = journal_segment_number(maker.journal);
    while (journal_segment_number(maker.journal) == number) {
        uint64_t lsn = store_maker_publish(&maker, &QUEUE, 1, "filler ", 5000);
        journal_remove(maker.journal, QUEUE, lsn);
        store_maker_seal(&maker, true);
    }
    return number;
}

static const struct recovered_row *
row_of(uint64_t queue, uint64_t lsn)
{
    for (size_t i = 0; i < content.row_count; i++) {
        if (content.rows[i].lsn == lsn && content.rows[i].queue == queue) {
            return &content.rows[i];
        }
    }
    cr_assert(false, "the row is missing");
    return NULL;
}

static void
expect_state(uint64_t queue, uint64_t lsn, struct row_state state)
{
    const struct recovered_row *row = row_of(queue, lsn);
    cr_expect(row_state_equals(&row->state, &state), "due %zu, not %zu", (size_t)row->state.due_ms,
              (size_t)state.due_ms);
}

/* 0: none are known. */
static void
expect_attempts(uint64_t queue, uint64_t lsn, uint32_t number)
{
    struct row_attempts expected = number == 0 ? (struct row_attempts){0} : attempts_of(number);
    const struct row_attempts *attempts = &row_of(queue, lsn)->attempts;
    cr_expect(row_attempts_equals(attempts, &expected), "time %u, not %u", attempts->times_ms[0],
              number);
}

static uint64_t
live_entries(void)
{
    uint64_t count = 0;
    for (uint32_t i = 0; i < maker.recovery.segment_count; i++) {
        count += maker.recovery.segments[i].row_count;
    }
    return count;
}

/* Recovery ------------------------------------------------------------------------------------- */

Test(row_state, comes_back_with_its_message)
{
    const struct row_state state = {.deadline_ms = UINT64_C(2082758400123), .priority = 7};
    uint64_t lsn = publish_with(BILLS, state);
    uint64_t other = publish(BILLS);
    restart();
    expect_state(BILLS, lsn, state);
    expect_state(BILLS, other, (struct row_state){0});
    cr_expect(eq(u64, row_of(BILLS, lsn)->state_lsn, 0));
    cr_expect(eq(u64, live_entries(), 2), "it goes with its row");
}

/* Each queue has its own. */
Test(row_state, belongs_to_one_queue)
{
    const uint64_t queues[] = {ORDERS, BILLS};
    struct journal_state states = {.state = {.due_ms = 5}, .first = 1, .count = 1};
    uint64_t lsn = store_maker_publish_with(&maker, queues, 2, &states, 1, "both ", 10);
    store_maker_seal(&maker, true);
    restart();
    expect_state(ORDERS, lsn, (struct row_state){0});
    expect_state(BILLS, lsn, (struct row_state){.due_ms = 5});
}

/* The last one counts: of two in a batch, of two in a segment, of two segments; also if it says
 * that nothing is known any more. */
static void
check_replacing(void)
{
    uint64_t lsn = publish_with(BILLS, (struct row_state){.due_ms = 1});
    (void)journal_return(maker.journal, BILLS, lsn, &(struct row_state){.due_ms = 2}, NULL);
    (void)give_back(BILLS, lsn, (struct row_state){.due_ms = 3, .delivery_count = 1});
    restart();
    expect_state(BILLS, lsn, (struct row_state){.due_ms = 3, .delivery_count = 1});
    cr_expect(ne(u64, row_of(BILLS, lsn)->state_lsn, 0));
    cr_expect(eq(u64, live_entries(), 2));
    leave_segment();
    uint64_t state_lsn = give_back(BILLS, lsn, (struct row_state){.due_ms = 4});
    leave_segment();
    restart();
    expect_state(BILLS, lsn, (struct row_state){.due_ms = 4});
    uint64_t found = row_of(BILLS, lsn)->state_lsn;
    cr_expect(found >= state_lsn && found < state_lsn + 64, "it is found where it stands");
    cr_expect(eq(u64, live_entries(), 2), "one row, one state");
    (void)give_back(BILLS, lsn, (struct row_state){0});
    restart();
    expect_state(BILLS, lsn, (struct row_state){0});
    cr_expect(eq(u64, live_entries(), 2), "that too is something to know");
}

Test(row_state, is_the_last_that_was_said)
{
    check_replacing();
}

Test(row_state, is_the_last_that_was_said_without_indexes_too)
{
    maker.without_index = true;
    check_replacing();
}

/* In the message's own batch too: what comes later there counts. */
Test(row_state, of_a_message_that_comes_back_at_once_is_the_later_one)
{
    const uint64_t queue = BILLS;
    struct journal_state states = {.state = {.due_ms = 1}, .count = 1};
    uint64_t lsn = store_maker_publish_with(&maker, &queue, 1, &states, 1, "message ", 10);
    (void)give_back(BILLS, lsn, (struct row_state){.due_ms = 2});
    restart();
    expect_state(BILLS, lsn, (struct row_state){.due_ms = 2});
    cr_expect(eq(u64, live_entries(), 2));
}

Test(row_state, goes_with_its_message)
{
    uint64_t lsns[3];
    for (size_t i = 0; i < 3; i++) {
        lsns[i] = publish_with(BILLS, (struct row_state){.due_ms = 1 + i});
    }
    leave_segment();
    (void)give_back(BILLS, lsns[0], (struct row_state){.due_ms = 10});
    (void)give_back(BILLS, lsns[1], (struct row_state){.due_ms = 11});
    remove_message(BILLS, lsns[0]);
    leave_segment();
    remove_message(BILLS, lsns[1]);
    restart();
    cr_assert(eq(sz, content.row_count, 1));
    expect_state(BILLS, lsns[2], (struct row_state){.due_ms = 3});
    cr_expect(eq(u64, live_entries(), 1));
}

Test(row_state, goes_with_its_queue)
{
    struct buffer record = {0};
    uint64_t lsn = publish_with(BILLS, (struct row_state){.due_ms = 1});
    leave_segment();
    (void)give_back(BILLS, lsn, (struct row_state){.due_ms = 2});
    record_put_delete(&record, RECORD_QUEUE_DELETE, BILLS);
    store_maker_put(&maker, &record);
    store_maker_seal(&maker, true);
    restart();
    cr_expect(eq(sz, content.row_count, 0));
    cr_expect(eq(u64, live_entries(), 0));
}

/* No version of us says something of a message before it is there. */
Test(row_state, of_a_message_that_is_not_there_yet_is_refused)
{
    uint64_t lsn = publish(BILLS);
    uint64_t later = journal_open_lsn(maker.journal) + 4096;
    (void)give_back(BILLS, lsn, (struct row_state){.due_ms = 1});
    (void)give_back(BILLS, later, (struct row_state){.due_ms = 1});
    store_maker_end(&maker);
    store_content_fini(&content);
    enum status status = store_maker_start(&maker, &content, why, sizeof(why));
    cr_expect(eq(int, status, STATUS_CORRUPT));
    cr_expect(strstr(why, "not yet") != NULL, "%s", why);
}

/* Of a message that is gone something may still be said: it means nothing. */
Test(row_state, of_a_message_that_is_gone_means_nothing)
{
    uint64_t lsn = publish(BILLS);
    remove_message(BILLS, lsn);
    (void)give_back(BILLS, lsn, (struct row_state){.due_ms = 1});
    (void)give_back(ORDERS, lsn, (struct row_state){.due_ms = 1});
    restart();
    cr_expect(eq(sz, content.row_count, 0));
    cr_expect(eq(u64, live_entries(), 0));
}

/* Attempts: those of the last state, of two in a batch, of two in a segment, of two segments; gone
 * when that has none. Of the others nothing is told. */
static void
check_attempts(void)
{
    uint64_t other = publish_with(BILLS, (struct row_state){.due_ms = 1});
    uint64_t lsn = publish(BILLS);
    uint64_t before = publish(ORDERS);
    fail(ORDERS, before, 8);
    fail(BILLS, lsn, 1);
    fail(BILLS, lsn, 2);
    restart();
    expect_attempts(BILLS, lsn, 2);
    expect_attempts(ORDERS, before, 8);
    expect_attempts(BILLS, other, 0);
    leave_segment();
    fail(BILLS, other, 9);
    fail(BILLS, lsn, 3);
    (void)give_back(BILLS, other, (struct row_state){.due_ms = 5});
    leave_segment();
    restart();
    expect_attempts(BILLS, lsn, 3);
    expect_attempts(ORDERS, before, 8);
    expect_attempts(BILLS, other, 0);
    (void)give_back(BILLS, lsn, (struct row_state){.due_ms = 5});
    restart();
    expect_attempts(BILLS, lsn, 0);
    expect_state(BILLS, lsn, (struct row_state){.due_ms = 5});
}

Test(row_state, has_the_attempts_that_were_said_last)
{
    check_attempts();
}

Test(row_state, has_the_attempts_that_were_said_last_without_indexes_too)
{
    maker.without_index = true;
    check_attempts();
}

/* Indexes -------------------------------------------------------------------------------------- */

static void
read_index(uint64_t number, struct segment_index *index)
{
    cr_assert(eq(int, segment_index_read(index, &disk, number), STATUS_OK));
}

/* One entry for each row, and none for rows that the segment ends. */
Test(row_state, has_one_place_in_an_index)
{
    struct segment_index index;
    uint64_t older = publish(BILLS);
    uint64_t ended = publish(BILLS);
    leave_segment();
    uint64_t lsn = publish_with(BILLS, (struct row_state){.due_ms = 1});
    (void)give_back(BILLS, lsn, (struct row_state){.due_ms = 2});
    (void)give_back(BILLS, older, (struct row_state){.due_ms = 3});
    (void)give_back(BILLS, older, (struct row_state){.due_ms = 4});
    (void)give_back(BILLS, ended, (struct row_state){.due_ms = 5});
    remove_message(BILLS, ended);
    remove_message(BILLS, publish_with(BILLS, (struct row_state){.due_ms = 6}));
    read_index(leave_segment(), &index);
    cr_assert(eq(u64, index.state_count, 2));
    cr_expect(eq(u64, index.states[0].lsn, older));
    cr_expect(eq(u64, index.states[0].state.due_ms, 4));
    cr_expect(eq(u64, index.states[1].lsn, lsn));
    cr_expect(eq(u64, index.states[1].state.due_ms, 2));
    cr_expect(not(index.states[1].came_with_message));
    segment_index_fini(&index);
}

/* Changes the file of an index as no version of us would, its checksums right. */
static enum status
read_changed(uint64_t number, uint64_t offset, uint64_t value, size_t size)
{
    char name[STORE_NAME_SIZE];
    struct segment_index index;
    struct bytes file = sim_disk_content(sim, store_file_name(STORE_FILE_INDEX, number, 0, name));
    uint8_t *copy = malloc(file.size);
    uint8_t *changed = malloc(file.size);
    memcpy(copy, file.data, file.size);
    memcpy(changed, file.data, file.size);
    memcpy(changed + offset, &value, size);
    put_u32_le(changed + 116, crc32c(0, changed + 128, file.size - 128));
    put_u32_le(changed + 124, crc32c(0, changed, 124));
    sim_disk_replace(sim, name, bytes_make(changed, file.size));
    enum status status = segment_index_read(&index, &disk, number);
    if (status == STATUS_OK) {
        segment_index_fini(&index);
    }
    sim_disk_replace(sim, name, bytes_make(copy, file.size));
    free(copy);
    free(changed);
    return status;
}

/* Every field of a state is checked before anybody acts on it. */
Test(row_state, that_cannot_be_makes_an_index_useless)
{
    struct segment_index index;
    uint64_t lsn = publish_with(BILLS, full_state(1));
    (void)publish_with(BILLS, full_state(2));
    uint64_t number = leave_segment();
    read_index(number, &index);
    cr_assert(eq(u64, index.state_count, 2));
    uint64_t at = segment_index_size(&index) - buffer_size(&index.records) - 2 * 64;
    uint64_t end_lsn = index.end_lsn;
    segment_index_fini(&index);
    const struct {
        uint64_t offset, value;
        size_t size;
        enum status status;
    } changes[] = {
        {at, lsn, 8, STATUS_OK},
        {at, lsn + 1, 8, STATUS_CORRUPT}, /* no LSN */
        {at, 0, 8, STATUS_CORRUPT},       /* none either */
        {at, end_lsn, 8, STATUS_CORRUPT}, /* a message that is not there yet */
        {at + 8, 0, 8, STATUS_CORRUPT},   /* no queue */
        {at + 8, BILLS | RECORD_QUEUE_HANDED_OUT, 8, STATUS_CORRUPT},
        {at + 16, 4096 - 8, 8, STATUS_CORRUPT}, /* said elsewhere */
        {at + 16, end_lsn, 8, STATUS_CORRUPT},
        {at + 24, UINT64_MAX, 8, STATUS_CORRUPT}, /* times */
        {at + 32, UINT64_MAX, 8, STATUS_CORRUPT},
        {at + 40, UINT64_MAX, 8, STATUS_CORRUPT},
        {at + 56, 5, 1, STATUS_CORRUPT},   /* a verdict */
        {at + 64, lsn, 8, STATUS_CORRUPT}, /* the same row twice */
        {80, 3, 8, STATUS_CORRUPT},        /* their number */
        {80, UINT64_MAX / 64, 8, STATUS_CORRUPT},
        {8, 4, 4, STATUS_CORRUPT}, /* a version that is still to come */
    };
    for (size_t i = 0; i < ARRAY_LEN(changes); i++) {
        enum status status =
            read_changed(number, changes[i].offset, changes[i].value, changes[i].size);
        cr_expect(eq(int, status, changes[i].status), "change %zu", i);
    }
}

/* Attempts lie behind the states that have them, in their order. */
Test(row_state, attempts_that_cannot_be_make_an_index_useless)
{
    struct segment_index index;
    uint64_t first = publish_with(BILLS, full_state(1));
    uint64_t second = publish(BILLS);
    (void)publish_with(BILLS, full_state(2));
    fail(BILLS, second, 1);
    fail(BILLS, second, 2);
    fail(BILLS, first, 3);
    uint64_t number = leave_segment();
    read_index(number, &index);
    cr_assert(eq(u64, index.state_count, 3));
    cr_assert(eq(u32, index.attempts.count, 2), "what is replaced is not written");
    cr_expect(eq(u32, row_attempts_list_at(&index.attempts, 1)->times_ms[0], 3));
    cr_expect(eq(u32, row_attempts_list_at(&index.attempts, 2)->times_ms[0], 2));
    uint64_t at = segment_index_size(&index) - buffer_size(&index.records) - 2 * 24;
    segment_index_fini(&index);
    const struct {
        uint64_t offset, value;
        size_t size;
        enum status status;
    } changes[] = {
        {at, UINT32_MAX, 4, STATUS_OK},
        {at + 20, 5, 2, STATUS_CORRUPT},      /* a verdict */
        {at + 20, 0x8000, 2, STATUS_CORRUPT}, /* behind the last one */
        {at + 24 + 20, 5, 2, STATUS_CORRUPT},
        {at - 6, 2, 1, STATUS_CORRUPT},      /* one state more has some */
        {at - 64 - 6, 0, 1, STATUS_CORRUPT}, /* one less */
        {88, 1, 8, STATUS_CORRUPT},          /* their number */
        {88, 3, 8, STATUS_CORRUPT},
        {88, UINT64_MAX / 24, 8, STATUS_CORRUPT},
    };
    for (size_t i = 0; i < ARRAY_LEN(changes); i++) {
        enum status status =
            read_changed(number, changes[i].offset, changes[i].value, changes[i].size);
        cr_expect(eq(int, status, changes[i].status), "change %zu", i);
    }
}

/* Version 2 has states and no attempts; the flag that says so meant nothing there. */
Test(row_state, attempts_are_not_looked_for_in_an_index_of_before)
{
    char name[STORE_NAME_SIZE];
    struct segment_index index;
    (void)publish_with(BILLS, full_state(1));
    uint64_t number = leave_segment();
    read_index(number, &index);
    uint64_t at = segment_index_size(&index) - buffer_size(&index.records) - 64;
    segment_index_fini(&index);
    store_file_name(STORE_FILE_INDEX, number, 0, name);
    struct bytes file = sim_disk_content(sim, name);
    uint8_t *changed = malloc(file.size);
    memcpy(changed, file.data, file.size);
    put_u32_le(changed + 8, 2);
    put_u64_le(changed + 88, 77);
    changed[at + 58] |= 2;
    put_u32_le(changed + 116, crc32c(0, changed + 128, file.size - 128));
    put_u32_le(changed + 124, crc32c(0, changed, 124));
    sim_disk_replace(sim, name, bytes_make(changed, file.size));
    free(changed);
    read_index(number, &index);
    cr_assert(eq(u64, index.state_count, 1));
    cr_expect(eq(u32, index.states[0].attempts, 0));
    cr_expect(eq(u64, index.states[0].state.due_ms, 1));
    segment_index_fini(&index);
}

/* Version 1 has no states; what it left unused is not looked at. */
Test(row_state, is_not_looked_for_in_an_index_of_before)
{
    (void)publish(BILLS);
    uint64_t number = leave_segment();
    cr_expect(eq(int, read_changed(number, 8, 1, 4), STATUS_OK));
    char name[STORE_NAME_SIZE];
    uint8_t octets[128];
    memcpy(octets, sim_disk_content(sim, store_file_name(STORE_FILE_INDEX, number, 0, name)).data,
           sizeof(octets));
    put_u32_le(octets + 8, 1);
    put_u64_le(octets + 80, 77);
    put_u32_le(octets + 124, crc32c(0, octets, 124));
    sim_disk_set(sim, name, 0, bytes_make(octets, sizeof(octets)));
    struct segment_index index;
    read_index(number, &index);
    cr_expect(eq(u64, index.state_count, 0));
    cr_expect(lt(u64, 0, index.row_count));
    segment_index_fini(&index);
}

/* Packs ---------------------------------------------------------------------------------------- */

static void
take_snapshot(void)
{
    uint64_t octets;
    enum status status = snapshot_take(&disk, &maker.recovery.manifest,
                                       journal_commit_lsn(maker.journal), &octets, &failure);
    cr_assert(eq(int, status, STATUS_OK));
}

static void
fold(uint64_t number)
{
    enum status status = fold_run(&disk, number, journal_commit_lsn(maker.journal), &failure);
    cr_assert(eq(int, status, STATUS_OK));
}

/* Packs, and tells what of states is in it; the caller frees it. */
static struct pack
pack(uint64_t first, uint64_t last)
{
    char name[STORE_NAME_SIZE];
    struct pack packed;
    const char *reason;
    uint64_t octets;
    enum status status =
        pack_run(&disk, first, last, journal_commit_lsn(maker.journal), &octets, &failure);
    cr_assert(eq(int, status, STATUS_OK), "%s %s", failure.what, failure.file);
    status =
        pack_read(&packed, &disk, store_file_name(STORE_FILE_PACK, first, last, name), &reason);
    cr_assert(eq(int, status, STATUS_OK), "%s", reason);
    return packed;
}

/* A row and its states of three segments become one of each. */
Test(row_state, is_packed_with_its_message)
{
    uint64_t lsn = publish_with(BILLS, (struct row_state){.due_ms = 1});
    uint64_t other = publish_with(BILLS, (struct row_state){.due_ms = 2});
    uint64_t gone = publish_with(BILLS, (struct row_state){.due_ms = 3});
    leave_segment();
    (void)give_back(BILLS, lsn, (struct row_state){.due_ms = 4});
    leave_segment();
    (void)give_back(BILLS, lsn, (struct row_state){.due_ms = 5});
    remove_message(BILLS, gone);
    uint64_t last = leave_segment();
    take_snapshot();
    struct pack packed = pack(1, last);
    cr_expect(eq(u64, packed.index.row_count, 2));
    cr_expect(eq(u64, packed.index.state_count, 2));
    pack_fini(&packed);
    restart();
    expect_state(BILLS, lsn, (struct row_state){.due_ms = 5});
    expect_state(BILLS, other, (struct row_state){.due_ms = 2});
    cr_expect(eq(u64, live_entries(), 3));
}

/* So are the attempts, of messages here and in older files. */
Test(row_state, is_packed_with_its_attempts)
{
    uint64_t older = publish(BILLS);
    uint64_t first = leave_segment() + 1;
    uint64_t own = publish(BILLS);
    uint64_t gone = publish(BILLS);
    uint64_t calm = publish_with(BILLS, (struct row_state){.due_ms = 1});
    fail(BILLS, own, 1);
    fail(BILLS, gone, 2);
    leave_segment();
    fail(BILLS, older, 3);
    fail(BILLS, own, 4);
    remove_message(BILLS, gone);
    uint64_t last = leave_segment();
    take_snapshot();
    struct pack packed = pack(first, last);
    cr_expect(eq(u64, packed.index.state_count, 3));
    cr_expect(eq(u32, packed.index.attempts.count, 2));
    pack_fini(&packed);
    restart();
    expect_attempts(BILLS, older, 3);
    expect_attempts(BILLS, own, 4);
    expect_attempts(BILLS, calm, 0);
}

/* The state of a message that lies in an older file stays: nothing else says it. It goes with the
 * message, once the older file knows that that is gone. */
Test(row_state, of_a_message_elsewhere_is_packed_while_that_lives)
{
    uint64_t live = publish(BILLS);
    uint64_t gone = publish(BILLS);
    uint64_t first = leave_segment() + 1;
    (void)give_back(BILLS, live, (struct row_state){.due_ms = 1});
    (void)give_back(BILLS, gone, (struct row_state){.due_ms = 2});
    uint64_t filler = publish(BILLS);
    leave_segment();
    (void)publish(BILLS);
    uint64_t last = leave_segment();
    remove_message(BILLS, gone);
    leave_segment();
    take_snapshot();
    fold(first - 1);
    struct pack packed = pack(first, last);
    cr_assert(eq(u64, packed.index.state_count, 1));
    cr_expect(eq(u64, packed.index.states[0].lsn, live));
    pack_fini(&packed);
    restart();
    cr_expect(eq(sz, content.row_count, 3));
    expect_state(BILLS, live, (struct row_state){.due_ms = 1});
    expect_state(BILLS, filler, (struct row_state){0});
    cr_expect(eq(u64, live_entries(), 4));
}

/* What a later file says more recently is not packed. */
Test(row_state, that_was_replaced_is_not_packed)
{
    uint64_t older = publish(BILLS);
    uint64_t first = leave_segment() + 1;
    uint64_t own = publish_with(BILLS, (struct row_state){.due_ms = 1});
    (void)give_back(BILLS, older, (struct row_state){.due_ms = 2});
    leave_segment();
    (void)publish(BILLS);
    uint64_t last = leave_segment();
    (void)give_back(BILLS, own, (struct row_state){.due_ms = 3});
    (void)give_back(BILLS, older, (struct row_state){.due_ms = 4});
    leave_segment();
    take_snapshot();
    struct pack packed = pack(first, last);
    cr_expect(eq(u64, packed.index.state_count, 0));
    pack_fini(&packed);
    restart();
    expect_state(BILLS, own, (struct row_state){.due_ms = 3});
    expect_state(BILLS, older, (struct row_state){.due_ms = 4});
}

/* Nothing but states may be left of segments. */
Test(row_state, is_all_that_some_packs_hold)
{
    uint64_t lsn = publish(BILLS);
    uint64_t first = leave_segment() + 1;
    (void)give_back(BILLS, lsn, (struct row_state){.due_ms = 1});
    leave_segment();
    uint64_t last = leave_segment();
    take_snapshot();
    struct pack packed = pack(first, last);
    cr_expect(eq(u64, packed.index.row_count, 0));
    cr_expect(eq(u64, packed.index.state_count, 1));
    pack_fini(&packed);
    restart();
    expect_state(BILLS, lsn, (struct row_state){.due_ms = 1});
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Deadlines of the messages in a queue, against a list of messages that is searched from end to
 * end, on a clock of the test's own. */
#include "queues/expiry.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <stdlib.h>

#include "base/random.h"
#include "queues/take.h"
#include "store/spill_space.h"
#include "tests/support/alloc_faults.h"

enum { MESSAGES_MAX = 40000, LENT_MAX = 400 };

enum place { PLACE_GONE, PLACE_READY, PLACE_OUT };

/* By position; the first is 1. */
static struct message {
    enum place place;
    uint64_t due_ms;
    uint64_t returned; /* when it came back; 0: it has not */
} messages[MESSAGES_MAX + 1];

static struct {
    struct queue_entry entry;
    uint64_t position;
} lent[LENT_MAX];

static struct queue *queue;
static struct entry_memory memory;
static struct chunk_pool *pool;
static uint8_t *file;
static uint64_t pushed_count, return_count, now_ms, first_ready;
static uint32_t lent_count;
static struct entry_spill writing;
static bool is_writing;

static void
make_queue(struct bytes arguments)
{
    queue = queue_new(1, &(struct queue_properties){
                             .name = bytes_of("q"), .arguments = arguments, .durable = true});
    queue_count_memory(queue, &memory);
    (void)queue_times_of(queue);
}

static void
make_quorum_queue(void)
{
    static const uint8_t arguments[] = "\x0cx-queue-typeS\0\0\0\6quorum";
    queue_unref(&queue);
    make_queue(bytes_make(arguments, sizeof(arguments) - 1));
    cr_assert(eq(int, queue->settings->type, QUEUE_TYPE_QUORUM));
}

static void
set_up(void)
{
    entry_memory_init(&memory);
    memory.space = spill_space_new();
    make_queue(bytes_make(NULL, 0));
    pool = chunk_pool_new();
    file = calloc(1, SPILL_FILE_SIZE);
    pushed_count = return_count = 0;
    now_ms = DUE_STEP_MS;
    lent_count = 0;
    first_ready = 1;
    is_writing = false;
}

static void
release_nothing(void *context, uint64_t queue_id, const struct queue_entry *entry)
{
    (void)context;
    (void)queue_id;
    (void)entry;
}

static void
end_writing(bool is_written)
{
    memcpy(file + spill_place_offset(writing.place), writing.octets, writing.size);
    entry_pages_end_spill(&writing, is_written, pool);
    is_writing = false;
}

static void
tear_down(void)
{
    if (is_writing) {
        end_writing(true);
    }
    while (lent_count > 0) {
        lent_count--;
        queue_settle(queue, &lent[lent_count].entry, lent[lent_count].position);
    }
    struct queue_discards discards;
    queue_discards_init(&discards);
    discards.release = release_nothing;
    (void)queue_purge(queue, &discards);
    queue_discards_fini(&discards);
    queue_unref(&queue);
    cr_expect(eq(u64, memory.bytes, 0), "what the queue held is given back");
    spill_space_free(&memory.space);
    chunk_pool_free(&pool);
    free(file);
}

TestSuite(expiry, .init = set_up, .fini = tear_down);

/* Pushing and taking --------------------------------------------------------------------------- */

/* A fifth of the messages is in no log: those are told apart by their content, the others by their
 * LSN. */
static struct queue_entry
entry_at(uint64_t position)
{
    bool is_logged = position % 5 != 0;
    struct queue_entry entry = {.size = (uint32_t)(position % 100)};
    entry.lsn_and_flags = queue_entry_pack(is_logged ? 8 * position : 0, 0);
    entry.content.bits = is_logged ? 0 : position;
    return entry;
}

static uint64_t
position_of(const struct queue_entry *entry)
{
    uint64_t lsn = queue_entry_lsn(entry);
    return lsn != 0 ? lsn / 8 : entry->content.bits;
}

/* Pushes a message; `due_ms` is NEVER_MS or its deadline. Returns its position. */
static uint64_t
push(uint64_t due_ms)
{
    struct queue_entry entry = entry_at(++pushed_count);
    enum status status =
        due_ms == NEVER_MS ? queue_push(queue, &entry) : queue_push_until(queue, &entry, due_ms);
    cr_assert(eq(int, status, STATUS_OK));
    uint64_t rounded_ms = (due_ms + DUE_STEP_MS - 1) / DUE_STEP_MS * DUE_STEP_MS;
    messages[pushed_count] = (struct message){
        .place = PLACE_READY,
        .due_ms = due_ms == NEVER_MS      ? NEVER_MS
                  : due_ms <= DUE_STEP_MS ? DUE_STEP_MS
                                          : rounded_ms,
    };
    return pushed_count;
}

static void
bring_head_back(void)
{
    while (queue_head_is_away(queue) && queue->ready_count > 0) {
        struct entry_spill reading;
        struct entry_loss loss;
        cr_assert(entry_deque_begin_read(&queue->deque, &reading));
        memcpy(reading.octets, file + spill_place_offset(reading.place), reading.size);
        enum status status = entry_pages_end_read(&reading, true, &loss);
        cr_assert(eq(int, status, STATUS_OK));
    }
}

/* Lets everything die that is due, and compares with what should. */
static void
expire(void)
{
    uint64_t last_ms = 0;
    struct queue_entry entry;
    uint64_t place;
    for (;;) {
        bring_head_back();
        enum status status = queue_take_expired(queue, now_ms, &entry, &place);
        if (status == STATUS_AGAIN) {
            break;
        }
        if (status == STATUS_OK) {
            struct message *message = &messages[position_of(&entry)];
            cr_assert(eq(int, message->place, PLACE_READY), "%ju", (uintmax_t)position_of(&entry));
            cr_assert(le(u64, message->due_ms, now_ms));
            cr_assert(ge(u64, message->due_ms, last_ms), "in the order of deadlines");
            last_ms = message->due_ms;
            message->place = PLACE_GONE;
        }
    }
}

static bool
comes_before(const struct message *a, const struct message *b)
{
    if (a->returned == 0 || b->returned == 0) {
        return a->returned != 0 && b->returned == 0;
    }
    return a->returned < b->returned;
}

/* What comes next, and that nothing is overdue, and when the next is due: by looking at all. */
static uint64_t
look_at_all(uint64_t *next_due_out)
{
    uint64_t next = 0;
    uint64_t count = 0;
    *next_due_out = NEVER_MS;
    for (; first_ready <= pushed_count && messages[first_ready].place == PLACE_GONE;) {
        first_ready++;
    }
    for (uint64_t i = first_ready; i <= pushed_count; i++) {
        const struct message *message = &messages[i];
        if (message->place != PLACE_READY) {
            continue;
        }
        count++;
        bool is_quorum = queue->settings->type == QUEUE_TYPE_QUORUM;
        if (next == 0 || (is_quorum && comes_before(message, &messages[next]))) {
            next = i;
        }
        *next_due_out = message->due_ms < *next_due_out ? message->due_ms : *next_due_out;
    }
    cr_assert(eq(u64, queue->ready_count, count));
    return next;
}

static void
compare_all(void)
{
    uint64_t next_due_ms;
    bring_head_back();
    uint64_t next = look_at_all(&next_due_ms);
    cr_assert(ge(u64, next_due_ms, now_ms + 1), "what is due has died");
    cr_assert(le(u64, queue_next_deadline_ms(queue), next_due_ms));
    const struct queue_entry *head = queue_peek(queue);
    cr_assert(eq(u64, head == NULL ? 0 : position_of(head), next));
    cr_assert(eq(u64, head == NULL ? 0 : position_number(queue_head_position(queue)), next));
    queue_check(queue);
}

static void
take(bool for_good)
{
    bring_head_back();
    if (lent_count == LENT_MAX) {
        return;
    }
    struct queue_entry entry;
    uint64_t position;
    bool taken = for_good ? queue_pop(queue, &entry, &position)
                          : queue_lend(queue, &entry, &position) == STATUS_OK;
    if (!taken) {
        return;
    }
    uint64_t number = position_number(position);
    cr_assert(eq(u64, position_of(&entry), number));
    cr_assert(eq(int, messages[number].place, PLACE_READY));
    messages[number].place = for_good ? PLACE_GONE : PLACE_OUT;
    if (!for_good) {
        lent[lent_count].entry = entry;
        lent[lent_count++].position = position;
    }
}

static void
end_one(uint32_t at, bool is_returned)
{
    uint64_t position = lent[at].position;
    uint64_t number = position_number(position);
    if (is_returned) {
        queue_return(queue, &lent[at].entry, position);
        messages[number].place = PLACE_READY;
        messages[number].returned = ++return_count;
        first_ready = number < first_ready ? number : first_ready;
    } else {
        queue_settle(queue, &lent[at].entry, position);
        messages[number].place = PLACE_GONE;
    }
    lent[at] = lent[--lent_count];
}

/* One at a time -------------------------------------------------------------------------------- */

static void
expect_expired(uint64_t position)
{
    struct queue_entry entry;
    uint64_t place;
    enum status status = queue_take_expired(queue, now_ms, &entry, &place);
    cr_assert(eq(int, status, STATUS_OK));
    cr_expect(eq(u64, position_of(&entry), position));
    cr_expect(eq(u64, position_number(place), position));
    messages[position].place = PLACE_GONE;
}

static void
expect_none(void)
{
    struct queue_entry entry;
    uint64_t place;
    enum status status = queue_take_expired(queue, now_ms, &entry, &place);
    cr_expect(eq(int, status, STATUS_AGAIN));
}

/* Others let a message with a short life wait for one with a long life in front of it. */
Test(expiry, message_dies_on_time_behind_one_that_lives_longer)
{
    (void)push(NEVER_MS);
    (void)push(1000);
    (void)push(500);
    (void)push(700);
    cr_expect(eq(u64, queue_next_deadline_ms(queue), 500));
    now_ms = 499;
    expect_none();
    now_ms = 500;
    expect_expired(3);
    expect_none();
    cr_expect(eq(u64, queue->ready_count, 3));
    now_ms = 1000;
    expect_expired(4);
    expect_expired(2);
    expect_none();
    compare_all();
}

/* The normal case: a time to live of the queue. */
Test(expiry, deadlines_in_order_need_no_rows)
{
    for (uint64_t i = 0; i < 1000; i++) {
        (void)push(1000 + 10 * i);
    }
    cr_expect(eq(u64, queue->times->index.count, 0));
    now_ms = 1005;
    expect_expired(1);
    cr_expect(eq(u64, queue_next_deadline_ms(queue), 1010));
}

Test(expiry, deadline_is_rounded_up_to_a_step)
{
    (void)push(1001);
    now_ms = 1009;
    expect_none();
    now_ms = 1010;
    expect_expired(1);
}

/* Who has it may still settle it. */
Test(expiry, lent_message_dies_when_it_comes_back_and_not_before)
{
    (void)push(NEVER_MS);
    (void)push(500);
    take(false);
    take(false);
    now_ms = 600;
    expect_none();
    cr_expect(eq(u64, queue->unacked_count, 2));
    end_one(1, true);
    expect_expired(2);
    end_one(0, true);
    expect_none();
    compare_all();
}

/* It stands in front of others, where it cannot be found by its position. */
Test(expiry, message_that_came_back_dies_among_others_that_came_back)
{
    for (int i = 0; i < 10; i++) {
        (void)push(i == 4 ? 500 : NEVER_MS);
        take(false);
    }
    while (lent_count > 0) {
        end_one(0, true);
    }
    now_ms = 500;
    expect_expired(5);
    compare_all();
    for (int i = 0; i < 9; i++) {
        take(true);
    }
    compare_all();
    cr_expect(eq(u64, queue->ready_count, 0));
    cr_expect(eq(u64, queue->times->dead_returned.count, 0));
}

Test(expiry, purge_forgets_deadlines_but_not_those_of_lent_messages)
{
    (void)push(NEVER_MS);
    (void)push(500);
    (void)push(400);
    take(false);
    take(false);
    struct queue_discards discards;
    queue_discards_init(&discards);
    discards.release = release_nothing;
    cr_expect(eq(u64, queue_purge(queue, &discards), 1));
    queue_discards_fini(&discards);
    messages[3].place = PLACE_GONE;
    queue_check(queue);
    end_one(1, true);
    now_ms = 500;
    expect_expired(2);
    end_one(0, false);
    queue_check(queue);
}

/* Ten years, in steps of 10 ms, are more than the entry holds. */
Test(expiry, deadline_may_be_further_away_than_an_entry_can_say)
{
    uint64_t far_ms = UINT64_C(315360000000);
    (void)push(far_ms);
    (void)push(far_ms - 50);
    cr_expect(eq(u64, queue_next_deadline_ms(queue), far_ms - 50));
    take(false);
    end_one(0, true);
    now_ms = far_ms - 1;
    expect_expired(2);
    expect_none();
    take(false);
    now_ms = far_ms;
    expect_none();
    end_one(0, true);
    expect_expired(1);
    expect_none();
    queue_check(queue);
    cr_expect(eq(u64, queue->times->far.count, 0));
}

/* The long life stands in front, which has a row of its own. */
Test(expiry, message_dies_on_time_behind_one_whose_deadline_is_years_away)
{
    (void)push(UINT64_C(315360000000));
    (void)push(1000);
    (void)push(2000);
    cr_expect(eq(u64, queue_next_deadline_ms(queue), 1000));
    now_ms = 1000;
    expect_expired(2);
    expect_none();
    now_ms = 2000;
    expect_expired(3);
    expect_none();
    cr_expect(eq(u64, queue->ready_count, 1));
    queue_check(queue);
}

/* Where even that cannot be noted, the message lives on, and others still die on time behind it. */
Test(expiry, message_dies_on_time_behind_one_whose_deadline_was_lost)
{
    (void)push(500);
    take(true);
    alloc_faults_plan(1);
    (void)push(UINT64_C(315360000000));
    cr_assert(eq(u32, alloc_faults_left(), 0));
    (void)push(1000);
    cr_expect(eq(u64, queue_next_deadline_ms(queue), 1000));
    now_ms = 1000;
    expect_expired(3);
    expect_none();
}

/* A message without a deadline, once it is gone, costs those that come later no rows. */
Test(expiry, queue_that_ran_empty_begins_anew)
{
    (void)push(NEVER_MS);
    (void)push(1000);
    cr_expect(eq(u64, queue->times->index.count, 1));
    take(true);
    take(true);
    (void)push(900);
    (void)push(1000);
    cr_expect(eq(u64, queue->times->index.count, 0));
}

/* Without memory --------------------------------------------------------------------------------
 */

/* It is never handed out late, but those behind a message that lives longer do not see it die. */
Test(expiry, message_without_a_row_dies_at_the_head)
{
    (void)push(NEVER_MS);
    alloc_faults_plan(1);
    (void)push(500);
    alloc_faults_plan(0);
    cr_expect(eq(u64, queue->times->index.count, 0));
    now_ms = 500;
    expect_none();
    take(true);
    expect_expired(2);
    compare_all();
}

Test(expiry, message_that_is_refused_for_want_of_memory_leaves_no_row)
{
    (void)push(NEVER_MS);
    (void)push(1000);
    alloc_faults_plan(1);
    struct queue_entry entry = entry_at(3);
    enum status status = STATUS_OK;
    for (int i = 3; status == STATUS_OK; i++) {
        entry = entry_at((uint64_t)i);
        status = queue_push_until(queue, &entry, 500);
        pushed_count += status == STATUS_OK ? 1 : 0;
    }
    alloc_faults_plan(0);
    cr_expect(eq(u64, queue->times->index.count, pushed_count - 1));
    queue_check(queue);
}

Test(expiry, returned_message_that_cannot_die_for_want_of_memory_dies_later)
{
    (void)push(NEVER_MS);
    (void)push(500);
    take(false);
    take(false);
    end_one(0, true);
    end_one(0, true);
    now_ms = 500;
    struct queue_entry entry;
    uint64_t place;
    alloc_faults_plan(1);
    enum status status = queue_take_expired(queue, now_ms, &entry, &place);
    alloc_faults_plan(0);
    cr_expect(eq(int, status, STATUS_NO_MEMORY));
    cr_expect(eq(u64, queue->ready_count, 2));
    queue_check(queue);
    expect_expired(2);
    compare_all();
}

/* What came back to a quorum queue stands in the order of its return, and needs a row then. */
Test(expiry, quorum_queue_makes_up_for_rows_that_it_had_no_memory_for)
{
    make_quorum_queue();
    (void)push(500);
    (void)push(600);
    take(false);
    take(false);
    alloc_faults_plan(1);
    end_one(1, true);
    end_one(0, true);
    alloc_faults_plan(0);
    cr_expect(queue->times->lacks_rows);
    enum status status = queue_add_missing_rows(queue);
    cr_expect(eq(int, status, STATUS_OK));
    cr_expect(not(queue->times->lacks_rows));
    now_ms = 550;
    expect_expired(1);
    expect_none();
    compare_all();
}

/* Everything at once --------------------------------------------------------------------------- */

static uint64_t
random_deadline(const struct random_source *random)
{
    switch (random_u64(random) % 8) {
    case 0:
        return NEVER_MS;
    case 1:
        return 0;
    case 2:
        return UINT64_C(60000000000) + random_u64(random) % 100;
    case 3:
    case 4:
        return now_ms + random_u64(random) % 400;
    default:
        return now_ms + 2000;
    }
}

static void
push_some(const struct random_source *random)
{
    for (uint64_t count = random_u64(random) % 400; count > 0 && pushed_count < MESSAGES_MAX;
         count--) {
        (void)push(random_deadline(random));
    }
}

static void
take_some(const struct random_source *random)
{
    for (uint64_t count = random_u64(random) % 300; count > 0; count--) {
        take(random_u64(random) % 2 == 0);
    }
}

static void
end_some(const struct random_source *random)
{
    for (uint64_t count = random_u64(random) % 200; count > 0 && lent_count > 0; count--) {
        end_one((uint32_t)(random_u64(random) % lent_count), random_u64(random) % 4 != 0);
    }
}

/* What is due is taken out before anything is lent, as the broker does. */
static void
do_something(const struct random_source *random)
{
    switch (random_u64(random) % 8) {
    case 0:
    case 1:
    case 2:
        push_some(random);
        break;
    case 3:
        take_some(random);
        break;
    case 4:
        end_some(random);
        break;
    case 5:
        now_ms += random_u64(random) % 300;
        break;
    case 6:
        is_writing = is_writing || entry_memory_begin_spill(&memory, true, &writing);
        break;
    default:
        if (is_writing) {
            end_writing(random_u64(random) % 8 != 0);
        }
    }
    expire();
}

static void
compare_at_random(uint64_t seed)
{
    uint64_t state = seed;
    struct random_source random = random_seeded(&state);
    while (pushed_count < MESSAGES_MAX) {
        do_something(&random);
        if (random_u64(&random) % 4 == 0) {
            compare_all();
        }
    }
}

Test(expiry, every_message_dies_on_time_wherever_it_stands)
{
    compare_at_random(11);
}

Test(expiry, every_message_of_a_quorum_queue_dies_on_time)
{
    make_quorum_queue();
    compare_at_random(12);
}

/* The queue's only message has come back, is taken out wherever it stands, and another one comes
 * before that is over, as when it is sent on to the queue that it is in. */
static void
take_returned_and_push(uint64_t due_ms)
{
    struct queue_entry first = {.size = 10};
    struct queue_entry second = {.size = 20};
    uint64_t position;
    cr_assert(eq(int, (int)queue_push(queue, &first), STATUS_OK));
    cr_assert(eq(int, (int)queue_lend(queue, &first, &position), STATUS_OK));
    queue_return(queue, &first, position);
    cr_assert(eq(int, (int)queue_take_at(queue, STAND_RETURNED, position, &first), STATUS_OK));
    enum status status =
        due_ms == NEVER_MS ? queue_push(queue, &second) : queue_push_until(queue, &second, due_ms);
    cr_assert(eq(int, (int)status, STATUS_OK));
    queue_end_taking(queue, position);
    queue_check(queue);
    cr_expect(eq(u64, queue->ready_count, 1));
    struct queue_entry taken;
    cr_assert(queue_pop(queue, &taken, &position));
    cr_expect(eq(u32, taken.size, 20), "what was taken out is not there again");
    cr_expect(not(queue_pop(queue, &taken, &position)));
}

Test(expiry, what_came_back_and_was_taken_stays_gone_when_another_comes)
{
    take_returned_and_push(NEVER_MS);
}

Test(expiry, what_came_back_and_was_taken_stays_gone_when_one_comes_that_dies)
{
    take_returned_and_push(5000);
}

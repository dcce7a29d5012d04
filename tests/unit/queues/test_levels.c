/* SPDX-License-Identifier: Apache-2.0 */
/* Messages by priority, with and without deadlines, in memory and spilled, against a list of
 * messages that is searched from end to end. */
#include "queues/levels.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <stdlib.h>

#include "amqp/table.h"
#include "base/random.h"
#include "queues/clocks.h"
#include "queues/expiry.h"
#include "store/spill_space.h"
#include "tests/support/alloc_faults.h"

enum { MESSAGES_MAX = 30000, LENT_MAX = 400 };

enum place { PLACE_GONE, PLACE_READY, PLACE_OUT };

/* By number; the first is 1. */
static struct message {
    enum place place;
    uint8_t level;
    uint64_t due_ms;
    uint64_t returned;   /* when it came back; 0: it has not */
    uint64_t arrived_ms; /* when it came */
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
declare(int max_priority, const char *type)
{
    struct buffer arguments;
    buffer_init(&arguments);
    if (max_priority >= 0) {
        table_put_integer(&arguments, "x-max-priority", max_priority);
    }
    table_put_text(&arguments, "x-queue-type", bytes_of(type));
    queue_unref(&queue);
    struct queue_properties properties = {
        .name = bytes_of("q"), .arguments = buffer_bytes(&arguments), .durable = true};
    queue = queue_new(1, &properties);
    queue_count_memory(queue, &memory);
    buffer_fini(&arguments);
}

static void
set_up(void)
{
    entry_memory_init(&memory);
    memory.space = spill_space_new();
    declare(9, "classic");
    pool = chunk_pool_new();
    file = calloc(1, SPILL_FILE_SIZE);
    pushed_count = return_count = 0;
    now_ms = DUE_STEP_MS;
    memory.now_ms = (int64_t)now_ms;
    lent_count = 0;
    first_ready = 1;
    is_writing = false;
}

static void
release_nothing(void *context, uint64_t queue_id, const struct queue_entry *entry)
{
    (void)queue_id;
    (void)entry;
    ++*(uint64_t *)context;
}

static void
end_writing(bool is_written)
{
    memcpy(file + spill_place_offset(writing.place), writing.octets, writing.size);
    entry_pages_end_spill(&writing, is_written, pool);
    is_writing = false;
}

/* How many were released without being read back. */
static uint64_t
purge(void)
{
    uint64_t released_count = 0;
    struct queue_discards discards;
    queue_discards_init(&discards);
    discards.release = release_nothing;
    discards.context = &released_count;
    (void)queue_purge(queue, &discards);
    queue_check(queue);
    queue_discards_fini(&discards);
    return released_count;
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
    (void)purge();
    queue_unref(&queue);
    cr_expect(eq(u64, memory.bytes, 0), "what the queue held is given back");
    spill_space_free(&memory.space);
    chunk_pool_free(&pool);
    free(file);
}

TestSuite(levels, .init = set_up, .fini = tear_down);

/* Pushing and taking --------------------------------------------------------------------------- */

/* A fifth of the messages is in no log: those are told apart by their content, the others by their
 * LSN. */
static struct queue_entry
entry_of(uint64_t number)
{
    bool is_logged = number % 5 != 0;
    struct queue_entry entry = {.size = (uint32_t)(number % 100)};
    entry.lsn_and_flags = queue_entry_pack(is_logged ? 8 * number : 0, 0);
    entry.content.bits = is_logged ? 0 : number;
    return entry;
}

static uint64_t
number_of(const struct queue_entry *entry)
{
    uint64_t lsn = queue_entry_lsn(entry);
    return lsn != 0 ? lsn / 8 : entry->content.bits;
}

/* Pushes a message of that priority; `due_ms` is NEVER_MS or its deadline. */
static enum status
try_push(int priority, uint64_t due_ms)
{
    uint8_t level = queue_level(queue, priority);
    if (queue_reserve(queue, level) != STATUS_OK) {
        return STATUS_NO_MEMORY;
    }
    struct queue_entry entry = entry_of(pushed_count + 1);
    memory.now_ms = (int64_t)now_ms;
    queue_turn_to_level(queue, level);
    enum status status =
        due_ms == NEVER_MS ? queue_push(queue, &entry) : queue_push_until(queue, &entry, due_ms);
    queue_serve_highest(queue);
    cr_assert(eq(int, status, STATUS_OK), "room was reserved");
    uint64_t rounded_ms = (due_ms + DUE_STEP_MS - 1) / DUE_STEP_MS * DUE_STEP_MS;
    messages[++pushed_count] = (struct message){
        .place = PLACE_READY,
        .level = level,
        .due_ms = due_ms == NEVER_MS      ? NEVER_MS
                  : due_ms <= DUE_STEP_MS ? DUE_STEP_MS
                                          : rounded_ms,
        .arrived_ms = now_ms,
    };
    return STATUS_OK;
}

static void
push_until(int priority, uint64_t due_ms)
{
    enum status status = try_push(priority, due_ms);
    cr_assert(eq(int, status, STATUS_OK));
}

static void
push(int priority)
{
    push_until(priority, NEVER_MS);
}

/* Reads the next run of a deque back; `is_read`: or finds that it is lost. */
static struct entry_loss
read_run(struct entry_deque *deque, bool is_read)
{
    struct entry_spill reading;
    struct entry_loss loss;
    cr_assert(entry_deque_begin_read(deque, &reading));
    memcpy(reading.octets, file + spill_place_offset(reading.place), reading.size);
    enum status status = entry_pages_end_read(&reading, is_read, &loss);
    cr_assert(eq(int, status, STATUS_OK));
    return loss;
}

static void
bring_heads_back(void)
{
    for (bool again = true; again;) {
        again = false;
        for (unsigned i = 0; i <= queue->level_max; i++) {
            struct entry_deque *deque = queue_deque_of(queue, position_of_level((uint8_t)i));
            if (entry_deque_head_is_away(deque)) {
                (void)read_run(deque, true);
                again = true;
            }
        }
    }
}

/* Whether `a` is handed out before `b`, which came earlier. */
static bool
comes_before(const struct message *a, const struct message *b)
{
    bool is_quorum = queue->settings->type == QUEUE_TYPE_QUORUM;
    if (is_quorum && (a->returned != 0 || b->returned != 0)) {
        return a->returned != 0 && (b->returned == 0 || a->returned < b->returned);
    }
    return a->level > b->level;
}

/* What comes next, and when something is due, by looking at all. */
static uint64_t
look_at_all(uint64_t *next_due_out)
{
    uint64_t next = 0;
    uint64_t count = 0;
    *next_due_out = NEVER_MS;
    while (first_ready <= pushed_count && messages[first_ready].place == PLACE_GONE) {
        first_ready++;
    }
    for (uint64_t i = first_ready; i <= pushed_count; i++) {
        const struct message *message = &messages[i];
        if (message->place != PLACE_READY) {
            continue;
        }
        count++;
        next = next == 0 || comes_before(message, &messages[next]) ? i : next;
        *next_due_out = message->due_ms < *next_due_out ? message->due_ms : *next_due_out;
    }
    cr_assert(eq(u64, queue->ready_count, count));
    return next;
}

/* An age is wrong by a hundredth at most; 1 for rounding. */
static bool
is_about(uint64_t ms, uint64_t true_ms)
{
    uint64_t error_ms = (now_ms - true_ms) / 100 + 1;
    return ms + error_ms >= true_ms && ms <= true_ms + error_ms;
}

static void
compare_clocks(void)
{
    struct queue_clock_reading reading;
    uint64_t oldest_ms[] = {[PLACE_READY] = NEVER_MS, [PLACE_OUT] = NEVER_MS};
    for (uint64_t i = 1; i <= pushed_count; i++) {
        const struct message *message = &messages[i];
        if (message->place != PLACE_GONE && message->arrived_ms < oldest_ms[message->place]) {
            oldest_ms[message->place] = message->arrived_ms;
        }
    }
    memory.now_ms = (int64_t)now_ms;
    queue_read_clocks(queue, &reading);
    bool is_ready = oldest_ms[PLACE_READY] != NEVER_MS;
    bool is_lent = oldest_ms[PLACE_OUT] != NEVER_MS;
    cr_assert(eq(int, is_ready, reading.oldest_ready_ms != NEVER_MS));
    cr_assert(eq(int, is_lent, reading.oldest_unacked_ms != NEVER_MS));
    if (is_ready) {
        cr_assert(is_about(now_ms - reading.oldest_ready_ms, oldest_ms[PLACE_READY]));
    }
    if (is_lent) {
        cr_assert(is_about(now_ms - reading.oldest_unacked_ms, oldest_ms[PLACE_OUT]));
    }
}

static void
compare_all(void)
{
    compare_clocks();
    uint64_t next_due_ms;
    bring_heads_back();
    uint64_t next = look_at_all(&next_due_ms);
    cr_assert(ge(u64, next_due_ms, now_ms + 1), "what is due has died");
    if (queue->times != NULL) {
        cr_assert(le(u64, queue_next_deadline_ms(queue), next_due_ms));
    }
    const struct queue_entry *head = queue_peek(queue);
    cr_assert(eq(u64, head == NULL ? 0 : number_of(head), next));
    queue_check(queue);
}

/* Returns the number of what was taken; 0: nothing. */
static uint64_t
take(bool for_good)
{
    struct queue_entry entry;
    uint64_t position;
    bring_heads_back();
    if (!for_good && lent_count == LENT_MAX) {
        return 0;
    }
    bool taken = for_good ? queue_pop(queue, &entry, &position)
                          : queue_lend(queue, &entry, &position) == STATUS_OK;
    if (!taken) {
        return 0;
    }
    struct message *message = &messages[number_of(&entry)];
    cr_assert(eq(int, message->place, PLACE_READY));
    cr_assert(queue->level_max == 0 || position_level(position) == message->level);
    cr_assert(for_good || is_about(queue_arrival_ms(queue, position), message->arrived_ms));
    message->place = for_good ? PLACE_GONE : PLACE_OUT;
    if (!for_good) {
        lent[lent_count].entry = entry;
        lent[lent_count++].position = position;
    }
    return number_of(&entry);
}

static void
end_one(uint32_t at, bool is_returned)
{
    uint64_t number = number_of(&lent[at].entry);
    if (is_returned) {
        queue_return(queue, &lent[at].entry, lent[at].position);
        messages[number].place = PLACE_READY;
        messages[number].returned = ++return_count;
        first_ready = number < first_ready ? number : first_ready;
    } else {
        queue_settle(queue, &lent[at].entry, lent[at].position);
        messages[number].place = PLACE_GONE;
    }
    lent[at] = lent[--lent_count];
}

/* Lets everything die that is due, in the order of deadlines. */
static void
expire(void)
{
    uint64_t last_ms = 0;
    struct queue_entry entry;
    uint64_t position;
    while (queue->times != NULL) {
        bring_heads_back();
        enum status status = queue_take_expired(queue, now_ms, &entry, &position);
        if (status == STATUS_AGAIN) {
            break;
        }
        if (status == STATUS_OK) {
            struct message *message = &messages[number_of(&entry)];
            cr_assert(eq(int, message->place, PLACE_READY));
            cr_assert(le(u64, message->due_ms, now_ms));
            cr_assert(ge(u64, message->due_ms, last_ms), "in the order of deadlines");
            last_ms = message->due_ms;
            message->place = PLACE_GONE;
        }
    }
}

static void
expect_taken(const uint64_t *numbers, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        cr_expect(eq(u64, take(true), numbers[i]), "message %zu", i);
    }
    cr_expect(eq(u64, take(true), 0), "nothing more is there");
}

#define EXPECT_TAKEN(...)                                                                          \
    expect_taken((const uint64_t[]){__VA_ARGS__}, sizeof((const uint64_t[]){__VA_ARGS__}) / 8)

/* One at a time -------------------------------------------------------------------------------- */

Test(levels, higher_priorities_come_first_and_equals_in_order)
{
    static const int priorities[] = {1, 5, PRIORITY_ABSENT, 5, 9, 0, 1};
    for (size_t i = 0; i < ARRAY_LEN(priorities); i++) {
        push(priorities[i]);
    }
    EXPECT_TAKEN(5, 2, 4, 1, 7, 3, 6);
}

/* RabbitMQ: what is above the highest level counts as the highest. */
Test(levels, priority_above_the_highest_counts_as_the_highest)
{
    push(9);
    push(200);
    push(8);
    EXPECT_TAKEN(1, 2, 3);
}

/* RabbitMQ: x-max-priority of 0 acts as 1. */
Test(levels, highest_priority_of_0_has_two_levels)
{
    declare(0, "classic");
    push(0);
    push(7);
    EXPECT_TAKEN(2, 1);
}

Test(levels, there_are_as_many_as_an_octet_can_say)
{
    declare(255, "classic");
    push(255);
    push(254);
    push(0);
    push(255);
    EXPECT_TAKEN(1, 4, 2, 3);
}

/* RabbitMQ 4.3: 32 levels, and what has no priority stands at 4. */
Test(levels, quorum_queue_has_32_and_absent_means_4)
{
    declare(-1, "quorum");
    push(PRIORITY_ABSENT);
    push(3);
    push(5);
    push(31);
    push(255);
    push(4);
    push(0);
    EXPECT_TAKEN(4, 5, 3, 1, 6, 2, 7);
}

Test(levels, queue_without_priorities_has_none)
{
    declare(-1, "classic");
    for (int i = 0; i < 10; i++) {
        push(i);
    }
    cr_expect(eq(ptr, queue->levels, NULL));
    EXPECT_TAKEN(1, 2, 3, 4, 5, 6, 7, 8, 9, 10);
}

/* What nobody uses costs nothing: a quorum queue is one deque until a second level comes. */
Test(levels, nothing_is_made_before_the_second_level_comes)
{
    declare(-1, "quorum");
    for (int i = 0; i < 10; i++) {
        push(i % 2 == 0 ? PRIORITY_ABSENT : 4);
    }
    cr_expect(eq(ptr, queue->levels, NULL));
    push(5);
    cr_expect(ne(ptr, queue->levels, NULL));
}

Test(levels, message_that_comes_back_takes_its_place_in_its_level)
{
    push(1);
    push(5);
    push(5);
    push(1);
    for (int i = 0; i < 3; i++) {
        (void)take(false);
    }
    push(5);
    push(9);
    while (lent_count > 0) {
        end_one(0, true); /* 2, 1, 3 */
    }
    queue_check(queue);
    EXPECT_TAKEN(6, 2, 3, 5, 1, 4);
}

/* RabbitMQ 4.3: returned messages of a quorum queue are served first, in the order of return. */
Test(levels, quorum_queue_serves_returned_messages_before_all_levels)
{
    declare(-1, "quorum");
    push(1);
    push(5);
    (void)take(false);
    (void)take(false);
    push(31);
    end_one(1, true);
    end_one(0, true);
    EXPECT_TAKEN(1, 2, 3);
}

/* Positions say in which order messages are served. */
Test(levels, positions_rise_in_the_order_of_service)
{
    uint64_t last = 0;
    for (int i = 0; i < 100; i++) {
        push(i * 7 % 10);
    }
    for (int i = 0; i < 100; i++) {
        struct queue_entry entry;
        uint64_t position;
        cr_assert(queue_pop(queue, &entry, &position));
        cr_assert(ge(u64, position, last + 1));
        last = position;
        messages[number_of(&entry)].place = PLACE_GONE;
    }
}

/* What the log keeps of most messages is nothing. */
Test(levels, log_keeps_how_far_a_level_is_above_that_of_a_message_without_one)
{
    cr_expect(eq(u8, queue_logged_level(queue, 0), 0));
    cr_expect(eq(u8, queue_logged_level(queue, 9), 9));
    cr_expect(eq(u8, queue_level_from_log(queue, 7), 7));
    cr_expect(eq(u8, queue_level_from_log(queue, 100), 9), "no more than there are");
    declare(-1, "quorum");
    cr_expect(eq(u8, queue_logged_level(queue, 4), 0));
    for (unsigned level = 0; level <= 31; level++) {
        uint8_t logged = queue_logged_level(queue, (uint8_t)level);
        cr_expect(eq(u8, queue_level_from_log(queue, logged), (uint8_t)level));
    }
}

/* Others look only at the level that is served. */
Test(levels, message_dies_on_time_in_a_level_that_is_not_served)
{
    push(9);
    push_until(1, 500);
    push_until(1, 600);
    push_until(0, 400);
    cr_expect(eq(u64, queue_next_deadline_ms(queue), 400));
    now_ms = 550;
    expire();
    compare_all();
    EXPECT_TAKEN(1, 3);
}

/* It came in the order of deadlines when there was one level, and so has no row in the index. */
Test(levels, returned_message_dies_on_time_behind_a_level_that_came_later)
{
    push_until(0, 500);
    push_until(0, 600);
    (void)take(false);
    end_one(0, true);
    push(9);
    now_ms = 500;
    expire();
    compare_all();
    EXPECT_TAKEN(3, 2);
}

/* Each level remembers its own latest deadline. */
Test(levels, deadlines_in_order_within_their_levels_need_no_rows)
{
    for (uint64_t i = 0; i < 1000; i++) {
        push_until((int)(i % 3), 1000 + 10 * (i % 3 == 0 ? i : i + 100));
    }
    cr_expect(eq(u64, queue->times->index.count, 0));
    now_ms = 1500;
    expire();
    compare_all();
}

Test(levels, purge_empties_all_levels)
{
    for (int i = 0; i < 100; i++) {
        push(i % 10);
    }
    (void)take(false);
    cr_expect(eq(u64, purge(), 99));
    cr_expect(eq(u64, queue->ready_count, 0));
    for (uint64_t i = 1; i <= pushed_count; i++) {
        messages[i].place = messages[i].place == PLACE_OUT ? PLACE_OUT : PLACE_GONE;
    }
    push(3);
    end_one(0, true); /* of level 9 */
    EXPECT_TAKEN(10, 101);
}

Test(levels, memory_of_all_levels_is_the_queue_s)
{
    for (int i = 0; i < 5000; i++) {
        push(i % 10);
    }
    cr_expect(eq(u64, queue_memory_bytes(queue), memory.bytes));
    cr_expect(ge(u64, queue_memory_bytes(queue), 5000 * sizeof(struct queue_entry)));
}

/* A transaction makes room in every level first. */
Test(levels, announced_messages_find_room_in_their_levels)
{
    for (int i = 0; i < 2000; i++) {
        queue_announce(queue, 1);
        enum status status = queue_announce_level(queue, queue_level(queue, i % 10));
        cr_assert(eq(int, status, STATUS_OK));
    }
    enum status status = queue_reserve_announced(queue);
    cr_assert(eq(int, status, STATUS_OK));
    alloc_faults_plan(1);
    for (int i = 0; i < 2000; i++) {
        struct queue_entry entry = entry_of(++pushed_count);
        messages[pushed_count] =
            (struct message){.place = PLACE_READY, .level = (uint8_t)(i % 10), .due_ms = NEVER_MS};
        messages[pushed_count].arrived_ms = now_ms;
        queue_turn_to_level(queue, (uint8_t)(i % 10));
        status = queue_push(queue, &entry);
        queue_serve_highest(queue);
        cr_assert(eq(int, status, STATUS_OK));
    }
    cr_expect(eq(u32, alloc_faults_left(), 1), "nothing was allocated any more");
    alloc_faults_plan(0);
    cr_expect(eq(ptr, memory.spares, NULL), "and nothing too much before");
    compare_all();
}

Test(levels, forgotten_announcements_leave_nothing_behind)
{
    push(0);
    queue_announce(queue, 1);
    enum status status = queue_announce_level(queue, 5);
    cr_assert(eq(int, status, STATUS_OK));
    queue_forget_announced(queue);
    compare_all();
}

Test(levels, no_memory_for_a_second_level_changes_nothing)
{
    push(0);
    alloc_faults_plan(1);
    enum status status = try_push(5, NEVER_MS);
    cr_expect(eq(int, status, STATUS_NO_MEMORY));
    alloc_faults_plan(1);
    queue_announce(queue, 1);
    status = queue_announce_level(queue, 5);
    cr_expect(eq(int, status, STATUS_NO_MEMORY));
    queue_forget_announced(queue);
    cr_expect(eq(ptr, queue->levels, NULL));
    compare_all();
    alloc_faults_plan(2); /* the levels are made, and there is none for the block */
    status = try_push(5, NEVER_MS);
    cr_expect(eq(int, status, STATUS_NO_MEMORY));
    compare_all();
    push(5);
    EXPECT_TAKEN(2, 1);
}

/* Backlogs --------------------------------------------------------------------------------------
 */

static void
spill_all(void)
{
    while (entry_memory_begin_spill(&memory, true, &writing)) {
        is_writing = true;
        end_writing(true);
    }
}

static void
push_backlog(void)
{
    for (int i = 0; i < 12000; i++) {
        push(i % 3);
    }
}

Test(levels, backlog_of_a_level_that_is_not_served_is_spilled_and_comes_back)
{
    push_backlog();
    spill_all();
    for (unsigned level = 0; level < 3; level++) {
        cr_assert(queue_deque_of(queue, position_of_level((uint8_t)level))->has_runs);
    }
    compare_all();
    push(9);
    cr_expect(eq(u64, take(true), 12001));
    for (int level = 2; level >= 0; level--) {
        for (int i = level; i < 12000; i += 3) {
            cr_assert(eq(u64, take(true), (uint64_t)i + 1));
        }
    }
    compare_all();
}

/* Levels change places while a job of one of them is under way. */
Test(levels, run_that_comes_back_finds_its_level)
{
    push_backlog();
    spill_all();
    struct entry_deque *deque = queue_deque_of(queue, position_of_level(2));
    struct entry_spill reading;
    struct entry_loss loss;
    cr_assert(eq(ptr, deque, &queue->deque), "it is served");
    cr_assert(entry_deque_begin_read(deque, &reading));
    memcpy(reading.octets, file + spill_place_offset(reading.place), reading.size);
    push(9);
    cr_assert(ne(ptr, queue_deque_of(queue, position_of_level(2)), &queue->deque));
    enum status status = entry_pages_end_read(&reading, true, &loss);
    cr_assert(eq(int, status, STATUS_OK));
    compare_all();
}

/* A disk that does not give a run back takes messages of one level. */
Test(levels, lost_run_is_counted_in_its_level)
{
    push_backlog();
    spill_all();
    struct entry_deque *deque = queue_deque_of(queue, position_of_level(1));
    struct entry_loss loss = read_run(deque, false);
    cr_assert(ge(u64, loss.count, 1000));
    queue_lose(queue, deque, &loss);
    cr_expect(eq(u64, queue->ready_count, 12000 - loss.count));
    queue_check(queue);
    struct queue_entry entry;
    uint64_t position;
    uint64_t taken_count = 0;
    for (bring_heads_back(); queue_pop(queue, &entry, &position); bring_heads_back()) {
        taken_count++;
    }
    cr_expect(eq(u64, taken_count, 12000 - loss.count));
    queue_check(queue);
    for (uint64_t i = 1; i <= pushed_count; i++) {
        messages[i].place = PLACE_GONE;
    }
}

/* It was read for a purge: the queue has nothing to do with it any more. */
Test(levels, loss_of_somebody_else_s_deque_changes_nothing)
{
    struct entry_deque other = {0};
    struct entry_loss loss = {.count = 1, .bytes = 1};
    push(0);
    push(1);
    queue_lose(queue, &other, &loss);
    compare_all();
}

/* Everything at once --------------------------------------------------------------------------- */

static uint64_t
random_deadline(const struct random_source *random)
{
    switch (random_u64(random) % 8) {
    case 0:
    case 1:
        return NEVER_MS;
    case 2:
        return random_u64(random) % 4 == 0 ? 0 : UINT64_C(60000000000) + random_u64(random) % 100;
    case 3:
    case 4:
        return now_ms + random_u64(random) % 400;
    default:
        return now_ms + 2000;
    }
}

/* Mostly a few levels, in runs; now and then another. */
static void
push_some(const struct random_source *random)
{
    static const int usual[] = {PRIORITY_ABSENT, 1, 4, 7};
    int priority = usual[random_u64(random) % ARRAY_LEN(usual)];
    for (uint64_t count = random_u64(random) % 400; count > 0 && pushed_count < MESSAGES_MAX;
         count--) {
        bool is_other = random_u64(random) % 16 == 0;
        push_until(is_other ? (int)(random_u64(random) % 12) : priority, random_deadline(random));
    }
}

static void
take_some(const struct random_source *random)
{
    uint64_t ignored;
    for (uint64_t count = random_u64(random) % 300; count > 0; count--) {
        if (random_u64(random) % 64 == 0) {
            bring_heads_back();
            uint64_t next = look_at_all(&ignored);
            cr_assert(eq(u64, take(true), next));
        } else {
            (void)take(random_u64(random) % 2 == 0);
        }
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

Test(levels, queue_agrees_with_a_list_that_is_searched)
{
    compare_at_random(21);
}

Test(levels, quorum_queue_agrees_with_a_list_that_is_searched)
{
    declare(-1, "quorum");
    compare_at_random(22);
}

/* Room that is not there in time is made up for. */
Test(levels, queue_without_memory_now_and_then_agrees_with_the_list)
{
    uint64_t state = 23;
    struct random_source random = random_seeded(&state);
    for (int i = 0; i < 20000; i++) {
        alloc_faults_plan((uint32_t)(random_u64(&random) % 8));
        (void)try_push((int)(random_u64(&random) % 10), NEVER_MS);
        alloc_faults_plan(0);
        if (random_u64(&random) % 3 != 0) {
            (void)take(random_u64(&random) % 2 == 0);
        }
        if (lent_count > 0 && random_u64(&random) % 2 == 0) {
            end_one(0, random_u64(&random) % 2 == 0);
        }
        if (i % 500 == 0) {
            compare_all();
        }
    }
    entry_memory_free_spares(&memory);
}

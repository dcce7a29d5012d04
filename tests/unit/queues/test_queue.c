/* SPDX-License-Identifier: Apache-2.0 */
/* Order of messages against a model that keeps everything in one array, and whose turn it is. */
#include "queues/queue.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>

#include <stdio.h>

#include "amqp/table.h"
#include "base/alloc.h"
#include "base/random.h"
#include "queues/clocks.h"
#include "tests/support/alloc_faults.h"

enum { MODEL_MESSAGES = 20000, CONSUMERS_MAX = 8 };

static struct entry_memory memory;
static struct queue *queue;
static struct consumer *consumers[CONSUMERS_MAX];

static struct queue *
make_queue(const struct buffer *arguments)
{
    struct queue_properties properties = {
        .name = bytes_of("orders"),
        .arguments = arguments == NULL ? (struct bytes){0} : buffer_bytes(arguments),
    };
    struct queue *made = queue_new(7, &properties);
    queue_count_memory(made, &memory);
    return made;
}

/* The queue under test becomes one with these arguments. */
static void
declare_as(const char *type, bool single_active)
{
    struct buffer arguments;
    buffer_init(&arguments);
    table_put_text(&arguments, "x-queue-type", bytes_of(type));
    table_put_boolean(&arguments, "x-single-active-consumer", single_active);
    queue_unref(&queue);
    queue = make_queue(&arguments);
    buffer_fini(&arguments);
}

static void
set_up(void)
{
    entry_memory_init(&memory);
    queue = make_queue(NULL);
}

static void
tear_down(void)
{
    queue_unref(&queue);
    cr_expect(eq(u64, memory.bytes, 0), "what the queue held is given back");
}

TestSuite(queue, .init = set_up, .fini = tear_down);

static void
push(uint32_t size)
{
    struct queue_entry entry = {.content = {.bits = queue->next_position}, .size = size};
    enum status status = queue_push(queue, &entry);
    cr_assert(eq(int, status, STATUS_OK));
}

static struct queue_entry
lend(uint64_t *position)
{
    struct queue_entry entry;
    enum status status = queue_lend(queue, &entry, position);
    cr_assert(eq(int, status, STATUS_OK));
    return entry;
}

static void
drain(void)
{
    struct queue_entry entry;
    uint64_t position;
    while (queue_pop(queue, &entry, &position)) {
    }
}

/* Messages ------------------------------------------------------------------------------------- */

enum place { PLACE_NONE, PLACE_READY, PLACE_OUT };

static struct {
    enum place places[MODEL_MESSAGES + 1]; /* by position */
    bool redelivered[MODEL_MESSAGES + 1];
    uint64_t out[MODEL_MESSAGES];
    uint64_t out_count;
    uint64_t pushed_count;
    uint64_t first; /* nothing is ready below */
} model;

static uint64_t
model_next(void)
{
    while (model.first <= model.pushed_count && model.places[model.first] != PLACE_READY) {
        model.first++;
    }
    return model.first <= model.pushed_count ? model.first : 0;
}

static uint64_t
model_ready_count(void)
{
    uint64_t count = 0;
    for (uint64_t i = 1; i <= model.pushed_count; i++) {
        count += model.places[i] == PLACE_READY;
    }
    return count;
}

static void
take_and_compare(bool for_good)
{
    uint64_t expected = model_next();
    struct queue_entry entry;
    uint64_t position = 0;
    bool taken = for_good ? queue_pop(queue, &entry, &position)
                          : queue_lend(queue, &entry, &position) == STATUS_OK;
    cr_assert(eq(int, taken, expected != 0));
    if (!taken) {
        return;
    }
    bool redelivered = (queue_entry_flags(&entry) & ENTRY_REDELIVERED) != 0;
    cr_assert(eq(u64, position, expected));
    cr_assert(eq(u64, entry.content.bits, expected));
    cr_assert(eq(int, redelivered, model.redelivered[expected]));
    model.places[expected] = for_good ? PLACE_NONE : PLACE_OUT;
    if (!for_good) {
        model.out[model.out_count++] = position;
    }
}

static void
end_one(uint64_t choice, bool is_returned)
{
    if (model.out_count == 0) {
        return;
    }
    uint64_t at = choice % model.out_count;
    uint64_t position = model.out[at];
    model.out[at] = model.out[--model.out_count];
    struct queue_entry entry = {.content = {.bits = position}, .size = (uint32_t)position % 100};
    if (!is_returned) {
        queue_settle(queue, &entry, position);
        model.places[position] = PLACE_NONE;
        return;
    }
    queue_return(queue, &entry, position);
    model.places[position] = PLACE_READY;
    model.redelivered[position] = true;
    model.first = position < model.first ? position : model.first;
}

static void
step(uint64_t random)
{
    uint64_t action = random % 100;
    uint64_t choice = random >> 32;
    if (action < 40 && model.pushed_count < MODEL_MESSAGES) {
        push((uint32_t)queue->next_position % 100);
        model.places[++model.pushed_count] = PLACE_READY;
    } else if (action < 65) {
        take_and_compare(false);
    } else if (action < 75) {
        take_and_compare(true);
    } else {
        end_one(choice, action < 93);
    }
}

/* AMQP 0-9-1, 1.8.3.13 and RabbitMQ: a message that comes back takes its original position. */
Test(queue, hands_out_in_order_of_position_whatever_comes_back)
{
    uint64_t seed = 20261123;
    struct random_source random = random_seeded(&seed);
    model.first = 1;
    for (int i = 0; i < 60000; i++) {
        uint64_t word = random_u64(&random);
        /* Now long queues and now short ones. */
        uint64_t bursts = (uint64_t)(i / 1000) % 3 == 0 ? 12 : 1;
        for (uint64_t burst = 0; burst < bursts; burst++) {
            step(word);
        }
        if (i % 500 == 0) {
            queue_check(queue);
            cr_assert(eq(u64, queue->ready_count, model_ready_count()));
            cr_assert(eq(u64, queue->unacked_count, model.out_count));
        }
    }
    while (model.out_count > 0) {
        end_one(0, model.out_count % 2 == 0);
    }
    while (model_next() != 0) {
        take_and_compare(true);
    }
    cr_expect(eq(u64, queue->ready_bytes, 0));
    queue_check(queue);
}

/* RabbitMQ's quorum queues: returned ones first, in the order in which they came back. */
Test(queue, of_type_quorum_serves_returned_messages_first_in_order_of_return)
{
    declare_as("quorum", false);
    uint64_t positions[4];
    struct queue_entry entries[4];
    for (int i = 0; i < 4; i++) {
        push(1);
    }
    for (int i = 0; i < 3; i++) {
        entries[i] = lend(&positions[i]);
    }
    static const int order_of_return[] = {1, 0, 2};
    for (int i = 0; i < 3; i++) {
        queue_return(queue, &entries[order_of_return[i]], positions[order_of_return[i]]);
    }
    static const uint64_t expected[] = {2, 1, 3, 4};
    for (int i = 0; i < 4; i++) {
        struct queue_entry entry;
        uint64_t position;
        cr_assert(queue_pop(queue, &entry, &position));
        cr_expect(eq(u64, position_number(position), expected[i]));
    }
}

Test(queue, holds_no_memory_for_messages_before_the_first)
{
    cr_expect(eq(u64, queue_memory_bytes(queue), 0));
    cr_expect(le(sz, sizeof(*queue), 496));
}

Test(queue, that_was_drained_keeps_one_small_block_at_most)
{
    for (int i = 0; i < 5000; i++) {
        push(1);
    }
    cr_expect(ge(u64, queue_memory_bytes(queue), 5000 * 24));
    cr_expect(le(u64, queue_memory_bytes(queue), 5000 * 24 + 2 * 8192));
    drain();
    cr_expect(eq(u64, queue_memory_bytes(queue), 0));
    push(1);
    drain();
    cr_expect(le(u64, queue_memory_bytes(queue), 16 * 24 + 40));
}

Test(queue, allocates_nothing_for_a_short_steady_flow)
{
    push(1);
    drain();
    uint64_t held = queue_memory_bytes(queue);
    for (int i = 0; i < 100000; i++) {
        push(1);
        push(1);
        drain();
        cr_assert(eq(u64, queue_memory_bytes(queue), held));
    }
}

Test(queue, gives_back_the_room_kept_for_returns)
{
    enum { LENT = 10000 };
    uint64_t position;
    struct queue_entry entry = {0};
    for (int i = 0; i < LENT; i++) {
        push(1);
    }
    for (int i = 0; i < LENT; i++) {
        entry = lend(&position);
    }
    cr_expect(ge(u32, queue->returned_capacity, LENT));
    for (int i = 0; i < LENT; i++) {
        queue_settle(queue, &entry, position);
    }
    cr_expect(le(u32, queue->returned_capacity, 16));
    queue_check(queue);
}

/* Whatever becomes of what is lent, its octets are no longer counted as lent. */
Test(queue, octets_that_are_lent_are_counted)
{
    uint64_t positions[3];
    struct queue_entry entries[3];
    push(10);
    push(200);
    push(3000);
    for (int i = 0; i < 3; i++) {
        entries[i] = lend(&positions[i]);
    }
    cr_expect(eq(u64, queue->ready_bytes, 0));
    cr_expect(eq(u64, queue->clocks->lent_bytes, 3210));
    queue_return(queue, &entries[1], positions[1]);
    cr_expect(eq(u64, queue->ready_bytes, 200));
    cr_expect(eq(u64, queue->clocks->lent_bytes, 3010));
    queue_settle(queue, &entries[0], positions[0]);
    cr_expect(eq(u64, queue->clocks->lent_bytes, 3000));
    queue_settle(queue, &entries[2], positions[2]);
    cr_expect(eq(u64, queue->clocks->lent_bytes, 0));
    cr_assert(eq(int, queue_lend_again(queue, &entries[0], positions[0]), STATUS_OK));
    cr_expect(eq(u64, queue->clocks->lent_bytes, 10));
    queue_settle(queue, &entries[0], positions[0]);
    cr_expect(eq(u64, queue->clocks->lent_bytes, 0));
    drain();
}

Test(queue, that_finds_no_memory_refuses_and_stays_as_it_was)
{
    struct queue_entry entry = {.size = 1};
    alloc_faults_plan(1);
    enum status status = queue_push(queue, &entry);
    cr_expect(eq(int, status, STATUS_NO_MEMORY));
    cr_expect(eq(u64, queue->ready_count, 0));
    for (int i = 0; i < 16; i++) {
        push(1);
    }
    alloc_faults_plan(1); /* growing the first block */
    status = queue_push(queue, &entry);
    cr_expect(eq(int, status, STATUS_NO_MEMORY));
    uint64_t position;
    alloc_faults_plan(1); /* room for the return */
    status = queue_lend(queue, &entry, &position);
    cr_expect(eq(int, status, STATUS_NO_MEMORY));
    cr_expect(eq(u64, queue->ready_count, 16));
    cr_expect(eq(u64, queue->unacked_count, 0));
    queue_check(queue);
    drain();
}

static void
release_discarded(void *context, uint64_t queue_id, const struct queue_entry *entry)
{
    cr_expect(eq(u64, queue_id, queue->target.id));
    queue_entry_release(entry, context);
}

static struct content_ref
make_content(struct chunk_pool *pool)
{
    struct content_shape shape = {.body_size = 100};
    struct content_ref content;
    uint8_t *body;
    enum status status = chunk_pool_reserve(pool, &shape, &content, &body);
    cr_assert(eq(int, status, STATUS_OK));
    return content;
}

Test(queue, purge_drops_what_is_ready_and_nothing_else)
{
    struct chunk_pool *pool = chunk_pool_new();
    for (int i = 0; i < 1000; i++) {
        struct queue_entry entry = {.content = make_content(pool), .size = 100};
        queue_entry_retain(&entry, pool);
        chunk_pool_release(pool, entry.content);
        enum status status = queue_push(queue, &entry);
        cr_assert(eq(int, status, STATUS_OK));
    }
    uint64_t positions[2];
    struct queue_entry open = lend(&positions[0]);
    struct queue_entry back = lend(&positions[1]);
    queue_return(queue, &back, positions[1]);
    struct queue_discards discards;
    queue_discards_init(&discards);
    discards.release = release_discarded;
    discards.context = pool;
    cr_expect(eq(u64, queue_purge(queue, &discards), 999));
    cr_expect(lt(u64, discards.released_sequence, discards.discarded_sequence));
    cr_expect(eq(u64, queue->ready_count, 0));
    cr_expect(eq(u64, queue->ready_bytes, 0));
    cr_expect(eq(u64, queue->unacked_count, 1));
    queue_check(queue);
    queue_return(queue, &open, positions[0]);
    push(1);
    uint64_t position;
    struct queue_entry entry;
    cr_expect(queue_pop(queue, &entry, &position));
    cr_expect(eq(u64, position, 1));
    queue_entry_release(&entry, pool);
    cr_expect(queue_pop(queue, &entry, &position));
    cr_expect(eq(u64, position, 1001));
    /* Contents go in slices: emptying a queue of millions must hold nobody up. */
    int slices = 1;
    while (queue_discards_release(&discards, 100)) {
        slices++;
    }
    cr_expect(ge(int, slices, 3), "998 messages in blocks of 340");
    cr_expect(eq(u64, discards.released_sequence, discards.discarded_sequence));
    chunk_pool_end_tick(pool, chunk_pool_tick(pool));
    cr_expect(eq(u64, chunk_pool_bytes(pool), 0));
    chunk_pool_free(&pool);
}

/* Consumers ------------------------------------------------------------------------------------ */

static struct consumer *
join(int number, int64_t priority)
{
    char tag[16];
    snprintf(tag, sizeof(tag), "c%d", number);
    struct consumer *consumer = consumer_new(bytes_of(tag));
    consumer->priority = priority;
    consumers[number] = consumer;
    queue_add_consumer(queue, consumer);
    return consumer;
}

static void
leave(int number)
{
    queue_remove_consumer(queue, consumers[number]);
    consumers[number] = NULL;
}

static void
leave_all(void)
{
    for (int i = 0; i < CONSUMERS_MAX; i++) {
        if (consumers[i] != NULL) {
            leave(i);
        }
    }
}

static int
number_of(const struct consumer *consumer)
{
    for (int i = 0; i < CONSUMERS_MAX; i++) {
        if (consumer != NULL && consumers[i] == consumer) {
            return i;
        }
    }
    return -1;
}

/* Who is served, one digit each, `count` times; a dash where nobody is. */
static const char *
serve(int count, char *out)
{
    for (int i = 0; i < count; i++) {
        struct consumer *consumer = queue_next_consumer(queue);
        out[i] = '-';
        if (consumer != NULL) {
            out[i] = "01234567"[number_of(consumer)];
            queue_consumer_served(queue, consumer);
        }
        queue_check(queue);
    }
    out[count] = '\0';
    return out;
}

Test(queue, serves_consumers_of_equal_priority_in_turn)
{
    char served[16];
    for (int i = 0; i < 3; i++) {
        join(i, 0);
    }
    cr_expect(eq(str, (char *)serve(7, served), "0120120"));
    queue_consumer_not_ready(consumers[1]);
    cr_expect(eq(str, (char *)serve(4, served), "2020"));
    queue_consumer_ready(queue, consumers[1]);
    cr_expect(eq(str, (char *)serve(4, served), "2012"));
    leave_all();
}

/* RabbitMQ: a high priority is served while it can take messages; a blocked one holds nobody up. */
Test(queue, serves_the_highest_priority_that_is_ready)
{
    char served[16];
    join(0, -5);
    join(1, 10);
    join(2, 0);
    join(3, 10);
    cr_expect(eq(str, (char *)serve(4, served), "1313"));
    queue_consumer_not_ready(consumers[1]);
    cr_expect(eq(str, (char *)serve(2, served), "33"));
    queue_consumer_not_ready(consumers[3]);
    cr_expect(eq(str, (char *)serve(2, served), "22"));
    leave(2);
    cr_expect(eq(str, (char *)serve(2, served), "00"));
    queue_consumer_ready(queue, consumers[1]);
    cr_expect(eq(str, (char *)serve(2, served), "11"));
    leave_all();
    cr_expect(eq(str, (char *)serve(1, served), "-"));
}

Test(queue, serves_every_consumer_of_many_exactly_once_a_round)
{
    enum { MANY = 300 };
    static struct consumer *many[MANY];
    for (int i = 0; i < MANY; i++) {
        many[i] = consumer_new(bytes_of("m"));
        many[i]->priority = i % 3;
        queue_add_consumer(queue, many[i]);
    }
    for (int round = 0; round < 3; round++) {
        for (int i = 2; i < MANY; i += 3) {
            struct consumer *consumer = queue_next_consumer(queue);
            cr_assert(eq(ptr, consumer, many[i]));
            queue_consumer_served(queue, consumer);
        }
    }
    for (int i = 0; i < MANY; i += 2) {
        queue_consumer_not_ready(many[i]);
        queue_check(queue);
    }
    for (int i = 0; i < MANY; i++) {
        queue_remove_consumer(queue, many[i]);
        queue_check(queue);
    }
}

/* RabbitMQ, single active consumer: the first to register is served, then the next in order. */
Test(queue, with_a_single_active_consumer_serves_the_first_registered)
{
    char served[16];
    declare_as("classic", true);
    join(0, 0);
    join(1, 9); /* priority decides nothing in a classic queue */
    join(2, 0);
    cr_expect(eq(str, (char *)serve(3, served), "000"));
    queue_consumer_not_ready(consumers[0]);
    cr_expect(eq(str, (char *)serve(1, served), "-"));
    queue_consumer_ready(queue, consumers[1]);
    cr_expect(eq(str, (char *)serve(1, served), "-"));
    queue_consumer_ready(queue, consumers[0]);
    cr_expect(eq(str, (char *)serve(1, served), "0"));
    leave(1);
    cr_expect(eq(str, (char *)serve(1, served), "0"));
    leave(0);
    cr_expect(eq(str, (char *)serve(2, served), "22"));
    leave(2);
    cr_expect(eq(ptr, queue_next_consumer(queue), NULL));
    join(3, 0);
    cr_expect(eq(str, (char *)serve(1, served), "3"));
    leave_all();
}

/* RabbitMQ's quorum queues: a newcomer of higher priority takes over once the active consumer has
 * settled what it holds. */
Test(queue, of_type_quorum_hands_the_single_active_role_to_a_higher_priority)
{
    char served[16];
    declare_as("quorum", true);
    join(0, 0);
    consumers[0]->unacked_count = 1;
    join(1, 5);
    cr_expect(eq(str, (char *)serve(1, served), "-"), "the active one settles first");
    join(2, 7);
    queue_consumer_ready(queue, consumers[0]);
    cr_expect(eq(str, (char *)serve(1, served), "-"));
    leave(2);
    consumers[0]->unacked_count = 0;
    queue_consumer_ready(queue, consumers[0]);
    cr_expect(eq(str, (char *)serve(2, served), "11"));
    join(3, 5);
    cr_expect(eq(str, (char *)serve(2, served), "11"), "an equal one waits");
    join(4, 6);
    cr_expect(eq(str, (char *)serve(2, served), "44"), "nothing to settle: at once");
    leave(4);
    cr_expect(eq(str, (char *)serve(2, served), "11"));
    leave_all();
}

Test(queue, goes_on_with_the_active_consumer_when_its_successor_leaves)
{
    char served[16];
    declare_as("quorum", true);
    join(0, 0);
    consumers[0]->unacked_count = 1;
    join(1, 5);
    leave(1);
    cr_expect(eq(str, (char *)serve(2, served), "00"));
    consumers[0]->unacked_count = 0;
    leave_all();
}

static const struct consumer *
first_of_the_highest(struct consumer *const *all, size_t count)
{
    const struct consumer *first = NULL;
    for (size_t i = 0; i < count; i++) {
        if (all[i] != NULL && (first == NULL || all[i]->priority > first->priority)) {
            first = all[i];
        }
    }
    return first;
}

Test(queue, of_type_quorum_always_serves_the_first_of_the_highest_priority)
{
    enum { MANY = 200 };
    static struct consumer *many[MANY];
    uint64_t state = 5;
    struct random_source random = random_seeded(&state);
    declare_as("quorum", true);
    for (size_t i = 0; i < MANY; i++) {
        many[i] = consumer_new(bytes_of("m"));
        many[i]->priority = (int64_t)(random_u64(&random) % 7);
        queue_add_consumer(queue, many[i]);
        cr_expect(
            eq(ptr, (void *)queue_next_consumer(queue), (void *)first_of_the_highest(many, MANY)));
    }
    for (size_t left = MANY; left > 0; left--) {
        size_t at = (size_t)(random_u64(&random) % MANY);
        for (; many[at] == NULL; at = (at + 1) % MANY) {
        }
        queue_remove_consumer(queue, many[at]);
        many[at] = NULL;
        queue_check(queue);
        cr_expect(
            eq(ptr, (void *)queue_next_consumer(queue), (void *)first_of_the_highest(many, MANY)));
    }
}

/* As when a connection with all of them ends: a time limit that only a square of their number
 * misses. */
Test(queue, of_type_quorum_finds_the_next_of_many_consumers_at_once, .timeout = 20)
{
    enum { MANY = 200 * 1000 };
    declare_as("quorum", true);
    for (size_t i = 0; i < MANY; i++) {
        queue_add_consumer(queue, consumer_new(bytes_of("m")));
    }
    for (size_t i = 0; i < MANY; i++) {
        queue_remove_consumer(queue, queue_first_consumer(queue));
    }
    cr_expect(eq(u32, queue->consumer_count, 0));
}

Test(queue, outlives_its_removal_by_its_references)
{
    struct queue *held = queue_ref(queue);
    queue_unref(&queue);
    cr_expect(eq(ptr, queue, NULL));
    cr_expect(eq(u64, held->target.id, 7));
    queue = held;
}

/* A million idle queues share the settings of those without arguments. */
Test(queue, has_settings_of_its_own_only_with_arguments)
{
    cr_expect(eq(ptr, (void *)queue->settings, (void *)queue_settings_default()));
    struct buffer arguments;
    uint32_t changed = 0;
    buffer_init(&arguments);
    table_put_integer(&arguments, "x-max-length", 5);
    enum status status = queue_set_arguments(queue, buffer_bytes(&arguments), &changed);
    buffer_fini(&arguments);
    cr_assert(eq(int, status, STATUS_OK));
    cr_expect(eq(i64, queue->settings->max_length, 5));
    cr_expect(eq(u32, changed, 1u << SETTING_MAX_LENGTH));
    cr_expect(eq(i64, queue_settings_default()->max_length, -1));
    status = queue_set_arguments(queue, bytes_make(NULL, 0), &changed);
    cr_assert(eq(int, status, STATUS_OK));
    cr_expect(eq(i64, queue->settings->max_length, -1));
    cr_expect(eq(sz, queue->arguments.size, 0));
}

Test(queue, has_its_own_copies_of_name_and_arguments)
{
    declare_as("quorum", true);
    cr_expect(bytes_equal_text(queue_name(queue), "orders"));
    cr_expect(eq(int, queue->settings->type, QUEUE_TYPE_QUORUM));
    cr_expect(queue->settings->single_active_consumer);
}

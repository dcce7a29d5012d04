/* SPDX-License-Identifier: Apache-2.0 */
/* A pool and the writers that feed it: on its thread, or as if on others, where memory goes back on
 * a way that takes its time. */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <stdlib.h>

#include "base/assert.h"
#include "base/random.h"
#include "store/chunk.h"
#include "store/spill_space.h"
#include "tests/support/alloc_faults.h"
#include "tests/support/chunk_feed.h"

enum { FEEDS = 3, BODY_SIZE = 60000, PER_CHUNK = 4, RETURNED_MAX = 4096 };

static struct chunk_pool *pool;
static struct chunk_feed feeds[FEEDS];
static size_t mapped_bytes;

/* On its way back to its writer. */
static struct returned {
    uint32_t writer;
    uint8_t *memory;
    size_t capacity;
} returned[RETURNED_MAX];
static size_t returned_count;

static void *
counted_map(void *context, size_t size)
{
    (void)context;
    mapped_bytes += size;
    return aligned_alloc(4096, (size + 4095) & ~(size_t)4095);
}

static void
counted_unmap(void *context, void *memory, size_t size)
{
    (void)context;
    mapped_bytes -= size;
    free(memory);
}

/* Whoever still reads it reads something else. */
static void
take_returned(void *context, uint32_t writer, uint8_t *memory, size_t capacity)
{
    (void)context;
    cr_assert(lt(sz, returned_count, RETURNED_MAX));
    memset(memory, 0xEE, capacity);
    returned[returned_count++] =
        (struct returned){.writer = writer, .memory = memory, .capacity = capacity};
}

static void
deliver_returned(void)
{
    for (size_t i = 0; i < returned_count; i++) {
        chunk_writer_take_back(feeds[returned[i].writer].writer, returned[i].memory,
                               returned[i].capacity);
    }
    returned_count = 0;
}

static void
set_up(void)
{
    struct chunk_memory memory = {.map = counted_map, .unmap = counted_unmap};
    pool = chunk_pool_new_with(memory);
    chunk_pool_use_returns(pool, (struct chunk_returns){.take = take_returned});
    for (uint32_t i = 0; i < FEEDS; i++) {
        chunk_feed_init(&feeds[i], pool, i, memory);
    }
}

static void
tear_down(void)
{
    deliver_returned();
    chunk_pool_free(&pool);
    for (uint32_t i = 0; i < FEEDS; i++) {
        chunk_feed_fini(&feeds[i]);
    }
    cr_expect(eq(sz, mapped_bytes, 0), "all memory went back");
}

TestSuite(chunk_leases, .init = set_up, .fini = tear_down);

static struct chunk_place
reserve_kind(struct chunk_feed *feed, enum chunk_kind kind, uint32_t body_size, uint8_t filler)
{
    struct content_shape shape = {.body_size = body_size, .kind = kind};
    struct chunk_place place;
    uint8_t *body;
    cr_assert(eq(int, chunk_writer_reserve(feed->writer, &shape, &place, &body), STATUS_OK));
    memset(body, filler, body_size);
    return place;
}

static struct chunk_place
reserve(struct chunk_feed *feed, uint32_t body_size, uint8_t filler)
{
    return reserve_kind(feed, CHUNK_KIND_TRANSIENT, body_size, filler);
}

static struct content_ref
publish(struct chunk_feed *feed, uint32_t body_size, uint8_t filler)
{
    return chunk_feed_receive(feed, reserve(feed, body_size, filler));
}

static void
abandon(struct chunk_feed *feed, struct chunk_place place)
{
    chunk_writer_release(feed->writer, place);
    chunk_writer_report(feed->writer);
}

static bool
body_is(const struct content *content, uint32_t body_size, uint8_t filler)
{
    struct bytes body = content_body(content);
    bool is_right = body.size == body_size;
    for (size_t i = 0; i < body.size; i++) {
        is_right = is_right && body.data[i] == filler;
    }
    return is_right;
}

static void
end_tick(void)
{
    chunk_pool_end_tick(pool, chunk_pool_tick(pool));
}

/* Writers do not know of each other, so they use the same numbers. */
Test(chunk_leases, writers_with_the_same_numbers_feed_one_pool)
{
    struct content_ref refs[FEEDS];
    for (uint32_t i = 0; i < FEEDS; i++) {
        struct chunk_place place = reserve(&feeds[i], 100, (uint8_t)('a' + i));
        cr_expect(eq(u32, place.chunk, 0));
        refs[i] = chunk_feed_receive(&feeds[i], place);
    }
    for (uint32_t i = 0; i < FEEDS; i++) {
        cr_expect(body_is(chunk_pool_content(pool, refs[i]), 100, (uint8_t)('a' + i)));
        chunk_pool_release(pool, refs[i]);
    }
    cr_expect(eq(u32, chunk_pool_slots_used(pool), FEEDS));
}

Test(chunk_leases, chunk_counts_from_the_moment_it_opens)
{
    struct chunk_place place = reserve(&feeds[0], 10, 'a');
    cr_expect(eq(u64, chunk_pool_bytes(pool), CHUNK_SIZE));
    abandon(&feeds[0], place);
    end_tick();
    cr_expect(eq(u64, chunk_pool_bytes(pool), CHUNK_SIZE), "its writer may be filling it");
}

Test(chunk_leases, chunk_that_is_being_filled_stays_without_a_name)
{
    struct content_ref ref = publish(&feeds[0], BODY_SIZE, 'a');
    chunk_pool_release(pool, ref);
    end_tick();
    cr_expect(eq(sz, returned_count, 0));
    for (int i = 0; i < PER_CHUNK; i++) {
        chunk_pool_release(pool, publish(&feeds[0], BODY_SIZE, 'b'));
    }
    end_tick();
    cr_assert(eq(sz, returned_count, 1), "it was full and closed");
    cr_expect(eq(u64, chunk_pool_bytes(pool), CHUNK_SIZE));
}

Test(chunk_leases, memory_goes_back_to_the_writer_that_filled_it)
{
    for (uint32_t i = 0; i < FEEDS; i++) {
        chunk_pool_release(pool, publish(&feeds[i], CHUNK_BODY_OWN + 8 * i + 1, 'a'));
    }
    end_tick();
    cr_assert(eq(sz, returned_count, FEEDS));
    for (uint32_t i = 0; i < FEEDS; i++) {
        cr_expect(lt(u32, returned[i].writer, FEEDS));
        cr_expect(eq(sz, returned[i].capacity, CHUNK_BODY_OWN + 8 * returned[i].writer + 24));
    }
    cr_expect(eq(u64, chunk_pool_bytes(pool), 0));
}

/* A link that dies in the middle of a large body. */
Test(chunk_leases, chunk_of_an_abandoned_body_goes_back)
{
    struct chunk_place place = reserve(&feeds[1], 1000000, 'a');
    cr_expect(eq(u64, chunk_pool_bytes(pool), 1000016));
    abandon(&feeds[1], place);
    end_tick();
    cr_expect(eq(u64, chunk_pool_bytes(pool), 0));
    cr_expect(eq(u32, chunk_pool_slots_used(pool), 0));
    cr_assert(eq(sz, returned_count, 1));
    cr_expect(eq(u32, returned[0].writer, 1));
}

/* Rewinding ------------------------------------------------------------------------------------ */

Test(chunk_leases, open_chunk_of_a_writer_on_this_thread_is_rewound)
{
    chunk_pool_share_thread(pool, 0, feeds[0].writer);
    struct content_ref ref = publish(&feeds[0], 100, 'a');
    const struct content *content = chunk_pool_content(pool, ref);
    chunk_pool_release(pool, ref);
    end_tick();
    cr_expect(eq(u64, chunk_pool_bytes(pool), 0));
    struct content_ref next = publish(&feeds[0], 100, 'b');
    cr_expect(eq(ptr, (void *)chunk_pool_content(pool, next), (void *)content));
    cr_expect(ne(u64, next.bits, ref.bits), "it has another generation");
    cr_expect(eq(u64, chunk_pool_bytes(pool), CHUNK_SIZE));
    chunk_pool_release(pool, next);
}

Test(chunk_leases, chunk_with_an_unfinished_content_is_not_rewound_before_that_ends)
{
    chunk_pool_share_thread(pool, 0, feeds[0].writer);
    struct chunk_place slow = reserve(&feeds[0], 100, 's');
    chunk_pool_release(pool, publish(&feeds[0], 100, 'a'));
    end_tick();
    chunk_pool_release(pool, publish(&feeds[0], 100, 'b'));
    cr_expect(body_is(slow.content, 100, 's'));
    cr_expect(eq(u64, chunk_pool_bytes(pool), CHUNK_SIZE));
    abandon(&feeds[0], slow);
    end_tick();
    cr_expect(eq(u64, chunk_pool_bytes(pool), 0));
}

Test(chunk_leases, open_chunk_of_a_writer_elsewhere_is_never_rewound)
{
    struct content_ref ref = publish(&feeds[0], 100, 'a');
    const uint8_t *end = content_body(chunk_pool_content(pool, ref)).data + 100;
    chunk_pool_release(pool, ref);
    end_tick();
    struct content_ref next = publish(&feeds[0], 100, 'b');
    cr_expect(ge(ptr, (void *)chunk_pool_content(pool, next), (void *)end));
    chunk_pool_release(pool, next);
}

/* A chunk that only rewinding had taken out of the count closes with nothing named in it. */
Test(chunk_leases, rewound_chunk_that_closes_unnamed_is_counted_right)
{
    chunk_pool_share_thread(pool, 0, feeds[0].writer);
    chunk_pool_release(pool, publish(&feeds[0], 100, 'a'));
    end_tick();
    cr_expect(eq(u64, chunk_pool_bytes(pool), 0));
    for (int i = 0; i <= PER_CHUNK; i++) {
        abandon(&feeds[0], reserve(&feeds[0], BODY_SIZE, 'b'));
    }
    end_tick();
    end_tick();
    cr_expect(eq(u64, chunk_pool_bytes(pool), 0));
    cr_expect(eq(u32, chunk_pool_slots_used(pool), 1), "the open one");
}

/* What networks have passed ---------------------------------------------------------------------
 */

Test(chunk_leases, chunk_stays_until_the_actions_that_named_it_are_carried_out)
{
    struct content_ref ref = publish(&feeds[0], 100000, 'a');
    const struct content *content = chunk_pool_name(pool, ref);
    uint64_t named_tick = chunk_pool_tick(pool);
    chunk_pool_release(pool, ref);
    for (int i = 0; i < 3; i++) {
        chunk_pool_end_tick(pool, named_tick - 1);
        cr_expect(eq(sz, returned_count, 0));
        cr_expect(body_is(content, 100000, 'a'));
        cr_expect(ge(u64, chunk_pool_bytes(pool), 1));
    }
    chunk_pool_end_tick(pool, named_tick);
    cr_expect(eq(sz, returned_count, 1));
    cr_expect(eq(u64, chunk_pool_bytes(pool), 0));
}

Test(chunk_leases, chunk_that_no_action_named_need_not_wait)
{
    chunk_pool_end_tick(pool, 0);
    chunk_pool_release(pool, publish(&feeds[0], 100000, 'a'));
    chunk_pool_end_tick(pool, 0);
    cr_expect(eq(sz, returned_count, 1));
}

Test(chunk_leases, last_naming_counts)
{
    struct content_ref ref = publish(&feeds[0], 100000, 'a');
    (void)chunk_pool_name(pool, ref);
    chunk_pool_end_tick(pool, 0);
    (void)chunk_pool_name(pool, ref); /* in tick 2 */
    chunk_pool_release(pool, ref);
    chunk_pool_end_tick(pool, 1);
    cr_expect(eq(sz, returned_count, 0));
    chunk_pool_end_tick(pool, 2);
    cr_expect(eq(sz, returned_count, 1));
}

Test(chunk_leases, chunk_that_waits_may_be_closed_meanwhile)
{
    struct content_ref ref = publish(&feeds[0], BODY_SIZE, 'a');
    (void)chunk_pool_name(pool, ref);
    chunk_pool_release(pool, ref);
    chunk_pool_end_tick(pool, 0);
    for (int i = 0; i < PER_CHUNK; i++) {
        chunk_pool_release(pool, publish(&feeds[0], BODY_SIZE, 'b'));
    }
    chunk_pool_end_tick(pool, 0);
    cr_expect(eq(sz, returned_count, 0));
    chunk_pool_end_tick(pool, 1);
    cr_expect(eq(sz, returned_count, 1));
}

/* No slot ---------------------------------------------------------------------------------------
 */

static struct content_ref
take_all_slots(void)
{
    struct content_shape shape = {.body_size = CHUNK_BODY_OWN + 1};
    struct content_ref ref = {0};
    uint8_t *body;
    for (uint32_t i = 0; i < 1U << CHUNK_SLOT_BITS; i++) {
        cr_assert(eq(int, chunk_pool_reserve(pool, &shape, &ref, &body), STATUS_OK));
    }
    return ref;
}

static uint8_t shared_memory[CHUNK_SIZE];

static void *
shared_map(void *context, size_t size)
{
    (void)context;
    (void)size;
    return shared_memory;
}

static void
shared_unmap(void *context, void *memory, size_t size)
{
    if (memory != shared_memory) {
        counted_unmap(context, memory, size);
    }
}

/* So many chunks cost address space, not memory: all of the pool's own lie in the same place. */
static void
use_wide_pool(void)
{
    chunk_pool_free(&pool);
    pool = chunk_pool_new_with((struct chunk_memory){.map = shared_map, .unmap = shared_unmap});
    chunk_pool_use_returns(pool, (struct chunk_returns){.take = take_returned});
    feeds[0].pool = pool;
}

Test(chunk_leases, content_without_a_slot_is_refused_and_its_memory_goes_back)
{
    use_wide_pool();
    struct content_ref last = take_all_slots();
    uint64_t bytes = chunk_pool_bytes(pool);

    struct content_ref own = publish(&feeds[0], 100000, 'a');
    cr_expect(not(content_ref_is_set(own)));
    cr_assert(eq(sz, returned_count, 1));
    cr_expect(eq(u64, chunk_pool_bytes(pool), bytes));

    cr_expect(not(content_ref_is_set(publish(&feeds[0], 100, 'b'))));
    cr_expect(not(content_ref_is_set(publish(&feeds[0], 100, 'c'))));
    chunk_pool_release(pool, last);
    end_tick();
    struct content_ref ref = publish(&feeds[0], 100, 'd');
    cr_assert(content_ref_is_set(ref), "the same chunk has asked again");
    cr_expect(body_is(chunk_pool_content(pool, ref), 100, 'd'));
    cr_expect(eq(sz, returned_count, 1));
}

/* The table that leads from the writer's numbers to chunks is memory like any other. */
Test(chunk_leases, chunk_that_cannot_be_noted_takes_no_content_and_goes_back)
{
    struct chunk_place first = reserve(&feeds[0], 100000, 'a');
    for (uint32_t i = 1; i < 8; i++) {
        (void)reserve(&feeds[0], 100000, 'b');
    }
    alloc_faults_plan(2); /* the writer's table grows first */
    struct chunk_place place = reserve(&feeds[0], 100000, 'c');
    cr_assert(eq(u32, alloc_faults_left(), 0));
    uint64_t bytes = chunk_pool_bytes(pool);
    cr_expect(not(content_ref_is_set(chunk_feed_receive(&feeds[0], place))));
    cr_expect(eq(sz, returned_count, 1));
    cr_expect(eq(u64, chunk_pool_bytes(pool), bytes));

    struct content_ref ref = publish(&feeds[0], 100000, 'd');
    cr_expect(body_is(chunk_pool_content(pool, ref), 100000, 'd'));
    ref = chunk_feed_receive(&feeds[0], first);
    cr_expect(body_is(chunk_pool_content(pool, ref), 100000, 'a'));
}

/* Nobody but its writer knows of it, and it is still open when both go. */
Test(chunk_leases, chunk_that_cannot_be_noted_goes_with_its_writer)
{
    chunk_pool_share_thread(pool, 0, feeds[0].writer);
    alloc_faults_plan(2); /* the writer's table grows first */
    struct chunk_place place = reserve(&feeds[0], 100, 'a');
    cr_assert(eq(u32, alloc_faults_left(), 0));
    cr_expect(not(content_ref_is_set(chunk_feed_receive(&feeds[0], place))));
    chunk_pool_free(&pool);
    cr_expect(mapped_bytes > 1);
    pool = chunk_pool_new();
}

Test(chunk_leases, slot_that_is_not_to_be_had_at_once_is_asked_for_again)
{
    chunk_pool_release(pool, publish(&feeds[0], 100, 'a'));
    for (int i = 1; i < 16; i++) {
        (void)publish(&feeds[0], 100000, 'b');
    }
    alloc_faults_plan(1); /* of the slots */
    struct chunk_place place = reserve(&feeds[0], 100000, 'c');
    cr_assert(eq(u32, alloc_faults_left(), 0));
    struct content_ref ref = chunk_feed_receive(&feeds[0], place);
    cr_expect(body_is(chunk_pool_content(pool, ref), 100000, 'c'));
}

/* Endings ---------------------------------------------------------------------------------------
 */

Test(chunk_leases, contents_outlive_the_writers_that_are_forgotten)
{
    chunk_pool_share_thread(pool, 0, feeds[0].writer);
    struct content_ref refs[2] = {publish(&feeds[0], 100, 'a'), publish(&feeds[1], 100, 'b')};
    (void)reserve(&feeds[2], 100, 'c');
    chunk_pool_forget_writers(pool);
    end_tick();
    cr_expect(eq(u64, chunk_pool_bytes(pool), 2 * CHUNK_SIZE));
    cr_expect(body_is(chunk_pool_content(pool, refs[0]), 100, 'a'));
    chunk_pool_release(pool, refs[0]);
    chunk_pool_release(pool, refs[1]);
    end_tick();
    cr_expect(eq(u64, chunk_pool_bytes(pool), 0));
    cr_expect(eq(sz, returned_count, 0), "there is nobody to send it to");
}

/* Against a model -------------------------------------------------------------------------------
 */

/* A content in a queue, and what the networks still have to write of it. */
struct known {
    struct content_ref ref;
    uint32_t size;
    uint8_t filler;
};
struct writing {
    const struct content *content;
    uint64_t tick;
    uint32_t size;
    uint8_t filler;
};

enum { KNOWN_MAX = 64, WRITING_MAX = 512, SPILLING_MAX = 4 };

static struct known known[KNOWN_MAX];
static size_t known_count;
static struct writing writings[WRITING_MAX];
static size_t writing_count;
static uint64_t passed;
static struct chunk_spill spilling[SPILLING_MAX];
static size_t spilling_count;

static uint64_t
random_below(const struct random_source *random, uint64_t bound)
{
    return random_u64(random) % bound;
}

/* Half of the messages are in the log, and may be dropped. */
static bool
is_logged(uint8_t filler)
{
    return filler % 2 == 0;
}

static void
model_publish(struct chunk_feed *feed, const struct random_source *random)
{
    if (known_count == KNOWN_MAX) {
        return;
    }
    uint32_t size = random_below(random, 8) == 0
                        ? CHUNK_BODY_OWN + 1 + (uint32_t)random_below(random, 9000)
                        : (uint32_t)random_below(random, 30000);
    uint8_t filler = (uint8_t)random_below(random, 200);
    enum chunk_kind kind = is_logged(filler) ? CHUNK_KIND_PERSISTENT : CHUNK_KIND_TRANSIENT;
    struct content_ref ref = chunk_feed_receive(feed, reserve_kind(feed, kind, size, filler));
    chunk_pool_retain_entry(pool, ref, is_logged(filler) ? 8 : 0);
    chunk_pool_release(pool, ref);
    known[known_count++] = (struct known){.ref = ref, .size = size, .filler = filler};
}

static void
model_deliver(size_t at)
{
    const struct known *message = &known[at];
    if (writing_count == WRITING_MAX || chunk_pool_place(pool, message->ref) != CONTENT_IN_MEMORY) {
        return;
    }
    writings[writing_count++] = (struct writing){
        .content = chunk_pool_name(pool, message->ref),
        .tick = chunk_pool_tick(pool),
        .size = message->size,
        .filler = message->filler,
    };
}

static void
model_settle(size_t at)
{
    chunk_pool_release_entry(pool, known[at].ref, is_logged(known[at].filler) ? 8 : 0);
    known[at] = known[--known_count];
}

/* The networks write everything up to a tick that one of them was slowest to reach. */
static void
model_pass(const struct random_source *random)
{
    uint64_t tick = chunk_pool_tick(pool);
    passed += random_below(random, tick - passed + 1);
    size_t kept = 0;
    for (size_t i = 0; i < writing_count; i++) {
        const struct writing *writing = &writings[i];
        cr_assert(body_is(writing->content, writing->size, writing->filler),
                  "named in tick %llu, passed %llu, now %llu", (unsigned long long)writing->tick,
                  (unsigned long long)passed, (unsigned long long)tick);
        if (writing->tick > passed) {
            writings[kept++] = *writing;
        }
    }
    writing_count = kept;
}

static void
model_page(const struct random_source *random)
{
    if (random_below(random, 2) == 0) {
        (void)chunk_pool_drop(pool, CHUNK_SIZE, 4096);
    }
    if (spilling_count < SPILLING_MAX && chunk_pool_begin_spill(pool, &spilling[spilling_count])) {
        spilling_count++;
    }
    if (spilling_count > 0 && random_below(random, 2) == 0) {
        chunk_pool_end_spill(pool, &spilling[--spilling_count], random_below(random, 4) != 0);
    }
}

static void
model_step(const struct random_source *random)
{
    struct chunk_feed *feed = &feeds[random_below(random, FEEDS)];
    switch (random_below(random, 8)) {
    case 0:
    case 1:
    case 2:
        model_publish(feed, random);
        break;
    case 3:
    case 4:
        if (known_count > 0) {
            model_deliver(random_below(random, known_count));
        }
        break;
    case 5:
        if (known_count > 0) {
            model_settle(random_below(random, known_count));
        }
        break;
    case 6:
        abandon(feed, reserve(feed, (uint32_t)random_below(random, 100000), 'x'));
        break;
    default:
        model_pass(random);
        chunk_pool_end_tick(pool, passed);
        model_page(random);
        deliver_returned();
        break;
    }
}

/* Whatever is published, delivered, settled, dropped and spilled, and however far the networks are
 * behind: what they still have to write lies where it was, as it was. */
Test(chunk_leases, nothing_that_is_still_to_be_written_is_overwritten)
{
    enum { SEEDS = 20, STEPS = 4000 };
    struct spill_space *space = spill_space_new();
    chunk_pool_use_spill(pool, space);
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        uint64_t state = seed;
        struct random_source random = random_seeded(&state);
        for (int i = 0; i < STEPS; i++) {
            model_step(&random);
        }
    }
    while (spilling_count > 0) {
        chunk_pool_end_spill(pool, &spilling[--spilling_count], false);
    }
    while (known_count > 0) {
        model_settle(known_count - 1);
    }
    end_tick();
    cr_expect(le(u64, chunk_pool_bytes(pool), 2 * FEEDS * CHUNK_SIZE), "open ones");
    cr_expect(le(u32, chunk_pool_slots_used(pool), 2 * FEEDS));
    chunk_pool_use_spill(pool, NULL);
    spill_space_free(&space);
}

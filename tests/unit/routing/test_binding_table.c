/* SPDX-License-Identifier: Apache-2.0 */
#include "routing/binding_table.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <stdio.h>

#include "amqp/table.h"
#include "tests/support/alloc_faults.h"

static struct binding_table table;
static struct route_target target_a;
static struct route_target target_b;

static void
set_up(void)
{
    binding_table_init(&table, 99);
    route_target_init(&target_a, ROUTE_TARGET_QUEUE, 1);
    route_target_init(&target_b, ROUTE_TARGET_QUEUE, 2);
}

static void
tear_down(void)
{
    binding_table_fini(&table);
}

TestSuite(binding_table, .init = set_up, .fini = tear_down);

static struct binding *
add(struct route_target *target, const char *key, struct bytes arguments)
{
    struct binding *binding;
    cr_assert(eq(
        int, binding_table_add(&table, &table, target, bytes_of(key), arguments, false, &binding),
        STATUS_OK));
    return binding;
}

static struct binding *
find(const struct route_target *target, const char *key, struct bytes arguments)
{
    return binding_table_find(&table, target, bytes_of(key), arguments);
}

static const struct bytes nothing = {.data = NULL, .size = 0};

Test(binding_table, target_key_and_arguments_make_the_identity)
{
    struct buffer arguments;
    buffer_init(&arguments);
    table_put_integer(&arguments, "n", 1);
    struct binding *plain = add(&target_a, "key", nothing);
    cr_expect(eq(ptr, find(&target_a, "key", nothing), plain));
    cr_expect(eq(ptr, find(&target_b, "key", nothing), NULL));
    cr_expect(eq(ptr, find(&target_a, "kez", nothing), NULL));
    cr_expect(eq(ptr, find(&target_a, "key", buffer_bytes(&arguments)), NULL));
    struct binding *with = add(&target_a, "key", buffer_bytes(&arguments));
    cr_expect(eq(ptr, find(&target_a, "key", buffer_bytes(&arguments)), with));
    cr_expect(eq(ptr, find(&target_a, "key", nothing), plain));
    buffer_fini(&arguments);
}

/* Bindings are compared after their arguments were sorted, and integers by value. */
Test(binding_table, order_of_fields_and_width_of_integers_do_not_matter)
{
    static const uint8_t inner_ab[] = "\1aI\0\0\0\1\1bS\0\0\0\1x";
    static const uint8_t inner_ba[] = "\1bS\0\0\0\1x\1al\0\0\0\0\0\0\0\1";
    struct bytes ab = bytes_make(inner_ab, sizeof(inner_ab) - 1);
    struct bytes ba = bytes_make(inner_ba, sizeof(inner_ba) - 1);
    struct buffer one;
    struct buffer other;
    buffer_init(&one);
    buffer_init(&other);
    table_put_table(&one, "t", ab);
    table_put_boolean(&one, "u", true);
    table_put_boolean(&other, "u", true);
    table_put_table(&other, "t", ba);
    struct binding *binding = add(&target_a, "", buffer_bytes(&one));
    cr_expect(eq(ptr, find(&target_a, "", buffer_bytes(&other)), binding));
    cr_expect(eq(ptr, find(&target_a, "", ab), NULL));
    buffer_fini(&one);
    buffer_fini(&other);
}

/* Whoever looks for a binding by what it says finds it among many of the same two ends. */
Test(binding_table, what_a_binding_says_has_a_hash)
{
    struct buffer one;
    struct buffer other;
    buffer_init(&one);
    buffer_init(&other);
    table_put_integer(&one, "a", 1);
    table_put_boolean(&one, "b", true);
    table_put_boolean(&other, "b", true);
    table_put_integer(&other, "a", 1);
    uint64_t hash = binding_texts_hash(7, bytes_of("key"), buffer_bytes(&one));
    cr_expect(eq(u64, binding_texts_hash(7, bytes_of("key"), buffer_bytes(&other)), hash));
    cr_expect(ne(u64, binding_texts_hash(7, bytes_of("kez"), buffer_bytes(&one)), hash));
    cr_expect(ne(u64, binding_texts_hash(7, bytes_of("key"), nothing), hash));
    cr_expect(ne(u64, binding_texts_hash(8, bytes_of("key"), buffer_bytes(&one)), hash));
    table_put_integer(&other, "c", 1);
    cr_expect(ne(u64, binding_texts_hash(7, bytes_of("key"), buffer_bytes(&other)), hash));
    buffer_fini(&one);
    buffer_fini(&other);
}

/* 0.0 and -0.0 of different widths are equal values, so they must share a hash. */
Test(binding_table, equal_floats_of_different_width_are_the_same_binding)
{
    static const uint8_t zero32[] = "\1ff\0\0\0\0";
    static const uint8_t minus_zero64[] = "\1fd\x80\0\0\0\0\0\0\0";
    static const uint8_t half32[] = "\1ff\x3f\0\0\0";
    static const uint8_t half64[] = "\1fd\x3f\xe0\0\0\0\0\0\0";
    struct binding *zero = add(&target_a, "", bytes_make(zero32, sizeof(zero32) - 1));
    struct binding *half = add(&target_a, "", bytes_make(half32, sizeof(half32) - 1));
    cr_expect(
        eq(ptr, find(&target_a, "", bytes_make(minus_zero64, sizeof(minus_zero64) - 1)), zero));
    cr_expect(eq(ptr, find(&target_a, "", bytes_make(half64, sizeof(half64) - 1)), half));
}

/* What is left is found while bindings come and go, and the lists say the same. */
Test(binding_table, many_bindings_come_and_go)
{
    enum { COUNT = 3000 };
    char key[16];
    struct binding *bindings[COUNT];
    for (uint32_t i = 0; i < COUNT; i++) {
        snprintf(key, sizeof(key), "%u", i);
        bindings[i] = add(i % 2 == 0 ? &target_a : &target_b, key, nothing);
    }
    cr_expect(eq(u32, table.count, COUNT));
    for (uint32_t i = 0; i < COUNT; i += 3) {
        binding_table_remove(&table, bindings[i]);
    }
    for (uint32_t i = 0; i < COUNT; i++) {
        snprintf(key, sizeof(key), "%u", i);
        struct binding *expected = i % 3 == 0 ? NULL : bindings[i];
        cr_assert(eq(ptr, find(i % 2 == 0 ? &target_a : &target_b, key, nothing), expected));
    }
    uint32_t listed_count = 0;
    LIST_FOR_EACH(&target_a.bindings, link)
    {
        listed_count++;
    }
    LIST_FOR_EACH(&target_b.bindings, link)
    {
        listed_count++;
    }
    cr_expect(eq(u32, listed_count, table.count));
    for (uint32_t i = 0; i < COUNT; i++) {
        if (i % 3 != 0) {
            binding_table_remove(&table, bindings[i]);
        }
    }
    cr_expect(eq(u32, table.count, 0));
    cr_expect(eq(u64, slot_directory_memory_bytes(&table.slots), 0), "it shrinks");
    cr_expect(list_is_empty(&target_a.bindings));
}

/* Slots move up while a walk takes things out, and tables shrink under it. */
Test(binding_table, taking_any_takes_each_once)
{
    enum { COUNT = 20000 };
    char key[16];
    for (uint32_t i = 0; i < COUNT; i++) {
        snprintf(key, sizeof(key), "%u", i);
        (void)add(&target_a, key, nothing);
    }
    uint32_t taken_count = 0;
    for (struct binding *binding; (binding = binding_table_any(&table)) != NULL; taken_count++) {
        binding_table_remove(&table, binding);
    }
    cr_expect(eq(u32, taken_count, COUNT));
    cr_expect(eq(u32, table.count, 0));
}

/* A walk in slices, between which the table doubles: what was there at the beginning is met, and
 * what is met twice is of the part that was under way. */
Test(binding_table, a_walk_lives_through_changes)
{
    enum { COUNT = 20000, SLICE = 500 };
    char key[16];
    uint8_t met[COUNT] = {0};
    uint32_t next = COUNT;
    for (uint32_t i = 0; i < COUNT; i++) {
        snprintf(key, sizeof(key), "%u", i);
        (void)add(&target_a, key, nothing);
    }
    struct binding_walk walk = {.has_begun = false};
    bool is_over = false;
    for (uint64_t generation = 0; !is_over; generation++) {
        bool is_anew = !binding_walk_resume(&walk, &table, generation);
        bool is_new_part = false;
        cr_expect(eq(int, is_anew, generation > 0));
        for (uint32_t i = 0; !is_over && (i < SLICE || (is_anew && !is_new_part)); i++) {
            const struct binding *binding = binding_walk_next(&walk, &table, &is_new_part);
            uint32_t number = COUNT;
            is_over = binding == NULL;
            if (binding != NULL) {
                memcpy(key, binding->texts, binding->key_size);
                key[binding->key_size] = '\0';
                number = (uint32_t)strtoul(key, NULL, 10);
            }
            if (number < COUNT) {
                met[number]++;
            }
        }
        for (int i = 0; i < 200; i++) {
            snprintf(key, sizeof(key), "%u", next++);
            (void)add(&target_b, key, nothing);
        }
    }
    for (uint32_t i = 0; i < COUNT; i++) {
        cr_assert(met[i] > 0, "%u is met", i);
    }
}

/* Peers choose arguments: whatever they prepare must not end in one place of the table, where each
 * binding would be compared with all others. Bindings of one hash are one part of a walk. */
static uint32_t
largest_part(void)
{
    struct binding_walk walk = {0};
    uint32_t largest = 0;
    uint32_t count = 0;
    bool is_new_part;
    (void)binding_walk_resume(&walk, &table, 0);
    while (binding_walk_next(&walk, &table, &is_new_part) != NULL) {
        count = is_new_part ? 1 : count + 1;
        largest = count > largest ? count : largest;
    }
    return largest;
}

enum { PREPARED = 6000, PREPARED_ITEMS = 13 }; /* more than a table holds that is never divided */

static void
expect_spread(const char *what)
{
    cr_expect(eq(u32, table.count, PREPARED), "%s", what);
    cr_expect(lt(u32, largest_part(), PREPARED / 4 * 3), "%s stand in one place", what);
}

/* Whether item `at` is the one or the other, in arguments number `number`. */
static bool
is_other(uint32_t number, uint32_t at)
{
    return (number >> at & 1) != 0;
}

static void
put_item(struct buffer *array, uint8_t item)
{
    buffer_put_u8(array, 'B');
    buffer_put_u8(array, item);
}

Test(binding_table, arrays_with_the_same_items_in_another_order_are_spread)
{
    for (uint32_t number = 0; number < PREPARED; number++) {
        struct buffer arguments = {0};
        buffer_put_shortstr(&arguments, bytes_of("a"));
        buffer_put_u8(&arguments, 'A');
        size_t size_at = table_begin_counted(&arguments);
        for (uint32_t at = 0; at < PREPARED_ITEMS; at++) {
            put_item(&arguments, is_other(number, at) ? 2 : 1);
            put_item(&arguments, is_other(number, at) ? 1 : 2);
        }
        table_end_counted(&arguments, size_at);
        (void)add(&target_a, "", buffer_bytes(&arguments));
        buffer_fini(&arguments);
    }
    expect_spread("arrays");
}

Test(binding_table, fields_of_one_name_in_another_order_are_spread)
{
    for (uint32_t number = 0; number < PREPARED; number++) {
        struct buffer arguments = {0};
        for (uint32_t at = 0; at < PREPARED_ITEMS; at++) {
            table_put_integer(&arguments, "a", is_other(number, at) ? 2 : 1);
            table_put_integer(&arguments, "a", is_other(number, at) ? 1 : 2);
        }
        (void)add(&target_a, "", buffer_bytes(&arguments));
        buffer_fini(&arguments);
    }
    expect_spread("fields");
}

Test(binding_table, tables_that_have_changed_places_are_spread)
{
    struct buffer one = {0};
    struct buffer other = {0};
    table_put_boolean(&one, "one", true);
    table_put_boolean(&other, "other", true);
    for (uint32_t number = 0; number < PREPARED; number++) {
        struct buffer arguments = {0};
        for (uint32_t at = 0; at < PREPARED_ITEMS; at++) {
            const struct buffer *first = is_other(number, at) ? &other : &one;
            const struct buffer *second = is_other(number, at) ? &one : &other;
            char name[8];
            (void)snprintf(name, sizeof(name), "a%u", at);
            table_put_table(&arguments, name, buffer_bytes(first));
            name[0] = 'b';
            table_put_table(&arguments, name, buffer_bytes(second));
        }
        (void)add(&target_a, "", buffer_bytes(&arguments));
        buffer_fini(&arguments);
    }
    buffer_fini(&one);
    buffer_fini(&other);
    expect_spread("tables");
}

/* A million bindings of one source: what each costs beside its texts. */
Test(binding_table, a_binding_is_small)
{
    cr_expect(BINDING_FIXED_OCTETS <= 38);
}

Test(binding_table, no_memory_changes_nothing)
{
    struct binding *binding = NULL;
    alloc_faults_plan(1);
    enum status status =
        binding_table_add(&table, &table, &target_a, bytes_of("key"), nothing, false, &binding);
    cr_expect(eq(int, status, STATUS_NO_MEMORY));
    cr_expect(eq(u32, table.count, 0));
    cr_expect(list_is_empty(&target_a.bindings));
    cr_expect(eq(ptr, find(&target_a, "key", nothing), NULL));
}

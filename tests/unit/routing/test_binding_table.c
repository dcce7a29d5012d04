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
        cr_assert(gt(u8, met[i], 0), "%u is met", i);
    }
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

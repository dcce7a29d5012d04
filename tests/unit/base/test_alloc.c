/* SPDX-License-Identifier: Apache-2.0 */
/* Heap memory and arenas. */
#include "base/alloc.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>

#include <malloc.h>
#include <stdlib.h>

#include "base/assert.h"
#include "tests/support/alloc_faults.h"

Test(alloc, fixed_structs_come_zeroed)
{
    uint8_t *memory = xalloc(1000);
    for (size_t i = 0; i < 1000; i++) {
        cr_assert(eq(u8, memory[i], 0));
    }
    memory = xrealloc(memory, 2000);
    free(memory);
    char *text = xstrdup("orders");
    cr_expect(eq(str, text, "orders"));
    free(text);
}

/* Two threads that write neighbours in one cache line wait for each other with every write. */
Test(alloc, what_is_allocated_apart_shares_no_cache_line_and_comes_zeroed)
{
    static const size_t sizes[] = {1, 127, 128, 129, 1000};
    for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
        void *dirty = malloc(2048); /* what comes next may be made of it */
        memset(dirty, 0xA5, 2048);
        free(dirty);
        uint8_t *memory = xalloc_apart(sizes[i]);
        cr_expect(eq(sz, (uintptr_t)memory % ALLOC_APART, 0), "%zu octets", sizes[i]);
        size_t whole = (sizes[i] + ALLOC_APART - 1) / ALLOC_APART * ALLOC_APART;
        cr_expect(ge(sz, malloc_usable_size(memory), whole), "%zu octets", sizes[i]);
        for (size_t at = 0; at < sizes[i]; at++) {
            cr_assert(eq(u8, memory[at], 0), "octet %zu of %zu", at, sizes[i]);
        }
        free(memory);
    }
}

Test(alloc, a_planned_fault_hits_the_nth_try_allocation_once)
{
    alloc_faults_plan(2);
    void *first = try_alloc(10);
    void *second = try_alloc(10);
    void *third = try_realloc(first, 20);
    cr_expect(ne(ptr, first, NULL));
    cr_expect(eq(ptr, second, NULL));
    cr_expect(ne(ptr, third, NULL));
    free(third);
}

Test(alloc, a_failed_realloc_leaves_the_memory_as_it_was)
{
    char *memory = try_alloc(4);
    cr_assert(ne(ptr, memory, NULL));
    memcpy(memory, "abc", 4);
    alloc_faults_plan(1);
    cr_expect(eq(ptr, try_realloc(memory, 400), NULL));
    cr_expect(eq(str, memory, "abc"));
    free(memory);
}

Test(arena, gives_zeroed_aligned_memory_of_any_size)
{
    static const size_t sizes[] = {0, 1, 7, 16, 100, 4000, 5000, 1, 100000, 3};
    struct arena arena;
    arena_init(&arena);
    for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
        uint8_t *memory = arena_alloc(&arena, sizes[i]);
        cr_expect(eq(sz, (uintptr_t)memory % _Alignof(max_align_t), 0));
        for (size_t at = 0; at < sizes[i]; at++) {
            cr_assert(eq(u8, memory[at], 0));
            memory[at] = 0xAA; /* a later one must not overlap it */
        }
    }
    arena_fini(&arena);
    arena_fini(&arena);
}

Test(arena, copies_live_until_the_end)
{
    struct arena arena = {0};
    char name[] = "orders";
    char *copy = arena_strdup(&arena, name);
    struct bytes octets = arena_copy(&arena, bytes_make("a\0b", 3));
    struct bytes nothing = arena_copy(&arena, bytes_make(NULL, 0));
    name[0] = 'x';
    for (int i = 0; i < 1000; i++) {
        (void)arena_alloc(&arena, 100);
    }
    cr_expect(eq(str, copy, "orders"));
    cr_expect(eq(sz, octets.size, 3));
    cr_expect(eq(int, memcmp(octets.data, "a\0b", 4), 0), "followed by a NUL");
    cr_expect(eq(sz, nothing.size, 0));
    cr_expect(ne(ptr, (void *)nothing.data, NULL));
    arena_fini(&arena);
}

/* What a message chose the size of may not end the process. */
Test(arena, a_reservation_without_memory_changes_nothing)
{
    struct arena arena = {0};
    char *first = arena_strdup(&arena, "first");
    alloc_faults_plan(1);
    cr_expect(not(arena_reserve(&arena, (size_t)1 << 20, 3)));
    cr_expect(not(arena_reserve(&arena, SIZE_MAX - 1, 1)));
    cr_expect(eq(str, first, "first"));
    arena_fini(&arena);
}

Test(arena, what_was_reserved_needs_no_more_memory)
{
    enum { PIECES = 9, SIZE = 100003 };
    struct arena arena = {0};
    static const uint8_t octets[SIZE] = {1};
    cr_assert(arena_reserve(&arena, (size_t)PIECES * SIZE, PIECES));
    alloc_faults_plan(1);
    for (int i = 0; i < PIECES; i++) {
        cr_expect(eq(sz, arena_copy(&arena, bytes_make(octets, SIZE)).size, SIZE));
    }
    alloc_faults_plan(0);
    arena_fini(&arena);
}

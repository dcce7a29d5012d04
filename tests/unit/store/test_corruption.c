/* SPDX-License-Identifier: Apache-2.0 */
/* What a disk may do to a directory: octets that change, files that lose their end, that change
 * places or turn up as they were before. Whatever it does, nothing crashes, no message comes back
 * with a wrong body, and either everything that is intact is recovered or the start is refused with
 * the place named (docs/store-format.md).
 *
 * Each run takes some of the places; BOURSE_CORRUPTION=1 takes all of them (make corruption). */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/assert.h"
#include "tests/support/sim_disk.h"
#include "tests/support/small_store.h"
#include "tests/support/store_maker.h"

enum { FILES_MAX = 32 };

static struct sim_disk *sim;
static struct disk disk;
static struct store_maker maker;
static struct store_content whole; /* what comes back undamaged */
static struct small_store small;
static char names[FILES_MAX][SIM_DISK_NAME_SIZE];
static uint32_t name_count;
static char why[512];

/* Looking -------------------------------------------------------------------------------------- */

static enum status
recover(struct store_content *content, bool check_contents)
{
    struct recovery recovery = {0};
    struct recovery_sink sink = store_content_sink(content);
    struct recovery_options options = {.slot_size = STORE_MAKER_SLOT,
                                       .check_contents = check_contents};
    enum status status =
        recovery_run(&recovery, &disk, &options, &sink, NULL, NULL, why, sizeof(why));
    if (status == STATUS_OK) {
        recovery_fini(&recovery);
    }
    return status;
}

static void
set_up(void)
{
    sim = sim_disk_new();
    disk = disk_of_sim(sim);
    store_maker_init(&maker, &disk);
    small_store_make(&small, &maker);
    whole = (struct store_content){0};
    cr_assert(eq(int, recover(&whole, true), STATUS_OK), "%s", why);
    cr_assert(lt(sz, 100, whole.row_count));
    name_count = sim_disk_file_count(sim);
    cr_assert(le(u32, name_count, FILES_MAX));
    for (uint32_t i = 0; i < name_count; i++) {
        (void)snprintf(names[i], sizeof(names[i]), "%s", sim_disk_name(sim, i));
    }
}

static void
tear_down(void)
{
    store_maker_fini(&maker);
    store_content_fini(&whole);
    sim_disk_free(&sim);
}

TestSuite(corruption, .init = set_up, .fini = tear_down);

/* Judging -------------------------------------------------------------------------------------- */

static bool
is_exhaustive(void)
{
    return getenv("BOURSE_CORRUPTION") != NULL;
}

/* The last segment that holds batches: only its end may get lost without a word. */
static bool
is_log_end(const char *name)
{
    char last[STORE_NAME_SIZE];
    store_file_name(STORE_FILE_SEGMENT, maker.newest.number - 1, 0, last);
    return strcmp(name, last) == 0;
}

static bool
is_same_row(const struct recovered_row *a, const struct recovered_row *b)
{
    return a->lsn == b->lsn && a->queue == b->queue && a->body_size == b->body_size &&
           a->arrival_ms == b->arrival_ms && row_state_equals(&a->state, &b->state) &&
           a->state_lsn == b->state_lsn;
}

/* The last batch holds acknowledgements, and proves that the messages before it were flushed: with
 * the end of the log only those may get lost. Elsewhere rows that were acknowledged may come back
 * only as delivered before, and only where the dead file is lost. */
static void
check_rows(const struct store_content *content, const char *name, const char *what)
{
    size_t at = 0;
    for (size_t i = 0; i < content->row_count; i++) {
        const struct recovered_row *row = &content->rows[i];
        if (at < whole.row_count && is_same_row(row, &whole.rows[at])) {
            cr_assert(row->was_handed_out || !whole.rows[at].was_handed_out, "%s", what);
            at++;
        } else {
            cr_assert(strstr(name, ".dead") != NULL || is_log_end(name), "%s: another row", what);
            cr_assert(row->was_handed_out || is_log_end(name), "%s: an old row as new", what);
        }
    }
    cr_assert(eq(sz, at, whole.row_count), "%s: rows are missing", what);
    cr_assert(eq(sz, content->record_count, whole.record_count), "%s", what);
}

static bool
names_the_place(const char *name)
{
    return strstr(why, name) != NULL;
}

/* True when the start was refused. */
static bool
check_damage(const char *name, const char *what, bool with_bodies)
{
    struct store_content content = {0};
    enum status status = recover(&content, false);
    if (status == STATUS_OK) {
        check_rows(&content, name, what);
        if (with_bodies) {
            cr_assert(small_store_bodies_are_right(&small, &disk, &content), "%s", what);
        }
    } else {
        cr_assert(eq(int, status, STATUS_CORRUPT), "%s: %s", what, why);
        cr_assert(names_the_place(name), "%s: %s", what, why);
        cr_assert(eq(sz, content.row_count + content.record_count, 0), "%s", what);
    }
    store_content_fini(&content);
    return status != STATUS_OK;
}

/* Octets --------------------------------------------------------------------------------------- */

static size_t
damage_octet(const char *name, uint64_t offset, uint8_t octet, bool with_bodies)
{
    char what[160];
    uint8_t was = sim_disk_content(sim, name).data[offset];
    if (octet == was) {
        return 0;
    }
    (void)snprintf(what, sizeof(what), "%s at %zu: %02x for %02x", name, (size_t)offset, octet,
                   was);
    sim_disk_set(sim, name, offset, bytes_make(&octet, 1));
    size_t refused = check_damage(name, what, with_bodies);
    sim_disk_set(sim, name, offset, bytes_make(&was, 1));
    return refused;
}

/* Headers and ends are taken whole, the rest in steps that hit every kind of place. */
static uint64_t
next_offset(uint64_t offset, uint64_t size)
{
    bool is_close = offset < 160 || (offset >= 4096 && offset < 4096 + 200) || size < 1024;
    return offset + (is_exhaustive() ? 1 : is_close ? 5 : 991);
}

Test(corruption, no_octet_of_any_file_can_do_harm)
{
    size_t refused = 0;
    size_t tried = 0;
    for (uint32_t i = 0; i < name_count; i++) {
        uint64_t size = sim_disk_content(sim, names[i]).size;
        for (uint64_t offset = 0; offset < size; offset = next_offset(offset, size)) {
            uint8_t was = sim_disk_content(sim, names[i]).data[offset];
            bool with_bodies = tried % 16 == 0;
            refused +=
                damage_octet(names[i], offset, was ^ (uint8_t)(1 << offset % 8), with_bodies);
            refused += damage_octet(names[i], offset, 0x00, false);
            refused += damage_octet(names[i], offset, 0xFF, false);
            tried += 3;
        }
    }
    printf("corruption: %zu octets tried, %zu starts refused\n", tried, refused);
    cr_expect(ge(sz, refused, 1));
    cr_expect(lt(sz, refused, tried));
}

/* Reading everything, as verify does, sees every changed octet below the end of the log. */
Test(corruption, no_damage_of_a_segment_is_hidden_from_who_reads_everything)
{
    size_t tried = 0;
    for (uint64_t offset = 4096; offset < 40000; offset += is_exhaustive() ? 1 : 173) {
        struct store_content content = {0};
        uint8_t was = sim_disk_content(sim, "seg.0000000000000001").data[offset];
        uint8_t octet = was ^ 0x10;
        sim_disk_set(sim, "seg.0000000000000001", offset, bytes_make(&octet, 1));
        tried += recover(&content, true) == STATUS_OK;
        sim_disk_set(sim, "seg.0000000000000001", offset, bytes_make(&was, 1));
        store_content_fini(&content);
    }
    /* Between a control section and the next batch, and a content and the next, nothing is said. */
    cr_expect(lt(sz, tried, is_exhaustive() ? 2000 : 20), "%zu", tried);
}

/* Files ---------------------------------------------------------------------------------------- */

static struct bytes
copy_of(const char *name)
{
    struct bytes content = sim_disk_content(sim, name);
    uint8_t *copy = malloc(content.size + 1);
    if (content.size > 0) {
        memcpy(copy, content.data, content.size);
    }
    return bytes_make(copy, content.size);
}

Test(corruption, no_file_can_lose_its_end_unnoticed)
{
    for (uint32_t i = 0; i < name_count; i++) {
        struct bytes copy = copy_of(names[i]);
        for (uint64_t size = 0; size < copy.size; size = next_offset(size, copy.size)) {
            char what[160];
            (void)snprintf(what, sizeof(what), "%s cut to %zu", names[i], (size_t)size);
            sim_disk_cut(sim, names[i], size);
            (void)check_damage(names[i], what, false);
            sim_disk_replace(sim, names[i], copy);
        }
        free((void *)copy.data);
    }
}

static bool
is_segment(const char *name)
{
    uint64_t number;
    uint64_t last;
    return store_file_parse(name, &number, &last) == STORE_FILE_SEGMENT;
}

Test(corruption, segments_that_changed_places_are_refused)
{
    for (uint32_t i = 0; i < name_count; i++) {
        for (uint32_t j = i + 1; j < name_count; j++) {
            if (!is_segment(names[i]) || !is_segment(names[j])) {
                continue;
            }
            struct store_content content = {0};
            sim_disk_swap(sim, names[i], names[j]);
            cr_expect(eq(int, recover(&content, false), STATUS_CORRUPT));
            cr_expect(names_the_place(names[i]) || names_the_place(names[j]), "%s", why);
            sim_disk_swap(sim, names[i], names[j]);
            store_content_fini(&content);
        }
    }
}

/* Another directory's file, or that of an index, in a segment's place. */
Test(corruption, file_in_the_place_of_another_is_refused_or_made_anew)
{
    for (uint32_t i = 0; i < name_count; i++) {
        for (uint32_t j = 0; j < name_count; j++) {
            if (i == j || strcmp(names[i], "LOCK") == 0) {
                continue;
            }
            char what[160];
            struct bytes copy = copy_of(names[i]);
            struct bytes other = copy_of(names[j]);
            (void)snprintf(what, sizeof(what), "%s in the place of %s", names[j], names[i]);
            sim_disk_replace(sim, names[i], other);
            struct store_content content = {0};
            enum status status = recover(&content, false);
            if (status == STATUS_OK) {
                check_rows(&content, names[i], what);
            } else {
                cr_expect(eq(int, status, STATUS_CORRUPT), "%s", what);
                cr_expect(names_the_place(names[i]), "%s: %s", what, why);
            }
            store_content_fini(&content);
            sim_disk_replace(sim, names[i], copy);
            free((void *)copy.data);
            free((void *)other.data);
        }
    }
}

/* A segment as it was when it held little: the index and the batch behind it tell. */
Test(corruption, segment_from_the_past_is_refused_where_more_was_known_of_it)
{
    char name[STORE_NAME_SIZE];
    for (uint64_t number = 1; number + 1 < maker.newest.number; number++) {
        store_file_name(STORE_FILE_SEGMENT, number, 0, name);
        if (!sim_disk_has(sim, name)) {
            continue;
        }
        struct bytes copy = copy_of(name);
        struct store_content content = {0};
        uint8_t *past = malloc(copy.size);
        memcpy(past, copy.data, copy.size);
        memset(past + 6000, 0, copy.size - 6000);
        sim_disk_replace(sim, name, bytes_make(past, copy.size));
        enum status status = recover(&content, true);
        cr_expect(eq(int, status, STATUS_CORRUPT), "%s", name);
        cr_expect(names_the_place(name), "%s: %s", name, why);
        sim_disk_replace(sim, name, copy);
        store_content_fini(&content);
        free(past);
        free((void *)copy.data);
    }
}

/* A read error is not the end of the log, wherever it comes. */
Test(corruption, read_error_is_never_taken_for_an_end)
{
    struct store_content content = {0};
    uint64_t before = sim_disk_call_count(sim, SIM_DISK_READ);
    cr_assert(eq(int, recover(&content, false), STATUS_OK));
    uint64_t reads = sim_disk_call_count(sim, SIM_DISK_READ) - before;
    store_content_fini(&content);
    for (uint64_t nth = 1; nth <= reads; nth++) {
        sim_disk_fail(sim, SIM_DISK_READ, nth, 5);
        enum status status = recover(&content, false);
        if (status == STATUS_OK) {
            check_rows(&content, "x.dead", "after a read error");
        } else {
            cr_expect(eq(int, status, STATUS_IO), "read %zu: %s", (size_t)nth, why);
        }
        store_content_fini(&content);
        content = (struct store_content){0};
    }
}

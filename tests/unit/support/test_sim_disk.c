/* SPDX-License-Identifier: Apache-2.0 */
/* The disk of the tests must itself keep its word: what it loses, and what it may not lose. */
#include "tests/support/sim_disk.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "base/assert.h"

static struct sim_disk *sim;
static struct disk disk;

static void
set_up(void)
{
    sim = sim_disk_new();
    disk = disk_of_sim(sim);
}

static void
tear_down(void)
{
    sim_disk_free(&sim);
}

TestSuite(sim_disk, .init = set_up, .fini = tear_down);

static struct disk_file *
open_file(const char *name, enum disk_open mode)
{
    struct disk_file *file = NULL;
    cr_assert(eq(int, disk.open(disk.context, name, mode, &file), STATUS_OK));
    return file;
}

static void
write_text(struct disk_file *file, const char *text, uint64_t offset)
{
    cr_assert(eq(int, disk_write_bytes(&disk, file, text, strlen(text), offset), STATUS_OK));
}

static void
flush(struct disk_file *file)
{
    cr_assert(eq(int, disk.flush(disk.context, file), STATUS_OK));
}

static void
flush_names(void)
{
    cr_assert(eq(int, disk.flush_directory(disk.context), STATUS_OK));
}

/* A file of `size` octets that is on the disk, name and all. */
static struct disk_file *
durable_file(const char *name, size_t size, char filler)
{
    static char octets[64 * 1024];
    memset(octets, filler, sizeof(octets));
    struct disk_file *file = open_file(name, DISK_OPEN_CREATE);
    cr_assert(eq(int, disk_write_bytes(&disk, file, octets, size, 0), STATUS_OK));
    flush(file);
    flush_names();
    return file;
}

static void
expect_content(struct sim_disk *of, const char *name, const char *text)
{
    cr_assert(sim_disk_has(of, name), "%s is there", name);
    struct bytes content = sim_disk_content(of, name);
    cr_expect(bytes_equal(content, bytes_of(text)), "%s: %.*s", name, (int)content.size,
              (const char *)content.data);
}

static void
crash_at_random(struct sim_disk *which, uint64_t seed)
{
    struct random_source random = random_seeded(&seed);
    sim_disk_crash(which, SIM_DISK_RANDOM, &random);
}

/* fdatasync is what makes octets durable, and nothing else is. */
Test(sim_disk, keeps_what_was_flushed_and_loses_what_was_not)
{
    struct disk_file *file = durable_file("log", 0, ' ');
    write_text(file, "safe", 0);
    flush(file);
    write_text(file, "gone", 4);
    expect_content(sim, "log", "safegone");
    sim_disk_crash(sim, SIM_DISK_NONE, NULL);
    disk.close(disk.context, &file);
    expect_content(sim, "log", "safe");

    file = open_file("log", DISK_OPEN_WRITE);
    write_text(file, "SAFE and more", 0);
    sim_disk_crash(sim, SIM_DISK_NONE, NULL);
    disk.close(disk.context, &file);
    expect_content(sim, "log", "safe");
}

Test(sim_disk, a_process_that_is_killed_loses_nothing_that_it_wrote)
{
    struct disk_file *file = open_file("log", DISK_OPEN_CREATE);
    write_text(file, "written", 0);
    sim_disk_kill(sim);
    disk.close(disk.context, &file);
    expect_content(sim, "log", "written");
    sim_disk_crash(sim, SIM_DISK_NONE, NULL);
    expect_content(sim, "log", "written");
}

/* The two halves of a new file: its octets by its own flush, its name by the directory's. */
Test(sim_disk, a_name_is_durable_only_after_the_directory_was_flushed)
{
    struct disk_file *file = open_file("log", DISK_OPEN_CREATE);
    write_text(file, "octets", 0);
    flush(file);
    sim_disk_crash(sim, SIM_DISK_NONE, NULL);
    disk.close(disk.context, &file);
    cr_expect(not(sim_disk_has(sim, "log")));

    file = open_file("log", DISK_OPEN_CREATE);
    write_text(file, "octets", 0);
    flush_names();
    sim_disk_crash(sim, SIM_DISK_NONE, NULL);
    disk.close(disk.context, &file);
    expect_content(sim, "log", "");
}

/* The classic loss: a file renamed into place before it was flushed is there and empty. */
Test(sim_disk, names_may_live_where_octets_do_not)
{
    struct disk_file *old = durable_file("manifest", 3, 'o');
    disk.close(disk.context, &old);
    struct disk_file *file = open_file("manifest.new", DISK_OPEN_CREATE);
    write_text(file, "new", 0);
    cr_assert(eq(int, disk.rename(disk.context, "manifest.new", "manifest"), STATUS_OK));
    struct sim_disk *other = sim_disk_copy(sim);

    sim_disk_crash(sim, SIM_DISK_NAMES, NULL);
    disk.close(disk.context, &file);
    expect_content(sim, "manifest", "");
    cr_expect(eq(u32, sim_disk_file_count(sim), 1));

    sim_disk_crash(other, SIM_DISK_NONE, NULL);
    expect_content(other, "manifest", "ooo");
    cr_expect(eq(u32, sim_disk_file_count(other), 1));
    sim_disk_free(&other);
}

/* A rename is atomic: under either name, or in front of what it replaces, never nowhere. */
Test(sim_disk, a_rename_is_kept_or_lost_as_a_whole)
{
    struct disk_file *a = durable_file("a", 1, 'a');
    struct disk_file *b = durable_file("b", 1, 'b');
    disk.close(disk.context, &a);
    disk.close(disk.context, &b);
    cr_assert(eq(int, disk.rename(disk.context, "a", "b"), STATUS_OK));
    bool was_kept = false;
    bool was_lost = false;
    for (uint64_t seed = 0; seed < 64; seed++) {
        struct sim_disk *copy = sim_disk_copy(sim);
        crash_at_random(copy, seed);
        bool is_lost = sim_disk_has(copy, "a");
        expect_content(copy, "b", is_lost ? "b" : "a");
        was_lost |= is_lost;
        was_kept |= !is_lost;
        sim_disk_free(&copy);
    }
    cr_expect(was_kept);
    cr_expect(was_lost);
}

/* Changes of different names have no order; those of one name have. */
Test(sim_disk, changes_of_names_are_reordered_but_not_those_that_need_each_other)
{
    static const char *const names[] = {"seg.1", "seg.2", "seg.3"};
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        struct disk_file *file = open_file(names[i], DISK_OPEN_CREATE);
        disk.close(disk.context, &file);
    }
    cr_assert(eq(int, disk.rename(disk.context, "seg.3", "seg.4"), STATUS_OK));
    uint32_t seen = 0; /* a bit for each set of names that was left */
    for (uint64_t seed = 0; seed < 400; seed++) {
        struct sim_disk *copy = sim_disk_copy(sim);
        crash_at_random(copy, seed);
        uint32_t set =
            (uint32_t)sim_disk_has(copy, "seg.1") | (uint32_t)sim_disk_has(copy, "seg.2") << 1 |
            (uint32_t)sim_disk_has(copy, "seg.3") << 2 | (uint32_t)sim_disk_has(copy, "seg.4") << 3;
        seen |= 1U << set;
        sim_disk_free(&copy);
    }
    /* Both seg.3 and seg.4 is the one thing that cannot be. */
    cr_expect(eq(u32, seen, 0x0fff));
}

/* A name that was freed by one rename and taken by the next: the second never lives alone, or the
 * file that moved away would be nowhere. */
Test(sim_disk, a_change_of_a_name_needs_the_one_before_it)
{
    struct disk_file *a = durable_file("a", 1, 'a');
    struct disk_file *c = durable_file("c", 1, 'c');
    disk.close(disk.context, &a);
    disk.close(disk.context, &c);
    cr_assert(eq(int, disk.rename(disk.context, "a", "b"), STATUS_OK));
    cr_assert(eq(int, disk.rename(disk.context, "c", "a"), STATUS_OK));
    uint32_t seen = 0;
    for (uint64_t seed = 0; seed < 100; seed++) {
        struct sim_disk *copy = sim_disk_copy(sim);
        crash_at_random(copy, seed);
        bool first_lives = sim_disk_has(copy, "b");
        bool second_lives = !sim_disk_has(copy, "c");
        expect_content(copy, first_lives ? "b" : "a", "a");
        expect_content(copy, second_lives ? "a" : "c", "c");
        seen |= 1U << ((uint32_t)first_lives + 2 * (uint32_t)second_lives);
        sim_disk_free(&copy);
    }
    cr_expect(eq(u32, seen, 1U << 0 | 1U << 1 | 1U << 3));
}

/* What a write of several sectors may be torn into; a sector is never torn itself. */
Test(sim_disk, unflushed_sectors_live_and_die_one_by_one)
{
    enum { SECTORS = 3 };
    static char octets[SECTORS * SIM_DISK_SECTOR];
    struct disk_file *file = durable_file("log", sizeof(octets), 'o');
    memset(octets, 'n', sizeof(octets));
    cr_assert(eq(int, disk_write_bytes(&disk, file, octets, sizeof(octets), 0), STATUS_OK));
    uint32_t seen = 0;
    for (uint64_t seed = 0; seed < 200; seed++) {
        struct sim_disk *copy = sim_disk_copy(sim);
        crash_at_random(copy, seed);
        struct bytes content = sim_disk_content(copy, "log");
        uint32_t set = 0;
        for (size_t i = 0; i < SECTORS; i++) {
            const uint8_t *sector = content.data + i * SIM_DISK_SECTOR;
            cr_assert(eq(int, memcmp(sector, sector + 1, SIM_DISK_SECTOR - 1), 0), "torn");
            set |= (uint32_t)(sector[0] == 'n') << i;
        }
        seen |= 1U << set;
        sim_disk_free(&copy);
    }
    cr_expect(eq(u32, seen, 0xff), "every subset");
    disk.close(disk.context, &file);
}

/* The kernel may have written a sector back between two writes to it. */
Test(sim_disk, any_of_several_writes_to_a_sector_may_be_the_last_that_lives)
{
    struct disk_file *file = durable_file("log", 1, '0');
    write_text(file, "1", 0);
    write_text(file, "2", 0);
    uint32_t seen = 0;
    for (uint64_t seed = 0; seed < 100; seed++) {
        struct sim_disk *copy = sim_disk_copy(sim);
        crash_at_random(copy, seed);
        seen |= 1U << (sim_disk_content(copy, "log").data[0] - '0');
        sim_disk_free(&copy);
    }
    cr_expect(eq(u32, seen, 7));
    disk.close(disk.context, &file);
}

/* A file that was appended to has any of its sizes; what its size covers is new octets or zeros. */
Test(sim_disk, an_appended_file_has_one_of_its_sizes_and_no_rubbish)
{
    static char octets[SIM_DISK_SECTOR];
    struct disk_file *file = durable_file("log", SIM_DISK_SECTOR, 'o');
    memset(octets, 'n', sizeof(octets));
    for (uint64_t i = 1; i <= 3; i++) {
        cr_assert(eq(int,
                     disk_write_bytes(&disk, file, octets, sizeof(octets), i * SIM_DISK_SECTOR),
                     STATUS_OK));
    }
    uint32_t sizes = 0;
    bool was_zero = false;
    for (uint64_t seed = 0; seed < 200; seed++) {
        struct sim_disk *copy = sim_disk_copy(sim);
        crash_at_random(copy, seed);
        struct bytes content = sim_disk_content(copy, "log");
        sizes |= 1U << content.size / SIM_DISK_SECTOR;
        for (size_t i = SIM_DISK_SECTOR; i < content.size; i++) {
            cr_assert(content.data[i] == 'n' || content.data[i] == 0);
            was_zero |= content.data[i] == 0;
        }
        cr_assert(eq(chr, (char)content.data[SIM_DISK_SECTOR - 1], 'o'));
        size_t size = content.size;
        sim_disk_cut(copy, "log", (uint64_t)4 * SIM_DISK_SECTOR);
        content = sim_disk_content(copy, "log");
        for (size_t i = size; i < content.size; i++) {
            cr_assert(eq(u8, content.data[i], 0), "what it lost with its size is gone");
        }
        sim_disk_free(&copy);
    }
    cr_expect(eq(u32, sizes, 0x1e));
    cr_expect(was_zero);
    disk.close(disk.context, &file);
}

/* A truncation that lived never shows again what it cut off, though the file grew again. */
Test(sim_disk, a_truncation_lives_or_dies_with_its_size)
{
    struct disk_file *file = durable_file("log", 4 * SIM_DISK_SECTOR, 'o');
    cr_assert(eq(int, disk.truncate(disk.context, file, 100), STATUS_OK));
    write_text(file, "n", 3 * SIM_DISK_SECTOR);
    uint32_t sizes = 0;
    for (uint64_t seed = 0; seed < 200; seed++) {
        struct sim_disk *copy = sim_disk_copy(sim);
        crash_at_random(copy, seed);
        struct bytes content = sim_disk_content(copy, "log");
        bool is_cut = content.size != 4 * (size_t)SIM_DISK_SECTOR;
        for (size_t i = 0; i < content.size; i++) {
            bool is_old = content.data[i] == 'o';
            cr_assert(eq(int, is_old, i < 100 || !is_cut), "seed %lu at %zu", seed, i);
        }
        sizes |= content.size == 100 ? 1 : !is_cut ? 2 : 4;
        sim_disk_free(&copy);
    }
    cr_expect(eq(u32, sizes, 7));
    disk.close(disk.context, &file);
}

/* What a file had behind its end before a crash is zeros when it grows again. */
Test(sim_disk, a_file_that_grows_again_shows_zeros)
{
    struct disk_file *file = durable_file("log", 1, 'o');
    write_text(file, "lost", 1);
    sim_disk_crash(sim, SIM_DISK_NONE, NULL);
    disk.close(disk.context, &file);
    file = open_file("log", DISK_OPEN_WRITE);
    cr_assert(eq(int, disk.truncate(disk.context, file, 3), STATUS_OK));
    cr_expect(bytes_equal(sim_disk_content(sim, "log"), bytes_make("o\0\0", 3)));
    disk.close(disk.context, &file);
}

/* A failing seed must fail again. */
Test(sim_disk, the_same_seed_leaves_the_same_disk)
{
    static char octets[64 * SIM_DISK_SECTOR];
    struct disk_file *file = durable_file("log", sizeof(octets), 'o');
    memset(octets, 'n', sizeof(octets));
    cr_assert(eq(int, disk_write_bytes(&disk, file, octets, sizeof(octets), 0), STATUS_OK));
    struct sim_disk *one = sim_disk_copy(sim);
    struct sim_disk *same = sim_disk_copy(sim);
    crash_at_random(one, 7);
    crash_at_random(same, 7);
    crash_at_random(sim, 8);
    cr_expect(bytes_equal(sim_disk_content(one, "log"), sim_disk_content(same, "log")));
    cr_expect(not(bytes_equal(sim_disk_content(one, "log"), sim_disk_content(sim, "log"))));
    sim_disk_free(&one);
    sim_disk_free(&same);
    disk.close(disk.context, &file);
}

/* The writer is dropped after the crash, and must not reach the disk that recovery reads. */
Test(sim_disk, what_was_open_in_a_crash_can_only_be_closed)
{
    struct disk_file *file = durable_file("log", 10, 'o');
    sim_disk_kill(sim);
    size_t read = 0;
    uint64_t size = 0;
    char octet = 0;
    errno = 0;
    cr_expect(eq(int, disk_write_bytes(&disk, file, "x", 1, 0), STATUS_IO));
    cr_expect(eq(int, errno, EBADF));
    cr_expect(eq(int, disk.read(disk.context, file, &octet, 1, 0, &read), STATUS_IO));
    cr_expect(eq(int, disk.flush(disk.context, file), STATUS_IO));
    cr_expect(eq(int, disk.size(disk.context, file, &size), STATUS_IO));
    cr_expect(eq(int, disk.truncate(disk.context, file, 0), STATUS_IO));
    disk.close(disk.context, &file);
    expect_content(sim, "log", "oooooooooo");
}

/* Each call of the interface can be made to fail, once, at the n-th time. */
Test(sim_disk, the_nth_call_fails_once_and_has_no_effect)
{
    struct disk_file *file = durable_file("log", 3, 'o');
    sim_disk_fail(sim, SIM_DISK_WRITE, 2, EIO);
    write_text(file, "1", 0);
    cr_expect(eq(u64, sim_disk_fault_left(sim, SIM_DISK_WRITE), 1));
    errno = 0;
    cr_expect(eq(int, disk_write_bytes(&disk, file, "2", 1, 0), STATUS_IO));
    cr_expect(eq(int, errno, EIO));
    expect_content(sim, "log", "1oo");
    write_text(file, "3", 0);
    expect_content(sim, "log", "3oo");
    cr_expect(eq(u64, sim_disk_call_count(sim, SIM_DISK_WRITE), 4));

    sim_disk_fail(sim, SIM_DISK_OPEN, 1, EMFILE);
    sim_disk_fail(sim, SIM_DISK_READ, 1, EIO);
    sim_disk_fail(sim, SIM_DISK_SIZE, 1, EIO);
    sim_disk_fail(sim, SIM_DISK_TRUNCATE, 1, EIO);
    sim_disk_fail(sim, SIM_DISK_RENAME, 1, ENOSPC);
    sim_disk_fail(sim, SIM_DISK_UNLINK, 1, EIO);
    sim_disk_fail(sim, SIM_DISK_LIST, 1, EIO);
    sim_disk_fail(sim, SIM_DISK_SPACE, 1, EIO);
    struct disk_file *other = NULL;
    struct disk_space space;
    uint64_t size = 0;
    size_t read = 0;
    char octet = 0;
    cr_expect(eq(int, disk.open(disk.context, "x", DISK_OPEN_CREATE, &other), STATUS_IO));
    cr_expect(eq(int, disk.read(disk.context, file, &octet, 1, 0, &read), STATUS_IO));
    cr_expect(eq(int, disk.size(disk.context, file, &size), STATUS_IO));
    cr_expect(eq(int, disk.truncate(disk.context, file, 0), STATUS_IO));
    cr_expect(eq(int, disk.rename(disk.context, "log", "x"), STATUS_IO));
    cr_expect(eq(int, disk.unlink(disk.context, "log"), STATUS_IO));
    cr_expect(eq(int, disk.list(disk.context, NULL, NULL), STATUS_IO));
    cr_expect(eq(int, disk.space(disk.context, &space), STATUS_IO));
    expect_content(sim, "log", "3oo");
    cr_expect(not(sim_disk_has(sim, "x")));
    disk.close(disk.context, &file);
}

Test(sim_disk, a_short_write_leaves_what_it_wrote_before_it_failed)
{
    struct disk_file *file = durable_file("log", 6, 'o');
    struct iovec parts[] = {{"ab", 2}, {NULL, 0}, {"cd", 2}};
    sim_disk_fail_short(sim, 1, 3, ENOSPC);
    errno = 0;
    cr_expect(eq(int, disk.write(disk.context, file, parts, ARRAY_LEN(parts), 1), STATUS_IO));
    cr_expect(eq(int, errno, ENOSPC));
    expect_content(sim, "log", "oabcoo");
    cr_expect(eq(int, disk.write(disk.context, file, parts, ARRAY_LEN(parts), 1), STATUS_OK));
    expect_content(sim, "log", "oabcdo");
    disk.close(disk.context, &file);
}

/* After a failed fsync the kernel calls the pages clean: a second one that succeeds proves nothing.
 */
Test(sim_disk, nothing_is_durable_by_a_flush_after_one_that_failed)
{
    struct disk_file *file = durable_file("log", 3, 'o');
    write_text(file, "new", 0);
    sim_disk_fail(sim, SIM_DISK_FLUSH, 1, EIO);
    cr_expect(eq(int, disk.flush(disk.context, file), STATUS_IO));
    flush(file);
    cr_assert(eq(int, disk.rename(disk.context, "log", "gol"), STATUS_OK));
    sim_disk_fail(sim, SIM_DISK_FLUSH_DIRECTORY, 1, EIO);
    cr_expect(eq(int, disk.flush_directory(disk.context), STATUS_IO));
    flush_names();
    sim_disk_crash(sim, SIM_DISK_NONE, NULL);
    disk.close(disk.context, &file);
    expect_content(sim, "log", "ooo");

    file = open_file("log", DISK_OPEN_WRITE);
    write_text(file, "new", 0);
    flush(file);
    sim_disk_crash(sim, SIM_DISK_NONE, NULL);
    disk.close(disk.context, &file);
    expect_content(sim, "log", "new");
}

/* What is written already can be written again on a full disk: so the log's spares stay usable. */
Test(sim_disk, only_writes_that_grow_a_file_need_room)
{
    struct disk_space space;
    struct disk_file *file = durable_file("log", 6, 'o');
    sim_disk_set_capacity(sim, 8);
    cr_assert(eq(int, disk.space(disk.context, &space), STATUS_OK));
    cr_expect(eq(u64, space.total_bytes, 8));
    cr_expect(eq(u64, space.free_bytes, 2));
    write_text(file, "123456", 0);
    errno = 0;
    cr_expect(eq(int, disk_write_bytes(&disk, file, "abcd", 4, 5), STATUS_IO));
    cr_expect(eq(int, errno, ENOSPC));
    expect_content(sim, "log", "12345abc");
    cr_expect(eq(int, disk.truncate(disk.context, file, 9), STATUS_IO));
    disk.close(disk.context, &file);
    cr_assert(eq(int, disk.unlink(disk.context, "log"), STATUS_OK));
    cr_assert(eq(int, disk.space(disk.context, &space), STATUS_OK));
    cr_expect(eq(u64, space.free_bytes, 8));
}

/* Where each write goes to a new place, the old one is room again only after a flush; the same with
 * files that were removed. */
Test(sim_disk, a_disk_that_copies_on_write_needs_room_to_write_over_what_is_there)
{
    struct disk_file *file = durable_file("log", 6, 'o');
    sim_disk_set_copies_on_write(sim, true);
    sim_disk_set_capacity(sim, 10);
    write_text(file, "123", 0);
    cr_expect(eq(u64, sim_disk_free_bytes(sim), 1));
    errno = 0;
    cr_expect(eq(int, disk_write_bytes(&disk, file, "xy", 2, 3), STATUS_IO));
    cr_expect(eq(int, errno, ENOSPC));
    expect_content(sim, "log", "123xoo");
    cr_assert(eq(int, disk.flush(disk.context, file), STATUS_OK));
    cr_expect(eq(u64, sim_disk_free_bytes(sim), 4));
    cr_expect(eq(int, disk_write_bytes(&disk, file, "abcde", 5, 5), STATUS_IO), "over and beyond");
    expect_content(sim, "log", "123xoabcd");
    cr_assert(eq(int, disk.flush(disk.context, file), STATUS_OK));
    disk.close(disk.context, &file);
    cr_assert(eq(int, disk.unlink(disk.context, "log"), STATUS_OK));
    cr_expect(eq(u64, sim_disk_free_bytes(sim), 1));
    cr_assert(eq(int, disk.flush_directory(disk.context), STATUS_OK));
    cr_expect(eq(u64, sim_disk_free_bytes(sim), 10));
}

Test(sim_disk, answers_as_a_directory_would)
{
    struct disk_file *file = NULL;
    struct disk_file *reader = durable_file("log", 2, 'o');
    disk.close(disk.context, &reader);
    reader = open_file("log", DISK_OPEN_READ);
    errno = 0;
    cr_expect(eq(int, disk.open(disk.context, "x", DISK_OPEN_WRITE, &file), STATUS_IO));
    cr_expect(eq(int, errno, ENOENT));
    cr_expect(eq(int, disk.open(disk.context, "log", DISK_OPEN_CREATE, &file), STATUS_IO));
    cr_expect(eq(int, errno, EEXIST));
    cr_expect(eq(int, disk.open(disk.context, "../log", DISK_OPEN_READ, &file), STATUS_IO));
    cr_expect(eq(int, errno, EINVAL));
    cr_expect(eq(int, disk.unlink(disk.context, "x"), STATUS_IO));
    cr_expect(eq(int, errno, ENOENT));
    cr_expect(eq(int, disk.rename(disk.context, "x", "y"), STATUS_IO));
    cr_expect(eq(int, errno, ENOENT));
    cr_expect(eq(int, disk_write_bytes(&disk, reader, "x", 1, 0), STATUS_IO));
    cr_expect(eq(int, errno, EBADF));
    char octets[4];
    size_t read = 9;
    cr_expect(eq(int, disk.read(disk.context, reader, octets, 4, 1, &read), STATUS_OK));
    cr_expect(eq(sz, read, 1));
    cr_assert(eq(int, disk.unlink(disk.context, "log"), STATUS_OK));
    flush_names();
    cr_expect(eq(int, disk.read(disk.context, reader, octets, 4, 0, &read), STATUS_OK));
    cr_expect(eq(sz, read, 2), "an open file outlives its name");
    disk.close(disk.context, &reader);
}

static void
unlink_it(void *argument, const char *name)
{
    const struct disk *of = argument;
    cr_expect(eq(int, of->unlink(of->context, name), STATUS_OK));
}

Test(sim_disk, what_is_called_for_each_name_may_use_the_disk)
{
    struct disk_file *a = durable_file("a", 0, ' ');
    struct disk_file *b = durable_file("b", 0, ' ');
    cr_expect(eq(int, disk.list(disk.context, unlink_it, &disk), STATUS_OK));
    cr_expect(eq(u32, sim_disk_file_count(sim), 0));
    disk.close(disk.context, &a);
    disk.close(disk.context, &b);
}

static void
note_call(void *context, const struct sim_disk_op *op)
{
    char *line = context;
    size_t length = strlen(line);
    (void)snprintf(line + length, 128 - length, "%d:%s:%lu:%d ", op->call, op->name, op->size,
                   op->error);
}

/* "No confirm before the flush" is asserted by what the hook saw. */
Test(sim_disk, the_hook_sees_each_call_in_order_with_its_result)
{
    char line[128] = "";
    sim_disk_set_hook(sim, note_call, line);
    struct disk_file *file = open_file("log", DISK_OPEN_CREATE);
    write_text(file, "octets", 0);
    sim_disk_fail(sim, SIM_DISK_FLUSH, 1, EIO);
    cr_expect(eq(int, disk.flush(disk.context, file), STATUS_IO));
    sim_disk_set_hook(sim, NULL, NULL);
    flush(file);
    cr_expect(eq(str, line, "0:log:0:0 1:log:6:0 3:log:0:5 "));
    disk.close(disk.context, &file);
}

/* The states of a power cut after each call are those that a real crash there would have left. */
Test(sim_disk, a_replay_is_the_disk_after_so_many_calls)
{
    struct disk_file *old = durable_file("old", 3, 'o');
    struct sim_recording *recording = sim_disk_record(sim);
    struct disk_file *file = open_file("new", DISK_OPEN_CREATE);
    write_text(file, "1", 0);
    write_text(old, "2", 0);
    flush(file);
    cr_assert(eq(int, disk.rename(disk.context, "new", "newer"), STATUS_OK));
    write_text(file, "3", 1);
    flush_names();
    cr_assert(eq(int, disk.unlink(disk.context, "old"), STATUS_OK));
    cr_assert(eq(int, disk.truncate(disk.context, file, 1), STATUS_OK));
    sim_disk_stop_recording(sim);
    write_text(file, "not recorded", 0);

    static const struct {
        uint32_t prefix;
        enum sim_disk_policy policy;
        const char *old, *new, *newer; /* contents; NULL: not there */
    } rows[] = {
        {0, SIM_DISK_ALL, "ooo", NULL, NULL},  {1, SIM_DISK_NONE, "ooo", NULL, NULL},
        {1, SIM_DISK_ALL, "ooo", "", NULL},    {2, SIM_DISK_NAMES, "ooo", "", NULL},
        {3, SIM_DISK_ALL, "2oo", "1", NULL},   {4, SIM_DISK_NAMES, "ooo", "1", NULL},
        {5, SIM_DISK_NONE, "ooo", NULL, NULL}, {5, SIM_DISK_NAMES, "ooo", NULL, "1"},
        {6, SIM_DISK_ALL, "2oo", NULL, "13"},  {7, SIM_DISK_NONE, "ooo", NULL, "1"},
        {8, SIM_DISK_NONE, "ooo", NULL, "1"},  {8, SIM_DISK_ALL, NULL, NULL, "13"},
        {9, SIM_DISK_ALL, NULL, NULL, "1"},    {2, SIM_DISK_ALL, "ooo", "1", NULL},
    };
    cr_assert(eq(u32, sim_recording_count(recording), 9));
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct sim_disk *state = sim_disk_replay(recording, rows[i].prefix, rows[i].policy, 1);
        const char *const names[] = {"old", "new", "newer"};
        const char *const contents[] = {rows[i].old, rows[i].new, rows[i].newer};
        for (size_t j = 0; j < ARRAY_LEN(names); j++) {
            cr_expect(eq(int, sim_disk_has(state, names[j]), contents[j] != NULL), "row %zu %s", i,
                      names[j]);
            if (contents[j] != NULL) {
                expect_content(state, names[j], contents[j]);
            }
        }
        sim_disk_free(&state);
    }
    struct sim_disk_op op = sim_recording_op(recording, 4);
    cr_expect(eq(int, op.call, SIM_DISK_RENAME));
    cr_expect(eq(str, (char *)op.name, "new"));
    cr_expect(eq(str, (char *)op.to, "newer"));
    op = sim_recording_op(recording, 5);
    cr_expect(eq(int, op.call, SIM_DISK_WRITE));
    cr_expect(eq(str, (char *)op.name, "newer"));
    cr_expect(eq(u64, op.offset, 1));
    sim_recording_free(&recording);
    disk.close(disk.context, &file);
    disk.close(disk.context, &old);
}

Test(sim_disk, a_replay_with_a_seed_is_repeatable_and_crosses_failed_calls)
{
    static char octets[8 * SIM_DISK_SECTOR];
    struct disk_file *file = durable_file("log", sizeof(octets), 'o');
    memset(octets, 'n', sizeof(octets));
    struct sim_recording *recording = sim_disk_record(sim);
    sim_disk_fail_short(sim, 1, SIM_DISK_SECTOR, EIO);
    cr_assert(eq(int, disk_write_bytes(&disk, file, octets, sizeof(octets), 0), STATUS_IO));
    sim_disk_fail(sim, SIM_DISK_FLUSH, 1, EIO);
    cr_assert(eq(int, disk.flush(disk.context, file), STATUS_IO));
    cr_assert(eq(int, disk_write_bytes(&disk, file, octets, sizeof(octets), 0), STATUS_OK));
    flush(file);
    sim_disk_stop_recording(sim);
    cr_assert(eq(u32, sim_recording_count(recording), 4));

    struct sim_disk *none = sim_disk_replay(recording, 4, SIM_DISK_NONE, 0);
    cr_expect(eq(chr, (char)sim_disk_content(none, "log").data[0], 'o'));
    struct sim_disk *one = sim_disk_replay(recording, 4, SIM_DISK_RANDOM, 5);
    struct sim_disk *same = sim_disk_replay(recording, 4, SIM_DISK_RANDOM, 5);
    cr_expect(bytes_equal(sim_disk_content(one, "log"), sim_disk_content(same, "log")));
    struct sim_disk *shorter = sim_disk_replay(recording, 1, SIM_DISK_ALL, 0);
    struct bytes content = sim_disk_content(shorter, "log");
    cr_expect(eq(chr, (char)content.data[SIM_DISK_SECTOR - 1], 'n'));
    cr_expect(eq(chr, (char)content.data[SIM_DISK_SECTOR], 'o'));
    sim_disk_free(&none);
    sim_disk_free(&one);
    sim_disk_free(&same);
    sim_disk_free(&shorter);
    sim_recording_free(&recording);
    disk.close(disk.context, &file);
}

/* Damage is what recovery finds, so no crash may undo it. */
Test(sim_disk, damage_is_on_the_disk_at_once)
{
    sim_disk_replace(sim, "a", bytes_of("abc"));
    sim_disk_replace(sim, "b", bytes_of("xyz"));
    sim_disk_replace(sim, "c", bytes_of("gone"));
    sim_disk_set(sim, "a", 2, bytes_of("de"));
    sim_disk_flip_bit(sim, "a", 0, 5);
    sim_disk_cut(sim, "b", 1);
    sim_disk_swap(sim, "a", "b");
    sim_disk_remove(sim, "c");
    sim_disk_crash(sim, SIM_DISK_NONE, NULL);
    expect_content(sim, "a", "x");
    expect_content(sim, "b", "Abde");
    cr_expect(eq(u32, sim_disk_file_count(sim), 2));
    cr_expect(eq(str, (char *)sim_disk_name(sim, 0), "a"));
    sim_disk_replace(sim, "b", bytes_of("k"));
    expect_content(sim, "b", "k");
}

/* Against a model: contents of live files are exactly what was written, whatever the mixture. */
Test(sim_disk, reads_give_what_was_written_last)
{
    enum { SIZE = 5000 };
    static uint8_t model[SIZE];
    static uint8_t octets[SIZE];
    uint64_t state = 3;
    size_t size = 0;
    struct random_source random = random_seeded(&state);
    struct disk_file *file = open_file("log", DISK_OPEN_CREATE);
    flush_names();
    for (int round = 0; round < 3000; round++) {
        uint64_t what = random_u64(&random) % 16;
        size_t offset = random_u64(&random) % SIZE;
        if (what == 0) {
            cr_assert(eq(int, disk.truncate(disk.context, file, offset), STATUS_OK));
            memset(model + offset, 0, SIZE - offset);
            size = offset;
        } else if (what == 1) {
            flush(file);
        } else if (what == 2) {
            sim_disk_kill(sim);
            disk.close(disk.context, &file);
            file = open_file("log", DISK_OPEN_WRITE);
        } else {
            size_t count = random_u64(&random) % (SIZE - offset + 1);
            memset(octets, round & 0xff, count);
            memcpy(model + offset, octets, count);
            cr_assert(eq(int, disk_write_bytes(&disk, file, octets, count, offset), STATUS_OK));
            size = count > 0 && offset + count > size ? offset + count : size;
        }
        cr_assert(bytes_equal(sim_disk_content(sim, "log"), bytes_make(model, size)), "%d", round);
    }
    disk.close(disk.context, &file);
}

static void *
write_many(void *argument)
{
    struct disk_file *file = open_file(argument, DISK_OPEN_CREATE);
    for (int i = 0; i < 500; i++) {
        write_text(file, "octets", (uint64_t)i * 6);
        flush(file);
        flush_names();
    }
    disk.close(disk.context, &file);
    return NULL;
}

/* The log thread writes while an I/O thread reads. */
Test(sim_disk, two_threads_may_use_it_at_once)
{
    pthread_t thread;
    cr_assert(eq(int, pthread_create(&thread, NULL, write_many, "a"), 0));
    (void)write_many("b");
    cr_assert(eq(int, pthread_join(thread, NULL), 0));
    sim_disk_crash(sim, SIM_DISK_NONE, NULL);
    cr_expect(eq(sz, sim_disk_content(sim, "a").size, 3000));
    cr_expect(eq(sz, sim_disk_content(sim, "b").size, 3000));
    cr_expect(eq(u64, sim_disk_call_count(sim, SIM_DISK_WRITE), 1000));
}

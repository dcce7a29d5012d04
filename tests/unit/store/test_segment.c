/* SPDX-License-Identifier: Apache-2.0 */
/* Names and headers of files, and how a segment comes and goes. */
#include "store/segment.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>

#include <errno.h>
#include <stdio.h>

#include "base/assert.h"
#include "store/log_failure.h"
#include "tests/support/sim_disk.h"

enum { SLOT = 64 * 1024 };

static struct sim_disk *sim;
static struct disk disk;
static struct log_failure failure;

static void
set_up(void)
{
    sim = sim_disk_new();
    disk = disk_of_sim(sim);
    failure = (struct log_failure){0};
}

static void
tear_down(void)
{
    sim_disk_free(&sim);
}

TestSuite(segment, .init = set_up, .fini = tear_down);

static struct segment_header
header_of(uint64_t number)
{
    return (struct segment_header){
        .number = number,
        .base_lsn = number * SLOT,
        .slot_size = SLOT,
        .capacity = SLOT,
        .epoch = 3,
        .group = 0,
        .cluster_id = "fifteen letters",
    };
}

static const char *
segment_name(uint64_t number)
{
    static char name[STORE_NAME_SIZE];
    return store_file_name(STORE_FILE_SEGMENT, number, 0, name);
}

static const char *
spare_name(uint64_t number)
{
    static char name[STORE_NAME_SIZE];
    return store_file_name(STORE_FILE_SPARE, number, 0, name);
}

static bool
has_segment(struct sim_disk *where, uint64_t number, struct segment_header *header)
{
    if (!sim_disk_has(where, segment_name(number))) {
        return false;
    }
    struct bytes content = sim_disk_content(where, segment_name(number));
    return content.size == SLOT && segment_header_decode(header, content.data) == STATUS_OK;
}

/* docs/store-format.md, The directory: the names, and nothing that only looks like one. */
Test(segment, names_say_what_a_file_is)
{
    static const struct {
        const char *name;
        enum store_file_kind kind;
        uint64_t number, last;
    } rows[] = {
        {"LOCK", STORE_FILE_LOCK, 0, 0},
        {"MANIFEST", STORE_FILE_MANIFEST, 0, 0},
        {"seg.00000000000000ff", STORE_FILE_SEGMENT, 255, 255},
        {"seg.00000000000000ff.idx", STORE_FILE_INDEX, 255, 255},
        {"seg.00000000000000ff.dead", STORE_FILE_DEAD, 255, 255},
        {"pack.0000000000000001.0000000000000003", STORE_FILE_PACK, 1, 3},
        {"snap.fedcba9876543210", STORE_FILE_SNAPSHOT, UINT64_C(0xfedcba9876543210),
         UINT64_C(0xfedcba9876543210)},
        {"spare.0000000000000001", STORE_FILE_SPARE, 1, 1},
        {"spill.0000000000000007", STORE_FILE_SPILL, 7, 7},
        {"ballast", STORE_FILE_BALLAST, 0, 0},
        {"ballast.1", STORE_FILE_OTHER, 0, 0},
        {"MANIFEST.tmp", STORE_FILE_TEMPORARY, 0, 0},
        {"seg.0000000000000001.tmp", STORE_FILE_TEMPORARY, 0, 0},
        {"seg.1", STORE_FILE_OTHER, 0, 0},
        {"seg.00000000000000FF", STORE_FILE_OTHER, 0, 0},
        {"seg.00000000000000ff.idx2", STORE_FILE_OTHER, 0, 0},
        {"seg.00000000000000fff", STORE_FILE_OTHER, 0, 0},
        {"pack.0000000000000003.0000000000000001", STORE_FILE_OTHER, 0, 0},
        {"pack.0000000000000001", STORE_FILE_OTHER, 0, 0},
        {"lost+found", STORE_FILE_OTHER, 0, 0},
        {"", STORE_FILE_OTHER, 0, 0},
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        uint64_t number = 0;
        uint64_t last = 0;
        enum store_file_kind kind = store_file_parse(rows[i].name, &number, &last);
        cr_expect(eq(int, kind, rows[i].kind), "%s", rows[i].name);
        cr_expect(eq(u64, number, rows[i].number), "%s", rows[i].name);
        cr_expect(eq(u64, last, rows[i].last), "%s", rows[i].name);
        char name[STORE_NAME_SIZE];
        if (kind > STORE_FILE_LOCK && kind != STORE_FILE_TEMPORARY) {
            cr_expect(
                eq(str, (char *)store_file_name(kind, number, last, name), (char *)rows[i].name));
        }
    }
}

/* What is written is what is read. */
Test(segment, a_header_survives_encoding)
{
    struct segment_header header = header_of(9);
    header.capacity = SLOT / 2;
    uint8_t octets[SEGMENT_HEADER_SIZE];
    segment_header_encode(&header, octets);
    struct segment_header read = {0};
    cr_assert(eq(int, segment_header_decode(&read, octets), STATUS_OK));
    cr_expect(eq(u64, read.number, 9));
    cr_expect(eq(u64, read.base_lsn, 9 * SLOT));
    cr_expect(eq(u64, read.slot_size, SLOT));
    cr_expect(eq(u64, read.capacity, SLOT / 2));
    cr_expect(eq(u64, read.epoch, 3));
    cr_expect(eq(int, memcmp(read.cluster_id, header.cluster_id, CLUSTER_ID_SIZE), 0));
}

/* F6: whatever bit flips in the part that counts, the header is refused. */
Test(segment, a_header_with_any_bit_flipped_is_refused)
{
    struct segment_header header = header_of(1);
    uint8_t octets[SEGMENT_HEADER_SIZE];
    segment_header_encode(&header, octets);
    for (size_t bit = 0; bit < 84 * 8; bit++) {
        octets[bit / 8] ^= (uint8_t)(1U << bit % 8);
        struct segment_header read;
        cr_expect(eq(int, segment_header_decode(&read, octets), STATUS_CORRUPT), "bit %zu", bit);
        octets[bit / 8] ^= (uint8_t)(1U << bit % 8);
    }
}

/* A checksum that is right does not make sizes right: they come from a disk. */
Test(segment, a_header_with_impossible_sizes_is_refused)
{
    struct segment_header rows[] = {header_of(1), header_of(1), header_of(1), header_of(1)};
    rows[0].capacity = SLOT + 1;
    rows[1].capacity = SEGMENT_HEADER_SIZE;
    rows[2].base_lsn += 64;
    rows[3].base_lsn = UINT64_MAX - 4095;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        uint8_t octets[SEGMENT_HEADER_SIZE];
        segment_header_encode(&rows[i], octets);
        struct segment_header read;
        cr_expect(eq(int, segment_header_decode(&read, octets), STATUS_CORRUPT), "row %zu", i);
    }
}

/* Part 7: a segment is written full of zeros before its first use. */
Test(segment, a_new_segment_is_a_header_and_zeros)
{
    struct segment_header header = header_of(2);
    cr_assert(eq(int, segment_prepare(&disk, &header, 0, &failure), STATUS_OK));
    struct segment_header read;
    cr_assert(has_segment(sim, 2, &read));
    cr_expect(eq(u64, read.number, 2));
    struct bytes content = sim_disk_content(sim, segment_name(2));
    for (size_t i = 84; i < content.size; i++) {
        cr_assert(eq(int, content.data[i], 0), "octet %zu", i);
    }
    cr_expect(eq(u32, sim_disk_file_count(sim), 1));
}

static void
put_spare(uint64_t number, size_t size)
{
    uint8_t *octets = malloc(size);
    memset(octets, 0xee, size);
    sim_disk_replace(sim, spare_name(number), bytes_make(octets, size));
    free(octets);
}

/* A dead segment is used again by its name alone. */
Test(segment, a_spare_becomes_the_segment)
{
    put_spare(4, SLOT);
    struct segment_header header = header_of(2);
    cr_assert(eq(int, segment_prepare(&disk, &header, 4, &failure), STATUS_OK));
    struct segment_header read;
    cr_assert(has_segment(sim, 2, &read));
    cr_expect(eq(int, sim_disk_content(sim, segment_name(2)).data[SEGMENT_HEADER_SIZE], 0xee),
              "the old octets");
    cr_expect(eq(u32, sim_disk_file_count(sim), 1), "the spare has gone");
}

/* After a change of the configured size, old spares are of no use. */
Test(segment, a_spare_of_another_size_is_replaced)
{
    put_spare(4, SLOT / 2);
    struct segment_header header = header_of(2);
    cr_assert(eq(int, segment_prepare(&disk, &header, 4, &failure), STATUS_OK));
    struct segment_header read;
    cr_assert(has_segment(sim, 2, &read));
    cr_expect(eq(u32, sim_disk_file_count(sim), 1));
}

/* What a call of the disk did, in one letter each. */
struct story {
    char text[4096];
    size_t size;
};

static void
note(void *context, const struct sim_disk_op *op)
{
    static const char *const WORDS[SIM_DISK_CALL_COUNT] = {
        [SIM_DISK_WRITE] = "write",
        [SIM_DISK_FLUSH] = "flush",
        [SIM_DISK_RENAME] = "rename",
        [SIM_DISK_UNLINK] = "unlink",
        [SIM_DISK_FLUSH_DIRECTORY] = "flush-directory",
    };
    struct story *story = context;
    if (WORDS[op->call] != NULL && op->error == 0) {
        int size = snprintf(story->text + story->size, sizeof(story->text) - story->size, "%s%s",
                            story->size == 0 ? "" : " ", WORDS[op->call]);
        story->size += (size_t)size;
    }
}

struct unflushed {
    uint64_t octets;
    uint64_t most;
};

static void
count_unflushed(void *context, const struct sim_disk_op *op)
{
    struct unflushed *unflushed = context;
    if (op->call == SIM_DISK_WRITE) {
        unflushed->octets += op->size;
    } else if (op->call == SIM_DISK_FLUSH) {
        unflushed->octets = 0;
    }
    if (unflushed->most < unflushed->octets) {
        unflushed->most = unflushed->octets;
    }
}

/* F2: the header is on the disk before the file has its name, and the name before anybody uses it.
 */
Test(segment, a_segment_is_flushed_before_it_has_its_name)
{
    struct story story = {.size = 0};
    sim_disk_set_hook(sim, note, &story);
    struct segment_header header = header_of(2);
    cr_assert(eq(int, segment_prepare(&disk, &header, 0, &failure), STATUS_OK));
    sim_disk_set_hook(sim, NULL, NULL);
    cr_expect(eq(str, story.text, (char *)"write write flush rename flush-directory"));
}

/* A confirm waits for the log's flush, and that for everything the disk has to write before it. */
Test(segment, few_octets_of_a_new_segment_wait_for_a_flush_at_a_time)
{
    enum { LARGE = 16 * 1024 * 1024, AT_ONCE = 4 * 1024 * 1024 };
    struct unflushed unflushed = {0};
    sim_disk_set_hook(sim, count_unflushed, &unflushed);
    struct segment_header header = header_of(2);
    header.slot_size = LARGE;
    header.capacity = LARGE;
    header.base_lsn = 2 * (uint64_t)LARGE;
    cr_assert(eq(int, segment_prepare(&disk, &header, 0, &failure), STATUS_OK));
    sim_disk_set_hook(sim, NULL, NULL);
    cr_expect(le(u64, unflushed.most, AT_ONCE + SEGMENT_HEADER_SIZE));
    cr_expect(eq(u64, unflushed.octets, 0));
}

Test(segment, a_spare_is_flushed_before_it_is_a_segment)
{
    put_spare(4, SLOT);
    struct story story = {.size = 0};
    sim_disk_set_hook(sim, note, &story);
    struct segment_header header = header_of(2);
    cr_assert(eq(int, segment_prepare(&disk, &header, 4, &failure), STATUS_OK));
    sim_disk_set_hook(sim, NULL, NULL);
    cr_expect(eq(str, story.text, (char *)"write flush rename flush-directory"));
}

static void
put_companions(uint64_t number)
{
    char name[STORE_NAME_SIZE];
    sim_disk_replace(sim, store_file_name(STORE_FILE_INDEX, number, 0, name), bytes_of("index"));
    sim_disk_replace(sim, store_file_name(STORE_FILE_DEAD, number, 0, name), bytes_of("dead"));
}

/* Without index and dead file the rows of a segment would come back: they go last. */
Test(segment, a_retired_segment_has_gone_for_certain_before_its_dead_file_goes)
{
    struct segment_header header = header_of(2);
    cr_assert(eq(int, segment_prepare(&disk, &header, 0, &failure), STATUS_OK));
    put_companions(2);
    struct story story = {.size = 0};
    sim_disk_set_hook(sim, note, &story);
    cr_assert(eq(int, segment_retire(&disk, 2, 7, &failure), STATUS_OK));
    sim_disk_set_hook(sim, NULL, NULL);
    cr_expect(eq(str, story.text, (char *)"rename flush-directory unlink unlink"));
    cr_expect(eq(u32, sim_disk_file_count(sim), 1));
    cr_expect(sim_disk_has(sim, spare_name(7)));
}

Test(segment, a_retired_segment_that_is_not_wanted_as_a_spare_is_removed)
{
    struct segment_header header = header_of(2);
    cr_assert(eq(int, segment_prepare(&disk, &header, 0, &failure), STATUS_OK));
    put_companions(2);
    cr_assert(eq(int, segment_retire(&disk, 2, 0, &failure), STATUS_OK));
    cr_expect(eq(u32, sim_disk_file_count(sim), 0));
}

Test(segment, a_retired_pack_is_removed_with_what_belongs_to_it)
{
    char name[STORE_NAME_SIZE];
    sim_disk_replace(sim, store_file_name(STORE_FILE_PACK, 2, 5, name), bytes_of("pack"));
    put_companions(2);
    cr_assert(eq(int, pack_retire(&disk, 2, 5, &failure), STATUS_OK));
    cr_expect(eq(u32, sim_disk_file_count(sim), 0));
}

static void
put_named(enum store_file_kind kind, uint64_t first, uint64_t last)
{
    char name[STORE_NAME_SIZE];
    sim_disk_replace(sim, store_file_name(kind, first, last, name), bytes_of("messages"));
}

/* I8: what a pack took the place of would bring back messages that were settled long ago. */
Test(segment, a_pack_goes_only_behind_what_it_took_the_place_of)
{
    char pack[STORE_NAME_SIZE];
    store_file_name(STORE_FILE_PACK, 2, 5, pack);
    put_named(STORE_FILE_SEGMENT, 1, 1);
    put_named(STORE_FILE_PACK, 2, 5);
    put_named(STORE_FILE_PACK, 2, 3);
    put_named(STORE_FILE_SEGMENT, 5, 5);
    put_named(STORE_FILE_SEGMENT, 6, 6);
    put_named(STORE_FILE_PACK, 6, 7);
    for (uint64_t nth = 1; nth <= 2; nth++) {
        sim_disk_fail(sim, SIM_DISK_UNLINK, nth, EIO);
        cr_expect(eq(int, pack_retire(&disk, 2, 5, &failure), STATUS_IO));
        cr_expect(eq(int, failure.error, EIO));
        cr_expect(sim_disk_has(sim, pack));
        put_named(STORE_FILE_PACK, 2, 3);
    }
    cr_assert(eq(int, pack_retire(&disk, 2, 5, &failure), STATUS_OK));
    cr_expect(not(sim_disk_has(sim, pack)));
    cr_expect(eq(u32, sim_disk_file_count(sim), 3), "the others stay");
    cr_expect(sim_disk_has(sim, segment_name(1)));
    cr_expect(sim_disk_has(sim, segment_name(6)));
}

/* F3 to F5, call by call. Nobody knows what a file holds whose flush failed: it must not be there
 * under any name that somebody might take for good. */
Test(segment, whatever_call_fails_leaves_nothing_that_could_be_used)
{
    static const enum sim_disk_call CALLS[] = {SIM_DISK_OPEN, SIM_DISK_WRITE, SIM_DISK_FLUSH,
                                               SIM_DISK_SIZE, SIM_DISK_RENAME};
    struct segment_header header = header_of(2);
    for (size_t i = 0; i < ARRAY_LEN(CALLS); i++) {
        for (uint64_t spare = 0; spare <= 4; spare += 4) {
            for (uint64_t nth = 1;; nth++) {
                put_spare(4, SLOT);
                sim_disk_fail(sim, CALLS[i], nth, EIO);
                enum status status = segment_prepare(&disk, &header, spare, &failure);
                bool has_failed = sim_disk_fault_left(sim, CALLS[i]) == 0;
                sim_disk_fail(sim, CALLS[i], 0, 0);
                if (!has_failed) {
                    cr_assert(eq(int, status, STATUS_OK));
                    sim_disk_remove(sim, segment_name(2));
                    break;
                }
                cr_expect(eq(int, status, STATUS_IO));
                cr_expect(eq(int, failure.error, EIO));
                cr_expect(not(sim_disk_has(sim, segment_name(2))));
                bool was_touched = spare != 0 && CALLS[i] != SIM_DISK_OPEN;
                cr_expect(eq(int, sim_disk_has(sim, spare_name(4)), !was_touched));
                cr_expect(le(u32, sim_disk_file_count(sim), 1), "no temporary file");
                cr_expect(not(log_failure_is_of_directory(&failure)));
            }
        }
    }
}

/* I9: after this nobody knows which names are on the disk, and the caller must be able to tell. */
Test(segment, a_directory_that_cannot_be_flushed_is_told_apart)
{
    struct segment_header header = header_of(2);
    sim_disk_fail(sim, SIM_DISK_FLUSH_DIRECTORY, 1, EIO);
    cr_assert(eq(int, segment_prepare(&disk, &header, 0, &failure), STATUS_IO));
    cr_expect(log_failure_is_of_directory(&failure));
    sim_disk_fail(sim, SIM_DISK_FLUSH_DIRECTORY, 1, EIO);
    cr_assert(eq(int, segment_retire(&disk, 2, 7, &failure), STATUS_IO));
    cr_expect(log_failure_is_of_directory(&failure));
}

/* A full disk is an everyday thing: it is tried again later, from the beginning. */
Test(segment, a_new_segment_is_made_once_there_is_room)
{
    struct segment_header header = header_of(2);
    sim_disk_set_capacity(sim, SLOT / 2);
    cr_assert(eq(int, segment_prepare(&disk, &header, 0, &failure), STATUS_IO));
    cr_expect(log_failure_is_no_room(&failure));
    cr_expect(eq(u32, sim_disk_file_count(sim), 0), "the part that was written has gone");
    sim_disk_set_capacity(sim, 4 * SLOT);
    cr_assert(eq(int, segment_prepare(&disk, &header, 0, &failure), STATUS_OK));
}

/* F2: a power cut after any call leaves the spare, the segment, or nothing at all; and where the
 * call had returned, the segment. */
Test(segment, a_power_cut_while_a_segment_is_prepared_leaves_it_whole_or_not_at_all)
{
    for (uint64_t spare = 0; spare <= 4; spare += 4) {
        tear_down();
        set_up();
        put_spare(4, SLOT);
        struct sim_recording *recording = sim_disk_record(sim);
        struct segment_header header = header_of(2);
        cr_assert(eq(int, segment_prepare(&disk, &header, spare, &failure), STATUS_OK));
        sim_disk_stop_recording(sim);
        uint32_t count = sim_recording_count(recording);
        for (uint32_t prefix = 0; prefix <= count; prefix++) {
            for (uint64_t seed = 1; seed <= 40; seed++) {
                enum sim_disk_policy policy =
                    seed <= SIM_DISK_RANDOM ? (enum sim_disk_policy)(seed - 1) : SIM_DISK_RANDOM;
                struct sim_disk *after = sim_disk_replay(recording, prefix, policy, seed);
                struct segment_header read;
                if (sim_disk_has(after, segment_name(2))) {
                    cr_expect(has_segment(after, 2, &read), "prefix %u", prefix);
                }
                cr_expect(prefix < count || has_segment(after, 2, &read));
                sim_disk_free(&after);
            }
        }
        sim_recording_free(&recording);
    }
}

/* I8: rows that are dead stay dead, whenever the power goes. */
Test(segment, a_power_cut_while_a_segment_is_retired_never_leaves_it_without_its_dead_file)
{
    struct segment_header header = header_of(2);
    cr_assert(eq(int, segment_prepare(&disk, &header, 0, &failure), STATUS_OK));
    put_companions(2);
    char dead[STORE_NAME_SIZE];
    store_file_name(STORE_FILE_DEAD, 2, 0, dead);
    for (uint64_t spare = 0; spare <= 7; spare += 7) {
        struct sim_disk *copy = sim_disk_copy(sim);
        struct disk copy_disk = disk_of_sim(copy);
        struct sim_recording *recording = sim_disk_record(copy);
        cr_assert(eq(int, segment_retire(&copy_disk, 2, spare, &failure), STATUS_OK));
        sim_disk_stop_recording(copy);
        uint32_t count = sim_recording_count(recording);
        for (uint32_t prefix = 0; prefix <= count; prefix++) {
            for (uint64_t seed = 1; seed <= 40; seed++) {
                struct sim_disk *after = sim_disk_replay(recording, prefix, SIM_DISK_RANDOM, seed);
                bool is_there = sim_disk_has(after, segment_name(2));
                cr_expect(not(is_there && !sim_disk_has(after, dead)));
                cr_expect(not(is_there && prefix == count));
                sim_disk_free(&after);
            }
        }
        sim_recording_free(&recording);
        sim_disk_free(&copy);
    }
}

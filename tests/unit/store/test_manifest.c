/* SPDX-License-Identifier: Apache-2.0 */
/* The manifest: what it remembers, what it refuses, and that it is replaced as a whole. */
#include "store/manifest.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>

#include <errno.h>

#include "base/assert.h"
#include "store/crc32c.h"
#include "store/little_endian.h"
#include "tests/support/sim_disk.h"

static struct sim_disk *sim;
static struct disk disk;
static char why[200];

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

TestSuite(manifest, .init = set_up, .fini = tear_down);

/* With `count` epochs, of which the last has not ended. */
static struct manifest
manifest_of(uint32_t count)
{
    struct manifest manifest = {
        .cluster_id = "fifteen letters", .is_clean = true, .snapshot_lsn = 4242};
    for (uint32_t i = 0; i < count; i++) {
        if (i > 0) {
            manifest.epochs[i - 1].end_lsn = i * 4096 + 64;
        }
        manifest_add_epoch(&manifest, i + 1, (i + 1) * 4096);
    }
    return manifest;
}

static void
write_manifest(uint32_t epoch_count)
{
    struct manifest manifest = manifest_of(epoch_count);
    cr_assert(eq(int, manifest_write(&manifest, &disk, NULL), STATUS_OK));
    manifest_fini(&manifest);
}

static enum status
read_manifest(struct manifest *manifest)
{
    return manifest_read(manifest, &disk, why, sizeof(why));
}

/* docs/store-format.md, MANIFEST. */
Test(manifest, what_is_written_is_read_again)
{
    write_manifest(3);
    struct manifest manifest;
    cr_assert(eq(int, read_manifest(&manifest), STATUS_OK));
    cr_expect(eq(int, memcmp(manifest.cluster_id, "fifteen letters", CLUSTER_ID_SIZE), 0));
    cr_expect(manifest.is_clean);
    cr_expect(eq(u64, manifest.snapshot_lsn, 4242));
    cr_assert(eq(u32, manifest.epoch_count, 3));
    cr_expect(eq(u64, manifest.epochs[1].number, 2));
    cr_expect(eq(u64, manifest.epochs[1].first_lsn, 2 * 4096));
    cr_expect(eq(u64, manifest.epochs[1].end_lsn, 2 * 4096 + 64));
    cr_expect(eq(u64, manifest.epochs[2].end_lsn, 0));
    manifest_fini(&manifest);
}

Test(manifest, a_manifest_that_is_not_there_is_told_apart)
{
    struct manifest manifest;
    cr_assert(eq(int, read_manifest(&manifest), STATUS_IO));
    cr_expect(eq(int, errno, ENOENT));
}

/* F6: whatever bit flips, it is refused and the reason given. */
Test(manifest, a_manifest_with_any_bit_flipped_is_refused)
{
    write_manifest(2);
    size_t size = sim_disk_content(sim, STORE_MANIFEST_NAME).size;
    cr_assert(eq(sz, size, 56 + 2 * 24 + 4));
    for (size_t bit = 0; bit < size * 8; bit++) {
        sim_disk_flip_bit(sim, STORE_MANIFEST_NAME, bit / 8, bit % 8);
        struct manifest manifest;
        why[0] = '\0';
        cr_expect(eq(int, read_manifest(&manifest), STATUS_CORRUPT), "bit %zu", bit);
        cr_expect(ne(str, why, (char *)""));
        sim_disk_flip_bit(sim, STORE_MANIFEST_NAME, bit / 8, bit % 8);
    }
}

/* Design, I12: octets that are right and of another version are told from damage. Every start says
 * version 3, so that a broker of before does not start on what it would not understand. */
Test(manifest, a_manifest_of_a_newer_version_is_told_from_damage)
{
    struct manifest manifest;
    uint8_t octets[56 + 24 + 4];
    write_manifest(1);
    memcpy(octets, sim_disk_content(sim, STORE_MANIFEST_NAME).data, sizeof(octets));
    cr_expect(eq(u32, get_u32_le(octets + 8), 3));
    for (uint32_t version = 0; version <= 4; version++) {
        put_u32_le(octets + 8, version);
        put_u32_le(octets + 80, crc32c(0, octets, 80));
        sim_disk_set(sim, STORE_MANIFEST_NAME, 0, bytes_make(octets, sizeof(octets)));
        enum status expected = version == 0   ? STATUS_CORRUPT
                               : version == 4 ? STATUS_REJECTED
                                              : STATUS_OK;
        cr_expect(eq(int, read_manifest(&manifest), expected), "version %u", version);
        if (expected == STATUS_OK) {
            manifest_fini(&manifest);
        }
    }
    cr_expect(strstr(why, "newer version") != NULL, "%s", why);
}

Test(manifest, a_manifest_cut_anywhere_is_refused)
{
    write_manifest(2);
    for (size_t size = sim_disk_content(sim, STORE_MANIFEST_NAME).size; size-- > 0;) {
        sim_disk_cut(sim, STORE_MANIFEST_NAME, size);
        struct manifest manifest;
        cr_expect(eq(int, read_manifest(&manifest), STATUS_CORRUPT), "size %zu", size);
    }
}

/* A checksum that is right does not make the content right. */
Test(manifest, epochs_that_do_not_follow_each_other_are_refused)
{
    static const struct {
        size_t offset; /* of the number that is changed */
        uint64_t value;
    } rows[] = {
        {56, 2},             /* two epochs of one number */
        {56 + 16, 0},        /* the first has not ended */
        {56 + 16, 4095},     /* it ends before it begins */
        {56 + 16, 3 * 4096}, /* it ends within the second */
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        write_manifest(2);
        uint8_t octets[56 + 2 * 24 + 4];
        memcpy(octets, sim_disk_content(sim, STORE_MANIFEST_NAME).data, sizeof(octets));
        put_u64_le(octets + rows[i].offset, rows[i].value);
        size_t covered = sizeof(octets) - 4;
        put_u32_le(octets + covered, crc32c(0, octets, covered));
        sim_disk_replace(sim, STORE_MANIFEST_NAME, bytes_make(octets, sizeof(octets)));
        struct manifest manifest;
        cr_expect(eq(int, read_manifest(&manifest), STATUS_CORRUPT), "row %zu", i);
    }
}

/* Epochs of which no segment is left are dropped; the one under way never is. */
Test(manifest, epochs_that_ended_below_the_oldest_segment_are_dropped)
{
    struct manifest manifest = manifest_of(3);
    manifest_drop_epochs(&manifest, 4096 + 64);
    cr_assert(eq(u32, manifest.epoch_count, 2));
    cr_expect(eq(u64, manifest.epochs[0].number, 2));
    manifest_drop_epochs(&manifest, UINT64_MAX);
    cr_assert(eq(u32, manifest.epoch_count, 1));
    cr_expect(eq(u64, manifest.epochs[0].number, 3));
    manifest_fini(&manifest);
}

/* F3 to F5: until the name is changed, what held before holds. */
Test(manifest, a_call_that_fails_is_reported_and_leaves_a_manifest_behind)
{
    static const enum sim_disk_call CALLS[] = {SIM_DISK_OPEN,   SIM_DISK_WRITE,
                                               SIM_DISK_FLUSH,  SIM_DISK_RENAME,
                                               SIM_DISK_UNLINK, SIM_DISK_FLUSH_DIRECTORY};
    for (size_t i = 0; i < ARRAY_LEN(CALLS); i++) {
        write_manifest(1);
        struct manifest manifest = manifest_of(2);
        sim_disk_fail(sim, CALLS[i], 1, EIO);
        struct log_failure failure;
        cr_expect(eq(int, manifest_write(&manifest, &disk, &failure), STATUS_IO), "call %zu", i);
        cr_expect(eq(int, failure.error, EIO));
        bool is_new = CALLS[i] == SIM_DISK_FLUSH_DIRECTORY;
        cr_expect(eq(int, log_failure_is_of_directory(&failure), is_new));
        manifest_fini(&manifest);
        cr_assert(eq(int, read_manifest(&manifest), STATUS_OK));
        cr_expect(eq(u32, manifest.epoch_count, is_new ? 2 : 1), "call %zu", i);
        manifest_fini(&manifest);
    }
}

/* F2: a power cut at any moment leaves the old one or the new one; after the call, the new one. */
Test(manifest, a_power_cut_while_it_is_replaced_leaves_the_old_one_or_the_new_one)
{
    write_manifest(1);
    struct sim_recording *recording = sim_disk_record(sim);
    write_manifest(2);
    sim_disk_stop_recording(sim);
    uint32_t count = sim_recording_count(recording);
    for (uint32_t prefix = 0; prefix <= count; prefix++) {
        for (uint64_t seed = 1; seed <= 60; seed++) {
            enum sim_disk_policy policy =
                seed <= SIM_DISK_RANDOM ? (enum sim_disk_policy)(seed - 1) : SIM_DISK_RANDOM;
            struct sim_disk *after = sim_disk_replay(recording, prefix, policy, seed);
            struct disk after_disk = disk_of_sim(after);
            struct manifest manifest = {0};
            cr_assert(eq(int, manifest_read(&manifest, &after_disk, why, sizeof(why)), STATUS_OK),
                      "prefix %u seed %lu", prefix, (unsigned long)seed);
            cr_expect(ge(u32, manifest.epoch_count, prefix == count ? 2 : 1));
            manifest_fini(&manifest);
            sim_disk_free(&after);
        }
    }
    sim_recording_free(&recording);
}

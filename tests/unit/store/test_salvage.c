/* SPDX-License-Identifier: Apache-2.0 */
/* Verify sees what recovery refuses, and salvage makes a directory of it that starts. */
#include "store/salvage.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/assert.h"
#include "store/crc32c.h"
#include "store/index.h"
#include "store/little_endian.h"
#include "store/manifest.h"
#include "tests/support/sim_disk.h"
#include "tests/support/small_store.h"

enum { FILES_MAX = 32, SEGMENT_BEGIN = 4096 };

static struct sim_disk *sim;
static struct disk disk;
static struct store_maker maker;
static struct small_store small;
static struct store_content whole;
static char why[512];
static char last_finding[512];
static uint64_t lost_messages;

static void
take_finding(void *context, const struct salvage_finding *finding)
{
    (void)context;
    (void)snprintf(last_finding, sizeof(last_finding), "%s at %zu: %s", finding->file,
                   (size_t)finding->offset, finding->text);
    lost_messages += finding->messages;
}

static const struct salvage_report to = {.finding = take_finding};

static enum status
recover(const struct disk *from, struct store_content *content)
{
    struct recovery recovery = {0};
    struct recovery_sink sink = store_content_sink(content);
    struct recovery_options options = {.slot_size = STORE_MAKER_SLOT};
    enum status status =
        recovery_run(&recovery, from, &options, &sink, NULL, NULL, why, sizeof(why));
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
    cr_assert(eq(int, recover(&disk, &whole), STATUS_OK));
    lost_messages = 0;
}

static void
tear_down(void)
{
    store_maker_fini(&maker);
    store_content_fini(&whole);
    sim_disk_free(&sim);
}

TestSuite(salvage, .init = set_up, .fini = tear_down);

static uint64_t
verify(void)
{
    uint64_t count;
    cr_assert(eq(int, verify_run(&disk, &to, &count), STATUS_OK));
    return count;
}

Test(salvage, sound_directory_has_no_findings_and_is_left_alone)
{
    uint64_t count;
    cr_expect(eq(u64, verify(), 0), "%s", last_finding);
    uint64_t writes = sim_disk_call_count(sim, SIM_DISK_WRITE);
    cr_expect(eq(int, salvage_run(&disk, &to, &count), STATUS_OK));
    cr_expect(eq(u64, count, 0), "%s", last_finding);
    cr_expect(eq(u64, sim_disk_call_count(sim, SIM_DISK_WRITE), writes));
}

/* Verify changes nothing, whatever it finds. */
Test(salvage, verify_reports_damage_and_writes_nothing)
{
    uint64_t writes = sim_disk_call_count(sim, SIM_DISK_WRITE);
    sim_disk_flip_bit(sim, "seg.0000000000000001", SEGMENT_BEGIN + 3000, 1);
    cr_expect(ge(u64, verify(), 1));
    cr_expect(strstr(last_finding, "seg.0000000000000001") != NULL, "%s", last_finding);
    cr_expect(eq(u64, sim_disk_call_count(sim, SIM_DISK_WRITE), writes));
}

/* One message is lost, and all others come back. */
Test(salvage, damaged_message_is_dropped_and_its_neighbours_stay)
{
    struct store_content content = {0};
    uint64_t count;
    sim_disk_flip_bit(sim, "seg.0000000000000001", small.lsns[1] - 4096 + 100, 1);
    cr_expect(eq(int, salvage_run(&disk, &to, &count), STATUS_OK));
    cr_expect(eq(u64, count, 1), "%s", last_finding);
    cr_expect(eq(u64, lost_messages, 1));
    cr_assert(eq(int, recover(&disk, &content), STATUS_OK), "%s", why);
    cr_expect(eq(sz, content.row_count, whole.row_count - 1));
    cr_expect(sim_disk_has(sim, "seg.0000000000000001.damaged"));
    cr_expect(eq(u64, verify(), 0), "%s", last_finding);
    store_content_fini(&content);
}

/* What the log keeps of messages goes with those that are lost, and stays with the others. */
Test(salvage, states_of_messages_that_stay_are_kept)
{
    struct store_content content = {0};
    struct segment_index index;
    uint64_t count;
    const uint64_t lost = small.lsns[5]; /* it has a state */
    sim_disk_flip_bit(sim, "seg.0000000000000001", lost - 4096 + 100, 1);
    cr_expect(eq(int, salvage_run(&disk, &to, &count), STATUS_OK));
    cr_assert(eq(int, segment_index_read(&index, &disk, 1), STATUS_OK));
    cr_expect(lt(u64, 3, index.state_count));
    cr_expect(index_find_state(index.states, index.state_count, lost, 3) == NULL);
    segment_index_fini(&index);
    cr_assert(eq(int, recover(&disk, &content), STATUS_OK), "%s", why);
    size_t at = 0;
    size_t with_state = 0;
    for (size_t i = 0; i < whole.row_count; i++) {
        if (whole.rows[i].lsn != lost) {
            cr_expect(row_state_equals(&content.rows[at].state, &whole.rows[i].state));
            with_state += !row_state_is_empty(&content.rows[at++].state);
        }
    }
    cr_expect(eq(sz, at, content.row_count));
    cr_expect(lt(sz, 20, with_state));
    store_content_fini(&content);
}

/* Without a manifest the segments say what they can. */
Test(salvage, lost_manifest_is_made_from_the_segments)
{
    struct store_content content = {0};
    uint64_t count;
    sim_disk_remove(sim, STORE_MANIFEST_NAME);
    cr_expect(eq(int, recover(&disk, &content), STATUS_CORRUPT));
    cr_assert(eq(int, salvage_run(&disk, &to, &count), STATUS_OK), "%s", last_finding);
    cr_assert(eq(int, recover(&disk, &content), STATUS_OK), "%s", why);
    cr_expect(eq(sz, content.row_count, whole.row_count));
    cr_expect(eq(sz, content.record_count, whole.record_count));
    store_content_fini(&content);
}

/* Design, I12: nothing is given up for being unknown. */
Test(salvage, directory_of_a_newer_version_is_left_alone)
{
    struct store_content content = {0};
    uint8_t octets[4096];
    uint64_t count;
    struct bytes manifest = sim_disk_content(sim, STORE_MANIFEST_NAME);
    size_t size = manifest.size;
    cr_assert(le(sz, size, sizeof(octets)));
    memcpy(octets, manifest.data, size);
    octets[8] = 4;
    put_u32_le(octets + size - 4, crc32c(0, octets, size - 4));
    sim_disk_replace(sim, STORE_MANIFEST_NAME, bytes_make(octets, size));
    uint64_t writes = sim_disk_call_count(sim, SIM_DISK_WRITE);
    cr_expect(eq(int, recover(&disk, &content), STATUS_CORRUPT));
    cr_expect(strstr(why, "newer version") != NULL, "%s", why);
    cr_expect(eq(u64, verify(), 1));
    cr_expect(eq(int, salvage_run(&disk, &to, &count), STATUS_CORRUPT));
    cr_expect(strstr(last_finding, "newer version") != NULL, "%s", last_finding);
    cr_expect(eq(u64, sim_disk_call_count(sim, SIM_DISK_WRITE), writes));
    store_content_fini(&content);
}

static bool
is_row_of(const struct store_content *all, const struct recovered_row *row)
{
    for (size_t i = 0; i < all->row_count; i++) {
        if (all->rows[i].lsn == row->lsn && all->rows[i].queue == row->queue) {
            return true;
        }
    }
    return false;
}

/* On a copy: salvages, starts, and looks at what came back. Acknowledged messages may come back
 * where the acknowledgements are lost. */
static void
salvage_copy(const char *what, size_t rows_min)
{
    struct sim_disk *copy = sim_disk_copy(sim);
    struct disk other = disk_of_sim(copy);
    struct store_content content = {0};
    uint64_t count;
    enum status status = salvage_run(&other, &to, &count);
    cr_assert(eq(int, status, STATUS_OK), "%s: %s", what, last_finding);
    cr_assert(ge(u64, count, 1), "%s: nothing was said", what);
    cr_assert(eq(int, recover(&other, &content), STATUS_OK), "%s: %s", what, why);
    cr_assert(small_store_bodies_are_right(&small, &other, &content), "%s", what);
    size_t known = 0;
    for (size_t i = 0; i < content.row_count; i++) {
        known += is_row_of(&whole, &content.rows[i]);
    }
    cr_assert(ge(sz, known, rows_min), "%s: %zu of %zu rows", what, known, whole.row_count);
    store_content_fini(&content);
    sim_disk_free(&copy);
}

static void
try_octet(const char *name, uint64_t offset)
{
    struct store_content content = {0};
    char what[160];
    (void)snprintf(what, sizeof(what), "%.*s at %zu", SIM_DISK_NAME_SIZE - 1, name, (size_t)offset);
    sim_disk_flip_bit(sim, name, offset, offset % 8);
    if (recover(&disk, &content) != STATUS_OK) {
        cr_assert(ge(u64, verify(), 1), "%s: verify finds nothing", what);
        bool is_small = strncmp(name, "seg.", 4) == 0;
        salvage_copy(what, is_small ? whole.row_count - 4 : 0);
    }
    store_content_fini(&content);
    sim_disk_flip_bit(sim, name, offset, offset % 8);
}

/* Whatever single octet made recovery refuse the start, salvage helps, at the price of what stands
 * there. */
Test(salvage, every_refused_start_can_be_helped)
{
    char names[FILES_MAX][SIM_DISK_NAME_SIZE];
    uint32_t count = sim_disk_file_count(sim);
    for (uint32_t i = 0; i < count; i++) {
        (void)snprintf(names[i], sizeof(names[i]), "%s", sim_disk_name(sim, i));
    }
    for (uint32_t i = 0; i < count; i++) {
        uint64_t size = sim_disk_content(sim, names[i]).size;
        for (uint64_t offset = 0; offset < size; offset += offset < 300 ? 7 : 613) {
            try_octet(names[i], offset);
        }
    }
}

Test(salvage, segment_that_lost_its_end_is_made_whole)
{
    sim_disk_cut(sim, "seg.0000000000000001", 30000);
    struct store_content content = {0};
    cr_expect(eq(int, recover(&disk, &content), STATUS_CORRUPT));
    salvage_copy("cut", 20);
    store_content_fini(&content);
}

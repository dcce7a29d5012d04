/* SPDX-License-Identifier: Apache-2.0 */
/* The files of a data directory, each loaded as if somebody else had written it. Checksums keep
 * random octets out, so the mutators set them right again; a checksum that is wrong is tried by the
 * octets that come without them.
 *
 * store_segment: a segment; walked by scanner, index builder, the search behind damage, and by
 * recovery of a directory that holds nothing else. store_index, store_snapshot, store_manifest:
 * these; what is accepted is written and read back the same. store_pack: a pack; what it names can
 * be fetched, or is known to be damaged. */
#include <stdlib.h>

#include "store/crc32c.h"
#include "store/damage.h"
#include "store/fetch.h"
#include "store/index.h"
#include "store/little_endian.h"
#include "store/manifest.h"
#include "store/pack.h"
#include "store/recovery.h"
#include "store/snapshot.h"
#include "tests/fuzz/target.h"
#include "tests/support/sim_disk.h"

enum { INPUT_MAX = 16384 };

static const char SEGMENT[] = "seg.0000000000000001";
static const char INDEX[] = "seg.0000000000000001.idx";
static const char PACK[] = "pack.0000000000000001.0000000000000003";
static const char SNAPSHOT[] = "snap.0000000000001000";

/* Mutating ------------------------------------------------------------------------------------- */

/* Changes an octet, a number, or moves a run of octets. */
static size_t
change(uint8_t *data, size_t size, size_t size_max, struct draw *draw)
{
    if (size < 16) {
        return size;
    }
    size_t at = draw_below(draw, (uint32_t)size - 8);
    switch (draw_below(draw, 6)) {
    case 0:
        data[at] ^= (uint8_t)(1 << draw_below(draw, 8));
        break;
    case 1:
        put_u32_le(data + (at & ~(size_t)3), (uint32_t)draw_number(draw));
        break;
    case 2:
        put_u64_le(data + (at & ~(size_t)7), draw_number(draw));
        break;
    case 3:
        memmove(data + at, data + draw_below(draw, (uint32_t)size - 8), 8);
        break;
    case 4:
        if (size + 8 <= size_max) {
            memmove(data + at + 8, data + at, size - at);
            size += 8;
        }
        break;
    default:
        memmove(data + at, data + at + 8, size - at - 8);
        size -= 8;
        break;
    }
    return size;
}

static void
seal(uint8_t *data, size_t size, size_t covered)
{
    if (size >= covered + 4) {
        put_u32_le(data + covered, crc32c(0, data, covered));
    }
}

/* The index and the snapshot have a body under one checksum and a header under another. */
static void
seal_body(uint8_t *data, size_t size, size_t header, size_t body_crc_at)
{
    if (size >= header) {
        put_u32_le(data + body_crc_at, crc32c(0, data + header, size - header));
        seal(data, size, header - 4);
    }
}

static void
seal_batch(uint8_t *data, size_t size, size_t at)
{
    size_t left = size - at - BATCH_HEADER_SIZE;
    size_t content = get_u32_le(data + at + 16);
    size_t control = get_u32_le(data + at + 20);
    put_u64_le(data + at + 8, get_u64_le(data + 24) + at);
    if (content <= left && control <= left - content) {
        const uint8_t *records = data + at + BATCH_HEADER_SIZE + content;
        put_u32_le(data + at + 28, crc32c(0, records, control));
    }
    put_u32_le(data + at + 60, crc32c(0, data + at, 60));
}

static size_t
mutate_segment(uint8_t *data, size_t size, size_t size_max, struct draw *draw)
{
    (void)size_max;
    if (size < SEGMENT_HEADER_SIZE + BATCH_HEADER_SIZE) {
        return size;
    }
    /* Batches stay where they are, or none would be one. */
    (void)change(data + SEGMENT_HEADER_SIZE, size - SEGMENT_HEADER_SIZE, size - SEGMENT_HEADER_SIZE,
                 draw);
    if (draw_chance(draw, 10)) {
        put_u64_le(data + 8 * draw_below(draw, 10), draw_number(draw));
        seal(data, size, 80);
    }
    for (size_t at = SEGMENT_HEADER_SIZE; at + BATCH_HEADER_SIZE <= size; at += BATCH_ALIGNMENT) {
        if (get_u32_le(data + at) == 0x54414252 && draw_chance(draw, 90)) {
            seal_batch(data, size, at);
        }
    }
    return size;
}

static size_t
mutate_index(uint8_t *data, size_t size, size_t size_max, struct draw *draw)
{
    size = change(data, size, size_max, draw);
    seal_body(data, size, 128, 116);
    return size;
}

static size_t
mutate_snapshot(uint8_t *data, size_t size, size_t size_max, struct draw *draw)
{
    size = change(data, size, size_max, draw);
    seal_body(data, size, 64, 56);
    return size;
}

static size_t
mutate_pack(uint8_t *data, size_t size, size_t size_max, struct draw *draw)
{
    enum { TABLE_AT = SEGMENT_HEADER_SIZE, TABLE_SIZE = 64, ENTRY_SIZE = 24 };
    size = change(data, size, size_max, draw);
    if (size < TABLE_AT + TABLE_SIZE) {
        return size;
    }
    uint8_t *table = data + TABLE_AT;
    size_t left = size - TABLE_AT - TABLE_SIZE;
    uint64_t count = get_u64_le(table + 16);
    uint64_t index_size = get_u64_le(table + 24);
    put_u64_le(data + 40, size);
    seal(data, size, 80);
    if (count <= left / ENTRY_SIZE) {
        size_t entries = (size_t)count * ENTRY_SIZE;
        put_u32_le(table + 56, crc32c(0, table + TABLE_SIZE, entries));
        if (index_size <= left - entries) {
            seal_body(table + TABLE_SIZE + entries, (size_t)index_size, 128, 116);
        }
    }
    put_u32_le(table + 60, crc32c(0, table, 60));
    return size;
}

static size_t
mutate_manifest(uint8_t *data, size_t size, size_t size_max, struct draw *draw)
{
    size = change(data, size, size_max, draw);
    if (size >= 4) {
        put_u32_le(data + 12, (uint32_t)size);
        put_u32_le(data + size - 4, crc32c(0, data, size - 4));
    }
    return size;
}

/* Segments ------------------------------------------------------------------------------------- */

static enum status
check_damage(void *context, struct scan *scan, const struct damage *damage)
{
    uint64_t *end = context;
    assert(damage->start >= *end || damage->publish != NULL);
    assert(damage->end > damage->start);
    assert(damage->end <= scan->file_size || damage->publish == NULL);
    *end = damage->publish == NULL ? damage->end : *end;
    return STATUS_OK;
}

static void
check_damages(const struct disk *disk)
{
    struct scan scan;
    uint64_t end = 0;
    uint64_t last = 0;
    enum status status = scan_open(&scan, disk, SEGMENT);
    if (status == STATUS_OK) {
        status = damage_walk(&scan, 0, check_damage, &last, &end);
        assert(status == STATUS_OK);
        assert(end <= scan.limit);
    }
    scan_close(&scan);
}

/* Batches follow each other; what they hold makes an index that reads back the same. */
static void
check_walk(const struct disk *disk)
{
    struct scan scan;
    struct index_builder builder = {0};
    struct segment_index index;
    enum status status = scan_open(&scan, disk, SEGMENT);
    if (status != STATUS_OK) {
        scan_close(&scan);
        return;
    }
    index_builder_init(&builder, &scan.segment);
    uint64_t offset = scan.offset;
    while ((status = scan_next(&scan)) == STATUS_OK) {
        assert(scan.offset > offset);
        assert(scan.offset <= scan.limit);
        offset = scan.offset;
        status = index_builder_add(&builder, &scan);
        assert(status == STATUS_OK);
    }
    assert(scan.stop != SCAN_STOP_NONE);
    index_builder_finish(&builder, scan_lsn(&scan, scan.offset), &index);
    status = segment_index_write(&index, disk);
    assert(status == STATUS_OK);
    uint64_t rows = index.row_count;
    uint64_t states = index.state_count;
    segment_index_fini(&index);
    status = segment_index_read(&index, disk, scan.segment.number);
    assert(status == STATUS_OK);
    assert(index.row_count == rows);
    assert(index.state_count == states);
    segment_index_fini(&index);
    scan_close(&scan);
}

static enum status
take_record(void *context, const struct record *record)
{
    (void)context;
    assert(record->type != RECORD_PUBLISH && record->type != RECORD_ROW_STATE);
    return STATUS_OK;
}

static enum status
take_row(void *context, const struct recovered_row *row)
{
    uint64_t *last = context;
    assert(row->lsn >= *last);
    assert(row->content_size >= 16 + row->body_size);
    *last = row->lsn;
    return STATUS_OK;
}

static void
check_recovery(const struct disk *disk, struct bytes input)
{
    char why[512];
    uint64_t last = 0;
    uint64_t seed = 1;
    struct recovery recovery;
    struct segment_header header;
    struct manifest manifest = {0};
    if (input.size < SEGMENT_HEADER_SIZE ||
        segment_header_decode(&header, input.data) != STATUS_OK) {
        return;
    }
    memcpy(manifest.cluster_id, header.cluster_id, sizeof(header.cluster_id));
    manifest.group = header.group;
    manifest_add_epoch(&manifest, header.epoch, header.base_lsn);
    enum status status = manifest_write(&manifest, disk, NULL);
    assert(status == STATUS_OK);
    manifest_fini(&manifest);
    struct random_source random = random_seeded(&seed);
    struct recovery_sink sink = {.record = take_record, .row = take_row, .context = &last};
    struct recovery_options options = {.slot_size = SEGMENT_SIZE_MIN, .may_write = true};
    status = recovery_run(&recovery, disk, &options, &sink, &random, NULL, why, sizeof(why));
    assert(status == STATUS_OK || status == STATUS_CORRUPT);
    assert(status == STATUS_OK || why[0] != '\0');
    if (status == STATUS_OK) {
        assert(recovery.next_segment_base > last);
        recovery_fini(&recovery);
    }
}

static void
run_segment(struct bytes input)
{
    struct sim_disk *sim = sim_disk_new();
    struct disk disk = disk_of_sim(sim);
    sim_disk_replace(sim, SEGMENT, input);
    check_recovery(&disk, input);
    sim_disk_replace(sim, SEGMENT, input);
    check_walk(&disk);
    check_damages(&disk);
    sim_disk_free(&sim);
}

/* Other files ---------------------------------------------------------------------------------- */

static void
run_index(struct bytes input)
{
    struct sim_disk *sim = sim_disk_new();
    struct disk disk = disk_of_sim(sim);
    struct segment_index index;
    struct segment_index again;
    sim_disk_replace(sim, INDEX, input);
    if (segment_index_read(&index, &disk, 1) == STATUS_OK) {
        enum status status = segment_index_write(&index, &disk);
        assert(status == STATUS_OK);
        status = segment_index_read(&again, &disk, 1);
        assert(status == STATUS_OK);
        assert(again.row_count == index.row_count);
        assert(again.removal_count == index.removal_count);
        assert(bytes_equal(buffer_bytes(&again.records), buffer_bytes(&index.records)));
        segment_index_fini(&again);
        segment_index_fini(&index);
    }
    sim_disk_free(&sim);
}

static enum status
count_record(void *context, const struct record *record)
{
    (void)record;
    (*(uint64_t *)context)++;
    return STATUS_OK;
}

static void
run_snapshot(struct bytes input)
{
    struct sim_disk *sim = sim_disk_new();
    struct disk disk = disk_of_sim(sim);
    struct topology_fold fold;
    uint64_t before = 0;
    uint64_t after = 0;
    topology_fold_init(&fold);
    sim_disk_replace(sim, SNAPSHOT, input);
    if (snapshot_read(&fold, &disk, 0x1000) == STATUS_OK) {
        assert(topology_fold_walk(&fold, count_record, &before) == STATUS_OK);
        topology_fold_finish(&fold);
        assert(topology_fold_walk(&fold, count_record, &after) == STATUS_OK);
        assert(after <= before);
        assert(fold.next_id > 0);
    }
    topology_fold_fini(&fold);
    sim_disk_free(&sim);
}

static void
run_manifest(struct bytes input)
{
    char why[256];
    struct sim_disk *sim = sim_disk_new();
    struct disk disk = disk_of_sim(sim);
    struct manifest manifest;
    struct manifest again;
    sim_disk_replace(sim, STORE_MANIFEST_NAME, input);
    if (manifest_read(&manifest, &disk, why, sizeof(why)) == STATUS_OK) {
        enum status status = manifest_write(&manifest, &disk, NULL);
        assert(status == STATUS_OK);
        status = manifest_read(&again, &disk, why, sizeof(why));
        assert(status == STATUS_OK);
        assert(again.epoch_count == manifest.epoch_count);
        assert(again.snapshot_lsn == manifest.snapshot_lsn);
        manifest_fini(&again);
        manifest_fini(&manifest);
    }
    sim_disk_free(&sim);
}

static void
note_damage(void *context, const struct pack_entry *entry)
{
    assert(entry->size >= 16);
    (*(uint64_t *)context)++;
}

static void
fetch_row(struct fetch_files *files, const struct index_row *row, uint64_t *failed)
{
    struct log_failure failure;
    struct io_fetch fetch = {.count = 1, .lsns = {row->lsn}, .sizes = {row->body_size}};
    fetch.block_size = (row->content_size + 7) & ~UINT32_C(7);
    fetch.block = aligned_alloc(8, fetch.block_size);
    enum status status = fetch_run(files, &fetch, &failure);
    assert(status == STATUS_OK || status == STATUS_CORRUPT);
    *failed += status != STATUS_OK || fetch.fetched_count == 0;
    free(fetch.block);
}

static void
run_pack(struct bytes input)
{
    struct sim_disk *sim = sim_disk_new();
    struct disk disk = disk_of_sim(sim);
    struct pack pack;
    const char *reason;
    sim_disk_replace(sim, PACK, input);
    enum status status = pack_read(&pack, &disk, PACK, &reason);
    assert(status == STATUS_OK || (status == STATUS_CORRUPT && reason != NULL));
    if (status == STATUS_OK) {
        uint64_t damaged = 0;
        uint64_t failed = 0;
        status = pack_check_contents(&pack, &disk, PACK, note_damage, &damaged);
        assert(status == STATUS_OK);
        struct fetch_files *files = fetch_files_new(&disk);
        for (uint64_t i = 0; i < pack.index.row_count; i++) {
            fetch_row(files, &pack.index.rows[i], &failed);
        }
        fetch_files_free(&files);
        pack_fini(&pack);
    }
    sim_disk_free(&sim);
}

const struct fuzz_target fuzz_store_pack = {
    .name = "store_pack", .size_max = INPUT_MAX, .run = run_pack, .mutate = mutate_pack};
const struct fuzz_target fuzz_store_segment = {
    .name = "store_segment", .size_max = INPUT_MAX, .run = run_segment, .mutate = mutate_segment};
const struct fuzz_target fuzz_store_index = {
    .name = "store_index", .size_max = INPUT_MAX, .run = run_index, .mutate = mutate_index};
const struct fuzz_target fuzz_store_snapshot = {.name = "store_snapshot",
                                                .size_max = INPUT_MAX,
                                                .run = run_snapshot,
                                                .mutate = mutate_snapshot};
const struct fuzz_target fuzz_store_manifest = {.name = "store_manifest",
                                                .size_max = INPUT_MAX,
                                                .run = run_manifest,
                                                .mutate = mutate_manifest};

/* SPDX-License-Identifier: Apache-2.0 */
/* Directories that earlier versions wrote, as files in golden/: every later version must read them
 * (design, I12). A folder is written once, when its format is new, and never again:
 *
 *     BOURSE_GOLDEN=format-1 build/.../unit-tests --filter 'golden/folder...'
 *
 * writes golden/format-1 and what is to be read from it, expected.txt. */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <dirent.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "base/assert.h"
#include "store/crc32c.h"
#include "store/fetch.h"
#include "store/fold.h"
#include "store/index.h"
#include "store/pack.h"
#include "store/snapshot.h"
#include "tests/support/sim_disk.h"
#include "tests/support/store_maker.h"

#define GOLDEN "tests/unit/store/golden/"

enum { VHOST = 1, USER = 2, EXCHANGE = 3, ORDERS = 4, BILLS = 5, SLOT = 8192, FILE_MAX = 65536 };

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

TestSuite(golden, .init = set_up, .fini = tear_down);

/* Reading -------------------------------------------------------------------------------------- */

static void
load_file(const char *folder, const char *name)
{
    char path[512];
    uint8_t octets[FILE_MAX];
    (void)snprintf(path, sizeof(path), GOLDEN "%s/%s", folder, name);
    FILE *file = fopen(path, "rb");
    cr_assert(ne(ptr, file, NULL), "%s", path);
    size_t size = fread(octets, 1, sizeof(octets), file);
    (void)fclose(file);
    sim_disk_replace(sim, name, bytes_make(octets, size));
}

static void
load_folder(const char *folder)
{
    char path[256];
    (void)snprintf(path, sizeof(path), GOLDEN "%s", folder);
    DIR *directory = opendir(path);
    cr_assert(ne(ptr, directory, NULL), "the tests run from the root of the repository");
    for (struct dirent *entry; (entry = readdir(directory)) != NULL;) {
        if (entry->d_name[0] != '.' && strcmp(entry->d_name, "expected.txt") != 0) {
            load_file(folder, entry->d_name);
        }
    }
    (void)closedir(directory);
}

static enum status
print_record(void *context, const struct record *record)
{
    buffer_printf(context, "record %d octets %zu sum %08x\n", (int)record->type,
                  record->octets.size, crc32c(0, record->octets.data, record->octets.size));
    return STATUS_OK;
}

static void
print_state(struct buffer *out, const struct recovered_row *row)
{
    const struct row_state *state = &row->state;
    if (row->state_lsn == 0 && row_state_is_empty(state)) {
        return;
    }
    buffer_printf(out,
                  " state %" PRIu64 " due %" PRIu64 " deadline %" PRIu64 " arrival %" PRIu64
                  " counts %u %u verdict %d level %d",
                  row->state_lsn, state->due_ms, state->deadline_ms, state->arrival_ms,
                  state->delivery_count, state->acquired_count, state->verdict, state->priority);
    const struct row_attempts *attempts = &row->attempts;
    if (!row_attempts_is_empty(attempts)) {
        buffer_printf(out, " attempts %u %u %u %u %u verdicts %04x", attempts->times_ms[0],
                      attempts->times_ms[1], attempts->times_ms[2], attempts->times_ms[3],
                      attempts->times_ms[4], attempts->verdicts);
    }
}

static enum status
print_row(void *context, const struct recovered_row *row)
{
    struct log_failure failure;
    struct fetch_files *files = fetch_files_new(&disk);
    struct io_fetch fetch = {.count = 1, .lsns = {row->lsn}, .sizes = {row->body_size}};
    fetch.block_size = (row->content_size + 7) & ~7U;
    fetch.block = aligned_alloc(8, fetch.block_size);
    cr_assert(eq(int, fetch_run(files, &fetch, &failure), STATUS_OK));
    struct bytes body = content_body((const struct content *)fetch.block);
    buffer_printf(context, "row %" PRIu64 " queue %" PRIu64 " octets %u%s sum %08x", row->lsn,
                  row->queue, row->body_size, row->was_handed_out ? " again" : "",
                  crc32c(0, body.data, body.size));
    print_state(context, row);
    buffer_printf(context, "\n");
    free(fetch.block);
    fetch_files_free(&files);
    return STATUS_OK;
}

static void
print_directory(struct buffer *out)
{
    char why[512];
    struct recovery recovery;
    struct recovery_sink sink = {.record = print_record, .row = print_row, .context = out};
    struct recovery_options options = {.slot_size = SLOT, .check_contents = true};
    enum status status =
        recovery_run(&recovery, &disk, &options, &sink, NULL, NULL, why, sizeof(why));
    cr_assert(eq(int, status, STATUS_OK), "%s", why);
    buffer_printf(out, "next id %" PRIu64 ", base %" PRIu64 ", number %" PRIu64 "\n",
                  recovery.next_object_id, recovery.next_segment_base,
                  recovery.next_segment_number);
    recovery_fini(&recovery);
}

/* Without indexes the same must come out of the segments. */
static void
remove_indexes(void)
{
    char name[STORE_NAME_SIZE];
    for (uint64_t number = 1; number < 32; number++) {
        store_file_name(STORE_FILE_INDEX, number, 0, name);
        if (sim_disk_has(sim, name)) {
            sim_disk_remove(sim, name);
        }
    }
}

static void
expect_content(const char *folder)
{
    char path[512];
    char expected[FILE_MAX];
    struct buffer out = {0};
    (void)snprintf(path, sizeof(path), GOLDEN "%s/expected.txt", folder);
    FILE *file = fopen(path, "rb");
    cr_assert(ne(ptr, file, NULL), "%s", path);
    size_t size = fread(expected, 1, sizeof(expected), file);
    (void)fclose(file);
    print_directory(&out);
    cr_expect(bytes_equal(buffer_bytes(&out), bytes_make(expected, size)), "%.*s",
              BYTES_FORMAT(buffer_bytes(&out)));
    buffer_fini(&out);
}

/* Design, I12: the octets of version N are readable by version N + 1. */
Test(golden, directory_of_every_format_is_read)
{
    static const char *const folders[] = {"format-1", "format-2", "format-3"};
    for (size_t i = 0; i < ARRAY_LEN(folders); i++) {
        load_folder(folders[i]);
        expect_content(folders[i]);
        remove_indexes();
        expect_content(folders[i]);
        tear_down();
        set_up();
    }
}

/* Reliability, F17: a newer format is refused in clear text. */
Test(golden, newer_format_is_refused_in_clear_text)
{
    char why[512];
    uint8_t octets[SEGMENT_HEADER_SIZE];
    struct recovery recovery;
    struct recovery_sink sink = {.record = print_record, .row = print_row};
    struct recovery_options options = {.slot_size = SLOT};
    load_folder("format-1");
    memcpy(octets, sim_disk_content(sim, "seg.0000000000000001").data, sizeof(octets));
    octets[8] = 2;
    sim_disk_set(sim, "seg.0000000000000001", 0, bytes_make(octets, sizeof(octets)));
    enum status status =
        recovery_run(&recovery, &disk, &options, &sink, NULL, NULL, why, sizeof(why));
    cr_expect(eq(int, status, STATUS_CORRUPT));
    cr_expect(strstr(why, "newer version") != NULL, "%s", why);
}

/* Writing -------------------------------------------------------------------------------------- */

static void
put_topology(struct store_maker *maker)
{
    struct buffer record = {0};
    store_maker_vhost(maker, VHOST, "/");
    record_put_user(&record, USER, RECORD_FROM_FILE, bytes_of("anna"), bytes_of("secret"));
    store_maker_put(maker, &record);
    record_put_exchange(&record, EXCHANGE, VHOST, RECORD_INTERNAL, bytes_of("orders"),
                        bytes_of("topic"), bytes_make("\x01x\x62\x01", 4));
    store_maker_put(maker, &record);
    store_maker_queue(maker, ORDERS, VHOST, "orders");
    store_maker_queue(maker, BILLS, VHOST, "bills");
    record_put_binding(&record, RECORD_BINDING_SET, EXCHANGE, ORDERS, 0, bytes_of("eu.#"),
                       bytes_make(NULL, 0));
    store_maker_put(maker, &record);
    store_maker_seal(maker, true);
}

/* Every part of a state, alone and with others; of every third message. */
static struct row_state
state_of(uint32_t at)
{
    return (struct row_state){
        .due_ms = at % 2 == 0 ? UINT64_C(2082758400000) + at : 0,
        .deadline_ms = at % 4 < 2 ? UINT64_C(1) << 40 : 0,
        .arrival_ms = at % 5 == 0 ? UINT64_C(1600000000000) : 0,
        .delivery_count = at % 7,
        .acquired_count = at % 7 == 0 ? 0 : at,
        .verdict = (uint8_t)(at % 5),
        .priority = (uint8_t)(at * 11),
    };
}

/* Of two of three states, from one to all of them. */
static struct row_attempts
attempts_of(uint32_t at)
{
    struct row_attempts attempts = {0};
    for (uint32_t i = 0; i < ROW_ATTEMPTS_MAX && at % 3 != 0; i++) {
        attempts.times_ms[i] = i <= at % 7 ? UINT32_MAX - at * i : 0;
        attempts.verdicts |= (uint16_t)((at + i) % 5 << 3 * i);
    }
    return attempts;
}

static void
return_some(struct store_maker *maker, const uint64_t *lsns, uint32_t count, uint32_t salt)
{
    for (uint32_t i = 1; i < count; i += 5) {
        struct row_state state = state_of(i + salt);
        struct row_attempts attempts = attempts_of(i + salt);
        (void)journal_return(maker->journal, i % 2 == 0 ? ORDERS : BILLS, lsns[i], &state,
                             &attempts);
        store_maker_seal(maker, true);
    }
}

static void
publish_some(struct store_maker *maker)
{
    uint64_t lsns[24];
    for (uint32_t i = 0; i < ARRAY_LEN(lsns); i++) {
        uint64_t queues[] = {ORDERS, i % 5 == 0 ? BILLS | RECORD_QUEUE_HANDED_OUT : BILLS};
        struct journal_state state = {.state = state_of(i), .count = 2 - i % 2};
        lsns[i] = store_maker_publish_with(maker, queues + i % 2, 2 - i % 2, &state, i % 3 == 0,
                                           "golden ", i * 41);
        store_maker_seal(maker, i % 4 == 3);
    }
    return_some(maker, lsns, ARRAY_LEN(lsns), 1);
    return_some(maker, lsns, ARRAY_LEN(lsns) / 2, 2);
    for (uint32_t i = 0; i < ARRAY_LEN(lsns); i += 4) {
        journal_remove(maker->journal, ORDERS, lsns[i]);
        journal_hand_out(maker->journal, ORDERS, lsns[i]);
    }
    store_maker_seal(maker, true);
}

static void
make_directory(void)
{
    char why[512];
    struct store_maker maker;
    struct log_failure failure;
    uint64_t octets;
    store_maker_init(&maker, &disk);
    maker.slot_size = SLOT;
    cr_assert(eq(int, store_maker_start(&maker, NULL, why, sizeof(why)), STATUS_OK));
    put_topology(&maker);
    publish_some(&maker);
    uint64_t lsn = journal_commit_lsn(maker.journal);
    cr_assert(
        eq(int, snapshot_take(&disk, &maker.recovery.manifest, lsn, &octets, &failure), STATUS_OK));
    cr_assert(eq(int, fold_run(&disk, 1, lsn, &failure), STATUS_OK));
    cr_assert(eq(int, pack_run(&disk, 2, 3, lsn, &octets, &failure), STATUS_OK));
    store_maker_end(&maker);
    cr_assert(eq(int, store_maker_start(&maker, NULL, why, sizeof(why)), STATUS_OK));
    publish_some(&maker);
    store_maker_fini(&maker);
}

static void
save_file(const char *folder, const char *name, struct bytes content)
{
    char path[512];
    (void)snprintf(path, sizeof(path), GOLDEN "%s/%s", folder, name);
    FILE *file = fopen(path, "wbx");
    cr_assert(ne(ptr, file, NULL), "%s is there: golden files are written once", path);
    cr_assert(eq(sz, fwrite(content.data, 1, content.size, file), content.size));
    cr_assert(eq(int, fclose(file), 0));
}

Test(golden, folder_is_written_where_that_is_asked_for)
{
    const char *folder = getenv("BOURSE_GOLDEN");
    struct buffer out = {0};
    make_directory();
    print_directory(&out);
    cr_expect(ge(sz, buffer_size(&out), 1));
    if (folder != NULL) {
        char path[256];
        (void)snprintf(path, sizeof(path), GOLDEN "%s", folder);
        (void)mkdir(path, 0755);
        for (uint32_t i = 0; i < sim_disk_file_count(sim); i++) {
            save_file(folder, sim_disk_name(sim, i), sim_disk_content(sim, sim_disk_name(sim, i)));
        }
        save_file(folder, "expected.txt", buffer_bytes(&out));
    }
    buffer_fini(&out);
}

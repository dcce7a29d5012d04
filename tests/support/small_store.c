/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/support/small_store.h"

#include <stdlib.h>

#include "base/assert.h"
#include "store/fetch.h"
#include "store/fold.h"
#include "store/snapshot.h"

enum { VHOST = 1, ORDERS = 2, BILLS = 3, LATER = 4, BLOCK_SIZE = 8192 };

static const char TEXT[] = "message ";

static void
start(struct store_maker *maker)
{
    char why[512];
    enum status status = store_maker_start(maker, NULL, why, sizeof(why));
    assert(status == STATUS_OK);
}

static void
publish_some(struct small_store *store, struct store_maker *maker, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        uint64_t queues[] = {ORDERS, BILLS};
        uint32_t size = (uint32_t)(i * 977 % 2500);
        store->sizes[store->count] = size;
        struct journal_state state = {
            .state = {.deadline_ms = UINT64_C(1700000000000) + i, .priority = (uint8_t)(i % 3)},
            .count = 1};
        store->lsns[store->count] = store_maker_publish_with(
            maker, queues + i % 2, 1 + (i % 6 == 0), &state, i % 4 == 1, TEXT, size);
        store->count++;
        store_maker_seal(maker, true);
    }
}

static void
acknowledge(struct small_store *store, struct store_maker *maker, size_t first, size_t step)
{
    for (size_t i = first; i < store->count; i += step) {
        journal_remove(maker->journal, ORDERS, store->lsns[i]);
    }
    store_maker_seal(maker, true);
}

/* Every `step`th message that the queue still has waits for another try. */
static void
return_some(struct small_store *store, struct store_maker *maker, size_t first, size_t step)
{
    for (size_t i = first; i < store->count; i += step) {
        struct row_state state = {.due_ms = UINT64_C(1800000000000) + i,
                                  .arrival_ms = 1600000000000,
                                  .delivery_count = 2,
                                  .acquired_count = 3,
                                  .verdict = ROW_VERDICT_LOST};
        struct row_attempts attempts = {.times_ms = {(uint32_t)i, 1000}, .verdicts = 1 | 3 << 3};
        (void)journal_return(maker->journal, BILLS, store->lsns[i], &state, &attempts);
    }
    store_maker_seal(maker, true);
}

static void
snapshot_and_fold(struct store_maker *maker)
{
    uint64_t octets;
    struct log_failure failure;
    uint64_t lsn = journal_commit_lsn(maker->journal);
    enum status status =
        snapshot_take(&maker->disk, &maker->recovery.manifest, lsn, &octets, &failure);
    assert(status == STATUS_OK);
    status = fold_run(&maker->disk, 1, lsn, &failure);
    assert(status == STATUS_OK);
}

void
small_store_make(struct small_store *store, struct store_maker *maker)
{
    store->count = 0;
    start(maker);
    store_maker_vhost(maker, VHOST, "/");
    store_maker_queue(maker, ORDERS, VHOST, "orders");
    store_maker_queue(maker, BILLS, VHOST, "bills");
    publish_some(store, maker, 80);
    acknowledge(store, maker, 0, 3);
    snapshot_and_fold(maker);
    store_maker_end(maker);
    start(maker);
    store_maker_queue(maker, LATER, VHOST, "later");
    publish_some(store, maker, 50);
    return_some(store, maker, 1, 6);
    acknowledge(store, maker, 1, 5);
    store_maker_end(maker);
    start(maker);
    publish_some(store, maker, 60);
    return_some(store, maker, 3, 16);
    acknowledge(store, maker, 2, 7);
    store_maker_end(maker);
}

static bool
body_is_right(const struct small_store *store, const struct io_fetch *fetch)
{
    const struct content *content = (const struct content *)(fetch->block + fetch->offsets[0]);
    struct bytes body = content_body(content);
    size_t at = 0;
    while (at < store->count && store->lsns[at] != fetch->lsns[0]) {
        at++;
    }
    if (at == store->count || body.size != store->sizes[at]) {
        return false;
    }
    for (uint32_t i = 0; i < body.size; i++) {
        if (body.data[i] != store_maker_octet(TEXT, i)) {
            return false;
        }
    }
    return true;
}

bool
small_store_bodies_are_right(const struct small_store *store, const struct disk *disk,
                             const struct store_content *content)
{
    struct fetch_files *files = fetch_files_new(disk);
    struct log_failure failure;
    struct io_fetch fetch = {.count = 1, .block_size = BLOCK_SIZE};
    bool is_right = true;
    fetch.block = aligned_alloc(8, BLOCK_SIZE);
    for (size_t i = 0; i < content->row_count && is_right; i++) {
        fetch.lsns[0] = content->rows[i].lsn;
        fetch.sizes[0] = content->rows[i].body_size;
        /* A damaged length may ask for a larger block: then nothing is fetched. */
        if (fetch_run(files, &fetch, &failure) == STATUS_OK && fetch.fetched_count == 1) {
            is_right = body_is_right(store, &fetch);
        }
    }
    free(fetch.block);
    fetch_files_free(&files);
    return is_right;
}

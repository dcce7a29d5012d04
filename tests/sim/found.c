/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/sim/found.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "store/chunk.h"
#include "store/fetch.h"
#include "tests/sim/body.h"
#include "tests/sim/history_parts.h"

void
found_init(struct found *found)
{
    *found = (struct found){0};
}

void
found_fini(struct found *found)
{
    free(found->rows);
    free(found->queues);
    free(found->exchanges);
    free(found->bindings);
    free(found->block);
    recovery_fini(&found->recovery);
}

/* "q12" and the like. */
static bool
is_ours(struct bytes name, char first)
{
    return name.size > 1 && name.size < 4 && name.data[0] == (uint8_t)first;
}

static uint32_t
number_in(struct bytes name)
{
    uint32_t number = 0;
    for (size_t i = 1; i < name.size; i++) {
        number = number * 10 + (uint32_t)(name.data[i] - '0');
    }
    return number;
}

static enum status
take_record(void *context, const struct record *record)
{
    struct found *found = context;
    if (record->type == RECORD_QUEUE_SET) {
        *HISTORY_PUSH(found->queues, found->queue_count, found->queue_capacity) =
            (struct found_object){.id = record->queue.id, .name = number_in(record->queue.name)};
    } else if (record->type == RECORD_EXCHANGE_SET && is_ours(record->exchange.name, 'x')) {
        *HISTORY_PUSH(found->exchanges, found->exchange_count, found->exchange_capacity) =
            (struct found_object){.id = record->exchange.id,
                                  .name = number_in(record->exchange.name)};
    } else if (record->type == RECORD_BINDING_SET) {
        *HISTORY_PUSH(found->bindings, found->binding_count, found->binding_capacity) =
            (struct found_binding){.source = record->binding.source,
                                   .target = record->binding.target,
                                   .key = number_in(record->binding.routing_key) - 1};
    }
    return STATUS_OK;
}

static enum status
take_row(void *context, const struct recovered_row *row)
{
    struct found *found = context;
    *HISTORY_PUSH(found->rows, found->row_count, found->row_capacity) = (struct found_row){
        .queue = row->queue,
        .lsn = row->lsn,
        .body_size = row->body_size,
        .message = UINT32_MAX,
        .was_handed_out = row->was_handed_out,
    };
    return STATUS_OK;
}

/* Contents ------------------------------------------------------------------------------------- */

static uint32_t
message_at(const uint8_t *at)
{
    const struct content *content = (const struct content *)(const void *)at;
    uint32_t number = body_number(content_body(content));
    return body_is_right(content_body(content), number, content->body_size) ? number : UINT32_MAX;
}

/* The next rows that have LSNs of their own, since a message may be in several queues. */
static uint32_t
choose(const struct found *found, uint32_t first, struct io_fetch *fetch)
{
    uint64_t octets = 0;
    uint32_t at = first;
    fetch->count = 0;
    for (; at < found->row_count; at++) {
        const struct found_row *row = &found->rows[at];
        if (fetch->count > 0 && fetch->lsns[fetch->count - 1] == row->lsn) {
            continue;
        }
        octets += row->body_size + 1024;
        if (fetch->count == FETCH_ENTRIES_MAX || (octets > FETCH_WINDOW && fetch->count > 0)) {
            break;
        }
        fetch->lsns[fetch->count] = row->lsn;
        fetch->sizes[fetch->count++] = row->body_size;
    }
    return at;
}

static void
recognise(struct found *found, uint32_t first, uint32_t end, const struct io_fetch *fetch)
{
    uint32_t at = 0;
    for (uint32_t i = first; i < end; i++) {
        while (at < fetch->fetched_count && fetch->lsns[at] < found->rows[i].lsn) {
            at++;
        }
        if (at < fetch->fetched_count && fetch->lsns[at] == found->rows[i].lsn) {
            found->rows[i].message = message_at(fetch->block + fetch->offsets[at]);
        }
    }
}

static enum status
read_contents(struct found *found, const struct disk *disk, struct log_failure *failure)
{
    struct fetch_files *files = fetch_files_new(disk);
    struct io_fetch fetch = {.block = found->block, .block_size = FETCH_WINDOW};
    enum status status = STATUS_OK;
    for (uint32_t first = 0; first < found->row_count && status == STATUS_OK;) {
        uint32_t end = choose(found, first, &fetch);
        status = fetch_run(files, &fetch, failure);
        recognise(found, first, end, &fetch);
        first = end;
    }
    fetch_files_free(&files);
    return status;
}

enum status
found_read(struct found *found, const struct disk *disk, uint64_t slot_size,
           const struct random_source *random, char *why, size_t why_size)
{
    found->row_count = 0;
    found->queue_count = 0;
    found->exchange_count = 0;
    found->binding_count = 0;
    if (found->block == NULL) {
        found->block = xalloc(FETCH_WINDOW);
    }
    recovery_fini(&found->recovery);
    struct recovery_options options = {.slot_size = slot_size, .may_write = true};
    struct recovery_sink sink = {.record = take_record, .row = take_row, .context = found};
    enum status status =
        recovery_run(&found->recovery, disk, &options, &sink, random, NULL, why, why_size);
    if (status != STATUS_OK) {
        found->recovery = (struct recovery){0};
        return status;
    }
    struct log_failure failure = {0};
    status = read_contents(found, disk, &failure);
    if (status != STATUS_OK) {
        (void)snprintf(why, why_size, "%s at %llu cannot be read back", failure.file,
                       (unsigned long long)failure.offset);
    }
    return status;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "store/damage.h"

/* Reports the contents of the current batch that are not what was written, and moves behind it. */
static enum status
report_contents(struct scan *scan, damage_each *each, void *context)
{
    uint64_t base = scan->batch.base_lsn - scan->segment.base_lsn;
    struct bytes left = scan->control;
    struct record record;
    while (record_next(&left, &record) == STATUS_OK) {
        if (record.type != RECORD_PUBLISH) {
            continue;
        }
        enum status status = scan_check_content(scan, &record);
        if (status == STATUS_CORRUPT) {
            uint64_t start = base + BATCH_HEADER_SIZE + record.publish.offset;
            struct damage damage = {
                .stop = SCAN_STOP_CONTENT,
                .reason = "a message that is not what was written",
                .start = start,
                .end = start + record.publish.size,
                .publish = &record,
            };
            status = each(context, scan, &damage);
        }
        if (status != STATUS_OK) {
            return status;
        }
    }
    scan->offset = batch_header_end(&scan->batch) - scan->segment.base_lsn;
    return STATUS_OK;
}

/* Whether a later batch was written when `lsn` was known to be flushed. STATUS_AGAIN: none was. */
static enum status
find_proof(struct scan *scan, uint64_t offset, uint64_t lsn)
{
    enum status status;
    while ((status = scan_seek(scan, offset)) == STATUS_OK && scan->batch.durable_lsn <= lsn) {
        offset = scan->offset + BATCH_ALIGNMENT;
    }
    return status;
}

/* Moves to the next batch whose records can be read. STATUS_AGAIN: there is none. */
static enum status
find_next(struct scan *scan, uint64_t offset)
{
    for (;;) {
        enum status status = scan_seek(scan, offset);
        if (status != STATUS_OK) {
            return status;
        }
        uint64_t found = scan->offset;
        status = scan_next(scan);
        if (status == STATUS_OK || (status == STATUS_CORRUPT && scan->stop == SCAN_STOP_CONTENT)) {
            scan->offset = found;
            return STATUS_OK;
        }
        if (status == STATUS_IO || status == STATUS_NO_MEMORY) {
            return status;
        }
        offset = found + BATCH_ALIGNMENT;
    }
}

/* Something is broken at the scan's offset. STATUS_AGAIN: nothing of the log follows. */
static enum status
report_gap(struct scan *scan, uint64_t must_reach, damage_each *each, void *context)
{
    struct damage damage = {.stop = scan->stop, .reason = scan->reason, .start = scan->offset};
    uint64_t next = damage.start + BATCH_ALIGNMENT;
    enum status status = STATUS_OK;
    if (must_reach == 0) {
        status = find_proof(scan, next, scan_lsn(scan, damage.start));
    }
    if (status == STATUS_OK) {
        status = find_next(scan, next);
    }
    if (status == STATUS_IO || status == STATUS_NO_MEMORY) {
        return status;
    }
    bool goes_on = status == STATUS_OK;
    damage.end = goes_on ? scan->offset : must_reach;
    if (!goes_on && must_reach <= damage.start) {
        scan->offset = damage.start;
        return STATUS_AGAIN;
    }
    scan->offset = damage.end;
    status = each(context, scan, &damage);
    return status == STATUS_OK && !goes_on ? STATUS_AGAIN : status;
}

enum status
damage_walk(struct scan *scan, uint64_t must_reach, damage_each *each, void *context,
            uint64_t *end_out)
{
    if (must_reach != 0 && must_reach < scan->limit) {
        scan->limit = must_reach;
    }
    enum status status = STATUS_OK;
    while (status == STATUS_OK && (must_reach == 0 || scan->offset < must_reach)) {
        status = scan_next(scan);
        if (status == STATUS_CORRUPT && scan->stop == SCAN_STOP_CONTENT) {
            status = report_contents(scan, each, context);
        } else if (status == STATUS_CORRUPT || status == STATUS_AGAIN) {
            status = report_gap(scan, must_reach, each, context);
        }
    }
    *end_out = scan->offset;
    return status == STATUS_AGAIN ? STATUS_OK : status;
}

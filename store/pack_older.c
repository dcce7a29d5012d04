/* SPDX-License-Identifier: Apache-2.0 */
#include "store/pack_older.h"

#include <errno.h>

#include "store/pack.h"

enum status
older_rows_read(struct older_rows *older, const struct disk *disk,
                const struct catalog_entry *entry)
{
    older_rows_fini(older);
    enum status status = pack_source_index(&older->index, disk, entry);
    if (status != STATUS_OK) {
        return status;
    }
    older->entry = entry;
    status = dead_rows_read(&older->dead, disk, &older->index);
    if (status == STATUS_NO_MEMORY) {
        older_rows_fini(older);
        return status;
    }
    return STATUS_OK;
}

void
older_rows_fini(struct older_rows *older)
{
    int error = errno;
    segment_index_fini(&older->index);
    dead_rows_fini(&older->dead);
    *older = (struct older_rows){0};
    errno = error;
}

bool
older_rows_has(struct older_rows *older, uint64_t lsn, uint64_t queue)
{
    const struct segment_index *index = &older->index;
    uint64_t at = index_find_row(index->rows, index->row_count, lsn, queue, &older->cursor);
    return at < index->row_count && (older->dead.bits == NULL || !dead_bit(older->dead.bits, at));
}

/* SPDX-License-Identifier: Apache-2.0 */
/* What is wrong within a segment, place by place, for commands that report or repair it. Recovery
 * stops at the first place; this goes on behind it. */
#ifndef BOURSE_STORE_DAMAGE_H
#define BOURSE_STORE_DAMAGE_H

#include "base/status.h"
#include "store/scan.h"

struct damage {
    enum scan_stop stop;
    const char *reason;           /* static */
    uint64_t start, end;          /* offsets of the octets that are lost */
    const struct record *publish; /* SCAN_STOP_CONTENT: the record, of the scan's current batch,
                                     that names the content; the batch is otherwise good */
};

/* Called for each place, from front to back. It may use and move the scan's window, not the scan.
 */
typedef enum status damage_each(void *context, struct scan *scan, const struct damage *damage);

/* Walks the whole segment. `must_reach` is the offset up to which batches must go; 0: nobody knows,
 * then what is broken counts only if a later batch was written when the place was known to be
 * flushed. `*end_out` is the offset behind the last batch. STATUS_IO: see scan->reason; anything
 * else but STATUS_OK is what `each` returned. */
MUST_CHECK enum status damage_walk(struct scan *scan, uint64_t must_reach, damage_each *each,
                                   void *context, uint64_t *end_out);

#endif

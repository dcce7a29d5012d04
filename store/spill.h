/* SPDX-License-Identifier: Apache-2.0 */
/* Memory lent to the disk: blocks of queue entries, chunks of transient messages. A spill file
 * means nothing after the process; it is never flushed, and a failure to write one only means that
 * the memory stays where it is. */
#ifndef BOURSE_STORE_SPILL_H
#define BOURSE_STORE_SPILL_H

#include "base/disk.h"
#include "base/status.h"

#include <stdbool.h>
#include <stdint.h>

struct io_spill {
    bool is_write;
    bool is_removal; /* the whole file goes; nothing lies in it any more */
    uint64_t number; /* of the file; made by the first write to it */
    uint64_t offset;
    void *octets; /* borrowed until the job is back */
    uint32_t size;
    uint32_t crc; /* write: out; read: what it must be (STATUS_CORRUPT otherwise) */
    void *owner;  /* the core's; not looked at */
};

MUST_CHECK enum status spill_run(struct io_spill *spill, const struct disk *disk);

#endif

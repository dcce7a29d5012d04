/* SPDX-License-Identifier: Apache-2.0 */
/* What stands before every batch of a log, as docs/store-format.md gives it. Encoding and decoding
 * as pure functions over octets. */
#ifndef BOURSE_STORE_BATCH_HEADER_H
#define BOURSE_STORE_BATCH_HEADER_H

#include "base/status.h"

#include <stdint.h>

enum {
    BATCH_HEADER_SIZE = 64,
    BATCH_ALIGNMENT = 64,
};

enum batch_flag {
    BATCH_FIRST_OF_EPOCH = 1 << 0,
};

struct batch_header {
    uint16_t flags; /* of enum batch_flag */
    uint16_t group;
    uint64_t base_lsn;
    uint32_t data_size;
    uint32_t control_size;
    uint32_t record_count;
    uint32_t control_crc;
    uint64_t epoch;
    uint64_t durable_lsn;
    int64_t wall_ms;
    uint32_t skipped; /* octets since the end of the epoch's previous batch */
};

/* LSN behind the batch: where the next one of the segment begins. */
static inline uint64_t
batch_header_end(const struct batch_header *header)
{
    uint64_t size = (uint64_t)BATCH_HEADER_SIZE + header->data_size + header->control_size;
    return header->base_lsn + ((size + BATCH_ALIGNMENT - 1) & ~(uint64_t)(BATCH_ALIGNMENT - 1));
}

/* Encodes with its own CRC. */
void batch_header_encode(const struct batch_header *header, uint8_t out[static BATCH_HEADER_SIZE]);

/* STATUS_CORRUPT when magic or CRC are not right; nothing else is judged. */
MUST_CHECK enum status batch_header_decode(struct batch_header *header,
                                           const uint8_t octets[static BATCH_HEADER_SIZE]);

#endif

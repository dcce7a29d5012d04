/* SPDX-License-Identifier: Apache-2.0 */
#include "store/batch_header.h"

#include "store/crc32c.h"
#include "store/little_endian.h"

static const uint32_t BATCH_MAGIC = 0x54414252;

enum { HEADER_CRC_AT = 60 };

void
batch_header_encode(const struct batch_header *header, uint8_t out[static BATCH_HEADER_SIZE])
{
    put_u32_le(out, BATCH_MAGIC);
    put_u16_le(out + 4, header->flags);
    put_u16_le(out + 6, header->group);
    put_u64_le(out + 8, header->base_lsn);
    put_u32_le(out + 16, header->data_size);
    put_u32_le(out + 20, header->control_size);
    put_u32_le(out + 24, header->record_count);
    put_u32_le(out + 28, header->control_crc);
    put_u64_le(out + 32, header->epoch);
    put_u64_le(out + 40, header->durable_lsn);
    put_u64_le(out + 48, (uint64_t)header->wall_ms);
    put_u32_le(out + 56, header->skipped);
    put_u32_le(out + HEADER_CRC_AT, crc32c(0, out, HEADER_CRC_AT));
}

enum status
batch_header_decode(struct batch_header *header, const uint8_t octets[static BATCH_HEADER_SIZE])
{
    if (get_u32_le(octets) != BATCH_MAGIC ||
        get_u32_le(octets + HEADER_CRC_AT) != crc32c(0, octets, HEADER_CRC_AT)) {
        return STATUS_CORRUPT;
    }
    *header = (struct batch_header){
        .flags = get_u16_le(octets + 4),
        .group = get_u16_le(octets + 6),
        .base_lsn = get_u64_le(octets + 8),
        .data_size = get_u32_le(octets + 16),
        .control_size = get_u32_le(octets + 20),
        .record_count = get_u32_le(octets + 24),
        .control_crc = get_u32_le(octets + 28),
        .epoch = get_u64_le(octets + 32),
        .durable_lsn = get_u64_le(octets + 40),
        .wall_ms = (int64_t)get_u64_le(octets + 48),
        .skipped = get_u32_le(octets + 56),
    };
    return STATUS_OK;
}

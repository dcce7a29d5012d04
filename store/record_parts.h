/* SPDX-License-Identifier: Apache-2.0 */
/* What record.c and record_topology.c share: how a record begins, and how it is taken apart. Nobody
 * else includes this. */
#ifndef BOURSE_STORE_RECORD_PARTS_H
#define BOURSE_STORE_RECORD_PARTS_H

#include "store/little_endian.h"
#include "store/record.h"

/* Reading: `record` has its type, flags and octets. -------------------------------------------- */

/* The fixed part behind the header; NULL when the record is shorter. */
static inline const uint8_t *
record_fixed_part(const struct record *record, size_t size)
{
    return record->octets.size < RECORD_HEADER_SIZE + size
               ? NULL
               : record->octets.data + RECORD_HEADER_SIZE;
}

/* Cuts `count` runs of the given sizes from behind the fixed part. False when they do not lie
 * within the record, or do not fill it but for the padding. */
MUST_CHECK bool record_cut_tail(const struct record *record, size_t fixed, const uint32_t *sizes,
                                struct bytes *const *out, size_t count);

/* record_topology.c: fills in what a SET record has, or BINDING_DELETE. False when it has not the
 * form that its type wants. */
MUST_CHECK bool record_decode_topology(struct record *record);

/* Writing -------------------------------------------------------------------------------------- */

static inline size_t
record_aligned(size_t size)
{
    return (size + RECORD_ALIGNMENT - 1) & ~(size_t)(RECORD_ALIGNMENT - 1);
}

static inline void
record_put_header(uint8_t *at, enum record_type type, size_t size)
{
    at[0] = (uint8_t)type;
    at[1] = type == RECORD_NOTE ? RECORD_IGNORABLE : 0;
    at[2] = 0;
    at[3] = 0;
    put_u32_le(at + 4, (uint32_t)size);
}

/* Writes the header of a record whose fixed part has `fixed` octets, copies the tails behind it and
 * returns where the fixed part goes; NULL when there is no memory. */
uint8_t *record_begin(struct buffer *out, enum record_type type, size_t fixed,
                      const struct bytes *tails, size_t tail_count);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* Records of facts: small things that are kept under a kind and a number, and of which the store
 * knows no more than that. */
#include "store/record_fact.h"

#include "base/assert.h"
#include "store/little_endian.h"

/* Behind the header: u32 kind, u32 octets of the rest, u64 number. */
enum { FACT_FIXED = 16 };

bool
record_decode_fact(struct record *record)
{
    const uint8_t *at = record->octets.data + RECORD_HEADER_SIZE;
    if (record->octets.size < RECORD_HEADER_SIZE + FACT_FIXED) {
        return false;
    }
    size_t left = record->octets.size - RECORD_HEADER_SIZE - FACT_FIXED;
    uint32_t size = get_u32_le(at + 4);
    record->fact.kind = get_u32_le(at);
    record->fact.id = get_u64_le(at + 8);
    record->fact.rest = bytes_make(at + FACT_FIXED, size);
    bool is_delete = record->type == RECORD_FACT_DELETE;
    return size <= left && left - size < RECORD_ALIGNMENT && (!is_delete || left == 0);
}

static void
put_fact(struct buffer *out, enum record_type type, uint32_t kind, uint64_t id, struct bytes rest)
{
    enum { MASK = RECORD_ALIGNMENT - 1 };
    size_t size = RECORD_HEADER_SIZE + FACT_FIXED + rest.size;
    size_t whole = (size + MASK) & ~(size_t)MASK;
    assert(rest.size < UINT32_MAX - RECORD_HEADER_SIZE - FACT_FIXED - MASK);
    uint8_t *at = buffer_reserve(out, whole);
    if (at == NULL) {
        return;
    }
    memset(at, 0, RECORD_HEADER_SIZE);
    at[0] = (uint8_t)type;
    put_u32_le(at + 4, (uint32_t)whole);
    put_u32_le(at + RECORD_HEADER_SIZE, kind);
    put_u32_le(at + RECORD_HEADER_SIZE + 4, (uint32_t)rest.size);
    put_u64_le(at + RECORD_HEADER_SIZE + 8, id);
    if (rest.size > 0) {
        memcpy(at + RECORD_HEADER_SIZE + FACT_FIXED, rest.data, rest.size);
    }
    memset(at + size, 0, whole - size);
    buffer_commit(out, whole);
}

void
record_put_fact(struct buffer *out, uint32_t kind, uint64_t id, struct bytes rest)
{
    put_fact(out, RECORD_FACT_SET, kind, id, rest);
}

void
record_put_fact_delete(struct buffer *out, uint32_t kind, uint64_t id)
{
    put_fact(out, RECORD_FACT_DELETE, kind, id, bytes_make(NULL, 0));
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "store/row_attempts.h"

#include <stdlib.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "store/little_endian.h"
#include "store/row_state.h"

enum { VERDICT_BITS = 3, VERDICT_MASK = (1 << VERDICT_BITS) - 1 };

bool
row_attempts_is_right(const struct row_attempts *attempts)
{
    uint32_t left = attempts->verdicts;
    for (uint32_t i = 0; i < ROW_ATTEMPTS_MAX; i++) {
        if ((left & VERDICT_MASK) > ROW_VERDICT_TIMEOUT) {
            return false;
        }
        left >>= VERDICT_BITS;
    }
    return left == 0;
}

void
row_attempts_encode(const struct row_attempts *attempts, uint8_t out[static ROW_ATTEMPTS_SIZE])
{
    for (size_t i = 0; i < ROW_ATTEMPTS_MAX; i++) {
        put_u32_le(out + 4 * i, attempts->times_ms[i]);
    }
    put_u16_le(out + 20, attempts->verdicts);
    put_u16_le(out + 22, 0);
}

struct row_attempts
row_attempts_decode(const uint8_t octets[static ROW_ATTEMPTS_SIZE])
{
    struct row_attempts attempts = {.verdicts = get_u16_le(octets + 20)};
    for (size_t i = 0; i < ROW_ATTEMPTS_MAX; i++) {
        attempts.times_ms[i] = get_u32_le(octets + 4 * i);
    }
    return attempts;
}

enum status
row_attempts_list_reserve(struct row_attempts_list *list, uint64_t more)
{
    uint64_t wanted = list->count + more;
    if (wanted <= list->capacity) {
        return STATUS_OK;
    }
    uint64_t capacity = list->capacity == 0 ? 16 : (uint64_t)list->capacity * 2;
    capacity = capacity < wanted ? wanted : capacity;
    if (capacity > UINT32_MAX) {
        return STATUS_NO_MEMORY;
    }
    struct row_attempts *items = try_realloc(list->items, (size_t)capacity * sizeof(*items));
    if (items == NULL) {
        return STATUS_NO_MEMORY;
    }
    list->items = items;
    list->capacity = (uint32_t)capacity;
    return STATUS_OK;
}

uint32_t
row_attempts_list_add(struct row_attempts_list *list, const struct row_attempts *attempts)
{
    assert(list->count < list->capacity);
    list->items[list->count++] = *attempts;
    return list->count;
}

const struct row_attempts *
row_attempts_list_at(const struct row_attempts_list *list, uint32_t number)
{
    assert(number <= list->count);
    return number == 0 ? NULL : &list->items[number - 1];
}

void
row_attempts_list_fini(struct row_attempts_list *list)
{
    free(list->items);
    *list = (struct row_attempts_list){0};
}

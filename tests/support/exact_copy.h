/* SPDX-License-Identifier: Apache-2.0 */
/* Copies of octets in blocks of exactly their size, so that the address sanitizer sees a decoder
 * that reads one octet too far. */
#ifndef BOURSE_TESTS_SUPPORT_EXACT_COPY_H
#define BOURSE_TESTS_SUPPORT_EXACT_COPY_H

#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"

/* Release with exact_copy_free. */
static inline struct bytes
exact_copy(struct bytes bytes)
{
    void *copy = malloc(bytes.size);
    if (bytes.size > 0) {
        memcpy(copy, bytes.data, bytes.size);
    }
    return bytes_make(copy, bytes.size);
}

static inline void
exact_copy_free(struct bytes copy)
{
    free((void *)copy.data);
}

#endif

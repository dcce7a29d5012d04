/* SPDX-License-Identifier: Apache-2.0 */
/* Where things stand in a pack (docs/store-format.md): for those who read and make one. */
#ifndef BOURSE_STORE_PACK_LAYOUT_H
#define BOURSE_STORE_PACK_LAYOUT_H

#include "store/segment.h"

static const uint8_t PACK_MAGIC[8] = {'B', 'R', 'S', 'P', 'A', 'C', 'K', 'T'};

enum {
    PACK_VERSION = 1,
    TABLE_AT = SEGMENT_HEADER_SIZE,
    TABLE_HEADER_SIZE = 64,
    TABLE_CRC_AT = 56,
    TABLE_HEADER_CRC_AT = 60,
    ENTRY_SIZE = 24,
    CONTENT_HEADER_SIZE = 16,
};

#endif

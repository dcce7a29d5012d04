/* SPDX-License-Identifier: Apache-2.0 */
/* Where things stand in an index (docs/store-format.md): for those who read and write one. */
#ifndef BOURSE_STORE_INDEX_LAYOUT_H
#define BOURSE_STORE_INDEX_LAYOUT_H

#include <stdint.h>

static const uint8_t INDEX_MAGIC[8] = {'B', 'R', 'S', 'I', 'N', 'D', 'E', 'X'};

enum {
    INDEX_VERSION = 3, /* version 1 has no states, version 2 no attempts */
    INDEX_VERSION_MIN = 1,
    INDEX_HEADER_SIZE = 128,
    INDEX_BODY_CRC_AT = 116,
    INDEX_HEADER_CRC_AT = 124,
    ROW_SIZE = 32,
    REMOVAL_SIZE = 16,
    STATE_SIZE = 64,
    STATE_CAME_WITH_MESSAGE = 1 << 0,
    STATE_HAS_ATTEMPTS = 1 << 1,
    TRANSFER_SIZE = 256 * 1024, /* octets that are read or written at once */
};

_Static_assert(TRANSFER_SIZE % ROW_SIZE == 0, "rows are not cut");
_Static_assert(TRANSFER_SIZE % REMOVAL_SIZE == 0, "removals are not cut");
_Static_assert(TRANSFER_SIZE % STATE_SIZE == 0, "states are not cut");

#endif

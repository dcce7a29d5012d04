/* SPDX-License-Identifier: Apache-2.0 */
/* CRC-32C (Castagnoli), the checksum of everything on disk: by the processor's instruction where
 * there is one, else by tables; both give the same. */
#ifndef BOURSE_STORE_CRC32C_H
#define BOURSE_STORE_CRC32C_H

#include <stddef.h>
#include <stdint.h>

/* The checksum of `data` behind octets whose checksum is `crc` (0: none). crc32c(0, "123456789", 9)
 * is 0xe3069283. */
uint32_t crc32c(uint32_t crc, const void *data, size_t size);

/* The two ways by themselves, for tests; the first only where crc32c_has_instruction() is true. */
int crc32c_has_instruction(void);
uint32_t crc32c_by_instruction(uint32_t crc, const void *data, size_t size);
uint32_t crc32c_by_tables(uint32_t crc, const void *data, size_t size);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* What checksums cost: CRC-32C over octets that lie in the cache, and the check word of a content.
 */
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "bench/micro.h"
#include "store/batch.h"
#include "store/crc32c.h"

enum { OCTETS_MAX = 64 * 1024 };

struct octets {
    uint8_t *data;
    size_t size;
};

static void
checksum(void *context, uint64_t count)
{
    const struct octets *octets = context;
    for (uint64_t i = 0; i < count; i++) {
        micro_use(crc32c((uint32_t)i, octets->data, octets->size));
    }
}

static void
checksum_by_tables(void *context, uint64_t count)
{
    const struct octets *octets = context;
    for (uint64_t i = 0; i < count; i++) {
        micro_use(crc32c_by_tables((uint32_t)i, octets->data, octets->size));
    }
}

static void
check_content(void *context, uint64_t count)
{
    const struct octets *octets = context;
    for (uint64_t i = 0; i < count; i++) {
        micro_use(content_check(bytes_make(octets->data, octets->size), 8 * i));
    }
}

int
main(int argc, char **argv)
{
    struct micro micro;
    micro_init(&micro, argc, argv);
    struct octets octets = {.data = xalloc(OCTETS_MAX), .size = 128};
    memset(octets.data, 0xA5, OCTETS_MAX);
    micro_run(&micro, "crc-128", "CRC-32C of 128 octets", checksum, &octets);
    octets.size = 1024;
    micro_run(&micro, "crc-1k", "CRC-32C of 1 KiB", checksum, &octets);
    micro_run(&micro, "crc-1k-tables", "the same without the instruction", checksum_by_tables,
              &octets);
    micro_run(&micro, "check-1k", "check word of a content of 1 KiB", check_content, &octets);
    octets.size = OCTETS_MAX;
    micro_run(&micro, "crc-64k", "CRC-32C of 64 KiB", checksum, &octets);
    free(octets.data);
    return EXIT_SUCCESS;
}

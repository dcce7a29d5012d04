/* SPDX-License-Identifier: Apache-2.0 */
/* Stands in for crc32c in the simulator's program (the linker's --wrap), so that checksums can be
 * taken away: whatever is compared is then 0. */
#include "store/crc32c.h"
#include "tests/sim/mutant.h"

static bool is_always_right;

uint32_t __real_crc32c(uint32_t crc, const void *data, size_t size); // NOLINT
uint32_t __wrap_crc32c(uint32_t crc, const void *data, size_t size); // NOLINT

uint32_t
__wrap_crc32c(uint32_t crc, const void *data, size_t size) // NOLINT
{
    return is_always_right ? 0 : __real_crc32c(crc, data, size);
}

void
mutant_set_checksums(bool are_always_right)
{
    is_always_right = are_always_right;
}

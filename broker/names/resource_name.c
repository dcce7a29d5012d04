/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/names/resource_name.h"

#include "amqp/reply.h"
#include "base/assert.h"

static bool
is_line_end(uint8_t octet)
{
    return octet == '\r' || octet == '\n';
}

struct bytes
resource_name_clean(struct bytes name, uint8_t scratch[static RESOURCE_NAME_SIZE_MAX])
{
    assert(name.size <= RESOURCE_NAME_SIZE_MAX);
    size_t kept = 0;
    for (size_t i = 0; i < name.size; i++) {
        if (!is_line_end(name.data[i])) {
            scratch[kept++] = name.data[i];
        }
    }
    return kept == name.size ? name : bytes_make(scratch, kept);
}

bool
resource_name_is_reserved(struct bytes name)
{
    return bytes_starts_with(name, "amq.");
}

enum status
fault_reserved_name(struct fault *fault, const char *kind, struct bytes name)
{
    return fault_channel(fault, REPLY_ACCESS_REFUSED,
                         "%s name '%.*s' contains reserved prefix 'amq.*'", kind,
                         BYTES_FORMAT(name));
}

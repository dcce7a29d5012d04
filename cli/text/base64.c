/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/text/base64.h"

#include "management/json/base64.h"

void
base64_print(FILE *out, struct bytes octets)
{
    enum { SLICE = 3 * 1024 }; /* whole groups */
    struct buffer text;
    buffer_init(&text);
    for (size_t at = 0; at < octets.size; at += SLICE) {
        size_t left = octets.size - at;
        buffer_clear(&text);
        base64_put(&text, bytes_make(octets.data + at, left < SLICE ? left : SLICE));
        fprintf(out, "%.*s", BYTES_FORMAT(buffer_bytes(&text)));
    }
    buffer_fini(&text);
}

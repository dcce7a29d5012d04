/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/base64.h"

void
base64_print(FILE *out, struct bytes octets)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for (size_t i = 0; i < octets.size; i += 3) {
        size_t left = octets.size - i;
        uint32_t group = (uint32_t)octets.data[i] << 16 |
                         (left > 1 ? (uint32_t)octets.data[i + 1] << 8 : 0) |
                         (left > 2 ? (uint32_t)octets.data[i + 2] : 0);
        fputc(digits[group >> 18], out);
        fputc(digits[group >> 12 & 63], out);
        fputc(left > 1 ? digits[group >> 6 & 63] : '=', out);
        fputc(left > 2 ? digits[group & 63] : '=', out);
    }
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "management/http/http_chunks.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>

#include "base/assert.h"

static enum http_chunks_state
state_of(const char *text, size_t piece)
{
    struct http_chunks chunks = {.state = CHUNKS_SIZE_BEGINS};
    struct bytes left = bytes_of(text);
    while (left.size > 0) {
        size_t size = left.size < piece ? left.size : piece;
        http_chunks_take(&chunks, bytes_make(left.data, size));
        left = bytes_make(left.data + size, left.size - size);
    }
    return chunks.state;
}

/* RFC 9112, 7.1. How it is cut by the network means nothing. */
Test(http_chunks, are_over_behind_the_last_one)
{
    static const char *const texts[] = {
        "0\r\n\r\n",
        "2\r\n{}\r\n0\r\n\r\n",
        "a\r\n0123456789\r\n00F\r\n0123456789abcde\r\n0\r\n\r\n",
        "2\r\n\r\n\r\n0\r\n\r\n",
        "0\r\n\r\nGET / HTTP/1.1\r\n\r\n",
    };
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        for (size_t piece = 1; piece < 40; piece++) {
            cr_expect(eq(int, (int)state_of(texts[i], piece), CHUNKS_OVER), "row %zu by %zu", i,
                      piece);
        }
    }
}

/* What a proxy in front may take for another size, or for no size at all. */
Test(http_chunks, are_bad_where_a_size_is_no_hexadecimal_number)
{
    static const char *const texts[] = {
        "0x2\r\n{}\r\n0\r\n\r\n",
        "+2\r\n{}\r\n0\r\n\r\n",
        "-2\r\n",
        " 2\r\n{}\r\n",
        "2 \r\n{}\r\n",
        "2 ;x\r\n{}\r\n",
        "\t2\r\n",
        "\r\n",
        "2\n{}\n0\n\n",
        "2\r\n{}0\r\n\r\n",
        "2\r\n{}\n0\r\n\r\n",
        "1234567890123456\r\n",
        "g\r\n",
        ";x\r\n",
        "2;x=y\r\n",
        "2\r\n{}\r\n0\r\nHost: other\r\n\r\n",
        "0\r\n\n",
    };
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        for (size_t piece = 1; piece < 40; piece++) {
            cr_expect(eq(int, (int)state_of(texts[i], piece), CHUNKS_BAD), "row %zu by %zu", i,
                      piece);
        }
    }
}

Test(http_chunks, are_not_over_before_all_has_come)
{
    static const char text[] = "2\r\n{}\r\n0\r\n\r\n";
    for (size_t size = 0; size < sizeof(text) - 1; size++) {
        struct http_chunks chunks = {.state = CHUNKS_SIZE_BEGINS};
        http_chunks_take(&chunks, bytes_make(text, size));
        cr_expect(ne(int, (int)chunks.state, CHUNKS_OVER));
        cr_expect(ne(int, (int)chunks.state, CHUNKS_BAD));
    }
}

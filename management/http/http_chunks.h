/* SPDX-License-Identifier: Apache-2.0 */
/* The framing of a body in chunks, looked at as it comes in: libevent takes sizes like "0x2", "+2"
 * and " 2", which a proxy in front may take for something else, and headers behind the last chunk.
 * Here a size is hexadecimal digits, lines end with CRLF, and behind the last chunk is nothing.
 * Extensions of chunks are refused: libevent takes none. */
#ifndef BOURSE_MANAGEMENT_HTTP_HTTP_CHUNKS_H
#define BOURSE_MANAGEMENT_HTTP_HTTP_CHUNKS_H

#include "base/bytes.h"

enum http_chunks_state {
    CHUNKS_SIZE_BEGINS, /* the first digit is due */
    CHUNKS_SIZE,
    CHUNKS_SIZE_ENDS, /* LF is due */
    CHUNKS_DATA,
    CHUNKS_DATA_ENDS, /* CR, then LF */
    CHUNKS_DATA_ENDED,
    CHUNKS_END, /* CR, then LF: the body is over */
    CHUNKS_ENDED,
    CHUNKS_OVER,
    CHUNKS_BAD,
};

/* All zero: nothing has come. */
struct http_chunks {
    enum http_chunks_state state;
    uint64_t left;   /* octets of the chunk, while its size comes and while they come */
    uint32_t digits; /* of the size */
};

/* Takes what has come of the body; what is behind its end is ignored. */
void http_chunks_take(struct http_chunks *chunks, struct bytes octets);

#endif

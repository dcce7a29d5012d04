/* SPDX-License-Identifier: Apache-2.0 */
/* The filling side of message memory. A writer lays contents one behind the other into chunks of
 * 256 KiB, so that a message costs no allocation; it knows nothing of who will name them. Whom it
 * fills for (store/chunk.h) hears of each chunk when it opens, names its contents, and hears when
 * nothing more will come.
 *
 * Memory belongs to the writer until it has told that a chunk opened, and then to the other side,
 * which alone frees it; the writer only fills what lies behind the contents that are there. It
 * comes back with chunk_writer_take_back, to be filled again while it is warm.
 *
 * Owner: the thread that reads sockets; a core that makes contents itself has a writer of its own.
 */
#ifndef BOURSE_STORE_CHUNK_WRITER_H
#define BOURSE_STORE_CHUNK_WRITER_H

#include "base/status.h"
#include "store/chunk_memory.h"
#include "store/content.h"

enum {
    CHUNK_BODY_OWN = 64 * 1024, /* a larger body gets a chunk of its own, of its own size */
    CHUNK_ALIGNMENT = 8,        /* of a content's begin and size in its chunk */
};

/* Names a content to whoever the writer fills for, before it has a reference. A value. */
struct chunk_place {
    const struct content *content; /* NULL: names nothing */
    uint32_t chunk;                /* the writer's number; used again once the chunk is closed */
};

/* What the writer tells of a chunk. A value. */
struct chunk_notice {
    uint8_t *memory;
    uint32_t capacity; /* octets: CHUNK_SIZE, or those of the one content it was mapped for */
    uint32_t fill;     /* octets in use when it closes; 0 when it opens */
    uint32_t chunk;
    enum chunk_kind kind;
    bool is_own; /* mapped for one content */
};

/* Who hears of chunks. `opened` is called before the first content is reserved in the chunk, from
 * within chunk_writer_reserve; `closed` from chunk_writer_report, after which the number may be
 * given to another one. */
struct chunk_sink {
    void (*opened)(void *context, const struct chunk_notice *notice);
    void (*closed)(void *context, const struct chunk_notice *notice);
    void *context;
};

struct chunk_writer;

/* A writer that holds no memory yet: the first chunk comes with the first content. */
struct chunk_writer *chunk_writer_new(struct chunk_memory memory, struct chunk_sink sink);

/* Tells nothing: chunks that are open stay with the other side, but for those that it has had the
 * writer keep. */
void chunk_writer_free(struct chunk_writer **writer);

/* Reserves room for a content and writes everything but the body. `*body_out` is where the body's
 * octets go (body_size of them). The caller has compared body_size with its limits.
 * STATUS_NO_MEMORY when the machine has none; then nothing changes. Memory of a body over
 * CHUNK_BODY_OWN is mapped, so that only octets that really arrive become resident. */
MUST_CHECK enum status chunk_writer_reserve(struct chunk_writer *writer,
                                            const struct content_shape *shape,
                                            struct chunk_place *place_out, uint8_t **body_out);

/* Ends a reservation: the other side has been told of the content, or never will be. */
void chunk_writer_release(struct chunk_writer *writer, struct chunk_place place);

/* Nothing more is laid down in that chunk, in which a content is still unfinished: nobody could
 * take note of it, and what follows is to go to another one. */
void chunk_writer_give_up(struct chunk_writer *writer, uint32_t chunk);

/* The other side, on the same thread, has heard that the chunk opens and cannot take note of it:
 * its memory goes with the writer, unless it is told of as closed before. */
void chunk_writer_keep(struct chunk_writer *writer, uint32_t chunk);

/* Tells of chunks that nothing more will come to. Call between events, when a turn's input was
 * handled: until then a closed chunk is only one that could be let go. */
void chunk_writer_report(struct chunk_writer *writer);

/* Has the open chunk of that number filled from its front again, where the cache is warm. The other
 * side asks, on the same thread, when nobody names a content of it. False when that may not be: the
 * chunk is not open any more, or a content in it is unfinished. */
bool chunk_writer_rewind(struct chunk_writer *writer, uint32_t chunk);

/* Memory for something else than contents; NULL when there is none. */
uint8_t *chunk_writer_map(struct chunk_writer *writer, size_t capacity);

/* Takes memory of a closed chunk, or of chunk_writer_map, that nobody reads any more. */
void chunk_writer_take_back(struct chunk_writer *writer, uint8_t *memory, size_t capacity);

/* Gives back memory that was kept for the next contents and not needed since the last call: see
 * chunk_spares_trim. */
bool chunk_writer_trim(struct chunk_writer *writer);
bool chunk_writer_has_spares(const struct chunk_writer *writer);

#endif

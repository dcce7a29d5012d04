/* SPDX-License-Identifier: Apache-2.0 */
/* A table leads from a chunk's number to its state; numbers are those of its places, so they stay
 * small. A chunk is open (it takes the next contents of its kind), or waits for reservations that
 * are unfinished, or waits to be told of as closed. */
#include "store/chunk_writer.h"

#include <stdlib.h>

#include "base/alloc.h"
#include "base/assert.h"

enum { CHUNKS_FIRST = 8 };

static const uint32_t NO_CHUNK = UINT32_MAX;

struct writer_chunk {
    uint8_t *memory; /* borrowed since it was told of, unless it is kept */
    uint32_t capacity;
    uint32_t fill;
    uint32_t unfinished; /* reservations */
    uint32_t next;       /* in the list of free numbers or of closed chunks; NO_CHUNK at the end */
    enum chunk_kind kind;
    bool is_own;
    bool is_kept; /* the other side knows nothing of it */
};

struct chunk_writer {
    struct chunk_sink sink;
    struct writer_chunk *chunks; /* by number; owned */
    uint32_t count;              /* numbers that were ever used */
    uint32_t capacity;
    uint32_t free_first;
    uint32_t closed_first; /* to be told of, in this order */
    uint32_t closed_last;
    uint32_t open[CHUNK_KIND_COUNT]; /* takes the next content; NO_CHUNK: none */
    struct chunk_spares spares;
};

struct chunk_writer *
chunk_writer_new(struct chunk_memory memory, struct chunk_sink sink)
{
    struct chunk_writer *writer = xalloc(sizeof(*writer));
    writer->sink = sink;
    writer->free_first = NO_CHUNK;
    writer->closed_first = NO_CHUNK;
    writer->closed_last = NO_CHUNK;
    for (int kind = 0; kind < CHUNK_KIND_COUNT; kind++) {
        writer->open[kind] = NO_CHUNK;
    }
    chunk_spares_init(&writer->spares, memory);
    return writer;
}

void
chunk_writer_free(struct chunk_writer **writer)
{
    struct chunk_writer *dying = *writer;
    if (dying == NULL) {
        return;
    }
    *writer = NULL;
    for (uint32_t i = 0; i < dying->count; i++) {
        const struct writer_chunk *chunk = &dying->chunks[i];
        if (chunk->is_kept && chunk->memory != NULL) {
            chunk_spares_unmap(&dying->spares, chunk->memory, chunk->capacity);
        }
    }
    chunk_spares_fini(&dying->spares);
    free(dying->chunks);
    free(dying);
}

/* A number that no chunk has. STATUS_NO_MEMORY: the table cannot grow. */
static enum status
writer_take_number(struct chunk_writer *writer, uint32_t *number_out)
{
    if (writer->free_first != NO_CHUNK) {
        *number_out = writer->free_first;
        writer->free_first = writer->chunks[*number_out].next;
        return STATUS_OK;
    }
    if (writer->count == writer->capacity) {
        uint32_t capacity = writer->capacity == 0 ? CHUNKS_FIRST : writer->capacity * 2;
        struct writer_chunk *chunks = try_realloc(writer->chunks, capacity * sizeof(*chunks));
        if (chunks == NULL) {
            return STATUS_NO_MEMORY;
        }
        writer->chunks = chunks;
        writer->capacity = capacity;
    }
    *number_out = writer->count++;
    return STATUS_OK;
}

static struct chunk_notice
writer_notice(const struct chunk_writer *writer, uint32_t number)
{
    const struct writer_chunk *chunk = &writer->chunks[number];
    return (struct chunk_notice){
        .memory = chunk->memory,
        .capacity = chunk->capacity,
        .fill = chunk->fill,
        .chunk = number,
        .kind = chunk->kind,
        .is_own = chunk->is_own,
    };
}

/* A new chunk without contents. */
static enum status
writer_add_chunk(struct chunk_writer *writer, enum chunk_kind kind, size_t wanted, bool is_own,
                 uint32_t *number_out)
{
    assert(wanted <= UINT32_MAX);
    size_t capacity = wanted;
    uint8_t *memory = is_own ? chunk_spares_map_own(&writer->spares, wanted, &capacity)
                             : chunk_spares_map(&writer->spares, wanted);
    if (memory == NULL) {
        return STATUS_NO_MEMORY;
    }
    enum status status = writer_take_number(writer, number_out);
    if (status != STATUS_OK) {
        chunk_spares_unmap(&writer->spares, memory, capacity);
        return status;
    }
    writer->chunks[*number_out] = (struct writer_chunk){
        .memory = memory,
        .capacity = (uint32_t)capacity,
        .next = NO_CHUNK,
        .kind = kind,
        .is_own = is_own,
    };
    struct chunk_notice notice = writer_notice(writer, *number_out);
    writer->sink.opened(writer->sink.context, &notice);
    return STATUS_OK;
}

/* Nothing more comes to the chunk: it is told of with the next report. */
static void
writer_close(struct chunk_writer *writer, uint32_t number)
{
    if (writer->closed_first == NO_CHUNK) {
        writer->closed_first = number;
    } else {
        writer->chunks[writer->closed_last].next = number;
    }
    writer->closed_last = number;
}

/* The open chunk of `kind`, after making sure that it has room for `size` octets. */
static enum status
writer_open_chunk(struct chunk_writer *writer, enum chunk_kind kind, size_t size,
                  uint32_t *number_out)
{
    uint32_t open = writer->open[kind];
    if (open != NO_CHUNK && writer->chunks[open].fill + size <= CHUNK_SIZE) {
        *number_out = open;
        return STATUS_OK;
    }
    enum status status = writer_add_chunk(writer, kind, CHUNK_SIZE, false, number_out);
    if (status != STATUS_OK) {
        return status;
    }
    writer->open[kind] = *number_out;
    if (open != NO_CHUNK && writer->chunks[open].unfinished == 0) {
        writer_close(writer, open);
    }
    return STATUS_OK;
}

/* In units of 8 octets. */
static size_t
tail_units(const struct content_shape *shape)
{
    return (shape->tail.size + 7) / 8;
}

/* What lies behind the body, filled up with zeros. */
static SELDOM void
tail_write(struct content *content, uint8_t *at, const struct content_shape *shape)
{
    content->flags |= (uint16_t)(tail_units(shape) << CONTENT_TAIL_SHIFT);
    memset(at, 0, tail_units(shape) * 8);
    memcpy(at, shape->tail.data, shape->tail.size);
}

/* By pointer: whoever reads `octets` as a whole may wait for its halves to be written. */
static uint8_t *
write_octets(uint8_t *at, const struct bytes *octets)
{
    if (octets->size > 0) {
        memcpy(at, octets->data, octets->size);
    }
    return at + octets->size;
}

/* Writes everything but the body and returns where the body goes. */
static uint8_t *
content_write(struct content *content, const struct content_shape *shape)
{
    *content = (struct content){
        .body_size = shape->body_size,
        .properties_size = (uint32_t)shape->properties.size,
        .flags = shape->flags,
        .exchange_size = (uint8_t)shape->exchange.size,
        .routing_key_size = (uint8_t)shape->routing_key.size,
    };
    uint8_t *at = write_octets(content->octets, &shape->exchange);
    at = write_octets(at, &shape->routing_key);
    at = write_octets(at, &shape->properties);
    if (shape->tail.size > 0) {
        tail_write(content, at + shape->body_size, shape);
    }
    return at;
}

enum status
chunk_writer_reserve(struct chunk_writer *writer, const struct content_shape *shape,
                     struct chunk_place *place_out, uint8_t **body_out)
{
    assert(shape->exchange.size <= UINT8_MAX);
    assert(shape->routing_key.size <= UINT8_MAX);
    assert(shape->properties.size <= UINT32_MAX);
    assert(shape->kind < CHUNK_KIND_COUNT);
    assert(shape->flags >> CONTENT_TAIL_SHIFT == 0);
    assert(shape->tail.size <= CONTENT_TAIL_MAX);

    size_t size = sizeof(struct content) + shape->exchange.size + shape->routing_key.size +
                  shape->properties.size + shape->body_size + tail_units(shape) * 8;
    /* A huge property block must not leave most of a shared chunk unused either. */
    bool is_own = shape->body_size > CHUNK_BODY_OWN || size > CHUNK_SIZE / 2;
    /* Padding is part of what the log writes. */
    size_t padded_size = (size + CHUNK_ALIGNMENT - 1) & ~(size_t)(CHUNK_ALIGNMENT - 1);
    uint32_t number;
    enum status status = is_own ? writer_add_chunk(writer, shape->kind, padded_size, true, &number)
                                : writer_open_chunk(writer, shape->kind, padded_size, &number);
    if (status != STATUS_OK) {
        return status;
    }
    struct writer_chunk *chunk = &writer->chunks[number];
    struct content *content = (struct content *)(void *)(chunk->memory + chunk->fill);
    chunk->fill += (uint32_t)padded_size;
    chunk->unfinished++;
    *body_out = content_write(content, shape);
    *place_out = (struct chunk_place){.content = content, .chunk = number};
    return STATUS_OK;
}

void
chunk_writer_release(struct chunk_writer *writer, struct chunk_place place)
{
    assert(place.chunk < writer->count);
    struct writer_chunk *chunk = &writer->chunks[place.chunk];
    assert(chunk->unfinished > 0);
    chunk->unfinished--;
    if (chunk->unfinished == 0 && writer->open[chunk->kind] != place.chunk) {
        writer_close(writer, place.chunk);
    }
}

void
chunk_writer_give_up(struct chunk_writer *writer, uint32_t number)
{
    const struct writer_chunk *chunk = &writer->chunks[number];
    assert(chunk->unfinished > 0);
    if (writer->open[chunk->kind] == number) {
        writer->open[chunk->kind] = NO_CHUNK;
    }
}

void
chunk_writer_keep(struct chunk_writer *writer, uint32_t number)
{
    assert(number < writer->count);
    writer->chunks[number].is_kept = true;
}

void
chunk_writer_report(struct chunk_writer *writer)
{
    while (writer->closed_first != NO_CHUNK) {
        uint32_t number = writer->closed_first;
        struct writer_chunk *chunk = &writer->chunks[number];
        struct chunk_notice notice = writer_notice(writer, number);
        writer->closed_first = chunk->next;
        chunk->memory = NULL;
        chunk->next = writer->free_first;
        writer->free_first = number;
        writer->sink.closed(writer->sink.context, &notice);
    }
}

bool
chunk_writer_rewind(struct chunk_writer *writer, uint32_t number)
{
    assert(number < writer->count);
    struct writer_chunk *chunk = &writer->chunks[number];
    if (chunk->unfinished > 0 || writer->open[chunk->kind] != number) {
        return false;
    }
    chunk->fill = 0;
    return true;
}

uint8_t *
chunk_writer_map(struct chunk_writer *writer, size_t capacity)
{
    return chunk_spares_map(&writer->spares, capacity);
}

void
chunk_writer_take_back(struct chunk_writer *writer, uint8_t *memory, size_t capacity)
{
    chunk_spares_unmap(&writer->spares, memory, capacity);
}

bool
chunk_writer_trim(struct chunk_writer *writer)
{
    return chunk_spares_trim(&writer->spares);
}

bool
chunk_writer_has_spares(const struct chunk_writer *writer)
{
    return chunk_spares_are_kept(&writer->spares);
}

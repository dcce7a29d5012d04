/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/fuzz/session_input.h"

#include "amqp/frame.h"
#include "base/assert.h"
#include "tests/fuzz/make.h"

enum { PIECES_MAX = 512, CHANGES_MAX = 4 };

bool
session_piece_next(struct bytes *rest, struct session_piece *piece_out)
{
    if (rest->size == 0) {
        return false;
    }
    struct session_piece piece = {.octets = *rest};
    if (rest->size >= FRAME_OVERHEAD) {
        size_t size = (size_t)get_u32(rest->data + 3) + FRAME_OVERHEAD;
        if (size <= rest->size) {
            piece.type = rest->data[0];
            piece.argument = get_u16(rest->data + 1);
            piece.octets = bytes_make(rest->data, size);
        }
    }
    *rest = bytes_make(rest->data + piece.octets.size, rest->size - piece.octets.size);
    *piece_out = piece;
    return true;
}

/* Mutation ------------------------------------------------------------------------------------ */

/* An input taken apart. The pieces view octets that are copied when it is put together again. */
struct script {
    struct draw *draw;
    struct maker *maker;
    struct bytes pieces[PIECES_MAX];
    size_t count;
};

static void
insert(struct script *script, size_t at, struct bytes piece)
{
    if (script->count == PIECES_MAX) {
        return;
    }
    memmove(script->pieces + at + 1, script->pieces + at,
            (script->count - at) * sizeof(script->pieces[0]));
    script->pieces[at] = piece;
    script->count++;
}

static struct bytes
keep(struct script *script, struct buffer *buffer)
{
    struct bytes kept = arena_copy(&script->maker->arena, buffer_bytes(buffer));
    buffer_fini(buffer);
    return kept;
}

static struct bytes
make_command(struct script *script)
{
    struct draw *draw = script->draw;
    uint8_t type =
        (uint8_t)(SESSION_CLIENT + draw_below(draw, SESSION_COMMANDS_END - SESSION_CLIENT));
    if (type == SESSION_SHUT_DOWN && draw_chance(draw, 80)) {
        type = SESSION_TURN;
    }
    struct buffer command;
    buffer_init(&command);
    uint16_t argument = (uint16_t)(draw_chance(draw, 80) ? draw_below(draw, 8) : draw_u64(draw));
    frame_encode(&command, (enum frame_type)type, argument, bytes_make(NULL, 0));
    return keep(script, &command);
}

static uint16_t
draw_channel(struct draw *draw)
{
    return (uint16_t)(draw_chance(draw, 85)   ? 1
                      : draw_chance(draw, 80) ? draw_below(draw, 4)
                                              : draw_number(draw));
}

static struct bytes
make_piece(struct script *script)
{
    if (draw_chance(script->draw, 15)) {
        return make_command(script);
    }
    struct buffer frames;
    buffer_init(&frames);
    make_frames(script->maker, &frames, draw_channel(script->draw));
    return keep(script, &frames);
}

/* A copy of a piece with a few octets changed, cut or added. */
static struct bytes
break_piece(struct script *script, struct bytes piece)
{
    struct draw *draw = script->draw;
    struct buffer broken;
    if (piece.size == 0) {
        return make_piece(script);
    }
    buffer_init(&broken);
    buffer_put_bytes(&broken, piece);
    uint8_t *octets = broken.data;
    uint32_t size = (uint32_t)piece.size;
    switch (draw_below(draw, 5)) {
    case 0:
        octets[draw_below(draw, size)] ^= (uint8_t)(1U << draw_below(draw, 8));
        break;
    case 1:
        octets[draw_below(draw, size)] = (uint8_t)draw_number(draw);
        break;
    case 2:
        broken.end = broken.start + draw_below(draw, size);
        break;
    case 3:
        buffer_put_u8(&broken, (uint8_t)draw_u64(draw));
        break;
    default:
        /* Another channel is no damage, but another meaning. */
        if (size >= FRAME_HEADER_SIZE) {
            put_u16(octets + 1, draw_channel(draw));
        }
        break;
    }
    return keep(script, &broken);
}

static void
change(struct script *script)
{
    struct draw *draw = script->draw;
    size_t at = draw_below(draw, (uint32_t)script->count + 1);
    uint32_t kind = draw_below(draw, 16);
    if (kind < 8 || script->count == 0) {
        /* Mostly behind all others: what stands there already has led somewhere. */
        insert(script, draw_chance(draw, 40) ? script->count : at, make_piece(script));
        return;
    }
    at = draw_below(draw, (uint32_t)script->count);
    size_t other = draw_below(draw, (uint32_t)script->count);
    struct bytes piece = script->pieces[at];
    switch (kind) {
    case 8:
    case 9:
        insert(script, other, piece);
        break;
    case 10:
        for (uint32_t copies = draw_below(draw, 12); copies > 0; copies--) {
            insert(script, at, piece);
        }
        break;
    case 11:
    case 12:
        script->pieces[at] = script->pieces[other];
        script->pieces[other] = piece;
        break;
    case 13:
        script->pieces[at] = script->pieces[--script->count];
        break;
    case 14:
        script->pieces[at] = break_piece(script, piece);
        break;
    default:
        script->pieces[at] = make_piece(script);
        break;
    }
}

static size_t
put_together(const struct script *script, uint8_t settings, uint8_t *data, size_t size_max)
{
    size_t size = 0;
    data[size++] = settings;
    for (size_t i = 0; i < script->count; i++) {
        struct bytes piece = script->pieces[i];
        if (piece.size > size_max - size) {
            break;
        }
        if (piece.size > 0) {
            memcpy(data + size, piece.data, piece.size);
        }
        size += piece.size;
    }
    return size;
}

size_t
session_mutate(uint8_t *data, size_t size, size_t size_max, struct draw *draw)
{
    struct maker maker;
    maker_init(&maker, draw);
    struct script script = {.draw = draw, .maker = &maker};
    uint8_t settings = size > 0 ? data[0] : 0;
    struct bytes rest =
        arena_copy(&maker.arena, size > 0 ? bytes_make(data + 1, size - 1) : bytes_make(NULL, 0));
    struct session_piece piece;
    while (session_piece_next(&rest, &piece)) {
        insert(&script, script.count, piece.octets);
    }
    if (draw_chance(draw, 5)) {
        settings = (uint8_t)(settings ^ (1U << draw_below(draw, 8)));
    }
    for (uint32_t changes = 1 + draw_below(draw, CHANGES_MAX); changes > 0; changes--) {
        change(&script);
    }
    size = put_together(&script, settings, data, size_max);
    maker_fini(&maker);
    return size;
}

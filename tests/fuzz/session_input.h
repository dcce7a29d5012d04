/* SPDX-License-Identifier: Apache-2.0 */
/* The input of a session: an octet of settings, then frames as they stand on the wire. What a frame
 * of an AMQP type holds goes to the broker as it is, end octet included, so it may be broken;
 * frames of the types below are for the world around the broker, and use their channel number as an
 * argument. What is no frame any more is sent as it is. */
#ifndef BOURSE_TESTS_FUZZ_SESSION_INPUT_H
#define BOURSE_TESTS_FUZZ_SESSION_INPUT_H

#include "base/bytes.h"
#include "tests/fuzz/draw.h"

enum session_setting {
    SESSION_MARKED = 1 << 0,      /* one chunk of messages is too much memory */
    SESSION_FEW_UNACKED = 1 << 1, /* a channel may have three open deliveries */
    SESSION_LOGGED = 1 << 2,      /* lines of every level are written */
    SESSION_INCAPABLE = 1 << 3,   /* clients announce no capabilities */
    SESSION_SMALL_FRAMES = 1 << 4,
    SESSION_RUDE = 1 << 5,    /* clients neither wait for answers nor give them */
    SESSION_TRICKLE = 1 << 6, /* reads bring seven octets each */
    SESSION_RAW = 1 << 7,     /* no client logs in by itself */
};

enum session_command {
    SESSION_CLIENT = 0xF0, /* who sends what follows: the argument modulo the number of clients */
    SESSION_STEP,          /* the clock moves by that many steps of 10 ms */
    SESSION_STUCK,         /* odd: the client reads nothing any more; even: it does again */
    SESSION_HANG_UP,     /* the client ends its stream; whatever it sends next, it connects anew */
    SESSION_ALLOC_FAULT, /* that many allocations of a peer's size on, one fails */
    SESSION_TURN,        /* the broker works off what there is */
    SESSION_RELOAD,      /* another configuration: the argument modulo their number */
    SESSION_SHUT_DOWN,   /* the core says good-bye to everyone */
    SESSION_COMMANDS_END,
};

/* One piece of an input. */
struct session_piece {
    uint8_t type; /* of an AMQP frame or a command; 0: octets that are no whole frame */
    uint16_t argument;
    struct bytes octets; /* all of it, header and end octet included */
};

/* Takes the next piece off the front of `rest`. False at the end. */
bool session_piece_next(struct bytes *rest, struct session_piece *piece_out);

/* For struct fuzz_target. */
size_t session_mutate(uint8_t *data, size_t size, size_t size_max, struct draw *draw);

#endif

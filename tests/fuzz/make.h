/* SPDX-License-Identifier: Apache-2.0 */
/* Random but well-formed AMQP: tables, property blocks, methods, frames. Names come from a small
 * set, so that what one method declares another one finds. */
#ifndef BOURSE_TESTS_FUZZ_MAKE_H
#define BOURSE_TESTS_FUZZ_MAKE_H

#include "amqp/method.h"
#include "base/alloc.h"
#include "base/buffer.h"
#include "tests/fuzz/draw.h"

/* What is made views the arena. */
struct maker {
    struct draw *draw;
    struct arena arena;
};

void maker_init(struct maker *maker, struct draw *draw);
void maker_fini(struct maker *maker);

/* A text for the field or property called `what`. */
struct bytes make_text(struct maker *maker, const char *what);

/* The body of a table, valid by table_validate; `what` says whose arguments it is to hold. */
struct bytes make_table(struct maker *maker, const char *what);

/* Flag words and values. */
struct bytes make_properties(struct maker *maker);

/* A method that a client may send, mostly. */
struct method make_method(struct maker *maker);
struct method make_method_of(struct maker *maker, enum method_id id);

/* Appends the frame of a method; of a publish, mostly also the frames of its content. */
void make_frames(struct maker *maker, struct buffer *out, uint16_t channel);

/* Changes an input that is one table body: for targets whose input begins with or is a table. */
size_t mutate_table(uint8_t *data, size_t size, size_t size_max, struct draw *draw);

#endif

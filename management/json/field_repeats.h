/* SPDX-License-Identifier: Apache-2.0 */
/* Fields of a table that are called in JSON what a field before them is called. AMQP lets a name
 * stand twice and have any octets; in JSON a name that stands twice is no name, and octets that it
 * has no word for are written as \xNN, which may be what another field is called. A table comes
 * from a peer: what this costs grows with n log n, whatever the names are. */
#ifndef BOURSE_MANAGEMENT_JSON_FIELD_REPEATS_H
#define BOURSE_MANAGEMENT_JSON_FIELD_REPEATS_H

#include "base/buffer.h"

struct field_repeats {
    uint8_t *marks; /* a byte a field, in their order; owned; NULL: no name stands twice */
    uint32_t position;
};

/* Looks through the fields of `table`. STATUS_NO_MEMORY: as if no name stood twice. */
enum status field_repeats_init(struct field_repeats *repeats, struct bytes table);
void field_repeats_fini(struct field_repeats *repeats);

/* Whether the next field's name stood before. */
bool field_repeats_next(struct field_repeats *repeats);

/* Appends what the name is in JSON, before what JSON escapes: octets that are no part of a
 * character, and octets 0, with which there are readers (ours is one) that take no text in a
 * member's name, as \xNN. */
void field_name_put(struct buffer *out, struct bytes name);

#endif

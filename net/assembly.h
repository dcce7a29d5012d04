/* SPDX-License-Identifier: Apache-2.0 */
/* Contents that have not arrived completely (specification, 4.2.6): for each channel of a link a
 * publish that waits for its header frame or for body octets. A table knows the rules of order and
 * size and says with which fault each breach ends; it posts nothing itself.
 *
 * It also remembers the channels that the core has closed and whose peer does not know yet: their
 * contents are dropped until the peer says so.
 *
 * Owner: the network thread of the link. An empty table of no channel holds no memory. */
#ifndef BOURSE_NET_ASSEMBLY_H
#define BOURSE_NET_ASSEMBLY_H

#include "amqp/method.h"
#include "base/bytes.h"
#include "base/status.h"
#include "store/chunk_writer.h"

struct assembly;
struct assembly_index;

struct assembly_table {
    struct assembly_index *index; /* sorted by channel; behind `count` the free slots; owned */
    struct assembly *slots;       /* owned */
    uint32_t count;
    uint32_t capacity;
    uint32_t borrowed_count; /* publishes whose names still lie in the read buffer */
    uint64_t bytes;          /* octets of memory that unfinished contents hold */
};

struct assembly_limits {
    uint64_t message_bytes_max; /* a larger body is not kept */
    uint64_t bytes_max;         /* of `bytes`: 506 beyond */
};

enum { ASSEMBLY_BODY_MAX = 512 * 1024 * 1024 }; /* a larger body is 501 at its header */

/* A publish that can be reported; then its reservation is released. Views live until
 * assembled_fini. */
struct assembled {
    struct chunk_place place; /* names none when the body is over message_bytes_max */
    uint64_t body_size;
    struct bytes exchange;
    struct bytes routing_key;
    bool mandatory;
    bool immediate;
    uint8_t *names; /* owned, may be NULL: memory behind the views */
};

void assembled_fini(struct assembled *assembled);

void assembly_table_init(struct assembly_table *table);

/* Releases every content and all memory; leaves an empty table. */
void assembly_table_fini(struct assembly_table *table, struct chunk_writer *writer);

/* True when a header or body frame must come next on `channel`. */
bool assembly_is_due(const struct assembly_table *table, uint16_t channel);

/* True when it must be a body frame. */
bool assembly_has_header(const struct assembly_table *table, uint16_t channel);

/* True between assembly_discard and assembly_forget. */
bool assembly_is_discarding(const struct assembly_table *table, uint16_t channel);

/* A basic.publish arrived on a channel where none is due. Its names are borrowed until
 * assembly_keep_names. STATUS_FAULT: 506 when there is no memory. */
MUST_CHECK enum status assembly_begin(struct assembly_table *table, uint16_t channel,
                                      const struct basic_publish *publish, struct fault *fault);

/* Copies names that still lie in the read buffer. STATUS_FAULT: 506 when there is no memory or the
 * budget is used up; the table is then as good as before, but the names are lost: drop it. */
MUST_CHECK enum status assembly_keep_names(struct assembly_table *table,
                                           const struct assembly_limits *limits,
                                           struct fault *fault);

/* A header frame. STATUS_OK: `*out` is to be reported now, because its body is empty, or is over
 * message_bytes_max and will be dropped as it comes. STATUS_AGAIN: body frames are due.
 * STATUS_FAULT: 505 out of order or another class, 501 too large or a bad headers table, 502 a bad
 * property block, 506 over the budget or out of memory. */
MUST_CHECK enum status assembly_header(struct assembly_table *table, struct chunk_writer *writer,
                                       const struct assembly_limits *limits, uint16_t channel,
                                       struct bytes payload, struct assembled *out,
                                       struct fault *fault);

/* Whether a body frame of `size` octets may come now. STATUS_FAULT: 505 out of order, 501 when it
 * is longer than what is left. */
MUST_CHECK enum status assembly_check_body(const struct assembly_table *table, uint16_t channel,
                                           uint32_t size, struct fault *fault);

/* Where the next octet of the body goes; NULL when it is to be dropped. A reader may put octets
 * there itself before it hands them to assembly_body. */
uint8_t *assembly_body_at(const struct assembly_table *table, uint16_t channel);

/* Octets of a body frame that was checked, or part of one. */
void assembly_body(struct assembly_table *table, uint16_t channel, struct bytes octets);

/* The end of a body frame. STATUS_OK: the content is complete, and `*out` is to be reported.
 * STATUS_AGAIN: it is not, or nobody wants to know. */
MUST_CHECK enum status assembly_end_body(struct assembly_table *table, struct chunk_writer *writer,
                                         uint16_t channel, struct assembled *out);

/* The core has closed `channel`: drops what is unfinished and what is still to come.
 * STATUS_NO_MEMORY when that cannot be noted. */
MUST_CHECK enum status assembly_discard(struct assembly_table *table, struct chunk_writer *writer,
                                        uint16_t channel);

/* The peer knows that `channel` is closed: ends assembly_discard. */
void assembly_forget(struct assembly_table *table, uint16_t channel);

/* Gives the memory of an empty table back. Call when a turn of the link is over, not for each
 * message. */
void assembly_trim(struct assembly_table *table);

#endif

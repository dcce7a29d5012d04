/* SPDX-License-Identifier: Apache-2.0 */
/* The messages of one queue in an order, wherever they are: ready (those that came back first, then
 * the others, by position), waiting for a time or parked (as they come due), and out at consumers
 * (by connection, as far as connections stay). Nothing about a message changes by being looked at.
 *
 * Between two looks messages come and go. What comes after the rows were begun is passed over, so
 * that who moves messages to the queue that they come from sees none of them twice; but a message
 * that was lent and is to be tried later may be met again there.
 *
 * Owner: the core thread. */
#ifndef BOURSE_BROKER_DESK_DESK_ROWS_H
#define BOURSE_BROKER_DESK_DESK_ROWS_H

#include "broker/core/core.h"
#include "queues/take.h"
#include "queues/waiting.h"

/* Where a message is. */
enum desk_place {
    DESK_READY,
    DESK_WAITING, /* delayed, or until its next try */
    DESK_PARKED,  /* in the queue's quarantine */
    DESK_UNACKED, /* out at a consumer */
    DESK_PLACE_COUNT,
};
enum { DESK_EVERYWHERE = (1 << DESK_PLACE_COUNT) - 1 };

/* What comes next. All zero is the beginning. Good for the same queue as long as the broker runs.
 */
enum desk_phase { PHASE_RETURNED, PHASE_READY, PHASE_WAITING, PHASE_UNACKED, PHASE_END };
struct desk_cursor {
    uint64_t phase;  /* of enum desk_phase */
    uint64_t first;  /* a position; a due time; the link of a connection */
    uint64_t second; /* of what waits the position, of unacked ones the channel */
    uint64_t third;  /* of unacked ones the delivery tag */
};

/* One message; good until the queue changes. */
struct desk_row {
    enum desk_place place;
    enum queue_stand stand; /* DESK_READY */
    uint64_t position;      /* names it in its queue, as long as the broker runs */
    struct due_key key;     /* DESK_WAITING, DESK_PARKED */
    struct queue_entry entry;
    const struct content *content; /* NULL: nobody asked for it, or it cannot be read */
    bool is_unreadable;
};

/* Positions, rising. */
struct desk_positions {
    const uint64_t *at;
    uint32_t count;
};

struct noted_message; /* desk_rows.c */

struct desk_rows {
    struct core *core;
    struct queue *queue;         /* a reference */
    uint32_t places;             /* a bit for each enum desk_place */
    struct desk_positions only;  /* `at` NULL: any */
    uint64_t *ends;              /* by level: where what came later begins; 0: there is no such
                                    level; owned */
    uint64_t delayed_end;        /* the same of numbers of delayed messages */
    struct noted_message *noted; /* those that came back, by position, in this slice; owned */
    uint32_t noted_count;
    bool is_noted;
    uint8_t *run;           /* entries of a spilled run; owned; NULL: none */
    struct entry_look look; /* of them */
    uint64_t run_first;     /* the position of the first */
};

MUST_CHECK enum status desk_rows_init(struct desk_rows *rows, struct core *core,
                                      struct queue *queue, uint32_t places);
void desk_rows_fini(struct desk_rows *rows);

/* The queue may have changed since the last call. */
void desk_rows_begin_slice(struct desk_rows *rows);

enum desk_next {
    DESK_NEXT_ROW,
    DESK_NEXT_PASSED,  /* nothing there, but more behind it */
    DESK_NEXT_SPILLED, /* entries have to be read first: desk_rows_find_run */
    DESK_NEXT_END,
};

/* Moves the cursor on; not with DESK_NEXT_SPILLED. */
enum desk_next desk_rows_next(struct desk_rows *rows, struct desk_cursor *cursor,
                              struct desk_row *row_out);

/* The run of entries at which the cursor stands, and the position of the first of them. */
uint64_t desk_rows_find_run(const struct desk_rows *rows, const struct desk_cursor *cursor,
                            struct entry_look *look_out);

/* That run was read: takes `octets`. */
void desk_rows_take_run(struct desk_rows *rows, const struct entry_look *look, uint64_t first,
                        uint8_t *octets);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* A walk over the messages of one queue (desk_rows.h), which brings what is not in memory. It goes
 * in slices, between which messages come and go. Entries and contents that are on disk are read
 * into memory of the walk, for which there is room in the account of paging, and let go of again.
 *
 * Owner: the core thread. */
#ifndef BOURSE_BROKER_DESK_DESK_WALK_H
#define BOURSE_BROKER_DESK_DESK_WALK_H

#include "broker/core/core.h"
#include "broker/desk/desk_rows.h"

/* Rows that one walk looks at in one tick, and of them, whose contents. */
enum { DESK_ROWS_PER_TICK = 4096, DESK_CONTENTS_PER_TICK = 1024 };

/* How long a walk waits that lacks memory, room or leave to go on. */
enum { DESK_RETRY_MS = 20 };

/* What whoever looks says of a row. */
enum desk_answer {
    DESK_GO_ON,
    DESK_LATER, /* not now: the same one again, when the walk is woken (desk_walk_wake) */
    DESK_ENOUGH,
};

struct desk_looker {
    /* Whether the row is meant, as far as that is known without its content. */
    bool (*is_meant)(void *context, const struct desk_row *row);
    /* It is, and has its content, if the walk brings contents. It may be taken out of the queue. */
    enum desk_answer (*look)(void *context, const struct desk_row *row);
    void *context;
};

struct paging_job;
struct desk_walk;

/* `places`: a bit for each enum desk_place. `only`, if it is not NULL: nothing but messages at
 * these positions is meant, which rise; it outlives the walk. `wake` is called, once, when
 * something that the walk waited for has come: desk_walk_step may go on. NULL: no memory. */
struct desk_walk *desk_walk_new(struct core *core, struct queue *queue, uint32_t places,
                                bool brings_contents, const struct desk_cursor *from,
                                const struct desk_positions *only, void (*wake)(void *context),
                                void *context);

/* No job of the walk is under way (desk_walk_is_reading). */
void desk_walk_free(struct desk_walk **walk);
bool desk_walk_is_reading(const struct desk_walk *walk);

/* What became of a slice. */
enum desk_step {
    DESK_STEP_MORE,  /* to be called again in the next tick */
    DESK_STEP_WAITS, /* when `wake` has been called */
    DESK_STEP_LATER, /* the looker said so */
    DESK_STEP_ENOUGH,
    DESK_STEP_END, /* everything was looked at, or the queue is gone */
};
enum desk_step desk_walk_step(struct desk_walk *walk, const struct desk_looker *looker);

/* It will not be called for a while: it gives up all the memory that it has read into, and reads
 * again when it goes on. */
void desk_walk_let_go(struct desk_walk *walk);

/* Where it stands. */
struct desk_cursor desk_walk_cursor(const struct desk_walk *walk);

/* Entries, and messages with them, that could not be read. */
uint64_t desk_walk_unreadable(const struct desk_walk *walk);

/* Within paging: of the walks that are between two slices the first gives its block up, so that
 * others have room; it reads again what it has not looked at. False: none of them has one. */
struct paging;
bool desk_walk_give_way(struct paging *paging);

/* A job for a walk is back. Takes the job. */
void desk_walk_end_fetch(struct core *core, struct paging_job *job);
void desk_walk_end_restore(struct core *core, struct paging_job *job);
void desk_walk_end_look(struct core *core, struct paging_job *job);

#endif

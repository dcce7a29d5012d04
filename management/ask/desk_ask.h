/* SPDX-License-Identifier: Apache-2.0 */
/* A job of the dead-letter desk (broker/desk/desk.h) on behalf of a call, so that a route is no
 * more than what is wanted and what is written of it. The right to read the queue is asked for
 * before it begins. */
#ifndef BOURSE_MANAGEMENT_ASK_DESK_ASK_H
#define BOURSE_MANAGEMENT_ASK_DESK_ASK_H

#include "broker/desk/desk.h"
#include "management/ask/queue_right.h"
#include "management/http/call.h"
#include "queues/times.h"

struct desk_ask {
    struct call_ask ask;
    struct desk_order order; /* what is wanted; texts live as long as the call */
    uint64_t patience_ms;    /* how long it waits for the job's end; 0: it does not, NEVER_MS: as
                                long as the client does */
    /* In the core: the rights that it takes beyond reading the queue; false: `refusal` says. NULL:
     * none. */
    bool (*may_begin)(struct desk_ask *ask, struct core *core, struct queue *queue);
    /* In the core, of DESK_BROWSE: as desk_order.show. */
    bool (*show)(struct desk_ask *ask, const struct desk_row *row, const struct desk_facts *facts);
    /* In the core: copies what is answered, in the slice in which the wait ends, or the job does.
     */
    void (*take)(struct desk_ask *ask, const struct desk_job *job);
    /* Answers the call; `refusal` may say that nothing was done. */
    void (*answer)(struct call *call, struct desk_ask *ask);
    void (*fini)(struct desk_ask *ask); /* NULL: nothing */

    struct core *core; /* in the core only */
    struct refusal refusal;
    uint64_t number;
    uint64_t begun_ms;
    struct desk_progress progress;
    bool is_over;    /* the job has ended */
    bool is_on_disk; /* and what it did is */
};

/* Writes into `ask`, which is zero and the first member of something from the heap. */
void desk_ask_init(struct desk_ask *ask);
void desk_ask_free(struct desk_ask *ask); /* of one that was not started */

/* Takes the ask. */
void desk_ask_start(struct call *call, struct desk_ask *ask);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* What somebody outside asks the core to do or to tell, in slices. The core calls a request again
 * and again at the end of its ticks, each time with what is left of the tick's budget, until it
 * says that it is done; so a long answer never makes a tick long. What it finds it copies out into
 * memory of its own: nothing of the core's is looked at behind the last call.
 *
 * A request belongs to who asked, all the time; the core only calls it. On the core's own thread,
 * or in a test, core_ask is all there is to it; another thread posts through a request desk
 * (broker/request_desk.h), which brings it back there.
 *
 * Owner: the core thread, between core_ask and the end. */
#ifndef BOURSE_BROKER_CORE_REQUEST_H
#define BOURSE_BROKER_CORE_REQUEST_H

#include "base/list.h"
#include "base/status.h"
#include "broker/core/core.h"

#include <stdatomic.h>

/* Rows (queues, bindings, messages looked at) of all requests in one tick, of two at most one if
 * clients say something in both: a row takes some tenths of a microsecond. A message that comes
 * meanwhile waits for that, so where few come it is little; where many come, ticks are few and
 * long, and a row for each four events is a small part of what they take. */
enum {
    CORE_REQUEST_ROWS_MIN = 16,
    CORE_REQUEST_ROWS_MAX = 256,
    CORE_REQUEST_EVENTS_PER_ROW = 4,
};

enum request_progress {
    REQUEST_DONE, /* never called again */
    REQUEST_MORE, /* the budget was used up: it goes on in the next tick, which follows at once */
    REQUEST_WAITING, /* for something that makes a tick by itself: a commit, a job, an answer of the
                        house; looked at again in every tick that there is */
};

struct request {
    struct list_link link; /* core->requests, or a list of a request desk */
    /* One slice. Takes from `*budget` a row for each row's worth of work, at least one in all, and
     * says REQUEST_MORE when it is 0. Never called with a budget of 0. */
    enum request_progress (*step)(struct request *request, struct core *core, uint32_t *budget);
    /* Nobody waits any more, or the broker stops: gives back what the steps so far have in the
     * core. Not called behind REQUEST_DONE. NULL: nothing is to be given back. */
    void (*abandon)(struct request *request, struct core *core);
    /* The end: `status` says how. Called once, whatever becomes of the request, by the core's
     * thread, and the request may be freed in it; a request desk puts a function of its own here.
     */
    void (*ended)(struct request *request);
    void *context;      /* of `ended` */
    enum status status; /* STATUS_OK: done; STATUS_REJECTED: the broker stops; STATUS_AGAIN: it
                           was cancelled */
    atomic_bool is_cancelled; /* set by who asked: see request_desk_cancel */
};

/* Has the core carry the request out; the first slice comes with the end of this tick. `step`,
 * `abandon`, `ended` and `context` are filled in, the rest is zero. When the core takes no more
 * requests it has ended, with STATUS_REJECTED, before this returns. */
void core_ask(struct core *core, struct request *request);

/* A slice of every request that is under way; those that were cancelled end. */
void core_work_on_requests(struct core *core);

/* Ends all of them with STATUS_REJECTED, and every one that is asked from now on. */
void core_refuse_requests(struct core *core);

#endif

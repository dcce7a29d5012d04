/* SPDX-License-Identifier: Apache-2.0 */
/* How another thread asks the core: requests go in under a lock and a descriptor wakes the core's
 * loop; they come back the same way, in the order in which they ended. Off the path of messages.
 *
 * Each function says whose thread calls it: the core's, or the asker's, of which there is one. */
#ifndef BOURSE_BROKER_REQUEST_DESK_H
#define BOURSE_BROKER_REQUEST_DESK_H

#include "broker/core/request.h"

struct request_desk;

/* A request as it crosses threads. Belongs to the asker's thread but for the time between post and
 * `answered`, in which only the core touches it. */
struct desk_request {
    struct request request; /* step and abandon are the asker's to fill in, the rest is zero */
    /* It is back: request.status says how it ended. Called by request_desk_collect, once for each
     * post, also when it was cancelled; it may free the request. */
    void (*answered)(struct desk_request *request);
};

/* NULL: errno says why there are no descriptors. */
struct request_desk *request_desk_new(void);

/* Nothing may be under way: both sides have stopped. */
void request_desk_free(struct request_desk **desk);

/* The asker's thread. */
void request_desk_post(struct request_desk *desk, struct desk_request *request);
/* Its answer is not wanted any more. It still comes back, soon, through `answered`: done, or with
 * STATUS_AGAIN. */
void request_desk_cancel(struct request_desk *desk, struct desk_request *request);
/* Readable when something has come back. */
int request_desk_answer_fd(const struct request_desk *desk);
void request_desk_collect(struct request_desk *desk);

/* The core's thread. Readable when something was posted or cancelled. */
int request_desk_post_fd(const struct request_desk *desk);
void request_desk_take(struct request_desk *desk, struct core *core);
/* Everything that was posted and not taken, and all that is posted from now on, comes back with
 * STATUS_REJECTED. */
void request_desk_close(struct request_desk *desk);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* One AMQP method for the caller of a route, in the vhost that its path names first: what PUT,
 * DELETE and POST of queues, exchanges and bindings do. It goes through the same handlers as a
 * client's, and is back when a client would be answered. */
#ifndef BOURSE_MANAGEMENT_ASK_OPERATION_H
#define BOURSE_MANAGEMENT_ASK_OPERATION_H

#include "amqp/method.h"
#include "management/ask/caller_house.h"
#include "management/http/call.h"

enum operation_object { OPERATION_ON_NOTHING, OPERATION_ON_QUEUE, OPERATION_ON_EXCHANGE };

struct operation {
    struct call_ask ask;
    struct method method;    /* views into the call, or into `arguments` */
    struct buffer arguments; /* a table body; owned */
    /* What is looked for before the method runs, and whether it was there. With `must_exist` the
     * reply is 404 where the method, which then changes nothing, would have succeeded without it: a
     * refusal comes first, so that a 404 tells no stranger which names exist. */
    enum operation_object object;
    struct bytes name;
    bool must_exist, existed;
    /* It is done, or refused: refusal.reply_code is not 0 then. Answers the call. */
    void (*answer)(struct call *call, const struct operation *operation);

    /* What came of it. */
    struct refusal refusal;
    uint64_t message_count; /* of purge-ok, delete-ok */
    struct house *house;    /* owned; of the core while it is under way */
};

/* An operation that lacks method, what is looked for, and what answers. */
struct operation *operation_new(void);
void operation_free(struct operation *operation); /* of one that was not started */

/* Takes the operation. */
void operation_start(struct call *call, struct operation *operation);

#endif

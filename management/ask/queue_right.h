/* SPDX-License-Identifier: Apache-2.0 */
/* A queue for somebody who wants to do something with its messages that no AMQP method does: found
 * by the names of the call's path, and only with the right, which the one place is asked for that a
 * client's methods ask (broker/users/access.h). For steps of requests.
 *
 * Owner: the core thread. */
#ifndef BOURSE_MANAGEMENT_ASK_QUEUE_RIGHT_H
#define BOURSE_MANAGEMENT_ASK_QUEUE_RIGHT_H

#include "broker/users/access.h"
#include "management/ask/refusal.h"
#include "management/http/call.h"

/* The vhost of the path's first name, and in it the queue of its second. NULL: `refusal` says why;
 * the right comes first, so that a 404 tells no stranger which names exist. */
struct vhost *find_vhost_of(struct core *core, const struct call *call, struct refusal *refusal);
struct queue *find_queue_with_right(struct core *core, const struct call *call,
                                    enum access_right right, struct refusal *refusal);

/* Whether the caller has a right there; the house has all. False: `refusal` says why. */
bool caller_has_right(struct core *core, const struct call *call, const struct vhost *vhost,
                      enum access_right right, enum access_kind kind, struct bytes name,
                      struct refusal *refusal);

/* Who it is, for the audit: the house is "(local)". */
struct bytes caller_name(const struct call *call);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* A connection of the core's own for who calls, in the vhost that the path names first: for
 * requests that do what a client would. It is the step's to use, and the request's to free, in its
 * abandon as well.
 *
 * Owner: the core thread. */
#ifndef BOURSE_MANAGEMENT_ASK_CALLER_HOUSE_H
#define BOURSE_MANAGEMENT_ASK_CALLER_HOUSE_H

#include "broker/connections/house.h"
#include "management/ask/refusal.h"
#include "management/http/call.h"

/* NULL: `refusal` says why. */
struct house *caller_house_open(struct core *core, const struct call *call,
                                struct refusal *refusal);

/* Whether what the house was told to do was refused, which `refusal` then says. Once it is
 * answered. */
bool caller_house_was_refused(const struct house *house, struct refusal *refusal);

#endif

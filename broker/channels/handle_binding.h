/* SPDX-License-Identifier: Apache-2.0 */
/* What queue.bind, exchange.bind and their opposites have in common: names, rights and the two
 * ends. */
#ifndef BOURSE_BROKER_CHANNELS_HANDLE_BINDING_H
#define BOURSE_BROKER_CHANNELS_HANDLE_BINDING_H

#include "base/bytes.h"
#include "base/status.h"
#include "broker/users/access.h"

struct channel;

/* As it came in; CR and LF are still in the names. */
struct binding_request {
    enum access_kind kind; /* of the destination */
    struct bytes destination;
    struct bytes source;
    struct bytes routing_key;
    struct bytes arguments;
};

/* Binds. STATUS_FAULT: 403 for want of write on the destination, read on the source, or topic read
 * on the key; 403 for the default exchange at either end and for a direct reply-to name; 404 when
 * an end is missing; 405 for another connection's exclusive queue; 406 for what the exchange type
 * refuses. */
MUST_CHECK enum status channel_bind(struct channel *channel, const struct binding_request *request,
                                    struct fault *fault);

/* Unbinds; a binding or an end that is not there is no error. STATUS_FAULT as above, but for 404.
 */
MUST_CHECK enum status channel_unbind(struct channel *channel,
                                      const struct binding_request *request, struct fault *fault);

/* 403 at channel scope. */
enum status fault_default_exchange(struct fault *fault);

#endif

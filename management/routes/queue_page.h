/* SPDX-License-Identifier: Apache-2.0 */
/* A page of the queues: first the core is asked for the names of all of them and for what they are
 * sorted by (broker/survey/queue_keys.h), then for the queues that the page shows. */
#ifndef BOURSE_MANAGEMENT_ROUTES_QUEUE_PAGE_H
#define BOURSE_MANAGEMENT_ROUTES_QUEUE_PAGE_H

#include "management/http/call.h"

/* Asks for the page that the call wants, of the queues of `vhost` (data NULL: of all). False: it
 * wants none, or one in an order that names and one number do not give. */
bool queue_page_ask(struct call *call, struct bytes vhost);

#endif

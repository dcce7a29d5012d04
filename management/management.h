/* SPDX-License-Identifier: Apache-2.0 */
/* The admin thread: HTTP interface, health and metrics, in a loop of its own beside the broker's.
 * It knows nothing of the core but what requests bring back (broker/request_desk.h). */
#ifndef BOURSE_MANAGEMENT_MANAGEMENT_H
#define BOURSE_MANAGEMENT_MANAGEMENT_H

#include "base/log.h"
#include "broker/broker.h"
#include "config/config.h"

struct management;

/* Opens the listeners http, https and metrics, and the control socket, and starts the thread; no
 * request is answered before management_start. `broker` and `log` are borrowed. NULL: `why` says in
 * one line what is missing. Not to be called when the configuration has none of them and no control
 * socket. */
struct management *management_new(const struct config *config, struct broker *broker,
                                  struct log *log, char *why, size_t why_size);

/* Loads certificates anew, for when management_set_reloaded says that the configuration is in
 * force. STATUS_REJECTED: `why` says the reason. Nothing is shown yet. */
MUST_CHECK enum status management_prepare_reload(struct management *management,
                                                 const struct config *config, char *why,
                                                 size_t why_size);

/* Writes " http://ADDR:PORT metrics://ADDR:PORT ..." as broker_print_addresses does. */
void management_print_addresses(const struct management *management, FILE *out);

/* Whether the configuration that was read anew is in force: certificates that were prepared are
 * shown from now on, or forgotten. */
void management_set_reloaded(struct management *management, bool has_succeeded);

/* The broker is ready: /readyz says so from now on. */
void management_set_ready(struct management *management, bool is_ready);

/* Stops the thread; what is under way is answered 503. Before broker_free. */
void management_free(struct management **management);

#endif

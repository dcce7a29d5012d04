/* SPDX-License-Identifier: Apache-2.0 */
/* Plans of configurations, and applying them. */
#include "management/ask/plan_ask.h"
#include "management/routes/handlers.h"

void
handle_plan(struct call *call)
{
    struct topology_request request;
    struct config *config =
        topology_request_read(call, &request) ? topology_config_new(call) : NULL;
    if (config != NULL) {
        plan_ask_start(call, config, &request.options);
    }
}

void
handle_apply(struct call *call)
{
    struct topology_request request;
    struct config *config =
        topology_request_read(call, &request) ? topology_config_new(call) : NULL;
    if (config == NULL) {
        return;
    }
    if (request.is_dry_run) {
        plan_ask_start(call, config, &request.options);
    } else {
        apply_ask_start(call, config, &request, 0);
    }
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "management/ask/survey_ask.h"

#include <stdlib.h>

#include "base/alloc.h"

static enum request_progress
step(struct request *request, struct core *core, uint32_t *budget)
{
    struct survey_ask *ask = CONTAINER_OF(request, struct survey_ask, ask.desk.request);
    return ask->go_on == NULL ? REQUEST_DONE : ask->go_on(ask, core, budget);
}

static void
then(struct call *call, struct call_ask *call_ask)
{
    struct survey_ask *ask = CONTAINER_OF(call_ask, struct survey_ask, ask);
    ask->write(call, ask);
}

static void
free_ask(struct call_ask *call_ask)
{
    struct survey_ask *ask = CONTAINER_OF(call_ask, struct survey_ask, ask);
    if (ask->fini != NULL) {
        ask->fini(ask);
    }
    client_survey_fini(&ask->others);
    queue_details_fini(&ask->details);
    free(ask);
}

struct survey_ask *
survey_ask_new(void (*write)(struct call *call, struct survey_ask *ask))
{
    struct survey_ask *ask = xalloc(sizeof(*ask));
    ask->ask.desk.request.step = step;
    ask->ask.then = then;
    ask->ask.free = free_ask;
    ask->write = write;
    return ask;
}

static enum request_progress
go_on_with_queues(struct survey_ask *ask, struct core *core, uint32_t *budget)
{
    return queue_survey_step(&ask->queues, core, budget);
}

static void
fini_queues(struct survey_ask *ask)
{
    queue_survey_fini(&ask->queues);
}

struct survey_ask *
survey_ask_for_queues(const struct call *call,
                      void (*write)(struct call *call, struct survey_ask *ask))
{
    struct survey_ask *ask = survey_ask_new(write);
    ask->queues.viewer = call_viewer(call);
    ask->queues.leaves_clocks = call_flag(call, "disable_stats");
    ask->go_on = go_on_with_queues;
    ask->fini = fini_queues;
    return ask;
}

static enum request_progress
go_on_with_clients(struct survey_ask *ask, struct core *core, uint32_t *budget)
{
    return client_survey_step(&ask->clients, core, budget);
}

static void
fini_clients(struct survey_ask *ask)
{
    client_survey_fini(&ask->clients);
}

struct survey_ask *
survey_ask_for_clients(const struct call *call, enum client_survey_kind kind,
                       void (*write)(struct call *call, struct survey_ask *ask))
{
    struct survey_ask *ask = survey_ask_new(write);
    ask->clients.viewer = call_viewer(call);
    ask->clients.kind = kind;
    ask->go_on = go_on_with_clients;
    ask->fini = fini_clients;
    return ask;
}

static enum request_progress
go_on_with_exchanges(struct survey_ask *ask, struct core *core, uint32_t *budget)
{
    return exchange_survey_step(&ask->exchanges, core, budget);
}

static void
fini_exchanges(struct survey_ask *ask)
{
    exchange_survey_fini(&ask->exchanges);
}

struct survey_ask *
survey_ask_for_exchanges(const struct call *call,
                         void (*write)(struct call *call, struct survey_ask *ask))
{
    struct survey_ask *ask = survey_ask_new(write);
    ask->exchanges.viewer = call_viewer(call);
    ask->go_on = go_on_with_exchanges;
    ask->fini = fini_exchanges;
    return ask;
}

static enum request_progress
go_on_with_bindings(struct survey_ask *ask, struct core *core, uint32_t *budget)
{
    return binding_survey_step(&ask->bindings, core, budget);
}

static void
fini_bindings(struct survey_ask *ask)
{
    binding_survey_fini(&ask->bindings);
}

struct survey_ask *
survey_ask_for_bindings(const struct call *call,
                        void (*write)(struct call *call, struct survey_ask *ask))
{
    struct survey_ask *ask = survey_ask_new(write);
    ask->bindings.viewer = call_viewer(call);
    ask->go_on = go_on_with_bindings;
    ask->fini = fini_bindings;
    return ask;
}

static enum request_progress
go_on_with_rights(struct survey_ask *ask, struct core *core, uint32_t *budget)
{
    return rights_survey_step(&ask->rights, core, budget);
}

static void
fini_rights(struct survey_ask *ask)
{
    rights_survey_fini(&ask->rights);
}

struct survey_ask *
survey_ask_for_rights(const struct call *call, enum rights_survey_kind kind,
                      void (*write)(struct call *call, struct survey_ask *ask))
{
    struct survey_ask *ask = survey_ask_new(write);
    ask->rights.viewer = call_viewer(call);
    ask->rights.kind = kind;
    ask->go_on = go_on_with_rights;
    ask->fini = fini_rights;
    return ask;
}

static enum request_progress
go_on_with_core(struct survey_ask *ask, struct core *core, uint32_t *budget)
{
    return core_survey_step(&ask->core, core, budget);
}

static void
fini_core(struct survey_ask *ask)
{
    core_survey_fini(&ask->core);
}

struct survey_ask *
survey_ask_for_core(const struct call *call,
                    void (*write)(struct call *call, struct survey_ask *ask))
{
    struct survey_ask *ask = survey_ask_new(write);
    ask->core.viewer = call_viewer(call);
    ask->core.leaves_queues = true;
    ask->go_on = go_on_with_core;
    ask->fini = fini_core;
    return ask;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "management/survey_ask.h"

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

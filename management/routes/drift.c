/* SPDX-License-Identifier: Apache-2.0 */
/* What has changed beside the configurations that were applied last. */
#include <stdlib.h>

#include "management/ask/drift.h"
#include "management/routes/handlers.h"
#include "management/views/plan_json.h"

struct drift_ask {
    struct call_ask ask;
    struct drift_look look;
};

static enum request_progress
step(struct request *request, struct core *core, uint32_t *budget)
{
    struct drift_ask *ask = CONTAINER_OF(request, struct drift_ask, ask.desk.request);
    return drift_look_step(&ask->look, core, budget);
}

static void
write_item(struct json_writer *json, struct drift_item *item)
{
    char line[1024];
    json_begin_object(json);
    json_put_text(json, "vhost", item->vhost);
    json_put_unsigned(json, "generation", item->generation_id);
    if (item->planner == NULL) {
        const struct config_report *report = &item->config->report;
        json_put_string(json, "error",
                        config_diagnostic_text(&report->items[0], line, sizeof(line)));
    } else {
        struct plan *plan = planner_finish(&item->planner);
        drift_write(json, plan);
        plan_free(&plan);
    }
    json_end_object(json);
}

static void
then(struct call *call, struct call_ask *call_ask)
{
    struct drift_ask *ask = CONTAINER_OF(call_ask, struct drift_ask, ask);
    struct json_writer json;
    json_init(&json);
    json_begin_array(&json);
    for (size_t i = 0; i < ask->look.count; i++) {
        write_item(&json, &ask->look.items[i]);
    }
    json_end_array(&json);
    call_answer_json(call, 200, &json);
    json_fini(&json);
}

static void
free_ask(struct call_ask *call_ask)
{
    struct drift_ask *ask = CONTAINER_OF(call_ask, struct drift_ask, ask);
    drift_look_fini(&ask->look);
    free(ask);
}

/* The newest generation of each vhost is here: they are read, and compared with what is there. */
static void
compare(struct call *call, const struct generations_ask *generations)
{
    struct drift_ask *ask = xalloc(sizeof(*ask));
    ask->ask.desk.request.step = step;
    ask->ask.then = then;
    ask->ask.free = free_ask;
    drift_look_begin(&ask->look, generations->items, generations->count);
    call_ask(call, &ask->ask);
}

void
handle_drift(struct call *call)
{
    struct generations_ask *ask = generations_ask_new(compare);
    const char *vhost = call_parameter(call, "vhost");
    ask->vhost = vhost == NULL ? bytes_make(NULL, 0) : bytes_of(vhost);
    ask->current_only = true;
    ask->with_texts = true;
    generations_ask_start(call, ask);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* What has changed beside the configurations that were applied last. */
#include <stdlib.h>

#include "management/generation_copy.h"
#include "management/handlers.h"
#include "management/plan_json.h"
#include "management/topology_request.h"

/* One vhost: what it is meant to be, and what it would take to make it so. */
struct drifting {
    struct bytes vhost;
    uint64_t generation_id;
    struct config *config;   /* owned */
    struct planner *planner; /* owned; NULL: not begun */
};

struct drift_ask {
    struct call_ask ask;
    struct plan_options options;
    struct drifting *items; /* owned */
    size_t count;
    size_t at; /* the one that is looked at */
    struct arena arena;
};

/* A text that this version does not take any more has no drift. */
static bool
step_item(struct drift_ask *ask, struct core *core, uint32_t budget)
{
    struct drifting *item = &ask->items[ask->at];
    if (item->config->report.error_count > 0) {
        return true;
    }
    if (item->planner == NULL) {
        item->planner = planner_new(core, item->config, &ask->options);
    }
    return planner_step(item->planner, budget);
}

static enum request_progress
step(struct request *request, struct core *core, uint32_t *budget)
{
    struct drift_ask *ask = CONTAINER_OF(request, struct drift_ask, ask.desk.request);
    if (ask->at < ask->count) {
        ask->at += step_item(ask, core, *budget);
        *budget = 0;
    }
    return ask->at < ask->count ? REQUEST_MORE : REQUEST_DONE;
}

static void
write_item(struct json_writer *json, struct drifting *item)
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
    for (size_t i = 0; i < ask->count; i++) {
        write_item(&json, &ask->items[i]);
    }
    json_end_array(&json);
    call_answer_json(call, 200, &json);
    json_fini(&json);
}

static void
free_ask(struct call_ask *call_ask)
{
    struct drift_ask *ask = CONTAINER_OF(call_ask, struct drift_ask, ask);
    for (size_t i = 0; i < ask->count; i++) {
        planner_free(&ask->items[i].planner);
        config_free(&ask->items[i].config);
    }
    arena_fini(&ask->arena);
    free(ask->items);
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
    ask->options.prune = true;
    ask->count = generations->count;
    ask->items = xalloc((ask->count + 1) * sizeof(*ask->items));
    for (size_t i = 0; i < ask->count; i++) {
        const struct generation_copy *copy = &generations->items[i];
        ask->items[i] = (struct drifting){
            .vhost = arena_copy(&ask->arena, copy->vhost),
            .generation_id = copy->id,
            .config = topology_config_of(copy->sources, copy->source_count),
        };
    }
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

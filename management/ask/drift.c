/* SPDX-License-Identifier: Apache-2.0 */
#include "management/ask/drift.h"

#include <stdlib.h>

#include "base/alloc.h"
#include "management/ask/topology_request.h"

void
drift_look_begin(struct drift_look *look, const struct generation_copy *copies, size_t count)
{
    look->options.prune = true;
    look->count = count;
    look->items = xalloc((count + 1) * sizeof(*look->items));
    for (size_t i = 0; i < count; i++) {
        look->items[i] = (struct drift_item){
            .vhost = arena_copy(&look->arena, copies[i].vhost),
            .generation_id = copies[i].id,
            .config = topology_config_of(copies[i].sources, copies[i].source_count),
        };
    }
}

/* A text that this version does not take any more has no drift. */
static bool
step_item(struct drift_look *look, struct core *core, uint32_t budget)
{
    struct drift_item *item = &look->items[look->at];
    if (item->config->report.error_count > 0) {
        return true;
    }
    if (item->planner == NULL) {
        item->planner = planner_new(core, item->config, &look->options);
    }
    return planner_step(item->planner, budget);
}

enum request_progress
drift_look_step(struct drift_look *look, struct core *core, uint32_t *budget)
{
    if (look->at < look->count) {
        look->at += step_item(look, core, *budget) ? 1 : 0;
        *budget = 0;
    }
    return look->at < look->count ? REQUEST_MORE : REQUEST_DONE;
}

void
drift_look_again(struct drift_look *look)
{
    for (size_t i = 0; i < look->count; i++) {
        planner_free(&look->items[i].planner);
    }
    look->at = 0;
}

void
drift_look_fini(struct drift_look *look)
{
    drift_look_again(look);
    for (size_t i = 0; i < look->count; i++) {
        config_free(&look->items[i].config);
    }
    free(look->items);
    arena_fini(&look->arena);
    *look = (struct drift_look){.count = 0};
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "management/ask/generation_copy.h"

#include <stdlib.h>

static bool
is_wanted(const struct generations_ask *ask, const struct generation *generation, bool is_current)
{
    return (ask->id == 0 || generation->id == ask->id) &&
           (ask->vhost.data == NULL || bytes_equal(generation->vhost, ask->vhost)) &&
           (!ask->current_only || is_current);
}

static void
copy_sources(struct generation_copy *copy, struct arena *arena, const struct generation *generation,
             bool with_texts)
{
    size_t count = generation->source_count;
    copy->sources = arena_alloc(arena, (count + 1) * sizeof(*copy->sources));
    copy->source_count = count;
    for (size_t i = 0; i < count; i++) {
        struct bytes text = generation->sources[i].text;
        copy->sources[i] = (struct config_source){
            .name = arena_strdup(arena, generation->sources[i].name),
            .text = with_texts ? arena_copy(arena, text) : bytes_make(NULL, text.size),
        };
    }
}

void
generation_copy_make(struct generation_copy *copy, struct arena *arena,
                     const struct generation *generation, bool with_texts)
{
    *copy = (struct generation_copy){
        .id = generation->id,
        .vhost = arena_copy(arena, generation->vhost),
        .wall_ms = generation->wall_ms,
        .cause = generation->cause,
        .maker = arena_copy(arena, generation->maker),
        .digest = generation->digest,
        .restored_id = generation->restored_id,
    };
    copy_sources(copy, arena, generation, with_texts);
}

/* There are few of them, so one slice is enough. */
static enum request_progress
step(struct request *request, struct core *core, uint32_t *budget)
{
    struct generations_ask *ask = CONTAINER_OF(request, struct generations_ask, ask.desk.request);
    const struct generation *generation;
    size_t count = core->generations->count;
    *budget = count < *budget ? *budget - (uint32_t)count - 1 : 0;
    ask->items = arena_alloc(&ask->arena, (count + 1) * sizeof(*ask->items));
    for (size_t at = 0; (generation = core_generation_at(core, at)) != NULL; at++) {
        bool is_current = core_current_generation(core, generation->vhost) == generation;
        if (is_wanted(ask, generation, is_current)) {
            generation_copy_make(&ask->items[ask->count], &ask->arena, generation, ask->with_texts);
            ask->items[ask->count++].is_current = is_current;
        }
    }
    return REQUEST_DONE;
}

static void
then(struct call *call, struct call_ask *call_ask)
{
    const struct generations_ask *ask = CONTAINER_OF(call_ask, struct generations_ask, ask);
    ask->take(call, ask);
}

static void
free_ask(struct call_ask *call_ask)
{
    struct generations_ask *ask = CONTAINER_OF(call_ask, struct generations_ask, ask);
    arena_fini(&ask->arena);
    free(ask);
}

struct generations_ask *
generations_ask_new(void (*take)(struct call *call, const struct generations_ask *ask))
{
    struct generations_ask *ask = xalloc(sizeof(*ask));
    ask->ask.desk.request.step = step;
    ask->ask.then = then;
    ask->ask.free = free_ask;
    ask->take = take;
    return ask;
}

void
generations_ask_start(struct call *call, struct generations_ask *ask)
{
    call_ask(call, &ask->ask);
}

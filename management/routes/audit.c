/* SPDX-License-Identifier: Apache-2.0 */
/* What operators have done, as far as the caller sees the vhosts that it was about. */
#include <stdlib.h>

#include "base/alloc.h"
#include "broker/changes/audit.h"
#include "management/routes/handlers.h"
#include "management/views/desk_filter_json.h"

struct audit_ask {
    struct call_ask ask;
    uint64_t after;
    struct audit_entry *entries;
    uint32_t count;
    struct arena arena;
};

static void
copy_entry(struct audit_ask *ask, const struct audit_entry *entry)
{
    struct arena *arena = &ask->arena;
    struct audit_entry *to = &ask->entries[ask->count++];
    *to = *entry;
    to->user = arena_copy(arena, entry->user);
    to->vhost = arena_copy(arena, entry->vhost);
    to->queue = arena_copy(arena, entry->queue);
    to->batch = arena_copy(arena, entry->batch);
    to->filter = arena_copy(arena, entry->filter);
    to->target = arena_copy(arena, entry->target);
    to->note = arena_copy(arena, entry->note);
    to->outcome = arena_copy(arena, entry->outcome);
}

static enum request_progress
step(struct request *request, struct core *core, uint32_t *budget)
{
    struct audit_ask *ask = CONTAINER_OF(request, struct audit_ask, ask.desk.request);
    struct survey_viewer viewer = call_viewer(ask->ask.call);
    const struct audit_entry *entry;
    if (ask->entries == NULL) {
        ask->entries = xalloc(AUDIT_KEPT * sizeof(*ask->entries));
    }
    for (; *budget > 0; (*budget)--) {
        entry = ask->count == AUDIT_KEPT ? NULL : audit_next(core, ask->after);
        if (entry == NULL) {
            return REQUEST_DONE;
        }
        ask->after = entry->number;
        if (survey_may_see(core, &viewer, entry->vhost)) {
            copy_entry(ask, entry);
        }
    }
    return REQUEST_MORE;
}

static void
write_entry(struct json_writer *json, const struct audit_entry *entry)
{
    json_begin_object(json);
    json_put_unsigned(json, "number", entry->number);
    json_put_number(json, "time_ms", entry->wall_ms);
    json_put_string(json, "action", audit_action_name(entry->action));
    json_put_string(json, "phase", entry->phase == AUDIT_BEGUN ? "begun" : "ended");
    json_put_text(json, "user", entry->user);
    json_put_text(json, "vhost", entry->vhost);
    json_put_text(json, "queue", entry->queue);
    json_put_text(json, "batch", entry->batch);
    json_put_text(json, "filter", entry->filter);
    json_put_text(json, "target", entry->target);
    json_put_text(json, "note", entry->note);
    json_put_text(json, "outcome", entry->outcome);
    json_put_unsigned(json, "done_count", entry->done_count);
    json_put_unsigned(json, "stayed_count", entry->stayed_count);
    json_end_object(json);
}

static void
then(struct call *call, struct call_ask *call_ask)
{
    const struct audit_ask *ask = CONTAINER_OF(call_ask, struct audit_ask, ask);
    struct json_writer json;
    json_init(&json);
    json_begin_object(&json);
    json_key(&json, "entries");
    json_begin_array(&json);
    for (uint32_t i = 0; i < ask->count; i++) {
        write_entry(&json, &ask->entries[i]);
    }
    json_end_array(&json);
    json_end_object(&json);
    call_answer_json(call, 200, &json);
    json_fini(&json);
}

static void
free_ask(struct call_ask *call_ask)
{
    struct audit_ask *ask = CONTAINER_OF(call_ask, struct audit_ask, ask);
    free(ask->entries);
    arena_fini(&ask->arena);
    free(ask);
}

void
handle_audit(struct call *call)
{
    int64_t after = 0;
    if (!call_read_number(call, "after", 0, INT64_MAX, &after)) {
        return;
    }
    struct audit_ask *ask = xalloc(sizeof(*ask));
    ask->ask.desk.request.step = step;
    ask->ask.then = then;
    ask->ask.free = free_ask;
    ask->after = (uint64_t)after;
    call_ask(call, &ask->ask);
}

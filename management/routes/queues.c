/* SPDX-License-Identifier: Apache-2.0 */
/* Looking at queues: lists, one with its consumers, its bindings. */
#include <stdlib.h>

#include "base/alloc.h"
#include "broker/topology/vhost.h"
#include "management/ask/survey_ask.h"
#include "management/http/server.h"
#include "management/routes/handlers.h"
#include "management/routes/queue_page.h"
#include "management/views/queue_json.h"
#include "management/views/row_answer.h"

/* Lists -------------------------------------------------------------------------------------- */

static void
write_list(struct call *call, struct survey_ask *ask)
{
    struct list_kind kind = queue_list_kind;
    kind.context = call->management->node;
    queue_survey_sort(&ask->queues);
    list_answer(call, &kind, (const void **)ask->queues.rows, ask->queues.count);
}

void
handle_queues(struct call *call)
{
    struct bytes vhost = call->name_count > 0 ? call_name(call, 0) : bytes_make(NULL, 0);
    if (queue_page_ask(call, vhost)) {
        return;
    }
    struct survey_ask *ask = survey_ask_for_queues(call, write_list);
    ask->queues.vhost = vhost;
    call_ask(call, &ask->ask);
}

/* One queue ---------------------------------------------------------------------------------- */

static void
write_consumers(struct json_writer *json, const struct survey_ask *ask, const char *node)
{
    const struct queue_details *details = &ask->details;
    json_key(json, "consumer_details");
    json_begin_array(json);
    for (uint32_t i = 0; i < details->consumer_count; i++) {
        consumer_write(json, &details->consumers[i], details->vhost, details->queue, node);
    }
    json_end_array(json);
    static const char *const empty[] = {"incoming", "deliveries"};
    for (size_t i = 0; i < ARRAY_LEN(empty); i++) {
        json_key(json, empty[i]);
        json_begin_array(json);
        json_end_array(json);
    }
}

static void
write_queue(struct json_writer *json, const struct survey_ask *ask, const char *node)
{
    json_begin_object(json);
    queue_write_members(json, ask->queues.rows[0], node);
    write_consumers(json, ask, node);
    json_end_object(json);
}

static void
write_one(struct call *call, struct survey_ask *ask)
{
    struct json_writer json;
    if (ask->queues.count == 0) {
        call_fail(call, 404, "Not Found");
        return;
    }
    json_init(&json);
    write_queue(&json, ask, call->management->node);
    object_answer(call, &json);
}

/* A client that puts "+" for a space even into a path means the queue with the space, if there is
 * none with the plus. */
static void
try_spaces(struct survey_ask *ask, const struct core *core)
{
    const struct vhost *vhost = map_get(&core->vhosts, ask->queues.vhost);
    struct bytes name = ask->queues.queue;
    if (vhost == NULL || vhost_find_queue(vhost, name) != NULL || name.size == 0 ||
        memchr(name.data, '+', name.size) == NULL) {
        return;
    }
    struct bytes spaced = arena_copy(&ask->details.arena, name);
    for (size_t i = 0; i < spaced.size; i++) {
        ((uint8_t *)spaced.data)[i] = spaced.data[i] == '+' ? ' ' : spaced.data[i];
    }
    ask->queues.queue = spaced;
}

static enum request_progress
look_at_one(struct survey_ask *ask, struct core *core, uint32_t *budget)
{
    if ((ask->ask.call->route->flags & ROUTE_PLUS_IS_SPACE) != 0) {
        try_spaces(ask, core);
    }
    ask->details.vhost = ask->queues.vhost;
    ask->details.queue = ask->queues.queue;
    (void)queue_details_step(&ask->details, core, budget);
    return queue_survey_step(&ask->queues, core, budget);
}

void
handle_queue(struct call *call)
{
    struct survey_ask *ask = survey_ask_for_queues(call, write_one);
    ask->queues.vhost = call_name(call, 0);
    ask->queues.queue = call_name(call, 1);
    ask->go_on = look_at_one;
    call_ask(call, &ask->ask);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Queues that hold dead letters or quarantined messages, or are there for it. */
#include <stdlib.h>

#include "base/alloc.h"
#include "broker/survey/dead_letter_survey.h"
#include "management/http/call.h"
#include "management/routes/handlers.h"
#include "management/views/queue_json.h"
#include "queues/times.h"

struct dead_letters_ask {
    struct call_ask ask;
    struct dead_letter_survey survey;
};

static enum request_progress
step(struct request *request, struct core *core, uint32_t *budget)
{
    struct dead_letters_ask *ask = CONTAINER_OF(request, struct dead_letters_ask, ask.desk.request);
    return dead_letter_survey_step(&ask->survey, core, budget);
}

static void
write_queue(struct json_writer *json, const struct dead_letter_queue *queue)
{
    json_begin_object(json);
    json_put_text(json, "vhost", queue->vhost);
    json_put_text(json, "queue", queue->name);
    json_put_bool(json, "is_target", queue->is_target);
    json_put_unsigned(json, "messages", queue->messages);
    json_put_unsigned(json, "parked", queue->parked);
    age_write(json, "oldest_ms", queue->oldest_ms);
    json_end_object(json);
}

static void
then(struct call *call, struct call_ask *call_ask)
{
    struct dead_letters_ask *ask = CONTAINER_OF(call_ask, struct dead_letters_ask, ask);
    struct json_writer json;
    dead_letter_survey_sort(&ask->survey);
    json_init(&json);
    json_begin_object(&json);
    json_key(&json, "queues");
    json_begin_array(&json);
    for (uint32_t i = 0; i < ask->survey.count; i++) {
        write_queue(&json, &ask->survey.rows[i]);
    }
    json_end_array(&json);
    json_end_object(&json);
    call_answer_json(call, 200, &json);
    json_fini(&json);
}

static void
free_ask(struct call_ask *call_ask)
{
    struct dead_letters_ask *ask = CONTAINER_OF(call_ask, struct dead_letters_ask, ask);
    dead_letter_survey_fini(&ask->survey);
    free(ask);
}

void
handle_dead_letters(struct call *call)
{
    struct dead_letters_ask *ask = xalloc(sizeof(*ask));
    ask->ask.desk.request.step = step;
    ask->ask.then = then;
    ask->ask.free = free_ask;
    ask->survey.viewer = call_viewer(call);
    call_ask(call, &ask->ask);
}

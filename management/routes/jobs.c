/* SPDX-License-Identifier: Apache-2.0 */
/* How far replays and drops are, and cancelling them. */
#include <stdlib.h>

#include "base/alloc.h"
#include "broker/durability/durability.h"
#include "broker/topology/vhost.h"
#include "management/ask/queue_right.h"
#include "management/http/call.h"
#include "management/routes/handlers.h"
#include "management/views/job_row.h"

struct jobs_ask {
    struct call_ask ask;
    uint64_t number; /* 0: all */
    bool cancels;
    bool was_over; /* it could not be cancelled */
    struct job_row *rows;
    uint32_t count;
    struct arena arena;
    struct refusal refusal;
};

/* A job is as visible as its queue: to who may read that, there or gone. */
static bool
may_see(struct jobs_ask *ask, struct core *core, const struct desk_job *job)
{
    enum desk_action action = desk_job_request(job)->action;
    const struct vhost *vhost = core_find_vhost(core, desk_job_vhost_name(job));
    bool is_change = action == DESK_REPLAY || action == DESK_DROP;
    return is_change &&
           (vhost == NULL ? call_user_name(ask->ask.call).data == NULL
                          : caller_has_right(core, ask->ask.call, vhost, ACCESS_READ, ACCESS_QUEUE,
                                             desk_job_queue_name(job), &ask->refusal));
}

static void
add_job(struct jobs_ask *ask, const struct core *core, const struct desk_job *job)
{
    struct job_row *row = &ask->rows[ask->count++];
    job_row_copy(row, &ask->arena, job);
    bool is_over = row->progress.ended_wall_ms != 0;
    row->is_on_disk = is_over && core_is_committed(core, row->progress.token);
}

static enum request_progress
jobs_step(struct request *request, struct core *core, uint32_t *budget)
{
    struct jobs_ask *ask = CONTAINER_OF(request, struct jobs_ask, ask.desk.request);
    uint64_t at = ask->number == 0 ? 0 : ask->number - 1;
    const struct desk_job *job;
    (void)budget;
    ask->rows = xalloc((DESK_JOBS_MAX + DESK_FINISHED_KEPT + 1) * sizeof(*ask->rows));
    while ((job = desk_next(core, at)) != NULL) {
        at = desk_job_number(job);
        if (ask->number != 0 && at != ask->number) {
            break;
        }
        if (!may_see(ask, core, job)) {
            continue;
        }
        ask->was_over = ask->cancels && !desk_cancel(core, at);
        add_job(ask, core, job);
    }
    return REQUEST_DONE;
}

static void
answer_jobs(struct call *call, struct call_ask *call_ask)
{
    const struct jobs_ask *ask = CONTAINER_OF(call_ask, struct jobs_ask, ask);
    struct json_writer json;
    json_init(&json);
    json_begin_object(&json);
    json_key(&json, "replays");
    json_begin_array(&json);
    for (uint32_t i = 0; i < ask->count; i++) {
        job_row_write(&json, &ask->rows[i]);
    }
    json_end_array(&json);
    json_end_object(&json);
    call_answer_json(call, 200, &json);
    json_fini(&json);
}

static void
answer_one(struct call *call, struct call_ask *call_ask)
{
    const struct jobs_ask *ask = CONTAINER_OF(call_ask, struct jobs_ask, ask);
    struct json_writer json;
    if (ask->count == 0 && ask->refusal.reply_code != 0) {
        call_fail_reply(call, ask->refusal.reply_code, ask->refusal.reply_text);
    } else if (ask->count == 0) {
        call_fail(call, 404, "there is no such job, or it has been over for long");
    } else if (ask->was_over) {
        call_fail(call, 400, "it is over");
    } else {
        json_init(&json);
        job_row_write(&json, &ask->rows[0]);
        call_answer_json(call, ask->cancels ? 202 : 200, &json);
        json_fini(&json);
    }
}

static void
free_jobs(struct call_ask *call_ask)
{
    struct jobs_ask *ask = CONTAINER_OF(call_ask, struct jobs_ask, ask);
    free(ask->rows);
    arena_fini(&ask->arena);
    free(ask);
}

static void
ask_for_jobs(struct call *call, bool is_one, bool cancels)
{
    int64_t number = 0;
    char why[JSON_WHY_SIZE];
    if (is_one) {
        struct bytes text = call_name(call, 0);
        json_t *object = json_pack("{s:s#}", "id", (const char *)text.data, (int)text.size);
        /* Without memory for it there is no member to read, and 0 would mean all jobs. */
        bool is_number =
            object != NULL && json_read_integer(object, "id", 1, INT64_MAX, &number, why);
        json_decref(object);
        if (!is_number) {
            call_fail(call, 404, "there is no such job, or it has been over for long");
            return;
        }
    }
    struct jobs_ask *ask = xalloc(sizeof(*ask));
    ask->ask.desk.request.step = jobs_step;
    ask->ask.then = is_one ? answer_one : answer_jobs;
    ask->ask.free = free_jobs;
    ask->number = (uint64_t)number;
    ask->cancels = cancels;
    call_ask(call, &ask->ask);
}

void
handle_replays(struct call *call)
{
    ask_for_jobs(call, false, false);
}

void
handle_replay_show(struct call *call)
{
    ask_for_jobs(call, true, false);
}

void
handle_replay_cancel(struct call *call)
{
    ask_for_jobs(call, true, true);
}

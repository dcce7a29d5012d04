/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/core/request.h"

static void
request_end(struct request *request, enum status status)
{
    list_remove(&request->link);
    request->status = status;
    request->ended(request);
}

static void
request_abandon(struct request *request, struct core *core, enum status status)
{
    if (request->abandon != NULL) {
        request->abandon(request, core);
    }
    request_end(request, status);
}

void
core_ask(struct core *core, struct request *request)
{
    if (core->refuses_requests) {
        request_end(request, STATUS_REJECTED);
        return;
    }
    list_append(&core->requests, &request->link);
    core->requests_go_on = true;
}

/* One slice. What was called counts, however little it did. */
static void
request_work(struct request *request, struct core *core, uint32_t *budget)
{
    if (atomic_load(&request->is_cancelled)) {
        request_abandon(request, core, STATUS_AGAIN);
        return;
    }
    uint32_t left = *budget;
    enum request_progress progress = request->step(request, core, budget);
    *budget -= *budget == left ? 1 : 0;
    if (progress == REQUEST_DONE) {
        request_end(request, STATUS_OK);
        return;
    }
    list_append(&core->requests, &request->link);
    core->requests_go_on |= progress == REQUEST_MORE;
}

/* A tick that has something for clients does that and no more, but not two in a row. */
static bool
core_passes_requests_over(struct core *core)
{
    core->passed_requests_over = core->events_of_tick > 0 && !core->passed_requests_over;
    return core->passed_requests_over;
}

static uint32_t
core_request_rows(const struct core *core)
{
    uint32_t rows = core->events_of_tick / CORE_REQUEST_EVENTS_PER_ROW;
    if (rows < CORE_REQUEST_ROWS_MIN) {
        return CORE_REQUEST_ROWS_MIN;
    }
    return rows < CORE_REQUEST_ROWS_MAX ? rows : CORE_REQUEST_ROWS_MAX;
}

void
core_work_on_requests(struct core *core)
{
    if (core_passes_requests_over(core)) {
        core->requests_go_on = true;
        return;
    }
    uint32_t budget = core_request_rows(core);
    struct list turn;
    list_init(&turn);
    struct list_link *link;
    while ((link = list_pop(&core->requests)) != NULL) {
        list_append(&turn, link);
    }
    core->requests_go_on = false;
    while (budget > 0 && (link = list_pop(&turn)) != NULL) {
        request_work(CONTAINER_OF(link, struct request, link), core, &budget);
    }
    core->requests_go_on |= !list_is_empty(&turn);
    /* Who had no turn is in front of those that had one. */
    while ((link = list_pop(&core->requests)) != NULL) {
        list_append(&turn, link);
    }
    while ((link = list_pop(&turn)) != NULL) {
        list_append(&core->requests, link);
    }
}

void
core_refuse_requests(struct core *core)
{
    core->refuses_requests = true;
    struct list_link *link;
    while ((link = list_first(&core->requests)) != NULL) {
        request_abandon(CONTAINER_OF(link, struct request, link), core, STATUS_REJECTED);
    }
    core->requests_go_on = false;
}

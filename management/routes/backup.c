/* SPDX-License-Identifier: Apache-2.0 */
/* A copy of the data directory, on the broker's own machine (docs/operation.md). */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "broker/broker.h"
#include "broker/data_directory.h"
#include "management/http/call.h"
#include "management/http/server.h"
#include "management/routes/handlers.h"

enum { BACKUP_SECONDS = 3600, BACKUP_PATH_MAX = 4096 };

struct backup_ask;

/* What the copy knows of who asked, who may be gone when it is made. Freed by the copy's end. */
struct backup_ticket {
    struct backup_ask *ask; /* NULL: nobody waits */
};

struct backup_ask {
    struct call_ask ask;
    const char *path;             /* of the call */
    struct backup_ticket *ticket; /* NULL: not begun, or over */
    bool has_begun, is_over;
    bool is_refused;
    char why[256];
    struct backup_report report;
};

static void
on_backed_up(void *context, enum status status, const struct backup_report *report)
{
    struct backup_ticket *ticket = context;
    struct backup_ask *ask = ticket->ask;
    if (ask != NULL) {
        ask->ticket = NULL;
        ask->is_over = true;
        ask->is_refused = status != STATUS_OK;
        ask->report = *report;
        (void)snprintf(ask->why, sizeof(ask->why), "%s", report->why);
    }
    free(ticket);
}

static void
begin(struct backup_ask *ask)
{
    struct backup_ticket *ticket = xalloc(sizeof(*ticket));
    ticket->ask = ask;
    ask->has_begun = true;
    ask->ticket = ticket;
    if (!broker_back_up(ask->ask.call->management->broker, ask->path, on_backed_up, ticket,
                        ask->why, sizeof(ask->why))) {
        free(ticket);
        ask->ticket = NULL;
        ask->is_over = true;
        ask->is_refused = true;
    }
}

static enum request_progress
step(struct request *request, struct core *core, uint32_t *budget)
{
    struct backup_ask *ask = CONTAINER_OF(request, struct backup_ask, ask.desk.request);
    (void)core;
    (void)budget;
    if (!ask->has_begun) {
        begin(ask);
    }
    return ask->is_over ? REQUEST_DONE : REQUEST_WAITING;
}

/* The copy goes on. */
static void
abandon(struct request *request, struct core *core)
{
    struct backup_ask *ask = CONTAINER_OF(request, struct backup_ask, ask.desk.request);
    (void)core;
    if (ask->ticket != NULL) {
        ask->ticket->ask = NULL;
        ask->ticket = NULL;
    }
}

static void
then(struct call *call, struct call_ask *call_ask)
{
    const struct backup_ask *ask = CONTAINER_OF(call_ask, struct backup_ask, ask);
    struct json_writer json;
    if (ask->is_refused) {
        call_fail(call, 400, "%s", ask->why);
        return;
    }
    json_init(&json);
    json_begin_object(&json);
    json_put_string(&json, "directory", ask->path);
    json_put_unsigned(&json, "lsn", ask->report.commit_lsn);
    json_put_unsigned(&json, "files_linked", ask->report.files_linked);
    json_put_unsigned(&json, "files_copied", ask->report.files_copied);
    json_put_unsigned(&json, "octets_copied", ask->report.octets_copied);
    json_end_object(&json);
    call_answer_json(call, 200, &json);
    json_fini(&json);
}

static void
free_ask(struct call_ask *ask)
{
    free(CONTAINER_OF(ask, struct backup_ask, ask));
}

/* The broker's working directory is nothing that a caller knows. */
static bool
is_good_path(struct bytes path)
{
    return path.size > 0 && path.size < BACKUP_PATH_MAX && path.data[0] == '/' &&
           memchr(path.data, '\0', path.size) == NULL;
}

void
handle_backup(struct call *call)
{
    char why[JSON_WHY_SIZE];
    struct bytes path = bytes_make(NULL, 0);
    const json_t *body = call_json(call);
    if (body == NULL) {
        return;
    }
    if (!json_read_text(body, "directory", &path, why)) {
        call_fail(call, 400, "%s", why);
        return;
    }
    if (!is_good_path(path)) {
        call_fail(call, 400,
                  "\"directory\" takes a whole path on the broker's machine, as /backup/monday");
        return;
    }
    struct backup_ask *ask = xalloc(sizeof(*ask));
    ask->ask.desk.request.step = step;
    ask->ask.desk.request.abandon = abandon;
    ask->ask.then = then;
    ask->ask.free = free_ask;
    ask->path = (const char *)arena_copy(&call->arena, path).data;
    call_allow(call, BACKUP_SECONDS);
    call_ask(call, &ask->ask);
}

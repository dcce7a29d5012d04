/* SPDX-License-Identifier: Apache-2.0 */
/* Everything that is declared, out and in. */
#include <event2/http.h>
#include <stdlib.h>

#include "management/definitions/definitions_apply.h"
#include "management/definitions/definitions_read.h"
#include "management/definitions/definitions_survey.h"
#include "management/definitions/definitions_write.h"
#include "management/http/call.h"
#include "management/http/multipart.h"
#include "management/http/server.h"
#include "management/routes/handlers.h"

#ifndef BOURSE_VERSION
#error "the Makefile defines BOURSE_VERSION"
#endif

struct definitions_ask {
    struct call_ask ask;
    struct definitions definitions; /* owned */
    struct definitions_survey survey;
    struct definitions_apply apply;
};

/* The vhost of the path; data NULL: all of them are meant. */
static struct bytes
vhost_of(const struct call *call)
{
    return call->name_count > 0 ? call_name(call, 0) : bytes_make(NULL, 0);
}

static void
free_ask(struct call_ask *call_ask)
{
    struct definitions_ask *ask = CONTAINER_OF(call_ask, struct definitions_ask, ask);
    definitions_fini(&ask->definitions);
    free(ask);
}

static struct definitions_ask *
ask_new(enum request_progress (*step)(struct request *request, struct core *core, uint32_t *budget),
        void (*then)(struct call *call, struct call_ask *ask))
{
    struct definitions_ask *ask = xalloc(sizeof(*ask));
    ask->ask.desk.request.step = step;
    ask->ask.then = then;
    ask->ask.free = free_ask;
    definitions_init(&ask->definitions);
    return ask;
}

/* Out ---------------------------------------------------------------------------------------- */

static enum request_progress
survey_step(struct request *request, struct core *core, uint32_t *budget)
{
    struct definitions_ask *ask = CONTAINER_OF(request, struct definitions_ask, ask.desk.request);
    return definitions_survey_step(&ask->survey, core, budget);
}

static void
write_definitions(struct call *call, struct call_ask *call_ask)
{
    const struct definitions_ask *ask = CONTAINER_OF(call_ask, struct definitions_ask, ask);
    struct json_writer json;
    if (!ask->survey.is_found) {
        call_fail(call, 404, "Not Found");
        return;
    }
    json_init(&json);
    definitions_write(&ask->definitions, BOURSE_VERSION, call->management->rabbitmq_version, &json);
    call_answer_json(call, 200, &json);
    json_fini(&json);
}

void
handle_definitions_get(struct call *call)
{
    struct definitions_ask *ask = ask_new(survey_step, write_definitions);
    ask->survey.definitions = &ask->definitions;
    ask->survey.vhost = vhost_of(call);
    call_ask(call, &ask->ask);
}

/* In ----------------------------------------------------------------------------------------- */

static enum request_progress
apply_step(struct request *request, struct core *core, uint32_t *budget)
{
    struct definitions_ask *ask = CONTAINER_OF(request, struct definitions_ask, ask.desk.request);
    return definitions_apply_step(&ask->apply, core, budget);
}

static void
answer_apply(struct call *call, struct call_ask *call_ask)
{
    const struct definitions_ask *ask = CONTAINER_OF(call_ask, struct definitions_ask, ask);
    if (ask->apply.is_refused) {
        call_fail(call, 400, "%s", ask->apply.change.why);
    } else {
        call_answer(call, 204);
    }
}

/* The text of the definitions: the body, or the form's field "file". False: it was answered. */
static bool
find_text(struct call *call, struct bytes *out)
{
    const char *type =
        evhttp_find_header(evhttp_request_get_input_headers(call->http), "Content-Type");
    *out = call->body;
    if (call->body.size == 0) {
        call_fail(call, 400, "there are no definitions in the body");
        return false;
    }
    if (type != NULL && strncasecmp(type, "multipart/", 10) == 0 &&
        !multipart_find(type, call->body, "file", out)) {
        call_fail(call, 400, "the form has no field \"file\"");
        return false;
    }
    return true;
}

/* In the log, and how many they are to who asks: the answer has no body. */
static void
tell_warnings(struct call *call, const struct definitions *definitions)
{
    char text[600];
    if (definitions->warnings.count > 0) {
        (void)snprintf(text, sizeof(text), "%zu", definitions->warnings.count);
        call_add_header(call, "X-Bourse-Left-Out", text);
    }
    for (size_t i = 0; i < definitions->warnings.count; i++) {
        log_warn(call->management->log, "definitions.left_out", "text=%s",
                 log_escape(text, sizeof(text), bytes_of(definitions->warnings.items[i])));
    }
}

void
handle_definitions_post(struct call *call)
{
    struct bytes text;
    char why[DEFINITIONS_WHY_SIZE];
    if (!find_text(call, &text)) {
        return;
    }
    struct definitions_ask *ask = ask_new(apply_step, answer_apply);
    struct bytes vhost = vhost_of(call);
    enum status status = vhost.data == NULL
                             ? definitions_read(&ask->definitions, text, bytes_of("/"), why)
                             : definitions_read_into(&ask->definitions, text, vhost, why);
    if (status != STATUS_OK) {
        call_fail(call, 400, "%s", why);
        free_ask(&ask->ask);
        return;
    }
    tell_warnings(call, &ask->definitions);
    ask->apply.definitions = &ask->definitions;
    ask->apply.vhost = vhost;
    ask->apply.by = call_user_name(call);
    call_ask(call, &ask->ask);
}

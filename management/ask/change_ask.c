/* SPDX-License-Identifier: Apache-2.0 */
#include "management/ask/change_ask.h"

#include <stdlib.h>

#include "broker/durability/durability.h"

/* In the core -------------------------------------------------------------------------------- */

static struct change_ask *
ask_of(struct request *request)
{
    return CONTAINER_OF(request, struct change_ask, ask.desk.request);
}

/* True when there is a hash, or none is wanted. */
static bool
hash_password(struct change_ask *ask, struct core *core)
{
    if (ask->password.data == NULL) {
        return true;
    }
    if (!ask->is_hashing) {
        ask->is_hashing = new_password_begin(&ask->hashed, core, ask->password);
        return false;
    }
    ask->user.password_hash = ask->hashed.hash;
    return ask->hashed.is_done;
}

static enum change_outcome
run(struct change_ask *ask)
{
    if (ask->is_hashing && ask->hashed.hash[0] == '\0') {
        return change_refuse(&ask->change, "there is no memory to hash the password");
    }
    return ask->run(ask, &ask->change);
}

static enum request_progress
step(struct request *request, struct core *core, uint32_t *budget)
{
    struct change_ask *ask = ask_of(request);
    (void)budget;
    if (!ask->has_run) {
        if (!hash_password(ask, core)) {
            return REQUEST_WAITING;
        }
        ask->change.core = core;
        ask->change.by = call_user_name(ask->ask.call);
        ask->outcome = run(ask);
        ask->token = core_topology_token(core);
        ask->has_run = true;
    }
    if (core_is_committed(core, ask->token)) {
        return REQUEST_DONE;
    }
    core->wants_flush = true;
    return REQUEST_WAITING;
}

static void
abandon(struct request *request, struct core *core)
{
    (void)core;
    new_password_forget(&ask_of(request)->hashed);
}

/* The answer --------------------------------------------------------------------------------- */

static void
then(struct call *call, struct call_ask *call_ask)
{
    const struct change_ask *ask = CONTAINER_OF(call_ask, struct change_ask, ask);
    switch (ask->outcome) {
    case CHANGE_MADE:
        call_answer(call, 201);
        break;
    case CHANGE_DONE:
        call_answer(call, 204);
        break;
    case CHANGE_REFUSED:
        call_fail(call, 400, "%s", ask->change.why);
        break;
    case CHANGE_NOT_FOUND:
        call_fail(call, ask->not_found == NULL ? 404 : 400, "%s",
                  ask->not_found == NULL ? "Not Found" : ask->not_found);
        break;
    }
}

void
change_ask_free(struct change_ask *ask)
{
    if (ask->hashed.hash[0] != '\0') {
        explicit_bzero(ask->hashed.hash, sizeof(ask->hashed.hash));
    }
    buffer_fini(&ask->table);
    free(ask);
}

static void
free_ask(struct call_ask *call_ask)
{
    change_ask_free(CONTAINER_OF(call_ask, struct change_ask, ask));
}

struct change_ask *change_ask_new(enum change_outcome (*run_change)(struct change_ask *ask,
                                                                    struct change *change))
{
    struct change_ask *ask = xalloc(sizeof(*ask));
    ask->run = run_change;
    ask->ask.desk.request.step = step;
    ask->ask.desk.request.abandon = abandon;
    ask->ask.then = then;
    ask->ask.free = free_ask;
    buffer_init(&ask->table);
    return ask;
}

void
change_ask_start(struct call *call, struct change_ask *ask)
{
    call_ask(call, &ask->ask);
}

void
change_ask_start_if(struct call *call, struct change_ask *ask, bool is_good)
{
    if (is_good) {
        change_ask_start(call, ask);
    } else {
        change_ask_free(ask);
    }
}

/* Bodies ------------------------------------------------------------------------------------- */

bool
call_may_text(struct call *call, const json_t *body, const char *name, const char **out)
{
    char why[JSON_WHY_SIZE];
    struct bytes text = {.data = NULL};
    if (!json_read_text(body, name, &text, why)) {
        call_fail(call, 400, "%s", why);
        return false;
    }
    if (text.data != NULL) {
        *out = (const char *)arena_copy(&call->arena, text).data;
    }
    return true;
}

bool
call_may_bool(struct call *call, const json_t *body, const char *name, bool *out)
{
    char why[JSON_WHY_SIZE];
    bool is_good = json_read_bool(body, name, out, why);
    if (!is_good) {
        call_fail(call, 400, "%s", why);
    }
    return is_good;
}

bool
call_may_integer(struct call *call, const json_t *body, const char *name, int64_t min, int64_t max,
                 int64_t *out)
{
    char why[JSON_WHY_SIZE];
    bool is_good = json_read_integer(body, name, min, max, out, why);
    if (!is_good) {
        call_fail(call, 400, "%s", why);
    }
    return is_good;
}

bool
call_need_text(struct call *call, const json_t *body, const char *name, const char **out)
{
    *out = NULL;
    if (!call_may_text(call, body, name, out)) {
        return false;
    }
    if (*out == NULL) {
        call_fail(call, 400, "\"%s\" is missing", name);
    }
    return *out != NULL;
}

/* Appends a text without the blanks around its parts. */
static void
put_parts(struct buffer *out, const char *text)
{
    for (const char *at = text; *at != '\0';) {
        at += strspn(at, ", ");
        size_t size = strcspn(at, ", ");
        if (size > 0 && buffer_size(out) > 0) {
            buffer_put_u8(out, ',');
        }
        buffer_put(out, at, size);
        at += size;
    }
}

/* False: it is neither. */
static bool
put_list(struct buffer *out, const json_t *value)
{
    if (json_is_string(value)) {
        put_parts(out, json_string_value(value));
        return true;
    }
    for (size_t i = 0; i < json_array_size(value); i++) {
        if (!json_is_string(json_array_get(value, i))) {
            return false;
        }
        put_parts(out, json_string_value(json_array_get(value, i)));
    }
    return json_is_array(value);
}

bool
call_may_list(struct call *call, const json_t *body, const char *name, const char **out)
{
    const json_t *value = json_object_get(body, name);
    struct buffer list;
    if (value == NULL || json_is_null(value)) {
        return true;
    }
    buffer_init(&list);
    bool is_good = put_list(&list, value) && !list.failed;
    if (is_good) {
        *out = (const char *)arena_copy(&call->arena, buffer_bytes(&list)).data;
    } else {
        call_fail(call, 400, "\"%s\" takes a list of texts, or one text with commas", name);
    }
    buffer_fini(&list);
    return is_good;
}

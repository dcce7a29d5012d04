/* SPDX-License-Identifier: Apache-2.0 */
#include "management/ask/plan_ask.h"

#include <stdlib.h>

#include "broker/durability/durability.h"
#include "management/views/plan_json.h"

enum { WHY_SIZE = 1024, HTTP_CONFLICT = 409 };

/* Plans ---------------------------------------------------------------------------------------- */

/* What a user's hash was made with, so that whoever has the password can see whether it is the
 * same. */
struct known_salt {
    struct bytes user;
    const char
        *salt; /* "$scrypt$ln=14,r=8,p=5$SALT"; "": there is no hash, for serve has read it */
};

struct plan_ask {
    struct call_ask ask;
    struct config *config; /* owned */
    struct plan_options options;
    struct planner *planner; /* of the core while it is under way; then finished here; owned */
    struct arena arena;
    struct known_salt *salts;
    size_t salt_count;
};

/* A salt is no secret; the hash behind it is. */
static void
note_salt(struct plan_ask *ask, const struct user *user)
{
    const char *hash = user == NULL || user->password_hash == NULL ? "" : user->password_hash;
    const char *end = strrchr(hash, '$');
    bool is_scrypt = strncmp(hash, "$scrypt$", strlen("$scrypt$")) == 0 && end != NULL;
    if (is_scrypt || (user != NULL && user->has_secret)) {
        struct bytes salt = bytes_make(hash, is_scrypt ? (size_t)(end - hash) : 0);
        ask->salts[ask->salt_count++] = (struct known_salt){
            .user = arena_copy(&ask->arena, user->name),
            .salt = (const char *)arena_copy(&ask->arena, salt).data,
        };
    }
}

static void
note_salts(struct plan_ask *ask, struct core *core)
{
    const struct config *config = ask->config;
    ask->salts = arena_alloc(&ask->arena, (config->user_count + 1) * sizeof(*ask->salts));
    for (size_t i = 0; i < config->user_count; i++) {
        if (config->users[i].keeps_password) {
            note_salt(ask, core_find_user(core, config->users[i].name));
        }
    }
}

static enum request_progress
step_plan(struct request *request, struct core *core, uint32_t *budget)
{
    struct plan_ask *ask = CONTAINER_OF(request, struct plan_ask, ask.desk.request);
    if (ask->planner == NULL) {
        ask->planner = planner_new(core, ask->config, &ask->options);
        note_salts(ask, core);
    }
    bool is_done = planner_step(ask->planner, *budget);
    *budget = 0;
    return is_done ? REQUEST_DONE : REQUEST_MORE;
}

static void
write_salts(struct json_writer *json, const struct plan_ask *ask)
{
    json_key(json, "salts");
    json_begin_object(json);
    for (size_t i = 0; i < ask->salt_count; i++) {
        json_put_string(json, (const char *)ask->salts[i].user.data, ask->salts[i].salt);
    }
    json_end_object(json);
}

/* Sorting and printing a large plan is long work; the core is done with it. */
static void
then_plan(struct call *call, struct call_ask *call_ask)
{
    struct plan_ask *ask = CONTAINER_OF(call_ask, struct plan_ask, ask);
    struct json_writer json;
    struct plan *plan = planner_finish(&ask->planner);
    json_init(&json);
    json_begin_object(&json);
    plan_write(&json, plan);
    diagnostics_write(&json, "warnings", ask->config);
    write_salts(&json, ask);
    json_end_object(&json);
    plan_free(&plan);
    call_answer_json(call, 200, &json);
    json_fini(&json);
}

static void
free_plan_ask(struct call_ask *call_ask)
{
    struct plan_ask *ask = CONTAINER_OF(call_ask, struct plan_ask, ask);
    planner_free(&ask->planner);
    config_free(&ask->config);
    arena_fini(&ask->arena);
    free(ask);
}

void
plan_ask_start(struct call *call, struct config *config, const struct plan_options *options)
{
    struct plan_ask *ask = xalloc(sizeof(*ask));
    ask->ask.desk.request.step = step_plan;
    ask->ask.then = then_plan;
    ask->ask.free = free_plan_ask;
    ask->config = config;
    ask->options = *options;
    call_ask(call, &ask->ask);
}

/* Applying ------------------------------------------------------------------------------------- */

struct apply_ask {
    struct call_ask ask;
    struct config *config; /* owned */
    struct topology_request request;
    struct apply_options options;
    struct apply_result result; /* its plan is owned */
    enum status status;
    char why[WHY_SIZE];
    bool is_applied;
    uint64_t token; /* what is to be committed before the answer */
};

static enum request_progress
step_apply(struct request *request, struct core *core, uint32_t *budget)
{
    struct apply_ask *ask = CONTAINER_OF(request, struct apply_ask, ask.desk.request);
    *budget = 0;
    if (!ask->is_applied) {
        ask->is_applied = true;
        ask->status = core_apply_as(core, ask->config, &ask->options, &ask->result, ask->why,
                                    sizeof(ask->why));
        ask->token = core_log_token(core);
    }
    bool is_over = ask->status != STATUS_OK || core_is_committed(core, ask->token);
    return is_over ? REQUEST_DONE : REQUEST_WAITING;
}

static void
answer_applied(struct call *call, const struct apply_ask *ask)
{
    struct json_writer json;
    json_init(&json);
    json_begin_object(&json);
    json_put_unsigned(&json, "generation", ask->result.generation_id);
    plan_write(&json, ask->result.plan);
    diagnostics_write(&json, "warnings", ask->config);
    json_end_object(&json);
    call_answer_json(call, 200, &json);
    json_fini(&json);
}

static void
answer_refused(struct call *call, const struct apply_ask *ask)
{
    struct json_writer json;
    json_init(&json);
    json_begin_object(&json);
    json_put_string(&json, "error", ask->result.is_stale ? "stale" : "refused");
    json_put_string(&json, "reason", ask->why);
    json_key(&json, "plan");
    json_begin_object(&json);
    plan_write(&json, ask->result.plan);
    json_end_object(&json);
    json_end_object(&json);
    call_answer_json(call, HTTP_CONFLICT, &json);
    json_fini(&json);
}

static void
then_apply(struct call *call, struct call_ask *call_ask)
{
    const struct apply_ask *ask = CONTAINER_OF(call_ask, struct apply_ask, ask);
    if (ask->status == STATUS_OK) {
        answer_applied(call, ask);
    } else {
        answer_refused(call, ask);
    }
}

static void
free_apply_ask(struct call_ask *call_ask)
{
    struct apply_ask *ask = CONTAINER_OF(call_ask, struct apply_ask, ask);
    plan_free(&ask->result.plan);
    config_free(&ask->config);
    free(ask);
}

void
apply_ask_start(struct call *call, struct config *config, const struct topology_request *request,
                uint64_t restored_id)
{
    struct apply_ask *ask = xalloc(sizeof(*ask));
    ask->ask.desk.request.step = step_apply;
    ask->ask.then = then_apply;
    ask->ask.free = free_apply_ask;
    ask->config = config;
    ask->request = *request;
    ask->options = (struct apply_options){
        .cause = restored_id == 0 ? GENERATION_APPLY : GENERATION_ROLLBACK,
        .maker = bytes_of(call->user.name),
        .plan = request->options,
        .digest = request->has_digest ? &ask->request.digest : NULL,
        .restored_id = restored_id,
    };
    call_ask(call, &ask->ask);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Parameters as RabbitMQ has them. Those of components that are here (operator policies, limits of
 * vhosts) are another way to the same objects, those of plugins that are not here are refused, and
 * global ones are kept for whoever asks for them. */
#include <jansson.h>
#include <stdlib.h>

#include "base/assert.h"
#include "broker/changes/parameters.h"
#include "broker/topology/vhost_life.h"
#include "management/ask/change_ask.h"
#include "management/ask/survey_ask.h"
#include "management/http/server.h"
#include "management/json/json_reader.h"
#include "management/routes/handlers.h"
#include "management/views/row_answer.h"

/* Of components ------------------------------------------------------------------------------ */

static const char OPERATOR_POLICY[] = "operator_policy";
static const char VHOST_LIMITS[] = "vhost-limits";

/* One of either component. */
struct parameter_row {
    const struct survey_policy *policy;       /* NULL: it is the limits of a vhost */
    const struct survey_vhost_limits *limits; /* NULL: it is a policy */
};

struct parameters_ask {
    struct call_ask ask;
    struct rights_survey policies, limits;
    bool is_lost;               /* the vhost that the path names is not there */
    struct parameter_row *rows; /* owned */
    uint32_t count;
};

static bool
wants(const struct call *call, const char *component)
{
    return call->name_count == 0 || bytes_equal_text(call_name(call, 0), component);
}

static enum request_progress
step(struct request *request, struct core *core, uint32_t *budget)
{
    struct parameters_ask *ask = CONTAINER_OF(request, struct parameters_ask, ask.desk.request);
    const struct call *call = ask->ask.call;
    ask->is_lost = call->name_count == 2 && ask->policies.viewer.sees_all &&
                   core_find_vhost(core, call_name(call, 1)) == NULL;
    if (wants(call, OPERATOR_POLICY) &&
        rights_survey_step(&ask->policies, core, budget) == REQUEST_MORE) {
        return REQUEST_MORE;
    }
    return wants(call, VHOST_LIMITS) ? rights_survey_step(&ask->limits, core, budget)
                                     : REQUEST_DONE;
}

static void
write_limit(struct json_writer *json, const char *name, int64_t limit)
{
    if (limit >= 0) {
        json_put_number(json, name, limit);
    }
}

static void
write_value(struct json_writer *json, const struct parameter_row *row)
{
    json_key(json, "value");
    json_begin_object(json);
    if (row->policy != NULL) {
        policy_write_body(json, row->policy);
    } else {
        write_limit(json, "max-connections", row->limits->connections_max);
        write_limit(json, "max-queues", row->limits->queues_max);
    }
    json_end_object(json);
}

static struct bytes
name_of(const void *row)
{
    const struct parameter_row *parameter = row;
    return parameter->policy != NULL ? parameter->policy->name : bytes_of("limits");
}

static void
write_row(struct json_writer *json, const void *row, const void *context)
{
    const struct parameter_row *parameter = row;
    bool is_policy = parameter->policy != NULL;
    (void)context;
    json_begin_object(json);
    json_put_string(json, "component", is_policy ? OPERATOR_POLICY : VHOST_LIMITS);
    json_put_text(json, "vhost", is_policy ? parameter->policy->vhost : parameter->limits->vhost);
    json_put_text(json, "name", name_of(row));
    write_value(json, parameter);
    json_end_object(json);
}

static void
gather(struct parameters_ask *ask)
{
    rights_survey_sort(&ask->policies);
    rights_survey_sort(&ask->limits);
    ask->rows =
        xalloc((ask->policies.rows.count + ask->limits.rows.count + 1) * sizeof(*ask->rows));
    for (uint32_t i = 0; i < ask->policies.rows.count; i++) {
        ask->rows[ask->count++].policy = ask->policies.rows.rows[i];
    }
    for (uint32_t i = 0; i < ask->limits.rows.count; i++) {
        ask->rows[ask->count++].limits = ask->limits.rows.rows[i];
    }
}

static void
answer_one(struct call *call, const struct parameters_ask *ask)
{
    struct json_writer json;
    for (uint32_t i = 0; i < ask->count; i++) {
        if (bytes_equal(name_of(&ask->rows[i]), call_name(call, 2))) {
            json_init(&json);
            write_row(&json, &ask->rows[i], NULL);
            object_answer(call, &json);
            return;
        }
    }
    call_fail(call, 404, "Not Found");
}

static void
then(struct call *call, struct call_ask *call_ask)
{
    static const struct list_kind kind = {.name = name_of, .write = write_row};
    struct parameters_ask *ask = CONTAINER_OF(call_ask, struct parameters_ask, ask);
    if (ask->is_lost) {
        call_fail(call, 404, "Not Found");
        return;
    }
    gather(ask);
    if (call->name_count > 2) {
        answer_one(call, ask);
        return;
    }
    const void **rows = xalloc((ask->count + 1) * sizeof(*rows));
    for (uint32_t i = 0; i < ask->count; i++) {
        rows[i] = &ask->rows[i];
    }
    list_answer(call, &kind, rows, ask->count);
    free((void *)rows);
}

static void
free_ask(struct call_ask *call_ask)
{
    struct parameters_ask *ask = CONTAINER_OF(call_ask, struct parameters_ask, ask);
    rights_survey_fini(&ask->policies);
    rights_survey_fini(&ask->limits);
    free(ask->rows);
    free(ask);
}

void
handle_parameters(struct call *call)
{
    struct parameters_ask *ask = xalloc(sizeof(*ask));
    ask->ask.desk.request.step = step;
    ask->ask.then = then;
    ask->ask.free = free_ask;
    ask->policies = (struct rights_survey){
        .viewer = call_viewer(call), .kind = SURVEY_POLICIES, .policies = POLICY_OPERATOR};
    ask->limits = (struct rights_survey){.viewer = call_viewer(call), .kind = SURVEY_VHOST_LIMITS};
    if (call->name_count > 1) {
        ask->policies.vhost = call_name(call, 1);
        ask->limits.vhost = call_name(call, 1);
    }
    call_ask(call, &ask->ask);
}

/* Their changes ------------------------------------------------------------------------------ */

static enum change_outcome
run_put_policy(struct change_ask *ask, struct change *change)
{
    return change_put_policy(change, call_name(ask->ask.call, 1), &ask->policy);
}

static void
put_policy(struct call *call, const json_t *value)
{
    struct change_ask *ask = change_ask_new(run_put_policy);
    ask->policy.kind = POLICY_OPERATOR;
    ask->policy.name = call_name(call, 2);
    change_ask_start_if(call, ask, policy_read_body(call, value, ask));
}

/* Both limits are what is said; what is not said is lifted. */
static enum change_outcome
run_put_limits(struct change_ask *ask, struct change *change)
{
    struct bytes vhost = call_name(ask->ask.call, 1);
    enum change_outcome outcome =
        change_limit_vhost(change, vhost, bytes_of("max-connections"), ask->limits[0]);
    return outcome == CHANGE_DONE
               ? change_limit_vhost(change, vhost, bytes_of("max-queues"), ask->limits[1])
               : outcome;
}

static bool
read_limit(struct call *call, const json_t *value, const char *name, int64_t *limit)
{
    *limit = -1;
    bool is_good = call_may_integer(call, value, name, INT32_MIN, INT32_MAX, limit);
    *limit = *limit < 0 ? -1 : *limit;
    return is_good;
}

static void
put_limits(struct call *call, const json_t *value)
{
    struct change_ask *ask = change_ask_new(run_put_limits);
    bool is_good = bytes_equal_text(call_name(call, 2), "limits");
    if (!is_good) {
        call_fail(call, 400, "the parameter of component %s is called limits", VHOST_LIMITS);
    }
    change_ask_start_if(call, ask,
                        is_good && read_limit(call, value, "max-connections", &ask->limits[0]) &&
                            read_limit(call, value, "max-queues", &ask->limits[1]));
}

/* As RabbitMQ answers for a component that no plugin has. */
static void
refuse_component(struct call *call)
{
    struct bytes component = call_name(call, 0);
    if (bytes_equal_text(component, "policy")) {
        call_fail(call, 400, "policies may not be set using this method");
        return;
    }
    call_fail(call, 400,
              "Validation failed: component %.*s not found: there are no shovels, federation or "
              "other plugins here, so no parameters of theirs are kept",
              BYTES_FORMAT(component));
}

/* What "value" is; NULL: the call is answered. */
static const json_t *
need_value(struct call *call)
{
    const json_t *body = call_json(call);
    if (body == NULL) {
        return NULL;
    }
    const json_t *value = json_object_get(body, "value");
    if (value == NULL) {
        call_fail(call, 400, "\"value\" is missing");
    }
    return value;
}

void
handle_parameter_put(struct call *call)
{
    const json_t *value = need_value(call);
    bool is_policy = bytes_equal_text(call_name(call, 0), OPERATOR_POLICY);
    bool is_known = is_policy || bytes_equal_text(call_name(call, 0), VHOST_LIMITS);
    if (value == NULL) {
        return;
    }
    if (!is_known) {
        refuse_component(call);
    } else if (!json_is_object(value)) {
        call_fail(call, 400, "\"value\" takes an object");
    } else if (is_policy) {
        put_policy(call, value);
    } else {
        put_limits(call, value);
    }
}

static enum change_outcome
run_delete(struct change_ask *ask, struct change *change)
{
    const struct call *call = ask->ask.call;
    struct bytes vhost = call_name(call, 1);
    if (bytes_equal_text(call_name(call, 0), OPERATOR_POLICY)) {
        return change_delete_policy(change, vhost, POLICY_OPERATOR, call_name(call, 2));
    }
    bool is_limits = bytes_equal_text(call_name(call, 0), VHOST_LIMITS) &&
                     bytes_equal_text(call_name(call, 2), "limits");
    return is_limits ? run_put_limits(ask, change) : CHANGE_NOT_FOUND;
}

void
handle_parameter_delete(struct call *call)
{
    struct change_ask *ask = change_ask_new(run_delete);
    ask->limits[0] = -1;
    ask->limits[1] = -1;
    change_ask_start(call, ask);
}

/* Global ones -------------------------------------------------------------------------------- */

static struct bytes
name_of_global(const void *row)
{
    return ((const struct survey_parameter *)row)->name;
}

static void
write_global(struct json_writer *json, const void *row, const void *context)
{
    const struct survey_parameter *parameter = row;
    (void)context;
    json_begin_object(json);
    json_put_text(json, "name", parameter->name);
    json_key(json, "value");
    json_raw(json, parameter->value);
    json_end_object(json);
}

static const struct list_kind global_list_kind = {.name = name_of_global, .write = write_global};

static void
write_globals(struct call *call, struct survey_ask *ask)
{
    rights_survey_sort(&ask->rights);
    rows_answer(call, &global_list_kind, &ask->rights.rows);
}

static void
write_one_global(struct call *call, struct survey_ask *ask)
{
    row_answer(call, &global_list_kind, &ask->rights.rows);
}

void
handle_global_parameters(struct call *call)
{
    bool is_one = call->name_count > 0;
    struct survey_ask *ask =
        survey_ask_for_rights(call, SURVEY_PARAMETERS, is_one ? write_one_global : write_globals);
    if (is_one) {
        ask->rights.name = call_name(call, 0);
    }
    call_ask(call, &ask->ask);
}

static enum change_outcome
run_put_global(struct change_ask *ask, struct change *change)
{
    return change_put_parameter(change, ask->parameter, buffer_bytes(&ask->table));
}

/* A cluster has a name before somebody gives it one. */
static enum change_outcome
run_put_cluster_name(struct change_ask *ask, struct change *change)
{
    enum change_outcome outcome = run_put_global(ask, change);
    return outcome == CHANGE_MADE ? CHANGE_DONE : outcome;
}

/* Starts to give the parameter that value. */
static void
put_global(struct call *call, struct bytes name, const json_t *value,
           enum change_outcome (*run)(struct change_ask *ask, struct change *change))
{
    struct change_ask *ask = change_ask_new(run);
    char *text = json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY);
    ask->parameter = name;
    if (text != NULL) {
        buffer_put_bytes(&ask->table, bytes_of(text));
        free(text);
    }
    bool is_good = buffer_size(&ask->table) > 0 && !ask->table.failed;
    if (!is_good) {
        call_fail(call, 503, "there is no memory for it");
    }
    change_ask_start_if(call, ask, is_good);
}

void
handle_global_parameter_put(struct call *call)
{
    const json_t *value = need_value(call);
    if (value != NULL) {
        put_global(call, call_name(call, 0), value, run_put_global);
    }
}

static enum change_outcome
run_delete_global(struct change_ask *ask, struct change *change)
{
    return change_delete_parameter(change, call_name(ask->ask.call, 0));
}

void
handle_global_parameter_delete(struct call *call)
{
    change_ask_start(call, change_ask_new(run_delete_global));
}

/* The cluster's name ------------------------------------------------------------------------- */

static void
write_cluster_name(struct call *call, struct survey_ask *ask)
{
    struct json_writer json;
    json_init(&json);
    json_begin_object(&json);
    cluster_name_put(&json, "name", call->management,
                     ask->rights.rows.count == 0
                         ? bytes_make(NULL, 0)
                         : ((const struct survey_parameter *)ask->rights.rows.rows[0])->value);
    json_end_object(&json);
    call_answer_json(call, 200, &json);
    json_fini(&json);
}

void
handle_cluster_name(struct call *call)
{
    struct survey_ask *ask = survey_ask_for_rights(call, SURVEY_PARAMETERS, write_cluster_name);
    ask->rights.name = bytes_of("cluster_name");
    call_ask(call, &ask->ask);
}

void
handle_cluster_name_put(struct call *call)
{
    const json_t *body = call_json(call);
    const char *name;
    if (body == NULL || !call_need_text(call, body, "name", &name)) {
        return;
    }
    if (name[0] == '\0') {
        call_fail(call, 400, "\"name\" is empty");
        return;
    }
    put_global(call, bytes_of("cluster_name"), json_object_get(body, "name"), run_put_cluster_name);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Virtual hosts and policies. */
#include <stdio.h>

#include "amqp/table.h"
#include "management/ask/change_ask.h"
#include "management/routes/handlers.h"

/* Virtual hosts ------------------------------------------------------------------------------ */

/* Whoever makes one may do everything in it, as in RabbitMQ. */
static enum change_outcome
run_put_vhost(struct change_ask *ask, struct change *change)
{
    const struct user_grant all = {
        .vhost = ask->vhost.name,
        .rights = {[ACCESS_CONFIGURE] = ".*", [ACCESS_WRITE] = ".*", [ACCESS_READ] = ".*"},
    };
    enum change_outcome outcome = change_put_vhost(change, &ask->vhost);
    if (outcome == CHANGE_MADE && change->by.size > 0) {
        (void)change_put_grant(change, change->by, &all);
    }
    return outcome;
}

static bool
read_tracing(struct call *call, const json_t *body, struct change_ask *ask)
{
    if (!call_may_bool(call, body, "tracing", &ask->is_on)) {
        return false;
    }
    if (json_object_get(body, "tracing") != NULL) {
        ask->vhost.is_traced = &ask->is_on;
    }
    return true;
}

static bool
read_vhost(struct call *call, struct change_ask *ask)
{
    const json_t *body = call_json(call);
    ask->vhost.name = call_name(call, 0);
    return body != NULL && call_may_text(call, body, "description", &ask->vhost.description) &&
           call_may_list(call, body, "tags", &ask->vhost.tags) &&
           call_may_text(call, body, "default_queue_type", &ask->vhost.default_queue_type) &&
           read_tracing(call, body, ask);
}

void
handle_vhost_put(struct call *call)
{
    struct change_ask *ask = change_ask_new(run_put_vhost);
    change_ask_start_if(call, ask, read_vhost(call, ask));
}

static enum change_outcome
run_delete_vhost(struct change_ask *ask, struct change *change)
{
    return change_delete_vhost(change, call_name(ask->ask.call, 0));
}

void
handle_vhost_delete(struct call *call)
{
    change_ask_start(call, change_ask_new(run_delete_vhost));
}

static enum change_outcome
run_protect_vhost(struct change_ask *ask, struct change *change)
{
    return change_protect_vhost(change, call_name(ask->ask.call, 0), ask->is_on);
}

void
handle_vhost_protect(struct call *call)
{
    struct change_ask *ask = change_ask_new(run_protect_vhost);
    ask->is_on = true;
    change_ask_start(call, ask);
}

void
handle_vhost_unprotect(struct call *call)
{
    change_ask_start(call, change_ask_new(run_protect_vhost));
}

/* Policies ----------------------------------------------------------------------------------- */

static enum change_outcome
run_put_policy(struct change_ask *ask, struct change *change)
{
    return change_put_policy(change, call_name(ask->ask.call, 0), &ask->policy);
}

/* Keys that are taken and do nothing, in a header: the answer has no body. Names that no policy has
 * are refused in the core, and are not among them. */
static void
warn_of_effect(struct call *call, const json_t *body, const struct change_ask *ask)
{
    char text[512];
    size_t used = 0;
    const char *name;
    json_t *value;
    json_object_foreach(json_object_get(body, "definition"), name, value)
    {
        if (policy_key_is_without_effect(bytes_of(name)) && used < sizeof(text)) {
            int size =
                snprintf(text + used, sizeof(text) - used, "%s%s", used == 0 ? "" : ", ", name);
            used += size > 0 ? (size_t)size : 0;
        }
    }
    if (ask->policy.target == POLICY_FOR_STREAMS) {
        call_add_header(call, "X-Bourse-Without-Effect", "there are no streams");
    } else if (used > 0) {
        call_add_header(call, "X-Bourse-Without-Effect", text);
    }
}

static bool
read_definition(struct call *call, const json_t *body, struct change_ask *ask)
{
    char why[JSON_WHY_SIZE];
    struct fault fault;
    const json_t *definition = json_object_get(body, "definition");
    if (!json_is_object(definition)) {
        call_fail(call, 400, "\"definition\" is missing, or no object");
        return false;
    }
    if (!json_read_table(definition, &ask->table, why)) {
        call_fail(call, 400, "\"definition\": %s", why);
        return false;
    }
    ask->policy.definition = buffer_bytes(&ask->table);
    if (table_validate(ask->policy.definition, TABLE_FIELDS_MAX, &fault) != STATUS_OK) {
        call_fail(call, 400, "\"definition\": %s", fault.text);
        return false;
    }
    return true;
}

static bool
read_priority(struct call *call, const json_t *body, struct change_ask *ask)
{
    int64_t priority = 0;
    bool is_good = call_may_integer(call, body, "priority", INT32_MIN, INT32_MAX, &priority);
    ask->policy.priority = (int32_t)priority;
    return is_good;
}

static bool
read_target(struct call *call, const json_t *body, struct change_ask *ask)
{
    const char *target = "all";
    if (!call_may_text(call, body, "apply-to", &target)) {
        return false;
    }
    if (!policy_target_find(bytes_of(target), &ask->policy.target)) {
        call_fail(call, 400,
                  "apply-to '%.100s' not recognised; it is all, queues, exchanges, "
                  "classic_queues, quorum_queues or streams",
                  target);
        return false;
    }
    return true;
}

bool
policy_read_body(struct call *call, const json_t *body, struct change_ask *ask)
{
    const char *pattern;
    if (!call_need_text(call, body, "pattern", &pattern)) {
        return false;
    }
    ask->policy.pattern = bytes_of(pattern);
    if (ask->policy.name.size > UINT8_MAX) {
        call_fail(call, 400, "a name has at most 255 octets");
        return false;
    }
    return read_target(call, body, ask) && read_priority(call, body, ask) &&
           read_definition(call, body, ask);
}

static bool
read_policy(struct call *call, struct change_ask *ask, enum policy_kind kind)
{
    const json_t *body = call_json(call);
    ask->policy.kind = kind;
    ask->policy.name = call_name(call, 1);
    bool is_good = body != NULL && policy_read_body(call, body, ask);
    if (is_good) {
        warn_of_effect(call, body, ask);
    }
    return is_good;
}

static void
put_policy(struct call *call, enum policy_kind kind)
{
    struct change_ask *ask = change_ask_new(run_put_policy);
    change_ask_start_if(call, ask, read_policy(call, ask, kind));
}

void
handle_policy_put(struct call *call)
{
    put_policy(call, POLICY_ORDINARY);
}

void
handle_operator_policy_put(struct call *call)
{
    put_policy(call, POLICY_OPERATOR);
}

static enum change_outcome
run_delete_policy(struct change_ask *ask, struct change *change)
{
    const struct call *call = ask->ask.call;
    return change_delete_policy(change, call_name(call, 0), ask->policy.kind, call_name(call, 1));
}

static void
delete_policy(struct call *call, enum policy_kind kind)
{
    struct change_ask *ask = change_ask_new(run_delete_policy);
    ask->policy.kind = kind;
    change_ask_start(call, ask);
}

void
handle_policy_delete(struct call *call)
{
    delete_policy(call, POLICY_ORDINARY);
}

void
handle_operator_policy_delete(struct call *call)
{
    delete_policy(call, POLICY_OPERATOR);
}

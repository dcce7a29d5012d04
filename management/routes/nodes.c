/* SPDX-License-Identifier: Apache-2.0 */
/* The broker as a cluster of one node, and what else it says of itself. */
#include <string.h>

#include "base/assert.h"
#include "management/ask/survey_ask.h"
#include "management/http/server.h"
#include "management/routes/handlers.h"
#include "management/views/node_json.h"
#include "management/views/row_answer.h"

#ifndef BOURSE_VERSION
#error "the Makefile defines BOURSE_VERSION"
#endif

/* Nodes -------------------------------------------------------------------------------------- */

/* A row is the broker itself. */
static struct bytes
name_of_row(const void *row)
{
    return bytes_of(((const struct management *)row)->node);
}

static void
write_row(struct json_writer *json, const void *row, const void *survey)
{
    node_write(json, row, survey);
}

static void
write_nodes(struct call *call, struct survey_ask *ask)
{
    const struct list_kind kind = {.name = name_of_row, .write = write_row, .context = &ask->core};
    const void *row = call->management;
    list_answer(call, &kind, &row, 1);
}

void
handle_nodes(struct call *call)
{
    call_ask(call, &survey_ask_for_core(call, write_nodes)->ask);
}

/* By its own name, or by the one that a node of RabbitMQ has by default on this machine. */
static bool
is_this_node(const struct call *call, struct bytes name)
{
    static const char RABBIT[] = "rabbit@";
    static const size_t PREFIX = sizeof(RABBIT) - 1; /* as long as "bourse@" */
    const char *node = call->management->node;
    return bytes_equal_text(name, node) ||
           (name.size > PREFIX && memcmp(name.data, RABBIT, PREFIX) == 0 &&
            bytes_equal_text(bytes_make(name.data + PREFIX, name.size - PREFIX), node + PREFIX));
}

/* Whether the path names this node; false: it is answered. */
static bool
check_node(struct call *call, uint32_t position)
{
    if (!is_this_node(call, call_name(call, position))) {
        call_fail(call, 404, "Not Found: the only node is %s", call->management->node);
        return false;
    }
    return true;
}

static void
write_node(struct call *call, struct survey_ask *ask)
{
    struct json_writer json;
    json_init(&json);
    node_write(&json, call->management, &ask->core);
    object_answer(call, &json);
}

void
handle_node(struct call *call)
{
    if (check_node(call, 0)) {
        call_ask(call, &survey_ask_for_core(call, write_node)->ask);
    }
}

static void
write_memory(struct call *call, struct survey_ask *ask)
{
    struct json_writer json;
    json_init(&json);
    node_write_memory(&json, &ask->core);
    object_answer(call, &json);
}

void
handle_node_memory(struct call *call)
{
    if (check_node(call, 0)) {
        call_ask(call, &survey_ask_for_core(call, write_memory)->ask);
    }
}

/* What it says of itself --------------------------------------------------------------------- */

void
handle_empty_list(struct call *call)
{
    struct json_writer json;
    json_init(&json);
    json_begin_array(&json);
    json_end_array(&json);
    call_answer_json(call, 200, &json);
    json_fini(&json);
}

void
handle_version(struct call *call)
{
    struct json_writer json;
    json_init(&json);
    json_text(&json, bytes_of(call->management->rabbitmq_version));
    call_answer_json(call, 200, &json);
    json_fini(&json);
}

/* What clients look for in RabbitMQ's list before they use it, and what is there all the time. */
void
handle_feature_flags(struct call *call)
{
    static const char *const flags[][2] = {
        {"classic_queue_type_delivery_support", "deliveries say which queue they come from"},
        {"direct_exchange_routing_v2", "the default exchange finds a queue by its name"},
        {"feature_flags_v2", "this list"},
        {"message_containers", "one form of a message inside"},
        {"quorum_queue", "queues may be declared with x-queue-type quorum"},
        {"stream_queue", "clients that ask for this flag may use the broker"},
        {"user_limits", "limits of users"},
        {"virtual_host_metadata", "virtual hosts have a description and tags"},
    };
    struct json_writer json;
    json_init(&json);
    json_begin_array(&json);
    for (size_t i = 0; i < ARRAY_LEN(flags); i++) {
        json_begin_object(&json);
        json_put_string(&json, "name", flags[i][0]);
        json_put_string(&json, "state", "enabled");
        json_put_string(&json, "stability", "required");
        json_put_string(&json, "desc", flags[i][1]);
        json_put_string(&json, "doc_url", "");
        json_put_string(&json, "provided_by", "bourse");
        json_end_object(&json);
    }
    json_end_array(&json);
    call_answer_json(call, 200, &json);
    json_fini(&json);
}

/* Logins are counted in one sum, over all protocols. */
static void
write_attempts(struct call *call, struct survey_ask *ask)
{
    const struct core_counters *counters = &ask->core.counters;
    struct json_writer json;
    json_init(&json);
    json_begin_array(&json);
    json_begin_object(&json);
    json_put_string(&json, "protocol", "amqp091");
    json_put_unsigned(&json, "auth_attempts", counters->logins_succeeded + counters->logins_failed);
    json_put_unsigned(&json, "auth_attempts_succeeded", counters->logins_succeeded);
    json_put_unsigned(&json, "auth_attempts_failed", counters->logins_failed);
    json_end_object(&json);
    json_end_array(&json);
    call_answer_json(call, 200, &json);
    json_fini(&json);
}

void
handle_login_attempts(struct call *call)
{
    if (check_node(call, 0)) {
        call_ask(call, &survey_ask_for_core(call, write_attempts)->ask);
    }
}

/* Addresses are not kept, as in RabbitMQ unless it is told to. */
void
handle_login_sources(struct call *call)
{
    if (check_node(call, 0)) {
        handle_empty_list(call);
    }
}

/* Every vhost that there is runs. */
void
handle_vhost_start(struct call *call)
{
    if (check_node(call, 1)) {
        call_answer(call, 204);
    }
}

void
handle_check_node(struct call *call)
{
    if (check_node(call, 0)) {
        handle_check_core(call);
    }
}

void
handle_effective_config(struct call *call)
{
    call_answer_octets(call, 200, "application/json", bytes_of(call->management->effective_config));
}

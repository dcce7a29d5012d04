/* SPDX-License-Identifier: Apache-2.0 */
/* Where the configuration that is in force says something about a queue. What is asked for is a
 * name: whether there is such a queue is not told here. */
#include "management/ask/generation_copy.h"
#include "management/routes/handlers.h"

static void
put_mark(struct json_writer *json, const struct config_mark *mark)
{
    json_put_string(json, "file", mark->file);
    json_put_unsigned(json, "line", mark->line);
}

static void
put_named_mark(struct json_writer *json, struct bytes name, const struct config_mark *mark)
{
    json_begin_object(json);
    json_put_text(json, "name", name);
    put_mark(json, mark);
    json_end_object(json);
}

static void
write_queue(struct json_writer *json, const struct config *config, struct bytes name)
{
    for (size_t i = 0; i < config->queue_count; i++) {
        const struct config_queue *queue = &config->queues[i];
        if (!bytes_equal(queue->name, name)) {
            continue;
        }
        json_key(json, "queue");
        json_begin_object(json);
        put_mark(json, &queue->mark);
        json_key(json, "arguments");
        json_begin_array(json);
        for (size_t at = 0; at < queue->argument_count; at++) {
            put_named_mark(json, queue->argument_marks[at].name, &queue->argument_marks[at].mark);
        }
        json_end_array(json);
        json_end_object(json);
        return;
    }
    json_put_null(json, "queue");
}

static void
write_policies(struct json_writer *json, const struct config *config)
{
    json_key(json, "policies");
    json_begin_array(json);
    for (size_t i = 0; i < config->policy_count; i++) {
        const struct config_policy *policy = &config->policies[i];
        json_begin_object(json);
        json_put_text(json, "name", policy->name);
        json_put_bool(json, "is_operator", policy->is_operator);
        put_mark(json, &policy->mark);
        json_key(json, "keys");
        json_begin_array(json);
        for (size_t at = 0; at < policy->key_count; at++) {
            put_named_mark(json, policy->keys[at].name, &policy->keys[at].mark);
        }
        json_end_array(json);
        json_end_object(json);
    }
    json_end_array(json);
}

static const char *
get_no_variable(void *context, const char *name)
{
    (void)context;
    (void)name;
    return NULL;
}

/* Texts that were applied are read again: the broker keeps no places. */
static void
answer(struct call *call, const struct generations_ask *ask)
{
    static const struct config_environment nothing = {.get_variable = get_no_variable};
    struct json_writer json;
    if (ask->count == 0) {
        call_fail(call, 404, "no configuration was ever applied to this vhost");
        return;
    }
    const struct generation_copy *copy = &ask->items[0];
    struct config *config =
        config_read_sources(copy->sources, copy->source_count, CONFIG_FOR_APPLY, &nothing);
    json_init(&json);
    json_begin_object(&json);
    json_put_unsigned(&json, "generation", copy->id);
    write_queue(&json, config, call_name(call, 1));
    write_policies(&json, config);
    json_end_object(&json);
    config_free(&config);
    call_answer_json(call, 200, &json);
    json_fini(&json);
}

void
handle_queue_sources(struct call *call)
{
    struct generations_ask *ask = generations_ask_new(answer);
    ask->vhost = call_name(call, 0);
    ask->current_only = true;
    ask->with_texts = true;
    generations_ask_start(call, ask);
}

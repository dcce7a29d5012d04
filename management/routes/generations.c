/* SPDX-License-Identifier: Apache-2.0 */
/* Configurations that were applied, and going back to one. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#include "management/ask/generation_copy.h"
#include "management/ask/plan_ask.h"
#include "management/routes/handlers.h"
#include "management/views/plan_json.h"

static void
write_files(struct json_writer *json, const struct generation_copy *copy)
{
    json_key(json, "files");
    json_begin_array(json);
    for (size_t i = 0; i < copy->source_count; i++) {
        const struct config_source *source = &copy->sources[i];
        json_begin_object(json);
        json_put_string(json, "name", source->name);
        json_put_unsigned(json, "bytes", source->text.size);
        if (source->text.data != NULL) {
            json_put_text(json, "text", source->text);
        }
        json_end_object(json);
    }
    json_end_array(json);
}

static void
write_generation(struct json_writer *json, const struct generation_copy *copy)
{
    char digest[DIGEST_TEXT_SIZE];
    json_begin_object(json);
    json_put_unsigned(json, "id", copy->id);
    json_put_text(json, "vhost", copy->vhost);
    json_put_number(json, "applied_ms", copy->wall_ms);
    json_put_string(json, "cause", generation_cause_name(copy->cause));
    json_put_text(json, "maker", copy->maker);
    json_put_string(json, "digest", digest_text(copy->digest, digest));
    json_put_bool(json, "is_current", copy->is_current);
    if (copy->restored_id != 0) {
        json_put_unsigned(json, "restored_id", copy->restored_id);
    }
    write_files(json, copy);
    json_end_object(json);
}

static void
answer_list(struct call *call, const struct generations_ask *ask)
{
    struct json_writer json;
    json_init(&json);
    json_begin_array(&json);
    for (size_t i = 0; i < ask->count; i++) {
        write_generation(&json, &ask->items[i]);
    }
    json_end_array(&json);
    call_answer_json(call, 200, &json);
    json_fini(&json);
}

void
handle_generations(struct call *call)
{
    struct generations_ask *ask = generations_ask_new(answer_list);
    const char *vhost = call_parameter(call, "vhost");
    ask->vhost = vhost == NULL ? bytes_make(NULL, 0) : bytes_of(vhost);
    generations_ask_start(call, ask);
}

/* One ------------------------------------------------------------------------------------------ */

/* The number in the path; 0: it is none, and the call was answered. */
static uint64_t
read_id(struct call *call)
{
    const char *text = (const char *)call_name(call, 0).data;
    char *end;
    errno = 0;
    uint64_t id = strtoull(text, &end, 10);
    if (text[0] < '0' || text[0] > '9' || *end != '\0' || errno != 0 || id == 0) {
        call_fail(call, 400, "\"%s\" is no number of a generation", text);
        return 0;
    }
    return id;
}

/* False: it is not kept, and the call was answered. */
static bool
is_there(struct call *call, const struct generations_ask *ask)
{
    if (ask->count == 0) {
        call_fail(call, 404, "there is no generation %" PRIu64 "; the last %d are kept", ask->id,
                  GENERATIONS_KEPT);
    }
    return ask->count > 0;
}

static void
answer_one(struct call *call, const struct generations_ask *ask)
{
    struct json_writer json;
    if (!is_there(call, ask)) {
        return;
    }
    json_init(&json);
    write_generation(&json, &ask->items[0]);
    call_answer_json(call, 200, &json);
    json_fini(&json);
}

static void
ask_for_one(struct call *call, uint64_t id,
            void (*take)(struct call *call, const struct generations_ask *ask))
{
    struct generations_ask *ask = generations_ask_new(take);
    ask->id = id;
    ask->with_texts = true;
    generations_ask_start(call, ask);
}

void
handle_generation(struct call *call)
{
    uint64_t id = read_id(call);
    if (id != 0) {
        ask_for_one(call, id, answer_one);
    }
}

/* Rollback ------------------------------------------------------------------------------------- */

/* Its texts may be older than what this version takes. */
static void
go_back(struct call *call, const struct generations_ask *ask)
{
    const struct topology_request *request = call->state;
    if (!is_there(call, ask)) {
        return;
    }
    const struct generation_copy *copy = &ask->items[0];
    struct config *config = topology_config_of(copy->sources, copy->source_count);
    if (config->report.error_count > 0) {
        topology_refuse_config(call, config);
        config_free(&config);
    } else if (request->is_dry_run) {
        plan_ask_start(call, config, &request->options);
    } else {
        apply_ask_start(call, config, request, copy->id);
    }
}

void
handle_rollback(struct call *call)
{
    struct topology_request request;
    uint64_t id = topology_request_read(call, &request) ? read_id(call) : 0;
    if (id == 0) {
        return;
    }
    struct topology_request *kept = xalloc(sizeof(*kept));
    *kept = request;
    call->state = kept;
    ask_for_one(call, id, go_back);
}

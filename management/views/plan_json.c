/* SPDX-License-Identifier: Apache-2.0 */
#include "management/views/plan_json.h"

#include <inttypes.h>
#include <stdio.h>

#include "base/assert.h"

enum { MS_PER_S = 1000 };

const char *
digest_text(uint64_t digest, char out[static DIGEST_TEXT_SIZE])
{
    (void)snprintf(out, DIGEST_TEXT_SIZE, "%016" PRIx64, digest);
    return out;
}

static int
hexadecimal_value(uint8_t octet)
{
    if (octet >= '0' && octet <= '9') {
        return octet - '0';
    }
    return octet >= 'a' && octet <= 'f' ? octet - 'a' + 10 : -1;
}

bool
digest_read(struct bytes text, uint64_t *digest_out)
{
    uint64_t digest = 0;
    if (text.size != DIGEST_TEXT_SIZE - 1) {
        return false;
    }
    for (size_t i = 0; i < text.size; i++) {
        int value = hexadecimal_value(text.data[i]);
        if (value < 0) {
            return false;
        }
        digest = digest << 4 | (uint64_t)value;
    }
    *digest_out = digest;
    return true;
}

/* Steps ---------------------------------------------------------------------------------------- */

static const char *
object_name(enum plan_object object)
{
    static const char *const names[PLAN_OBJECT_COUNT] = {
        [PLAN_VHOST] = "vhost",       [PLAN_POLICY] = "policy",
        [PLAN_EXCHANGE] = "exchange", [PLAN_OPERATOR_POLICY] = "operator_policy",
        [PLAN_QUEUE] = "queue",       [PLAN_BINDING] = "binding",
        [PLAN_USER] = "user",
    };
    return names[object];
}

static void
put_optional(struct json_writer *json, const char *name, const char *text)
{
    if (text == NULL) {
        json_put_null(json, name);
    } else {
        json_put_string(json, name, text);
    }
}

static void
write_lines(struct json_writer *json, const struct plan_step *step)
{
    json_key(json, "lines");
    json_begin_array(json);
    for (const struct plan_line *line = step->lines; line != NULL; line = line->next) {
        json_begin_object(json);
        if (line->key == NULL) {
            json_put_string(json, "sentence", line->sentence);
        } else {
            json_put_string(json, "key", line->key);
            put_optional(json, "from", line->from);
            put_optional(json, "to", line->to);
        }
        json_end_object(json);
    }
    json_end_array(json);
}

static void
write_subject(struct json_writer *json, const struct plan_step *step)
{
    json_put_string(json, "object", object_name(step->object));
    json_put_text(json, "name", step->name);
    if (step->object == PLAN_BINDING) {
        json_put_text(json, "destination", step->destination);
        json_put_string(json, "destination_type", step->to_exchange ? "exchange" : "queue");
        json_put_text(json, "routing_key", step->routing_key);
        json_put_string(json, "arguments", step->arguments);
    }
}

static void
write_needs(struct json_writer *json, const struct plan_step *step)
{
    json_key(json, "needs");
    json_begin_array(json);
    if ((step->needs & PLAN_NEEDS_DISCARD) != 0) {
        json_text(json, bytes_of("discard"));
    }
    if ((step->needs & PLAN_NEEDS_UNPROTECT) != 0) {
        json_text(json, bytes_of("unprotect"));
    }
    json_end_array(json);
}

static const char *
action_name(enum plan_action action)
{
    static const char *const names[PLAN_ACTION_COUNT] = {
        [PLAN_CREATE] = "create",
        [PLAN_CHANGE] = "change",
        [PLAN_REPLACE] = "replace",
        [PLAN_DELETE] = "delete",
    };
    return names[action];
}

static void
write_step(struct json_writer *json, const struct plan_step *step)
{
    json_begin_object(json);
    json_put_string(json, "action", action_name(step->action));
    write_subject(json, step);
    write_lines(json, step);
    write_needs(json, step);
    json_put_unsigned(json, "messages", step->message_count);
    json_put_unsigned(json, "consumers", step->consumer_count);
    json_put_unsigned(json, "bindings", step->binding_count);
    json_end_object(json);
}

/* The whole ------------------------------------------------------------------------------------ */

static void
write_text(struct json_writer *json, const struct plan *plan,
           void (*put)(struct buffer *out, const struct plan *plan))
{
    struct buffer text;
    buffer_init(&text);
    put(&text, plan);
    json_put_text(json, "text", buffer_bytes(&text));
    json->out.failed |= text.failed;
    buffer_fini(&text);
}

static void
write_counts(struct json_writer *json, const struct plan *plan)
{
    json_key(json, "counts");
    json_begin_object(json);
    for (size_t i = 0; i < PLAN_ACTION_COUNT; i++) {
        json_put_unsigned(json, action_name((enum plan_action)i), plan->counts[i]);
    }
    json_put_unsigned(json, "refused", plan->refused_count);
    json_put_unsigned(json, "left", plan->left_count);
    json_put_unsigned(json, "omitted", plan->omitted_count);
    json_end_object(json);
}

void
plan_write(struct json_writer *json, const struct plan *plan)
{
    char digest[DIGEST_TEXT_SIZE];
    json_put_text(json, "vhost", plan->vhost);
    json_put_string(json, "digest", digest_text(plan->digest, digest));
    json_put_bool(json, "is_applicable", plan->refused_count == 0 && plan->omitted_count == 0);
    write_counts(json, plan);
    json_key(json, "steps");
    json_begin_array(json);
    for (size_t i = 0; i < plan->step_count; i++) {
        write_step(json, &plan->steps[i]);
    }
    json_end_array(json);
    write_text(json, plan, plan_put_text);
}

static const char *
difference_name(const struct plan_step *step)
{
    if (step->action == PLAN_DELETE && step->object != PLAN_USER) {
        return "made";
    }
    return step->action == PLAN_CREATE ? "gone" : "changed";
}

static void
write_difference(struct json_writer *json, const struct plan_step *step)
{
    json_begin_object(json);
    json_put_string(json, "difference", difference_name(step));
    write_subject(json, step);
    write_lines(json, step);
    if (step->made_by.size > 0) {
        json_put_text(json, "made_by", step->made_by);
    }
    if (step->made_s > 0) {
        json_put_unsigned(json, "made_ms", (uint64_t)step->made_s * MS_PER_S);
    }
    json_end_object(json);
}

void
drift_write(struct json_writer *json, const struct plan *plan)
{
    json_put_unsigned(json, "count", plan->step_count + plan->omitted_count);
    json_key(json, "differences");
    json_begin_array(json);
    for (size_t i = 0; i < plan->step_count; i++) {
        write_difference(json, &plan->steps[i]);
    }
    json_end_array(json);
    write_text(json, plan, plan_put_drift);
}

void
diagnostics_write(struct json_writer *json, const char *name, const struct config *config)
{
    json_key(json, name);
    json_begin_array(json);
    for (size_t i = 0; i < config->report.count; i++) {
        const struct config_diagnostic *item = &config->report.items[i];
        json_begin_object(json);
        json_put_string(json, "severity", item->severity == CONFIG_ERROR ? "error" : "warning");
        json_put_string(json, "file", item->mark.file);
        json_put_unsigned(json, "line", item->mark.line);
        json_put_unsigned(json, "column", item->mark.column);
        json_put_string(json, "text", item->text);
        json_end_object(json);
    }
    json_end_array(json);
}

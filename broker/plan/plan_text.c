/* SPDX-License-Identifier: Apache-2.0 */
/* A plan as text: the same plan gives the same text, octet by octet. */
#include <inttypes.h>
#include <stdio.h>
#include <time.h>

#include "base/assert.h"
#include "broker/plan/plan.h"
#include "broker/plan/plan_words.h"

static const char signs[PLAN_ACTION_COUNT] = {
    [PLAN_CREATE] = '+', [PLAN_CHANGE] = '~', [PLAN_REPLACE] = '!', [PLAN_DELETE] = '-'};

static const char *const kinds[PLAN_OBJECT_COUNT] = {
    [PLAN_VHOST] = "vhost",       [PLAN_POLICY] = "policy",
    [PLAN_EXCHANGE] = "exchange", [PLAN_OPERATOR_POLICY] = "operator policy",
    [PLAN_QUEUE] = "queue",       [PLAN_BINDING] = "binding",
    [PLAN_USER] = "user",
};

static void
put_quoted(struct buffer *out, struct bytes text)
{
    struct arena arena = {.blocks = NULL};
    buffer_printf(out, "%s", plan_quoted(&arena, text));
    arena_fini(&arena);
}

void
plan_put_subject(struct buffer *out, const struct plan_step *step)
{
    buffer_printf(out, "%s ", kinds[step->object]);
    put_quoted(out, step->name);
    if (step->object != PLAN_BINDING) {
        return;
    }
    buffer_printf(out, " -> %s", step->to_exchange ? "exchange " : "");
    put_quoted(out, step->destination);
    if (step->routing_key.size > 0) {
        buffer_printf(out, " (key ");
        put_quoted(out, step->routing_key);
        buffer_printf(out, ")");
    }
    if (step->arguments[0] != '\0') {
        buffer_printf(out, " {%s}", step->arguments);
    }
}

static void
put_line(struct buffer *out, const struct plan_step *step, const struct plan_line *line)
{
    if (line->key == NULL) {
        buffer_printf(out, "      %s\n", line->sentence);
    } else if (step->action == PLAN_CREATE) {
        buffer_printf(out, "      %s: %s\n", line->key, line->to);
    } else {
        buffer_printf(out, "      %s: %s -> %s\n", line->key,
                      line->from == NULL ? "(not set)" : line->from,
                      line->to == NULL ? "(not set)" : line->to);
    }
}

static void
put_step(struct buffer *out, const struct plan_step *step)
{
    buffer_printf(out, "%c ", signs[step->action]);
    plan_put_subject(out, step);
    buffer_printf(out, "\n");
    for (const struct plan_line *line = step->lines; line != NULL; line = line->next) {
        put_line(out, step, line);
    }
}

void
plan_put_steps(struct buffer *out, const struct plan *plan)
{
    buffer_printf(out, "vhost ");
    put_quoted(out, plan->vhost);
    buffer_printf(out, "\n");
    for (size_t i = 0; i < plan->step_count; i++) {
        put_step(out, &plan->steps[i]);
    }
    if (plan->omitted_count > 0) {
        buffer_printf(out, "and %" PRIu64 " more\n", plan->omitted_count);
    }
}

/* Numbers ------------------------------------------------------------------------------------- */

/* "12,408" */
static void
put_count(struct buffer *out, uint64_t count)
{
    char digits[24];
    int size = snprintf(digits, sizeof(digits), "%" PRIu64, count);
    for (int i = 0; i < size; i++) {
        buffer_printf(out, "%s%c", i > 0 && (size - i) % 3 == 0 ? "," : "", digits[i]);
    }
}

static void
put_things(struct buffer *out, uint64_t count, const char *one, const char *many)
{
    put_count(out, count);
    buffer_printf(out, " %s", count == 1 ? one : many);
}

/* "12,408 messages would be lost"; a comma stands between what there is of each kind. */
static void
put_loss(struct buffer *out, const struct plan_step *step)
{
    const struct {
        uint64_t count;
        const char *one, *many;
    } losses[] = {
        {step->message_count, "message would be lost", "messages would be lost"},
        {step->consumer_count, "consumer would be cancelled", "consumers would be cancelled"},
        {step->binding_count, "binding that the file does not name would be lost",
         "bindings that the file does not name would be lost"},
    };
    const char *before = "";
    for (size_t i = 0; i < ARRAY_LEN(losses); i++) {
        if (losses[i].count > 0) {
            buffer_printf(out, "%s", before);
            put_things(out, losses[i].count, losses[i].one, losses[i].many);
            before = ", ";
        }
    }
}

static bool
loses_something(const struct plan_step *step)
{
    return step->message_count + step->consumer_count + step->binding_count > 0;
}

static void
put_words(struct buffer *out, const struct plan_step *step)
{
    if ((step->needs & PLAN_NEEDS_DISCARD) != 0) {
        buffer_printf(out, "--discard ");
        put_quoted(out, step->name);
    }
    if ((step->needs & PLAN_NEEDS_UNPROTECT) != 0) {
        buffer_printf(out, "%s--unprotect ",
                      (step->needs & PLAN_NEEDS_DISCARD) != 0 ? " and " : "");
        put_quoted(out, step->name);
    }
}

/* What is at stake and, where that is not allowed, what would allow it. */
static void
put_stakes(struct buffer *out, const struct plan_step *step)
{
    if (loses_something(step)) {
        buffer_printf(out, "      ");
        put_loss(out, step);
        buffer_printf(out, "\n");
    }
    if (step->needs != 0) {
        buffer_printf(out, "      refused%s: needs ",
                      (step->needs & PLAN_NEEDS_UNPROTECT) != 0 ? ", for it is protected" : "");
        put_words(out, step);
        buffer_printf(out, "\n");
    }
}

void
plan_put_refusal(struct buffer *out, const struct plan *plan)
{
    for (size_t i = 0; i < plan->step_count; i++) {
        const struct plan_step *step = &plan->steps[i];
        if (step->needs == 0) {
            continue;
        }
        plan_put_subject(out, step);
        buffer_printf(out, " would be %s", step->action == PLAN_DELETE ? "deleted" : "replaced");
        if (loses_something(step)) {
            buffer_printf(out, ": ");
            put_loss(out, step);
        }
        if ((step->needs & PLAN_NEEDS_UNPROTECT) != 0) {
            buffer_printf(out, "%s protected",
                          loses_something(step) ? ", and it is" : ", but it is");
        }
        buffer_printf(out, "; to do so needs ");
        put_words(out, step);
        return;
    }
}

/* The whole ----------------------------------------------------------------------------------- */

static void
put_summary(struct buffer *out, const struct plan *plan)
{
    static const char *const verbs[PLAN_ACTION_COUNT] = {
        [PLAN_CREATE] = "to create",
        [PLAN_CHANGE] = "to change in place",
        [PLAN_REPLACE] = "to replace",
        [PLAN_DELETE] = "to delete",
    };
    const char *before = ": ";
    buffer_printf(out, "Plan for vhost ");
    put_quoted(out, plan->vhost);
    for (size_t i = 0; i < PLAN_ACTION_COUNT; i++) {
        if (plan->counts[i] > 0) {
            buffer_printf(out, "%s", before);
            put_count(out, plan->counts[i]);
            buffer_printf(out, " %s", verbs[i]);
            before = ", ";
        }
    }
    buffer_printf(out, "%s\n", before[0] == ':' ? ": nothing to do" : "");
}

static void
put_end(struct buffer *out, const struct plan *plan)
{
    if (plan->omitted_count > 0) {
        buffer_printf(out, "\nand %" PRIu64 " more steps: too many to be applied at once\n",
                      plan->omitted_count);
    }
    if (plan->left_count > 0) {
        buffer_printf(out, "\n");
        put_things(out, plan->left_count, "exchange or queue that the file does not name stays",
                   "exchanges and queues that the file does not name stay");
        buffer_printf(out, " (--prune deletes)\n");
    }
    if (plan->refused_count > 0) {
        buffer_printf(out, "\n");
        put_things(out, plan->refused_count, "step is refused", "steps are refused");
        buffer_printf(out, ": nothing of this plan can be applied without the words above\n");
    }
}

void
plan_put_text(struct buffer *out, const struct plan *plan)
{
    put_summary(out, plan);
    if (plan->step_count > 0) {
        buffer_printf(out, "\n");
    }
    for (size_t i = 0; i < plan->step_count; i++) {
        put_step(out, &plan->steps[i]);
        put_stakes(out, &plan->steps[i]);
    }
    put_end(out, plan);
}

/* Drift ---------------------------------------------------------------------------------------- */

static void
put_time(struct buffer *out, uint32_t wall_s)
{
    time_t seconds = (time_t)wall_s;
    struct tm parts;
    char text[32];
    if (gmtime_r(&seconds, &parts) != NULL &&
        strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", &parts) > 0) {
        buffer_printf(out, "%s", text);
    }
}

static void
put_maker(struct buffer *out, const struct plan_step *step)
{
    if (step->made_by.size > 0) {
        buffer_printf(out, " by ");
        put_quoted(out, step->made_by);
    }
    if (step->made_s > 0) {
        buffer_printf(out, " at ");
        put_time(out, step->made_s);
    }
}

/* What it is, and what the configuration says. */
static void
put_drifted_line(struct buffer *out, const struct plan_line *line)
{
    if (line->key == NULL) {
        buffer_printf(out, "      by the configuration: %s\n", line->sentence);
    } else {
        buffer_printf(out, "      %s: %s, not %s\n", line->key,
                      line->from == NULL ? "not set" : line->from,
                      line->to == NULL ? "unset" : line->to);
    }
}

void
plan_put_drift(struct buffer *out, const struct plan *plan)
{
    uint64_t count = plan->step_count + plan->omitted_count;
    buffer_printf(out, "Drift of vhost ");
    put_quoted(out, plan->vhost);
    buffer_printf(out, ": ");
    if (count == 0) {
        buffer_printf(out, "none\n");
        return;
    }
    put_things(out, count, "difference", "differences");
    buffer_printf(out, "\n\n");
    for (size_t i = 0; i < plan->step_count; i++) {
        const struct plan_step *step = &plan->steps[i];
        bool is_extra = step->action == PLAN_DELETE && step->object != PLAN_USER;
        bool is_gone = step->action == PLAN_CREATE;
        buffer_printf(out, "%c ", is_extra ? '+' : is_gone ? '-' : '~');
        plan_put_subject(out, step);
        buffer_printf(out, is_extra ? ": made" : is_gone ? ": is gone" : ": is another");
        put_maker(out, step);
        buffer_printf(out, "\n");
        for (const struct plan_line *line = step->lines; line != NULL && !is_gone;
             line = line->next) {
            put_drifted_line(out, line);
        }
    }
    if (plan->omitted_count > 0) {
        buffer_printf(out, "and %" PRIu64 " more\n", plan->omitted_count);
    }
}

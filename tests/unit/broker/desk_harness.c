/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/broker/desk_harness.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>

#include <stdio.h>

enum { PUMPS_MAX = 20000 };

static void
copy_text(char out[static SHOWN_TEXT], struct bytes text)
{
    (void)snprintf(out, SHOWN_TEXT, "%.*s", BYTES_FORMAT(text));
}

static void
copy_facts(struct shown *shown, const struct desk_row *row, const struct desk_facts *facts)
{
    copy_text(shown->body, content_body(row->content));
    copy_text(shown->key, facts->routing_key);
    copy_text(shown->reason, facts->reason);
    copy_text(shown->origin, facts->origin_queue);
    copy_text(shown->class, facts->error_class);
    copy_text(shown->batch, facts->replay_batch);
    shown->replay_count = facts->replay_count;
    shown->expiry_wall_ms = facts->expiry_wall_ms;
    shown->delivery_count = facts->failure == NULL ? 0 : facts->failure->delivery_count;
}

static bool
on_show(void *context, const struct desk_row *row, const struct desk_facts *facts)
{
    struct desk_outcome *outcome = context;
    cr_assert(lt(u32, outcome->shown_count, SHOWN_MAX));
    struct shown *shown = &outcome->shown[outcome->shown_count++];
    *shown = (struct shown){
        .id = {.position = row->position, .lsn = queue_entry_lsn(&row->entry)},
        .place = row->place,
        .is_redelivered = (queue_entry_flags(&row->entry) & ENTRY_REDELIVERED) != 0,
        .is_readable = facts != NULL,
        .size = row->entry.size,
    };
    if (facts != NULL) {
        copy_facts(shown, row, facts);
    }
    return true;
}

static void
on_done(void *context, const struct desk_job *job)
{
    struct desk_outcome *outcome = context;
    cr_assert(not(outcome->is_done));
    outcome->is_done = true;
    outcome->progress = *desk_job_progress(job);
    const struct desk_groups *groups = desk_job_groups(job);
    outcome->others_count = groups->others.count;
    uint32_t at = 0;
    for (const struct desk_group *group;
         (group = desk_groups_next(groups, &at)) != NULL && outcome->group_count < 64;) {
        char(*texts)[SHOWN_TEXT] = outcome->group_texts[outcome->group_count];
        copy_text(texts[0], group->origin_queue);
        copy_text(texts[1], group->reason);
        copy_text(texts[2], group->error_class);
        copy_text(texts[3], group->routing_key);
        outcome->groups[outcome->group_count++] = *group;
    }
}

void
desk_begin_job(struct rig *rig, const char *queue, struct desk_order *request,
               struct desk_outcome *outcome)
{
    outcome->is_done = false;
    outcome->shown_count = 0;
    outcome->group_count = 0;
    request->show = on_show;
    request->done = on_done;
    request->context = outcome;
    enum status status = desk_begin(rig->core, find_queue(rig, queue), request, &outcome->number);
    cr_assert(eq(int, (int)status, STATUS_OK));
}

void
desk_run(struct rig *rig, const char *queue, struct desk_order *request, void (*pump)(void),
         struct desk_outcome *outcome)
{
    desk_begin_job(rig, queue, request, outcome);
    for (int i = 0; i < PUMPS_MAX && !outcome->is_done; i++) {
        pump();
    }
    cr_assert(outcome->is_done);
}

const char *
shown_bodies(const struct desk_outcome *outcome)
{
    static char text[SHOWN_MAX * 8];
    size_t size = 0;
    text[0] = '\0';
    for (uint32_t i = 0; i < outcome->shown_count && size < sizeof(text) - SHOWN_TEXT - 1; i++) {
        size += (size_t)snprintf(text + size, sizeof(text) - size, "%s%s", i == 0 ? "" : " ",
                                 outcome->shown[i].body);
    }
    return text;
}

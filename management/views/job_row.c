/* SPDX-License-Identifier: Apache-2.0 */
#include "management/views/job_row.h"

#include "base/assert.h"
#include "management/views/message_rows.h"

static struct bytes
keep(struct arena *arena, struct bytes text)
{
    return text.data == NULL ? text : arena_copy(arena, text);
}

static void
copy_targets(struct job_row *row, struct arena *arena, const struct desk_job *job)
{
    uint32_t at = 0;
    const struct desk_target_count *target;
    row->targets = arena_alloc(arena, (DESK_TARGETS_MAX + 1) * sizeof(*row->targets));
    while ((target = desk_job_next_target(job, &at)) != NULL &&
           row->target_count <= DESK_TARGETS_MAX) {
        row->targets[row->target_count++] =
            (struct desk_target_count){.name = keep(arena, target->name), .count = target->count};
    }
}

void
job_row_copy(struct job_row *row, struct arena *arena, const struct desk_job *job)
{
    const struct desk_order *order = desk_job_request(job);
    *row = (struct job_row){
        .number = desk_job_number(job),
        .action = order->action,
        .progress = *desk_job_progress(job),
        .is_dry = order->is_dry,
        .rate = order->rate,
        .to = order->target.to,
        .batch = keep(arena, order->batch),
        .vhost = keep(arena, desk_job_vhost_name(job)),
        .queue = keep(arena, desk_job_queue_name(job)),
        .exchange = keep(arena, order->target.exchange),
        .routing_key = keep(arena, order->target.routing_key),
        .note = keep(arena, order->note),
        .user = keep(arena, order->user),
    };
    copy_targets(row, arena, job);
}

static const char *
state_name(enum desk_state state)
{
    static const char *const names[] = {
        [DESK_RUNS] = "running",
        [DESK_WAITS_FOR_DISK] = "waits_for_disk",
        [DESK_WAITS_FOR_RATE] = "waits_for_rate",
        [DESK_WAITS_FOR_ROOM] = "waits_for_room",
        [DESK_WAITS_FOR_ALARM] = "waits_for_alarm",
        [DESK_IS_DONE] = "done",
        [DESK_IS_CANCELLED] = "cancelled",
        [DESK_HAS_GIVEN_UP] = "given_up",
    };
    return names[state];
}

static const char *const target_names[] = {
    [REPLAY_TO_ORIGIN_QUEUE] = "origin",
    [REPLAY_TO_ORIGIN_EXCHANGE] = "origin_exchange",
    [REPLAY_TO_EXCHANGE] = "exchange",
};

const char *
replay_to_name(enum replay_to to)
{
    return target_names[to];
}

bool
replay_to_read(struct bytes name, enum replay_to *to_out)
{
    for (size_t i = 0; i < ARRAY_LEN(target_names); i++) {
        if (bytes_equal_text(name, target_names[i])) {
            *to_out = (enum replay_to)i;
            return true;
        }
    }
    return false;
}

static void
write_counts(struct json_writer *json, const struct desk_progress *progress)
{
    json_put_string(json, "state", state_name(progress->state));
    json_put_unsigned(json, "total", progress->total_count);
    json_put_unsigned(json, "done", progress->done_count);
    json_put_unsigned(json, "done_octets", progress->done_octets);
    json_put_unsigned(json, "no_target_count", progress->no_target_count);
    json_put_unsigned(json, "full_count", progress->full_count);
    json_put_unsigned(json, "too_large_count", progress->too_large_count);
    json_put_unsigned(json, "unreadable_count", progress->unreadable_count);
    json_put_unsigned(json, "not_allowed_count", progress->not_allowed_count);
    json_put_time(json, "begun_ms", (uint64_t)progress->begun_wall_ms);
    json_put_time(json, "ended_ms", (uint64_t)progress->ended_wall_ms);
}

static void
write_job_targets(struct json_writer *json, const struct job_row *row)
{
    json_key(json, "targets");
    json_begin_array(json);
    for (uint32_t i = 0; i < row->target_count; i++) {
        json_begin_object(json);
        json_put_known(json, "queue", row->targets[i].name);
        json_put_unsigned(json, "count", row->targets[i].count);
        json_end_object(json);
    }
    json_end_array(json);
}

void
job_row_write(struct json_writer *json, const struct job_row *row)
{
    bool is_replay = row->action == DESK_REPLAY;
    bool is_to_exchange = is_replay && row->to == REPLAY_TO_EXCHANGE;
    json_begin_object(json);
    json_put_unsigned(json, "id", row->number);
    json_put_known(json, "batch", is_replay ? row->batch : bytes_make(NULL, 0));
    json_put_string(json, "action", is_replay ? "replay" : "drop");
    json_put_text(json, "vhost", row->vhost);
    json_put_text(json, "queue", row->queue);
    json_put_known(json, "to", is_replay ? bytes_of(target_names[row->to]) : bytes_make(NULL, 0));
    json_put_known(json, "exchange", is_to_exchange ? row->exchange : bytes_make(NULL, 0));
    json_put_known(json, "routing_key", is_to_exchange ? row->routing_key : bytes_make(NULL, 0));
    json_put_bool(json, "dry_run", row->is_dry);
    json_put_unsigned(json, "rate", row->rate);
    json_put_known(json, "note", row->note);
    json_put_known(json, "user", row->user);
    write_counts(json, &row->progress);
    json_put_bool(json, "on_disk", row->is_on_disk);
    write_job_targets(json, row);
    json_end_object(json);
}

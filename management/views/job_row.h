/* SPDX-License-Identifier: Apache-2.0 */
/* A replay or a drop as it is shown: copied out of the core, and written as JSON by the other
 * thread.
 */
#ifndef BOURSE_MANAGEMENT_VIEWS_JOB_ROW_H
#define BOURSE_MANAGEMENT_VIEWS_JOB_ROW_H

#include "base/alloc.h"
#include "broker/desk/desk.h"
#include "management/json/json_writer.h"

/* Texts are the arena's. */
struct job_row {
    uint64_t number;
    enum desk_action action;
    struct desk_progress progress;
    bool is_on_disk, is_dry;
    uint32_t rate;
    enum replay_to to;
    struct bytes batch, vhost, queue, exchange, routing_key, note, user;
    struct desk_target_count *targets;
    uint32_t target_count;
};

/* In the core. `is_on_disk` is the caller's to say. */
void job_row_copy(struct job_row *row, struct arena *arena, const struct desk_job *job);

void job_row_write(struct json_writer *json, const struct job_row *row);

/* "origin", "origin_exchange", "exchange"; and back, false: none of them. */
const char *replay_to_name(enum replay_to to);
bool replay_to_read(struct bytes name, enum replay_to *to_out);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* What an operator asks of the desk, in one line each; for tests on top of the core's rig. A job is
 * run to its end, by turns of the loop that the test gives. */
#ifndef BOURSE_TESTS_UNIT_BROKER_DESK_HARNESS_H
#define BOURSE_TESTS_UNIT_BROKER_DESK_HARNESS_H

#include "broker/desk/desk.h"
#include "tests/unit/broker/messaging.h"

enum { SHOWN_MAX = 4096, SHOWN_TEXT = 32 };

/* One message as it was shown; texts are cut. */
struct shown {
    struct desk_id id;
    enum desk_place place;
    bool is_redelivered, is_readable;
    uint32_t size;
    uint32_t delivery_count;
    uint64_t age_ms, expiry_wall_ms;
    char body[SHOWN_TEXT], key[SHOWN_TEXT], reason[SHOWN_TEXT], origin[SHOWN_TEXT];
    char class[SHOWN_TEXT], batch[SHOWN_TEXT];
    int64_t replay_count;
};

/* What the last job has said. */
struct desk_outcome {
    bool is_done;
    uint64_t number;
    struct desk_progress progress;
    struct shown shown[SHOWN_MAX];
    uint32_t shown_count;
    struct desk_group groups[64]; /* their texts are gone but for those below */
    char group_texts[64][4][SHOWN_TEXT];
    uint32_t group_count;
    uint64_t others_count;
};

/* `pump` turns the loop once. */
void desk_begin_job(struct rig *rig, const char *queue, struct desk_order *request,
                    struct desk_outcome *outcome);
void desk_run(struct rig *rig, const char *queue, struct desk_order *request, void (*pump)(void),
              struct desk_outcome *outcome);

/* Bodies of what was shown, separated by blanks. */
const char *shown_bodies(const struct desk_outcome *outcome);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* The ends of the rings, and the marks that travel through them. */
#include "net/seam_ring.h"

#include "net/seam_items.h"

void
seam_network_end_init(struct seam_network_end *end, struct ring *events, struct ring *actions)
{
    *end = (struct seam_network_end){.events = events, .actions = actions};
}

void
seam_core_end_init(struct seam_core_end *end, struct ring *events, struct ring *actions)
{
    *end = (struct seam_core_end){.events = events, .actions = actions};
}

void
seam_report_passed(struct seam_network_end *end)
{
    if (end->passed_tick == end->taken_tick) {
        return;
    }
    end->passed_tick = end->taken_tick;
    append_tick(end->events, end->passed_tick);
}

void
seam_flush_actions(struct seam_core_end *end, uint64_t tick)
{
    bool is_waiting = end->passed_tick != end->named_tick;
    assert(tick > end->named_tick);
    if (!is_waiting) {
        /* Nothing is on its way, so the network reads nothing of earlier ticks. */
        end->passed_tick = end->names_content ? tick - 1 : tick;
    }
    if (end->names_content || !is_waiting) {
        end->named_tick = tick;
    }
    if (end->names_content) {
        append_tick(end->actions, tick);
        end->names_content = false;
    }
    ring_flush(end->actions);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/upkeep/queue_clocks.h"

#include "broker/upkeep/expiry.h"

void
core_read_queue_clocks(struct core *core, struct queue *queue,
                       struct queue_clock_reading *reading_out)
{
    core_let_due_die(core, queue);
    queue_read_clocks(queue, reading_out);
}

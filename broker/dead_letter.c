/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/dead_letter.h"

#include "broker/durability.h"

void
core_let_die(struct core *core, struct queue *queue, const struct queue_entry *entry,
             enum death_reason reason)
{
    assert(reason < DEATH_REASON_COUNT);
    core_log_removal(core, queue, entry);
    queue_entry_release(entry, core->pool);
}

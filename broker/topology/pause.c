/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/topology/pause.h"

#include "broker/changes/audit.h"
#include "broker/durability/durability.h"
#include "broker/durability/durable_topology.h"

enum status
core_pause_queue(struct core *core, struct queue *queue, bool is_paused, struct bytes user,
                 struct bytes note, uint64_t *token_out)
{
    *token_out = core_topology_token(core);
    if (queue->is_paused == is_paused) {
        return STATUS_OK;
    }
    enum status status = core_prepare_record(core, queue_name(queue).size + queue->arguments.size);
    if (status != STATUS_OK) {
        return status;
    }
    queue->is_paused = is_paused;
    queue_remember(queue);
    audit_pause(core, queue, is_paused, user, note);
    *token_out = core_topology_token(core);
    if (!is_paused && queue->ready_count > 0 && queue_has_ready_consumer(queue)) {
        core_wake_queue(core, queue);
    }
    return STATUS_OK;
}

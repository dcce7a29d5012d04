/* SPDX-License-Identifier: Apache-2.0 */
/* How much has changed beside the configurations that were applied last, looked at once in a while:
 * as many differences as `bourse drift` names. Texts are copied and read anew when another
 * configuration was applied, else only plans are made, in slices; of many objects less often.
 *
 * Owner: the admin thread. */
#ifndef BOURSE_MANAGEMENT_MONITOR_DRIFT_WATCH_H
#define BOURSE_MANAGEMENT_MONITOR_DRIFT_WATCH_H

#include "base/bytes.h"

struct management;
struct drift_watch;

/* Of one vhost. */
struct drift_found {
    struct bytes vhost; /* of the watch */
    uint64_t count;     /* of differences */
};

struct drift_watch *drift_watch_new(struct management *management);

/* What it has asked the core for has come back, or comes back later and is dropped. */
void drift_watch_free(struct drift_watch **watch);

/* Another moment has come. Looks, if it is time and nothing is under way; `queue_count` is how many
 * queues there are. */
void drift_watch_tick(struct drift_watch *watch, uint64_t queue_count);

/* What the last look found, vhost by vhost, from 0 on; NULL behind the last. */
const struct drift_found *drift_watch_at(const struct drift_watch *watch, size_t at);

/* All of it. */
uint64_t drift_watch_total(const struct drift_watch *watch);

#endif

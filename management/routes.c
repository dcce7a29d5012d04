/* SPDX-License-Identifier: Apache-2.0 */
#include "base/assert.h"
#include "management/handlers.h"
#include "management/route.h"

enum {
    KIB = 1024,
    SMALL_BODY = 64 * KIB,
    MESSAGE_BODY = 24 * KIB * KIB, /* a message of 16 MiB in base64 */
};

const struct route routes[] = {
    {ROUTE_GET, "/api/overview", ABILITY_LOOK, 0, 0, handle_overview,
     "the broker at a glance: versions, totals, rates, listeners"},
    {ROUTE_GET, "/api/whoami", ABILITY_LOOK, 0, 0, handle_whoami, "who has signed in"},
    {ROUTE_GET, "/api/vhosts", ABILITY_LOOK, 0, 0, handle_vhosts, "virtual hosts"},
    {ROUTE_GET, "/api/vhosts/{vhost}", ABILITY_LOOK, ROUTE_IN_VHOST, 0, handle_vhost,
     "one virtual host"},
    {ROUTE_GET, "/api/queues", ABILITY_LOOK, 0, 0, handle_queues, "queues of all virtual hosts"},
    {ROUTE_GET, "/api/queues/{vhost}", ABILITY_LOOK, ROUTE_IN_VHOST, 0, handle_queues,
     "queues of a virtual host"},
    {ROUTE_GET, "/api/queues/{vhost}/{queue}", ABILITY_LOOK, ROUTE_IN_VHOST | ROUTE_PLUS_IS_SPACE,
     0, handle_queue, "one queue, with its consumers"},
    {ROUTE_PUT, "/api/queues/{vhost}/{queue}", ABILITY_OPERATE, ROUTE_IN_VHOST, SMALL_BODY,
     handle_queue_put, "declare a queue"},
    {ROUTE_DELETE, "/api/queues/{vhost}/{queue}", ABILITY_OPERATE, ROUTE_IN_VHOST, SMALL_BODY,
     handle_queue_delete, "delete a queue"},
    {ROUTE_GET, "/api/queues/{vhost}/{queue}/bindings", ABILITY_LOOK, ROUTE_IN_VHOST, 0,
     handle_queue_bindings, "the bindings that lead to a queue"},
    {ROUTE_DELETE, "/api/queues/{vhost}/{queue}/contents", ABILITY_OPERATE, ROUTE_IN_VHOST,
     SMALL_BODY, handle_queue_purge, "purge a queue"},
    {ROUTE_POST, "/api/queues/{vhost}/{queue}/get", ABILITY_OPERATE, ROUTE_IN_VHOST, SMALL_BODY,
     handle_queue_get, "take messages out of a queue, or look at them and put them back"},
    {ROUTE_POST, "/api/exchanges/{vhost}/{exchange}/publish", ABILITY_OPERATE, ROUTE_IN_VHOST,
     MESSAGE_BODY, handle_publish, "publish a message, mandatory and confirmed"},
    {ROUTE_GET, "/healthz", ABILITY_NONE, ROUTE_OPEN | ROUTE_ON_METRICS, 0, handle_alive,
     "whether the broker's loop turns"},
    {ROUTE_GET, "/readyz", ABILITY_NONE, ROUTE_OPEN | ROUTE_ON_METRICS, 0, handle_ready,
     "whether clients may come"},
    /* Metrics. */
    {ROUTE_GET, "/metrics", ABILITY_NONE, ROUTE_OPEN | ROUTE_ON_METRICS, 0, handle_metrics,
     "numbers for Prometheus, summed up over all objects"},
    {ROUTE_GET, "/metrics/per-object", ABILITY_NONE, ROUTE_OPEN | ROUTE_ON_METRICS, 0,
     handle_metrics_of_objects, "the same, with each queue"},
    {ROUTE_GET, "/metrics/detailed", ABILITY_NONE, ROUTE_OPEN | ROUTE_ON_METRICS, 0,
     handle_metrics_in_detail, "families and queues of choice"},
    {ROUTE_GET, "/api/bourse/attention", ABILITY_LOOK, 0, 0, handle_attention,
     "what needs attention, the worst first"},
    {ROUTE_GET, "/api/bourse/history", ABILITY_SEE_ALL, 0, 0, handle_history,
     "the broker in the last ten minutes"},
    {ROUTE_GET, "/api/bourse/history/{vhost}/{queue}", ABILITY_LOOK, ROUTE_IN_VHOST, 0,
     handle_queue_history, "a queue in the last hour, from when it was first asked for"},
};

const size_t route_count = ARRAY_LEN(routes);

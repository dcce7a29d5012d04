/* SPDX-License-Identifier: Apache-2.0 */
#include "base/assert.h"
#include "management/handlers.h"
#include "management/route.h"

enum {
    KIB = 1024,
    SMALL_BODY = 64 * KIB,
    MESSAGE_BODY = 24 * KIB * KIB,  /* a message of 16 MiB in base64 */
    TOPOLOGY_BODY = 16 * KIB * KIB, /* some files of 1 MiB */
};

const struct route routes[] = {
    {ROUTE_GET, "/api/overview", ABILITY_LOOK, ROUTE_WATCHED, 0, handle_overview,
     "the broker at a glance: versions, totals, rates, listeners"},
    {ROUTE_GET, "/api/whoami", ABILITY_LOOK, 0, 0, handle_whoami, "who has signed in"},
    {ROUTE_GET, "/api/vhosts", ABILITY_LOOK, 0, 0, handle_vhosts, "virtual hosts"},
    {ROUTE_GET, "/api/vhosts/{vhost}", ABILITY_LOOK, ROUTE_IN_VHOST, 0, handle_vhost,
     "one virtual host"},
    {ROUTE_GET, "/api/queues", ABILITY_LOOK, ROUTE_WATCHED, 0, handle_queues,
     "queues of all virtual hosts"},
    {ROUTE_GET, "/api/queues/{vhost}", ABILITY_LOOK, ROUTE_IN_VHOST | ROUTE_WATCHED, 0,
     handle_queues, "queues of a virtual host"},
    {ROUTE_GET, "/api/queues/{vhost}/{queue}", ABILITY_LOOK,
     ROUTE_IN_VHOST | ROUTE_PLUS_IS_SPACE | ROUTE_WATCHED, 0, handle_queue,
     "one queue, with its consumers"},
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
    /* The console. */
    {ROUTE_GET, "/", ABILITY_NONE, ROUTE_OPEN, 0, handle_console, "the web console"},
    {ROUTE_GET, "/console", ABILITY_NONE, ROUTE_OPEN, 0, handle_console, "the web console"},
    {ROUTE_GET, "/console/{version}/{file}", ABILITY_NONE, ROUTE_OPEN, 0, handle_console_file,
     "a file of the web console"},
    {ROUTE_POST, "/api/bourse/session", ABILITY_LOOK, ROUTE_OF_SESSION, SMALL_BODY,
     handle_session_begin, "sign in to the web console"},
    {ROUTE_GET, "/api/bourse/session", ABILITY_LOOK, ROUTE_OF_SESSION, 0, handle_session,
     "who has signed in, and what that one may"},
    {ROUTE_DELETE, "/api/bourse/session", ABILITY_LOOK, ROUTE_OF_SESSION, 0, handle_session_end,
     "sign out"},
    {ROUTE_GET, "/api/bourse/events", ABILITY_LOOK, 0, 0, handle_events,
     "what has changed, as server-sent events"},
    /* Topology as code. */
    {ROUTE_POST, "/api/bourse/plan", ABILITY_SEE_ALL, 0, TOPOLOGY_BODY, handle_plan,
     "what it would take to make the broker what configuration files say"},
    {ROUTE_POST, "/api/bourse/apply", ABILITY_ADMIN, 0, TOPOLOGY_BODY, handle_apply,
     "make the broker what configuration files say"},
    {ROUTE_GET, "/api/bourse/generations", ABILITY_SEE_ALL, 0, 0, handle_generations,
     "configurations that were applied"},
    {ROUTE_GET, "/api/bourse/generations/{generation}", ABILITY_SEE_ALL, 0, 0, handle_generation,
     "one of them, with its texts"},
    {ROUTE_POST, "/api/bourse/rollback/{generation}", ABILITY_ADMIN, 0, SMALL_BODY, handle_rollback,
     "apply an earlier configuration again"},
    {ROUTE_GET, "/api/bourse/drift", ABILITY_SEE_ALL, 0, 0, handle_drift,
     "what has changed beside the configurations"},
    {ROUTE_GET, "/api/bourse/route/{vhost}", ABILITY_LOOK, ROUTE_IN_VHOST, 0, handle_explain_get,
     "why a message would go where it goes"},
    {ROUTE_POST, "/api/bourse/route/{vhost}", ABILITY_LOOK, ROUTE_IN_VHOST, SMALL_BODY,
     handle_explain, "the same, of a message with headers"},
    {ROUTE_GET, "/healthz", ABILITY_NONE, ROUTE_OPEN | ROUTE_ON_METRICS, 0, handle_alive,
     "whether the broker's loop turns"},
    {ROUTE_GET, "/readyz", ABILITY_NONE, ROUTE_OPEN | ROUTE_ON_METRICS, 0, handle_ready,
     "whether clients may come"},
};

const size_t route_count = ARRAY_LEN(routes);

/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/users/recheck.h"

#include "amqp/reply.h"
#include "broker/connections/connection.h"
#include "broker/topology/vhost.h"
#include "broker/users/access.h"

/* Closes the connection if its user may no longer be where it is; else ends the consumers that may
 * no longer read. Publishing asks each time. */
static void
recheck_connection(struct connection *connection)
{
    const struct user *user = connection->user;
    struct fault fault;
    if (user == NULL) {
        return; /* its login will ask */
    }
    if (user->is_disabled) {
        (void)fault_connection(&fault, REPLY_CONNECTION_FORCED, "user '%.*s' was deleted",
                               BYTES_FORMAT(user->name));
        connection_close(connection, &fault, 0, 0);
    } else if (connection->vhost != NULL && !access_may_enter(user, connection->vhost->name)) {
        (void)fault_connection(&fault, REPLY_CONNECTION_FORCED,
                               "access to vhost '%.*s' was revoked for user '%.*s'",
                               BYTES_FORMAT(connection->vhost->name), BYTES_FORMAT(user->name));
        connection_close(connection, &fault, 0, 0);
    } else {
        connection_recheck_consumers(connection);
    }
}

void
core_recheck_connections(struct core *core, const struct user *user)
{
    if (user != NULL && user->references == 0) {
        return;
    }
    LIST_FOR_EACH(&core->connection_list, link)
    {
        struct connection *connection = CONTAINER_OF(link, struct connection, core_link);
        if (user == NULL || connection->user == user) {
            recheck_connection(connection);
        }
    }
}

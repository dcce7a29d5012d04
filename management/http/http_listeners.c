/* SPDX-License-Identifier: Apache-2.0 */
/* The ports of the admin thread: what the configuration says is opened, and closed again. What
 * comes in there is the business of http_server.c. */
#include <event2/http.h>
#include <grp.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/alloc.h"
#include "broker/tls_settings.h"
#include "management/http/server.h"
#include "net/socket_address.h"

const char *const server_schemes[PORT_COUNT] = {
    [PORT_HTTP] = "http",
    [PORT_HTTPS] = "https",
    [PORT_METRICS] = "metrics",
    [PORT_CONTROL] = "unix",
};

static bool
open_port(struct management *management, enum server_port port_kind)
{
    struct server_http *port = &management->ports[port_kind];
    if (port->http != NULL) {
        return true;
    }
    port->management = management;
    port->port_kind = port_kind;
    port->http = evhttp_new(management->base);
    if (port->http == NULL) {
        return false;
    }
    evhttp_set_allowed_methods(port->http, UINT16_MAX);
    evhttp_set_max_headers_size(port->http, HTTP_HEAD_MAX);
    evhttp_set_timeout(port->http, HTTP_IDLE_S);
    evhttp_set_gencb(port->http, server_on_request, port);
    evhttp_set_bevcb(port->http, server_on_accept, port);
    evhttp_set_flags(port->http, EVHTTP_SERVER_LINGERING_CLOSE);
    return true;
}

static void
note_listener(struct management *management, enum server_port port_kind, const char *host,
              uint16_t port)
{
    management->listeners = xrealloc(management->listeners, (management->listener_count + 1) *
                                                                sizeof(*management->listeners));
    management->listeners[management->listener_count++] = (struct server_listener){
        .port_kind = port_kind,
        .host = xstrdup(host),
        .port = port,
        .is_tls = management->ports[port_kind].tls != NULL,
    };
}

/* Takes the socket. */
static bool
accept_on(struct management *management, enum server_port port_kind, int fd, char *why,
          size_t why_size)
{
    if (!open_port(management, port_kind) ||
        evhttp_accept_socket(management->ports[port_kind].http, fd) != 0) {
        (void)snprintf(why, why_size, "cannot set up the event loop of the management interface");
        close(fd);
        return false;
    }
    return true;
}

static bool
open_address(struct management *management, enum server_port port_kind,
             const struct config_address *address, char *why, size_t why_size)
{
    char reason[256] = "";
    uint16_t port = 0;
    int fd = listening_socket_open(address->host, address->port, &port, reason, sizeof(reason));
    if (fd < 0) {
        (void)snprintf(why, why_size, "cannot listen on %s://%s: %s", server_schemes[port_kind],
                       address->text, reason);
        return false;
    }
    if (!accept_on(management, port_kind, fd, why, why_size)) {
        return false;
    }
    note_listener(management, port_kind, address->host, port);
    return true;
}

static bool
open_listener(struct management *management, enum server_port port_kind,
              const struct config_listener *listener, char *why, size_t why_size)
{
    if (!listener->enabled) {
        return true;
    }
    if (listener->tls != NULL) {
        struct tls_settings settings = tls_settings_of(listener->tls);
        struct server_http *port = &management->ports[port_kind];
        port->tls = tls_context_new(&settings, management->log, why, why_size);
        if (port->tls == NULL) {
            return false;
        }
    }
    for (size_t i = 0; i < listener->address_count; i++) {
        if (!open_address(management, port_kind, &listener->addresses[i], why, why_size)) {
            return false;
        }
    }
    return true;
}

/* A path that nobody chose and that is too long is told about, not refused. */
static bool
open_control(struct management *management, const struct config_server *server, char *why,
             size_t why_size)
{
    char path[4096];
    char reason[256];
    bool is_chosen = server->control_socket != NULL;
    if (!is_chosen && server->is_ephemeral) {
        return true;
    }
    (void)snprintf(path, sizeof(path), "%s%s",
                   is_chosen ? server->control_socket : server->data_dir,
                   is_chosen ? "" : "/bourse.sock");
    int fd = control_socket_open(path, reason, sizeof(reason));
    if (fd < 0 && !is_chosen) {
        log_warn(management->log, "http.no_control_socket", "path=\"%s\" reason=\"%s\"", path,
                 reason);
        return true;
    }
    if (fd < 0) {
        (void)snprintf(why, why_size, "cannot listen on control socket %s: %s", path, reason);
        return false;
    }
    management->control_path = xstrdup(path);
    return accept_on(management, PORT_CONTROL, fd, why, why_size);
}

/* The group bourse of this machine. Asking the name service would load its libraries, for some
 * hundred KiB that nobody needs again. */
static gid_t
group_of_operators(void)
{
    gid_t found = (gid_t)-1;
    FILE *file = fopen("/etc/group", "re");
    if (file == NULL) {
        return found;
    }
    const struct group *group;
    while (found == (gid_t)-1 && (group = fgetgrent(file)) != NULL) {
        found = strcmp(group->gr_name, "bourse") == 0 ? group->gr_gid : found;
    }
    (void)fclose(file);
    return found;
}

bool
server_open(struct management *management, const struct config *config, char *why, size_t why_size)
{
    static const enum config_listener_kind kinds[] = {
        [PORT_HTTP] = LISTENER_HTTP,
        [PORT_HTTPS] = LISTENER_HTTPS,
        [PORT_METRICS] = LISTENER_METRICS,
    };
    management->group = group_of_operators();
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
        if (!open_listener(management, (enum server_port)i, &config->listeners[kinds[i]], why,
                           why_size)) {
            return false;
        }
    }
    return open_control(management, &config->server, why, why_size);
}

void
server_close(struct management *management)
{
    server_end_connections(management);
    for (size_t i = 0; i < PORT_COUNT; i++) {
        if (management->ports[i].http != NULL) {
            evhttp_free(management->ports[i].http);
            management->ports[i].http = NULL;
        }
        tls_context_unref(&management->ports[i].tls);
    }
    for (size_t i = 0; i < management->listener_count; i++) {
        free(management->listeners[i].host);
    }
    free(management->listeners);
    management->listeners = NULL;
    management->listener_count = 0;
    if (management->control_path != NULL) {
        (void)unlink(management->control_path);
        free(management->control_path);
        management->control_path = NULL;
    }
}

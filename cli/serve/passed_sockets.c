/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/serve/passed_sockets.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/serve/environment.h"
#include "net/socket_address.h"

enum { NAME_SIZE = 256, ADDRESS_TEXT_SIZE = NET_ADDRESS_SIZE + 16 };

struct passed_socket {
    int fd;
    char name[NAME_SIZE]; /* empty: it has none */
    char host[NET_ADDRESS_SIZE];
    uint16_t port;
};

/* Where a refusal goes. */
struct refusal {
    char *why;
    size_t size;
};

/* How many sockets are passed to this process; false when the variables make no sense. */
static bool
count_sockets(const struct config_environment *environment, uint64_t *count_out)
{
    const char *process = environment_text(environment, "LISTEN_PID");
    const char *count = environment_text(environment, "LISTEN_FDS");
    uint64_t id;
    *count_out = 0;
    if (process == NULL || count == NULL) {
        return true;
    }
    if (!environment_number(process, &id) || !environment_number(count, count_out)) {
        return false;
    }
    if (id != (uint64_t)getpid()) {
        *count_out = 0; /* they are another process's */
    }
    return *count_out <= PASSED_SOCKETS_MAX;
}

/* Takes the next name off the front of the list; an empty one where there is none any more. */
static void
take_name(const char **names, char out[static NAME_SIZE])
{
    size_t size = *names == NULL ? 0 : strcspn(*names, ":");
    out[0] = '\0';
    if (size > 0 && size < NAME_SIZE) {
        memcpy(out, *names, size);
        out[size] = '\0';
    }
    if (*names != NULL) {
        *names += size;
        *names = **names == ':' ? *names + 1 : NULL;
    }
}

static bool
describe(struct passed_socket *passed, const struct refusal *refusal)
{
    union socket_address address = {0};
    socklen_t size = sizeof(address);
    if (getsockname(passed->fd, &address.any, &size) != 0 ||
        (address.any.sa_family != AF_INET && address.any.sa_family != AF_INET6)) {
        (void)snprintf(refusal->why, refusal->size,
                       "descriptor %d, which the service manager passes, is no socket of TCP",
                       passed->fd);
        return false;
    }
    socket_address_text(&address, passed->host, &passed->port);
    return true;
}

static const char *
address_text(const struct passed_socket *passed, char out[static ADDRESS_TEXT_SIZE])
{
    bool is_ipv6 = strchr(passed->host, ':') != NULL;
    (void)snprintf(out, ADDRESS_TEXT_SIZE, is_ipv6 ? "[%s]:%u" : "%s:%u", passed->host,
                   (unsigned)passed->port);
    return out;
}

/* The listener of that name; LISTENER_KIND_COUNT: none is called so. */
static enum config_listener_kind
kind_of_name(const char *name)
{
    int kind = 0;
    while (kind < LISTENER_KIND_COUNT &&
           strcmp(config_listener_name((enum config_listener_kind)kind), name) != 0) {
        kind++;
    }
    return (enum config_listener_kind)kind;
}

/* Puts the socket behind those that have taken the place of the listener's addresses already. */
static bool
adopt_by_name(struct config *config, enum config_listener_kind kind,
              const struct passed_socket *passed, const struct refusal *refusal)
{
    char text[ADDRESS_TEXT_SIZE];
    struct config_listener *listener = &config->listeners[kind];
    address_text(passed, text);
    if (!listener->enabled) {
        (void)snprintf(refusal->why, refusal->size,
                       "the service manager passes a socket \"%s\" (%s), and the configuration has "
                       "no such listener",
                       passed->name, text);
        return false;
    }
    bool is_first = listener->address_count == 0 || listener->addresses[0].passed_fd == 0;
    size_t count = is_first ? 0 : listener->address_count;
    struct config_address *addresses =
        arena_alloc(&config->arena, (count + 1) * sizeof(*addresses));
    if (count > 0) {
        memcpy(addresses, listener->addresses, count * sizeof(*addresses));
    }
    addresses[count] = (struct config_address){
        .text = arena_strdup(&config->arena, text),
        .host = arena_strdup(&config->arena, passed->host),
        .port = passed->port,
        .passed_fd = passed->fd,
        .mark = listener->mark,
    };
    listener->addresses = addresses;
    listener->address_count = count + 1;
    return true;
}

/* Whether both texts are the same numeric address, however it is written. */
static bool
is_same_host(const char *one, const char *other)
{
    uint8_t octets[2][sizeof(struct in6_addr)];
    for (size_t i = 0; i < 2; i++) {
        int family = i == 0 ? AF_INET : AF_INET6;
        if (inet_pton(family, one, octets[0]) == 1 && inet_pton(family, other, octets[1]) == 1) {
            size_t size = family == AF_INET ? sizeof(struct in_addr) : sizeof(struct in6_addr);
            return memcmp(octets[0], octets[1], size) == 0;
        }
    }
    return false;
}

static bool
adopt_by_address(struct config *config, const struct passed_socket *passed,
                 const struct refusal *refusal)
{
    for (int kind = 0; kind < LISTENER_KIND_COUNT; kind++) {
        struct config_listener *listener = &config->listeners[kind];
        for (size_t i = 0; i < listener->address_count; i++) {
            struct config_address *address = &listener->addresses[i];
            if (address->passed_fd == 0 && address->port == passed->port &&
                is_same_host(address->host, passed->host)) {
                address->passed_fd = passed->fd;
                return true;
            }
        }
    }
    char text[ADDRESS_TEXT_SIZE];
    (void)snprintf(refusal->why, refusal->size,
                   "the service manager passes a socket for %s, which is no address of a listener; "
                   "change \"bind\" or the socket unit, or call it like its listener "
                   "(FileDescriptorName=amqp)",
                   address_text(passed, text));
    return false;
}

static bool
adopt(struct config *config, struct passed_socket *passed, const struct refusal *refusal)
{
    if (!describe(passed, refusal)) {
        return false;
    }
    enum config_listener_kind kind = kind_of_name(passed->name);
    return kind != LISTENER_KIND_COUNT ? adopt_by_name(config, kind, passed, refusal)
                                       : adopt_by_address(config, passed, refusal);
}

bool
passed_sockets_adopt(struct config *config, const struct config_environment *environment,
                     int first_fd, char *why, size_t why_size)
{
    struct refusal refusal = {.why = why, .size = why_size};
    uint64_t count;
    if (!count_sockets(environment, &count)) {
        (void)snprintf(why, why_size, "LISTEN_PID and LISTEN_FDS are not numbers, or more than %d",
                       PASSED_SOCKETS_MAX);
        return false;
    }
    const char *names = environment_text(environment, "LISTEN_FDNAMES");
    for (uint64_t i = 0; i < count; i++) {
        struct passed_socket passed = {.fd = first_fd + (int)i};
        take_name(&names, passed.name);
        if (!adopt(config, &passed, &refusal)) {
            return false;
        }
    }
    return true;
}

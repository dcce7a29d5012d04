/* SPDX-License-Identifier: Apache-2.0 */
/* The local control socket: who is at its other end is known by the system, not by a password. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/alloc.h"
#include "management/http/server.h"

/* A socket that nobody listens at any more, such as a killed broker left behind, makes room. */
static void
remove_dead_socket(const struct sockaddr_un *address)
{
    struct stat found;
    if (lstat(address->sun_path, &found) != 0 || !S_ISSOCK(found.st_mode)) {
        return;
    }
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd >= 0 && connect(fd, (const struct sockaddr *)address, sizeof(*address)) != 0 &&
        errno == ECONNREFUSED) {
        (void)unlink(address->sun_path);
    }
    if (fd >= 0) {
        close(fd);
    }
}

/* Nobody may connect before the mode is right: the process has umask 077. */
static bool
listen_at(int fd, const struct sockaddr_un *address)
{
    enum { MODE = 0660, BACKLOG = 64 };
    return bind(fd, (const struct sockaddr *)address, sizeof(*address)) == 0 &&
           chmod(address->sun_path, MODE) == 0 && listen(fd, BACKLOG) == 0;
}

int
control_socket_open(const char *path, char *why, size_t why_size)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof(address.sun_path)) {
        (void)snprintf(why, why_size, "the path has more than %zu octets",
                       sizeof(address.sun_path) - 1);
        return -1;
    }
    memcpy(address.sun_path, path, strlen(path) + 1);
    remove_dead_socket(&address);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0 || !listen_at(fd, &address)) {
        (void)snprintf(why, why_size, "%s", strerrordesc_np(errno));
        if (fd >= 0) {
            close(fd);
        }
        return -1;
    }
    return fd;
}

/* Whether the other end is in the group, beside its first one. */
static bool
has_group(int fd, gid_t group)
{
    enum { GROUPS_MAX = 1024 };
    gid_t *groups = xalloc(GROUPS_MAX * sizeof(*groups));
    socklen_t size = GROUPS_MAX * sizeof(*groups);
    bool is_member = false;
    if (getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, groups, &size) == 0) {
        for (size_t i = 0; i < size / sizeof(*groups); i++) {
            is_member |= groups[i] == group;
        }
    }
    free(groups);
    return is_member;
}

bool
control_socket_is_house(int fd, gid_t group)
{
    struct ucred peer;
    socklen_t size = sizeof(peer);
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0) {
        return false;
    }
    bool is_in_group = group != (gid_t)-1 && (peer.gid == group || has_group(fd, group));
    return peer.uid == 0 || peer.uid == geteuid() || is_in_group;
}

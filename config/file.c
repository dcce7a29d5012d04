/* SPDX-License-Identifier: Apache-2.0 */
/* Reading small files whole. */
#include "config/file.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PATIENCE_MS = 5000 };

/* A pipe whose writer is still at work, such as <(envsubst < shop.yaml), is waited for. False: it
 * has said nothing for long; errno says so. */
static bool
waits_for(int fd)
{
    struct pollfd wanted = {.fd = fd, .events = POLLIN};
    int ready;
    do {
        ready = poll(&wanted, 1, PATIENCE_MS);
    } while (ready < 0 && errno == EINTR);
    errno = ready == 0 ? ETIMEDOUT : errno;
    return ready > 0;
}

/* Reads until the end or until `capacity` is exceeded by one octet. */
static enum status
read_all(int fd, uint8_t *out, size_t capacity, size_t *size_out)
{
    size_t size = 0;
    for (;;) {
        uint8_t beyond = 0;
        bool is_full = size == capacity;
        ssize_t got = read(fd, is_full ? &beyond : out + size, is_full ? 1 : capacity - size);
        if (got == 0) {
            *size_out = size;
            return STATUS_OK;
        }
        if (got > 0 && is_full) {
            return STATUS_FULL;
        }
        if (got < 0 && errno != EINTR && (errno != EAGAIN || !waits_for(fd))) {
            return STATUS_IO;
        }
        size += got > 0 ? (size_t)got : 0;
    }
}

enum status
file_read_input(uint8_t *out, size_t capacity, size_t *size_out)
{
    return read_all(STDIN_FILENO, out, capacity, size_out);
}

enum status
file_read(const char *path, uint8_t *out, size_t capacity, size_t *size_out, mode_t *mode_out)
{
    struct stat about;
    /* Without waiting: a named pipe that nobody writes to must not hold up a start or a reload. */
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    if (fd < 0) {
        return STATUS_IO;
    }
    enum status status = fstat(fd, &about) == 0 ? STATUS_OK : STATUS_IO;
    if (status == STATUS_OK && mode_out != NULL) {
        *mode_out = about.st_mode;
    }
    if (status == STATUS_OK) {
        status = read_all(fd, out, capacity, size_out);
    }
    int cause = errno;
    close(fd);
    errno = cause;
    return status;
}

bool
file_is_readable(const char *path)
{
    struct stat about;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    if (fd < 0) {
        return false;
    }
    bool is_folder = fstat(fd, &about) == 0 && S_ISDIR(about.st_mode);
    close(fd);
    errno = is_folder ? EISDIR : 0;
    return !is_folder;
}

const char *
file_resolve(struct arena *arena, const char *from, const char *path)
{
    const char *slash = strrchr(from, '/');
    if (path[0] == '/' || slash == NULL) {
        return arena_strdup(arena, path);
    }
    size_t folder = (size_t)(slash - from) + 1;
    size_t size = strlen(path);
    char *joined = arena_alloc(arena, folder + size + 1);
    memcpy(joined, from, folder);
    memcpy(joined + folder, path, size + 1);
    return joined;
}

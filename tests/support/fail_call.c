/* SPDX-License-Identifier: Apache-2.0 */
/* Preloaded into a broker, makes one system call about its data directory fail: the n-th of a kind.
 * Or all of a kind hang, from a moment on.
 *
 *     FAIL_CALL_DIRECTORY  absolute path; calls about anything else are left alone
 *     FAIL_CALL_KIND       write, flush, open, rename, unlink or truncate; or thread: starting one,
 *                          whatever the directory
 *     FAIL_CALL_AT         n, counted from 1 over all threads; 0 lets all pass
 *     FAIL_CALL_HOW        the name of an errno (EIO, ENOSPC, EINTR), or "short": half is written;
 *                          or "hang": what is called does not return
 *     FAIL_CALL_WHEN       to hang: a file; calls hang that are made while it is there
 *     FAIL_CALL_REPORT     a file to which a line is appended when the call has failed, or hangs
 *
 * A call that fails by errno changes nothing: the system is not asked. Only one call fails; whoever
 * tries again succeeds, which is what a disk does that has thrown the data away. */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

enum { PATH_BYTES_MAX = 2 * PATH_MAX, PARTS_MAX = 1024 };

enum verdict {
    PASS,
    FAIL,  /* errno is set */
    SHORT, /* write half of it */
};

static atomic_long calls;

/* What the C library, or a sanitizer before it, does under `name`. */
#define REAL(name) ((__typeof__(&(name)))dlsym(RTLD_NEXT, #name))

static const char *
setting(const char *name)
{
    const char *value = getenv(name);
    return value != NULL ? value : "";
}

/* Hanging ------------------------------------------------------------------------------------ */

/* As in a system call that does not come back: only the end of the process ends it. */
static _Noreturn void
hang(void)
{
    for (;;) {
        (void)pause();
    }
}

/* Deciding ----------------------------------------------------------------------------------- */

static int
error_of(const char *name)
{
    static const struct {
        const char *name;
        int number;
    } errors[] = {
        {"EIO", EIO}, {"ENOSPC", ENOSPC}, {"EINTR", EINTR}, {"EMFILE", EMFILE}, {"EAGAIN", EAGAIN}};
    for (size_t i = 0; i < sizeof(errors) / sizeof(errors[0]); i++) {
        if (strcmp(name, errors[i].name) == 0) {
            return errors[i].number;
        }
    }
    fprintf(stderr, "fail_call: no such error: %s\n", name);
    abort();
}

static bool
is_inside(const char *path)
{
    const char *directory = setting("FAIL_CALL_DIRECTORY");
    size_t length = strlen(directory);
    return length > 0 && strncmp(path, directory, length) == 0 &&
           (path[length] == '/' || path[length] == '\0');
}

static void
path_of(int descriptor, char *path, size_t size)
{
    char link[64];
    (void)snprintf(link, sizeof(link), "/proc/self/fd/%d", descriptor);
    ssize_t length = readlink(link, path, size - 1);
    path[length > 0 ? length : 0] = '\0';
}

static void
path_at(int directory, const char *name, char *path, size_t size)
{
    path[0] = '\0';
    if (name[0] == '/') {
        (void)snprintf(path, size, "%s", name);
        return;
    }
    char base[PATH_MAX] = "";
    if (directory == AT_FDCWD) {
        (void)!getcwd(base, sizeof(base));
    } else {
        path_of(directory, base, sizeof(base));
    }
    (void)snprintf(path, size, "%s/%s", base, name);
}

static void
report(const char *kind, long number, const char *path)
{
    char line[PATH_BYTES_MAX + 128];
    int length = snprintf(line, sizeof(line), "%s %ld %s %s\n", kind, number,
                          setting("FAIL_CALL_HOW"), path);
    int file = (int)syscall(SYS_openat, AT_FDCWD, setting("FAIL_CALL_REPORT"),
                            O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (file >= 0) {
        (void)!syscall(SYS_write, file, line, (size_t)length);
        (void)syscall(SYS_close, file);
    }
}

/* Of a call that may be meant: whether it is the one. */
static enum verdict
judge(const char *kind, const char *path)
{
    if (strcmp(kind, setting("FAIL_CALL_KIND")) != 0) {
        return PASS;
    }
    const char *how = setting("FAIL_CALL_HOW");
    long number = atomic_fetch_add(&calls, 1) + 1;
    bool hangs = strcmp(how, "hang") == 0;
    bool is_due = hangs ? access(setting("FAIL_CALL_WHEN"), F_OK) == 0
                        : number == strtol(setting("FAIL_CALL_AT"), NULL, 10);
    if (!is_due) {
        return PASS;
    }
    report(kind, number, path);
    if (hangs) {
        hang();
    }
    if (strcmp(how, "short") == 0) {
        return SHORT;
    }
    errno = error_of(how);
    return FAIL;
}

static enum verdict
judge_descriptor(const char *kind, int descriptor)
{
    int saved = errno;
    char path[PATH_MAX];
    path_of(descriptor, path, sizeof(path));
    enum verdict verdict = is_inside(path) ? judge(kind, path) : PASS;
    if (verdict != FAIL) {
        errno = saved;
    }
    return verdict;
}

static enum verdict
judge_name(const char *kind, int directory, const char *name)
{
    int saved = errno;
    char path[PATH_BYTES_MAX];
    path_at(directory, name, path, sizeof(path));
    enum verdict verdict = is_inside(path) ? judge(kind, path) : PASS;
    if (verdict != FAIL) {
        errno = saved;
    }
    return verdict;
}

/* Writing ------------------------------------------------------------------------------------ */

/* At least one octet: none would be the end of a file. */
static size_t
half(size_t size)
{
    return size > 1 ? size / 2 : size;
}

/* Copies the parts that hold the first half of all octets; returns how many parts. */
static int
halve(const struct iovec *parts, int count, struct iovec *out)
{
    size_t all = 0;
    for (int i = 0; i < count; i++) {
        all += parts[i].iov_len;
    }
    size_t left = half(all);
    int used = 0;
    while (used < count && used < PARTS_MAX && left > 0) {
        out[used] = parts[used];
        if (out[used].iov_len > left) {
            out[used].iov_len = left;
        }
        left -= out[used].iov_len;
        used++;
    }
    return used;
}

/* False: the call fails, errno is set. Else it may go on with what is left of `*size`. */
static bool
may_write(int descriptor, size_t *size)
{
    enum verdict verdict = judge_descriptor("write", descriptor);
    if (verdict == SHORT) {
        *size = half(*size);
    }
    return verdict != FAIL;
}

/* The same for parts; `some` is room for fewer or shorter ones. */
static bool
may_write_parts(int descriptor, const struct iovec **parts, int *count, struct iovec *some)
{
    enum verdict verdict = judge_descriptor("write", descriptor);
    if (verdict == SHORT) {
        *count = halve(*parts, *count, some);
        *parts = some;
    }
    return verdict != FAIL;
}

ssize_t
write(int descriptor, const void *data, size_t size)
{
    return may_write(descriptor, &size) ? REAL(write)(descriptor, data, size) : -1;
}

ssize_t
pwrite(int descriptor, const void *data, size_t size, off_t offset)
{
    return may_write(descriptor, &size) ? REAL(pwrite)(descriptor, data, size, offset) : -1;
}

ssize_t
pwrite64(int descriptor, const void *data, size_t size, off64_t offset)
{
    return may_write(descriptor, &size) ? REAL(pwrite64)(descriptor, data, size, offset) : -1;
}

ssize_t
writev(int descriptor, const struct iovec *parts, int count)
{
    struct iovec some[PARTS_MAX];
    bool passes = may_write_parts(descriptor, &parts, &count, some);
    return passes ? REAL(writev)(descriptor, parts, count) : -1;
}

ssize_t
pwritev(int descriptor, const struct iovec *parts, int count, off_t offset)
{
    struct iovec some[PARTS_MAX];
    bool passes = may_write_parts(descriptor, &parts, &count, some);
    return passes ? REAL(pwritev)(descriptor, parts, count, offset) : -1;
}

ssize_t
pwritev64(int descriptor, const struct iovec *parts, int count, off64_t offset)
{
    struct iovec some[PARTS_MAX];
    bool passes = may_write_parts(descriptor, &parts, &count, some);
    return passes ? REAL(pwritev64)(descriptor, parts, count, offset) : -1;
}

ssize_t
pwritev2(int descriptor, const struct iovec *parts, int count, off_t offset, int flags)
{
    struct iovec some[PARTS_MAX];
    bool passes = may_write_parts(descriptor, &parts, &count, some);
    return passes ? REAL(pwritev2)(descriptor, parts, count, offset, flags) : -1;
}

ssize_t
pwritev64v2(int descriptor, const struct iovec *parts, int count, off64_t offset, int flags)
{
    struct iovec some[PARTS_MAX];
    bool passes = may_write_parts(descriptor, &parts, &count, some);
    return passes ? REAL(pwritev64v2)(descriptor, parts, count, offset, flags) : -1;
}

/* Flushing and names ------------------------------------------------------------------------- */

int
fdatasync(int descriptor)
{
    return judge_descriptor("flush", descriptor) == PASS ? REAL(fdatasync)(descriptor) : -1;
}

int
fsync(int descriptor)
{
    return judge_descriptor("flush", descriptor) == PASS ? REAL(fsync)(descriptor) : -1;
}

int
ftruncate(int descriptor, off_t size)
{
    bool passes = judge_descriptor("truncate", descriptor) == PASS;
    return passes ? REAL(ftruncate)(descriptor, size) : -1;
}

int
ftruncate64(int descriptor, off64_t size)
{
    bool passes = judge_descriptor("truncate", descriptor) == PASS;
    return passes ? REAL(ftruncate64)(descriptor, size) : -1;
}

int
unlinkat(int directory, const char *name, int flags)
{
    bool passes = judge_name("unlink", directory, name) == PASS;
    return passes ? REAL(unlinkat)(directory, name, flags) : -1;
}

int
renameat(int from_directory, const char *from, int to_directory, const char *to)
{
    bool passes = judge_name("rename", from_directory, from) == PASS;
    return passes ? REAL(renameat)(from_directory, from, to_directory, to) : -1;
}

int
rename(const char *from, const char *to)
{
    return judge_name("rename", AT_FDCWD, from) == PASS ? REAL(rename)(from, to) : -1;
}

static mode_t
mode_of(int flags, va_list arguments)
{
    return (flags & (O_CREAT | O_TMPFILE)) != 0 ? va_arg(arguments, mode_t) : 0;
}

int
openat(int directory, const char *name, int flags, ...)
{
    va_list arguments;
    va_start(arguments, flags);
    mode_t mode = mode_of(flags, arguments);
    va_end(arguments);
    bool passes = judge_name("open", directory, name) == PASS;
    return passes ? REAL(openat)(directory, name, flags, mode) : -1;
}

int
openat64(int directory, const char *name, int flags, ...)
{
    va_list arguments;
    va_start(arguments, flags);
    mode_t mode = mode_of(flags, arguments);
    va_end(arguments);
    bool passes = judge_name("open", directory, name) == PASS;
    return passes ? REAL(openat64)(directory, name, flags, mode) : -1;
}

int
open(const char *name, int flags, ...)
{
    va_list arguments;
    va_start(arguments, flags);
    mode_t mode = mode_of(flags, arguments);
    va_end(arguments);
    return openat(AT_FDCWD, name, flags, mode);
}

int
open64(const char *name, int flags, ...)
{
    va_list arguments;
    va_start(arguments, flags);
    mode_t mode = mode_of(flags, arguments);
    va_end(arguments);
    return openat64(AT_FDCWD, name, flags, mode);
}

/* What _FORTIFY_SOURCE makes of an open without a mode. */
int __open_2(const char *name, int flags);
int __open64_2(const char *name, int flags);
int __openat_2(int directory, const char *name, int flags);
int __openat64_2(int directory, const char *name, int flags);

int
__open_2(const char *name, int flags)
{
    return open(name, flags, 0);
}

int
__open64_2(const char *name, int flags)
{
    return open64(name, flags, 0);
}

int
__openat_2(int directory, const char *name, int flags)
{
    return openat(directory, name, flags, 0);
}

int
__openat64_2(int directory, const char *name, int flags)
{
    return openat64(directory, name, flags, 0);
}

/* Threads ------------------------------------------------------------------------------------ */

int
pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*run)(void *),
               void *context)
{
    bool passes = judge("thread", "") == PASS;
    return passes ? REAL(pthread_create)(thread, attributes, run, context) : errno;
}

/* SPDX-License-Identifier: Apache-2.0 */

/* /proc/PID/stat is one line: "PID (COMMAND) STATE ...", and COMMAND may hold anything, so fields
 * are counted from the last ')'. */

#include "bench/loadgen_proc.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "bench/loadgen_die.h"

/* Reads the start of /proc/PID/`name` into `text_out` as a C string. */
static void
proc_read(pid_t pid, const char *name, char *text_out, size_t capacity)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/%s", (int)pid, name);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t length = fd < 0 ? -1 : read(fd, text_out, capacity - 1);
    if (length < 0) {
        die("the broker's process %d is not there (any more)", (int)pid);
    }
    text_out[length] = '\0';
    close(fd);
}

/* All CPU time of a process, to the nanosecond; -1 where the system does not tell. */
static double
proc_cpu_seconds(pid_t pid)
{
    clockid_t clock;
    struct timespec now;
    if (clock_getcpuclockid(pid, &clock) != 0 || clock_gettime(clock, &now) != 0) {
        return -1;
    }
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

struct proc_cpu
proc_cpu_of(pid_t pid)
{
    char text[1024];
    proc_read(pid, "stat", text, sizeof text);
    uint64_t user_ticks;
    uint64_t system_ticks;
    const char *fields = strrchr(text, ')');
    if (fields == NULL ||
        sscanf(fields, ") %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %" SCNu64 " %" SCNu64,
               &user_ticks, &system_ticks) != 2) {
        die("/proc/%d/stat does not read as expected", (int)pid);
    }
    double ticks = (double)(user_ticks + system_ticks);
    double seconds = proc_cpu_seconds(pid);
    if (seconds < 0 || ticks == 0) {
        seconds = ticks / (double)sysconf(_SC_CLK_TCK);
    }
    double user_s = ticks > 0 ? seconds * (double)user_ticks / ticks : 0;
    return (struct proc_cpu){.user_s = user_s, .system_s = seconds - user_s};
}

uint64_t
proc_rss_bytes(pid_t pid)
{
    char text[8192];
    proc_read(pid, "status", text, sizeof text);
    const char *line = strstr(text, "\nVmRSS:");
    uint64_t kib;
    if (line == NULL || sscanf(line, "\nVmRSS: %" SCNu64 " kB", &kib) != 1) {
        die("/proc/%d/status has no VmRSS: has the broker ended?", (int)pid);
    }
    return kib * 1024;
}

struct proc_cpu
proc_cpu_of_self(void)
{
    struct rusage usage;
    if (getrusage(RUSAGE_SELF, &usage) != 0) {
        die_errno("getrusage");
    }
    return (struct proc_cpu){
        .user_s = (double)usage.ru_utime.tv_sec + (double)usage.ru_utime.tv_usec / 1e6,
        .system_s = (double)usage.ru_stime.tv_sec + (double)usage.ru_stime.tv_usec / 1e6,
    };
}

struct proc_cpu
proc_cpu_since(struct proc_cpu before, struct proc_cpu now)
{
    return (struct proc_cpu){.user_s = now.user_s - before.user_s,
                             .system_s = now.system_s - before.system_s};
}

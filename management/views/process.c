/* SPDX-License-Identifier: Apache-2.0 */
#include "management/views/process.h"

#include <dirent.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/resource.h>
#include <unistd.h>

static uint64_t
read_resident_pages(void)
{
    FILE *file = fopen("/proc/self/statm", "re");
    uint64_t size = 0;
    uint64_t resident = 0;
    if (file == NULL) {
        return 0;
    }
    if (fscanf(file, "%" SCNu64 " %" SCNu64, &size, &resident) != 2) {
        resident = 0;
    }
    (void)fclose(file);
    return resident;
}

/* The directory's own descriptor is not counted. */
static uint64_t
count_fds(void)
{
    DIR *directory = opendir("/proc/self/fd");
    uint64_t count = 0;
    if (directory == NULL) {
        return 0;
    }
    for (const struct dirent *entry; (entry = readdir(directory)) != NULL;) {
        count += entry->d_name[0] != '.' ? 1 : 0;
    }
    (void)closedir(directory);
    return count > 0 ? count - 1 : 0;
}

static uint64_t
microseconds(struct timeval time)
{
    return (uint64_t)time.tv_sec * 1000000 + (uint64_t)time.tv_usec;
}

void
process_read(struct process_figures *figures_out)
{
    struct rlimit limit = {0};
    struct rusage usage = {0};
    (void)getrlimit(RLIMIT_NOFILE, &limit);
    (void)getrusage(RUSAGE_SELF, &usage);
    *figures_out = (struct process_figures){
        .resident_bytes = read_resident_pages() * (uint64_t)sysconf(_SC_PAGESIZE),
        .open_fds = count_fds(),
        .max_fds = limit.rlim_cur,
        .cpu_us = microseconds(usage.ru_utime) + microseconds(usage.ru_stime),
    };
}

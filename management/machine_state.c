/* SPDX-License-Identifier: Apache-2.0 */
#include "management/machine_state.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/statvfs.h>
#include <unistd.h>

/* Entries of a directory of the system; each thread, or descriptor, is one. */
static uint64_t
count_entries(const char *path)
{
    DIR *directory = opendir(path);
    uint64_t count = 0;
    if (directory == NULL) {
        return 0;
    }
    const struct dirent *entry;
    while ((entry = readdir(directory)) != NULL) {
        count += entry->d_name[0] == '.' ? 0 : 1;
    }
    (void)closedir(directory);
    return count;
}

/* The second number of statm is pages in memory. */
static uint64_t
resident_bytes(void)
{
    enum { TEXT_SIZE = 128, DECIMAL = 10 };
    char text[TEXT_SIZE];
    FILE *file = fopen("/proc/self/statm", "re");
    if (file == NULL) {
        return 0;
    }
    char *rest = fgets(text, sizeof(text), file);
    (void)fclose(file);
    if (rest == NULL) {
        return 0;
    }
    (void)strtoull(text, &rest, DECIMAL);
    return strtoull(rest, NULL, DECIMAL) * (uint64_t)sysconf(_SC_PAGESIZE);
}

struct machine_state
machine_state_read(const char *directory)
{
    struct machine_state state = {
        .resident_bytes = resident_bytes(),
        .descriptors = count_entries("/proc/self/fd"),
        .threads = count_entries("/proc/self/task"),
    };
    struct rlimit limit;
    struct statvfs disk;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        state.descriptors_max = limit.rlim_cur;
    }
    if (directory != NULL && statvfs(directory, &disk) == 0) {
        state.disk_free_bytes = (uint64_t)disk.f_bavail * disk.f_frsize;
        state.disk_total_bytes = (uint64_t)disk.f_blocks * disk.f_frsize;
    }
    return state;
}

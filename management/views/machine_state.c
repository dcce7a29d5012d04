/* SPDX-License-Identifier: Apache-2.0 */
#include "management/views/machine_state.h"

#include <dirent.h>
#include <stddef.h>
#include <sys/statvfs.h>

/* Each is an entry of a directory. */
static uint64_t
count_threads(void)
{
    DIR *directory = opendir("/proc/self/task");
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

struct machine_state
machine_state_read(const char *directory)
{
    struct machine_state state = {.threads = count_threads()};
    struct statvfs disk;
    process_read(&state.process);
    if (directory != NULL && statvfs(directory, &disk) == 0) {
        state.disk_free_bytes = (uint64_t)disk.f_bavail * disk.f_frsize;
        state.disk_total_bytes = (uint64_t)disk.f_blocks * disk.f_frsize;
    }
    return state;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/machine.h"

#include <inttypes.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static uint64_t
machine_ram_bytes(void)
{
    long pages = sysconf(_SC_PHYS_PAGES);
    long page_size = sysconf(_SC_PAGESIZE);
    return pages > 0 && page_size > 0 ? (uint64_t)pages * (uint64_t)page_size : UINT64_MAX;
}

/* UINT64_MAX when the file is not there or says "max". */
static uint64_t
machine_read_limit(const char *path)
{
    FILE *file = fopen(path, "re");
    if (file == NULL) {
        return UINT64_MAX;
    }
    uint64_t limit;
    if (fscanf(file, "%" SCNu64, &limit) != 1) {
        limit = UINT64_MAX;
    }
    (void)fclose(file);
    return limit;
}

/* The cgroup's share of time in processors, rounded up; UINT32_MAX when there is no limit. */
static uint32_t
machine_processor_quota(void)
{
    FILE *file = fopen("/sys/fs/cgroup/cpu.max", "re");
    if (file == NULL) {
        return UINT32_MAX;
    }
    uint64_t quota_us;
    uint64_t period_us;
    bool is_limited = fscanf(file, "%" SCNu64 " %" SCNu64, &quota_us, &period_us) == 2;
    (void)fclose(file);
    return is_limited && period_us > 0 ? (uint32_t)((quota_us + period_us - 1) / period_us)
                                       : UINT32_MAX;
}

uint32_t
machine_processors(void)
{
    cpu_set_t processors;
    int count = sched_getaffinity(0, sizeof(processors), &processors) == 0
                    ? CPU_COUNT(&processors)
                    : (int)sysconf(_SC_NPROCESSORS_ONLN);
    uint32_t quota = machine_processor_quota();
    uint32_t usable = count > 0 ? (uint32_t)count : 1;
    usable = quota < usable ? quota : usable;
    return usable > 0 ? usable : 1;
}

uint64_t
machine_memory_bytes(void)
{
    static const char *const limit_paths[] = {
        "/sys/fs/cgroup/memory.max",                   /* cgroup v2 */
        "/sys/fs/cgroup/memory/memory.limit_in_bytes", /* v1 */
    };
    uint64_t memory = machine_ram_bytes();
    for (size_t i = 0; i < sizeof(limit_paths) / sizeof(limit_paths[0]); i++) {
        uint64_t limit = machine_read_limit(limit_paths[i]);
        memory = limit < memory ? limit : memory;
    }
    return memory;
}

const char *
machine_node_name(char out[static MACHINE_NODE_NAME_SIZE])
{
    char host[MACHINE_NODE_NAME_SIZE] = "";
    if (gethostname(host, sizeof(host) - 1) != 0 || host[0] == '\0') {
        memcpy(host, "localhost", sizeof("localhost"));
    }
    (void)snprintf(out, MACHINE_NODE_NAME_SIZE, "bourse@%.*s",
                   (int)(MACHINE_NODE_NAME_SIZE - sizeof("bourse@")), host);
    return out;
}

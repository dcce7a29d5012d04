/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/machine.h"

#include "base/cgroup.h"

#include <sched.h>
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

static struct cgroup_limits
machine_cgroup_limits(void)
{
    return cgroup_limits_read("/proc/self/cgroup", "/sys/fs/cgroup");
}

uint32_t
machine_processors(void)
{
    cpu_set_t processors;
    int count = sched_getaffinity(0, sizeof(processors), &processors) == 0
                    ? CPU_COUNT(&processors)
                    : (int)sysconf(_SC_NPROCESSORS_ONLN);
    uint32_t quota = machine_cgroup_limits().processors;
    uint32_t usable = count > 0 ? (uint32_t)count : 1;
    usable = quota < usable ? quota : usable;
    return usable > 0 ? usable : 1;
}

uint64_t
machine_memory_bytes(void)
{
    uint64_t limit = machine_cgroup_limits().memory_bytes;
    uint64_t memory = machine_ram_bytes();
    return limit < memory ? limit : memory;
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

/* SPDX-License-Identifier: Apache-2.0 */
/* What the control groups of this process allow it: asked once, at start. */
#ifndef BOURSE_BASE_CGROUP_H
#define BOURSE_BASE_CGROUP_H

#include <stdint.h>

struct cgroup_limits {
    uint64_t memory_bytes; /* UINT64_MAX: no limit */
    uint32_t processors;   /* a share of time, rounded up; UINT32_MAX: no limit */
};

/* The lowest limits from the process's own groups up to the root: a service has a group below those
 * of its slice and of its container, and each of them counts. `membership` is the path of
 * /proc/self/cgroup, `root` that of /sys/fs/cgroup; both versions of cgroups are understood, of
 * version 1 only the memory. What cannot be read is no limit. */
struct cgroup_limits cgroup_limits_read(const char *membership, const char *root);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
#include "base/cgroup.h"

#include "base/assert.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static char root[64];

static void
make_root(void)
{
    (void)snprintf(root, sizeof(root), "/tmp/bourse-cgroup-XXXXXX");
    cr_assert(ne(ptr, mkdtemp(root), NULL));
}

static void
remove_root(void)
{
    char command[128];
    (void)snprintf(command, sizeof(command), "rm -r '%s'", root);
    cr_expect(zero(int, system(command))); /* NOLINT(cert-env33-c): a path of our own */
}

TestSuite(cgroup, .init = make_root, .fini = remove_root);

/* Makes "a/b/file" under the root. */
static void
write_file(const char *name, const char *text)
{
    char path[256];
    (void)snprintf(path, sizeof(path), "%s/%s", root, name);
    for (char *at = path + strlen(root) + 1; (at = strchr(at, '/')) != NULL; at++) {
        *at = '\0';
        (void)mkdir(path, 0700);
        *at = '/';
    }
    FILE *file = fopen(path, "w");
    cr_assert(ne(ptr, file, NULL), "%s", path);
    (void)fputs(text, file);
    (void)fclose(file);
}

static struct cgroup_limits
limits_of(const char *membership)
{
    char path[128];
    write_file("membership", membership);
    (void)snprintf(path, sizeof(path), "%s/membership", root);
    return cgroup_limits_read(path, root);
}

/* As systemd sets them with MemoryMax= and CPUQuota=. */
Test(cgroup, the_limits_of_a_service_count)
{
    write_file("system.slice/bourse.service/memory.max", "536870912\n");
    write_file("system.slice/bourse.service/cpu.max", "150000 100000\n");
    write_file("system.slice/memory.max", "max\n");
    write_file("system.slice/cpu.max", "max 100000\n");
    struct cgroup_limits limits = limits_of("0::/system.slice/bourse.service\n");
    cr_expect(eq(u64, limits.memory_bytes, 536870912));
    cr_expect(eq(u32, limits.processors, 2));
}

Test(cgroup, the_lowest_limit_on_the_way_up_counts)
{
    write_file("system.slice/bourse.service/memory.max", "536870912\n");
    write_file("system.slice/memory.max", "268435456\n");
    write_file("system.slice/cpu.max", "300000 100000\n");
    write_file("cpu.max", "100000 100000\n");
    struct cgroup_limits limits = limits_of("0::/system.slice/bourse.service\n");
    cr_expect(eq(u64, limits.memory_bytes, 268435456));
    cr_expect(eq(u32, limits.processors, 1));
}

/* A container sees its own group as the root. */
Test(cgroup, the_root_of_a_container_counts)
{
    static const char *const memberships[] = {"0::/\n", "0::/docker/4711\n", "0::/../other\n"};
    write_file("memory.max", "1073741824\n");
    for (size_t i = 0; i < ARRAY_LEN(memberships); i++) {
        struct cgroup_limits limits = limits_of(memberships[i]);
        cr_expect(eq(u64, limits.memory_bytes, 1073741824), "%s", memberships[i]);
    }
}

Test(cgroup, version_1_has_its_memory_apart)
{
    write_file("memory/shop/memory.limit_in_bytes", "2147483648\n");
    write_file("memory/memory.limit_in_bytes", "9223372036854771712\n");
    struct cgroup_limits limits =
        limits_of("9:name=systemd:/\n4:hugetlb,memory:/shop\n1:cpu:/\n0::/\n");
    cr_expect(eq(u64, limits.memory_bytes, 2147483648));
    cr_expect(eq(u32, limits.processors, UINT32_MAX));
}

Test(cgroup, what_cannot_be_read_is_no_limit)
{
    static const char *const memberships[] = {"", "nonsense\n", "0:\n", "0::\n", "0::/a\n"};
    write_file("a/memory.max", "much\n");
    write_file("a/cpu.max", "100000 0\n");
    for (size_t i = 0; i < ARRAY_LEN(memberships); i++) {
        struct cgroup_limits limits = limits_of(memberships[i]);
        cr_expect(eq(u64, limits.memory_bytes, UINT64_MAX), "%s", memberships[i]);
        cr_expect(eq(u32, limits.processors, UINT32_MAX), "%s", memberships[i]);
    }
    struct cgroup_limits limits = cgroup_limits_read("/nowhere/cgroup", root);
    cr_expect(eq(u64, limits.memory_bytes, UINT64_MAX));
}

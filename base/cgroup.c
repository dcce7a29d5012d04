/* SPDX-License-Identifier: Apache-2.0 */
#include "base/cgroup.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

enum { CGROUP_PATH_SIZE = 4096 };

/* How many numbers a file begins with, at most two; 0 when it is not there or says "max". */
static int
read_numbers(const char *directory, const char *name, uint64_t numbers[static 2])
{
    char path[CGROUP_PATH_SIZE + 64];
    (void)snprintf(path, sizeof(path), "%s/%s", directory, name);
    FILE *file = fopen(path, "re");
    if (file == NULL) {
        return 0;
    }
    int count = fscanf(file, "%" SCNu64 " %" SCNu64, &numbers[0], &numbers[1]);
    (void)fclose(file);
    return count > 0 ? count : 0;
}

static void
take_memory(struct cgroup_limits *limits, const char *directory, const char *name)
{
    uint64_t numbers[2];
    if (read_numbers(directory, name, numbers) >= 1 && numbers[0] < limits->memory_bytes) {
        limits->memory_bytes = numbers[0];
    }
}

static void
take_version_1(struct cgroup_limits *limits, const char *directory)
{
    take_memory(limits, directory, "memory.limit_in_bytes");
}

static void
take_version_2(struct cgroup_limits *limits, const char *directory)
{
    take_memory(limits, directory, "memory.max");
    uint64_t time_us[2]; /* quota, period */
    if (read_numbers(directory, "cpu.max", time_us) == 2 && time_us[1] > 0) {
        uint64_t processors = time_us[0] / time_us[1] + (time_us[0] % time_us[1] > 0);
        limits->processors =
            processors < limits->processors ? (uint32_t)processors : limits->processors;
    }
}

/* Whether the list "cpu,memory" has `name`. */
static bool
has_controller(const char *list, const char *name)
{
    size_t size = strlen(name);
    for (const char *at = list; at != NULL; at = strchr(at, ',')) {
        at += *at == ',';
        if (strncmp(at, name, size) == 0 && (at[size] == ',' || at[size] == '\0')) {
            return true;
        }
    }
    return false;
}

/* From the group `path` ("/a/b", or "/") up to `root`. Where the process sees less of the tree than
 * its path says, some of the directories are not there. */
static void
climb(struct cgroup_limits *limits, const char *root, const char *path,
      void (*take)(struct cgroup_limits *limits, const char *directory))
{
    char directory[CGROUP_PATH_SIZE];
    int size = snprintf(directory, sizeof(directory), "%s%s", root, path);
    if (size < 0 || (size_t)size >= sizeof(directory) || strstr(path, "/..") != NULL) {
        (void)snprintf(directory, sizeof(directory), "%s", root);
    }
    size_t root_size = strlen(root);
    for (;;) {
        take(limits, directory);
        char *last = strrchr(directory, '/');
        if (last == NULL || (size_t)(last - directory) < root_size) {
            return;
        }
        *last = '\0';
    }
}

/* "ID:CONTROLLERS:PATH"; version 2 has no controllers there. */
static void
take_line(struct cgroup_limits *limits, char *line, const char *root)
{
    line[strcspn(line, "\n")] = '\0';
    char *controllers = strchr(line, ':');
    char *path = controllers == NULL ? NULL : strchr(controllers + 1, ':');
    if (path == NULL) {
        return;
    }
    *controllers++ = '\0';
    *path++ = '\0';
    if (*controllers == '\0') {
        climb(limits, root, path, take_version_2);
    } else if (has_controller(controllers, "memory")) {
        char mount[CGROUP_PATH_SIZE];
        (void)snprintf(mount, sizeof(mount), "%s/memory", root);
        climb(limits, mount, path, take_version_1);
    }
}

struct cgroup_limits
cgroup_limits_read(const char *membership, const char *root)
{
    struct cgroup_limits limits = {.memory_bytes = UINT64_MAX, .processors = UINT32_MAX};
    FILE *file = fopen(membership, "re");
    if (file == NULL) {
        return limits;
    }
    char line[CGROUP_PATH_SIZE];
    while (fgets(line, sizeof(line), file) != NULL) {
        take_line(&limits, line, root);
    }
    (void)fclose(file);
    return limits;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/broker/directory_rig.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <ftw.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>

void
directory_make(char path[static DIRECTORY_PATH_SIZE], const char *name)
{
    (void)snprintf(path, DIRECTORY_PATH_SIZE, "/tmp/bourse-%s-XXXXXX", name);
    cr_assert(not(zero(ptr, mkdtemp(path))));
}

static int
remove_entry(const char *name, const struct stat *stat, int type, struct FTW *ftw)
{
    (void)stat;
    (void)type;
    (void)ftw;
    return remove(name);
}

void
directory_remove(const char *path)
{
    enum { DESCRIPTORS_MAX = 16 };
    (void)nftw(path, remove_entry, DESCRIPTORS_MAX, FTW_DEPTH | FTW_PHYS);
}

struct data_directory *
directory_rig_open(struct rig **rig_out, const char *path)
{
    struct core_settings settings = rig_settings();
    settings.memory_mark_bytes = DIRECTORY_MARK;
    settings.message_bytes_max = DIRECTORY_SEGMENT / 2;
    struct rig *rig = rig_new_empty(&settings);
    char why[512];
    struct data_directory_settings directory = {.path = path, .segment_bytes = DIRECTORY_SEGMENT};
    struct data_directory *data =
        data_directory_open(&directory, rig->core, rig->pool, &rig->log, why, sizeof(why));
    cr_assert(not(zero(ptr, data)), "%s", why);
    *rig_out = rig;
    return data;
}

void
directory_rig_close(struct rig **rig, struct data_directory **data)
{
    data_directory_close(data);
    rig_free(rig);
}

void
directory_rig_turn(struct rig *rig, struct data_directory *data)
{
    rig_turn(rig);
    data_directory_turn(data);
    struct pollfd threads = {.fd = data_directory_fd(data), .events = POLLIN};
    (void)poll(&threads, 1, 1);
    data_directory_collect(data);
    rig_step(rig, 10);
}

void
directory_rig_expect(struct rig *rig, struct data_directory *data, uint64_t link, enum method_id id)
{
    for (int i = 0; i < DIRECTORY_TURNS_MAX; i++) {
        const struct posted *posted = rig_next(rig, link);
        if (posted != NULL) {
            cr_assert(eq(int, (int)posted->method.id, (int)id));
            return;
        }
        directory_rig_turn(rig, data);
    }
    cr_assert(false, "no answer came");
}

/* SPDX-License-Identifier: Apache-2.0 */
/* A core over a real data directory in /tmp, with the threads of the store and a small memory mark:
 * for what lies in memory, in the log only and in spill files, and over restarts. The test holds
 * the rig and the directory; both end before the path is removed. */
#ifndef BOURSE_TESTS_UNIT_BROKER_DIRECTORY_RIG_H
#define BOURSE_TESTS_UNIT_BROKER_DIRECTORY_RIG_H

#include "broker/data_directory.h"
#include "tests/unit/broker/messaging.h"

enum {
    DIRECTORY_PATH_SIZE = 64,
    DIRECTORY_MARK = 8 * 1024 * 1024,
    DIRECTORY_SEGMENT = 8 * 1024 * 1024,
    DIRECTORY_TURNS_MAX = 5000, /* within which an answer comes */
};

/* A new directory /tmp/bourse-NAME-XXXXXX. */
void directory_make(char path[static DIRECTORY_PATH_SIZE], const char *name);
void directory_remove(const char *path);

/* A rig without vhosts and users of its own, and the directory that it is recovered from. */
struct data_directory *directory_rig_open(struct rig **rig_out, const char *path);
void directory_rig_close(struct rig **rig, struct data_directory **data);

/* One turn of the loop; waits a little for the threads of the store, and moves the clock on by 10
 * ms. */
void directory_rig_turn(struct rig *rig, struct data_directory *data);

/* Turns until the link is answered, by that method. */
void directory_rig_expect(struct rig *rig, struct data_directory *data, uint64_t link,
                          enum method_id id);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* What the operating system says of this process and its disk, for who looks at a node. */
#ifndef BOURSE_MANAGEMENT_VIEWS_MACHINE_STATE_H
#define BOURSE_MANAGEMENT_VIEWS_MACHINE_STATE_H

#include "management/views/process.h"

struct machine_state {
    struct process_figures process;
    uint64_t threads;
    uint64_t disk_free_bytes, disk_total_bytes; /* 0 when the directory cannot be looked at */
};

/* What cannot be found out is 0. `directory`: where the data is; NULL: nothing is written. */
struct machine_state machine_state_read(const char *directory);

#endif

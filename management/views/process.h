/* SPDX-License-Identifier: Apache-2.0 */
/* What the operating system knows of this process. */
#ifndef BOURSE_MANAGEMENT_VIEWS_PROCESS_H
#define BOURSE_MANAGEMENT_VIEWS_PROCESS_H

#include <stdint.h>

struct process_figures {
    uint64_t resident_bytes;
    uint64_t open_fds, max_fds;
    uint64_t cpu_us; /* of all threads, in user and kernel mode */
};

/* What cannot be read is 0. */
void process_read(struct process_figures *figures_out);

#endif

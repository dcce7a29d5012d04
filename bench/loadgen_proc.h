/* SPDX-License-Identifier: Apache-2.0 */

/* What the kernel knows about a process: processor time and resident memory, from /proc. The
 * broker's own word is never taken for either. */

#ifndef BENCH_LOADGEN_PROC_H
#define BENCH_LOADGEN_PROC_H

#include <stdint.h>
#include <sys/types.h>

/* Processor time since the process began, all its threads. The sum is exact; what of it was user
 * time the kernel knows from samples, every 10 ms or so. */
struct proc_cpu {
    double user_s;
    double system_s;
};

/* Asks the process's CPU clock and /proc/PID/stat. Ends the program if there is no such process. */
struct proc_cpu proc_cpu_of(pid_t pid);

/* Resident memory in bytes, from /proc/PID/status. Ends the program if there is no such process.
 */
uint64_t proc_rss_bytes(pid_t pid);

/* Processor time of the calling process. */
struct proc_cpu proc_cpu_of_self(void);

struct proc_cpu proc_cpu_since(struct proc_cpu before, struct proc_cpu now);

#endif

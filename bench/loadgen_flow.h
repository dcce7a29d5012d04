/* SPDX-License-Identifier: Apache-2.0 */

/* A run with traffic: warm up, measure, drain, check that everything came back, clean up. Or one
 * half of it on its own: a fill leaves its messages behind, a drain takes them up and checks them,
 * perhaps out of a broker that was killed in between. */

#ifndef BENCH_LOADGEN_FLOW_H
#define BENCH_LOADGEN_FLOW_H

#include <stdint.h>

#include "bench/loadgen_histogram.h"
#include "bench/loadgen_options.h"
#include "bench/loadgen_proc.h"

/* What happened between the end of the warm-up and the end of the measured time. */
struct flow_result {
    double seconds;
    uint64_t published;
    uint64_t delivered;
    uint64_t confirmed;
    struct proc_cpu broker_cpu; /* zero without a broker's process id */
    struct proc_cpu own_cpu;
    uint64_t broker_rss_bytes;        /* at the end of the measured time */
    uint64_t published_in_all;        /* warm-up included; in a drain what was there for it */
    uint64_t blocked_count;           /* connection.blocked received, in the whole run */
    double bind_seconds;              /* declaring the bindings took this long */
    struct histogram latency;         /* with a rate: intended send time to receipt */
    struct histogram confirm_latency; /* with a rate: intended send time to confirm */
    struct histogram lag;             /* with a rate: how late this program itself sent */
};

/* Runs the workload of `options`. Ends the program on loss, disorder or any refusal. */
void flow_run(const struct options *options, struct flow_result *result);

#endif

/* SPDX-License-Identifier: Apache-2.0 */

/* Runs without messages: what an idle connection costs in memory, and what it costs to open one.
 */

#ifndef BENCH_LOADGEN_CONNECTIONS_H
#define BENCH_LOADGEN_CONNECTIONS_H

#include <stdint.h>

#include "bench/loadgen_options.h"
#include "bench/loadgen_proc.h"

struct idle_result {
    uint32_t connections;
    uint64_t rss_before_bytes; /* with one connection opened and closed before, to warm up */
    uint64_t rss_opened_bytes; /* right after the last one was open */
    uint64_t rss_held_bytes;   /* after the connections have been idle for held_s */
    uint64_t rss_closed_bytes; /* after all have closed */
    double open_s;             /* what opening them took, one after the other */
    struct proc_cpu open_cpu;  /* of the broker, meanwhile */
    double held_s;
    struct proc_cpu held_cpu; /* of the broker, while nothing happened */
};

struct connect_result {
    uint64_t connections; /* opened, logged in, a channel opened, closed */
    double seconds;
    struct proc_cpu broker_cpu; /* zero without a broker's process id */
    double open_p50_ms;         /* from connect() to channel.open-ok */
    double open_p99_ms;
};

/* Opens options->idle_connections connections, holds them for options->duration_s, closes them. */
void idle_run(const struct options *options, struct idle_result *result);

/* Opens and closes connections one after the other for options->duration_s. */
void connect_run(const struct options *options, struct connect_result *result);

#endif

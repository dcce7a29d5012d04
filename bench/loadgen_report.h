/* SPDX-License-Identifier: Apache-2.0 */

/* Results for a person or, with --json, for a script: the same figures either way. */

#ifndef BENCH_LOADGEN_REPORT_H
#define BENCH_LOADGEN_REPORT_H

#include "bench/loadgen_connections.h"
#include "bench/loadgen_flow.h"
#include "bench/loadgen_options.h"

void report_flow(const struct options *options, const struct flow_result *result);
void report_idle(const struct options *options, const struct idle_result *result);
void report_connect(const struct options *options, const struct connect_result *result);

#endif

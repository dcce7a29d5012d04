/* SPDX-License-Identifier: Apache-2.0 */

/* bench/loadgen: drives an AMQP 0-9-1 broker and checks what comes back. See bench/README.md. */

#include <signal.h>
#include <stdlib.h>

#include "bench/loadgen_connections.h"
#include "bench/loadgen_die.h"
#include "bench/loadgen_flow.h"
#include "bench/loadgen_options.h"
#include "bench/loadgen_report.h"

static void
run_idle(const struct options *options)
{
    struct idle_result result;
    idle_run(options, &result);
    report_idle(options, &result);
}

static void
run_connect(const struct options *options)
{
    struct connect_result result;
    connect_run(options, &result);
    report_connect(options, &result);
}

static void
run_flow(const struct options *options)
{
    struct flow_result *result = die_calloc(1, sizeof *result);
    flow_run(options, result);
    report_flow(options, result);
    free(result);
}

int
main(int argc, char **argv)
{
    struct options options;
    options_parse(&options, argc, argv);
    signal(SIGPIPE, SIG_IGN); /* OpenSSL writes without MSG_NOSIGNAL */
    if (options.idle_connections > 0) {
        run_idle(&options);
    } else if (options.connect_rate) {
        run_connect(&options);
    } else {
        run_flow(&options);
    }
    return EXIT_SUCCESS;
}

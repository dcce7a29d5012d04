/* SPDX-License-Identifier: Apache-2.0 */

/* Connections are opened one after the other: the cost of each is what counts, not how many can
 * knock at once. */

#include "bench/loadgen_connections.h"

#include <openssl/ssl.h>
#include <stdlib.h>
#include <sys/resource.h>

#include "bench/loadgen_clock.h"
#include "bench/loadgen_die.h"
#include "bench/loadgen_histogram.h"
#include "bench/loadgen_link.h"

enum {
    IDLE_SPARE_FILES = 64,
    CONNECT_WARMUP_COUNT = 20,
};

/* One descriptor for each connection, and a few for ourselves. */
static void
idle_raise_file_limit(uint32_t connections)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0) {
        die_errno("getrlimit");
    }
    limit.rlim_cur = limit.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &limit) != 0) {
        die_errno("setrlimit");
    }
    if (limit.rlim_cur < (rlim_t)connections + IDLE_SPARE_FILES) {
        die("%u connections need more than the %llu files this process may open", connections,
            (unsigned long long)limit.rlim_cur);
    }
}

static void
idle_sleep(double seconds)
{
    struct timespec duration = {.tv_sec = (time_t)seconds,
                                .tv_nsec = (long)((seconds - (double)(time_t)seconds) * 1e9)};
    nanosleep(&duration, NULL);
}

/* Lets the broker allocate what it allocates once, so that it is not charged to a connection. */
static void
connections_warm_up(const struct options *options, SSL_CTX *tls)
{
    for (int i = 0; i < CONNECT_WARMUP_COUNT; i++) {
        struct link link;
        link_open(&link, options, tls, "warm-up");
        link_close(&link);
    }
}

static void
idle_open_all(const struct options *options, SSL_CTX *tls, struct link *links,
              struct idle_result *result)
{
    struct proc_cpu before = proc_cpu_of(options->broker_pid);
    uint64_t start_ns = clock_now_ns();
    for (uint32_t i = 0; i < options->idle_connections; i++) {
        link_open(&links[i], options, tls, "idle connection");
        link_release_input(&links[i]);
    }
    result->open_s = (double)(clock_now_ns() - start_ns) / 1e9;
    result->open_cpu = proc_cpu_since(before, proc_cpu_of(options->broker_pid));
    result->rss_opened_bytes = proc_rss_bytes(options->broker_pid);
}

static void
idle_hold(const struct options *options, struct idle_result *result)
{
    struct proc_cpu before = proc_cpu_of(options->broker_pid);
    idle_sleep(options->duration_s);
    result->held_s = options->duration_s;
    result->held_cpu = proc_cpu_since(before, proc_cpu_of(options->broker_pid));
    result->rss_held_bytes = proc_rss_bytes(options->broker_pid);
}

void
idle_run(const struct options *options, struct idle_result *result)
{
    uint32_t count = options->idle_connections;
    SSL_CTX *tls = link_tls_new(options);
    *result = (struct idle_result){.connections = count};
    idle_raise_file_limit(count);
    struct link *links = die_calloc(count, sizeof *links);

    connections_warm_up(options, tls);
    idle_sleep(options->warmup_s);
    result->rss_before_bytes = proc_rss_bytes(options->broker_pid);
    idle_open_all(options, tls, links, result);
    idle_hold(options, result);
    for (uint32_t i = 0; i < count; i++) {
        link_close(&links[i]);
    }
    idle_sleep(options->warmup_s);
    result->rss_closed_bytes = proc_rss_bytes(options->broker_pid);

    free(links);
    SSL_CTX_free(tls);
}

void
connect_run(const struct options *options, struct connect_result *result)
{
    struct histogram *latency = die_calloc(1, sizeof *latency);
    SSL_CTX *tls = link_tls_new(options);
    struct proc_cpu before = {0};
    *result = (struct connect_result){0};
    connections_warm_up(options, tls);
    if (options->broker_pid != 0) {
        before = proc_cpu_of(options->broker_pid);
    }
    uint64_t start_ns = clock_now_ns();
    uint64_t until_ns = start_ns + clock_ns_of_s(options->duration_s);
    for (uint64_t now_ns = start_ns; now_ns < until_ns; now_ns = clock_now_ns()) {
        struct link link;
        link_open(&link, options, tls, "connection");
        histogram_record(latency, clock_now_ns() - now_ns);
        link_close(&link);
        result->connections++;
    }
    result->seconds = (double)(clock_now_ns() - start_ns) / 1e9;
    if (options->broker_pid != 0) {
        result->broker_cpu = proc_cpu_since(before, proc_cpu_of(options->broker_pid));
    }
    result->open_p50_ms = (double)histogram_percentile(latency, 50) / 1e6;
    result->open_p99_ms = (double)histogram_percentile(latency, 99) / 1e6;
    SSL_CTX_free(tls);
    free(latency);
}

/* SPDX-License-Identifier: Apache-2.0 */

/* Every figure is a row with a JSON name, a value, a unit and words; printing is one loop. A figure
 * that was not measured (no broker process id, no rate) has no row. */

#include "bench/loadgen_report.h"

#include <assert.h>
#include <stdio.h>

enum { REPORT_ROWS_MAX = 40 };

struct report_row {
    const char *name; /* the JSON key */
    const char *words;
    double value;
    int decimals;
};

struct report {
    struct report_row rows[REPORT_ROWS_MAX];
    size_t count;
};

static void
report_add(struct report *report, const char *name, double value, int decimals, const char *words)
{
    assert(report->count < REPORT_ROWS_MAX);
    report->rows[report->count++] =
        (struct report_row){.name = name, .words = words, .value = value, .decimals = decimals};
}

static void
report_print(const struct report *report, const struct options *options)
{
    for (size_t i = 0; i < report->count; i++) {
        const struct report_row *row = &report->rows[i];
        if (options->json) {
            printf("%s\"%s\": %.*f", i == 0 ? "{" : ", ", row->name, row->decimals, row->value);
        } else {
            printf("%14.*f  %s\n", row->decimals, row->value, row->words);
        }
    }
    if (options->json) {
        printf("}\n");
    }
}

static double
report_ratio(double amount, double by)
{
    return by > 0 ? amount / by : 0;
}

static void
report_add_cpu(struct report *report, const struct flow_result *result)
{
    double delivered = (double)result->delivered;
    double published = (double)result->published;
    struct proc_cpu cpu = result->broker_cpu;
    double cpu_s = cpu.user_s + cpu.system_s;
    /* A message counts when it was delivered; in a run without consumers, when published. */
    double messages = delivered > 0 ? delivered : published;
    report_add(report, "delivered_per_cpu_s", report_ratio(delivered, cpu_s), 0,
               "delivered per broker CPU second");
    report_add(report, "published_per_cpu_s", report_ratio(published, cpu_s), 0,
               "published per broker CPU second");
    report_add(report, "cpu_ns_per_message", report_ratio(cpu_s * 1e9, messages), 0,
               "ns of broker CPU per message");
    report_add(report, "user_ns_per_message", report_ratio(cpu.user_s * 1e9, messages), 0,
               "ns of that in user space");
    report_add(report, "system_ns_per_message", report_ratio(cpu.system_s * 1e9, messages), 0,
               "ns of that in the kernel");
    report_add(report, "broker_cores", report_ratio(cpu_s, result->seconds), 2,
               "cores used by the broker");
    report_add(report, "broker_rss_mib", (double)result->broker_rss_bytes / 1048576, 1,
               "MiB resident in the broker at the end");
}

static double
report_us(const struct histogram *histogram, double percent)
{
    return (double)histogram_percentile(histogram, percent) / 1e3;
}

static void
report_add_latency(struct report *report, const struct options *options,
                   const struct flow_result *result)
{
    const struct histogram *latency = &result->latency;
    const struct histogram *confirm = &result->confirm_latency;
    report_add(report, "latency_p50_us", report_us(latency, 50), 0,
               "us from intended send to receipt, p50");
    report_add(report, "latency_p90_us", report_us(latency, 90), 0,
               "us from intended send to receipt, p50");
    report_add(report, "latency_p99_us", report_us(latency, 99), 0, "us, p99");
    report_add(report, "latency_p999_us", report_us(latency, 99.9), 0, "us, p99.9");
    report_add(report, "latency_max_us", (double)latency->max_ns / 1e3, 0, "us, largest");
    report_add(report, "send_lag_p50_us", report_us(&result->lag, 50), 0,
               "us the generator sent late, p50 (part of the above)");
    report_add(report, "send_lag_p99_us", report_us(&result->lag, 99), 0, "us, p99");
    if (options->confirm_window == 0) {
        return;
    }
    report_add(report, "confirm_p50_us", report_us(confirm, 50), 0,
               "us from intended send to confirm, p50");
    report_add(report, "confirm_p99_us", report_us(confirm, 99), 0, "us, p99");
    report_add(report, "confirm_p999_us", report_us(confirm, 99.9), 0, "us, p99.9");
    report_add(report, "confirm_max_us", (double)confirm->max_ns / 1e3, 0, "us, largest");
}

void
report_flow(const struct options *options, const struct flow_result *result)
{
    struct report report = {.count = 0};
    double own_s = result->own_cpu.user_s + result->own_cpu.system_s;
    report_add(&report, "seconds", result->seconds, 2, "seconds measured");
    report_add(&report, "published_per_s", report_ratio((double)result->published, result->seconds),
               0, "published per second");
    report_add(&report, "delivered_per_s", report_ratio((double)result->delivered, result->seconds),
               0, "delivered per second");
    report_add(&report, "published_in_all", (double)result->published_in_all, 0,
               "published in all, or found there by a drain");
    if (options->confirm_window > 0) {
        report_add(&report, "confirmed_per_s",
                   report_ratio((double)result->confirmed, result->seconds), 0,
                   "confirmed per second");
    }
    if (options->broker_pid != 0) {
        report_add_cpu(&report, result);
    }
    report_add(&report, "loadgen_cores", report_ratio(own_s, result->seconds), 2,
               "cores used by the load generator");
    if (result->bind_seconds > 0) {
        report_add(&report, "bindings_per_s", report_ratio(options->bindings, result->bind_seconds),
                   0, "bindings made per second");
    }
    if (result->blocked_count > 0) {
        report_add(&report, "blocked_count", (double)result->blocked_count, 0,
                   "times the broker blocked a producer");
    }
    if (options->rate_per_s > 0) {
        report_add_latency(&report, options, result);
    }
    report_print(&report, options);
}

static double
report_growth(const struct idle_result *result, uint64_t rss_bytes)
{
    return ((double)rss_bytes - (double)result->rss_before_bytes) / result->connections;
}

void
report_idle(const struct options *options, const struct idle_result *result)
{
    struct report report = {.count = 0};
    double open_cpu_s = result->open_cpu.user_s + result->open_cpu.system_s;
    double held_cpu_s = result->held_cpu.user_s + result->held_cpu.system_s;
    report_add(&report, "connections", result->connections, 0, "idle connections, a channel each");
    report_add(&report, "rss_before_mib", (double)result->rss_before_bytes / 1048576, 1,
               "MiB resident before");
    report_add(&report, "bytes_per_connection", report_growth(result, result->rss_held_bytes), 0,
               "bytes resident per connection, once idle");
    report_add(&report, "bytes_per_connection_opened",
               report_growth(result, result->rss_opened_bytes), 0, "bytes, just opened");
    report_add(&report, "rss_closed_mib", (double)result->rss_closed_bytes / 1048576, 1,
               "MiB resident after all have closed");
    report_add(&report, "opens_per_s", report_ratio(result->connections, result->open_s), 0,
               "opened per second, one after the other");
    report_add(&report, "open_cpu_us", report_ratio(open_cpu_s * 1e6, result->connections), 1,
               "us of broker CPU per open");
    report_add(&report, "idle_cpu_percent", report_ratio(held_cpu_s * 100, result->held_s), 2,
               "percent of a core while idle");
    report_print(&report, options);
}

void
report_connect(const struct options *options, const struct connect_result *result)
{
    struct report report = {.count = 0};
    struct proc_cpu cpu = result->broker_cpu;
    double cpu_s = cpu.user_s + cpu.system_s;
    double connections = (double)result->connections;
    report_add(&report, "seconds", result->seconds, 2, "seconds measured");
    report_add(&report, "opens_per_s", report_ratio(connections, result->seconds), 0,
               "connections opened and closed per second, one after the other");
    report_add(&report, "open_p50_ms", result->open_p50_ms, 3, "ms to open one, p50");
    report_add(&report, "open_p99_ms", result->open_p99_ms, 3, "ms, p99");
    if (options->broker_pid != 0) {
        report_add(&report, "opens_per_cpu_s", report_ratio(connections, cpu_s), 0,
                   "per broker CPU second");
        report_add(&report, "open_cpu_us", report_ratio(cpu_s * 1e6, connections), 1,
                   "us of broker CPU for opening and closing one");
    }
    report_print(&report, options);
}

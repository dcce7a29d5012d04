/* SPDX-License-Identifier: Apache-2.0 */

/* Options are a table: name, kind of value, where it goes, what it means. Parsing, --help and the
 * messages about bad values all read the same rows. */

#include "bench/loadgen_options.h"

#include <errno.h>
#include <limits.h>
#include <math.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

enum option_kind {
    OPTION_FLAG,      /* bool, no value */
    OPTION_TEXT,      /* const char * */
    OPTION_COUNT,     /* uint32_t */
    OPTION_COUNT_16,  /* uint16_t */
    OPTION_COUNT_64,  /* uint64_t */
    OPTION_PID,       /* pid_t */
    OPTION_NUMBER,    /* double, not negative */
    OPTION_ROUTE,     /* enum route */
    OPTION_IN_FLIGHT, /* uint64_t messages, or bytes with a suffix; settled once --size is known */
};

struct option_row {
    const char *name;
    enum option_kind kind;
    size_t offset;
    const char *help;
};

#define OPTION_ROW(name, kind, field, help)                                                        \
    {                                                                                              \
        name, kind, offsetof(struct options, field), help                                          \
    }

static const struct option_row option_rows[] = {
    OPTION_ROW("host", OPTION_TEXT, host, "broker's address (127.0.0.1)"),
    OPTION_ROW("port", OPTION_TEXT, port, "broker's port (5672, with --tls 5671)"),
    OPTION_ROW("user", OPTION_TEXT, user, "(guest)"),
    OPTION_ROW("password", OPTION_TEXT, password, "(guest)"),
    OPTION_ROW("vhost", OPTION_TEXT, vhost, "(/)"),
    OPTION_ROW("name", OPTION_TEXT, name, "prefix of queues and exchanges (bench)"),
    OPTION_ROW("tls", OPTION_FLAG, tls, "speak TLS; the certificate must match --host"),
    OPTION_ROW("ca", OPTION_TEXT, ca_file, "file of certificate authorities (the system's)"),
    OPTION_ROW("insecure", OPTION_FLAG, insecure, "accept any certificate"),
    OPTION_ROW("producers", OPTION_COUNT, producers, "connections that publish (1)"),
    OPTION_ROW("consumers", OPTION_COUNT, consumers, "connections that consume (1)"),
    OPTION_ROW("queues", OPTION_COUNT, queues, "(1)"),
    OPTION_ROW("queue-type", OPTION_TEXT, queue_type, "x-queue-type of the queues (not sent)"),
    OPTION_ROW("exchange", OPTION_ROUTE, route,
               "default, direct, fanout, topic (dev.N.*.temp), topic-hash (dev.N.#) (default)"),
    OPTION_ROW("bindings", OPTION_COUNT, bindings, "of a direct or topic exchange (one a queue)"),
    OPTION_ROW("keys", OPTION_COUNT, keys, "distinct routing keys (one a binding)"),
    OPTION_ROW("size", OPTION_COUNT, body_bytes, "body size in bytes (1024); checks need 16"),
    OPTION_ROW("persistent", OPTION_FLAG, persistent, "delivery-mode 2 and durable queues"),
    OPTION_ROW("confirm-window", OPTION_COUNT, confirm_window,
               "unconfirmed messages per producer; 0 is no confirms (0)"),
    OPTION_ROW("prefetch", OPTION_COUNT_16, prefetch_count, "per consumer; 0 is no limit (0)"),
    OPTION_ROW("ack-every", OPTION_COUNT, ack_every, "deliveries per ack; 0 is no-ack (0)"),
    OPTION_ROW("in-flight", OPTION_IN_FLIGHT, in_flight_max,
               "published but not received: messages, or bytes as 4M, 64K (20000)"),
    OPTION_ROW("rate", OPTION_NUMBER, rate_per_s,
               "messages per second; reports latency from the intended send time (unlimited)"),
    OPTION_ROW("duration", OPTION_NUMBER, duration_s, "seconds measured (5)"),
    OPTION_ROW("warmup", OPTION_NUMBER, warmup_s, "seconds before that (1)"),
    OPTION_ROW("fill", OPTION_COUNT_64, fill_count,
               "publish N messages into new queues, leave them there, report how it went"),
    OPTION_ROW("drain", OPTION_COUNT_64, drain_count,
               "consume and check what --fill N with the same options left"),
    OPTION_ROW("drain-from", OPTION_COUNT, drain_from, "the first queue to drain (0)"),
    OPTION_ROW("drain-queues", OPTION_COUNT, drain_queues, "how many of them (all from there)"),
    OPTION_ROW("progress", OPTION_FLAG, progress,
               "a line a second on standard error: seconds, published, delivered"),
    OPTION_ROW("idle", OPTION_COUNT, idle_connections,
               "open N connections with a channel, hold them for --duration, report memory"),
    OPTION_ROW("connect-rate", OPTION_FLAG, connect_rate,
               "open and close connections one by one for --duration"),
    OPTION_ROW("broker-pid", OPTION_PID, broker_pid, "process whose CPU and memory to read"),
    OPTION_ROW("json", OPTION_FLAG, json, "one JSON object instead of text"),
};

enum { OPTION_ROW_COUNT = sizeof option_rows / sizeof option_rows[0] };

static const struct {
    const char *name;
    enum route route;
} option_routes[] = {
    {"default", ROUTE_DEFAULT},  {"direct", ROUTE_DIRECT},         {"fanout", ROUTE_FANOUT},
    {"topic", ROUTE_TOPIC_STAR}, {"topic-hash", ROUTE_TOPIC_HASH},
};

enum { OPTION_ROUTE_COUNT = sizeof option_routes / sizeof option_routes[0] };

/* Prints one line about the command line and ends the program with status 2. */
static _Noreturn void __attribute__((format(printf, 1, 2))) options_refuse(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fprintf(stderr, "loadgen: ");
    vfprintf(stderr, format, args);
    fprintf(stderr, " (--help lists the options)\n");
    va_end(args);
    exit(2);
}

static void
options_print_help(void)
{
    printf("loadgen: load for an AMQP 0-9-1 broker, and a check of what comes back\n\n");
    for (size_t i = 0; i < OPTION_ROW_COUNT; i++) {
        const struct option_row *row = &option_rows[i];
        printf("  --%-16s %s\n", row->name, row->help);
    }
}

static const struct option_row *
options_find(const char *name)
{
    for (size_t i = 0; i < OPTION_ROW_COUNT; i++) {
        if (strcmp(option_rows[i].name, name) == 0) {
            return &option_rows[i];
        }
    }
    options_refuse("unknown option --%s", name);
}

static uint64_t
options_parse_count(const char *name, const char *text, uint64_t max)
{
    char *end;
    errno = 0;
    unsigned long long value = strtoull(text, &end, 10);
    if (*text < '0' || *text > '9' || *end != '\0' || errno != 0 || value > max) {
        options_refuse("--%s: '%s' is not a number from 0 to %llu", name, text,
                       (unsigned long long)max);
    }
    return value;
}

static double
options_parse_number(const char *name, const char *text)
{
    char *end;
    double value = strtod(text, &end);
    if (end == text || *end != '\0' || !isfinite(value) || value < 0 || value > 1e9) {
        options_refuse("--%s: '%s' is not a number from 0 to a billion", name, text);
    }
    return value;
}

static enum route
options_parse_route(const char *text)
{
    for (size_t i = 0; i < OPTION_ROUTE_COUNT; i++) {
        if (strcmp(option_routes[i].name, text) == 0) {
            return option_routes[i].route;
        }
    }
    options_refuse("--exchange: '%s' is none of default, direct, fanout, topic, topic-hash", text);
}

/* Bytes are told from messages by setting the top bit; options_settle_in_flight() undoes it. */
static const uint64_t in_flight_is_bytes = UINT64_C(1) << 63;

static uint64_t
options_parse_in_flight(const char *text)
{
    char digits[24];
    size_t length = strspn(text, "0123456789");
    unsigned shift = 0;
    if (strcmp(text + length, "K") == 0) {
        shift = 10;
    } else if (strcmp(text + length, "M") == 0) {
        shift = 20;
    }
    if (length >= sizeof digits) {
        options_refuse("--in-flight: '%s' is too large", text);
    }
    snprintf(digits, sizeof digits, "%.*s", (int)length, text);
    if (shift == 0) {
        return options_parse_count("in-flight", text, UINT32_MAX);
    }
    return in_flight_is_bytes | options_parse_count("in-flight", digits, UINT32_MAX) << shift;
}

static void
options_set(struct options *options, const struct option_row *row, const char *text)
{
    void *field = (char *)options + row->offset;
    switch (row->kind) {
    case OPTION_FLAG:
        *(bool *)field = true;
        break;
    case OPTION_TEXT:
        *(const char **)field = text;
        break;
    case OPTION_COUNT:
        *(uint32_t *)field = (uint32_t)options_parse_count(row->name, text, 1U << 30);
        break;
    case OPTION_COUNT_16:
        *(uint16_t *)field = (uint16_t)options_parse_count(row->name, text, UINT16_MAX);
        break;
    case OPTION_COUNT_64:
        *(uint64_t *)field = options_parse_count(row->name, text, UINT64_C(1) << 40);
        break;
    case OPTION_PID:
        *(pid_t *)field = (pid_t)options_parse_count(row->name, text, INT_MAX);
        break;
    case OPTION_NUMBER:
        *(double *)field = options_parse_number(row->name, text);
        break;
    case OPTION_ROUTE:
        *(enum route *)field = options_parse_route(text);
        break;
    case OPTION_IN_FLIGHT:
        *(uint64_t *)field = options_parse_in_flight(text);
        break;
    }
}

/* Numbers that depend on others get their values here. */
static void
options_settle(struct options *options)
{
    if (options->port == NULL) {
        options->port = options->tls ? "5671" : "5672";
    }
    bool counts_bindings = options->route != ROUTE_DEFAULT && options->route != ROUTE_FANOUT;
    if (options->bindings == 0 || !counts_bindings) {
        options->bindings = options->queues;
    }
    if (options->keys == 0) {
        options->keys = options->route == ROUTE_FANOUT ? 1 : options->bindings;
    }
    if (options->in_flight_max & in_flight_is_bytes) {
        uint64_t bytes = options->in_flight_max & ~in_flight_is_bytes;
        options->in_flight_max = bytes / (options->body_bytes == 0 ? 1 : options->body_bytes);
    }
    if (options->in_flight_max == 0) {
        options->in_flight_max = 1;
    }
    if (options->fill_count > 0) {
        options->consumers = 0;
    }
    if (options->drain_queues == 0 && options->drain_from < options->queues) {
        options->drain_queues = options->queues - options->drain_from;
    }
}

static void
options_check_backlog(const struct options *options)
{
    if (options->fill_count > 0 && options->drain_count > 0) {
        options_refuse("--fill and --drain are two runs");
    }
    if (options->drain_queues == 0 ||
        options->drain_queues > options->queues - options->drain_from) {
        options_refuse("--drain-from and --drain-queues go beyond --queues");
    }
    bool is_backlog = options->fill_count > 0 || options->drain_count > 0;
    if (is_backlog && (options->producers > 1 || options->rate_per_s > 0)) {
        options_refuse("--fill and --drain know one producer and no --rate");
    }
    if (is_backlog && options->keys != options->queues && options->route != ROUTE_FANOUT) {
        options_refuse("--fill and --drain know one key for each queue");
    }
    if (options->route == ROUTE_FANOUT && options->drain_queues != options->queues) {
        options_refuse("a fanout is drained from all queues at once");
    }
}

static void
options_check_names(const struct options *options)
{
    if (strlen(options->vhost) > 255 || strlen(options->user) > 255 ||
        strlen(options->password) > 255) {
        options_refuse("a vhost, user or password has at most 255 bytes");
    }
    if (strlen(options->name) > 100) {
        options_refuse("--name has at most 100 bytes");
    }
    if (!options->tls && (options->insecure || options->ca_file != NULL)) {
        options_refuse("--ca and --insecure go with --tls");
    }
}

static void
options_check_numbers(const struct options *options)
{
    if (options->producers == 0 || options->producers > 1000 || options->consumers > 1000) {
        options_refuse("1 to 1,000 --producers and 0 to 1,000 --consumers");
    }
    if (options->queues == 0 || options->queues > 10000) {
        options_refuse("--queues goes from 1 to 10,000");
    }
    if (options->bindings > 100000 || options->bindings < options->queues) {
        options_refuse("--bindings goes from the number of queues to 100,000");
    }
    if (options->route == ROUTE_DEFAULT && options->keys > options->queues) {
        options_refuse("the default exchange has one key for each queue");
    }
    if (options->route == ROUTE_DIRECT && options->keys > options->bindings) {
        options_refuse("a direct exchange routes only keys that are bound");
    }
    if (options->keys > 1000 * (uint64_t)options->bindings || options->keys > 10000000) {
        options_refuse("--keys goes up to 1,000 for each binding and 10,000,000 in all");
    }
    if (options->body_bytes > 128U << 20) {
        options_refuse("--size goes up to 128 MiB");
    }
    if (options->rate_per_s > 0 && (options->body_bytes < 24 || options->consumers == 0)) {
        options_refuse("--rate needs a consumer and, for the time stamp, a --size of 24 or more");
    }
    if (options->confirm_window > 1U << 20) {
        options_refuse("--confirm-window goes up to 1,048,576");
    }
    if (options->prefetch_count != 0 && options->ack_every > options->prefetch_count) {
        options_refuse("--ack-every above --prefetch would wait forever");
    }
    if (options->idle_connections != 0 && options->broker_pid == 0) {
        options_refuse("--idle measures memory and needs --broker-pid");
    }
    if (options->duration_s <= 0) {
        options_refuse("--duration must be above zero");
    }
}

void
options_parse(struct options *options, int argc, char **argv)
{
    *options = (struct options){
        .host = "127.0.0.1",
        .user = "guest",
        .password = "guest",
        .vhost = "/",
        .name = "bench",
        .producers = 1,
        .consumers = 1,
        .queues = 1,
        .route = ROUTE_DEFAULT,
        .body_bytes = 1024,
        .in_flight_max = 20000,
        .duration_s = 5,
        .warmup_s = 1,
    };
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--help") == 0) {
            options_print_help();
            exit(0);
        }
        if (strncmp(argv[i], "--", 2) != 0) {
            options_refuse("unexpected argument '%s'", argv[i]);
        }
        const struct option_row *row = options_find(argv[i] + 2);
        if (row->kind != OPTION_FLAG && i + 1 == argc) {
            options_refuse("--%s needs a value", row->name);
        }
        options_set(options, row, row->kind == OPTION_FLAG ? "" : argv[++i]);
    }
    options_settle(options);
    options_check_names(options);
    options_check_numbers(options);
    options_check_backlog(options);
}

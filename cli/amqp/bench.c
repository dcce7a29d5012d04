/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/amqp/bench.h"

#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "cli/amqp/bench_load.h"
#include "cli/command/interrupt.h"
#include "cli/command/whole_number.h"
#include "cli/output/output.h"
#include "cli/output/progress.h"

enum {
    BENCH_PRODUCERS,
    BENCH_CONSUMERS,
    BENCH_SIZE,
    BENCH_CONFIRM,
    BENCH_PREFETCH,
    BENCH_RATE,
    BENCH_SECONDS,
    BENCH_TRANSIENT,
};

enum {
    BODY_BYTES = 256,
    WINDOW = 100,
    PREFETCH = 200,
    SECONDS = 5,
    SECONDS_MAX = 3600,
    WINDOW_MAX = 100000,
    SIZE_BYTES_MAX = 16 * 1024 * 1024,
    BAR_SIZE = 40,
};

static const double NS_PER_S = 1e9;
static const double NS_PER_MS = 1e6;

const struct command_option bench_options[BENCH_OPTION_COUNT] = {
    [BENCH_PRODUCERS] = {"producers", "NUMBER", "so many connections that publish, 1 to 100 (1)"},
    [BENCH_CONSUMERS] = {"consumers", "NUMBER", "so many that consume, 0 to 100 (1)"},
    [BENCH_SIZE] = {"size", "OCTETS", "of a body, 8 to 16777216 (256)"},
    [BENCH_CONFIRM] = {"confirm", "NUMBER",
                       "so many unconfirmed messages of a producer; 0: without confirms (100)"},
    [BENCH_PREFETCH] = {"prefetch", "NUMBER", "of a consumer, 1 to 65535 (200)"},
    [BENCH_RATE] = {"rate", "NUMBER", "so many a second, of all producers (as fast as it goes)"},
    [BENCH_SECONDS] = {"seconds", "NUMBER", "how long it publishes, 1 to 3600 (5)"},
    [BENCH_TRANSIENT] = {"transient", NULL, "messages and a queue that need not be on disk"},
};

/* What is wanted ----------------------------------------------------------------------------- */

/* The same as whole_number_read, but 0 may be said as well. */
static int
read_or_none(uint64_t *out, const struct command_line *line, size_t option, uint64_t max,
             const struct command_io *io)
{
    const char *text = line->options[option];
    if (text != NULL && strcmp(text, "0") == 0) {
        *out = 0;
        return COMMAND_OK;
    }
    return whole_number_read(out, line, option, max, io);
}

static int
read_wish(struct bench_wish *wish, const struct command_line *line, const struct command_io *io)
{
    *wish = (struct bench_wish){
        .producers = 1,
        .consumers = 1,
        .body_bytes = BODY_BYTES,
        .window = WINDOW,
        .prefetch = PREFETCH,
        .seconds = SECONDS,
        .is_persistent = line->options[BENCH_TRANSIENT] == NULL,
    };
    const struct {
        uint64_t *out;
        size_t option;
        uint64_t max;
        bool may_be_none;
    } numbers[] = {
        {&wish->producers, BENCH_PRODUCERS, BENCH_CLIENTS_MAX, false},
        {&wish->consumers, BENCH_CONSUMERS, BENCH_CLIENTS_MAX, true},
        {&wish->body_bytes, BENCH_SIZE, SIZE_BYTES_MAX, false},
        {&wish->window, BENCH_CONFIRM, WINDOW_MAX, true},
        {&wish->prefetch, BENCH_PREFETCH, UINT16_MAX, false},
        {&wish->rate, BENCH_RATE, UINT32_MAX, false},
        {&wish->seconds, BENCH_SECONDS, SECONDS_MAX, false},
    };
    int result = COMMAND_OK;
    for (size_t i = 0; i < ARRAY_LEN(numbers) && result == COMMAND_OK; i++) {
        result =
            numbers[i].may_be_none
                ? read_or_none(numbers[i].out, line, numbers[i].option, numbers[i].max, io)
                : whole_number_read(numbers[i].out, line, numbers[i].option, numbers[i].max, io);
    }
    if (result == COMMAND_OK && wish->body_bytes < sizeof(uint64_t)) {
        return command_misused(io, "--size is at least 8: a body has the time in it");
    }
    return result;
}

/* What came of it ---------------------------------------------------------------------------- */

static const struct column columns[] = {
    {"MESSAGES", "measure", CELL_TEXT, false}, {"COUNT", "count", CELL_NUMBER, false},
    {"RATE", "per_second", CELL_RATE, false},  {"OCTETS/S", "octets_per_second", CELL_SIZE, true},
    {"P50 MS", "p50_ms", CELL_NUMBER, false},  {"P90 MS", "p90_ms", CELL_NUMBER, false},
    {"P99 MS", "p99_ms", CELL_NUMBER, false},  {"P99.9 MS", "p999_ms", CELL_NUMBER, false},
    {"MAX MS", "max_ms", CELL_NUMBER, false},
};

/* Milliseconds, to a microsecond. */
static json_t *
milliseconds(uint64_t ns)
{
    uint64_t us = (ns + 500) / 1000;
    return json_real((double)us * 1000 / NS_PER_MS);
}

static void
add_measure(json_t *rows, const struct bench_load *load, const char *name, uint64_t count,
            uint64_t ended_ns, const struct latencies *latencies)
{
    static const struct {
        const char *name;
        double share;
    } quantiles[] = {{"p50_ms", 0.5}, {"p90_ms", 0.9}, {"p99_ms", 0.99}, {"p999_ms", 0.999}};
    double seconds = (double)(ended_ns - load->begun_ns) / NS_PER_S;
    double rate = ended_ns > load->begun_ns ? (double)(uint64_t)((double)count / seconds) : 0;
    json_t *row =
        json_pack("{s:s, s:I, s:f, s:I}", "measure", name, "count", (json_int_t)count, "per_second",
                  rate, "octets_per_second", (json_int_t)(rate * (double)load->wish.body_bytes));
    for (size_t i = 0; i < ARRAY_LEN(quantiles) && latencies != NULL && latencies->total > 0; i++) {
        json_object_set_new(row, quantiles[i].name,
                            milliseconds(latencies_quantile(latencies, quantiles[i].share)));
    }
    if (latencies != NULL && latencies->total > 0) {
        json_object_set_new(row, "max_ms", milliseconds(latencies->max_ns));
    }
    json_array_append_new(rows, row);
}

static json_t *
measures_new(const struct bench_load *load)
{
    json_t *rows = json_array();
    uint64_t last_ns = load->received_ns > load->ended_ns ? load->received_ns : load->ended_ns;
    add_measure(rows, load, "published", load->published, load->ended_ns, NULL);
    if (load->wish.window > 0) {
        add_measure(rows, load, "confirmed", load->confirmed, load->ended_ns, &load->confirming);
    }
    if (load->wish.consumers > 0) {
        add_measure(rows, load, "received", load->received, last_ns, &load->arriving);
    }
    return rows;
}

/* From the first power of two that has any to the last. */
static json_t *
histogram_new(const struct latencies *latencies)
{
    json_t *histogram = json_array();
    json_t *gap = json_array();
    for (unsigned power = 0; power < 63; power++) {
        uint64_t count = latencies_of_power(latencies, power);
        json_t *row = json_pack("{s:o, s:I}", "below_ms", milliseconds(UINT64_C(2) << power),
                                "count", (json_int_t)count);
        if (count == 0 && json_array_size(histogram) == 0) {
            json_decref(row);
            continue;
        }
        json_array_append_new(gap, row);
        if (count > 0) {
            json_array_extend(histogram, gap);
            json_array_clear(gap);
        }
    }
    json_decref(gap);
    return histogram;
}

static void
draw_histogram(const json_t *histogram, const char *title, FILE *out)
{
    size_t index;
    const json_t *row;
    json_int_t most = 1;
    json_array_foreach(histogram, index, row)
    {
        json_int_t count = json_integer_value(json_object_get(row, "count"));
        most = count > most ? count : most;
    }
    fprintf(out, "\n%s, messages below so many ms:\n", title);
    json_array_foreach(histogram, index, row)
    {
        json_int_t count = json_integer_value(json_object_get(row, "count"));
        fprintf(out, "%10.3f %10lld %.*s\n", json_real_value(json_object_get(row, "below_ms")),
                count, (int)((count * BAR_SIZE + most - 1) / most),
                "########################################");
    }
}

static json_t *
report_new(const struct bench_load *load)
{
    const struct bench_wish *wish = &load->wish;
    return json_pack("{s:{s:I, s:I, s:I, s:I, s:I, s:I, s:b}, s:o, s:{s:o, s:o}, s:I, s:b}",
                     "settings", "producers", (json_int_t)wish->producers, "consumers",
                     (json_int_t)wish->consumers, "size", (json_int_t)wish->body_bytes, "confirm",
                     (json_int_t)wish->window, "prefetch", (json_int_t)wish->prefetch, "rate",
                     (json_int_t)wish->rate, "persistent", wish->is_persistent, "measures",
                     measures_new(load), "histogram", "confirmed", histogram_new(&load->confirming),
                     "received", histogram_new(&load->arriving), "refused",
                     (json_int_t)load->refused, "was_blocked", load->was_blocked);
}

static int
print_report(const struct bench_load *load, const struct output *output)
{
    json_t *report = report_new(load);
    const json_t *histograms = json_object_get(report, "histogram");
    int result = COMMAND_OK;
    if (output->format == OUTPUT_JSON) {
        output_json(output, report);
    } else {
        result =
            output_rows(output, columns, ARRAY_LEN(columns), json_object_get(report, "measures"));
    }
    bool is_table = output->format == OUTPUT_TABLE || output->format == OUTPUT_WIDE;
    bool has_consumers = load->wish.consumers > 0;
    if (is_table && result == COMMAND_OK && (has_consumers || load->wish.window > 0)) {
        draw_histogram(json_object_get(histograms, has_consumers ? "received" : "confirmed"),
                       has_consumers ? "From publish to delivery" : "From publish to confirm",
                       output->io->out);
    }
    json_decref(report);
    return result;
}

static void
say_warnings(const struct bench_load *load)
{
    FILE *err = load->io->err;
    if (load->was_blocked) {
        fprintf(err, "bourse: the broker has blocked publishers meanwhile: memory or disk are "
                     "short\n");
    }
    if (load->refused > 0) {
        fprintf(err, "bourse: the broker has refused %llu messages\n",
                (unsigned long long)load->refused);
    }
    if (load->wish.consumers > 0 && load->received < load->published - load->refused) {
        fprintf(err,
                "bourse: consumers were slower than producers: %llu messages had not come 5 s "
                "later; --rate holds producers back\n",
                (unsigned long long)(load->published - load->received));
    }
}

/* The command -------------------------------------------------------------------------------- */

static int
measure(struct bench_load *load, struct progress *progress)
{
    bool goes_on = true;
    int result = COMMAND_OK;
    while (goes_on && result == COMMAND_OK) {
        result = bench_load_turn(load, &goes_on);
        if (interrupt_came()) {
            bench_load_end(load);
        }
        progress_show(progress, amqp_client_now_ms() - load->begun_ms, load->wish.seconds * 1000,
                      "%llu published, %llu received", (unsigned long long)load->published,
                      (unsigned long long)load->received);
    }
    progress_end(progress);
    return result;
}

static int
run(const struct bench_wish *wish, const struct amqp_address *address,
    const struct command_line *line, const struct command_io *io)
{
    struct output output = output_of(line, io);
    struct progress progress = progress_begin(io, output.is_quiet);
    struct bench_load *load = xalloc(sizeof(*load));
    interrupt_watch();
    int result = bench_load_open(load, wish, address, io);
    if (result == COMMAND_OK) {
        result = measure(load, &progress);
    }
    bench_load_close(load);
    if (result == COMMAND_OK) {
        result = print_report(load, &output);
        say_warnings(load);
    }
    free(load);
    return result;
}

int
bench_run(const struct command_line *line, const struct command_io *io)
{
    struct bench_wish wish;
    struct amqp_address address;
    int result = read_wish(&wish, line, io);
    if (result != COMMAND_OK) {
        return result;
    }
    const char *text = line->operand_count > 0 ? line->operands[0] : "amqp://127.0.0.1:5672/";
    result = amqp_address_read(&address, text, false, io);
    if (result == COMMAND_OK) {
        result = run(&wish, &address, line, io);
        amqp_address_fini(&address);
    }
    return result;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* The text format of Prometheus 0.0.4: escapes, fractions, histograms that add up. */
#include "management/monitor/metric_text.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>

static struct buffer out;

static void
set_up(void)
{
    buffer_init(&out);
}

static void
tear_down(void)
{
    buffer_fini(&out);
}

TestSuite(metric_text, .init = set_up, .fini = tear_down);

static void
expect(const char *text)
{
    buffer_put_u8(&out, '\0');
    cr_expect(eq(str, (char *)out.data, (char *)text));
}

Test(metric_text, a_family_begins_with_help_and_type)
{
    metric_begin(&out, "bourse_", "queues", METRIC_GAUGE, "Queues");
    metric_put(&out, "bourse_", "queues", NULL, 7);
    expect("# HELP bourse_queues Queues\n# TYPE bourse_queues gauge\nbourse_queues 7\n");
}

/* Backslash, quote and line end, and nothing else. */
Test(metric_text, three_characters_of_a_label_value_are_escaped)
{
    metric_put_label(&out, "vhost", bytes_of("/"));
    metric_put_label(&out, "queue", bytes_of("a\"b\\c\nd{e}"));
    expect("vhost=\"/\",queue=\"a\\\"b\\\\c\\nd{e}\"");
}

/* A name may have an octet 0, at which whoever reads the page would stop. */
Test(metric_text, an_octet_0_is_no_end_of_a_label)
{
    metric_put_label(&out, "queue", bytes_make("a\0b", 3));
    expect("queue=\"a\xef\xbf\xbd"
           "b\"");
}

Test(metric_text, a_fraction_has_all_its_digits)
{
    static const struct {
        uint64_t value, per_unit;
        const char *text;
    } rows[] = {
        {0, 1000, "x 0.000\n"},        {7, 1000, "x 0.007\n"}, {61007, 1000, "x 61.007\n"},
        {50, 1000000, "x 0.000050\n"}, {12, 1, "x 12\n"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        buffer_clear(&out);
        metric_put_scaled(&out, "", "x", "", rows[i].value, rows[i].per_unit);
        expect(rows[i].text);
    }
}

Test(metric_text, buckets_of_a_histogram_add_up)
{
    static const uint64_t counts[] = {2, 0, 3};
    static const char *const bounds[] = {"1", "2.5", "+Inf"};
    metric_put_histogram(
        &out, "b_", "t", "p=\"q\"",
        &(struct metric_histogram){
            .counts = counts, .bounds = bounds, .count = 3, .sum = 1500, .per_unit = 1000});
    expect("b_t_bucket{p=\"q\",le=\"1\"} 2\nb_t_bucket{p=\"q\",le=\"2.5\"} 2\n"
           "b_t_bucket{p=\"q\",le=\"+Inf\"} 5\nb_t_sum{p=\"q\"} 1.500\nb_t_count{p=\"q\"} 5\n");
}

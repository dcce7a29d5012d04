/* SPDX-License-Identifier: Apache-2.0 */
/* Policies of a file: what is wrong with them is told at its place, all of it in one run, with what
 * to do. */
#include "broker/plan/examine.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>

#include "base/assert.h"
#include "config/report.h"
#include "tests/unit/config/reading.h"

TestSuite(examine);

/* The report of a file that has these lines from its third on. */
static const char *
report_of(const char *lines, bool with_effects, struct buffer *out)
{
    static const char *const path[] = {"f.yaml"};
    struct buffer text;
    buffer_init(&text);
    buffer_printf(&text, "%s%s", READING_HEAD, lines);
    buffer_put_u8(&text, 0);
    struct config *config = reading_of((const char *)buffer_bytes(&text).data, CONFIG_FOR_CHECK);
    examine_config(config);
    report_sort(config, path, 1);
    const char *report = reading_report(config, with_effects, out);
    config_free(&config);
    buffer_fini(&text);
    return report;
}

Test(examine, policies_are_judged_at_their_place)
{
    static const struct {
        const char *lines;
        const char *report;
    } rows[] = {
        {"policies: {p: {pattern: '^a', definition: {expires: 5}}}\n", ""},
        {"policies: {p: {pattern: x, definition: {expire: 5}}}\n",
         "3:41: error: \"expire\" is not a key of policies (did you mean \"expires\"?)\n"},
        {"operator-policies: {p: {pattern: x, definition: {dead-letter-exchange: ''}}}\n",
         "3:50: error: \"dead-letter-exchange\" is not for operator policies; set it in a "
         "policy\n"},
        {"policies: {p: {pattern: x, apply-to: queues, definition: {alternate-exchange: "
         "amq.topic}}}\n",
         "3:59: error: \"alternate-exchange\" is for exchanges, and this policy applies to queues; "
         "change \"apply-to\" or leave the key out\n"},
        {"policies:\n"
         "  p:\n"
         "    pattern: '(['\n"
         "    definition:\n"
         "      message-ttl: 1h\n"
         "      max-length: -1\n",
         "5:14: error: the pattern does not compile: missing terminating ] for character class, at "
         "offset 2 of it\n"
         "7:20: error: \"1h\" is not a valid message TTL (\"expected integer, got longstr\"); it "
         "takes milliseconds from 0 to 315360000000\n"
         "8:19: error: -1 is not a valid maximum length ({value_negative,-1}); it takes a whole "
         "number from 0 on\n"},
        {"policies: {p: {pattern: x, definition: {}}}\n",
         "3:12: error: the definition of this policy is empty\n"},
        {"policies: {p: {pattern: x, definition: }}\n",
         "3:12: error: the definition of this policy is empty\n"},
        {"policies: {p: {pattern: x, apply-to: streams, definition: {max-age: 1h}}}\n",
         "3:12: warning: there are no streams: this policy has no effect\n"},
        {"policies: {p: {pattern: x, definition: {alternate-exchange: lost}}}\n",
         "3:61: warning: \"alternate-exchange\" names the exchange \"lost\", which is not declared "
         "here\n"},
        {"policies: {p: {pattern: x, apply-to: some, definition: {expires: 1}}}\n",
         "3:38: error: \"apply-to\" takes all, queues, exchanges, classic_queues, quorum_queues or "
         "streams, not \"some\"\n"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct buffer out;
        const char *report = report_of(rows[i].lines, false, &out);
        cr_expect(eq(str, (char *)report, (char *)rows[i].report), "row %zu", i);
        buffer_fini(&out);
    }
}

/* A key that this version accepts and does not follow is never silent. */
Test(examine, keys_of_policies_without_effect_are_warned_of)
{
    struct buffer out;
    const char *report = report_of("policies: {p: {pattern: x, definition: {alternate-exchange: "
                                   "amq.topic, federation-upstream: u}}}\n",
                                   true, &out);
    cr_expect(ne(ptr,
                 strstr(report, "warning: \"federation-upstream\" has no effect in this "
                                "version\n"),
                 NULL),
              "%s", report);
    cr_expect(eq(ptr, strstr(report, "\"alternate-exchange\""), NULL), "%s", report);
    cr_expect(eq(ptr, strstr(report, "\"policies\""), NULL), "%s", report);
    buffer_fini(&out);
}

static size_t
count_of(const char *report, const char *text)
{
    size_t count = 0;
    for (const char *at = strstr(report, text); at != NULL; at = strstr(at + 1, text)) {
        count++;
    }
    return count;
}

/* Each queue leads to each: as many circles as there are pairs, and each as long as the walk. */
Test(examine, circles_beyond_number_end_the_search)
{
    enum { QUEUES = 5000 };
    struct buffer lines;
    struct buffer out;
    buffer_init(&lines);
    buffer_printf(&lines, "exchanges: {dead: {type: fanout}}\nqueues:\n");
    for (int i = 0; i < QUEUES; i++) {
        buffer_printf(&lines, "  q%d: {from: [{exchange: dead}], dead-letter: {exchange: dead}}\n",
                      i);
    }
    buffer_put_u8(&lines, 0);
    const char *report = report_of((const char *)buffer_bytes(&lines).data, false, &out);
    cr_expect(eq(sz, count_of(report, "dead letters in a circle"), 32));
    buffer_fini(&out);
    buffer_fini(&lines);
}

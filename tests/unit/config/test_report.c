/* SPDX-License-Identifier: Apache-2.0 */
/* The order and the limits of reports, and suggestions. */
#include "config/report.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>

#include "base/assert.h"
#include "tests/unit/config/reading.h"

Test(report, diagnostics_are_ordered_by_file_line_and_column_and_told_once)
{
    static const char *const paths[] = {"b", "a"};
    struct config *config = config_new_development();
    struct buffer text;
    report_error(config, (struct config_mark){"a", 1, 1}, "fourth");
    report_warning(config, (struct config_mark){"b", 2, 1}, "third");
    report_error(config, (struct config_mark){"b", 1, 10}, "second");
    report_error(config, (struct config_mark){"b", 1, 9}, "first");
    report_error(config, (struct config_mark){"b", 1, 9}, "first");
    report_sort(config, paths, ARRAY_LEN(paths));
    cr_expect(eq(str, (char *)reading_report(config, true, &text),
                 "b:1:9: error: first\nb:1:10: error: second\nb:2:1: warning: third\n"
                 "a:1:1: error: fourth\n"));
    cr_expect(eq(sz, config->report.error_count, 3));
    buffer_fini(&text);
    config_free(&config);
}

Test(report, only_the_first_thousand_are_kept)
{
    struct config *config = config_new_development();
    for (uint32_t i = 0; i < 1500; i++) {
        report_error(config, (struct config_mark){"a", i + 1, 1}, "no");
    }
    cr_expect(eq(sz, config->report.count, 1000));
    cr_expect(eq(sz, config->report.error_count, 1500));
    cr_expect(eq(sz, config->report.left_out, 500));
    config_free(&config);
}

/* Names are the file's: they must not move the cursor of who reads the report. */
Test(report, control_characters_do_not_reach_the_terminal)
{
    struct config *config = config_new_development();
    report_error(config, (struct config_mark){"a", 1, 1}, "x\x1b[2Jy\nz\xc2\x9b%s", "");
    cr_expect(eq(str, (char *)config->report.items[0].text, "x?[2Jy?z??"));
    config_free(&config);
}

Test(report, suggestions_are_near_words_only)
{
    static const char *const words[] = {"exchange", "key", "arguments", "from", NULL};
    static const struct {
        const char *word;
        const char *suggestion;
    } rows[] = {
        {"exchnage", " (did you mean \"exchange\"?)"},
        {"exchanges", " (did you mean \"exchange\"?)"},
        {"Key", " (did you mean \"key\"?)"},
        {"form", " (did you mean \"from\"?)"},
        {"args", ""},
        {"argument", " (did you mean \"arguments\"?)"},
        {"q", ""},
        {"", ""},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char out[SUGGESTION_TEXT_SIZE];
        const char *text = suggestion_among(bytes_of(rows[i].word), words, out);
        cr_expect(eq(str, (char *)text, (char *)rows[i].suggestion), "%s", rows[i].word);
    }
}

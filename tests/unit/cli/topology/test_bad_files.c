/* SPDX-License-Identifier: Apache-2.0 */
/* What `check` says of bad files, word for word: bad_files.txt holds them, each with what is to be
 * reported. A case is "=== NAME", the file, "-->", and the lines without "f.yaml:"; those that say
 * that a key has no effect yet are left out. */
#include "broker/plan/examine.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config/report.h"
#include "tests/unit/config/reading.h"

enum { CASES_MIN = 200, FILE_MAX = 256 * 1024 };

static char text[FILE_MAX];

/* Cuts the text at `mark`; returns what is behind it, or NULL when it is not there. */
static char *
cut(char *from, const char *mark)
{
    char *found = strstr(from, mark);
    if (found == NULL) {
        return NULL;
    }
    *found = '\0';
    return found + strlen(mark);
}

static void
check_case(const char *name, const char *file, const char *wanted)
{
    static const char *const path[] = {"f.yaml"};
    struct buffer out;
    struct config *config = reading_of(file, CONFIG_FOR_CHECK);
    examine_config(config);
    report_sort(config, path, 1);
    const char *report = reading_report(config, false, &out);
    cr_expect(eq(str, (char *)report, (char *)wanted), "%s", name);
    cr_expect(ne(sz, config->report.count, 0), "%s", name);
    buffer_fini(&out);
    config_free(&config);
}

Test(bad_files, each_is_told_with_its_place_and_what_to_do)
{
    size_t count = 0;
    FILE *file = fopen("tests/unit/cli/topology/bad_files.txt", "re");
    cr_assert(ne(ptr, file, NULL));
    size_t size = fread(text, 1, sizeof(text) - 1, file);
    cr_assert(lt(sz, size, sizeof(text) - 1));
    text[size] = '\0';
    (void)fclose(file);
    for (char *at = cut(text, "=== "); at != NULL; count++) {
        char *next = cut(at, "\n=== ");
        char *lines = cut(at, "\n");
        char *wanted = lines == NULL ? NULL : cut(lines, "-->\n");
        cr_assert(ne(ptr, wanted, NULL), "case %zu", count);
        char report[4096];
        (void)snprintf(report, sizeof(report), "%s%s", wanted, next == NULL ? "" : "\n");
        check_case(at, lines, report);
        at = next;
    }
    cr_expect(ge(sz, count, CASES_MIN));
}

/* SPDX-License-Identifier: Apache-2.0 */
/* The file in a form that a browser sends. */
#include "management/http/multipart.h"

#include "base/assert.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>

#define TYPE "multipart/form-data; charset=x; boundary="
#define PART(name, content) "Content-Disposition: form-data; name=\"" name "\"\r\n\r\n" content

Test(multipart, the_part_of_that_name_is_found)
{
    static const struct {
        const char *type, *body, *content;
    } rows[] = {
        {TYPE "b", "--b\r\n" PART("file", "x\r\ny") "\r\n--b--\r\n", "x\r\ny"},
        {TYPE "\"b c\"", "--b c\r\n" PART("file", "") "\r\n--b c--", ""},
        {TYPE "b", "--b\r\n" PART("a", "1") "\r\n--b\r\n" PART("file", "2") "\r\n--b--", "2"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct bytes found = bytes_of("?");
        cr_assert(multipart_find(rows[i].type, bytes_of(rows[i].body), "file", &found), "row %zu",
                  i);
        cr_expect(bytes_equal_text(found, rows[i].content), "row %zu", i);
    }
}

Test(multipart, what_is_cut_short_or_no_such_form_has_no_part)
{
    static const struct {
        const char *type, *body;
    } rows[] = {
        {"application/json", "--b\r\n" PART("file", "x") "\r\n--b--"},
        {"multipart/form-data", "--b\r\n" PART("file", "x") "\r\n--b--"},
        {TYPE, "--b\r\n" PART("file", "x") "\r\n--b--"},
        {TYPE "b", "--b\r\n" PART("file", "x")},
        {TYPE "b", "--b\r\nContent-Disposition: form-data; name=\"file\"\r\n--b--"},
        {TYPE "b", "--b\r\n" PART("other", "x") "\r\n--b--"},
        {TYPE "b", ""},
        {NULL, "--b\r\n"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct bytes found;
        cr_expect(not(multipart_find(rows[i].type, bytes_of(rows[i].body), "file", &found)),
                  "row %zu", i);
    }
}

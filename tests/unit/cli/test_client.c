/* SPDX-License-Identifier: Apache-2.0 */
/* What of the client needs no server: paths, addresses, masks, findings. */
#include "cli/client.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>

#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "cli/context.h"
#include "cli/doctor.h"
#include "cli/support_bundle.h"

/* A name is one segment, whatever is in it. */
Test(client, names_in_paths_are_one_segment_each)
{
    static const char *const rows[][2] = {
        {"a/b", "/q/%2F/a%2Fb"},       {"a b+%?#", "/q/%2F/a%20b%2B%25%3F%23"},
        {"..", "/q/%2F/%2E%2E"},       {"gr\xc3\xbc", "/q/%2F/gr%C3%BC"},
        {"A-z_0.~", "/q/%2F/A-z_0.~"}, {"", "/q/%2F/"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char *path = client_path_new("/q/{}/{}", "/", rows[i][0]);
        cr_expect(eq(str, path, (char *)rows[i][1]));
        free(path);
    }
}

/* A password never crosses the network in the clear. */
Test(client, an_address_is_https_or_on_this_machine)
{
    static const struct {
        const char *url;
        bool is_good;
    } rows[] = {
        {"https://broker:15671", true},
        {"https://[::1]:15671", true},
        {"http://127.0.0.1:15672", true},
        {"http://localhost:15672", true},
        {"http://[::1]:15672", true},
        {"http://broker:15672", false},
        {"http://127.0.0.1.evil:80", false},
        {"http://localhost@evil:80", false},
        {"https://user:pw@broker", false},
        {"ftp://broker", false},
        {"https://", false},
        {"broker:15672", false},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        const char *why = NULL;
        cr_expect(eq(int, context_is_url(rows[i].url, &why), rows[i].is_good), "%s", rows[i].url);
        cr_expect(eq(int, why == NULL, rows[i].is_good));
    }
}

Test(client, a_support_bundle_masks_secrets_however_deep)
{
    json_t *value = json_loads("[{\"name\":\"u\",\"password_hash\":\"canary1\",\"limits\":{}},"
                               "{\"value\":{\"src-uri\":\"amqp://u:canary2@old\",\"deep\":[["
                               "\"amqps://x:canary3@h\"]],\"Token\":\"canary4\"}},"
                               "{\"private\":{\"key\":1}}]",
                               0, NULL);
    support_mask(value);
    char *text = json_dumps(value, JSON_COMPACT);
    cr_expect(eq(ptr, strstr(text, "canary"), NULL), "%s", text);
    cr_expect(ne(ptr, strstr(text, "\"name\":\"u\""), NULL));
    cr_expect(ne(ptr, strstr(text, "\"private\":{\"key\":1}"), NULL));
    free(text);
    json_decref(value);
}

static const char *
verdict_of(const json_t *findings, const char *check)
{
    for (size_t i = 0; i < json_array_size(findings); i++) {
        const json_t *one = json_array_get(findings, i);
        if (strcmp(json_string_value(json_object_get(one, "check")), check) == 0) {
            return json_string_value(json_object_get(one, "verdict"));
        }
    }
    return "none";
}

Test(client, doctor_judges_what_it_finds)
{
    static const struct {
        struct doctor_facts facts;
        const char *check;
        const char *verdict;
    } rows[] = {
        {{.descriptors_max = 1024}, "descriptors", "warning"},
        {{.descriptors_max = 1048576}, "descriptors", "ok"},
        {{.somaxconn = 128}, "somaxconn", "warning"},
        {{.somaxconn = -1}, "somaxconn", "none"},
        {{.overcommit = 2}, "overcommit", "warning"},
        {{.clock_is_synchronised = 1}, "clock", "ok"},
        {{.clock_is_synchronised = 0}, "clock", "warning"},
        {{.clock_is_synchronised = -1}, "clock", "unknown"},
        {{.data_dir = NULL}, "disk", "none"},
        {{.data_dir = "d"}, "disk", "bad"},
        {{.data_dir = "d", .disk_total_bytes = 100ULL << 30, .disk_free_bytes = 4ULL << 30},
         "disk",
         "bad"},
        {{.data_dir = "d", .disk_total_bytes = 100ULL << 30, .disk_free_bytes = 6ULL << 30},
         "disk",
         "ok"},
        {{.data_dir = "d", .disk_total_bytes = 1ULL << 40, .file_system = 0x6969},
         "file system",
         "bad"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        json_t *findings = json_array();
        doctor_judge(findings, &rows[i].facts);
        cr_expect(eq(str, (char *)(uintptr_t)verdict_of(findings, rows[i].check),
                     (char *)rows[i].verdict),
                  "row %zu", i);
        json_decref(findings);
    }
}

Test(client, doctor_warns_a_month_before_a_certificate_ends)
{
    static const struct {
        int64_t days;
        const char *verdict;
    } rows[] = {{31, "ok"}, {29, "warning"}, {0, "bad"}, {-3, "bad"}};
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        json_t *findings = json_array();
        doctor_judge_certificate(findings, "c.pem", rows[i].days * 86400000, 0);
        cr_expect(eq(str, (char *)(uintptr_t)verdict_of(findings, "certificate"),
                     (char *)rows[i].verdict));
        json_decref(findings);
    }
}

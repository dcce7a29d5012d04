/* SPDX-License-Identifier: Apache-2.0 */
/* What of the client needs no server: paths, addresses, masks, findings. */
#include "cli/client/client.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>

#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "cli/client/context.h"
#include "cli/doctor/doctor.h"
#include "cli/doctor/doctor_broker.h"
#include "cli/doctor/support_bundle.h"

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
        {{.descriptors_max = 0}, "descriptors", "none"},
        {{.somaxconn = 128}, "somaxconn", "warning"},
        {{.somaxconn = -1}, "somaxconn", "none"},
        {{.overcommit = 2}, "overcommit", "warning"},
        {{.clock_is_synchronised = 1}, "clock", "ok"},
        {{.clock_is_synchronised = 0}, "clock", "warning"},
        {{.clock_is_synchronised = -1}, "clock", "unknown"},
        {{.data_dir = NULL}, "disk", "none"},
        {{.data_dir = "d"}, "disk", "bad"},
        {{.data_dir = "d",
          .disk_total_bytes = 100ULL << 30,
          .disk_mark_bytes = 5ULL << 30,
          .disk_free_bytes = 4ULL << 30},
         "disk",
         "bad"},
        {{.data_dir = "d",
          .disk_total_bytes = 100ULL << 30,
          .disk_mark_bytes = 5ULL << 30,
          .disk_free_bytes = 9ULL << 30},
         "disk",
         "warning"},
        {{.data_dir = "d",
          .disk_total_bytes = 100ULL << 30,
          .disk_mark_bytes = 5ULL << 30,
          .disk_free_bytes = 11ULL << 30},
         "disk",
         "ok"},
        {{.memory_bytes = 4ULL << 30, .memory_mark_bytes = 4ULL << 30}, "memory mark", "bad"},
        {{.memory_bytes = 4ULL << 30, .memory_mark_bytes = 7ULL << 29}, "memory mark", "warning"},
        {{.memory_bytes = 4ULL << 30, .memory_mark_bytes = 1ULL << 30}, "memory mark", "ok"},
        {{.memory_bytes = 4ULL << 30}, "memory mark", "none"},
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

/* A chain that is not valid yet is as bad as one that has ended. */
Test(client, doctor_warns_a_month_before_a_certificate_ends)
{
    static const struct {
        int64_t begin_days, end_days;
        const char *verdict;
        const char *words;
    } rows[] = {
        {-1, 31, "ok", "another 31 days"},  {-1, 29, "warning", "another 29 days"},
        {-1, 0, "bad", "has expired"},      {-9, -3, "bad", "3 days ago"},
        {2, 90, "bad", "not valid before"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        json_t *findings = json_array();
        struct certificate_time time = {rows[i].begin_days * 86400000, rows[i].end_days * 86400000};
        doctor_judge_certificate(findings, "c.pem", &time, 0);
        const char *found =
            json_string_value(json_object_get(json_array_get(findings, 0), "found"));
        cr_expect(eq(str, (char *)(uintptr_t)verdict_of(findings, "certificate"),
                     (char *)rows[i].verdict));
        cr_expect(ne(ptr, strstr(found, rows[i].words), NULL), "%s", found);
        json_decref(findings);
    }
}

/* What the broker says of itself in numbers, judged before anybody is blocked. */
Test(client, doctor_judges_the_numbers_of_a_broker)
{
    static const struct {
        const char *node;
        const char *check;
        const char *verdict;
    } rows[] = {
        {"{\"fd_used\":10,\"fd_total\":1048576}", "broker descriptors", "ok"},
        {"{\"fd_used\":10,\"fd_total\":1024}", "broker descriptors", "warning"},
        {"{\"fd_used\":1000,\"fd_total\":1024}", "broker descriptors", "bad"},
        {"{\"mem_limit\":1000,\"bourse\":{\"message_memory_bytes\":799}}", "message memory", "ok"},
        {"{\"mem_limit\":1000,\"bourse\":{\"message_memory_bytes\":801}}", "message memory",
         "warning"},
        {"{\"mem_limit\":1000,\"mem_alarm\":true,\"bourse\":{\"message_memory_bytes\":1}}",
         "message memory", "bad"},
        {"{\"db_dir\":\"d\",\"disk_free\":30,\"disk_free_limit\":10}", "broker disk", "ok"},
        {"{\"db_dir\":\"d\",\"disk_free\":19,\"disk_free_limit\":10}", "broker disk", "warning"},
        {"{\"db_dir\":\"d\",\"disk_free\":30,\"disk_free_limit\":10,\"disk_free_alarm\":true}",
         "broker disk", "bad"},
        {"{\"db_dir\":\"\",\"disk_free\":0,\"disk_free_limit\":10}", "broker disk", "none"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        json_t *findings = json_array();
        json_t *node = json_loads(rows[i].node, 0, NULL);
        doctor_judge_node(findings, node);
        cr_expect(eq(str, (char *)(uintptr_t)verdict_of(findings, rows[i].check),
                     (char *)rows[i].verdict),
                  "row %zu", i);
        json_decref(node);
        json_decref(findings);
    }
}

/* Alarms are told once, by the numbers; more items than anybody reads are counted. */
Test(client, doctor_passes_on_what_needs_attention)
{
    json_t *findings = json_array();
    json_t *attention = json_loads(
        "{\"items\":[{\"severity\":\"critical\",\"kind\":\"memory_alarm\",\"object\":\"broker\"},"
        "{\"severity\":\"critical\",\"kind\":\"queue_unserved\",\"object\":\"queue\","
        "\"vhost\":\"shop\",\"name\":\"q\",\"what\":\"3 messages wait\",\"why\":\"nobody\","
        "\"action\":\"start one\"}]}",
        0, NULL);
    doctor_judge_attention(findings, attention);
    const json_t *one = json_array_get(findings, 0);
    cr_expect(eq(sz, json_array_size(findings), 1));
    cr_expect(eq(str, (char *)(uintptr_t)verdict_of(findings, "queue unserved"), "bad"));
    cr_expect(eq(str, (char *)(uintptr_t)json_string_value(json_object_get(one, "found")),
                 "queue q in shop: 3 messages wait (nobody)"));
    cr_expect(
        eq(str, (char *)(uintptr_t)json_string_value(json_object_get(one, "next")), "start one"));
    json_array_clear(findings);
    json_t *items = json_object_get(attention, "items");
    while (json_array_size(items) < DOCTOR_ITEMS_MAX + 4) {
        json_array_append(items, json_array_get(items, 1));
    }
    doctor_judge_attention(findings, attention);
    cr_expect(eq(sz, json_array_size(findings), DOCTOR_ITEMS_MAX + 1));
    cr_expect(eq(str, (char *)(uintptr_t)verdict_of(findings, "attention"), "warning"));
    json_decref(attention);
    json_decref(findings);
}

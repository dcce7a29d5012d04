/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/doctor/doctor_broker.h"

#include <inttypes.h>
#include <string.h>

#include "base/assert.h"
#include "cli/doctor/doctor_finding.h"

static const double MIB = 1048576.0;
static const double GIB = 1073741824.0;

enum {
    DESCRIPTORS_WANTED = 65536,
    CHECK_SIZE = 64,
    HTTP_OK = 200,
};

static double
number(const json_t *object, const char *name)
{
    return json_number_value(json_object_get(object, name));
}

static const char *
text(const json_t *object, const char *name)
{
    const char *value = json_string_value(json_object_get(object, name));
    return value == NULL ? "" : value;
}

/* The node ----------------------------------------------------------------------------------- */

static void
judge_descriptors(json_t *findings, const json_t *node)
{
    static const double FEW_LEFT = 0.9;
    double used = number(node, "fd_used");
    double total = number(node, "fd_total");
    enum doctor_verdict verdict = used > total * FEW_LEFT      ? DOCTOR_BAD
                                  : total < DESCRIPTORS_WANTED ? DOCTOR_WARNING
                                                               : DOCTOR_OK;
    doctor_add(findings, verdict, "broker descriptors",
               "raise it where the broker is started (LimitNOFILE=1048576: systemctl edit bourse; "
               "or ulimit -n), and restart it: each connection takes one",
               "%.0f are open, %.0f may be", used, total);
}

static void
judge_memory(json_t *findings, const json_t *node)
{
    static const double NEARLY = 0.8; /* from here on messages leave memory */
    double used = number(json_object_get(node, "bourse"), "message_memory_bytes");
    double mark = number(node, "mem_limit");
    enum doctor_verdict verdict = json_is_true(json_object_get(node, "mem_alarm")) ? DOCTOR_BAD
                                  : used > mark * NEARLY                           ? DOCTOR_WARNING
                                                                                   : DOCTOR_OK;
    doctor_add(findings, verdict, "message memory",
               "\"bourse top\" shows the longest queues: start consumers, purge what nobody needs, "
               "or raise server.memory and restart",
               "messages take %.1f MiB; publishers are blocked at %.1f MiB", used / MIB,
               mark / MIB);
}

static void
judge_disk(json_t *findings, const json_t *node)
{
    double free_bytes = number(node, "disk_free");
    double mark = number(node, "disk_free_limit");
    bool is_low = free_bytes < mark || json_is_true(json_object_get(node, "disk_free_alarm"));
    if (text(node, "db_dir")[0] == '\0') {
        return; /* it keeps nothing */
    }
    doctor_add(findings,
               is_low                  ? DOCTOR_BAD
               : free_bytes < mark * 2 ? DOCTOR_WARNING
                                       : DOCTOR_OK,
               "broker disk",
               "free some, have queues consumed, or enlarge the disk; server.disk-free is the mark",
               "%.1f GiB are free at %s; publishers are blocked below %.1f GiB", free_bytes / GIB,
               text(node, "db_dir"), mark / GIB);
}

void
doctor_judge_node(json_t *findings, const json_t *node)
{
    judge_descriptors(findings, node);
    judge_memory(findings, node);
    judge_disk(findings, node);
}

/* Attention ---------------------------------------------------------------------------------- */

/* "queue_unserved" as people write it. */
static void
put_words(char out[static CHECK_SIZE], const char *kind)
{
    (void)snprintf(out, CHECK_SIZE, "%s", kind);
    for (char *at = out; *at != '\0'; at++) {
        if (*at == '_') {
            *at = ' ';
        }
    }
}

static void
add_item(json_t *findings, const json_t *item)
{
    char check[CHECK_SIZE];
    const char *name = text(item, "name");
    const char *vhost = text(item, "vhost");
    bool has_vhost = vhost[0] != '\0';
    put_words(check, text(item, "kind"));
    doctor_add(findings,
               strcmp(text(item, "severity"), "critical") == 0 ? DOCTOR_BAD : DOCTOR_WARNING, check,
               text(item, "action"), "%s%s%s%s%s: %s (%s)", text(item, "object"),
               name[0] == '\0' ? "" : " ", name, has_vhost ? " in " : "", vhost, text(item, "what"),
               text(item, "why"));
}

/* Alarms are judged by the node's numbers. */
static bool
is_of_node(const json_t *item)
{
    const char *kind = text(item, "kind");
    return strcmp(kind, "memory_alarm") == 0 || strcmp(kind, "disk_alarm") == 0;
}

void
doctor_judge_attention(json_t *findings, const json_t *attention)
{
    const json_t *items = json_object_get(attention, "items");
    size_t count = 0;
    for (size_t i = 0; i < json_array_size(items); i++) {
        const json_t *item = json_array_get(items, i);
        if (is_of_node(item)) {
            continue;
        }
        if (count++ < DOCTOR_ITEMS_MAX) {
            add_item(findings, item);
        }
    }
    if (count == 0) {
        doctor_add(findings, DOCTOR_OK, "attention", "", "nothing else needs it");
    } else if (count > DOCTOR_ITEMS_MAX) {
        doctor_add(findings, DOCTOR_WARNING, "attention",
                   "the console's overview and /api/bourse/attention have all of them",
                   "%zu more need it", count - DOCTOR_ITEMS_MAX);
    }
}

/* Asking ------------------------------------------------------------------------------------- */

void
doctor_ask_broker(json_t *findings, struct client *client)
{
    static const struct {
        const char *path;
        const char *check;
    } asked[] = {{"/api/nodes", "broker"}, {"/api/bourse/attention", "attention"}};
    for (size_t i = 0; i < ARRAY_LEN(asked); i++) {
        json_t *answer;
        long status = client_probe(client, asked[i].path, &answer);
        if (status != HTTP_OK) {
            doctor_add(findings, DOCTOR_UNKNOWN, asked[i].check,
                       "does the user have the role monitor, and is it a Bourse?",
                       "the broker gave HTTP %ld", status);
        } else if (i == 0) {
            doctor_judge_node(findings, json_array_get(answer, 0));
        } else {
            doctor_judge_attention(findings, answer);
        }
        json_decref(answer);
    }
}

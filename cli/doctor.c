/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/doctor.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/statvfs.h>
#include <sys/timex.h>
#include <sys/vfs.h>

#include "base/assert.h"
#include "base/clock.h"
#include "cli/load.h"
#include "cli/output.h"
#include "tls/certificate_time.h"

#define GIB (UINT64_C(1) << 30)
#define MS_PER_DAY INT64_C(86400000)

enum {
    DESCRIPTORS_WANTED = 65536,
    SOMAXCONN_WANTED = 1024,
    OVERCOMMIT_NEVER = 2,
    DAYS_WARNED = 30,
    FOUND_SIZE = 512,
    /* statfs(2) */
    FILE_SYSTEM_NFS = 0x6969,
    FILE_SYSTEM_TMPFS = 0x01021994,
};

/* Judging ------------------------------------------------------------------------------------ */

static void add(json_t *findings, enum doctor_verdict verdict, const char *check, const char *next,
                const char *format, ...) PRINTF_LIKE(5, 6);

/* `next` is said only of what is not as it should be. */
static void
add(json_t *findings, enum doctor_verdict verdict, const char *check, const char *next,
    const char *format, ...)
{
    static const char *const words[] = {[DOCTOR_OK] = "ok",
                                        [DOCTOR_WARNING] = "warning",
                                        [DOCTOR_BAD] = "bad",
                                        [DOCTOR_UNKNOWN] = "unknown"};
    char found[FOUND_SIZE];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(found, sizeof(found), format, arguments);
    va_end(arguments);
    json_array_append_new(findings, json_pack("{s:s, s:s, s:s, s:s}", "check", check, "verdict",
                                              words[verdict], "found", found, "next",
                                              verdict == DOCTOR_OK ? "" : next));
}

static void
judge_kernel(json_t *findings, const struct doctor_facts *facts)
{
    bool few = facts->descriptors_max < DESCRIPTORS_WANTED;
    add(findings, few ? DOCTOR_WARNING : DOCTOR_OK, "descriptors",
        "raise it where the broker is started: LimitNOFILE=1048576 in its unit, or ulimit -n",
        "%" PRIu64 " may be open in this session", facts->descriptors_max);
    if (facts->somaxconn >= 0) {
        add(findings, facts->somaxconn < SOMAXCONN_WANTED ? DOCTOR_WARNING : DOCTOR_OK, "somaxconn",
            "sysctl net.core.somaxconn=4096, or clients that come together are turned away",
            "%" PRId64 " connections may wait to be accepted", facts->somaxconn);
    }
    if (facts->overcommit >= 0) {
        add(findings, facts->overcommit == OVERCOMMIT_NEVER ? DOCTOR_WARNING : DOCTOR_OK,
            "overcommit", "sysctl vm.overcommit_memory=0, or set server.memory low",
            "vm.overcommit_memory is %" PRId64, facts->overcommit);
    }
}

static void
judge_clock(json_t *findings, const struct doctor_facts *facts)
{
    if (facts->clock_is_synchronised < 0) {
        add(findings, DOCTOR_UNKNOWN, "clock", "ask timedatectl", "the kernel does not say");
        return;
    }
    add(findings, facts->clock_is_synchronised == 1 ? DOCTOR_OK : DOCTOR_WARNING, "clock",
        "run chrony or systemd-timesyncd: deadlines over a restart count by the wall clock",
        facts->clock_is_synchronised == 1 ? "synchronised" : "nobody keeps it right");
}

static void
judge_disk(json_t *findings, const struct doctor_facts *facts)
{
    uint64_t mark = facts->disk_total_bytes / 20 > GIB ? facts->disk_total_bytes / 20 : GIB;
    if (facts->data_dir == NULL) {
        return;
    }
    if (facts->disk_total_bytes == 0) {
        add(findings, DOCTOR_BAD, "disk", "make the directory, for the broker's user alone",
            "%s cannot be looked at", facts->data_dir);
        return;
    }
    bool is_low = facts->disk_free_bytes < mark;
    add(findings, is_low ? DOCTOR_BAD : DOCTOR_OK, "disk",
        "free some, or set server.disk-free: publishers are blocked below the mark",
        "%.1f GiB free of %.1f GiB at %s", (double)facts->disk_free_bytes / (double)GIB,
        (double)facts->disk_total_bytes / (double)GIB, facts->data_dir);
    bool is_far = facts->file_system == FILE_SYSTEM_NFS;
    bool is_memory = facts->file_system == FILE_SYSTEM_TMPFS;
    add(findings,
        is_far      ? DOCTOR_BAD
        : is_memory ? DOCTOR_WARNING
                    : DOCTOR_OK,
        "file system", "use a local disk: what was confirmed has to be there after a crash",
        "%s lies on %s", facts->data_dir,
        is_far      ? "a network file system"
        : is_memory ? "memory"
                    : "a local file system");
}

void
doctor_judge(json_t *findings, const struct doctor_facts *facts)
{
    judge_kernel(findings, facts);
    judge_clock(findings, facts);
    judge_disk(findings, facts);
}

void
doctor_judge_certificate(json_t *findings, const char *path, int64_t end_ms, int64_t wall_ms)
{
    int64_t days = (end_ms - wall_ms) / MS_PER_DAY;
    enum doctor_verdict verdict = end_ms <= wall_ms    ? DOCTOR_BAD
                                  : days < DAYS_WARNED ? DOCTOR_WARNING
                                                       : DOCTOR_OK;
    add(findings, verdict, "certificate", "renew it in place and send the broker SIGHUP",
        verdict == DOCTOR_BAD ? "%s has expired, %" PRId64 " days ago"
                              : "%s is valid for another %" PRId64 " days",
        path, verdict == DOCTOR_BAD ? -days : days);
}

/* Gathering ---------------------------------------------------------------------------------- */

/* The number in a file of /proc/sys; -1: there is none. */
static int64_t
read_number(const char *path)
{
    long long value = -1;
    FILE *file = fopen(path, "re");
    if (file == NULL) {
        return -1;
    }
    if (fscanf(file, "%lld", &value) != 1) {
        value = -1;
    }
    fclose(file);
    return value;
}

static void
gather_disk(struct doctor_facts *facts, const char *data_dir)
{
    struct statvfs space;
    struct statfs kind;
    facts->data_dir = data_dir;
    if (statvfs(data_dir, &space) == 0 && statfs(data_dir, &kind) == 0) {
        facts->disk_free_bytes = (uint64_t)space.f_bavail * space.f_frsize;
        facts->disk_total_bytes = (uint64_t)space.f_blocks * space.f_frsize;
        facts->file_system = (int64_t)kind.f_type;
    }
}

static struct doctor_facts
gather(const struct config *config)
{
    struct rlimit limit = {0};
    struct timex timex = {0};
    struct clock_source clock = clock_system();
    (void)getrlimit(RLIMIT_NOFILE, &limit);
    int state = adjtimex(&timex);
    struct doctor_facts facts = {
        .descriptors_max = limit.rlim_max,
        .somaxconn = read_number("/proc/sys/net/core/somaxconn"),
        .overcommit = read_number("/proc/sys/vm/overcommit_memory"),
        .clock_is_synchronised = state < 0             ? -1
                                 : state == TIME_ERROR ? 0
                                                       : 1,
        .wall_ms = clock.read(clock.context).wall_ms,
    };
    if (config != NULL) {
        gather_disk(&facts, config->server.data_dir);
    }
    return facts;
}

static void
judge_files(json_t *findings, const struct config *config, int64_t wall_ms)
{
    for (size_t i = 0; i < LISTENER_KIND_COUNT; i++) {
        const struct config_tls *tls = config->listeners[i].tls;
        int64_t end_ms;
        if (!config->listeners[i].enabled || tls == NULL) {
            continue;
        }
        if (certificate_file_end(tls->certificate, &end_ms)) {
            doctor_judge_certificate(findings, tls->certificate, end_ms, wall_ms);
        } else {
            add(findings, DOCTOR_BAD, "certificate", "make it readable, in PEM",
                "%s cannot be read", tls->certificate);
        }
    }
}

/* What the broker says of itself: a check of its own is 200, or 503 with a reason. */
static void
judge_broker(json_t *findings, struct client *client)
{
    static const struct {
        const char *path;
        const char *check;
        const char *next;
    } checks[] = {
        {"/api/health/checks/alarms", "alarms",
         "\"bourse status\" shows memory and disk; \"bourse top\" the longest queues"},
        {"/api/health/checks/certificate-expiration/1/months", "served certificates",
         "renew them in place and send the broker SIGHUP"},
    };
    for (size_t i = 0; i < ARRAY_LEN(checks); i++) {
        json_t *answer;
        long status = client_probe(client, checks[i].path, &answer);
        const char *reason = json_string_value(json_object_get(answer, "reason"));
        enum doctor_verdict verdict = status == 200   ? DOCTOR_OK
                                      : status == 503 ? DOCTOR_BAD
                                                      : DOCTOR_UNKNOWN;
        if (verdict == DOCTOR_UNKNOWN) {
            add(findings, verdict, checks[i].check, "does the user have the role monitor?",
                "the broker gave HTTP %ld", status);
        } else {
            add(findings, verdict, checks[i].check, checks[i].next, "%s",
                verdict == DOCTOR_OK ? "none"
                : reason == NULL     ? "there are"
                                     : reason);
        }
        json_decref(answer);
    }
}

json_t *
doctor_findings(struct client *client, const struct config *config)
{
    json_t *findings = json_array();
    struct doctor_facts facts = gather(config);
    doctor_judge(findings, &facts);
    if (config != NULL) {
        judge_files(findings, config, facts.wall_ms);
    }
    if (client != NULL) {
        judge_broker(findings, client);
    }
    return findings;
}

/* The command -------------------------------------------------------------------------------- */

static bool
has_bad(const json_t *findings)
{
    for (size_t i = 0; i < json_array_size(findings); i++) {
        const json_t *verdict = json_object_get(json_array_get(findings, i), "verdict");
        if (strcmp(json_string_value(verdict), "bad") == 0) {
            return true;
        }
    }
    return false;
}

static int
print_findings(json_t *findings, const struct command_line *line, const struct command_io *io)
{
    static const struct column columns[] = {
        {"CHECK", "check", CELL_TEXT, false},
        {"VERDICT", "verdict", CELL_TEXT, false},
        {"FOUND", "found", CELL_TEXT, false},
        {"NEXT", "next", CELL_TEXT, false},
    };
    struct output output = output_of(line, io);
    int result = output_rows(&output, columns, ARRAY_LEN(columns), findings);
    return result == COMMAND_OK && has_bad(findings) ? COMMAND_FAILED : result;
}

/* Opens the broker if one is there. It is no fault of the machine when none is, and then the reason
 * is on standard error already. */
static struct client *
open_if_there(const struct command_line *line, const struct command_io *io)
{
    struct client *client;
    json_t *answer;
    if (client_open(&client, line, io) != COMMAND_OK) {
        return NULL;
    }
    if (client_probe(client, "/api/whoami", &answer) == 0) {
        fprintf(io->err, "bourse: no broker answers at %s: only the machine is looked at\n",
                client_place(client));
        client_close(&client);
    }
    json_decref(answer);
    return client;
}

int
doctor_run(const struct command_line *line, const struct command_io *io)
{
    struct config *config = NULL;
    if (line->operand_count > 0) {
        config = load_config(line->operands, 1, CONFIG_FOR_CHECK);
        if (config->report.error_count > 0) {
            load_print_report(config, io->err);
            config_free(&config);
            return command_error(io, COMMAND_FAILED, "%s has errors; mend them first",
                                 line->operands[0]);
        }
    }
    struct client *client = open_if_there(line, io);
    json_t *findings = doctor_findings(client, config);
    int result = print_findings(findings, line, io);
    json_decref(findings);
    client_close(&client);
    config_free(&config);
    return result;
}

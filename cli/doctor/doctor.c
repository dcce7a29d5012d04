/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/doctor/doctor.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/statvfs.h>
#include <sys/timex.h>
#include <sys/vfs.h>

#include "base/assert.h"
#include "base/clock.h"
#include "broker/core/core.h"
#include "broker/machine.h"
#include "broker/tls_settings.h"
#include "cli/doctor/doctor_broker.h"
#include "cli/doctor/doctor_finding.h"
#include "cli/files/load.h"
#include "cli/output/output.h"
#include "tls/certificate_time.h"

#define MIB (UINT64_C(1) << 20)
#define GIB (UINT64_C(1) << 30)
#define MS_PER_DAY INT64_C(86400000)

enum {
    DESCRIPTORS_WANTED = 65536,
    SOMAXCONN_WANTED = 1024,
    OVERCOMMIT_NEVER = 2,
    DAYS_WARNED = 30,
    WHY_SIZE = 512,
    /* statfs(2) */
    FILE_SYSTEM_NFS = 0x6969,
    FILE_SYSTEM_TMPFS = 0x01021994,
};

/* Judging ------------------------------------------------------------------------------------ */

static void
judge_descriptors(json_t *findings, const struct doctor_facts *facts)
{
    if (facts->descriptors_max > 0) {
        doctor_add(findings,
                   facts->descriptors_max < DESCRIPTORS_WANTED ? DOCTOR_WARNING : DOCTOR_OK,
                   "descriptors",
                   "raise it where the broker is started: LimitNOFILE=1048576 in its unit, or "
                   "ulimit -n",
                   "%" PRIu64 " may be open in this session", facts->descriptors_max);
    }
}

static void
judge_kernel(json_t *findings, const struct doctor_facts *facts)
{
    if (facts->somaxconn >= 0) {
        doctor_add(findings, facts->somaxconn < SOMAXCONN_WANTED ? DOCTOR_WARNING : DOCTOR_OK,
                   "somaxconn",
                   "sysctl net.core.somaxconn=4096, or clients that come together are turned away",
                   "%" PRId64 " connections may wait to be accepted", facts->somaxconn);
    }
    if (facts->overcommit >= 0) {
        doctor_add(findings, facts->overcommit == OVERCOMMIT_NEVER ? DOCTOR_WARNING : DOCTOR_OK,
                   "overcommit", "sysctl vm.overcommit_memory=0, or set server.memory low",
                   "vm.overcommit_memory is %" PRId64, facts->overcommit);
    }
}

static void
judge_clock(json_t *findings, const struct doctor_facts *facts)
{
    if (facts->clock_is_synchronised < 0) {
        doctor_add(findings, DOCTOR_UNKNOWN, "clock", "ask timedatectl", "the kernel does not say");
        return;
    }
    doctor_add(findings, facts->clock_is_synchronised == 1 ? DOCTOR_OK : DOCTOR_WARNING, "clock",
               "run chrony or systemd-timesyncd: deadlines over a restart count by the wall clock",
               facts->clock_is_synchronised == 1 ? "synchronised" : "nobody keeps it right");
}

static void
judge_disk(json_t *findings, const struct doctor_facts *facts)
{
    if (facts->data_dir == NULL) {
        return;
    }
    if (facts->disk_total_bytes == 0) {
        doctor_add(findings, DOCTOR_BAD, "disk", "make the directory, for the broker's user alone",
                   "%s cannot be looked at", facts->data_dir);
        return;
    }
    bool is_low = facts->disk_free_bytes < facts->disk_mark_bytes;
    bool is_nearly = facts->disk_free_bytes / 2 < facts->disk_mark_bytes;
    doctor_add(findings,
               is_low      ? DOCTOR_BAD
               : is_nearly ? DOCTOR_WARNING
                           : DOCTOR_OK,
               "disk", "free some, enlarge it, or set server.disk-free",
               "%.1f GiB free of %.1f GiB at %s; publishers are blocked below %.1f GiB",
               (double)facts->disk_free_bytes / (double)GIB,
               (double)facts->disk_total_bytes / (double)GIB, facts->data_dir,
               (double)facts->disk_mark_bytes / (double)GIB);
    bool is_far = facts->file_system == FILE_SYSTEM_NFS;
    bool is_memory = facts->file_system == FILE_SYSTEM_TMPFS;
    doctor_add(findings,
               is_far      ? DOCTOR_BAD
               : is_memory ? DOCTOR_WARNING
                           : DOCTOR_OK,
               "file system", "use a local disk: what was confirmed has to be there after a crash",
               "%s lies on %s", facts->data_dir,
               is_far      ? "a network file system"
               : is_memory ? "memory"
                           : "a local file system");
}

static void
judge_memory(json_t *findings, const struct doctor_facts *facts)
{
    bool is_beyond = facts->memory_mark_bytes >= facts->memory_bytes;
    if (facts->memory_mark_bytes == 0 || facts->memory_bytes == 0) {
        return;
    }
    doctor_add(
        findings,
        is_beyond                                                 ? DOCTOR_BAD
        : facts->memory_mark_bytes > facts->memory_bytes / 10 * 8 ? DOCTOR_WARNING
                                                                  : DOCTOR_OK,
        "memory mark", "lower server.memory: beyond what there is the system ends the broker",
        "server.memory is %.0f MiB; this machine or its cgroup allows %.0f MiB",
        (double)facts->memory_mark_bytes / (double)MIB, (double)facts->memory_bytes / (double)MIB);
}

void
doctor_judge(json_t *findings, const struct doctor_facts *facts)
{
    judge_descriptors(findings, facts);
    judge_kernel(findings, facts);
    judge_clock(findings, facts);
    judge_disk(findings, facts);
    judge_memory(findings, facts);
}

void
doctor_judge_certificate(json_t *findings, const char *path, const struct certificate_time *time,
                         int64_t wall_ms)
{
    static const char next[] =
        "put a good one in its place (with its key, and the chain), and send "
        "the broker SIGHUP: connections stay";
    int64_t days = (time->end_ms - wall_ms) / MS_PER_DAY;
    if (time->begin_ms > wall_ms) {
        doctor_add(findings, DOCTOR_BAD, "certificate", "look at clock and certificate",
                   "%s is not valid before %" PRId64 " days from now: clients refuse it", path,
                   (time->begin_ms - wall_ms) / MS_PER_DAY + 1);
    } else if (time->end_ms <= wall_ms) {
        doctor_add(findings, DOCTOR_BAD, "certificate", next,
                   "%s has expired, %" PRId64 " days ago: clients refuse it", path, -days);
    } else {
        doctor_add(findings, days < DAYS_WARNED ? DOCTOR_WARNING : DOCTOR_OK, "certificate", next,
                   "%s is valid for another %" PRId64 " days", path, days);
    }
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
gather_disk(struct doctor_facts *facts, const struct config_server *server)
{
    const char *data_dir = server->data_dir;
    struct statvfs space;
    struct statfs kind;
    facts->data_dir = data_dir;
    if (statvfs(data_dir, &space) == 0 && statfs(data_dir, &kind) == 0) {
        facts->disk_free_bytes = (uint64_t)space.f_bavail * space.f_frsize;
        facts->disk_total_bytes = (uint64_t)space.f_blocks * space.f_frsize;
        facts->file_system = (int64_t)kind.f_type;
        facts->disk_mark_bytes = core_disk_mark(server->disk_free_bytes, server->disk_free_percent,
                                                facts->disk_total_bytes);
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
        gather_disk(&facts, &config->server);
        facts.memory_bytes = machine_memory_bytes();
        facts.memory_mark_bytes = config->server.memory_bytes;
    }
    return facts;
}

/* Loads what the broker would load: a file may be there and be no certificate. */
static void
judge_tls(json_t *findings, const struct config_tls *tls, int64_t wall_ms)
{
    char why[WHY_SIZE] = "";
    struct certificate_time time;
    struct tls_settings settings = tls_settings_of(tls);
    struct tls_context *context = tls_context_new(&settings, NULL, why, sizeof(why));
    if (context == NULL) {
        doctor_add(
            findings, DOCTOR_BAD, "certificate",
            "mend the file that is named, in PEM, with the key of that certificate; run this "
            "as the broker's user",
            "a listener would not start with it: %s", why);
    } else if (certificate_file_time(tls->certificate, &time)) {
        doctor_judge_certificate(findings, tls->certificate, &time, wall_ms);
    }
    tls_context_unref(&context);
}

static void
judge_files(json_t *findings, const struct config *config, int64_t wall_ms)
{
    for (size_t i = 0; i < LISTENER_KIND_COUNT; i++) {
        const struct config_tls *tls = config->listeners[i].tls;
        bool is_seen = false;
        for (size_t before = 0; before < i; before++) {
            is_seen =
                is_seen || config->listeners[before].tls == tls; /* one block, two listeners */
        }
        if (config->listeners[i].enabled && tls != NULL && !is_seen) {
            judge_tls(findings, tls, wall_ms);
        }
    }
}

/* Plain HTTP is for this machine only. */
static bool
is_here(const struct client *client)
{
    const char *place = client_place(client);
    return place[0] == '/' || strncmp(place, "http:", strlen("http:")) == 0;
}

json_t *
doctor_findings(struct client *client, const struct config *config)
{
    json_t *findings = json_array();
    struct doctor_facts facts = gather(config);
    if (client == NULL || is_here(client)) {
        facts.descriptors_max = client == NULL ? facts.descriptors_max : 0; /* it says its own */
        doctor_judge(findings, &facts);
    }
    if (config != NULL) {
        judge_files(findings, config, facts.wall_ms);
    }
    if (client != NULL) {
        doctor_ask_broker(findings, client);
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

static void
put_member(FILE *out, const char *before, const json_t *finding, const char *member,
           const char *behind)
{
    struct buffer text;
    buffer_init(&text);
    cell_put_raw(&text, json_object_get(finding, member));
    if (buffer_size(&text) > 0) {
        fprintf(out, "%s%.*s%s", before, BYTES_FORMAT(buffer_bytes(&text)), behind);
    }
    buffer_fini(&text);
}

/* On a terminal sentences stand below each other, for a column of them is cut where it says what to
 * do. */
static int
print_for_reading(const json_t *findings, FILE *out)
{
    for (size_t i = 0; i < json_array_size(findings); i++) {
        const json_t *finding = json_array_get(findings, i);
        put_member(out, "", finding, "verdict", ": ");
        put_member(out, "", finding, "check", ": ");
        put_member(out, "", finding, "found", "\n");
        put_member(out, "    ", finding, "next", "\n");
    }
    return COMMAND_OK;
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
    bool is_read = output.is_terminal && output.format == OUTPUT_TABLE;
    int result = is_read ? print_for_reading(findings, io->out)
                         : output_rows(&output, columns, ARRAY_LEN(columns), findings);
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
        command_note(io, "bourse: no broker answers at %s: only the machine is looked at",
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

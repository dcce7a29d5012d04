/* SPDX-License-Identifier: Apache-2.0 */
/* `bourse doctor [FILE]`: is this machine fit for a broker, and is the broker well? */
#ifndef BOURSE_CLI_DOCTOR_DOCTOR_H
#define BOURSE_CLI_DOCTOR_DOCTOR_H

#include <jansson.h>

#include "cli/client/client.h"
#include "config/config.h"
#include "tls/certificate_time.h"

/* What was found on a machine. */
struct doctor_facts {
    uint64_t descriptors_max;  /* that this process may have open; 0: it does not matter */
    int64_t somaxconn;         /* -1: not known; so below */
    int64_t overcommit;        /* vm.overcommit_memory */
    int clock_is_synchronised; /* 1, 0, or -1 */
    int64_t wall_ms;
    const char *data_dir; /* NULL: none was named */
    uint64_t disk_free_bytes;
    uint64_t disk_total_bytes;  /* 0: the directory could not be asked */
    uint64_t disk_mark_bytes;   /* publishers are blocked below it */
    int64_t file_system;        /* statfs's number */
    uint64_t memory_bytes;      /* that this machine or its cgroup allows; 0: not known */
    uint64_t memory_mark_bytes; /* 0: a share of that */
};

/* Adds a finding for each fact to the list `findings`: {check, verdict, found, next}. */
void doctor_judge(json_t *findings, const struct doctor_facts *facts);

/* The same for a certificate. */
void doctor_judge_certificate(json_t *findings, const char *path,
                              const struct certificate_time *time, int64_t wall_ms);

/* Everything about this machine (unless the broker runs on another), the configuration's files
 * (NULL: none) and the broker (NULL: none answers). The caller releases it. */
json_t *doctor_findings(struct client *client, const struct config *config);

int doctor_run(const struct command_line *line, const struct command_io *io);

#endif

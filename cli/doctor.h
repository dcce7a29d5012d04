/* SPDX-License-Identifier: Apache-2.0 */
/* `bourse doctor [FILE]`: is this machine fit for a broker, and is the broker well? */
#ifndef BOURSE_CLI_DOCTOR_H
#define BOURSE_CLI_DOCTOR_H

#include <jansson.h>

#include "cli/client.h"
#include "config/config.h"

enum doctor_verdict { DOCTOR_OK, DOCTOR_WARNING, DOCTOR_BAD, DOCTOR_UNKNOWN };

/* What was found on a machine. */
struct doctor_facts {
    uint64_t descriptors_max;  /* that this process may have open */
    int64_t somaxconn;         /* -1: not known; so below */
    int64_t overcommit;        /* vm.overcommit_memory */
    int clock_is_synchronised; /* 1, 0, or -1 */
    int64_t wall_ms;
    const char *data_dir; /* NULL: none was named */
    uint64_t disk_free_bytes;
    uint64_t disk_total_bytes; /* 0: the directory could not be asked */
    int64_t file_system;       /* statfs's number */
};

/* Adds a finding for each fact to the list `findings`: {check, verdict, found, next}. */
void doctor_judge(json_t *findings, const struct doctor_facts *facts);

/* The same for a certificate that ends at `end_ms`. */
void doctor_judge_certificate(json_t *findings, const char *path, int64_t end_ms, int64_t wall_ms);

/* Everything about this machine, the configuration's files (NULL: none) and the broker (NULL: none
 * answers). The caller releases it. */
json_t *doctor_findings(struct client *client, const struct config *config);

int doctor_run(const struct command_line *line, const struct command_io *io);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* A file of tests of a topology: docs/testing-topology.md. Read by the same tables as configuration
 * files are, so its errors have their place and a guess at what was meant. */
#ifndef BOURSE_CLI_TOPOLOGY_TEST_FILE_H
#define BOURSE_CLI_TOPOLOGY_TEST_FILE_H

#include "config/schema.h"

enum test_outcome {
    TEST_REACHES_QUEUES, /* see the lists */
    TEST_IS_UNROUTABLE,
    TEST_IS_REFUSED,
};

struct test_publish {
    const struct node *node;
    struct setting exchange, key, user, size;
    const struct node *headers;
    struct bytes properties; /* the property block that they make */
};

/* One test. */
struct test_case {
    const struct node *node;
    struct setting name;
    struct test_publish publish;
    struct setting_list expect;   /* exactly these queues */
    struct setting_list includes; /* these and perhaps others */
    struct setting_list without;  /* none of these: `not` */
    enum test_outcome outcome;
};

struct test_file {
    struct config *report; /* whose report and arena are used; owned */
    struct test_case **cases;
    size_t count;
};

/* Reads the file and checks it against the configuration that it is about: queues that a test names
 * are declared there. Never fails; use the cases only when report->report.error_count is 0. */
void test_file_read(struct test_file *file, const char *path, const struct config *config);
void test_file_fini(struct test_file *file);

#endif

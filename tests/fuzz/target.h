/* SPDX-License-Identifier: Apache-2.0 */
/* What is fuzzed. A target takes any octets and aborts when a promise does not hold; sanitizers see
 * the rest. libFuzzer drives the targets (libfuzzer.c), and the unit tests run them over their
 * seeds (test_seeds.c). */
#ifndef BOURSE_TESTS_FUZZ_TARGET_H
#define BOURSE_TESTS_FUZZ_TARGET_H

#include "base/assert.h"
#include "base/bytes.h"
#include "tests/fuzz/draw.h"

struct fuzz_target {
    const char *name;
    size_t size_max; /* of an input, in octets */
    void (*run)(struct bytes input);
    /* Changes the input in place as somebody who knows its structure would, and returns its new
     * size, at most `size_max`. NULL: octets are all there is. */
    size_t (*mutate)(uint8_t *data, size_t size, size_t size_max, struct draw *draw);
};

extern const struct fuzz_target fuzz_access;
extern const struct fuzz_target fuzz_certificate;
extern const struct fuzz_target fuzz_config;
extern const struct fuzz_target fuzz_definitions;
extern const struct fuzz_target fuzz_frame;
extern const struct fuzz_target fuzz_headers;
extern const struct fuzz_target fuzz_http;
extern const struct fuzz_target fuzz_literal;
extern const struct fuzz_target fuzz_login;
extern const struct fuzz_target fuzz_password;
extern const struct fuzz_target fuzz_properties;
extern const struct fuzz_target fuzz_proxy;
extern const struct fuzz_target fuzz_session;
extern const struct fuzz_target fuzz_session_memory;
extern const struct fuzz_target fuzz_store_index;
extern const struct fuzz_target fuzz_store_manifest;
extern const struct fuzz_target fuzz_store_pack;
extern const struct fuzz_target fuzz_store_segment;
extern const struct fuzz_target fuzz_store_snapshot;
extern const struct fuzz_target fuzz_table;
extern const struct fuzz_target fuzz_topic;
extern const struct fuzz_target fuzz_topology;

/* NULL behind the last one. */
extern const struct fuzz_target *const fuzz_targets[];

#endif

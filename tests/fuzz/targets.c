/* SPDX-License-Identifier: Apache-2.0 */
/* The list of targets. */
#include "tests/fuzz/target.h"

const struct fuzz_target *const fuzz_targets[] = {
    &fuzz_access,
    &fuzz_certificate,
    &fuzz_config,
    &fuzz_definitions,
    &fuzz_frame,
    &fuzz_headers,
    &fuzz_http,
    &fuzz_literal,
    &fuzz_login,
    &fuzz_password,
    &fuzz_properties,
    &fuzz_proxy,
    &fuzz_session,
    &fuzz_session_memory,
    &fuzz_store_index,
    &fuzz_store_manifest,
    &fuzz_store_pack,
    &fuzz_store_segment,
    &fuzz_store_snapshot,
    &fuzz_table,
    &fuzz_topic,
    &fuzz_topology,
    NULL,
};

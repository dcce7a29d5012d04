/* SPDX-License-Identifier: Apache-2.0 */
/* The obvious way to compare tables and to match topics: slow, recursive, and short enough to be
 * believed. What the broker does is held against it. */
#ifndef BOURSE_TESTS_FUZZ_REFERENCE_H
#define BOURSE_TESTS_FUZZ_REFERENCE_H

#include "amqp/table.h"
#include "base/bytes.h"

/* table_value_equal. */
bool reference_value_equal(const struct table_value *a, const struct table_value *b);

/* Whether the binding key `pattern` matches `key` (AMQP 0-9-1, 3.1.3.3). */
bool reference_topic_matches(struct bytes pattern, struct bytes key);

/* Words of a key, as its dots separate them; the empty key has none. */
size_t reference_word_count(struct bytes key);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* What was probably meant by what a file cannot say: words of other brokers, keys that stand
 * elsewhere, values without their brackets. Each is the end of a message, with what parts it from
 * the beginning, or empty. Static memory. */
#ifndef BOURSE_CONFIG_HINTS_H
#define BOURSE_CONFIG_HINTS_H

#include "base/bytes.h"

/* Of a key that `record` ("queue", "the file") does not have; NULL: nothing is known of it. */
const char *hint_for_key(const char *record, struct bytes key);

/* Of what should have been a map: how one looks. `text` is what stands there instead; data NULL: it
 * is no text. */
const char *hint_for_map(const char *record, struct bytes text);

/* Of what should have been a list, or one value: the same for `key`. */
const char *hint_for_shape(const char *key);

/* Of a value that a key does not take: what RabbitMQ's or a logger's word for it is here. */
const char *hint_for_word(struct bytes word);

/* Of a place where the text is no YAML: `line` is the whole line. */
const char *hint_for_line(struct bytes line);

#endif

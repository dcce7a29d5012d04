/* SPDX-License-Identifier: Apache-2.0 */
/* Writing AMQP field tables (bodies, without their length): what `arguments` and the words of a
 * queue become. The letters are S, l, t, d, F, A and V. */
#ifndef BOURSE_CONFIG_ARGUMENTS_H
#define BOURSE_CONFIG_ARGUMENTS_H

#include "base/buffer.h"
#include "config/yaml_tree.h"

enum { ARGUMENTS_DEPTH_MAX = 16 };

void arguments_put_text(struct buffer *table, const char *name, struct bytes value);
void arguments_put_integer(struct buffer *table, const char *name, int64_t value);
void arguments_put_number(struct buffer *table, const char *name, double value);
void arguments_put_boolean(struct buffer *table, const char *name, bool value);

/* Appends every entry of `map` (NULL: none): plain scalars as the boolean, integer, number or null
 * that they are in YAML, all others as text; lists and maps as arrays and tables. Nesting deeper
 * than ARGUMENTS_DEPTH_MAX and names over 255 octets are reported and left out. Iterative. */
void arguments_put_map(struct config *config, struct buffer *table, const struct node *map);

/* Copies the body into the config's arena and releases the buffer. */
struct bytes arguments_finish(struct config *config, struct buffer *table);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* The schema of configuration files as a list of keys, for explaining them. */
#ifndef BOURSE_CONFIG_DESCRIBE_H
#define BOURSE_CONFIG_DESCRIBE_H

#include "config/schema.h"

enum { KEY_PATH_SIZE = 160 };

/* Calls `each` for every key that a file may have, in the order of the tables, with its path: names
 * that the file chooses are NAME, items of lists [], such as "queues.NAME.from[].key". */
void describe_keys(void (*each)(void *context, const char *path, const struct field_spec *field),
                   void *context);

/* The path under which the same key is explained wherever it may stand: what "defaults" says of
 * queues is "queues.NAME", every binding is "from[]", every listener is LISTENER. */
void key_canonical(const char *path, char out[static KEY_PATH_SIZE]);

enum { KEY_VALUE_SIZE = 256 };

/* What the value looks like, such as "a duration such as 500ms, 30s or 24h, required". */
void describe_value(const struct field_spec *field, char out[static KEY_VALUE_SIZE]);

#endif

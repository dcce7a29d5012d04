/* SPDX-License-Identifier: Apache-2.0 */
/* Values as a configuration file has them: what is written reads back as the same. Flow style, on
 * one line. */
#ifndef BOURSE_CLI_DEFINITIONS_YAML_TEXT_H
#define BOURSE_CLI_DEFINITIONS_YAML_TEXT_H

#include "amqp/table.h"

#include <stdio.h>

/* A text (UTF-8): plain where nobody can take it for something else, else in double quotes. */
void yaml_put_text(FILE *out, struct bytes text);

/* A value of a table, with all that is inside; iterative. */
void yaml_put_value(FILE *out, const struct table_value *value);

/* "{", or ", " for every member but the first. */
struct yaml_flow {
    FILE *out;
    bool has_members;
};
void yaml_flow_key(struct yaml_flow *flow, const char *key);
void yaml_flow_text(struct yaml_flow *flow, const char *key, struct bytes text);
void yaml_flow_end(struct yaml_flow *flow); /* "}", or "{}" when there was none */

#endif

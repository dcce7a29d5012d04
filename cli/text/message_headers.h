/* SPDX-License-Identifier: Apache-2.0 */
/* Headers of a message from the command line: NAME=VALUE. */
#ifndef BOURSE_CLI_TEXT_MESSAGE_HEADERS_H
#define BOURSE_CLI_TEXT_MESSAGE_HEADERS_H

#include "base/buffer.h"

/* Appends one header to a table body: whole numbers as integers, true and false as booleans, `CC`
 * and `BCC` as lists of keys that commas separate, everything else as text; double quotes around a
 * value make it text. False with a reason (static memory) when it is none. */
bool message_header_put(struct buffer *table, const char *given, const char **why_out);

/* Appends the property block that has these headers, and nothing else. */
void message_properties_put(struct buffer *block, struct bytes headers);

#endif

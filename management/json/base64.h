/* SPDX-License-Identifier: Apache-2.0 */
/* Octets as text, RFC 4648 with its padding. */
#ifndef BOURSE_MANAGEMENT_JSON_BASE64_H
#define BOURSE_MANAGEMENT_JSON_BASE64_H

#include "base/buffer.h"

void base64_put(struct buffer *out, struct bytes octets);

/* Appends what the text stands for; false when it is no base64 (its padding may be missing), or
 * there is no memory. */
bool base64_read(struct buffer *out, struct bytes text);

#endif

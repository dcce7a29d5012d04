/* SPDX-License-Identifier: Apache-2.0 */
/* Octets as text (RFC 4648). */
#ifndef BOURSE_CLI_TEXT_BASE64_H
#define BOURSE_CLI_TEXT_BASE64_H

#include <stdio.h>

#include "base/bytes.h"

void base64_print(FILE *out, struct bytes octets);

#endif

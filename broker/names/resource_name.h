/* SPDX-License-Identifier: Apache-2.0 */
/* Names of exchanges and queues as methods give them. */
#ifndef BOURSE_BROKER_NAMES_RESOURCE_NAME_H
#define BOURSE_BROKER_NAMES_RESOURCE_NAME_H

#include "base/bytes.h"
#include "base/status.h"

enum { RESOURCE_NAME_SIZE_MAX = 255 }; /* octets: a shortstr */

/* `name` without its CR and LF, as RabbitMQ takes names: itself when it has none, else a copy in
 * `scratch`. */
struct bytes resource_name_clean(struct bytes name, uint8_t scratch[static RESOURCE_NAME_SIZE_MAX]);

/* Whether the name starts with `amq.`: nobody but the broker makes such ones. */
bool resource_name_is_reserved(struct bytes name);

/* 403 at channel scope: `queue name 'amq.foo' contains reserved prefix 'amq.*'`; `kind` is "queue"
 * or "exchange". */
enum status fault_reserved_name(struct fault *fault, const char *kind, struct bytes name);

#endif

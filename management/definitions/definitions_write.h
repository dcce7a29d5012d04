/* SPDX-License-Identifier: Apache-2.0 */
/* Definitions as the JSON that RabbitMQ 4.x imports, and definitions_read takes back as they were.
 */
#ifndef BOURSE_MANAGEMENT_DEFINITIONS_DEFINITIONS_WRITE_H
#define BOURSE_MANAGEMENT_DEFINITIONS_DEFINITIONS_WRITE_H

#include "management/definitions/definitions.h"
#include "management/json/json_writer.h"

/* One object. `version` is that of the broker, `rabbitmq_version` what it answers for RabbitMQ's.
 */
void definitions_write(const struct definitions *definitions, const char *version,
                       const char *rabbitmq_version, struct json_writer *json);

/* Limits of a user or vhost as an object: "max-connections", and `second` with `others`. What is
 * below 0 is no limit, and left out. */
void definitions_write_limits(struct json_writer *json, const char *key, int64_t connections,
                              const char *second, int64_t others);

#endif

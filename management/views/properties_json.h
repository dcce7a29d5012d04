/* SPDX-License-Identifier: Apache-2.0 */
/* The properties of a message as RabbitMQ's API shows and takes them. */
#ifndef BOURSE_MANAGEMENT_VIEWS_PROPERTIES_JSON_H
#define BOURSE_MANAGEMENT_VIEWS_PROPERTIES_JSON_H

#include "amqp/properties.h"
#include "management/json/json_reader.h"
#include "management/json/json_writer.h"

/* Writes an object with those that are there; a block that cannot be read is an empty one. */
void properties_write(struct json_writer *json, struct bytes block);

/* Appends the block of an object to `out` ({} is two zero octets). False with `why`. */
bool properties_read(const json_t *object, struct buffer *out, char why[static JSON_WHY_SIZE]);

#endif

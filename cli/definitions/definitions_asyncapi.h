/* SPDX-License-Identifier: Apache-2.0 */
/* Definitions of a vhost as an AsyncAPI 3.0 document with the AMQP binding 0.3.0: a channel for
 * each exchange and each queue, an operation that sends to it or receives from it. What the binding
 * has no words for (dead letters, retries, rights) is not in it. */
#ifndef BOURSE_CLI_DEFINITIONS_DEFINITIONS_ASYNCAPI_H
#define BOURSE_CLI_DEFINITIONS_DEFINITIONS_ASYNCAPI_H

#include "management/definitions/definitions.h"
#include "management/json/json_writer.h"

void definitions_write_asyncapi(const struct definitions *definitions, struct bytes vhost,
                                struct json_writer *json);

#endif

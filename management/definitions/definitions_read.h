/* SPDX-License-Identifier: Apache-2.0 */
/* Definitions out of JSON, as RabbitMQ 3.x and 4.x and LavinMQ write them: tags as list or text,
 * limits as [] or {}, hashes of a missing algorithm, operator policies and limits among the
 * parameters, and the form of a single vhost, in which nothing says its name. What no broker of
 * ours can have (amq. objects, streams, exchange types and parameters that are not known) is left
 * out with a warning. */
#ifndef BOURSE_MANAGEMENT_DEFINITIONS_DEFINITIONS_READ_H
#define BOURSE_MANAGEMENT_DEFINITIONS_DEFINITIONS_READ_H

#include "base/status.h"
#include "management/definitions/definitions.h"

enum { DEFINITIONS_WHY_SIZE = 384 };

/* Adds what `text` defines. `vhost` is where objects go that do not say theirs (the form of a
 * single vhost). STATUS_FAULT: it is no definitions file, and `why` says where and why not; nothing
 * of `definitions` is to be used then. */
MUST_CHECK enum status definitions_read(struct definitions *definitions, struct bytes text,
                                        struct bytes vhost, char why[static DEFINITIONS_WHY_SIZE]);

/* The same for `vhost` alone: all goes there, whatever vhost a row names, and what is said of
 * vhosts themselves is passed over. */
MUST_CHECK enum status definitions_read_into(struct definitions *definitions, struct bytes text,
                                             struct bytes vhost,
                                             char why[static DEFINITIONS_WHY_SIZE]);

#endif

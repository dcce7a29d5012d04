/* SPDX-License-Identifier: Apache-2.0 */
/* A route explanation for people to read. The same question to the same topology gives the same
 * text. */
#ifndef BOURSE_BROKER_EXPLAIN_ROUTE_TEXT_H
#define BOURSE_BROKER_EXPLAIN_ROUTE_TEXT_H

#include "broker/explain/explain_route.h"

#include <stdio.h>

/* What is known besides: of a file there are no messages and no consumers to speak of. */
enum route_source { ROUTE_OF_FILE, ROUTE_OF_BROKER };

void route_print(const struct explained_route *route, enum route_source source, FILE *out);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* The description of the HTTP interface in OpenAPI 3.1, made from the table of routes: every route
 * that is served is in it, and nothing else. */
#ifndef BOURSE_MANAGEMENT_ROUTES_OPENAPI_H
#define BOURSE_MANAGEMENT_ROUTES_OPENAPI_H

#include "management/http/route.h"
#include "management/json/json_writer.h"

/* One object. */
void openapi_write(struct json_writer *json, const struct route *table, size_t count,
                   const char *version);

#endif

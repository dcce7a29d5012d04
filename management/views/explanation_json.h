/* SPDX-License-Identifier: Apache-2.0 */
/* An explained route as a JSON object. */
#ifndef BOURSE_MANAGEMENT_VIEWS_EXPLANATION_JSON_H
#define BOURSE_MANAGEMENT_VIEWS_EXPLANATION_JSON_H

#include "broker/explain/explain_route.h"
#include "broker/explain/route_text.h"
#include "management/json/json_writer.h"

void explanation_write(struct json_writer *json, const struct explained_route *route,
                       enum route_source source);

#endif

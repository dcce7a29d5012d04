/* SPDX-License-Identifier: Apache-2.0 */
/* Plans, what is wrong with configurations, and what an operator allows, in JSON. */
#ifndef BOURSE_MANAGEMENT_VIEWS_PLAN_JSON_H
#define BOURSE_MANAGEMENT_VIEWS_PLAN_JSON_H

#include "broker/plan/plan.h"
#include "management/json/json_writer.h"

/* Members of an object that is begun: vhost, digest, counts, steps, and the text for people. */
void plan_write(struct json_writer *json, const struct plan *plan);

/* The same of a plan that is drift: what clients made (`made`), made otherwise (`changed`) and
 * deleted (`gone`). */
void drift_write(struct json_writer *json, const struct plan *plan);

/* `name`: an array of what is wrong. */
void diagnostics_write(struct json_writer *json, const char *name, const struct config *config);

/* A digest is sixteen hexadecimal digits. */
enum { DIGEST_TEXT_SIZE = 17 };
const char *digest_text(uint64_t digest, char out[static DIGEST_TEXT_SIZE]);
bool digest_read(struct bytes text, uint64_t *digest_out); /* false: it is none */

#endif

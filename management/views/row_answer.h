/* SPDX-License-Identifier: Apache-2.0 */
/* What routes that show rows of a survey have in common: a list, one, and small parts of objects.
 */
#ifndef BOURSE_MANAGEMENT_VIEWS_ROW_ANSWER_H
#define BOURSE_MANAGEMENT_VIEWS_ROW_ANSWER_H

#include "broker/survey/survey_walk.h"
#include "management/views/list_page.h"
#include "queues/clocks.h"

/* Answers with the rows as a list (list_page.h), or with the first of them, and 404 when there is
 * none. With `columns` only those of its members. */
void rows_answer(struct call *call, const struct list_kind *kind, const struct survey_rows *rows);
void row_answer(struct call *call, const struct list_kind *kind, const struct survey_rows *rows);

/* Answers with an object that was written whole, as row_answer does; frees `json`. */
void object_answer(struct call *call, struct json_writer *json);

/* {"status": "ok"}; 503 with {"status": "failed", "reason": ...}. */
void health_answer(struct call *call, bool is_well, const char *reason);

/* "NAME": {"rate": 0}: what is not measured. "NAME": []. Text, or null when data is NULL. */
void put_rate(struct json_writer *json, const char *name, double rate);
void put_empty_array(struct json_writer *json, const char *name);
void put_text_or_null(struct json_writer *json, const char *name, struct bytes text);

/* "pattern", "apply-to", "definition" and "priority" of a policy. */
struct survey_policy;
void policy_write_body(struct json_writer *json, const struct survey_policy *policy);

/* A counter and its "COUNTER_details"; nothing when it never moved. */
void put_counter(struct json_writer *json, const char *name, uint64_t count, double rate);

/* Deliveries by kind, with their rates: deliver, deliver_no_ack, get, get_no_ack, and deliver_get,
 * which is all of them. */
void put_deliveries(struct json_writer *json, const uint64_t counts[static DELIVERY_KIND_COUNT],
                    const double rates[static DELIVERY_KIND_COUNT]);

/* The name that somebody has given the cluster, `value` as JSON has it, or else that of the node.
 */
struct management;
void cluster_name_put(struct json_writer *json, const char *member,
                      const struct management *management, struct bytes value);

/* "CONNECTION (NUMBER)". Appends. */
void put_channel_name(struct buffer *out, struct bytes connection, uint16_t number);

#endif

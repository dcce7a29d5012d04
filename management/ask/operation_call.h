/* SPDX-License-Identifier: Apache-2.0 */
/* What routes that are one AMQP method have in common: what is read of the call, and how it is
 * answered. */
#ifndef BOURSE_MANAGEMENT_ASK_OPERATION_CALL_H
#define BOURSE_MANAGEMENT_ASK_OPERATION_CALL_H

#include "management/ask/operation.h"

/* Whether every name of the path fits AMQP's short strings; false: it was answered. */
bool call_names_fit(struct call *call);

/* An operation with that method on what the path's second name says. */
struct operation *operation_new_on(const struct call *call, enum operation_object object,
                                   enum method_id id);

/* Reads the body's `arguments` into operation->arguments; false: it was answered. */
bool operation_read_arguments(struct call *call, const json_t *body, struct operation *operation);

/* Answers: 204, or 412 where a condition of the caller (if-unused, if-empty) was refused. */
void operation_answer_change(struct call *call, const struct operation *operation);
/* 201 for what was not there, 204 for what was. */
void operation_answer_put(struct call *call, const struct operation *operation);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* Which messages are meant (broker/desk/desk_filter.h), out of the object `filter` of a body, or
 * out of the parameters of a query, which have the same names. */
#ifndef BOURSE_MANAGEMENT_VIEWS_DESK_FILTER_JSON_H
#define BOURSE_MANAGEMENT_VIEWS_DESK_FILTER_JSON_H

#include "broker/desk/desk_filter.h"
#include "management/http/call.h"

/* False: it was answered 400. Texts are views of the JSON or the call, ids are of its arena. A NULL
 * or missing `object` means all messages. */
bool desk_filter_read(struct call *call, const json_t *object, struct desk_filter *filter_out);

/* `others`: names of parameters that are not of the filter, NULL behind the last; what is in
 * neither is refused. */
bool desk_filter_read_query(struct call *call, const char *const *others,
                            struct desk_filter *filter_out);

/* A number of the query within bounds; `*out` stays where there is none. False: answered 400. */
bool call_read_number(struct call *call, const char *name, int64_t min, int64_t max, int64_t *out);

/* Refuses members of the object that are none of `names`, with 400: a word that is misspelt must
 * not mean something else. */
bool json_has_only(struct call *call, const json_t *object, const char *const *names);

#endif

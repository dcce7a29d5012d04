/* SPDX-License-Identifier: Apache-2.0 */
/* What every list route does with its rows: filter by name (`name`, `use_regex`), sort (`sort`,
 * `sort_reverse`), cut a page out (`page`, `page_size`) and leave columns away (`columns`). A route
 * gives the rows as an array of pointers, and says how to compare and write one. */
#ifndef BOURSE_MANAGEMENT_VIEWS_LIST_PAGE_H
#define BOURSE_MANAGEMENT_VIEWS_LIST_PAGE_H

#include "management/http/call.h"

enum { PAGE_SIZE_DEFAULT = 100, PAGE_SIZE_MAX = 500, LIST_COLUMNS_MAX = 128 };

/* One thing that rows can be sorted by. */
struct list_column {
    const char *name; /* "messages_ready", "message_stats.publish_details.rate" */
    /* Compares two rows: <0, 0, >0. */
    int (*compare)(const void *a, const void *b);
};

struct list_kind {
    struct bytes (*name)(const void *row); /* what `name` filters by */
    /* Another name, a part of which will do as well; NULL: there is none. */
    struct bytes (*other_name)(const void *row);
    /* The whole object. */
    void (*write)(struct json_writer *json, const void *row, const void *context);
    const void *context; /* for `write` */
    const struct list_column *columns;
    size_t column_count;
};

/* Answers the call with those of the rows that were asked for: an array, or with `page` an object
 * {items, page, page_size, page_count, item_count, filtered_count, total_count}. The order of
 * `rows` is changed. 400 for a page that is no number from 1 on, a page_size above 500, more
 * than LIST_COLUMNS_MAX columns, an expression that does not compile or takes too long. */
void list_answer(struct call *call, const struct list_kind *kind, const void **rows, size_t count);

/* The same in two steps, for rows that are read whole once it is known which ones are wanted. */
struct list_slice {
    size_t first, count;    /* of the rows, in their new order */
    size_t filtered, total; /* behind the filter, and in front of it */
};

/* Filters and sorts, and says which rows come; false: it was answered. `kind` needs no `write`. */
bool list_select(struct call *call, const struct list_kind *kind, const void **rows, size_t count,
                 struct list_slice *slice_out);
/* Answers with slice->count rows, the first of which is `rows[0]`. */
void list_answer_slice(struct call *call, const struct list_kind *kind, const void *const *rows,
                       const struct list_slice *slice);

/* Whether `sort` means something by that name. */
bool list_has_column(const struct list_kind *kind, const char *name);

/* Leaves everything out of the JSON object that was written to `whole` but `columns`
 * ("name,message_stats.publish"); appends the rest to `out`. Where there was no memory for the
 * whole, `out` fails. */
void columns_copy(struct json_writer *out, const struct json_writer *whole, const char *columns);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
#include "management/views/desk_filter_json.h"

#include <string.h>

#include "base/assert.h"
#include "management/views/message_rows.h"

static const char *const filter_names[] = {
    "ids",       "places",      "exchange",   "routing_key",  "origin_key", "origin_queue",
    "reason",    "error_class", "header",     "header_value", "message_id", "batch",
    "not_batch", "age_min_ms",  "age_max_ms", NULL,
};

static bool
is_among(const char *const *names, const char *name)
{
    for (; *names != NULL; names++) {
        if (strcmp(*names, name) == 0) {
            return true;
        }
    }
    return false;
}

bool
json_has_only(struct call *call, const json_t *object, const char *const *names)
{
    const char *name;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)object, name, value)
    {
        if (!is_among(names, name)) {
            call_fail(call, 400, "\"%.64s\" is not known here", name);
            return false;
        }
    }
    return true;
}

/* Lists -------------------------------------------------------------------------------------- */

/* The items of a list: of an array of texts, or of a text with commas. */
struct items {
    const json_t *array; /* NULL: a text */
    size_t at;
    struct bytes rest;
};

/* False: it is neither. */
static bool
items_begin(struct items *items, const json_t *value)
{
    *items = (struct items){.array = json_is_array(value) ? value : NULL};
    if (json_is_string(value)) {
        items->rest = bytes_make(json_string_value(value), json_string_length(value));
    }
    return json_is_array(value) || json_is_string(value);
}

/* A text without `data` is no text. False at the end. */
static bool
items_next(struct items *items, struct bytes *item_out)
{
    if (items->array != NULL) {
        const json_t *item = json_array_get(items->array, items->at++);
        *item_out = json_is_string(item)
                        ? bytes_make(json_string_value(item), json_string_length(item))
                        : bytes_make(NULL, 0);
        return item != NULL;
    }
    if (items->rest.size == 0) {
        return false;
    }
    const uint8_t *comma = memchr(items->rest.data, ',', items->rest.size);
    size_t size = comma == NULL ? items->rest.size : (size_t)(comma - items->rest.data);
    *item_out = bytes_make(items->rest.data, size);
    size_t passed = comma == NULL ? size : size + 1;
    items->rest = bytes_make(items->rest.data + passed, items->rest.size - passed);
    return true;
}

static size_t
items_count(struct items items)
{
    struct bytes item;
    size_t count = 0;
    while (items_next(&items, &item)) {
        count++;
    }
    return count;
}

static bool
read_ids(struct call *call, const json_t *value, struct desk_filter *filter)
{
    struct items items;
    struct bytes item;
    if (value == NULL || json_is_null(value)) {
        return true;
    }
    if (!items_begin(&items, value)) {
        call_fail(call, 400, "\"ids\" takes a list of texts");
        return false;
    }
    size_t count = items_count(items);
    if (count > DESK_IDS_MAX) {
        call_fail(call, 400, "\"ids\" takes at most %d", DESK_IDS_MAX);
        return false;
    }
    struct desk_id *ids = arena_alloc(&call->arena, (count + 1) * sizeof(*ids));
    for (uint32_t i = 0; items_next(&items, &item); i++) {
        if (!desk_id_read(item, &ids[i])) {
            call_fail(call, 400, "\"%.*s\" is no id of a message; peek shows them",
                      (int)(item.size < 64 ? item.size : 64),
                      item.data == NULL ? "" : (const char *)item.data);
            return false;
        }
    }
    filter->ids = ids;
    filter->id_count = (uint32_t)count;
    return true;
}

static bool
read_places(struct call *call, const json_t *value, struct desk_filter *filter)
{
    struct items items;
    struct bytes item;
    enum desk_place place;
    if (value == NULL || json_is_null(value)) {
        return true;
    }
    bool is_list = items_begin(&items, value);
    while (is_list && items_next(&items, &item)) {
        is_list = desk_place_read(item, &place);
        filter->places |= is_list ? 1U << place : 0;
    }
    if (!is_list || filter->places == 0) {
        call_fail(call, 400, "\"places\" takes a list out of ready, waiting, parked, unacked");
        return false;
    }
    return true;
}

/* All of it ---------------------------------------------------------------------------------- */

static bool
read_texts(struct call *call, const json_t *object, struct desk_filter *filter)
{
    char why[JSON_WHY_SIZE];
    bool is_good = json_read_text(object, "exchange", &filter->exchange, why) &&
                   json_read_text(object, "routing_key", &filter->routing_key, why) &&
                   json_read_text(object, "origin_key", &filter->origin_key, why) &&
                   json_read_text(object, "origin_queue", &filter->origin_queue, why) &&
                   json_read_text(object, "reason", &filter->reason, why) &&
                   json_read_text(object, "error_class", &filter->error_class, why) &&
                   json_read_text(object, "header", &filter->header_name, why) &&
                   json_read_text(object, "header_value", &filter->header_text, why) &&
                   json_read_text(object, "message_id", &filter->message_id, why) &&
                   json_read_text(object, "batch", &filter->batch, why) &&
                   json_read_text(object, "not_batch", &filter->not_batch, why);
    if (!is_good) {
        call_fail(call, 400, "%s", why);
    } else if ((filter->header_name.data == NULL) != (filter->header_text.data == NULL)) {
        call_fail(call, 400, "\"header\" and \"header_value\" go together");
        is_good = false;
    }
    return is_good;
}

static bool
read_ages(struct call *call, const json_t *object, struct desk_filter *filter)
{
    char why[JSON_WHY_SIZE];
    int64_t min = 0;
    int64_t max = 0;
    if (!json_read_integer(object, "age_min_ms", 0, INT64_MAX, &min, why) ||
        !json_read_integer(object, "age_max_ms", 0, INT64_MAX, &max, why)) {
        call_fail(call, 400, "%s", why);
        return false;
    }
    filter->age_min_ms = (uint64_t)min;
    filter->age_max_ms = (uint64_t)max;
    return true;
}

bool
desk_filter_read(struct call *call, const json_t *object, struct desk_filter *filter_out)
{
    *filter_out = (struct desk_filter){0};
    if (object == NULL || json_is_null(object)) {
        return true;
    }
    if (!json_is_object(object)) {
        call_fail(call, 400, "\"filter\" takes an object");
        return false;
    }
    return json_has_only(call, object, filter_names) &&
           read_ids(call, json_object_get(object, "ids"), filter_out) &&
           read_places(call, json_object_get(object, "places"), filter_out) &&
           read_texts(call, object, filter_out) && read_ages(call, object, filter_out);
}

/* The query is read as if it were such an object, which the call keeps as its JSON. */
bool
desk_filter_read_query(struct call *call, const char *const *others, struct desk_filter *filter_out)
{
    assert(call->json == NULL);
    call->json = json_object();
    for (uint32_t i = 0; i < call->query_count; i++) {
        const struct call_parameter *parameter = &call->query[i];
        if (is_among(others, parameter->name)) {
            continue;
        }
        json_t *text = json_string(parameter->value);
        if (text == NULL || json_object_set_new(call->json, parameter->name, text) != 0) {
            call_fail(call, 400, "a parameter is not UTF-8");
            return false;
        }
    }
    return desk_filter_read(call, call->json, filter_out);
}

bool
call_read_number(struct call *call, const char *name, int64_t min, int64_t max, int64_t *out)
{
    char why[JSON_WHY_SIZE];
    const char *text = call_parameter(call, name);
    json_t *object = text == NULL ? NULL : json_pack("{s:s}", name, text);
    bool is_good =
        text == NULL || (object != NULL && json_read_integer(object, name, min, max, out, why));
    if (!is_good) {
        call_fail(call, 400, "%s", object == NULL ? "a parameter is not UTF-8" : why);
    }
    json_decref(object);
    return is_good;
}

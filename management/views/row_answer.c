/* SPDX-License-Identifier: Apache-2.0 */
#include "management/views/row_answer.h"

#include <stdio.h>

#include "management/http/server.h"

void
rows_answer(struct call *call, const struct list_kind *kind, const struct survey_rows *rows)
{
    list_answer(call, kind, (const void **)rows->rows, rows->count);
}

void
object_answer(struct call *call, struct json_writer *json)
{
    const char *columns = call_parameter(call, "columns");
    struct json_writer part;
    json_init(&part);
    if (columns != NULL) {
        columns_copy(&part, json, columns);
    }
    call_answer_json(call, 200, columns == NULL ? json : &part);
    json_fini(json);
    json_fini(&part);
}

void
row_answer(struct call *call, const struct list_kind *kind, const struct survey_rows *rows)
{
    struct json_writer json;
    if (rows->count == 0) {
        call_fail(call, 404, "Not Found");
        return;
    }
    json_init(&json);
    kind->write(&json, rows->rows[0], kind->context);
    object_answer(call, &json);
}

void
health_answer(struct call *call, bool is_well, const char *reason)
{
    struct json_writer json;
    json_init(&json);
    json_begin_object(&json);
    json_put_string(&json, "status", is_well ? "ok" : "failed");
    if (!is_well) {
        json_put_string(&json, "reason", reason);
    }
    json_end_object(&json);
    call_answer_json(call, is_well ? 200 : 503, &json);
    json_fini(&json);
}

void
put_rate(struct json_writer *json, const char *name, double rate)
{
    json_key(json, name);
    json_begin_object(json);
    json_put_real(json, "rate", rate);
    json_end_object(json);
}

void
put_empty_array(struct json_writer *json, const char *name)
{
    json_key(json, name);
    json_begin_array(json);
    json_end_array(json);
}

void
put_text_or_null(struct json_writer *json, const char *name, struct bytes text)
{
    if (text.data == NULL) {
        json_put_null(json, name);
    } else {
        json_put_text(json, name, text);
    }
}

void
put_counter(struct json_writer *json, const char *name, uint64_t count, double rate)
{
    char details[64];
    if (count > 0) {
        (void)snprintf(details, sizeof(details), "%s_details", name);
        json_put_unsigned(json, name, count);
        put_rate(json, details, rate);
    }
}

void
put_deliveries(struct json_writer *json, const uint64_t counts[static DELIVERY_KIND_COUNT],
               const double rates[static DELIVERY_KIND_COUNT])
{
    static const char *const names[DELIVERY_KIND_COUNT] = {
        [DELIVERY_CONSUMED] = "deliver",
        [DELIVERY_CONSUMED_FOR_GOOD] = "deliver_no_ack",
        [DELIVERY_GOT] = "get",
        [DELIVERY_GOT_FOR_GOOD] = "get_no_ack",
    };
    double rate = 0;
    for (int i = 0; i < DELIVERY_KIND_COUNT; i++) {
        put_counter(json, names[i], counts[i], rates[i]);
        rate += rates[i];
    }
    put_counter(json, "deliver_get", delivery_count(counts), rate);
}

void
cluster_name_put(struct json_writer *json, const char *member, const struct management *management,
                 struct bytes value)
{
    if (value.size == 0 || value.data[0] != '"') {
        json_put_string(json, member, management->node);
    } else {
        json_key(json, member);
        json_raw(json, value);
    }
}

void
put_channel_name(struct buffer *out, struct bytes connection, uint16_t number)
{
    buffer_put_bytes(out, connection);
    buffer_printf(out, " (%u)", (unsigned)number);
}

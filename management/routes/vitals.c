/* SPDX-License-Identifier: Apache-2.0 */
/* Numbers of longer times than a point of the history (management/monitor/long_view.h), and
 * certificates.
 */
#include "management/http/server.h"
#include "management/monitor/monitor.h"
#include "management/routes/handlers.h"

static void
write_flushes(struct json_writer *json, const struct long_view *view)
{
    uint64_t p99_us;
    if (!long_view_flush_p99(view, &p99_us)) {
        json_put_null(json, "flush_p99_ms");
        return;
    }
    /* What took longer than all bounds is told as the last of them. */
    json_put_real(
        json, "flush_p99_ms",
        (double)(p99_us == UINT64_MAX ? store_flush_bounds_us[FLUSH_BUCKET_COUNT - 2] : p99_us) /
            1000);
}

static void
write_letters(struct json_writer *json, const struct long_view *view)
{
    struct long_view_letters before;
    if (!long_view_letters_before(view, &before)) {
        json_put_null(json, "dead_letters");
        return;
    }
    json_key(json, "dead_letters");
    json_begin_object(json);
    json_put_unsigned(json, "now", view->letters.count);
    json_put_unsigned(json, "before", before.count);
    json_put_number(json, "before_ms", before.at_ms);
    json_end_object(json);
}

static void
write_certificates(struct json_writer *json, struct management *management)
{
    json_key(json, "certificates");
    json_begin_array(json);
    for (int i = 0; i < LISTENER_KIND_COUNT; i++) {
        int64_t end_ms = atomic_load(&management->certificate_ends_ms[i]);
        if (end_ms != 0) {
            json_begin_object(json);
            json_put_string(json, "listener", config_listener_name((enum config_listener_kind)i));
            json_put_number(json, "ends_ms", end_ms);
            json_end_object(json);
        }
    }
    json_end_array(json);
}

void
handle_vitals(struct call *call)
{
    const struct long_view *view = monitor_long_view(call->management->monitor);
    struct json_writer json;
    json_init(&json);
    json_begin_object(&json);
    write_flushes(&json, view);
    write_letters(&json, view);
    write_certificates(&json, call->management);
    json_end_object(&json);
    call_answer_json(call, 200, &json);
    json_fini(&json);
}

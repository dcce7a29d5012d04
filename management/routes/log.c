/* SPDX-License-Identifier: Apache-2.0 */
/* The last lines of the log. */
#include <errno.h>
#include <stdlib.h>

#include "management/http/server.h"
#include "management/monitor/log_tail.h"
#include "management/routes/handlers.h"

static void
write_lines(struct json_writer *json, struct bytes lines)
{
    json_key(json, "lines");
    json_begin_array(json);
    while (lines.size > 0) {
        const uint8_t *end = memchr(lines.data, '\n', lines.size);
        size_t size = end == NULL ? lines.size : (size_t)(end - lines.data);
        json_text(json, bytes_make(lines.data, size));
        size += end == NULL ? 0 : 1;
        lines = bytes_make(lines.data + size, lines.size - size);
    }
    json_end_array(json);
}

void
handle_log(struct call *call)
{
    const char *after = call_parameter(call, "after");
    char *end = NULL;
    struct json_writer json;
    struct buffer lines;
    errno = 0;
    uint64_t number = after == NULL ? 0 : strtoull(after, &end, 10);
    if (after != NULL && (after[0] < '0' || after[0] > '9' || *end != '\0' || errno != 0)) {
        call_fail(call, 400, "\"after\" takes the number of a line");
        return;
    }
    buffer_init(&lines);
    uint64_t first = log_tail_read(call->management->log_tail, number, &lines);
    json_init(&json);
    json_begin_object(&json);
    json_put_unsigned(&json, "first", first);
    write_lines(&json, buffer_bytes(&lines));
    json_end_object(&json);
    call_answer_json(call, 200, &json);
    json_fini(&json);
    buffer_fini(&lines);
}

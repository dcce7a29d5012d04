/* SPDX-License-Identifier: Apache-2.0 */
/* Looking at the messages of a queue, which changes nothing: page by page, all of them as lines, or
 * by what they have in common. */
#include <stdlib.h>

#include "base/alloc.h"
#include "management/ask/desk_ask.h"
#include "management/routes/handlers.h"
#include "management/views/desk_filter_json.h"
#include "management/views/message_rows.h"

enum {
    PEEK_COUNT = 20,
    PEEK_COUNT_MAX = 1000,
    PEEK_OCTETS_MAX = 4 * 1024 * 1024,
    PEEK_BODY = 4096,
    PEEK_BODY_MAX = 1024 * 1024,
    LOOK_SECONDS = 120, /* what is asked of the contents of a long backlog takes its time */
};

/* A page --------------------------------------------------------------------------------------- */

struct peek {
    struct desk_ask desk; /* the first */
    struct message_rows rows;
    bool always_base64;
};

static bool
show(struct desk_ask *ask, const struct desk_row *row, const struct desk_facts *facts)
{
    struct peek *peek = CONTAINER_OF(ask, struct peek, desk);
    return message_rows_add(&peek->rows, ask->core, row, facts);
}

static void
peek_fini(struct desk_ask *ask)
{
    message_rows_fini(&CONTAINER_OF(ask, struct peek, desk)->rows);
}

static struct peek *
peek_new(void (*answer)(struct call *call, struct desk_ask *ask))
{
    struct peek *peek = xalloc(sizeof(*peek));
    desk_ask_init(&peek->desk);
    peek->desk.order.action = DESK_BROWSE;
    peek->desk.patience_ms = NEVER_MS;
    peek->desk.show = show;
    peek->desk.answer = answer;
    peek->desk.fini = peek_fini;
    return peek;
}

static bool
is_at_end(const struct desk_progress *progress)
{
    return progress->cursor.phase == PHASE_END;
}

static void
answer_peek(struct call *call, struct desk_ask *ask)
{
    const struct peek *peek = CONTAINER_OF(ask, struct peek, desk);
    char cursor[DESK_CURSOR_TEXT_SIZE];
    struct json_writer json;
    if (ask->refusal.reply_code != 0) {
        call_fail_reply(call, ask->refusal.reply_code, ask->refusal.reply_text);
        return;
    }
    if (peek->rows.has_no_memory) {
        call_fail(call, 503, "there is no memory for the messages: ask for less of them");
        return;
    }
    json_init(&json);
    json_begin_object(&json);
    json_key(&json, "messages");
    json_begin_array(&json);
    for (uint32_t i = 0; i < peek->rows.count; i++) {
        message_row_write(&json, &peek->rows.items[i], peek->always_base64);
    }
    json_end_array(&json);
    if (is_at_end(&ask->progress)) {
        json_put_null(&json, "next");
    } else {
        json_put_string(&json, "next", desk_cursor_text(cursor, &ask->progress.cursor));
    }
    json_end_object(&json);
    call_answer_json(call, 200, &json);
    json_fini(&json);
}

/* False: answered 400. */
static bool
read_encoding(struct call *call, bool *always_base64_out)
{
    const char *text = call_parameter(call, "encoding");
    struct bytes encoding = bytes_of(text == NULL ? "auto" : text);
    *always_base64_out = bytes_equal_text(encoding, "base64");
    if (!*always_base64_out && !bytes_equal_text(encoding, "auto")) {
        call_fail(call, 400, "\"encoding\" is \"auto\" or \"base64\"");
        return false;
    }
    return true;
}

static bool
read_cursor(struct call *call, struct desk_cursor *cursor)
{
    const char *text = call_parameter(call, "after");
    if (text != NULL && !desk_cursor_read(bytes_of(text), cursor)) {
        call_fail(call, 400, "\"after\" takes what \"next\" of the page before says");
        return false;
    }
    return true;
}

void
handle_peek(struct call *call)
{
    static const char *const others[] = {"count", "after", "truncate", "encoding", NULL};
    int64_t count = PEEK_COUNT;
    int64_t body_max = PEEK_BODY;
    struct peek *peek = peek_new(answer_peek);
    if (!desk_filter_read_query(call, others, &peek->desk.order.filter) ||
        !read_encoding(call, &peek->always_base64) || !read_cursor(call, &peek->desk.order.from) ||
        !call_read_number(call, "count", 1, PEEK_COUNT_MAX, &count) ||
        !call_read_number(call, "truncate", 0, PEEK_BODY_MAX, &body_max)) {
        desk_ask_free(&peek->desk);
        return;
    }
    peek->desk.order.limit = (uint64_t)count;
    peek->rows.body_max = (uint32_t)body_max;
    peek->rows.octets_max = PEEK_OCTETS_MAX;
    call_allow(call, LOOK_SECONDS);
    desk_ask_start(call, &peek->desk);
}

/* All of them, as lines ------------------------------------------------------------------------ */

enum { EXPORT_PAGE = 1000, EXPORT_OCTETS_MAX = 1024 * 1024 };

/* The state of a call, from page to page. */
struct export
{
    struct desk_filter filter;
    struct desk_cursor cursor;
    uint64_t left;          /* messages; 0: no more are wanted */
    uint64_t begun_wall_ms; /* what came later is left out; 0: not begun */
    uint32_t body_max;
    bool always_base64;
};

static void ask_for_page(struct call *call);

/* What came in the same millisecond may have been there. */
static bool
show_old(struct desk_ask *ask, const struct desk_row *row, const struct desk_facts *facts)
{
    struct peek *peek = CONTAINER_OF(ask, struct peek, desk);
    struct export *export = ask->ask.call->state;
    if (export->begun_wall_ms == 0) {
        export->begun_wall_ms = (uint64_t)ask->core->now.wall_ms;
    }
    bool has_place = (row->position & QUEUE_POSITION_DELAYED) == 0;
    if (facts != NULL && has_place && facts->arrival_wall_ms > export->begun_wall_ms) {
        return true;
    }
    return message_rows_add(&peek->rows, ask->core, row, facts);
}

static void
write_lines(struct json_writer *json, const struct peek *peek)
{
    for (uint32_t i = 0; i < peek->rows.count; i++) {
        message_row_write(json, &peek->rows.items[i], peek->always_base64);
        buffer_put_u8(&json->out, '\n');
        json->needs_comma = false;
    }
}

static void
answer_page(struct call *call, struct desk_ask *ask)
{
    const struct peek *peek = CONTAINER_OF(ask, struct peek, desk);
    struct export *export = call->state;
    struct json_writer json;
    if (ask->refusal.reply_code != 0 && !call->is_streaming) {
        call_fail_reply(call, ask->refusal.reply_code, ask->refusal.reply_text);
        return;
    }
    if (peek->rows.has_no_memory && !call->is_streaming) {
        call_fail(call, 503, "there is no memory for the messages");
        return;
    }
    if (!call->is_streaming) {
        call_stream_begin(call, "application/x-ndjson");
    }
    if (ask->refusal.reply_code != 0) {
        call_stream_fail(call, ask->refusal.reply_text);
        return;
    }
    if (peek->rows.has_no_memory) {
        call_stream_fail(call, "there is no memory for the messages");
        return;
    }
    export->cursor = ask->progress.cursor;
    export->left -= peek->rows.count < export->left ? peek->rows.count : export->left;
    export->left = is_at_end(&ask->progress) ? 0 : export->left;
    json_init(&json);
    write_lines(&json, peek);
    if (peek->rows.count > 0) {
        call_stream_send(call, &json.out, ask_for_page);
    } else {
        ask_for_page(call);
    }
    json_fini(&json);
}

/* The next page, or the end. */
static void
ask_for_page(struct call *call)
{
    const struct export *export = call->state;
    if (export->left == 0) {
        call_stream_end(call);
        return;
    }
    struct peek *peek = peek_new(answer_page);
    peek->desk.show = show_old;
    peek->desk.order.filter = export->filter;
    peek->desk.order.from = export->cursor;
    peek->desk.order.limit = export->left < EXPORT_PAGE ? export->left : EXPORT_PAGE;
    peek->rows.octets_max = EXPORT_OCTETS_MAX;
    peek->rows.body_max = export->body_max;
    peek->always_base64 = export->always_base64;
    desk_ask_start(call, &peek->desk);
}

void
handle_export(struct call *call)
{
    static const char *const others[] = {"limit", "truncate", "encoding", NULL};
    int64_t limit = INT64_MAX;
    int64_t body_max = UINT32_MAX;
    struct export *export = xalloc(sizeof(*export));
    call->state = export;
    if (!desk_filter_read_query(call, others, &export->filter) ||
        !read_encoding(call, &export->always_base64) ||
        !call_read_number(call, "limit", 1, INT64_MAX, &limit) ||
        !call_read_number(call, "truncate", 0, UINT32_MAX, &body_max)) {
        return;
    }
    export->left = (uint64_t)limit;
    export->body_max = (uint32_t)body_max;
    call_allow(call, LOOK_SECONDS);
    ask_for_page(call);
}

/* Groups --------------------------------------------------------------------------------------- */

struct grouping {
    struct desk_ask desk; /* the first */
    struct desk_group *groups;
    uint32_t count;
    struct desk_group others;
    struct arena arena;
};

static struct bytes
keep(struct grouping *grouping, struct bytes text)
{
    return text.data == NULL ? text : arena_copy(&grouping->arena, text);
}

static void
take_groups(struct desk_ask *ask, const struct desk_job *job)
{
    struct grouping *grouping = CONTAINER_OF(ask, struct grouping, desk);
    const struct desk_groups *from = desk_job_groups(job);
    uint32_t at = 0;
    const struct desk_group *group;
    grouping->groups = xalloc(DESK_GROUPS_MAX * sizeof(*grouping->groups));
    grouping->others = from->others;
    while ((group = desk_groups_next(from, &at)) != NULL && grouping->count < DESK_GROUPS_MAX) {
        struct desk_group *to = &grouping->groups[grouping->count++];
        *to = *group;
        to->origin_queue = keep(grouping, group->origin_queue);
        to->reason = keep(grouping, group->reason);
        to->error_class = keep(grouping, group->error_class);
        to->routing_key = keep(grouping, group->routing_key);
    }
}

static int
compare_groups(const void *a, const void *b)
{
    uint64_t first = ((const struct desk_group *)a)->count;
    uint64_t second = ((const struct desk_group *)b)->count;
    return (first < second) - (first > second);
}

static void
write_sums(struct json_writer *json, const struct desk_group *group)
{
    json_put_unsigned(json, "count", group->count);
    json_put_unsigned(json, "octets", group->octets);
    json_put_unsigned(json, "oldest_ms", group->oldest_ms);
    json_put_unsigned(json, "newest_ms", group->newest_ms);
}

static struct bytes
unless_empty(struct bytes text)
{
    return text.size == 0 ? bytes_make(NULL, 0) : text;
}

static void
write_group(struct json_writer *json, const struct desk_group *group)
{
    char id[DESK_ID_TEXT_SIZE];
    json_begin_object(json);
    json_put_known(json, "origin_queue", group->origin_queue);
    json_put_known(json, "reason", group->reason);
    json_put_known(json, "error_class", unless_empty(group->error_class));
    json_put_known(json, "routing_key", group->routing_key);
    write_sums(json, group);
    json_put_string(json, "sample", desk_id_text(id, group->sample));
    json_end_object(json);
}

static void
answer_groups(struct call *call, struct desk_ask *ask)
{
    struct grouping *grouping = CONTAINER_OF(ask, struct grouping, desk);
    struct json_writer json;
    if (ask->refusal.reply_code != 0) {
        call_fail_reply(call, ask->refusal.reply_code, ask->refusal.reply_text);
        return;
    }
    qsort(grouping->groups, grouping->count, sizeof(*grouping->groups), compare_groups);
    json_init(&json);
    json_begin_object(&json);
    json_key(&json, "groups");
    json_begin_array(&json);
    for (uint32_t i = 0; i < grouping->count; i++) {
        write_group(&json, &grouping->groups[i]);
    }
    json_end_array(&json);
    json_key(&json, "others");
    json_begin_object(&json);
    write_sums(&json, &grouping->others);
    json_end_object(&json);
    json_put_unsigned(&json, "messages", ask->progress.done_count);
    json_put_unsigned(&json, "unreadable", ask->progress.unreadable_count);
    json_end_object(&json);
    call_answer_json(call, 200, &json);
    json_fini(&json);
}

static void
groups_fini(struct desk_ask *ask)
{
    struct grouping *grouping = CONTAINER_OF(ask, struct grouping, desk);
    free(grouping->groups);
    arena_fini(&grouping->arena);
}

void
handle_groups(struct call *call)
{
    static const char *const others[] = {"limit", NULL};
    int64_t limit = 0;
    struct grouping *grouping = xalloc(sizeof(*grouping));
    desk_ask_init(&grouping->desk);
    grouping->desk.order.action = DESK_GROUP;
    grouping->desk.patience_ms = NEVER_MS;
    grouping->desk.take = take_groups;
    grouping->desk.answer = answer_groups;
    grouping->desk.fini = groups_fini;
    if (!desk_filter_read_query(call, others, &grouping->desk.order.filter) ||
        !call_read_number(call, "limit", 1, INT64_MAX, &limit)) {
        desk_ask_free(&grouping->desk);
        return;
    }
    grouping->desk.order.limit = (uint64_t)limit;
    call_allow(call, LOOK_SECONDS);
    desk_ask_start(call, &grouping->desk);
}

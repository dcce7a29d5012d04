/* SPDX-License-Identifier: Apache-2.0 */
/* Ids and cursors as text, and what a message is written as. */
#include "management/views/message_rows.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <string.h>

Test(message_rows, ids_and_cursors_come_back_as_they_were)
{
    char text[DESK_CURSOR_TEXT_SIZE];
    struct desk_id id = {0};
    struct desk_cursor cursor = {0};
    struct desk_cursor last = {PHASE_END, UINT64_MAX, UINT64_MAX, UINT64_MAX};
    cr_assert(desk_id_read(
        bytes_of(desk_id_text(text, (struct desk_id){.position = UINT64_MAX, .lsn = 10})), &id));
    cr_expect(eq(u64, id.position, UINT64_MAX));
    cr_expect(eq(u64, id.lsn, 10));
    cr_assert(desk_cursor_read(bytes_of(desk_cursor_text(text, &last)), &cursor));
    cr_expect(eq(u64, cursor.third, UINT64_MAX));
    cr_expect(eq(u64, cursor.phase, PHASE_END));
}

Test(message_rows, what_is_no_id_or_cursor_is_refused)
{
    static const char *const ids[] = {"",      "1",    "1-",  "-1",
                                      "1-2-3", "1-2 ", "g-1", "1_2",
                                      "0x1-0", "1--2", "A-1", "11111111111111111-0"};
    struct desk_id id;
    struct desk_cursor cursor;
    for (size_t i = 0; i < sizeof(ids) / sizeof(ids[0]); i++) {
        cr_expect(not(desk_id_read(bytes_of(ids[i]), &id)), "%s", ids[i]);
    }
    cr_expect(not(desk_cursor_read(bytes_of("5-0-0-0"), &cursor)), "there is no such phase");
    cr_expect(not(desk_cursor_read(bytes_of("1-0-0"), &cursor)));
}

static bool
writes(const struct message_row *row, bool always_base64, const char *part)
{
    struct json_writer json;
    json_init(&json);
    message_row_write(&json, row, always_base64);
    buffer_put_u8(&json.out, '\0');
    bool is_there = strstr((const char *)buffer_bytes(&json.out).data, part) != NULL;
    json_fini(&json);
    return is_there;
}

Test(message_rows, a_body_is_text_or_base64_and_what_is_not_known_is_null)
{
    struct message_row row = {
        .properties = bytes_make("\0\0", 2), .body = bytes_of("hey"), .body_size = 3};
    cr_expect(writes(&row, false, "\"payload\":\"hey\",\"payload_encoding\":\"string\""));
    cr_expect(writes(&row, true, "\"payload\":\"aGV5\",\"payload_encoding\":\"base64\""));
    cr_expect(writes(&row, false, "\"origin_queue\":null"));
    cr_expect(writes(&row, false, "\"payload_truncated\":false"));
    row.body = bytes_make("\xff", 1);
    cr_expect(writes(&row, false, "\"payload_encoding\":\"base64\",\"payload_truncated\":true"));
    row.is_unreadable = true;
    cr_expect(not(writes(&row, false, "payload_encoding")));
    cr_expect(writes(&row, false, "\"payload_bytes\":3"));
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Messages of a queue as the dead-letter desk shows them (broker/desk/desk.h): copied out of the
 * core, and written as JSON by the other thread. */
#ifndef BOURSE_MANAGEMENT_VIEWS_MESSAGE_ROWS_H
#define BOURSE_MANAGEMENT_VIEWS_MESSAGE_ROWS_H

#include "base/alloc.h"
#include "broker/desk/desk.h"
#include "management/json/json_writer.h"

/* One message. Texts without `data` are not known. */
struct message_row {
    struct desk_id id;
    enum desk_place place;
    bool is_redelivered, is_unreadable;
    uint32_t failures;        /* that count */
    uint64_t arrival_wall_ms; /* 0: not known */
    uint64_t age_ms;
    uint64_t expiry_wall_ms, due_wall_ms; /* 0: never */
    struct bytes exchange, routing_key;
    struct bytes origin_queue, origin_exchange, reason, error_class, replay_batch;
    int64_t replay_count;
    struct bytes properties; /* block */
    struct bytes body;       /* as much as is shown */
    uint32_t body_size;      /* of all */
};

struct message_rows {
    struct message_row *items; /* owned */
    uint32_t count, capacity;
    uint64_t octets;     /* copied so far */
    uint64_t octets_max; /* at which there are enough */
    uint32_t body_max;   /* octets of a body that are copied */
    bool has_no_memory;  /* for one, which is not among them; nor is what is behind it */
    struct arena arena;  /* owned */
};

void message_rows_fini(struct message_rows *rows);

/* In the core: copies one; `facts` NULL: it cannot be read. False: that is enough. */
bool message_rows_add(struct message_rows *rows, const struct core *core,
                      const struct desk_row *row, const struct desk_facts *facts);

/* An object. A body that is no UTF-8 is written in base64, and so is every one if that is asked. */
void message_row_write(struct json_writer *json, const struct message_row *row, bool always_base64);

/* Names of places, "ready"; and back, false: none. */
const char *desk_place_name(enum desk_place place);
bool desk_place_read(struct bytes name, enum desk_place *place_out);

/* Ids and cursors as text: hexadecimal numbers with "-" between. False: it is none. */
enum { DESK_ID_TEXT_SIZE = 40, DESK_CURSOR_TEXT_SIZE = 72 };
const char *desk_id_text(char out[static DESK_ID_TEXT_SIZE], struct desk_id id);
bool desk_id_read(struct bytes text, struct desk_id *id_out);
const char *desk_cursor_text(char out[static DESK_CURSOR_TEXT_SIZE],
                             const struct desk_cursor *cursor);
bool desk_cursor_read(struct bytes text, struct desk_cursor *cursor_out);

/* Members of an object that may be unknown: null then. */
void json_put_known(struct json_writer *json, const char *name, struct bytes text);
void json_put_time(struct json_writer *json, const char *name, uint64_t wall_ms); /* 0: unknown */

/* Numbers in hexadecimal with "-" between, exactly `count` of them. */
bool hex_numbers_read(struct bytes text, uint64_t *numbers, uint32_t count);

#endif

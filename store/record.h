/* SPDX-License-Identifier: Apache-2.0 */
/* The records of a log, as docs/store-format.md gives them. Encoding and decoding as pure functions
 * over octets; what a disk may have changed is checked here, once, before anybody acts on it. */
#ifndef BOURSE_STORE_RECORD_H
#define BOURSE_STORE_RECORD_H

#include "base/buffer.h"
#include "base/bytes.h"
#include "base/made.h"
#include "base/status.h"
#include "store/row_attempts.h"
#include "store/row_state.h"

#include <stdbool.h>
#include <stdint.h>

enum {
    RECORD_ALIGNMENT = 8,
    RECORD_HEADER_SIZE = 8,
};

enum record_type {
    RECORD_PUBLISH = 1,
    RECORD_ACK = 2,
    RECORD_ROW_STATE = 4,
    RECORD_HANDOUT = 5,
    RECORD_VHOST_SET = 16,
    RECORD_VHOST_DELETE = 17,
    RECORD_USER_SET = 18,
    RECORD_USER_DELETE = 19,
    RECORD_EXCHANGE_SET = 20,
    RECORD_EXCHANGE_DELETE = 21,
    RECORD_QUEUE_SET = 22,
    RECORD_QUEUE_DELETE = 23,
    RECORD_BINDING_SET = 24,
    RECORD_BINDING_DELETE = 25,
    RECORD_POLICY_SET = 26,
    RECORD_POLICY_DELETE = 27,
    RECORD_GENERATION_SET = 28,
    RECORD_GENERATION_DELETE = 29,
    RECORD_FACT_SET = 30, /* record_fact.h */
    RECORD_FACT_DELETE = 31,
    RECORD_EPOCH = 32,
    RECORD_NOTE = 33,
};

enum record_flag { RECORD_IGNORABLE = 1 << 0 };

/* Flags of SET records. */
enum record_set_flag {
    RECORD_FROM_FILE = 1 << 0,
    RECORD_AUTO_DELETE = 1 << 1,
    RECORD_INTERNAL = 1 << 2,
    RECORD_PREDECLARED = 1 << 3,
    RECORD_TO_EXCHANGE = 1 << 4, /* binding: the target is an exchange */
    RECORD_DISABLED = 1 << 5,    /* user */
    RECORD_OPERATOR = 1 << 6,    /* policy */
    RECORD_TRACED = 1 << 7,      /* vhost */
    RECORD_PROTECTED = 1 << 7,   /* exchange, queue: the topology file has it under `protect` */
    RECORD_PAUSED = 1 << 9,      /* queue */
    RECORD_DESCRIBED = 1 << 10,  /* vhost: something follows the name; the codec's own */
};

/* Bit 63 of a queue id in PUBLISH and in rows: it may have been handed out at once. */
static const uint64_t RECORD_QUEUE_HANDED_OUT = UINT64_C(1) << 63;

struct record_policy {
    uint64_t id, vhost;
    uint32_t flags; /* of enum record_set_flag */
    int32_t priority;
    uint32_t target; /* what it applies to, as docs/store-format.md counts it */
    struct bytes name, pattern, definition;
};

/* A configuration that was applied. */
struct record_generation {
    uint64_t id, vhost;
    int64_t wall_ms;
    uint32_t cause; /* as docs/store-format.md counts it */
    struct bytes maker, rest;
};

/* One decoded record; views point into the octets that were decoded. */
struct record {
    enum record_type type;
    uint8_t flags;       /* of enum record_flag */
    struct bytes octets; /* the whole record, header included: what a snapshot copies */
    union {
        struct {
            uint32_t offset; /* of the content in the data section */
            uint32_t size;   /* octets of the content, padding not included */
            uint32_t check;
            uint32_t queue_count;
            const uint8_t *queues; /* record_queue() reads them */
        } publish;
        struct {
            uint64_t queue;
            uint64_t first_lsn;
            uint32_t count;
            struct bytes list; /* checked: it has exactly count - 1 well-formed numbers, and no
                                  message lies below 8 or above 2^63 */
        } ack;
        struct {
            uint64_t lsn; /* of the message */
            struct row_state state;
            bool came_with_message; /* the PUBLISH of the same batch has it; else it was returned */
            const uint8_t *attempts; /* record_state_attempts() reads them; NULL: none */
            uint32_t queue_count;
            const uint8_t *queues; /* record_state_queue() reads them */
        } row_state;
        struct {
            uint64_t queue, lsn;
        } handout;
        struct {
            uint64_t id;
            int64_t connections_max, queues_max;
            uint32_t flags; /* of enum record_set_flag, as in all SET records */
            struct bytes name;
            struct bytes rest; /* what is behind the name; empty: nothing */
        } vhost;
        struct {
            uint64_t id;
            uint32_t flags;
            struct bytes name, rest;
        } user;
        struct {
            uint64_t id, vhost;
            uint32_t flags;
            struct made made; /* all 0: the record does not say */
            struct bytes name, type, arguments;
        } exchange;
        struct {
            uint64_t id, vhost;
            uint32_t flags;
            struct made made; /* as of an exchange */
            struct bytes name, arguments;
        } queue;
        struct {
            uint64_t source, target;
            uint32_t flags;
            struct bytes routing_key, arguments;
        } binding;
        struct record_policy policy;
        struct record_generation generation;
        struct {
            uint32_t kind; /* of enum record_fact_kind, or another */
            uint64_t id;
            struct bytes rest; /* empty: it is deleted, or says nothing */
        } fact;
        struct {
            uint64_t id;
        } deleted; /* every DELETE but BINDING_DELETE */
        struct {
            uint64_t epoch;
        } epoch;
    };
};

/* Takes the next record off the front of `*octets`. STATUS_AGAIN at the end (nothing is left);
 * STATUS_CORRUPT when what is there is no record of a known type and form; what `*record` holds
 * then says nothing. A record of an unknown type with the ignorable flag comes out as RECORD_NOTE.
 */
MUST_CHECK enum status record_next(struct bytes *octets, struct record *record);

/* Queue number `at` of a PUBLISH, flag bit included. */
uint64_t record_queue(const struct record *record, uint32_t at);

/* Queue number `at` of a ROW_STATE. */
uint64_t record_state_queue(const struct record *record, uint32_t at);

/* The attempts of a ROW_STATE that has them. */
struct row_attempts record_state_attempts(const struct record *record);

/* Walks the messages of an ACK: start with position {0}. False at the end. */
struct record_ack_position {
    uint32_t index;
    size_t offset;
    uint64_t lsn;
};
bool record_ack_next(const struct record *record, struct record_ack_position *position,
                     uint64_t *lsn_out);

/* Encoding: appends to `out`; a lack of memory shows in out->failed. */
void record_put_publish(struct buffer *out, uint32_t offset, uint32_t size, const uint64_t *queues,
                        uint32_t queue_count);
/* The flag of `queues` is not part of it. `attempts` may be NULL, and is left out if it is empty.
 */
void record_put_row_state(struct buffer *out, uint64_t lsn, const struct row_state *state,
                          const struct row_attempts *attempts, bool came_with_message,
                          const uint64_t *queues, uint32_t queue_count);
void record_put_handout(struct buffer *out, uint64_t queue, uint64_t lsn);
void record_put_vhost(struct buffer *out, uint64_t id, int64_t connections_max, int64_t queues_max,
                      uint32_t flags, struct bytes name);
/* The same with `rest` behind the name ("The rest of a vhost"). */
void record_put_described_vhost(struct buffer *out, uint64_t id, int64_t connections_max,
                                int64_t queues_max, uint32_t flags, struct bytes name,
                                struct bytes rest);
void record_put_user(struct buffer *out, uint64_t id, uint32_t flags, struct bytes name,
                     struct bytes rest);
void record_put_made_exchange(struct buffer *out, uint64_t id, uint64_t vhost, uint32_t flags,
                              struct made made, struct bytes name, struct bytes type,
                              struct bytes arguments);
void record_put_made_queue(struct buffer *out, uint64_t id, uint64_t vhost, uint32_t flags,
                           struct made made, struct bytes name, struct bytes arguments);
/* The same without a word on who made it. */
void record_put_exchange(struct buffer *out, uint64_t id, uint64_t vhost, uint32_t flags,
                         struct bytes name, struct bytes type, struct bytes arguments);
void record_put_queue(struct buffer *out, uint64_t id, uint64_t vhost, uint32_t flags,
                      struct bytes name, struct bytes arguments);
/* `type` is RECORD_BINDING_SET or RECORD_BINDING_DELETE. */
void record_put_binding(struct buffer *out, enum record_type type, uint64_t source, uint64_t target,
                        uint32_t flags, struct bytes routing_key, struct bytes arguments);
void record_put_policy(struct buffer *out, const struct record_policy *policy);
void record_put_generation(struct buffer *out, const struct record_generation *generation);
/* `type` is one of the DELETE types by id. */
void record_put_delete(struct buffer *out, enum record_type type, uint64_t id);
void record_put_epoch(struct buffer *out, uint64_t epoch);
void record_put_note(struct buffer *out); /* says nothing; for a batch that only wants a flush */

/* An ACK grows message by message: begin, add, and end before anything else is put. */
struct record_ack_writer {
    size_t start; /* of the record, counted from the buffer's first live octet */
    uint64_t last_lsn;
    uint32_t count;
};
void record_ack_begin(struct record_ack_writer *writer, struct buffer *out, uint64_t queue,
                      uint64_t lsn);
void record_ack_add(struct record_ack_writer *writer, struct buffer *out, uint64_t lsn);
void record_ack_end(struct record_ack_writer *writer, struct buffer *out);

/* The most octets that adding one message to an ACK, or beginning and ending one, can take. */
enum { RECORD_ACK_ADD_MAX = 10, RECORD_ACK_MAX = 48 };
static inline size_t
record_publish_size(uint32_t queue_count)
{
    return RECORD_HEADER_SIZE + 16 + 8 * (size_t)queue_count;
}

/* Of a ROW_STATE, at most. */
static inline size_t
record_row_state_size_max(uint32_t queue_count)
{
    return RECORD_HEADER_SIZE + 16 + 4 * 8 + ROW_ATTEMPTS_SIZE + 8 * (size_t)queue_count;
}

#endif

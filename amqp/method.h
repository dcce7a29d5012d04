/* SPDX-License-Identifier: Apache-2.0 */
/* Methods of AMQP 0-9-1 and its RabbitMQ extensions. methods.def names every method once, with its
 * ids, its sender and its fields in wire order; everything here is made from it: one id, one struct
 * `<class>_<method>` with a member for each field (bits are bool, strings and tables are borrowed
 * views, a table is the body without its length), one table of fields for the codec. */
#ifndef BOURSE_AMQP_METHOD_H
#define BOURSE_AMQP_METHOD_H

#include "base/buffer.h"
#include "base/bytes.h"
#include "base/status.h"

/* Who may send a method. */
enum method_sender {
    METHOD_SENDER_CLIENT = 1,
    METHOD_SENDER_SERVER = 2,
    METHOD_SENDER_BOTH = 3,
};

enum method_class {
    CLASS_CONNECTION = 10,
    CLASS_CHANNEL = 20,
    CLASS_ACCESS = 30,
    CLASS_EXCHANGE = 40,
    CLASS_QUEUE = 50,
    CLASS_BASIC = 60,
    CLASS_CONFIRM = 85,
    CLASS_TX = 90,
};

/* METHOD(UPPER, lower, "name", class id, method id, sender, has content, FIELDS)
 * and within FIELDS: OCTET(name) SHORT(name) LONG(name) LONGLONG(name) BIT(name) SHORTSTR(name)
 * LONGSTR(name) TABLE(name). */
#define METHOD(upper, lower, name, class_id, method_id, sender, content, fields) METHOD_##upper,
enum method_id {
#include "amqp/methods.def"
    METHOD_COUNT,
};

#define OCTET(name) uint8_t name;
#define SHORT(name) uint16_t name;
#define LONG(name) uint32_t name;
#define LONGLONG(name) uint64_t name;
#define BIT(name) bool name;
#define SHORTSTR(name) struct bytes name;
#define LONGSTR(name) struct bytes name;
#define TABLE(name) struct bytes name;
#define NO_FIELDS char nothing;
#define METHOD(upper, lower, name, class_id, method_id, sender, content, fields)                   \
    struct lower {                                                                                 \
        fields                                                                                     \
    };
#include "amqp/methods.def"

#define METHOD(upper, lower, name, class_id, method_id, sender, content, fields) struct lower lower;
struct method {
    enum method_id id;
    union {
#include "amqp/methods.def"
    };
};

struct method_info {
    const char *name; /* such as "queue.declare-ok" */
    uint16_t class_id;
    uint16_t method_id;
    enum method_sender sender;
    bool has_content; /* a content header and body follow */
};

const struct method_info *method_info(enum method_id id);

/* Looks up the ids at the front of a method payload; STATUS_FAULT: 502 when it is shorter than four
 * octets, 540 NOT_IMPLEMENTED at connection scope when no such method exists. */
MUST_CHECK enum status method_identify(struct bytes payload, enum method_id *id_out,
                                       struct fault *fault);

/* Decodes a whole method payload (ids and arguments). Views point into `payload`. STATUS_FAULT at
 * connection scope: 540 unknown ids, 502 arguments cut short or octets left over, 501 a table that
 * cannot be parsed or a shortstr that is not UTF-8. `method` is written on STATUS_OK only. */
MUST_CHECK enum status method_decode(struct method *method, struct bytes payload,
                                     struct fault *fault);

/* Appends ids and arguments to `out` (a failed allocation shows in out->failed). Shortstrs over 255
 * octets are a bug. */
void method_encode(struct buffer *out, const struct method *method);

#endif

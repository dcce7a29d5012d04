/* SPDX-License-Identifier: Apache-2.0 */
/* How a call says no. Three kinds never mix: a bug is asserted, a fault is the peer's doing and
 * becomes channel.close or connection.close, a failure is the machine's doing and is returned
 * until someone can decide. */
#ifndef BOURSE_BASE_STATUS_H
#define BOURSE_BASE_STATUS_H

#include <stdarg.h>
#include <stdint.h>

#define MUST_CHECK __attribute__((warn_unused_result))

/* For a large local on the path of a message that is written before it is read: the build zeroes
 * all others, which costs more than the work itself there. */
#define UNINITIALIZED __attribute__((uninitialized))

/* A function that is seldom called from where much is: the compiler keeps it out of the way. */
#define SELDOM __attribute__((cold))
#define PRINTF_LIKE(format_at, first) __attribute__((format(printf, format_at, first)))

enum status {
    STATUS_OK,        /* 0; everything else is some kind of no */
    STATUS_AGAIN,     /* not yet: more bytes, or a writable socket, first */
    STATUS_FAULT,     /* the peer's doing; the struct fault says what */
    STATUS_REJECTED,  /* a limit or policy said no; nothing is wrong */
    STATUS_FULL,      /* no room left in something of fixed size */
    STATUS_NO_MEMORY, /* memory whose size the peer chose was not to be had */
    STATUS_IO,        /* errno holds the cause */
    STATUS_CORRUPT,   /* bytes on disk that no version of us wrote */
    STATUS_CLOSED,    /* the other side of a stream has ended it in an orderly way */
};

enum fault_scope {
    FAULT_CHANNEL,    /* soft: channel.close, the connection lives on */
    FAULT_CONNECTION, /* hard: connection.close */
};

enum { FAULT_TEXT_SIZE = 256 };

/* What to tell the peer; filled only when a call returns STATUS_FAULT. `text` is the explanation
 * without the code's name: the encoder writes `NAME - text` (amqp/reply.h) and cuts it to what the
 * wire allows. */
struct fault {
    enum fault_scope scope;
    uint16_t reply_code; /* such as 404; amqp/reply.h names them */
    char text[FAULT_TEXT_SIZE];
};

/* Fills `fault`, cutting the text to what fits (never inside a UTF-8 character), and returns
 * STATUS_FAULT, so that a caller can `return fault_set(...)`. */
enum status fault_set(struct fault *fault, enum fault_scope scope, uint16_t reply_code,
                      const char *format, ...) PRINTF_LIKE(4, 5);
enum status fault_set_va(struct fault *fault, enum fault_scope scope, uint16_t reply_code,
                         const char *format, va_list arguments) PRINTF_LIKE(4, 0);

/* A stable word for logs, such as "no-memory". Static memory. */
const char *status_name(enum status status);

#endif

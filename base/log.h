/* SPDX-License-Identifier: Apache-2.0 */
/* Log lines: one event with a stable name and fields. Errors need a person, warnings are unusual
 * and handled, info is lifecycle, debug is protocol traffic. No bodies and no credentials; text
 * that a peer chose goes through log_escape first. */
#ifndef BOURSE_BASE_LOG_H
#define BOURSE_BASE_LOG_H

#include "base/bytes.h"
#include "base/clock.h"
#include "base/status.h"

#include <pthread.h>
#include <stdatomic.h>

enum log_level { LOG_LEVEL_ERROR, LOG_LEVEL_WARN, LOG_LEVEL_INFO, LOG_LEVEL_DEBUG };
enum log_format { LOG_FORMAT_LOGFMT, LOG_FORMAT_JSON };

/* Where lines go. `write` takes one whole line with its newline and must not block for long;
 * production writes to standard error, tests collect. Any thread may write lines and change level
 * and format; the rest is set before there are several. */
struct log {
    _Atomic(enum log_level) level; /* lines above it are dropped before they are formatted */
    _Atomic(enum log_format) format;
    void (*write)(void *context, struct bytes line); /* called under `lock` */
    void *context;
    struct clock_source clock;
    pthread_mutex_t lock;                          /* of what follows; all zero is unlocked */
    uint64_t dropped;                              /* lines the destination did not take */
    void (*tap)(void *context, struct bytes line); /* told of each line as well; NULL: nobody */
    void *tap_context;
    /* What a peer can repeat: at most LOG_REPEAT_MAX lines of one event in a second. */
    struct log_limit {
        const char *event; /* NULL: free */
        uint64_t second;
        uint32_t count;
    } limits[16];
};

enum { LOG_REPEAT_MAX = 20 };

/* A log that writes to standard error with one write(2) per line. A line that would have to wait (a
 * full pipe, a stopped terminal), or that cannot be written, is counted as dropped. `log` must not
 * move afterwards. */
void log_init_stderr(struct log *log, enum log_level level, enum log_format format);

/* Has `tap` told of every line from now on, under the log's lock, before it is written; it must not
 * block, and writes no lines itself. NULL ends that. NULL `log` has no lines. */
void log_tap(struct log *log, void (*tap)(void *context, struct bytes line), void *context);

/* `event` is a static string such as "peer.heartbeat_missed"; `fields` is printf text of
 * `name=value` pairs separated by blanks (values with blanks in double quotes). The line is
 *
 *     time=2026-01-02T03:04:05.678Z level=info event=broker.ready amqp=127.0.0.1:5672
 *
 * or the same as one JSON object, in which integers of up to 15 digits are numbers. Fields that do
 * not fit into a line of 4096 octets are left out, each as a whole, and `cut=true` says so. Control
 * characters become '?'. NULL `log` drops. */
void log_line(struct log *log, enum log_level level, const char *event, const char *fields, ...)
    PRINTF_LIKE(4, 5);

/* Whether a line of that level would be written: for what takes long to put together. */
static inline bool
log_is_enabled(struct log *log, enum log_level level)
{
    return log != NULL && level <= log->level;
}

#define log_error(log, event, ...) log_line((log), LOG_LEVEL_ERROR, (event), __VA_ARGS__)
#define log_warn(log, event, ...) log_line((log), LOG_LEVEL_WARN, (event), __VA_ARGS__)
#define log_info(log, event, ...) log_line((log), LOG_LEVEL_INFO, (event), __VA_ARGS__)
#define log_debug(log, event, ...) log_line((log), LOG_LEVEL_DEBUG, (event), __VA_ARGS__)

/* As log_line, for events a remote peer can cause at will: over LOG_REPEAT_MAX of one event in a
 * second are dropped, and the next line of the event says how many (`suppressed=`). The log watches
 * as many events as it has limits; beyond that the one not seen for longest is forgotten. */
void log_limited(struct log *log, enum log_level level, const char *event, const char *fields, ...)
    PRINTF_LIKE(4, 5);

/* Writes `text` between double quotes with control characters, marks that turn the direction of
 * writing, quotes, backslashes and bytes that are not UTF-8 escaped, cut with an ellipsis to fit;
 * always NUL-terminated. `out_size` is at least
 * 6. The escapes are those of JSON, and \xNN for an octet that is not UTF-8. Returns `out`. */
const char *log_escape(char *out, size_t out_size, struct bytes text);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* Log lines: one event with a stable name and fields. Errors need a person, warnings are unusual
 * and handled, info is lifecycle, debug is protocol traffic. No bodies and no credentials; text that
 * a peer chose goes through log_escape first. */
#ifndef BOURSE_BASE_LOG_H
#define BOURSE_BASE_LOG_H

#include "base/bytes.h"
#include "base/clock.h"
#include "base/status.h"

enum log_level { LOG_LEVEL_ERROR, LOG_LEVEL_WARN, LOG_LEVEL_INFO, LOG_LEVEL_DEBUG };
enum log_format { LOG_FORMAT_LOGFMT, LOG_FORMAT_JSON };

/* Where lines go. `write` takes one whole line with its newline and must not block for long;
 * production writes to standard error, tests collect. */
struct log {
    enum log_level level; /* lines above it are dropped before they are formatted */
    enum log_format format;
    void (*write)(void *context, struct bytes line);
    void *context;
    struct clock_source clock;
    uint64_t dropped; /* lines the destination did not take */
    struct log_limit { /* what a peer can repeat: at most LOG_REPEAT_MAX lines of one event a second */
        const char *event;
        uint64_t second;
        uint32_t count;
    } limits[16];
};

enum { LOG_REPEAT_MAX = 20 };

/* A log that writes to standard error with one write(2) per line; EAGAIN and errors count as
 * dropped. */
void log_init_stderr(struct log *log, enum log_level level, enum log_format format);

/* `event` is a static string such as "peer.heartbeat_missed"; `fields` is printf text of
 * `name=value` pairs separated by blanks (values with blanks in double quotes). NULL `log` drops. */
void log_line(struct log *log, enum log_level level, const char *event, const char *fields, ...)
    PRINTF_LIKE(4, 5);

#define log_error(log, event, ...) log_line((log), LOG_LEVEL_ERROR, (event), __VA_ARGS__)
#define log_warn(log, event, ...) log_line((log), LOG_LEVEL_WARN, (event), __VA_ARGS__)
#define log_info(log, event, ...) log_line((log), LOG_LEVEL_INFO, (event), __VA_ARGS__)
#define log_debug(log, event, ...) log_line((log), LOG_LEVEL_DEBUG, (event), __VA_ARGS__)

/* As log_line, for events a remote peer can cause at will: over LOG_REPEAT_MAX of one event in a
 * second are dropped, and the next line of the event says how many. */
void log_limited(struct log *log, enum log_level level, const char *event, const char *fields, ...)
    PRINTF_LIKE(4, 5);

/* Writes `text` between double quotes with control characters, quotes, backslashes and bytes that
 * are not UTF-8 escaped, cut with an ellipsis to fit; always NUL-terminated. Returns `out`. */
const char *log_escape(char *out, size_t out_size, struct bytes text);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* Making one line of an event and its fields, as logfmt or as JSON, in a buffer of the size that a
 * pipe takes whole. Whatever the fields hold, a line stays one line and JSON stays JSON. */
#include "base/log.h"

#include <ctype.h>
#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "base/assert.h"

enum {
    LINE_SIZE_MAX = 4096, /* PIPE_BUF: a write of it is not mixed with those of others */
    LINE_END_SIZE = 16,   /* kept free for what closes a line that was cut */
    FIELDS_SIZE = 4096,
    TIME_SIZE = 32,
    MS_PER_SECOND = 1000,
};

/* Standard error ----------------------------------------------------------------------------- */

/* Whether a line can be written without waiting. O_NONBLOCK would do, but would also change the
 * terminal or pipe for everybody who shares it. */
static bool
can_write(int descriptor)
{
    struct pollfd request = {.fd = descriptor, .events = POLLOUT};
    return poll(&request, 1, 0) == 1 && (request.revents & (POLLERR | POLLHUP | POLLNVAL)) == 0;
}

static void
write_stderr(void *context, struct bytes line)
{
    struct log *log = context;
    if (!can_write(STDERR_FILENO)) {
        log->dropped++;
        return;
    }
    ssize_t written;
    do {
        written = write(STDERR_FILENO, line.data, line.size);
    } while (written < 0 && errno == EINTR);
    if (written != (ssize_t)line.size) {
        log->dropped++;
    }
}

void
log_init_stderr(struct log *log, enum log_level level, enum log_format format)
{
    *log = (struct log){
        .level = level,
        .format = format,
        .write = write_stderr,
        .context = log,
        .clock = clock_system(),
    };
}

void
log_tap(struct log *log, void (*tap)(void *context, struct bytes line), void *context)
{
    if (log != NULL) {
        pthread_mutex_lock(&log->lock);
        log->tap = tap;
        log->tap_context = context;
        pthread_mutex_unlock(&log->lock);
    }
}

/* Lines -------------------------------------------------------------------------------------- */

struct line {
    char text[LINE_SIZE_MAX];
    size_t size;
    size_t limit; /* never over LINE_SIZE_MAX */
    bool is_full; /* something did not fit and was left out */
};

static void
line_put(struct line *line, struct bytes bytes)
{
    if (line->is_full || line->limit - line->size < bytes.size) {
        line->is_full = true;
        return;
    }
    if (bytes.size > 0) {
        memcpy(line->text + line->size, bytes.data, bytes.size);
        line->size += bytes.size;
    }
}

static void
line_put_text(struct line *line, const char *text)
{
    line_put(line, bytes_of(text));
}

/* One field as its text stands in the line. */
struct field {
    struct bytes name;
    struct bytes value;
    bool is_quoted; /* `value` is what stands between the quotes, escapes included */
    bool has_value; /* there was a '=' */
    bool is_whole;  /* nothing says that its end was cut off */
};

/* Takes the first `size` octets off `text`. */
static struct bytes
take(struct bytes *text, size_t size)
{
    struct bytes front = bytes_make(text->data, size);
    *text = bytes_make(text->data + size, text->size - size);
    return front;
}

/* Takes the first octet off `text` if it is that one. */
static bool
take_if(struct bytes *text, uint8_t octet)
{
    if (text->size == 0 || text->data[0] != octet) {
        return false;
    }
    (void)take(text, 1);
    return true;
}

static size_t
length_up_to(struct bytes text, const char *stops)
{
    size_t size = 0;
    while (size < text.size && strchr(stops, text.data[size]) == NULL) {
        size++;
    }
    return size;
}

/* The length up to the quote that ends a quoted value; text.size when there is none. */
static size_t
quoted_length(struct bytes text)
{
    size_t size = 0;
    while (size < text.size && text.data[size] != '"') {
        size += text.data[size] == '\\' && size + 1 < text.size ? 2 : 1;
    }
    return size;
}

/* Takes the next field off `text`; false when there is none. Of a text that `is_cut`, the end of
 * the last field is not known. */
static bool
field_next(struct bytes *text, bool is_cut, struct field *field)
{
    while (take_if(text, ' ')) {
        continue;
    }
    if (text->size == 0) {
        return false;
    }
    *field = (struct field){.name = take(text, length_up_to(*text, " ="))};
    field->has_value = take_if(text, '=');
    field->is_quoted = field->has_value && take_if(text, '"');
    if (field->is_quoted) {
        field->value = take(text, quoted_length(*text));
        field->is_whole = take_if(text, '"');
        return true;
    }
    if (field->has_value) {
        field->value = take(text, length_up_to(*text, " "));
    }
    field->is_whole = !is_cut || text->size > 0;
    return true;
}

static void
put_logfmt_field(struct line *line, const struct field *field)
{
    line_put_text(line, " ");
    line_put(line, field->name);
    if (field->has_value) {
        line_put_text(line, field->is_quoted ? "=\"" : "=");
        line_put(line, field->value);
        line_put_text(line, field->is_quoted ? "\"" : "");
    }
}

/* Whether JSON would read the text as the same integer. */
static bool
is_json_integer(struct bytes text)
{
    enum { DIGITS_MAX = 15 }; /* what a double, to which many readers convert, holds exactly */
    if (text.size > 0 && text.data[0] == '-') {
        (void)take(&text, 1);
    }
    if (text.size == 0 || text.size > DIGITS_MAX || (text.data[0] == '0' && text.size > 1)) {
        return false;
    }
    for (size_t i = 0; i < text.size; i++) {
        if (text.data[i] < '0' || text.data[i] > '9') {
            return false;
        }
    }
    return true;
}

/* How many characters at the front of `text` are an escape that JSON knows too; 0 when they are
 * none. */
static size_t
json_escape_length(struct bytes text)
{
    enum { UNICODE_ESCAPE_SIZE = 6 };
    if (text.size < 2 || text.data[0] != '\\') {
        return 0;
    }
    if (text.data[1] != 'u') {
        return strchr("\"\\nrt", text.data[1]) == NULL ? 0 : 2;
    }
    for (size_t i = 2; i < UNICODE_ESCAPE_SIZE; i++) {
        if (i >= text.size || !isxdigit(text.data[i])) {
            return 0;
        }
    }
    return UNICODE_ESCAPE_SIZE;
}

/* Writes text into a JSON string. The one escape of log_escape that JSON lacks, \xNN for an octet
 * that is not UTF-8, becomes the four characters themselves. In text that was not quoted a
 * backslash is just that. */
static void
put_json_text(struct line *line, struct bytes text, bool is_escaped)
{
    while (text.size > 0) {
        size_t escape = is_escaped ? json_escape_length(text) : 0;
        if (escape > 0) {
            line_put(line, take(&text, escape));
            continue;
        }
        if (text.data[0] == '"' || text.data[0] == '\\') {
            line_put_text(line, "\\");
        }
        line_put(line, take(&text, 1));
    }
}

static void
put_json_field(struct line *line, const struct field *field)
{
    line_put_text(line, ",\"");
    put_json_text(line, field->name, false);
    line_put_text(line, "\":");
    if (!field->has_value) {
        line_put_text(line, "true");
    } else if (!field->is_quoted && is_json_integer(field->value)) {
        line_put(line, field->value);
    } else {
        line_put_text(line, "\"");
        put_json_text(line, field->value, field->is_quoted);
        line_put_text(line, "\"");
    }
}

/* Appends the fields that fit, each whole or not at all, and says so when some did not. */
static void
put_fields(struct line *line, enum log_format format, struct bytes fields, bool is_cut)
{
    line->limit = LINE_SIZE_MAX - LINE_END_SIZE;
    struct field field;
    while (!line->is_full && field_next(&fields, is_cut, &field)) {
        size_t size_before = line->size;
        if (!field.is_whole) {
            is_cut = true;
            break;
        }
        if (format == LOG_FORMAT_JSON) {
            put_json_field(line, &field);
        } else {
            put_logfmt_field(line, &field);
        }
        if (line->is_full) {
            line->size = size_before;
        }
    }
    is_cut = is_cut || line->is_full;
    line->limit = LINE_SIZE_MAX;
    line->is_full = false;
    if (is_cut) {
        line_put_text(line, format == LOG_FORMAT_JSON ? ",\"cut\":true" : " cut=true");
    }
}

/* The calendar is UTC; `wall_ms` may lie before 1970. */
static void
format_time(int64_t wall_ms, char out[static TIME_SIZE])
{
    int64_t ms = wall_ms % MS_PER_SECOND;
    ms = ms < 0 ? ms + MS_PER_SECOND : ms;
    time_t seconds = (time_t)((wall_ms - ms) / MS_PER_SECOND);
    struct tm calendar;
    size_t size = 0;
    if (gmtime_r(&seconds, &calendar) != NULL) {
        size = strftime(out, TIME_SIZE, "%Y-%m-%dT%H:%M:%S", &calendar);
    }
    snprintf(out + size, TIME_SIZE - size, ".%03dZ", (int)ms);
}

static void
put_front(struct line *line, enum log_format format, int64_t wall_ms, enum log_level level,
          const char *event)
{
    static const char *const level_names[] = {
        [LOG_LEVEL_ERROR] = "error",
        [LOG_LEVEL_WARN] = "warn",
        [LOG_LEVEL_INFO] = "info",
        [LOG_LEVEL_DEBUG] = "debug",
    };
    bool is_json = format == LOG_FORMAT_JSON;
    char time[TIME_SIZE];
    format_time(wall_ms, time);
    line_put_text(line, is_json ? "{\"time\":\"" : "time=");
    line_put_text(line, time);
    line_put_text(line, is_json ? "\",\"level\":\"" : " level=");
    line_put_text(line, level_names[level]);
    line_put_text(line, is_json ? "\",\"event\":\"" : " event=");
    line_put_text(line, event);
    line_put_text(line, is_json ? "\"" : "");
}

/* The last line of defence: callers escape what a peer chose. */
static void
clean_fields(char *fields, size_t size)
{
    bool is_utf8 = bytes_is_utf8(bytes_make(fields, size));
    for (size_t i = 0; i < size; i++) {
        uint8_t octet = (uint8_t)fields[i];
        if (octet < 0x20 || octet == 0x7F || (octet >= 0x80 && !is_utf8)) {
            fields[i] = '?';
        }
    }
}

/* `suppressed` is how many lines of the event were left out before this one. */
static void write_line(struct log *log, const struct clock_reading *now, enum log_level level,
                       const char *event, uint32_t suppressed, const char *format,
                       va_list arguments) PRINTF_LIKE(6, 0);

static void
write_line(struct log *log, const struct clock_reading *now, enum log_level level,
           const char *event, uint32_t suppressed, const char *format, va_list arguments)
{
    char fields[FIELDS_SIZE];
    int length = vsnprintf(fields, sizeof(fields), format, arguments);
    assert(length >= 0);
    bool is_cut = (size_t)length >= sizeof(fields);
    size_t size = is_cut ? bytes_utf8_prefix(bytes_make(fields, sizeof(fields) - 1), FIELDS_SIZE)
                         : (size_t)length;
    clean_fields(fields, size);

    enum log_format shape = atomic_load_explicit(&log->format, memory_order_relaxed);
    struct line line = {.limit = LINE_SIZE_MAX};
    put_front(&line, shape, now->wall_ms, level, event);
    if (suppressed > 0) {
        char text[32];
        snprintf(text, sizeof(text), "suppressed=%u", suppressed);
        put_fields(&line, shape, bytes_of(text), false);
    }
    put_fields(&line, shape, bytes_make(fields, size), is_cut);
    line_put_text(&line, shape == LOG_FORMAT_JSON ? "}\n" : "\n");
    pthread_mutex_lock(&log->lock);
    if (log->tap != NULL) {
        log->tap(log->tap_context, bytes_make(line.text, line.size));
    }
    log->write(log->context, bytes_make(line.text, line.size));
    pthread_mutex_unlock(&log->lock);
}

static bool
is_wanted(const struct log *log, enum log_level level)
{
    return log != NULL && level <= atomic_load_explicit(&log->level, memory_order_relaxed);
}

void
log_line(struct log *log, enum log_level level, const char *event, const char *fields, ...)
{
    if (!is_wanted(log, level)) {
        return;
    }
    struct clock_reading now = log->clock.read(log->clock.context);
    va_list arguments;
    va_start(arguments, fields);
    write_line(log, &now, level, event, 0, fields, arguments);
    va_end(arguments);
}

/* Limits ------------------------------------------------------------------------------------- */

/* The event's own slot, else a free one, else that of the event not seen for longest. */
static struct log_limit *
find_limit(struct log *log, const char *event)
{
    struct log_limit *oldest = &log->limits[0];
    for (size_t i = 0; i < ARRAY_LEN(log->limits); i++) {
        struct log_limit *limit = &log->limits[i];
        if (limit->event == NULL || strcmp(limit->event, event) == 0) {
            limit->event = event;
            return limit;
        }
        if (limit->second < oldest->second) {
            oldest = limit;
        }
    }
    *oldest = (struct log_limit){.event = event};
    return oldest;
}

/* Counts a line of `event`. False when it is one too many for this second; else `*suppressed_out`
 * is how many were left out since the last line. */
static bool
limit_admits(struct log *log, const char *event, uint64_t second, uint32_t *suppressed_out)
{
    pthread_mutex_lock(&log->lock);
    struct log_limit *limit = find_limit(log, event);
    *suppressed_out = 0;
    if (limit->second != second) {
        if (limit->count > LOG_REPEAT_MAX) {
            *suppressed_out = limit->count - LOG_REPEAT_MAX;
        }
        limit->second = second;
        limit->count = 0;
    }
    if (limit->count < UINT32_MAX) {
        limit->count++;
    }
    bool is_admitted = limit->count <= LOG_REPEAT_MAX;
    pthread_mutex_unlock(&log->lock);
    return is_admitted;
}

void
log_limited(struct log *log, enum log_level level, const char *event, const char *fields, ...)
{
    if (!is_wanted(log, level)) {
        return;
    }
    struct clock_reading now = log->clock.read(log->clock.context);
    uint32_t suppressed;
    if (!limit_admits(log, event, now.monotonic_ms / MS_PER_SECOND, &suppressed)) {
        return;
    }
    va_list arguments;
    va_start(arguments, fields);
    write_line(log, &now, level, event, suppressed, fields, arguments);
    va_end(arguments);
}

/* Escaping ----------------------------------------------------------------------------------- */

/* One character as it goes between the quotes. */
struct piece {
    char text[8];
    size_t size;  /* of `text` */
    size_t taken; /* octets it stands for */
};

static struct piece
piece_hex(size_t taken, const char *prefix, unsigned value)
{
    struct piece piece = {.taken = taken};
    int length = snprintf(piece.text, sizeof(piece.text), "%s%02x", prefix, value);
    assert(length > 0);
    piece.size = (size_t)length;
    return piece;
}

/* What embeds, overrides or isolates a direction of writing, all of it U+20NN: a name with it shows
 * as another one. The NN, or 0. */
static unsigned
direction_mark(struct bytes text, size_t length)
{
    if (length != 3 || text.data[0] != 0xE2) {
        return 0;
    }
    unsigned low = (text.data[1] & 0x3FU) << 6 | (text.data[2] & 0x3FU);
    bool is_mark =
        low == 0x0E || low == 0x0F || (low >= 0x2A && low <= 0x2E) || (low >= 0x66 && low <= 0x69);
    return is_mark ? low : 0;
}

/* Control characters are those of ASCII and of Latin-1 (U+0080 to U+009F), which terminals obey
 * too. */
static struct piece
escape_next(struct bytes text)
{
    static const char short_escapes[][2] = {
        {'"', '"'}, {'\\', '\\'}, {'\n', 'n'}, {'\r', 'r'}, {'\t', 't'},
    };
    uint8_t first = text.data[0];
    size_t length = bytes_utf8_char(text);
    for (size_t i = 0; i < ARRAY_LEN(short_escapes); i++) {
        if (first == (uint8_t)short_escapes[i][0]) {
            return (struct piece){{'\\', short_escapes[i][1]}, 2, 1};
        }
    }
    if (length == 0) {
        return piece_hex(1, "\\x", first);
    }
    if (first < 0x20 || first == 0x7F) {
        return piece_hex(1, "\\u00", first);
    }
    if (first == 0xC2 && text.data[1] < 0xA0) {
        return piece_hex(2, "\\u00", text.data[1]);
    }
    unsigned mark = direction_mark(text, length);
    if (mark != 0) {
        return piece_hex(length, "\\u20", mark);
    }
    struct piece piece = {.size = length, .taken = length};
    memcpy(piece.text, text.data, length);
    return piece;
}

const char *
log_escape(char *out, size_t out_size, struct bytes text)
{
    static const char ellipsis[] = "...";
    size_t end_size = sizeof("\"");                    /* with NUL */
    size_t cut_size = sizeof(ellipsis) - 1 + end_size; /* what a cut text ends in */
    assert(out_size >= 1 + cut_size);

    size_t used = 0;
    size_t cut_at = 1; /* the last place where the ellipsis fits */
    out[used++] = '"';
    while (text.size > 0) {
        struct piece piece = escape_next(text);
        if (used + piece.size + end_size > out_size) {
            used = cut_at;
            memcpy(out + used, ellipsis, sizeof(ellipsis) - 1);
            used += sizeof(ellipsis) - 1;
            break;
        }
        memcpy(out + used, piece.text, piece.size);
        used += piece.size;
        if (used + cut_size <= out_size) {
            cut_at = used;
        }
        (void)take(&text, piece.taken);
    }
    out[used++] = '"';
    out[used] = '\0';
    return out;
}

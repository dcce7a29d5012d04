/* SPDX-License-Identifier: Apache-2.0 */
/* A backlog that is larger than memory: fills queues with messages that nobody takes, with
 * confirms, then drains them with manual acknowledgements, and prints rates and the broker's
 * resident memory. Every body is checked: the right queue, in order, whole; one that is not ends
 * the program with 1.
 *
 *     build/bench/backlog --port 5672 --messages 10000000 --size 1024 --queues 1 --pid $(pidof
 * bourse)
 *
 * One thread, two sockets: one publishes round robin over the queues, the other consumes from all.
 */
#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "bench/wire.h"

enum {
    INPUT_SIZE = 4 * 1024 * 1024,
    OUTPUT_SIZE = 1024 * 1024,
    CONFIRM_WINDOW = 10000,
    PREFETCH = 1000,
    ACK_EVERY = 100,
    BODY_MIN = 24,
};

struct options {
    uint16_t port;
    uint64_t messages;
    uint32_t queues;
    uint32_t size;
    long pid;
    bool is_transient, skips_fill, skips_drain;
};

struct link {
    int socket;
    uint8_t *input;
    size_t start, end;
    uint8_t output[OUTPUT_SIZE];
    struct wire_writer writer;
};

static void
die(const char *what)
{
    fprintf(stderr, "backlog: %s: %s\n", what, strerror(errno));
    exit(1);
}

static double
now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

/* The broker's process ------------------------------------------------------------------------- */

static long
status_mib(long pid, const char *field)
{
    char path[64];
    char line[256];
    long kib = 0;
    snprintf(path, sizeof(path), "/proc/%ld/status", pid);
    FILE *file = pid == 0 ? NULL : fopen(path, "r");
    while (file != NULL && fgets(line, sizeof(line), file) != NULL) {
        if (strncmp(line, field, strlen(field)) == 0) {
            kib = strtol(line + strlen(field) + 1, NULL, 10);
        }
    }
    if (file != NULL) {
        fclose(file);
    }
    return kib / 1024;
}

static double
cpu_seconds(long pid)
{
    char path[64];
    unsigned long user = 0;
    unsigned long system = 0;
    snprintf(path, sizeof(path), "/proc/%ld/stat", pid);
    FILE *file = pid == 0 ? NULL : fopen(path, "r");
    if (file != NULL) {
        if (fscanf(file, "%*d (%*[^)]) %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &user,
                   &system) != 2) {
            user = 0;
        }
        fclose(file);
    }
    return (double)(user + system) / (double)sysconf(_SC_CLK_TCK);
}

/* The wire ------------------------------------------------------------------------------------- */

static void
flush(struct link *link)
{
    size_t done = 0;
    while (done < link->writer.length) {
        ssize_t written = send(link->socket, link->output + done, link->writer.length - done, 0);
        if (written < 0) {
            die("send");
        }
        done += (size_t)written;
    }
    link->writer.length = 0;
}

/* Waits for the next frame; false when `waits` is off and there is none. */
static bool
next_frame(struct link *link, struct wire_frame *frame, bool waits)
{
    for (;;) {
        size_t length = link->end - link->start;
        if (wire_find_frame(link->input + link->start, length, frame) == WIRE_FOUND_FRAME) {
            link->start += frame->payload_bytes + WIRE_FRAME_EXTRA_BYTES;
            return true;
        }
        memmove(link->input, link->input + link->start, length);
        link->start = 0;
        link->end = length;
        ssize_t got =
            recv(link->socket, link->input + length, INPUT_SIZE - length, waits ? 0 : MSG_DONTWAIT);
        if (got < 0 && errno == EAGAIN) {
            return false;
        }
        if (got <= 0) {
            die("connection lost");
        }
        link->end += (size_t)got;
    }
}

static uint32_t
method_of(const struct wire_frame *frame)
{
    if (frame->type != WIRE_FRAME_METHOD) {
        return 0;
    }
    struct wire_reader reader = wire_reader_of(frame);
    uint32_t method = wire_get_long(&reader);
    if (method == WIRE_CONNECTION_CLOSE || method == WIRE_CHANNEL_CLOSE) {
        char text[WIRE_SHORTSTR_MAX + 1];
        (void)wire_get_short(&reader);
        wire_get_text(&reader, text);
        fprintf(stderr, "backlog: closed: %s\n", text);
        exit(1);
    }
    return method;
}

static void
expect(struct link *link, enum wire_method method)
{
    struct wire_frame frame;
    flush(link);
    do {
        (void)next_frame(link, &frame, true);
    } while (method_of(&frame) != (uint32_t)method);
}

static void
log_in(struct link *link)
{
    struct wire_writer *writer = &link->writer;
    wire_put_bytes(writer, "AMQP\0\0\x09\x01", 8);
    expect(link, WIRE_CONNECTION_START);
    wire_begin_method(writer, 0, WIRE_CONNECTION_START_OK);
    wire_put_empty_table(writer);
    wire_put_shortstr(writer, "PLAIN");
    size_t begin = wire_begin_length(writer);
    wire_put_bytes(writer, "\0guest\0guest", 12);
    wire_end_length(writer, begin);
    wire_put_shortstr(writer, "en_US");
    wire_end_frame(writer);
    expect(link, WIRE_CONNECTION_TUNE);
    wire_begin_method(writer, 0, WIRE_CONNECTION_TUNE_OK);
    wire_put_short(writer, 16);
    wire_put_long(writer, WIRE_FRAME_BYTES_MAX);
    wire_put_short(writer, 0);
    wire_end_frame(writer);
    wire_begin_method(writer, 0, WIRE_CONNECTION_OPEN);
    wire_put_shortstr(writer, "/");
    wire_put_shortstr(writer, "");
    wire_put_octet(writer, 0);
    wire_end_frame(writer);
    expect(link, WIRE_CONNECTION_OPEN_OK);
    wire_begin_method(writer, 1, WIRE_CHANNEL_OPEN);
    wire_put_shortstr(writer, "");
    wire_end_frame(writer);
    expect(link, WIRE_CHANNEL_OPEN_OK);
}

static struct link *
open_link(uint16_t port)
{
    struct link *link = calloc(1, sizeof(*link));
    link->input = malloc(INPUT_SIZE);
    link->writer = (struct wire_writer){.bytes = link->output, .capacity = OUTPUT_SIZE};
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    link->socket = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (connect(link->socket, (struct sockaddr *)&address, sizeof(address)) != 0) {
        die("connect");
    }
    int on = 1;
    (void)setsockopt(link->socket, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    log_in(link);
    return link;
}

static void
queue_name(char name[static 32], uint32_t queue)
{
    snprintf(name, 32, "backlog.%u", queue);
}

static void
declare(struct link *link, const struct options *options)
{
    for (uint32_t i = 0; i < options->queues; i++) {
        char name[32];
        queue_name(name, i);
        wire_begin_method(&link->writer, 1, WIRE_QUEUE_DECLARE);
        wire_put_short(&link->writer, 0);
        wire_put_shortstr(&link->writer, name);
        wire_put_octet(&link->writer, 2); /* durable */
        wire_put_empty_table(&link->writer);
        wire_end_frame(&link->writer);
        expect(link, WIRE_QUEUE_DECLARE_OK);
    }
}

/* Filling -------------------------------------------------------------------------------------- */

/* Queue and number at the front, the number again at the end. */
static void
make_body(uint8_t *body, uint32_t size, uint32_t queue, uint64_t number)
{
    wire_store_longlong(body, number);
    wire_store_longlong(body + 8, queue);
    wire_store_longlong(body + size - 8, number);
}

static void
put_publish(struct link *link, const struct options *options, uint8_t *body, uint64_t message)
{
    struct wire_writer *writer = &link->writer;
    uint32_t queue = (uint32_t)(message % options->queues);
    char name[32];
    queue_name(name, queue);
    make_body(body, options->size, queue, message / options->queues);
    wire_begin_method(writer, 1, WIRE_BASIC_PUBLISH);
    wire_put_short(writer, 0);
    wire_put_shortstr(writer, "");
    wire_put_shortstr(writer, name);
    wire_put_octet(writer, 0);
    wire_end_frame(writer);
    wire_begin_frame(writer, WIRE_FRAME_HEADER, 1);
    wire_put_short(writer, 60);
    wire_put_short(writer, 0);
    wire_put_longlong(writer, options->size);
    wire_put_short(writer, 1 << 12); /* delivery mode */
    wire_put_octet(writer, options->is_transient ? 1 : 2);
    wire_end_frame(writer);
    wire_begin_frame(writer, WIRE_FRAME_BODY, 1);
    wire_put_bytes(writer, body, options->size);
    wire_end_frame(writer);
}

/* Takes confirms until less than `open_max` publishes are open. */
static void
take_confirms(struct link *link, uint64_t published, uint64_t *confirmed, uint64_t open_max)
{
    struct wire_frame frame;
    while (next_frame(link, &frame, published - *confirmed > open_max)) {
        uint32_t method = method_of(&frame);
        struct wire_reader reader = wire_reader_of(&frame);
        (void)wire_get_long(&reader);
        if (method == WIRE_BASIC_ACK) {
            *confirmed = wire_get_longlong(&reader);
        } else if (method == WIRE_BASIC_NACK) {
            fprintf(stderr, "backlog: a publish was refused\n");
            exit(1);
        }
        if (published == *confirmed) {
            return;
        }
    }
}

static void
report(const char *phase, const struct options *options, double seconds, double cpu, long rss_max)
{
    double messages = (double)options->messages;
    printf("%s: %.0f messages of %u octets in %u queues, %.1f s, %.0f /s", phase, messages,
           options->size, options->queues, seconds, messages / seconds);
    if (options->pid != 0) {
        printf(", %.0f per CPU second, resident at most %ld MiB, now %ld MiB", messages / cpu,
               rss_max, status_mib(options->pid, "VmRSS:"));
    }
    printf("\n");
    fflush(stdout);
}

struct watch {
    double start, last, cpu;
    long rss_max;
    uint64_t count;
};

static void
watch_begin(struct watch *watch, const struct options *options)
{
    *watch = (struct watch){.start = now(), .last = now(), .cpu = cpu_seconds(options->pid)};
}

/* Every second one line, so that a rate that falls is seen to fall. */
static void
watch_tick(struct watch *watch, const struct options *options, const char *phase, uint64_t count)
{
    double time = now();
    if (time - watch->last < 1) {
        return;
    }
    long rss = status_mib(options->pid, "VmRSS:");
    watch->rss_max = rss > watch->rss_max ? rss : watch->rss_max;
    fprintf(stderr, "%s %5.1f s  %9" PRIu64 "  %8.0f /s  %4ld MiB\n", phase, time - watch->start,
            count, (double)(count - watch->count) / (time - watch->last), rss);
    watch->last = time;
    watch->count = count;
}

static void
fill(const struct options *options)
{
    struct link *link = open_link(options->port);
    declare(link, options);
    wire_begin_method(&link->writer, 1, WIRE_CONFIRM_SELECT);
    wire_put_octet(&link->writer, 0);
    wire_end_frame(&link->writer);
    expect(link, WIRE_CONFIRM_SELECT_OK);
    uint8_t *body = malloc(options->size);
    memset(body, 'b', options->size);
    size_t room = options->size + 256;
    uint64_t published = 0;
    uint64_t confirmed = 0;
    struct watch watch;
    watch_begin(&watch, options);
    while (published < options->messages) {
        while (published < options->messages && link->writer.length + room < OUTPUT_SIZE / 4) {
            put_publish(link, options, body, published++);
        }
        flush(link);
        take_confirms(link, published, &confirmed, CONFIRM_WINDOW);
        watch_tick(&watch, options, "fill ", published);
    }
    while (confirmed < published) {
        take_confirms(link, published, &confirmed, 0);
    }
    report("fill", options, now() - watch.start, cpu_seconds(options->pid) - watch.cpu,
           watch.rss_max);
    free(body);
    close(link->socket);
    free(link->input);
    free(link);
}

/* Draining ------------------------------------------------------------------------------------- */

static void
consume(struct link *link, const struct options *options)
{
    wire_begin_method(&link->writer, 1, WIRE_BASIC_QOS);
    wire_put_long(&link->writer, 0);
    wire_put_short(&link->writer, PREFETCH);
    wire_put_octet(&link->writer, 1);
    wire_end_frame(&link->writer);
    expect(link, WIRE_BASIC_QOS_OK);
    for (uint32_t i = 0; i < options->queues; i++) {
        char name[32];
        queue_name(name, i);
        wire_begin_method(&link->writer, 1, WIRE_BASIC_CONSUME);
        wire_put_short(&link->writer, 0);
        wire_put_shortstr(&link->writer, name);
        wire_put_shortstr(&link->writer, name);
        wire_put_octet(&link->writer, 8); /* nowait */
        wire_put_empty_table(&link->writer);
        wire_end_frame(&link->writer);
        flush(link);
    }
}

/* One delivery: its three frames, or more of the last. */
static void
check_body(const struct options *options, const uint8_t *body, uint64_t *next)
{
    uint64_t number = wire_load_longlong(body);
    uint64_t queue = wire_load_longlong(body + 8);
    if (queue >= options->queues || number != next[queue] ||
        wire_load_longlong(body + options->size - 8) != number) {
        fprintf(stderr,
                "backlog: message %" PRIu64 " of queue %" PRIu64 " came, %" PRIu64 " was due\n",
                number, queue, queue < options->queues ? next[queue] : 0);
        exit(1);
    }
    next[queue]++;
}

static void
put_ack(struct link *link, uint64_t tag)
{
    wire_begin_method(&link->writer, 1, WIRE_BASIC_ACK);
    wire_put_longlong(&link->writer, tag);
    wire_put_octet(&link->writer, 1);
    wire_end_frame(&link->writer);
    flush(link);
}

static void
drain(const struct options *options)
{
    struct link *link = open_link(options->port);
    uint64_t *next = calloc(options->queues, sizeof(*next));
    uint8_t *body = malloc(options->size + WIRE_FRAME_BYTES_MAX);
    uint64_t count = 0;
    uint32_t have = 0;
    struct watch watch;
    watch_begin(&watch, options);
    consume(link, options);
    while (count < options->messages) {
        struct wire_frame frame;
        (void)next_frame(link, &frame, true);
        (void)method_of(&frame);
        if (frame.type == WIRE_FRAME_BODY) {
            memcpy(body + have, frame.payload, frame.payload_bytes);
            have += frame.payload_bytes;
        }
        if (have < options->size) {
            continue;
        }
        have = 0;
        check_body(options, body, next);
        if (++count % ACK_EVERY == 0 || count == options->messages) {
            put_ack(link, count);
            watch_tick(&watch, options, "drain", count);
        }
    }
    report("drain", options, now() - watch.start, cpu_seconds(options->pid) - watch.cpu,
           watch.rss_max);
    close(link->socket);
    free(link->input);
    free(link);
    free(next);
    free(body);
}

static uint64_t
number_of(const char *text, uint64_t max)
{
    char *end;
    uint64_t value = strtoull(text, &end, 10);
    if (*end != '\0' || value > max) {
        errno = EINVAL;
        die(text);
    }
    return value;
}

int
main(int argc, char **argv)
{
    struct options options = {.port = 5672, .messages = 1000000, .queues = 1, .size = 1024};
    for (int i = 1; i < argc; i++) {
        const char *value = i + 1 < argc ? argv[i + 1] : "";
        if (strcmp(argv[i], "--transient") == 0) {
            options.is_transient = true;
        } else if (strcmp(argv[i], "--only-fill") == 0) {
            options.skips_drain = true;
        } else if (strcmp(argv[i], "--only-drain") == 0) {
            options.skips_fill = true;
        } else if (strcmp(argv[i], "--port") == 0) {
            options.port = (uint16_t)number_of(value, UINT16_MAX);
            i++;
        } else if (strcmp(argv[i], "--messages") == 0) {
            options.messages = number_of(value, UINT64_MAX);
            i++;
        } else if (strcmp(argv[i], "--queues") == 0) {
            options.queues = (uint32_t)number_of(value, 1000000);
            i++;
        } else if (strcmp(argv[i], "--size") == 0) {
            options.size = (uint32_t)number_of(value, 100000);
            i++;
        } else if (strcmp(argv[i], "--pid") == 0) {
            options.pid = (long)number_of(value, INT32_MAX);
            i++;
        } else {
            fprintf(stderr, "backlog: unknown option %s\n", argv[i]);
            return 2;
        }
    }
    if (options.size < BODY_MIN || options.queues == 0) {
        fprintf(stderr, "backlog: --size must be at least %d, --queues at least 1\n", BODY_MIN);
        return 2;
    }
    if (!options.skips_fill) {
        fill(&options);
    }
    if (!options.skips_drain) {
        drain(&options);
    }
    return 0;
}

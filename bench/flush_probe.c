/* SPDX-License-Identifier: Apache-2.0 */

/* bench/flush_probe: what this disk asks for making 4 KiB durable. It writes a file full of zeros
 * first, then over and over 4 KiB into the next place of it, each followed by fdatasync, and prints
 * percentiles of the two together as JSON. A broker that confirms what is on disk cannot be faster;
 * a file that is written before use asks least, since no metadata changes.
 *
 * A flush that takes long counts once there, but many messages wait for it. So it also prints what
 * messages at a fixed rate would have waited, had they been confirmed by these flushes: each by the
 * first that begins after it came. No broker that gathers while it flushes can do better.
 *
 * With `paced` it flushes only when such a message has come, as that broker would, so that it can
 * run beside something else without taking all of the disk. */

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "bench/loadgen_clock.h"

enum {
    PROBE_BLOCK_BYTES = 4096,
    PROBE_FILE_BLOCKS = 4096, /* 16 MiB */
    PROBE_SAMPLES_MAX = 4 * 1024 * 1024,
    PROBE_MESSAGE_NS = 200000, /* 5,000 messages a second */
};

static _Noreturn void
probe_die(const char *what, const char *path)
{
    fprintf(stderr, "flush_probe: %s %s: %s\n", what, path, strerror(errno));
    exit(1);
}

static void
probe_write(int fd, const char *path, uint64_t block, const uint8_t *bytes)
{
    off_t offset = (off_t)(block % PROBE_FILE_BLOCKS * PROBE_BLOCK_BYTES);
    ssize_t written = pwrite(fd, bytes, PROBE_BLOCK_BYTES, offset);
    if (written != PROBE_BLOCK_BYTES) {
        errno = written < 0 ? errno : EIO;
        probe_die("write", path);
    }
}

static void
probe_flush(int fd, const char *path)
{
    if (fdatasync(fd) != 0) {
        probe_die("fdatasync", path);
    }
}

static int
probe_open(const char *path)
{
    static const uint8_t zeros[PROBE_BLOCK_BYTES];
    int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0) {
        probe_die("create", path);
    }
    for (uint64_t block = 0; block < PROBE_FILE_BLOCKS; block++) {
        probe_write(fd, path, block, zeros);
    }
    probe_flush(fd, path);
    return fd;
}

static int
probe_compare(const void *left, const void *right)
{
    uint64_t a = *(const uint64_t *)left;
    uint64_t b = *(const uint64_t *)right;
    return (a > b) - (a < b);
}

/* Writes one block and flushes it; returns when that began. */
static uint64_t
probe_once(int fd, const char *path, uint64_t block)
{
    uint8_t bytes[PROBE_BLOCK_BYTES];
    memset(bytes, (int)(block % 251 + 1), sizeof bytes);
    uint64_t start_ns = clock_now_ns();
    probe_write(fd, path, block, bytes);
    probe_flush(fd, path);
    return start_ns;
}

static void
probe_sleep_until(uint64_t due_ns)
{
    struct timespec due = {.tv_sec = (time_t)(due_ns / 1000000000),
                           .tv_nsec = (long)(due_ns % 1000000000)};
    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &due, NULL) == EINTR) {
    }
}

/* Messages come at their rate and wait for the first flush that begins after them. */
static size_t
probe_run_paced(int fd, const char *path, double seconds, uint64_t *samples, uint64_t *waits,
                size_t *wait_count_out)
{
    size_t count = 0;
    size_t wait_count = 0;
    uint64_t message_ns = clock_now_ns();
    uint64_t until_ns = message_ns + clock_ns_of_s(seconds);
    while (message_ns < until_ns && count < PROBE_SAMPLES_MAX) {
        probe_sleep_until(message_ns);
        uint64_t start_ns = probe_once(fd, path, count);
        uint64_t end_ns = clock_now_ns();
        samples[count++] = end_ns - start_ns;
        for (; message_ns <= start_ns && wait_count < PROBE_SAMPLES_MAX; wait_count++) {
            waits[wait_count] = end_ns - message_ns;
            message_ns += PROBE_MESSAGE_NS;
        }
    }
    *wait_count_out = wait_count;
    return count;
}

/* One flush after the other. */
static size_t
probe_run(int fd, const char *path, double seconds, uint64_t *samples)
{
    size_t count = 0;
    uint64_t end_ns = clock_now_ns();
    uint64_t until_ns = end_ns + clock_ns_of_s(seconds);
    while (end_ns < until_ns && count < PROBE_SAMPLES_MAX) {
        uint64_t start_ns = probe_once(fd, path, count);
        end_ns = clock_now_ns();
        samples[count++] = end_ns - start_ns;
    }
    return count;
}

/* Turns the flushes, in their order, into the waits of messages; returns how many. */
static size_t
probe_waits(const uint64_t *samples, size_t count, uint64_t *waits)
{
    uint64_t begin_ns = 0;
    uint64_t message_ns = 0;
    size_t wait_count = 0;
    for (size_t i = 0; i + 1 < count; i++) {
        uint64_t end_ns = begin_ns + samples[i];
        uint64_t confirm_ns = end_ns + samples[i + 1];
        for (; message_ns < end_ns && wait_count < PROBE_SAMPLES_MAX; wait_count++) {
            waits[wait_count] = confirm_ns - message_ns;
            message_ns += PROBE_MESSAGE_NS;
        }
        begin_ns = end_ns;
    }
    return wait_count;
}

static double
probe_us(const uint64_t *samples, size_t count, double percent)
{
    size_t rank = (size_t)((double)count * percent / 100);
    return (double)samples[rank < count ? rank : count - 1] / 1e3;
}

static void
probe_print(const char *name, uint64_t *samples, size_t count)
{
    if (count == 0) {
        return;
    }
    qsort(samples, count, sizeof *samples, probe_compare);
    printf(", \"%s_p50_us\": %.0f, \"%s_p99_us\": %.0f, \"%s_p999_us\": %.0f", name,
           probe_us(samples, count, 50), name, probe_us(samples, count, 99), name,
           probe_us(samples, count, 99.9));
}

static uint64_t *
probe_alloc(void)
{
    uint64_t *samples = calloc(PROBE_SAMPLES_MAX, sizeof *samples);
    if (samples == NULL) {
        probe_die("memory for", "samples");
    }
    return samples;
}

int
main(int argc, char **argv)
{
    double seconds = argc >= 3 ? strtod(argv[2], NULL) : 0;
    bool is_paced = argc == 4 && strcmp(argv[3], "paced") == 0;
    if (!(seconds > 0) || argc > 4 || (argc == 4 && !is_paced)) {
        fprintf(stderr, "usage: flush_probe NEW-FILE SECONDS [paced]\n");
        return 2;
    }
    uint64_t *samples = probe_alloc();
    uint64_t *waits = probe_alloc();
    int fd = probe_open(argv[1]);
    size_t wait_count = 0;
    size_t count = is_paced ? probe_run_paced(fd, argv[1], seconds, samples, waits, &wait_count)
                            : probe_run(fd, argv[1], seconds, samples);
    close(fd);
    if (unlink(argv[1]) != 0) {
        probe_die("remove", argv[1]);
    }
    if (!is_paced) {
        wait_count = probe_waits(samples, count, waits);
    }
    printf("{\"flushes\": %zu", count);
    probe_print("flush", samples, count);
    probe_print("wait", waits, wait_count);
    printf("}\n");
    free(samples);
    free(waits);
    return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* The last lines of the log, as the console shows them. */
#include "management/monitor/log_tail.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <stdio.h>

static struct log logger;
static struct log_tail *tail;
static struct buffer text;

static void
write_nowhere(void *context, struct bytes line)
{
    (void)context;
    (void)line;
}

static void
set_up(void)
{
    logger = (struct log){.level = LOG_LEVEL_INFO, .write = write_nowhere, .clock = clock_system()};
    tail = log_tail_new(&logger);
    buffer_init(&text);
}

static void
tear_down(void)
{
    buffer_fini(&text);
    log_tail_free(&tail);
}

TestSuite(log_tail, .init = set_up, .fini = tear_down);

static size_t
lines_in(const struct buffer *lines)
{
    struct bytes octets = buffer_bytes(lines);
    size_t count = 0;
    for (size_t i = 0; i < octets.size; i++) {
        count += octets.data[i] == '\n';
    }
    return count;
}

static uint64_t
read_after(uint64_t after)
{
    buffer_fini(&text);
    buffer_init(&text);
    return log_tail_read(tail, after, &text);
}

static bool
says(const char *what)
{
    buffer_put_u8(&text, '\0');
    return strstr((const char *)buffer_bytes(&text).data, what) != NULL;
}

Test(log_tail, a_reader_gets_what_is_new_to_it)
{
    cr_assert(eq(u64, read_after(0), 1));
    cr_assert(eq(sz, lines_in(&text), 0));
    log_info(&logger, "test.one", "n=%d", 1);
    log_info(&logger, "test.two", "n=%d", 2);
    cr_assert(eq(u64, read_after(0), 1));
    cr_assert(eq(sz, lines_in(&text), 2));
    cr_assert(eq(u64, read_after(1), 2));
    cr_assert(eq(sz, lines_in(&text), 1));
    cr_assert(says("event=test.two n=2"));
    cr_assert(eq(u64, read_after(2), 3));
    cr_assert(eq(sz, lines_in(&text), 0));
}

/* A number from before a restart is one that is not there yet. */
Test(log_tail, a_number_to_come_gets_nothing)
{
    log_info(&logger, "test.one", "n=%d", 1);
    cr_assert(eq(u64, read_after(UINT64_MAX), 2));
    cr_assert(eq(sz, lines_in(&text), 0));
}

Test(log_tail, lines_are_let_go_of_when_there_are_too_many)
{
    for (int i = 1; i <= LOG_TAIL_LINES + 7; i++) {
        log_info(&logger, "test.many", "n=%d", i);
    }
    cr_assert(eq(u64, read_after(0), 8));
    cr_assert(eq(sz, lines_in(&text), LOG_TAIL_LINES));
    cr_assert(says("n=8\n"));
}

/* Lines of all lengths, round after round: what is read is always the last lines, whole and in
 * order. */
Test(log_tail, long_lines_take_the_place_of_the_oldest_ones)
{
    static char filler[3800];
    memset(filler, 'x', sizeof(filler));
    for (uint64_t i = 1; i <= 400; i++) {
        int length = (int)(i * 577 % sizeof(filler));
        log_info(&logger, "test.long", "n=%d fill=%.*s", (int)i, length, filler);
        uint64_t first = read_after(0);
        cr_assert(eq(sz, lines_in(&text), (size_t)(i + 1 - first)));
        cr_assert(i < 40 || lines_in(&text) >= 30, "%zu lines at %d", lines_in(&text), (int)i);
        char last[64];
        char oldest[64];
        (void)snprintf(last, sizeof(last), "event=test.long n=%d fill=", (int)i);
        (void)snprintf(oldest, sizeof(oldest), "event=test.long n=%d fill=", (int)first);
        cr_assert(says(last));
        cr_assert(says(oldest));
    }
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/output/progress.h"

#include <stdarg.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/clock.h"

enum { BAR_SIZE = 30, MARK_SIZE = 6, DRAW_AGAIN_MS = 100, LINE_SIZE = 512 };

static uint64_t
now_ms(void)
{
    struct clock_source clock = clock_system();
    return clock.read(clock.context).monotonic_ms;
}

struct progress
progress_begin(const struct command_io *io, bool is_quiet)
{
    bool is_terminal = io->err == stderr && isatty(STDERR_FILENO) == 1;
    return (struct progress){.out = is_terminal && !is_quiet ? io->err : NULL};
}

static void
fill_bar(char bar[static BAR_SIZE + 1], const struct progress *progress, uint64_t done,
         uint64_t total)
{
    memset(bar, '.', BAR_SIZE);
    bar[BAR_SIZE] = '\0';
    if (total > 0) {
        memset(bar, '#', done >= total ? BAR_SIZE : (size_t)(done * BAR_SIZE / total));
        return;
    }
    unsigned way = BAR_SIZE - MARK_SIZE;
    unsigned at = progress->step % (2 * way);
    memset(bar + (at < way ? at : 2 * way - at), '#', MARK_SIZE);
}

/* How much fits in a line of the terminal: one that goes on in the next is never wiped off. */
static size_t
room(const struct progress *progress)
{
    struct winsize size = {.ws_col = 0};
    bool is_known = ioctl(fileno(progress->out), TIOCGWINSZ, &size) == 0 && size.ws_col > 0;
    return is_known ? size.ws_col - 1U : LINE_SIZE;
}

void
progress_show(struct progress *progress, uint64_t done, uint64_t total, const char *format, ...)
{
    char bar[BAR_SIZE + 1];
    char line[LINE_SIZE];
    va_list arguments;
    if (progress->out == NULL || now_ms() < progress->next_ms) {
        return;
    }
    fill_bar(bar, progress, done, total);
    int begun = snprintf(line, sizeof(line), "[%s] ", bar);
    va_start(arguments, format);
    (void)vsnprintf(line + begun, sizeof(line) - (size_t)begun, format, arguments);
    va_end(arguments);
    fprintf(progress->out, "\r%.*s\033[K", (int)bytes_utf8_prefix(bytes_of(line), room(progress)),
            line);
    fflush(progress->out);
    progress->step++;
    progress->next_ms = now_ms() + DRAW_AGAIN_MS;
}

void
progress_end(struct progress *progress)
{
    if (progress->out != NULL && progress->step > 0) {
        fputs("\r\033[K", progress->out);
        fflush(progress->out);
    }
    progress->out = NULL;
}

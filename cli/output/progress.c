/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/output/progress.h"

#include <stdarg.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"

enum { BAR_SIZE = 30, MARK_SIZE = 6, DRAW_AGAIN_MS = 100 };

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

void
progress_show(struct progress *progress, uint64_t done, uint64_t total, const char *format, ...)
{
    char bar[BAR_SIZE + 1];
    va_list arguments;
    if (progress->out == NULL || now_ms() < progress->next_ms) {
        return;
    }
    fill_bar(bar, progress, done, total);
    fprintf(progress->out, "\r[%s] ", bar);
    va_start(arguments, format);
    vfprintf(progress->out, format, arguments);
    va_end(arguments);
    fputs("\033[K", progress->out);
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

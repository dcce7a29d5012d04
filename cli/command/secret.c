/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/command/secret.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/assert.h"

/* False with errno when there is no line, or one that is too long. */
static bool
read_line(char **secret_out, FILE *file)
{
    char line[SECRET_BYTES_MAX + 2];
    errno = ENODATA;
    if (fgets(line, sizeof(line), file) == NULL) {
        return false;
    }
    size_t size = strcspn(line, "\n");
    bool is_whole = line[size] == '\n' || size <= SECRET_BYTES_MAX;
    line[size] = '\0';
    if (is_whole) {
        *secret_out = xstrdup(line);
    }
    explicit_bzero(line, sizeof(line));
    errno = EMSGSIZE;
    return is_whole;
}

int
secret_from_file(char **secret_out, const char *path, const struct command_io *io)
{
    FILE *file = fopen(path, "re");
    bool is_read = file != NULL && read_line(secret_out, file);
    int cause = errno;
    if (file != NULL) {
        fclose(file);
    }
    if (!is_read) {
        return command_error(io, COMMAND_FAILED,
                             "no password in %s: %s; the file holds it as its one line", path,
                             strerror(cause));
    }
    return COMMAND_OK;
}

int
secret_from_variable(char **secret_out, const char *name, const struct command_io *io)
{
    const char *value = getenv(name);
    if (value == NULL) {
        return command_error(io, COMMAND_FAILED,
                             "no password: the environment variable %s is not set; export it",
                             name);
    }
    *secret_out = xstrdup(value);
    return COMMAND_OK;
}

/* What ends the process while nothing that is typed is shown. */
static const int ending_signals[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT};

static volatile sig_atomic_t caught_signal; /* 0: none came */

static void
catch_signal(int number)
{
    caught_signal = number;
}

/* How signals were treated before. */
struct signals {
    struct sigaction actions[ARRAY_LEN(ending_signals)];
    sigset_t mask;
};

/* From now on they come only while a line is awaited, and end the waiting. */
static void
catch_signals(struct signals *before)
{
    const struct sigaction catching = {.sa_handler = catch_signal};
    sigset_t held;
    caught_signal = 0;
    sigemptyset(&held);
    for (size_t i = 0; i < ARRAY_LEN(ending_signals); i++) {
        sigaddset(&held, ending_signals[i]);
        (void)sigaction(ending_signals[i], &catching, &before->actions[i]);
    }
    (void)sigprocmask(SIG_BLOCK, &held, &before->mask);
}

/* One that came meanwhile does what it would have done. */
static void
let_signals_go(const struct signals *before)
{
    for (size_t i = 0; i < ARRAY_LEN(ending_signals); i++) {
        (void)sigaction(ending_signals[i], &before->actions[i], NULL);
    }
    (void)sigprocmask(SIG_SETMASK, &before->mask, NULL);
    if (caught_signal != 0) {
        (void)raise(caught_signal);
    }
}

/* Until a line is there to be read, which a terminal gives as a whole; false: a signal came first,
 * be it before this begins to wait. */
static bool
await_line(int fd, const struct signals *before)
{
    struct pollfd poll_fd = {.fd = fd, .events = POLLIN};
    while (caught_signal == 0) {
        if (ppoll(&poll_fd, 1, NULL, &before->mask) >= 0) {
            return true;
        }
    }
    return false;
}

/* Reads from the terminal without showing what is typed. Whoever ends the command there gets the
 * terminal back as it was. */
static bool
read_hidden(char **secret_out, int fd, const char *prompt, const struct command_io *io)
{
    struct termios shown;
    struct termios hidden;
    struct signals before;
    if (tcgetattr(fd, &shown) != 0) {
        return false;
    }
    hidden = shown;
    hidden.c_lflag &= (tcflag_t)~ECHO;
    catch_signals(&before);
    tcsetattr(fd, TCSAFLUSH, &hidden);
    fprintf(io->err, "%s: ", prompt);
    fflush(io->err);
    bool is_read = await_line(fd, &before) && read_line(secret_out, io->in);
    tcsetattr(fd, TCSAFLUSH, &shown);
    fputc('\n', io->err);
    let_signals_go(&before);
    return is_read;
}

int
secret_from_input(char **secret_out, const char *prompt, const struct command_io *io)
{
    int fd = io->in == NULL ? -1 : fileno(io->in);
    bool is_terminal = fd >= 0 && isatty(fd) == 1;
    bool is_read = false;
    if (is_terminal) {
        is_read = read_hidden(secret_out, fd, prompt, io);
    } else if (io->in != NULL) {
        is_read = read_line(secret_out, io->in);
    }
    if (!is_read) {
        return command_error(io, COMMAND_FAILED,
                             "no password: standard input has no line of at most %d octets; give "
                             "it there, or use --password-file or --password-env",
                             SECRET_BYTES_MAX);
    }
    return COMMAND_OK;
}

void
secret_free(char **secret)
{
    if (*secret != NULL) {
        explicit_bzero(*secret, strlen(*secret));
        free(*secret);
        *secret = NULL;
    }
}

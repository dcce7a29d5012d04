/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/command/interrupt.h"

#include <signal.h>
#include <stddef.h>

/* A signal handler has no other place to write to. */
static volatile sig_atomic_t has_come;

static void
note(int number)
{
    (void)number;
    has_come = 1;
}

void
interrupt_watch(void)
{
    struct sigaction action = {.sa_handler = note, .sa_flags = (int)SA_RESETHAND};
    struct sigaction ignored = {.sa_handler = SIG_IGN};
    sigemptyset(&action.sa_mask);
    sigemptyset(&ignored.sa_mask);
    has_come = 0;
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGPIPE, &ignored, NULL);
}

bool
interrupt_came(void)
{
    return has_come != 0;
}

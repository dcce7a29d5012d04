/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/serve/serve_process.h"

#include <malloc.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/stat.h>

void
process_keep_hangups(void)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGHUP);
    sigprocmask(SIG_BLOCK, &set, NULL);
}

void
process_block_signals(sigset_t *set)
{
    sigemptyset(set);
    sigaddset(set, SIGTERM);
    sigaddset(set, SIGINT);
    sigaddset(set, SIGHUP);
    sigprocmask(SIG_BLOCK, set, NULL);
}

void
process_let_signals_end(void)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    (void)signal(SIGTERM, SIG_DFL);
    (void)signal(SIGINT, SIG_DFL);
    sigprocmask(SIG_UNBLOCK, &set, NULL);
}

void
process_harden(void)
{
    umask(077);
    (void)prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
    (void)signal(SIGPIPE, SIG_IGN);
}

/* Memory of a megabyte and more goes back to the system when it is freed. Left to itself the
 * allocator learns from the first password check, which takes 16 MiB, to keep blocks of that size:
 * 33 MiB stayed resident in an idle broker. */
void
process_return_large_blocks(void)
{
    enum { LARGE_BLOCK = 1024 * 1024 };
    (void)mallopt(M_MMAP_THRESHOLD, LARGE_BLOCK);
}

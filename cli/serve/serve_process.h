/* SPDX-License-Identifier: Apache-2.0 */
/* What `serve` makes of its process: which signals end it, and what it shows of itself. */
#ifndef BOURSE_CLI_SERVE_SERVE_PROCESS_H
#define BOURSE_CLI_SERVE_SERVE_PROCESS_H

#include <signal.h>

/* A hangup that comes before there is something to read again is kept until there is. */
void process_keep_hangups(void);

/* From here on SIGTERM, SIGINT and SIGHUP wait to be read from a descriptor; `set` is what they
 * are. Before there are threads, which inherit it. */
void process_block_signals(sigset_t *set);

/* From here on SIGTERM and SIGINT end the process as they end any other, one that waits already
 * included: the disk, or a client, may keep an end in order waiting for as long as it likes. What
 * that leaves behind is what a crash does, and recovered like it. */
void process_let_signals_end(void);

/* Secrets are in memory: no core dump and no other process of the same user may show them. */
void process_harden(void);

/* Large blocks go back to the system when they are freed. */
void process_return_large_blocks(void);

#endif

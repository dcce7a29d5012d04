/* SPDX-License-Identifier: Apache-2.0 */
/* How a thread sleeps although others may have work for it at any moment. The sleeper announces
 * that it will sleep, looks once more for work, and only then waits for the bell's descriptor.
 * Whoever makes work publishes it first and rings then; the bell writes to the descriptor only if
 * somebody sleeps. So a busy thread is woken by nobody, at the price of one load, and no wake-up is
 * lost: all four steps are seq_cst, hence either the sleeper sees the work or the other sees the
 * sleeper.
 *
 * Owner: the sleeper; any thread may ring. */
#ifndef BOURSE_BASE_BELL_H
#define BOURSE_BASE_BELL_H

#include "base/status.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct bell {
    atomic_bool is_asleep; /* set by the sleeper, cleared by whoever comes first */
    int fd;                /* an eventfd, owned; -1: none, the sleeper asks bell_was_rung */
    uint64_t rung_count;   /* the sleeper's: writes to the descriptor that it has not read */
};

/* A bell without a descriptor, for a loop that waits for nothing outside of the process. */
void bell_init(struct bell *bell);

/* With a descriptor that becomes readable. STATUS_IO: there was none to be had. */
MUST_CHECK enum status bell_open(struct bell *bell);

/* Nobody may ring any more. */
void bell_close(struct bell *bell);

/* The sleeper: from here on whoever rings will wake it. It must look for work after this call. */
void bell_announce_sleep(struct bell *bell);

/* Once after each announcement: the sleeper is awake, or has found work and did not sleep. Reads
 * the descriptor if needed. */
void bell_end_sleep(struct bell *bell);

/* Somebody rang since sleep was announced. */
bool bell_was_rung(const struct bell *bell);

/* Wakes the sleeper, if it sleeps. What it is to find was published before, seq_cst. */
void bell_ring(struct bell *bell);

#endif

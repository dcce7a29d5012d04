/* SPDX-License-Identifier: Apache-2.0 */
/* What part of the time the consumers of a queue could take a message: 1, they wait for messages;
 * near 0, messages wait for them. Of about the last minute. It costs something only where
 * the last consumer with room fills up, or the first has room again. */
#ifndef BOURSE_QUEUES_UTILISATION_H
#define BOURSE_QUEUES_UTILISATION_H

#include <stdbool.h>
#include <stdint.h>

enum { UTILISATION_WINDOW_MS = 30 * 1000 };

/* Of two windows, one behind the other. Times as in clocks.h; they do not go back. */
struct utilisation {
    int64_t began_ms;      /* the window under way */
    int64_t since_ms;      /* what is counted goes up to here */
    uint32_t blocked_ms;   /* in the window under way */
    uint32_t last_ms;      /* length of the window before; 0: there was none */
    uint32_t last_blocked; /* milliseconds in it */
    bool is_blocked;       /* nobody can take a message since `since_ms` */
};

/* Consumers came; nobody is ready yet. */
void utilisation_begin(struct utilisation *utilisation, int64_t now_ms);

/* From now on nobody, or somebody, can take a message. */
void utilisation_block(struct utilisation *utilisation, bool is_blocked, int64_t now_ms);

/* 0 to 1; 1 before a millisecond has passed. */
double utilisation_read(const struct utilisation *utilisation, int64_t now_ms);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* Links that have not logged in, counted for all networks of a broker: overall and by address. Only
 * accepting, logging in and going ask here; no message passes.
 *
 * A place is claimed before a socket is accepted, so that the cap holds however many threads accept
 * at once, and either gets the address that came or is given up again.
 *
 * Any thread may call. What a callback does is little and never calls back. */
#ifndef BOURSE_NET_STRANGERS_H
#define BOURSE_NET_STRANGERS_H

#include "base/list.h"

#include <stdbool.h>
#include <stdint.h>

struct strangers;
struct source; /* an address from which strangers come */

/* At most `max` in all, at most `per_source_max` of one address. */
struct strangers *strangers_new(uint32_t max, uint32_t per_source_max);
void strangers_free(struct strangers **strangers);

/* Who wants to hear that there is room again. Embedded and owned by the one who waits. */
struct strangers_waiter {
    struct list_link link;
    void (*wake)(void *context); /* on the thread that made the room */
    void *context;
};

/* Claims a place. False when all are taken: `waiter` is then woken, once, when there is room. */
bool strangers_claim(struct strangers *strangers, struct strangers_waiter *waiter);

/* Nobody came for the place. */
void strangers_give_up(struct strangers *strangers);

/* Somebody came from `address`, which is copied. NULL when it has as many strangers as it may: the
 * place is then free again. */
struct source *strangers_enter(struct strangers *strangers, const char *address);

/* The same for somebody whom a proxy at `address` brings: there are any number of those. */
struct source *strangers_enter_by_proxy(struct strangers *strangers, const char *address);

/* One of `source` comes from `address` in truth, and is counted there from now on; `source` may be
 * gone then. NULL when there are as many from there as there may be: nothing has changed. */
struct source *strangers_move(struct strangers *strangers, struct source *source,
                              const char *address);

/* One of `source` has logged in or gone; the source may be gone with it. */
void strangers_leave(struct strangers *strangers, struct source *source);

/* `waiter` is woken no more; call before it goes. */
void strangers_forget_waiter(struct strangers *strangers, struct strangers_waiter *waiter);

uint32_t strangers_count(struct strangers *strangers);
uint32_t strangers_per_source_max(const struct strangers *strangers);

#endif

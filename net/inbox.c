/* SPDX-License-Identifier: Apache-2.0 */
/* A vector behind a lock; who takes, takes the vector. */
#include "net/inbox.h"

#include <stdlib.h>

#include "base/alloc.h"
#include "base/assert.h"

enum { NEWCOMERS_FIRST = 8 };

void
inbox_init(struct inbox *inbox)
{
    *inbox = (struct inbox){0};
    pthread_mutex_init(&inbox->lock, NULL);
}

void
inbox_fini(struct inbox *inbox)
{
    assert(inbox->count == 0);
    pthread_mutex_destroy(&inbox->lock);
    free(inbox->newcomers);
}

void
inbox_put(struct inbox *inbox, const struct newcomer *newcomer)
{
    pthread_mutex_lock(&inbox->lock);
    if (inbox->count == inbox->capacity) {
        uint32_t capacity = inbox->capacity == 0 ? NEWCOMERS_FIRST : inbox->capacity * 2;
        inbox->newcomers = xrealloc(inbox->newcomers, capacity * sizeof(*inbox->newcomers));
        inbox->capacity = capacity;
    }
    inbox->newcomers[inbox->count++] = *newcomer;
    pthread_mutex_unlock(&inbox->lock);
}

uint32_t
inbox_take(struct inbox *inbox, struct newcomer **newcomers_out)
{
    pthread_mutex_lock(&inbox->lock);
    uint32_t count = inbox->count;
    *newcomers_out = inbox->newcomers;
    inbox->newcomers = NULL;
    inbox->count = 0;
    inbox->capacity = 0;
    pthread_mutex_unlock(&inbox->lock);
    return count;
}

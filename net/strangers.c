/* SPDX-License-Identifier: Apache-2.0 */
/* One lock around a count and a map; what is done under it is short. */
#include "net/strangers.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "base/map.h"
#include "base/random.h"

enum { PROXY_NAME_SIZE = 80 };

struct source {
    char *address; /* owned */
    uint32_t count;
};

struct strangers {
    pthread_mutex_t lock;
    uint32_t max;
    uint32_t per_source_max;
    uint32_t count;      /* claimed places included */
    struct map sources;  /* struct source by address; owned */
    struct list waiters; /* of struct strangers_waiter */
};

struct strangers *
strangers_new(uint32_t max, uint32_t per_source_max)
{
    struct strangers *strangers = xalloc(sizeof(*strangers));
    struct random_source random = random_system();
    assert(max > 0);
    assert(per_source_max > 0);
    pthread_mutex_init(&strangers->lock, NULL);
    strangers->max = max;
    strangers->per_source_max = per_source_max;
    map_init(&strangers->sources, random_u64(&random));
    list_init(&strangers->waiters);
    return strangers;
}

void
strangers_free(struct strangers **strangers_pointer)
{
    struct strangers *strangers = *strangers_pointer;
    if (strangers == NULL) {
        return;
    }
    assert(strangers->count == 0);
    assert(map_count(&strangers->sources) == 0);
    map_fini(&strangers->sources);
    pthread_mutex_destroy(&strangers->lock);
    free(strangers);
    *strangers_pointer = NULL;
}

/* Under the lock. Who waits wants one place each, but cannot know whether it will use it: so all
 * are woken. */
static void
give_place_back(struct strangers *strangers)
{
    assert(strangers->count > 0);
    strangers->count--;
    struct list_link *link;
    while ((link = list_pop(&strangers->waiters)) != NULL) {
        struct strangers_waiter *waiter = CONTAINER_OF(link, struct strangers_waiter, link);
        waiter->wake(waiter->context);
    }
}

bool
strangers_claim(struct strangers *strangers, struct strangers_waiter *waiter)
{
    pthread_mutex_lock(&strangers->lock);
    bool has_room = strangers->count < strangers->max;
    if (has_room) {
        strangers->count++;
    } else if (!list_link_is_linked(&waiter->link)) {
        list_append(&strangers->waiters, &waiter->link);
    }
    pthread_mutex_unlock(&strangers->lock);
    return has_room;
}

void
strangers_give_up(struct strangers *strangers)
{
    pthread_mutex_lock(&strangers->lock);
    give_place_back(strangers);
    pthread_mutex_unlock(&strangers->lock);
}

static struct source *
find_or_add(struct strangers *strangers, const char *address)
{
    struct source *source = map_get(&strangers->sources, bytes_of(address));
    if (source == NULL) {
        source = xalloc(sizeof(*source));
        source->address = xstrdup(address);
        map_put(&strangers->sources, bytes_of(source->address), source);
    }
    return source;
}

struct source *
strangers_enter(struct strangers *strangers, const char *address)
{
    pthread_mutex_lock(&strangers->lock);
    struct source *source = find_or_add(strangers, address);
    if (source->count < strangers->per_source_max) {
        source->count++;
    } else {
        give_place_back(strangers);
        source = NULL;
    }
    pthread_mutex_unlock(&strangers->lock);
    return source;
}

/* A proxy's own address is none of its clients'. */
struct source *
strangers_enter_by_proxy(struct strangers *strangers, const char *address)
{
    char name[PROXY_NAME_SIZE];
    (void)snprintf(name, sizeof(name), "proxy %s", address);
    pthread_mutex_lock(&strangers->lock);
    struct source *source = find_or_add(strangers, name);
    source->count++;
    pthread_mutex_unlock(&strangers->lock);
    return source;
}

/* Under the lock. */
static void
leave_source(struct strangers *strangers, struct source *source)
{
    assert(source->count > 0);
    source->count--;
    if (source->count == 0) {
        void *removed = map_remove(&strangers->sources, bytes_of(source->address));
        assert(removed == source);
        free(source->address);
        free(source);
    }
}

struct source *
strangers_move(struct strangers *strangers, struct source *source, const char *address)
{
    pthread_mutex_lock(&strangers->lock);
    struct source *target = find_or_add(strangers, address);
    if (target->count < strangers->per_source_max) {
        target->count++;
        leave_source(strangers, source);
    } else {
        target = NULL;
    }
    pthread_mutex_unlock(&strangers->lock);
    return target;
}

void
strangers_leave(struct strangers *strangers, struct source *source)
{
    pthread_mutex_lock(&strangers->lock);
    leave_source(strangers, source);
    give_place_back(strangers);
    pthread_mutex_unlock(&strangers->lock);
}

void
strangers_forget_waiter(struct strangers *strangers, struct strangers_waiter *waiter)
{
    pthread_mutex_lock(&strangers->lock);
    list_remove(&waiter->link);
    pthread_mutex_unlock(&strangers->lock);
}

uint32_t
strangers_count(struct strangers *strangers)
{
    pthread_mutex_lock(&strangers->lock);
    uint32_t count = strangers->count;
    pthread_mutex_unlock(&strangers->lock);
    return count;
}

uint32_t
strangers_per_source_max(const struct strangers *strangers)
{
    return strangers->per_source_max;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Counting those who have not logged in, from several threads as well. */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <pthread.h>
#include <stdatomic.h>

#include "base/assert.h"
#include "net/strangers.h"

TestSuite(strangers);

struct waiting {
    struct strangers_waiter waiter;
    uint32_t woken_count;
};

static void
on_wake(void *context)
{
    struct waiting *waiting = context;
    waiting->woken_count++;
}

static void
waiting_init(struct waiting *waiting)
{
    *waiting = (struct waiting){.waiter = {.wake = on_wake, .context = waiting}};
}

Test(strangers, place_that_nobody_came_for_is_free_again)
{
    struct strangers *strangers = strangers_new(1, 1);
    struct waiting waiting;
    waiting_init(&waiting);
    cr_expect(strangers_claim(strangers, &waiting.waiter));
    cr_expect(not(strangers_claim(strangers, &waiting.waiter)));
    strangers_give_up(strangers);
    cr_expect(eq(u32, strangers_count(strangers), 0));
    cr_expect(strangers_claim(strangers, &waiting.waiter));
    strangers_give_up(strangers);
    strangers_free(&strangers);
}

/* Whoever found no place hears of the next one, once, however often it asked. */
Test(strangers, who_found_no_place_is_woken_once_when_one_is_free)
{
    struct strangers *strangers = strangers_new(1, 1);
    struct waiting waiting;
    waiting_init(&waiting);
    cr_assert(strangers_claim(strangers, &waiting.waiter));
    struct source *source = strangers_enter(strangers, "192.0.2.1");
    cr_assert(ne(ptr, source, NULL));
    cr_expect(not(strangers_claim(strangers, &waiting.waiter)));
    cr_expect(not(strangers_claim(strangers, &waiting.waiter)));
    cr_expect(eq(u32, waiting.woken_count, 0));
    strangers_leave(strangers, source);
    cr_expect(eq(u32, waiting.woken_count, 1));
    cr_assert(strangers_claim(strangers, &waiting.waiter));
    strangers_give_up(strangers);
    cr_expect(eq(u32, waiting.woken_count, 1));
    strangers_free(&strangers);
}

Test(strangers, one_too_many_of_an_address_takes_no_place)
{
    struct strangers *strangers = strangers_new(3, 2);
    struct waiting waiting;
    waiting_init(&waiting);
    struct source *sources[2];
    for (size_t i = 0; i < ARRAY_LEN(sources); i++) {
        cr_assert(strangers_claim(strangers, &waiting.waiter));
        sources[i] = strangers_enter(strangers, "192.0.2.1");
        cr_assert(ne(ptr, sources[i], NULL));
    }
    cr_assert(strangers_claim(strangers, &waiting.waiter));
    cr_expect(eq(ptr, strangers_enter(strangers, "192.0.2.1"), NULL));
    cr_expect(eq(u32, strangers_count(strangers), 2));
    cr_assert(strangers_claim(strangers, &waiting.waiter));
    struct source *other = strangers_enter(strangers, "192.0.2.2");
    cr_expect(ne(ptr, other, NULL), "another address has places of its own");
    strangers_leave(strangers, other);
    strangers_leave(strangers, sources[0]);
    strangers_leave(strangers, sources[1]);
    cr_expect(eq(u32, strangers_count(strangers), 0));
    strangers_free(&strangers);
}

enum { MANY = 20000, CAP = 3, THREAD_COUNT = 3 };

struct crowd {
    struct strangers *strangers;
    _Atomic uint32_t inside;
    _Atomic uint32_t most;
};

static void
note_inside(struct crowd *crowd)
{
    uint32_t inside = atomic_fetch_add(&crowd->inside, 1) + 1;
    uint32_t most = atomic_load(&crowd->most);
    while (inside > most && !atomic_compare_exchange_weak(&crowd->most, &most, inside)) {
    }
}

static void *
come_and_go(void *context)
{
    struct crowd *crowd = context;
    struct waiting waiting;
    waiting_init(&waiting);
    for (int i = 0; i < MANY; i++) {
        if (!strangers_claim(crowd->strangers, &waiting.waiter)) {
            continue;
        }
        struct source *source = strangers_enter(crowd->strangers, "192.0.2.1");
        if (source != NULL) {
            note_inside(crowd);
            atomic_fetch_sub(&crowd->inside, 1);
            strangers_leave(crowd->strangers, source);
        }
    }
    strangers_forget_waiter(crowd->strangers, &waiting.waiter);
    return NULL;
}

Test(strangers, caps_hold_however_many_threads_accept)
{
    struct crowd crowd = {.strangers = strangers_new(CAP, CAP - 1)};
    pthread_t threads[THREAD_COUNT];
    for (size_t i = 0; i < ARRAY_LEN(threads); i++) {
        cr_assert(zero(int, pthread_create(&threads[i], NULL, come_and_go, &crowd)));
    }
    for (size_t i = 0; i < ARRAY_LEN(threads); i++) {
        pthread_join(threads[i], NULL);
    }
    cr_expect(le(u32, atomic_load(&crowd.most), CAP - 1));
    cr_expect(eq(u32, strangers_count(crowd.strangers), 0));
    strangers_free(&crowd.strangers);
}

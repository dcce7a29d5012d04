/* SPDX-License-Identifier: Apache-2.0 */
#include "base/bell.h"

#include "base/assert.h"

#include <errno.h>
#include <sys/eventfd.h>
#include <unistd.h>

void
bell_init(struct bell *bell)
{
    atomic_init(&bell->is_asleep, false);
    bell->fd = -1;
    bell->rung_count = 0;
}

enum status
bell_open(struct bell *bell)
{
    bell_init(bell);
    bell->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    return bell->fd < 0 ? STATUS_IO : STATUS_OK;
}

void
bell_close(struct bell *bell)
{
    if (bell->fd >= 0) {
        close(bell->fd);
    }
    bell->fd = -1;
}

void
bell_announce_sleep(struct bell *bell)
{
    atomic_store(&bell->is_asleep, true);
}

/* Who rings clears the flag before it writes, so the octets may still be on their way: they are
 * looked for again the next time. */
static void
bell_read(struct bell *bell)
{
    eventfd_t count;
    if (bell->rung_count > 0 && eventfd_read(bell->fd, &count) == 0) {
        assert(count <= bell->rung_count);
        bell->rung_count -= count;
    }
}

void
bell_end_sleep(struct bell *bell)
{
    if (!atomic_exchange(&bell->is_asleep, false) && bell->fd >= 0) {
        bell->rung_count++;
    }
    bell_read(bell);
}

bool
bell_was_rung(const struct bell *bell)
{
    return !atomic_load(&bell->is_asleep);
}

void
bell_ring(struct bell *bell)
{
    if (!atomic_load(&bell->is_asleep) || !atomic_exchange(&bell->is_asleep, false)) {
        return;
    }
    if (bell->fd >= 0) {
        /* It fails only when its counter is full, and then it is readable already. */
        (void)eventfd_write(bell->fd, 1);
    }
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Stands in for ring_append and bell_ring in the simulator's program (the linker's --wrap): an item
 * that has room is put into the ring although others wait for it, and nobody is woken. The ring's
 * own text is read once more, for what is inside of it; its functions get other names here, and
 * nobody calls them. */
#define ring_new overtaking_ring_new
#define ring_free overtaking_ring_free
#define ring_append overtaking_ring_append
#define ring_flush overtaking_ring_flush
#define ring_overflow_octets overtaking_ring_overflow_octets
#define ring_can_move overtaking_ring_can_move
#define ring_has_items overtaking_ring_has_items
#define ring_look overtaking_ring_look
#define ring_next overtaking_ring_next
#define ring_peek overtaking_ring_peek
#define ring_release overtaking_ring_release
#include "base/ring.c" // NOLINT

#include "tests/sim/mutant.h"

#undef ring_append

static enum mutant chosen;

void *__real_ring_append(struct ring *ring, size_t size); // NOLINT
void *__wrap_ring_append(struct ring *ring, size_t size); // NOLINT

void *
__wrap_ring_append(struct ring *ring, size_t size) // NOLINT
{
    struct ring_item *item = NULL;
    if (chosen == MUTANT_OVERTAKING && !is_large(ring, size)) {
        item = take_room(ring, stride_of(size));
    }
    if (item == NULL) {
        return __real_ring_append(ring, size);
    }
    item->size = (uint32_t)size;
    return item;
}

void __real_bell_ring(struct bell *bell); // NOLINT
void __wrap_bell_ring(struct bell *bell); // NOLINT

void
__wrap_bell_ring(struct bell *bell) // NOLINT
{
    if (chosen != MUTANT_NO_BELL) {
        __real_bell_ring(bell);
    }
}

void
mutant_set_rings(enum mutant mutant)
{
    chosen = mutant;
}

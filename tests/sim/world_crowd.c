/* SPDX-License-Identifier: Apache-2.0 */
/* Some runs have one or two queues with thousands of messages and little memory, so that entries go
 * to the disk, and many of those die there: by their time, or taken out at the desk. */
#include "tests/sim/world.h"

/* Clients have hundreds of messages open, and settle many of them at once, which the core does in
 * slices. */
static void
hoard(struct habits *habits, struct dice *dice)
{
    habits->weights[ACTOR_CONSUME] *= 4;
    habits->weights[ACTOR_QOS] = 0;
    habits->weights[ACTOR_SETTLE] /= 8;
    habits->settles_all_permille = 300;
    habits->work_per_tick = 1 + dice_below(dice, 64);
    habits->turn_permille = 300;
    habits->hoards = false;
}

void
world_draw_crowd(struct world *world)
{
    struct dice dice = {.state = dice_mix(world->seed + 0x63726f77)};
    struct habits *habits = &world->habits;
    if (dice_below(&dice, 8) != 0) {
        return;
    }
    habits->is_crowded = true;
    habits->queue_names = 1 + dice_below(&dice, 2);
    habits->ready_max = 3000;
    habits->has_disk = true;
    habits->memory_mark_bytes = (UINT64_C(3) << 18) + ((uint64_t)habits->network_count << 19);
    habits->crash_permille /= 4;
    habits->stop_permille /= 4;
    habits->weights[ACTOR_PUBLISH] *= 8;
    habits->weights[ACTOR_PURGE] = 0;
    habits->weights[ACTOR_DELETE_QUEUE] = 0;
    habits->expires_permille = 0;
    habits->queues_max = 0;
    habits->overflow_max = HISTORY_TAKES_ALL;
    habits->ttl_permille = 0;
    habits->mortal_permille = dice_below(&dice, 3) == 0 ? 0 : 300;
    habits->sending_permille = dice_below(&dice, 2) == 0 ? 0 : 10000;
    if (dice_below(&dice, 2) == 0) {
        hoard(habits, &dice);
    }
}

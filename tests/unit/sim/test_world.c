/* SPDX-License-Identifier: Apache-2.0 */
/* A run follows from its seed alone, so that what failed once fails again. */
#include "tests/sim/world.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <stdio.h>
#include <stdlib.h>

enum { OPERATIONS = 2000, SEEDS = 6 };

/* Digest and text of a run. */
static uint64_t
run(uint64_t seed, char **text_out)
{
    size_t size;
    FILE *out = open_memstream(text_out, &size);
    struct world *world = world_new(seed, MUTANT_NONE, out);
    bool is_good = world_run(world, OPERATIONS);
    cr_expect(is_good, "%s", world->history.first_wrong);
    uint64_t digest = world->trace.digest;
    world_free(&world);
    (void)fclose(out);
    return digest;
}

TestSuite(world);

Test(world, a_seed_gives_the_same_run_every_time)
{
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        char *first;
        char *second;
        uint64_t digest = run(seed, &first);
        cr_expect(eq(u64, run(seed, &second), digest));
        cr_expect(eq(str, first, second));
        free(first);
        free(second);
    }
}

Test(world, another_seed_gives_another_run)
{
    char *first;
    char *second;
    cr_expect(ne(u64, run(1, &first), run(2, &second)));
    free(first);
    free(second);
}

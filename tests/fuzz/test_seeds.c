/* SPDX-License-Identifier: Apache-2.0 */
/* The fuzz targets as unit tests: over their seeds, among them the inputs of every bug that was
 * found and fixed, and over what their own mutators make of those. A promise that does not hold
 * aborts. Needs no libFuzzer; runs from the root of the repository. */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <criterion/parameterized.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>

#include "tests/fuzz/target.h"
#include "tests/support/exact_copy.h"

enum { SEED_MAX = 64 * 1024, CHANGES_OF_A_SEED = 12 };

/* The whole file; the caller frees it. */
static struct bytes
read_seed(const char *folder, const char *name)
{
    char path[512];
    (void)snprintf(path, sizeof(path), "%s/%s", folder, name);
    FILE *file = fopen(path, "rb");
    cr_assert(file != NULL, "%s can be read", path);
    uint8_t *octets = malloc(SEED_MAX);
    size_t size = fread(octets, 1, SEED_MAX, file);
    cr_assert(lt(sz, size, SEED_MAX), "%s is small", path);
    (void)fclose(file);
    return bytes_make(octets, size);
}

static void
run_exactly(const struct fuzz_target *target, struct bytes input)
{
    struct bytes copy = exact_copy(input);
    target->run(copy);
    exact_copy_free(copy);
}

/* Changes of changes: each starts from what the last one made. */
static void
run_changes(const struct fuzz_target *target, struct bytes seed)
{
    if (target->mutate == NULL || seed.size > target->size_max) {
        return;
    }
    uint8_t *octets = malloc(target->size_max);
    size_t size = seed.size;
    struct draw draw = draw_make(seed.size);
    memcpy(octets, seed.data, size);
    for (int i = 0; i < CHANGES_OF_A_SEED; i++) {
        size = target->mutate(octets, size, target->size_max, &draw);
        cr_assert(le(sz, size, target->size_max));
        run_exactly(target, bytes_make(octets, size));
    }
    free(octets);
}

static size_t
run_seeds(const struct fuzz_target *target)
{
    char folder[256];
    (void)snprintf(folder, sizeof(folder), "tests/fuzz/seeds/%s", target->name);
    struct dirent **entries;
    int count = scandir(folder, &entries, NULL, alphasort);
    size_t seed_count = 0;
    cr_assert(count > 0, "%s: the tests run from the root of the repository", folder);
    for (int i = 0; i < count; i++) {
        if (entries[i]->d_name[0] != '.') {
            struct bytes seed = read_seed(folder, entries[i]->d_name);
            run_exactly(target, seed);
            run_changes(target, seed);
            free((void *)seed.data);
            seed_count++;
        }
        free(entries[i]);
    }
    free(entries);
    return seed_count;
}

/* Parameters are numbers: each test runs in a process of its own, where addresses differ. */
enum { TARGETS_MAX = 64 };

ParameterizedTestParameters(fuzz_seeds, every_seed_of_a_target_keeps_its_promises)
{
    static size_t numbers[TARGETS_MAX];
    size_t count = 0;
    for (; fuzz_targets[count] != NULL; count++) {
        numbers[count] = count;
    }
    return cr_make_param_array(size_t, numbers, count);
}

/* Every bug fixed leaves a test: its input is a seed. */
ParameterizedTest(const size_t *number, fuzz_seeds, every_seed_of_a_target_keeps_its_promises)
{
    cr_expect(ge(sz, run_seeds(fuzz_targets[*number]), 1));
}

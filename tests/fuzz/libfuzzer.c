/* SPDX-License-Identifier: Apache-2.0 */
/* Between libFuzzer and the targets. One program holds them all; the name it is called by says
 * which one runs: build/fuzz/NAME. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/fuzz/target.h"

/* The names are libFuzzer's. */
int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t size_max, unsigned int seed);
size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t size_max);

static const struct fuzz_target *target;

int
LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc;
    const char *path = (*argv)[0];
    const char *slash = strrchr(path, '/');
    const char *name = slash != NULL ? slash + 1 : path;
    for (size_t i = 0; fuzz_targets[i] != NULL; i++) {
        if (strcmp(fuzz_targets[i]->name, name) == 0) {
            target = fuzz_targets[i];
            return 0;
        }
    }
    (void)fprintf(stderr, "%s: no such target\n", name);
    exit(2);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    target->run(bytes_make(data, size));
    return 0;
}

size_t
LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t size_max, unsigned int seed)
{
    struct draw draw = draw_make(seed);
    if (target->mutate == NULL || draw_chance(&draw, 30)) {
        return LLVMFuzzerMutate(data, size, size_max);
    }
    return target->mutate(data, size, size_max, &draw);
}

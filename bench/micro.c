/* SPDX-License-Identifier: Apache-2.0 */

#include "bench/micro.h"

#include <inttypes.h>
#include <linux/perf_event.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum {
    MICRO_ROUNDS = 5,          /* the fastest counts: what else the machine does only adds */
    MICRO_ROUND_NS = 50000000, /* at least, of one round */
    MICRO_COUNT_FIRST = 256,   /* steps of the first attempt */
};

/* Allocations ---------------------------------------------------------------------------------- */

/* The linker leads calls here (--wrap). The programs have one thread. */
static uint64_t allocation_count;

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *memory, size_t size);
void *__real_aligned_alloc(size_t alignment, size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *memory, size_t size);
void *__wrap_aligned_alloc(size_t alignment, size_t size);

void *
__wrap_malloc(size_t size)
{
    allocation_count++;
    return __real_malloc(size);
}

void *
__wrap_calloc(size_t count, size_t size)
{
    allocation_count++;
    return __real_calloc(count, size);
}

void *
__wrap_realloc(void *memory, size_t size)
{
    allocation_count++;
    return __real_realloc(memory, size);
}

void *
__wrap_aligned_alloc(size_t alignment, size_t size)
{
    allocation_count++;
    return __real_aligned_alloc(alignment, size);
}

/* Counting ------------------------------------------------------------------------------------- */

/* One round of a case. */
struct cost {
    double ns;            /* of CPU time, for all steps; likewise the others */
    int64_t instructions; /* -1: not counted */
    uint64_t allocations;
};

static double
cpu_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (double)now.tv_sec * 1e9 + (double)now.tv_nsec;
}

/* A counter of our own instructions in user space; -1 where there is none, as in most virtual
 * machines. */
static int
instructions_open(void)
{
    struct perf_event_attr attributes = {
        .type = PERF_TYPE_HARDWARE,
        .size = sizeof attributes,
        .config = PERF_COUNT_HW_INSTRUCTIONS,
        .exclude_kernel = 1,
        .exclude_hv = 1,
    };
    return (int)syscall(SYS_perf_event_open, &attributes, 0, -1, -1, 0);
}

static int64_t
instructions_read(const struct micro *micro)
{
    int64_t count;
    if (micro->instruction_fd < 0 ||
        read(micro->instruction_fd, &count, sizeof count) != (ssize_t)sizeof count) {
        return -1;
    }
    return count;
}

/* Callgrind collects in here: it must stay a function of its own. */
static __attribute__((noinline)) void
micro_measured(micro_body *body, void *context, uint64_t count)
{
    body(context, count);
    micro_use(count); /* or the call above would be a jump out of here */
}

static struct cost
micro_round(const struct micro *micro, micro_body *body, void *context, uint64_t count)
{
    uint64_t allocations = allocation_count;
    int64_t instructions = instructions_read(micro);
    double start_ns = cpu_ns();
    micro_measured(body, context, count);
    double end_ns = cpu_ns();
    return (struct cost){
        .ns = end_ns - start_ns,
        .instructions = instructions < 0 ? -1 : instructions_read(micro) - instructions,
        .allocations = allocation_count - allocations,
    };
}

/* How many steps take a round's time. */
static uint64_t
micro_calibrate(const struct micro *micro, micro_body *body, void *context)
{
    uint64_t count = MICRO_COUNT_FIRST;
    while (micro_round(micro, body, context, count).ns < MICRO_ROUND_NS) {
        count *= 2;
    }
    return count;
}

/* Running -------------------------------------------------------------------------------------- */

static _Noreturn void
micro_refuse(void)
{
    fprintf(stderr, "usage: [--json] [--case NAME --count N]\n");
    exit(2);
}

void
micro_init(struct micro *micro, int argc, char **argv)
{
    *micro = (struct micro){.instruction_fd = -1};
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--json") == 0) {
            micro->json = true;
        } else if (strcmp(argv[i], "--case") == 0 && i + 1 < argc) {
            micro->only = argv[++i];
        } else if (strcmp(argv[i], "--count") == 0 && i + 1 < argc) {
            micro->count = strtoull(argv[++i], NULL, 10);
        } else {
            micro_refuse();
        }
    }
    if ((micro->count > 0) != (micro->only != NULL)) {
        micro_refuse();
    }
    micro->instruction_fd = instructions_open();
}

bool
micro_wants(const struct micro *micro, const char *name)
{
    return micro->only == NULL || strcmp(micro->only, name) == 0;
}

static void
micro_print(const struct micro *micro, const char *name, const char *words, const struct cost *cost,
            uint64_t count)
{
    double steps = (double)count;
    double instructions = cost->instructions < 0 ? -1 : (double)cost->instructions / steps;
    double allocations = (double)cost->allocations / steps;
    if (micro->json) {
        printf("{\"case\": \"%s\", \"what\": \"%s\", \"ns\": %.2f, \"instructions\": %.1f, "
               "\"allocations\": %.4f}\n",
               name, words, cost->ns / steps, instructions, allocations);
        return;
    }
    printf("%-20s %8.1f ns", name, cost->ns / steps);
    if (instructions >= 0) {
        printf(" %8.0f instructions", instructions);
    }
    printf(" %8.4f allocations   %s\n", allocations, words);
}

void
micro_run(const struct micro *micro, const char *name, const char *words, micro_body *body,
          void *context)
{
    if (!micro_wants(micro, name)) {
        return;
    }
    if (micro->count > 0) {
        body(context, micro->count);
        micro_measured(body, context, micro->count);
        return;
    }
    uint64_t count = micro_calibrate(micro, body, context);
    struct cost best = micro_round(micro, body, context, count);
    for (int round = 1; round < MICRO_ROUNDS; round++) {
        struct cost cost = micro_round(micro, body, context, count);
        if (cost.ns < best.ns) {
            best = cost;
        }
    }
    micro_print(micro, name, words, &best, count);
}

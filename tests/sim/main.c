/* SPDX-License-Identifier: Apache-2.0 */
/* The simulator's command:
 *
 *     sim [--seeds N] [--from SEED] [--list FILE]   many runs; the last line is a sum
 *     sim --seed SEED [--trace]                     one run, with what happened in it
 *     sim --enumerate [--seeds N] [--stride N]      every state that a crash could leave
 *
 * all with [--operations N] of clients in each run, [--until-wrong] to end with the first that
 * fails, and [--mutant NAME] to take something away from the store (mutant.h). A list has lines of
 * a seed and a number of operations; '#' begins a comment. A run that fails is repeated, to say
 * whether it fails in the same way. */
#include <getopt.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/assert.h"
#include "tests/sim/enumerate.h"
#include "tests/sim/world.h"

enum { OPERATIONS = 20000 }; /* of a run, if nothing else is said */

struct options {
    uint64_t from;
    uint64_t seed_count;
    uint64_t operation_count; /* 0: not given */
    const char *list;         /* NULL: none */
    bool has_trace;
    bool enumerates;
    bool until_wrong; /* the first run that fails is the last */
    uint32_t stride;
    enum mutant mutant;
};

struct totals {
    uint64_t passed, failed;
    uint64_t operations, events, steps;
    double seconds;
    struct history_sums sums;
};

static bool
may_go_on(const struct options *options, uint64_t failed)
{
    return !options->until_wrong || failed == 0;
}

static double
seconds_now(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static void
add_sums(struct totals *totals, const struct world *world)
{
    const struct history_sums *sums = &world->history.sums;
    totals->operations += world->operation_count;
    totals->events += world->server.event_count;
    totals->steps += world->storage.step_count;
    totals->sums.attempted += sums->attempted;
    totals->sums.confirmed += sums->confirmed;
    totals->sums.delivered += sums->delivered;
    totals->sums.redelivered += sums->redelivered;
    totals->sums.acknowledged += sums->acknowledged;
    totals->sums.expired += sums->expired;
    totals->sums.lost += sums->lost;
    totals->sums.unexpected += sums->unexpected;
    totals->sums.duplicated += sums->duplicated;
    totals->sums.crashes += sums->crashes;
    totals->sums.dropped += sums->dropped;
    totals->sums.refused += sums->refused;
    totals->sums.dead_lettered += sums->dead_lettered;
    totals->sums.delayed += sums->delayed;
    totals->sums.retried += sums->retried;
    totals->sums.parked += sums->parked;
    totals->sums.held += sums->held;
    totals->sums.let_in += sums->let_in;
    totals->sums.called_off += sums->called_off;
    totals->sums.discarded += sums->discarded;
    totals->sums.picked += sums->picked;
    totals->sums.noted += sums->noted;
    totals->sums.queues_expired += sums->queues_expired;
    totals->sums.policies_changed += sums->policies_changed;
    totals->sums.looked += sums->looked;
    totals->sums.taken_over += sums->taken_over;
    totals->sums.timed_out += sums->timed_out;
    totals->sums.turned_away += sums->turned_away;
    totals->sums.paced += sums->paced;
    totals->sums.paused += sums->paused;
    totals->sums.sent_on += sums->sent_on;
    totals->sums.taken_out += sums->taken_out;
}

static uint64_t
digest_of(uint64_t seed, uint64_t operation_count, enum mutant mutant)
{
    struct world *world = world_new(seed, mutant, NULL);
    (void)world_run(world, operation_count);
    uint64_t digest = world->trace.digest;
    world_free(&world);
    return digest;
}

static void
run_seed(const struct options *options, uint64_t seed, uint64_t operation_count,
         struct totals *totals)
{
    struct world *world = world_new(seed, options->mutant, options->has_trace ? stdout : NULL);
    bool is_good = world_run(world, operation_count);
    add_sums(totals, world);
    uint64_t digest = world->trace.digest;
    if (!is_good) {
        printf("seed %" PRIu64 " step %" PRIu64 ": %s\n", seed, world->trace.step,
               world->history.first_wrong);
    }
    if (options->has_trace) {
        printf("digest %016" PRIx64 "\n", digest);
    }
    world_free(&world);
    if (!is_good && digest_of(seed, operation_count, options->mutant) != digest) {
        printf("seed %" PRIu64 " is another run the second time\n", seed);
    }
    totals->passed += is_good;
    totals->failed += !is_good;
    (void)fflush(stdout);
}

/* Each seed after no crash, after one, and after some. */
static void
run_enumerations(const struct options *options)
{
    uint64_t passed = 0;
    uint64_t failed = 0;
    uint64_t state_count = 0;
    uint64_t call_count = 0;
    double started = seconds_now();
    for (uint64_t i = 0; i < options->seed_count && may_go_on(options, failed); i++) {
        struct enumeration enumeration = {
            .seed = options->from + i,
            .mutant = options->mutant,
            .operation_count = options->operation_count != 0 ? (uint32_t)options->operation_count
                                                             : 150 + (uint32_t)(i % 4) * 100,
            .crash_count = (uint32_t)(i % 3),
            .random_count = 5,
            .stride = options->stride,
        };
        bool is_good = enumerate(&enumeration);
        passed += is_good;
        failed += !is_good;
        state_count += enumeration.state_count;
        call_count += enumeration.call_count;
        if (!is_good) {
            printf("%s\n", enumeration.wrong);
        }
    }
    double seconds = seconds_now() - started;
    printf("%" PRIu64 " states after %" PRIu64 " calls in %.2f s of CPU: %.0f states a second\n",
           state_count, call_count, seconds, (double)state_count / seconds);
    printf("%" PRIu64 " passed, %" PRIu64 " failed\n", passed, failed);
    exit(failed == 0 ? 0 : 1);
}

/* Runs what the file lists. */
static void
run_list(const struct options *options, struct totals *totals)
{
    FILE *file = fopen(options->list, "re");
    if (file == NULL) {
        perror(options->list);
        exit(2);
    }
    char line[256];
    while (fgets(line, sizeof(line), file) != NULL) {
        char *end;
        uint64_t seed = strtoull(line, &end, 10);
        uint64_t operation_count = strtoull(end, NULL, 10);
        if (end != line && operation_count > 0) {
            run_seed(options, seed, operation_count, totals);
        }
    }
    (void)fclose(file);
}

static void
print_totals(const struct totals *totals)
{
    const struct history_sums *sums = &totals->sums;
    printf("attempted %" PRIu64 ", confirmed %" PRIu64 ", delivered %" PRIu64
           " (redelivered %" PRIu64 "), done with %" PRIu64 ", expired %" PRIu64 "; lost %" PRIu64
           ", unexpected %" PRIu64 ", duplicated %" PRIu64 "; dropped %" PRIu64 ", refused %" PRIu64
           ", dead letters %" PRIu64 ", delayed %" PRIu64 ", retried %" PRIu64 ", parked %" PRIu64
           ", held %" PRIu64 ", picked %" PRIu64 ", noted %" PRIu64 ", queues expired %" PRIu64
           ", policies changed %" PRIu64 ", looked at %" PRIu64 ", taken over %" PRIu64
           ", timed out %" PRIu64 ", turned away %" PRIu64 ", paced %" PRIu64 ", paused %" PRIu64
           ", sent on %" PRIu64 ", taken out %" PRIu64 ", let in %" PRIu64 ", called off %" PRIu64
           ", transactions discarded %" PRIu64 "; crashes %" PRIu64 "\n",
           sums->attempted, sums->confirmed, sums->delivered, sums->redelivered, sums->acknowledged,
           sums->expired, sums->lost, sums->unexpected, sums->duplicated, sums->dropped,
           sums->refused, sums->dead_lettered, sums->delayed, sums->retried, sums->parked,
           sums->held, sums->picked, sums->noted, sums->queues_expired, sums->policies_changed,
           sums->looked, sums->taken_over, sums->timed_out, sums->turned_away, sums->paced,
           sums->paused, sums->sent_on, sums->taken_out, sums->let_in, sums->called_off,
           sums->discarded, sums->crashes);
    printf("%" PRIu64 " operations of clients, %" PRIu64 " events of the core, %" PRIu64
           " steps of the store in %.2f s of CPU: %.0f operations a second\n",
           totals->operations, totals->events, totals->steps, totals->seconds,
           (double)totals->operations / totals->seconds);
    printf("%" PRIu64 " passed, %" PRIu64 " failed\n", totals->passed, totals->failed);
}

static _Noreturn void
exit_usage(void)
{
    (void)fputs("usage: sim [--seeds N] [--from SEED] [--list FILE] [options]\n"
                "       sim --seed SEED [--trace] [options]\n"
                "       sim --enumerate [--seeds N] [--from SEED] [--stride N] [options]\n"
                "options: --operations N, --until-wrong\n"
                "         --mutant no-flush|no-log-flush|no-directory-flush|no-checksum|"
                "early-commit|early-free|overtaking|no-bell|passing|last-first\n",
                stderr);
    exit(2);
}

static void
read_option(struct options *options, int name)
{
    switch (name) {
    case 'n':
        options->seed_count = strtoull(optarg, NULL, 0);
        break;
    case 'f':
        options->from = strtoull(optarg, NULL, 0);
        break;
    case 's':
        options->from = strtoull(optarg, NULL, 0);
        options->seed_count = 1;
        break;
    case 't':
        options->has_trace = true;
        break;
    case 'l':
        options->list = optarg;
        break;
    case 'u':
        options->until_wrong = true;
        break;
    case 'e':
        options->enumerates = true;
        break;
    case 'p':
        options->stride = (uint32_t)strtoul(optarg, NULL, 0);
        break;
    case 'o':
        options->operation_count = strtoull(optarg, NULL, 0);
        break;
    case 'm':
        options->mutant = mutant_find(optarg);
        break;
    default:
        exit_usage();
    }
}

static struct options
read_options(int argc, char **argv)
{
    static const struct option names[] = {
        {"seeds", required_argument, NULL, 'n'},
        {"from", required_argument, NULL, 'f'},
        {"seed", required_argument, NULL, 's'},
        {"trace", no_argument, NULL, 't'},
        {"operations", required_argument, NULL, 'o'},
        {"list", required_argument, NULL, 'l'},
        {"mutant", required_argument, NULL, 'm'},
        {"enumerate", no_argument, NULL, 'e'},
        {"until-wrong", no_argument, NULL, 'u'},
        {"stride", required_argument, NULL, 'p'},
        {NULL, 0, NULL, 0},
    };
    struct options options = {.from = 1, .seed_count = 100, .stride = 1};
    int name;
    while ((name = getopt_long(argc, argv, "", names, NULL)) != -1) {
        read_option(&options, name);
    }
    if (optind != argc || options.mutant == MUTANT_COUNT || options.stride == 0) {
        exit_usage();
    }
    return options;
}

int
main(int argc, char **argv)
{
    struct options options = read_options(argc, argv);
    struct totals totals = {0};
    mutant_set_checksums(options.mutant == MUTANT_NO_CHECKSUM);
    mutant_set_rings(options.mutant);
    if (options.enumerates) {
        run_enumerations(&options);
    }
    double started = seconds_now();
    if (options.list != NULL) {
        run_list(&options, &totals);
    }
    for (uint64_t i = 0; i < options.seed_count && may_go_on(&options, totals.failed); i++) {
        run_seed(&options, options.from + i,
                 options.operation_count != 0 ? options.operation_count : OPERATIONS, &totals);
    }
    totals.seconds = seconds_now() - started;
    print_totals(&totals);
    return totals.failed == 0 ? 0 : 1;
}

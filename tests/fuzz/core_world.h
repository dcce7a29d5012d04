/* SPDX-License-Identifier: Apache-2.0 */
/* A core with everything that it asks of the outside: message memory from the heap, a clock that is
 * stepped, seeded randomness, password checks that are answered at the end of a turn, and a log
 * that is read over: lines must be UTF-8 without control characters. */
#ifndef BOURSE_TESTS_FUZZ_CORE_WORLD_H
#define BOURSE_TESTS_FUZZ_CORE_WORLD_H

#include "broker/core/core.h"
#include "broker/users/access.h"

enum { CORE_WORLD_CHECKS_MAX = 64 };

struct core_world {
    struct core *core;
    struct chunk_pool *pool;
    struct log log;
    struct clock_reading now;
    uint64_t random_state;
    struct core_world_check {
        uint64_t id;
        bool matches;
    } checks[CORE_WORLD_CHECKS_MAX];
    size_t check_count;
};

/* Message memory from the heap: what the pool maps with, and the networks that fill it. */
struct chunk_memory core_world_memory(void);

/* The usual settings of a broker, without a memory mark. */
struct core_settings core_world_settings(void);

/* First the surroundings, for whoever the core shall post to; then the core, with the vhost "/". */
void core_world_init(struct core_world *world, enum log_level level);
void core_world_open(struct core_world *world, const struct core_settings *settings,
                     struct net_port net);

/* Asserts that no 541 was sent, that every queue is sound and that no content is left behind. */
void core_world_close(struct core_world *world);

/* A port that drops what is posted. */
struct net_port core_world_nowhere(void);

/* A user whose password is its name. */
struct config_user core_world_user(const char *name, const char *expression);
MUST_CHECK enum status core_world_put_user(struct core_world *world,
                                           const struct config_user *user);

/* Gives the verdict on every password that is being checked. */
void core_world_answer(struct core_world *world);

/* Walks every queue (queue_check). */
void core_world_check_queues(const struct core_world *world);

#endif

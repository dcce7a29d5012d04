/* SPDX-License-Identifier: Apache-2.0 */
/* Generations as they were when the core was asked: copies for the admin thread. */
#ifndef BOURSE_MANAGEMENT_ASK_GENERATION_COPY_H
#define BOURSE_MANAGEMENT_ASK_GENERATION_COPY_H

#include "broker/changes/generation.h"
#include "management/http/call.h"

struct generation_copy {
    uint64_t id;
    struct bytes vhost;
    int64_t wall_ms;
    enum generation_cause cause;
    struct bytes maker;
    uint64_t digest;
    uint64_t restored_id;
    bool is_current;               /* the newest of its vhost */
    struct config_source *sources; /* without texts unless they were asked for; sizes are right */
    size_t source_count;
};

/* Its texts are those of `arena`. */
void generation_copy_make(struct generation_copy *copy, struct arena *arena,
                          const struct generation *generation, bool with_texts);

/* What is asked for, and what came of it. */
struct generations_ask {
    struct call_ask ask;
    uint64_t id;        /* of one alone; 0: of all */
    struct bytes vhost; /* of this alone; data NULL: of every one */
    bool current_only;  /* the newest of each vhost */
    bool with_texts;
    struct arena arena;            /* owns what follows */
    struct generation_copy *items; /* the newest first */
    size_t count;
    void (*take)(struct call *call, const struct generations_ask *ask); /* answers, or goes on */
};

struct generations_ask *generations_ask_new(void (*take)(struct call *call,
                                                         const struct generations_ask *ask));
void generations_ask_start(struct call *call, struct generations_ask *ask); /* takes it */

#endif

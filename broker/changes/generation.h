/* SPDX-License-Identifier: Apache-2.0 */
/* Configurations that were applied: each is a generation with a number, a time, who did it, and the
 * texts of its files without secrets, so that an earlier one can be applied again. The last
 * GENERATIONS_KEPT are kept, and the newest of every vhost, for it says what the vhost is meant to
 * be, and which queues want attention when (`alert`). Owner: the core thread. */
#ifndef BOURSE_BROKER_CHANGES_GENERATION_H
#define BOURSE_BROKER_CHANGES_GENERATION_H

#include "base/made.h"
#include "broker/core/core.h"
#include "store/record.h"

enum { GENERATIONS_KEPT = 20 };

/* How it came about; numbers of the log. */
enum generation_cause {
    GENERATION_START,    /* the file of `serve` */
    GENERATION_RELOAD,   /* the same, read again */
    GENERATION_APPLY,    /* given to the running broker */
    GENERATION_ROLLBACK, /* an earlier one, applied again */
    GENERATION_CAUSE_COUNT,
};

struct generation_alert {
    struct bytes queue;
    struct config_alert limits;
};

struct generation {
    struct arena arena; /* what the views are of */
    uint64_t id;        /* counts from 1 */
    uint64_t vhost_id;
    struct bytes vhost;
    int64_t wall_ms; /* when it was applied */
    enum generation_cause cause;
    struct bytes maker;              /* who asked for it */
    uint64_t digest;                 /* of the texts */
    uint64_t restored_id;            /* of the one that a rollback went back to; 0: none */
    struct generation_alert *alerts; /* by name of the queue */
    size_t alert_count;
    struct config_source *sources;
    size_t source_count;
};

struct generations {
    struct generation **items; /* oldest first; owned */
    size_t count, capacity;
    uint64_t next_id;
};

struct generations *generations_new(void);
void generations_free(struct generations **generations);

/* What a new one is made from. */
struct generation_properties {
    const struct vhost *vhost;
    const struct config *config;
    enum generation_cause cause;
    struct bytes maker;
    uint64_t restored_id;
};

/* Octets that its record takes, at most. */
uint64_t generation_octets(const struct generation_properties *properties);

/* Adds one, tells the log, and lets go of what is too old. */
const struct generation *core_add_generation(struct core *core,
                                             const struct generation_properties *properties);

/* The vhost is gone: so are its configurations. */
void core_forget_generations(struct core *core, uint64_t vhost_id);

/* From the log. STATUS_CORRUPT: the record makes no sense. */
MUST_CHECK enum status core_restore_generation(struct core *core, const struct vhost *vhost,
                                               const struct record_generation *record);

/* From the newest, which is 0, on; NULL behind the oldest. */
const struct generation *core_generation_at(const struct core *core, size_t at);
const struct generation *core_find_generation(const struct core *core, uint64_t id); /* or NULL */

/* The newest of that vhost: what it is meant to be. NULL: nothing was ever applied. */
const struct generation *core_current_generation(const struct core *core, struct bytes vhost);

/* The newest that the file of `serve` has made, or NULL. */
const struct generation *core_last_of_serve(const struct core *core);

/* "start", "reload", "apply", "rollback". Static memory. */
const char *generation_cause_name(enum generation_cause cause);

/* The configuration that it was, for whoever applies it again or compares; its report says what
 * this version does not take any more. The caller frees it. Needs nothing of the core but the
 * texts, so that it can be read on another thread from a copy of them. */
struct config *generation_config(const struct generation *generation);

/* The digest of texts that a generation would have. */
uint64_t config_digest(const struct config *config);

/* From when on the queue wants attention, by the newest configuration of its vhost; NULL: nobody
 * has said. */
const struct config_alert *core_find_alert(const struct core *core, struct bytes vhost,
                                           struct bytes queue);

/* The name of the user who made something; empty when nobody knows. */
struct bytes core_maker_name(const struct core *core, const struct made *made);

/* What a user makes now is made by him. */
struct made connection_maker(const struct connection *connection);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* What it would take to make the broker what a configuration says, step by step: objects that would
 * be made, changed in place, replaced or deleted, each with what would be different, in the words
 * of the file. To compute a plan changes nothing.
 *
 * A plan is of the vhost of its configuration: what is in others is not its business. It is a
 * picture of the moment: whoever applies one makes it anew and compares the digests, which say
 * everything but numbers that change by themselves (messages, consumers). */
#ifndef BOURSE_BROKER_PLAN_PLAN_H
#define BOURSE_BROKER_PLAN_PLAN_H

#include "base/buffer.h"
#include "broker/core/core.h"

/* Steps that are kept; those beyond are counted, and such a plan cannot be applied. */
enum { PLAN_STEPS_MAX = 100000 };

enum plan_action { PLAN_CREATE, PLAN_CHANGE, PLAN_REPLACE, PLAN_DELETE, PLAN_ACTION_COUNT };

/* In the order in which steps stand. */
enum plan_object {
    PLAN_VHOST,
    PLAN_POLICY,
    PLAN_OPERATOR_POLICY,
    PLAN_EXCHANGE,
    PLAN_QUEUE,
    PLAN_BINDING,
    PLAN_USER,
    PLAN_OBJECT_COUNT,
};

/* One difference: a key with what it is and what it would be (NULL: not set), or a sentence about
 * rights. */
struct plan_line {
    struct plan_line *next; /* lines with a key come first, in their order */
    const char *key;        /* "limits.max-bytes"; NULL: a sentence */
    const char *from, *to;
    const char *sentence; /* "may additionally publish to orders" */
};

/* Words that a step needs and was not given. */
enum plan_need {
    PLAN_NEEDS_DISCARD = 1 << 0,   /* something would be lost */
    PLAN_NEEDS_UNPROTECT = 1 << 1, /* it stands under `protect` */
};

struct plan_step {
    enum plan_action action;
    enum plan_object object;
    struct bytes name; /* of a binding: of its source */
    struct bytes destination, routing_key;
    const char *arguments; /* of a binding, as text; "": none */
    bool to_exchange;
    struct plan_line *lines;
    unsigned needs;          /* of enum plan_need; not 0: refused */
    uint64_t message_count;  /* that would be lost */
    uint64_t consumer_count; /* that would be cancelled, with a queue that goes */
    uint64_t binding_count;  /* that would be lost with an exchange: the file does not name them */
    struct bytes made_by;    /* who made the object as it is; empty: not known */
    uint32_t made_s;         /* and when: seconds since 1970; 0: not known */
    struct bytes table;      /* of a binding: its arguments */
};

struct plan {
    struct arena arena; /* what the steps point at */
    struct bytes vhost;
    struct plan_step *steps; /* by object, then by name; owned */
    size_t step_count;
    size_t step_capacity;
    uint64_t omitted_count; /* steps beyond PLAN_STEPS_MAX */
    size_t counts[PLAN_ACTION_COUNT];
    size_t refused_count; /* steps that need a word */
    size_t left_count;    /* exchanges and queues that the file does not name, and that stay */
    uint64_t left_octets; /* of the log, at most: for what is no longer in the file and stays */
    uint64_t digest;
};

struct plan_options {
    bool prune; /* what the file does not name goes */
    /* For a start: users of other vhosts' files have left as well. */
    bool is_alone;
    const struct bytes *discards; /* names of what may be lost with all that is in it; borrowed */
    size_t discard_count;
    const struct bytes *unprotected; /* names that `protect` does not hold for; borrowed */
    size_t unprotected_count;
};

/* A plan that is being made. All are borrowed until planner_finish: the configuration, which is
 * good in itself, and the options. */
struct planner *planner_new(struct core *core, const struct config *config,
                            const struct plan_options *options);

/* Goes on, looking at about `budget` objects. True when there is nothing left to look at. What
 * changes meanwhile may be seen as it was or as it is. */
bool planner_step(struct planner *planner, uint32_t budget);

/* The plan, which the caller frees; planner_step has returned true. */
struct plan *planner_finish(struct planner **planner);
void planner_free(struct planner **planner); /* instead of that */

/* All of it at once. */
struct plan *plan_make(struct core *core, const struct config *config,
                       const struct plan_options *options);
void plan_free(struct plan **plan);

/* The plan as an operator reads it, with what is refused and why. A lack of memory shows in
 * out->failed. */
void plan_put_text(struct buffer *out, const struct plan *plan);

/* What is the digest's: every step without the numbers. */
void plan_put_steps(struct buffer *out, const struct plan *plan);

/* "queue billing", "binding orders -> billing (key \"order.#\")" */
void plan_put_subject(struct buffer *out, const struct plan_step *step);

/* Why the first step that needs a word is refused, and which word that is. */
void plan_put_refusal(struct buffer *out, const struct plan *plan);

/* The same plan read the other way: what clients have made, changed and deleted since the
 * configuration was applied. `plan` was made with `prune`. */
void plan_put_drift(struct buffer *out, const struct plan *plan);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* A policy: settings for all queues, or exchanges, whose names match a pattern. Operator policies
 * are those that limit what the others and arguments may say. Which of them matches what is decided
 * in broker/topology/policies.h; here is what they are made of: keys, what those may be, and for
 * whom. */
#ifndef BOURSE_QUEUES_POLICY_H
#define BOURSE_QUEUES_POLICY_H

#include "queues/settings.h"

enum policy_kind { POLICY_ORDINARY, POLICY_OPERATOR, POLICY_KIND_COUNT };

/* What it is for: apply-to. */
enum policy_target {
    POLICY_FOR_ALL,
    POLICY_FOR_QUEUES,
    POLICY_FOR_CLASSIC_QUEUES,
    POLICY_FOR_QUORUM_QUEUES,
    POLICY_FOR_STREAMS, /* of which there are none */
    POLICY_FOR_EXCHANGES,
    POLICY_TARGET_COUNT,
};

/* What an object is; sets of them. */
enum policy_object {
    POLICY_ON_CLASSIC_QUEUE = 1 << 0,
    POLICY_ON_QUORUM_QUEUE = 1 << 1,
    POLICY_ON_STREAM = 1 << 2,
    POLICY_ON_EXCHANGE = 1 << 3,
};

struct policy_properties {
    enum policy_kind kind;
    enum policy_target target;
    int32_t priority;
    bool from_file;
    struct bytes name;
    struct bytes pattern;    /* PCRE2, searched */
    struct bytes definition; /* table body; policy_definition_check found nothing */
};

/* Does not change but for the two flags of the file: another definition is another policy, and
 * whoever is under the old one keeps it until it was matched anew. */
struct policy {
    struct policy_properties is; /* views of octets behind the struct */
    bool is_named;               /* by the file that is being applied */
    uint32_t references;
    uint64_t id;                     /* in the log */
    struct queue_settings settings;  /* what it says about queues; views into the definition */
    struct bytes alternate_exchange; /* and about exchanges; data NULL: nothing */
};

/* One reference. NULL when there is no memory. */
struct policy *policy_new(uint64_t id, const struct policy_properties *properties);
struct policy *policy_ref(struct policy *policy);
void policy_unref(struct policy **policy);

/* Same pattern, target, priority and definition. */
bool policy_says_the_same(const struct policy *policy, const struct policy_properties *properties);

/* The apply-to called `name` ("classic_queues"); false when there is none. */
bool policy_target_find(struct bytes name, enum policy_target *target_out);
const char *policy_target_name(enum policy_target target); /* static memory */
uint8_t policy_target_objects(enum policy_target target);  /* of enum policy_object */

/* "policy" or "operator_policy", for logs. Static memory. */
const char *policy_kind_name(enum policy_kind kind);

/* Definitions ---------------------------------------------------------------------------------- */

enum policy_problem_kind {
    POLICY_PROBLEM_KEY,   /* unknown, or not for this kind or target */
    POLICY_PROBLEM_VALUE, /* not what the key takes */
};

struct policy_problem {
    enum policy_problem_kind kind;
    bool is_unknown; /* no policy has such a key */
    char
        text[384]; /* such as `-1 is not a valid message TTL ({value_negative,-1}); it takes ...` */
};

/* Judges one key of a definition, among the others: false with what is wrong. */
bool policy_key_check(const struct policy_properties *properties, struct bytes key,
                      const struct table_value *value, struct policy_problem *problem);

/* The whole of it: false with the first thing that is wrong, behind the name of its key. An empty
 * definition is wrong as well. */
bool policy_definition_check(const struct policy_properties *properties, char *why,
                             size_t why_size);

/* Whether the key is accepted but has no effect in this version. */
bool policy_key_is_without_effect(struct bytes key);

/* The same of a key in a policy for that target: for streams, of which there are none, no key has
 * an effect. */
bool policy_does_nothing_by(enum policy_target target, struct bytes key);

/* The keys one after the other, from 0 on; NULL behind the last. Static memory. */
const char *policy_key_name(size_t at);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* The policies of a vhost, and which of them applies to what. Of those of a kind that match the
 * name of a queue or exchange the one of the highest priority applies, alone; of several with that
 * priority the one whose name comes first, octet by octet.
 *
 * A queue or exchange is matched when it is made. When policies have changed, all that are there
 * are matched anew (a walk), as many at once as one tick has time for: what is left follows in the
 * next ticks, and is under what it was under until its turn comes. */
#ifndef BOURSE_BROKER_TOPOLOGY_POLICIES_H
#define BOURSE_BROKER_TOPOLOGY_POLICIES_H

#include "base/list.h"
#include "base/map.h"
#include "broker/names/expression.h"
#include "queues/policy.h"

/* Steps of one tick's share of a walk: 2 to 3 ms. Looking at a policy is one, running its
 * expression as many as POLICY_STEPS_OF_MATCH. */
enum { POLICY_STEPS_PER_TICK = 512 * 1024, POLICY_STEPS_OF_MATCH = 24 };

struct core;
struct exchange;
struct queue;
struct vhost;

struct policy_rule {
    struct policy *policy; /* a reference */
    struct expression expression;
};

/* Those of one kind. */
struct policy_set {
    struct policy_rule *rules; /* in the order in which they are tried; owned */
    uint32_t count, capacity;
    struct map by_name; /* struct policy; points */
};

/* In struct vhost. */
struct vhost_policies {
    struct policy_set sets[POLICY_KIND_COUNT];
    struct expression_runner runner; /* made with the first policy */
    struct list_link walk_link;      /* in core.policy_walks while a walk is under way */
    uint32_t queues_left;            /* of the walk: places in the vhost's maps, */
    uint32_t exchanges_left;         /* from the last one down */
    uint64_t walked_count;           /* objects looked at in it */
    uint64_t changed_count;          /* and those that something changed for */
};

void vhost_policies_init(struct vhost *vhost);
void vhost_policies_fini(struct vhost *vhost);

struct policy *vhost_find_policy(const struct vhost *vhost, enum policy_kind kind,
                                 struct bytes name);

/* Whether such a policy could be: its definition is good and its pattern compiles. Otherwise false
 * with what is wrong. */
bool policy_check(const struct policy_properties *properties, char *why, size_t why_size);

/* Puts a policy that policy_check accepted in the place of the one of its kind and name, or makes
 * it. Queues and exchanges do not know before vhost_match_policies_anew. STATUS_FULL: it
 * would not fit a segment of the log; STATUS_NO_MEMORY. Both change nothing. */
MUST_CHECK enum status vhost_put_policy(struct vhost *vhost,
                                        const struct policy_properties *properties);

/* The same for one that goes. */
void vhost_delete_policy(struct vhost *vhost, struct policy *policy);

/* From the log, under its number; not told to the log again. A pattern that does not compile
 * matches nothing. NULL when there is no memory. */
struct policy *vhost_restore_policy(struct vhost *vhost, uint64_t id,
                                    const struct policy_properties *properties);

/* In the order in which they are tried, from 0 on; NULL at the end. */
struct policy *vhost_policy_at(const struct vhost *vhost, enum policy_kind kind, uint32_t at);

/* A queue or exchange was made: finds what applies to it. */
void queue_match_policies(struct queue *queue);
void exchange_match_policies(struct exchange *exchange);

/* Before an exchange is freed. */
void exchange_leave_policies(struct exchange *exchange);

/* Policies have changed: begins a walk, or begins it anew, and does one tick's share of it. Before
 * the first connection, as at a start, nobody waits: all of it. */
void vhost_match_policies_anew(struct vhost *vhost);

/* Goes on with the walks: one tick's share. */
void core_match_policies(struct core *core);

/* Settings of a queue that is there have changed, by an argument or a policy: `changed` has bit
 * 1 << SETTING of each (enum queue_setting), and is not 0. The one place for what follows from it.
 */
void core_settings_changed(struct core *core, struct queue *queue, uint32_t changed);

#endif

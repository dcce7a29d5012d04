/* SPDX-License-Identifier: Apache-2.0 */
/* What an operator asks for by name, outside of AMQP and of the topology file: users and their
 * rights (user_changes.h), virtual hosts (vhost_life.h), policies and limits. Who asks has the role
 * for it: nothing is asked about rights here. What was done is told to the log with who did it,
 * and is on disk when core_topology_token is committed.
 *
 * Owner: the core thread. */
#ifndef BOURSE_BROKER_CHANGES_CHANGE_H
#define BOURSE_BROKER_CHANGES_CHANGE_H

#include "broker/changes/audit.h"
#include "broker/core/core.h"
#include "queues/policy.h"

enum { CHANGE_WHY_SIZE = 512 };

enum change_outcome {
    CHANGE_DONE, /* it was there before and has become what was asked for; or is gone */
    CHANGE_MADE, /* it was not there */
    CHANGE_NOT_FOUND,
    CHANGE_REFUSED, /* `why` says why; nothing was changed */
};

struct change {
    struct core *core;
    struct bytes by; /* the name of who asks; empty: the local administrator */
    bool is_part;    /* of something that the audit has a word of its own about */
    char why[CHANGE_WHY_SIZE];
};

/* Who asks, as the log and the audit name them. */
struct bytes change_maker(const struct change *change);

/* One line of the log, and an entry of the audit: what was done, who did it, and the fields of
 * `format`. `vhost` is empty where it is about no virtual host, or about one that is gone: then
 * only who sees all of them reads the entry. */
void change_log(const struct change *change, enum audit_action action, struct bytes vhost,
                const char *format, ...) PRINTF_LIKE(4, 5);

/* Refuses, with the reason. */
enum change_outcome change_refuse(struct change *change, const char *format, ...) PRINTF_LIKE(2, 3);

/* Whether the log has room for a record with so many octets of texts; false: `why` says so. */
bool change_has_room(struct change *change, uint64_t octets);

/* Policies of either kind; a walk over what they apply to begins. */
enum change_outcome change_put_policy(struct change *change, struct bytes vhost,
                                      const struct policy_properties *properties);
enum change_outcome change_delete_policy(struct change *change, struct bytes vhost,
                                         enum policy_kind kind, struct bytes name);

#endif

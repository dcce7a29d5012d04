/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/changes/change.h"

#include <stdarg.h>
#include <stdio.h>

#include "broker/durability/durability.h"
#include "broker/topology/vhost.h"

static const char LOCAL_ADMINISTRATOR[] = "(local)";

struct bytes
change_maker(const struct change *change)
{
    return change->by.size == 0 ? bytes_of(LOCAL_ADMINISTRATOR) : change->by;
}

void
change_log(const struct change *change, enum audit_action action, struct bytes vhost,
           const char *format, ...)
{
    char fields[2 * RESOURCE_TEXT_SIZE];
    char by[RESOURCE_TEXT_SIZE];
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(fields, sizeof(fields), format, arguments);
    va_end(arguments);
    log_info(change->core->log, audit_action_event(action), "by=%s %s",
             log_escape(by, sizeof(by), change_maker(change)), fields);
    if (!change->is_part) {
        audit_add(change->core, (struct audit_entry){
                                    .action = action,
                                    .phase = AUDIT_ENDED,
                                    .user = change_maker(change),
                                    .vhost = vhost,
                                    .target = bytes_of(fields),
                                    .outcome = bytes_of("done"),
                                    .done_count = 1,
                                });
    }
}

enum change_outcome
change_refuse(struct change *change, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(change->why, sizeof(change->why), format, arguments);
    va_end(arguments);
    return CHANGE_REFUSED;
}

bool
change_has_room(struct change *change, uint64_t octets)
{
    switch (core_prepare_record(change->core, octets)) {
    case STATUS_OK:
        return true;
    case STATUS_FULL:
        (void)change_refuse(change, "this is too large for one segment of the log");
        return false;
    default:
        (void)change_refuse(change, "there is no memory for it");
        return false;
    }
}

/* Policies ----------------------------------------------------------------------------------- */

static void
log_policy(const struct change *change, enum audit_action action, const struct vhost *vhost,
           enum policy_kind kind, struct bytes name)
{
    char texts[2][RESOURCE_TEXT_SIZE];
    change_log(change, action, vhost->name, "vhost=%s %s=%s",
               log_escape(texts[0], sizeof(texts[0]), vhost->name), policy_kind_name(kind),
               log_escape(texts[1], sizeof(texts[1]), name));
}

enum change_outcome
change_put_policy(struct change *change, struct bytes vhost_name,
                  const struct policy_properties *properties)
{
    struct vhost *vhost = core_find_vhost(change->core, vhost_name);
    if (vhost == NULL) {
        return CHANGE_NOT_FOUND;
    }
    if (!policy_check(properties, change->why, sizeof(change->why))) {
        return CHANGE_REFUSED;
    }
    struct policy *policy = vhost_find_policy(vhost, properties->kind, properties->name);
    bool existed = policy != NULL;
    if (existed && policy_says_the_same(policy, properties)) {
        return CHANGE_DONE;
    }
    struct policy_properties wanted = *properties;
    wanted.from_file = existed && policy->is.from_file;
    if (vhost_put_policy(vhost, &wanted) != STATUS_OK) {
        return change_refuse(change, "there is no memory for it, or no room in the log");
    }
    vhost_match_policies_anew(vhost);
    log_policy(change, AUDIT_POLICY_PUT, vhost, properties->kind, properties->name);
    return existed ? CHANGE_DONE : CHANGE_MADE;
}

enum change_outcome
change_delete_policy(struct change *change, struct bytes vhost_name, enum policy_kind kind,
                     struct bytes name)
{
    struct vhost *vhost = core_find_vhost(change->core, vhost_name);
    struct policy *policy = vhost == NULL ? NULL : vhost_find_policy(vhost, kind, name);
    if (policy == NULL) {
        return CHANGE_NOT_FOUND;
    }
    log_policy(change, AUDIT_POLICY_DELETED, vhost, kind, name);
    vhost_delete_policy(vhost, policy);
    vhost_match_policies_anew(vhost);
    return CHANGE_DONE;
}

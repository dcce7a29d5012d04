/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/topology/vhost_life.h"

#include <inttypes.h>
#include <stdlib.h>

#include "amqp/reply.h"
#include "base/alloc.h"
#include "broker/changes/generation.h"
#include "broker/connections/connection.h"
#include "broker/durability/durable_topology.h"
#include "broker/watch/trace.h"

enum { NAME_SIZE_MAX = 255, TEXTS_FIXED = 64, PREDECLARED_OCTETS = 1024 };

static const char *
vhost_text(struct bytes name, char out[static RESOURCE_TEXT_SIZE])
{
    return log_escape(out, RESOURCE_TEXT_SIZE, name);
}

/* Making and changing ------------------------------------------------------------------------ */

static size_t
text_octets(const char *text)
{
    return text == NULL ? 0 : strlen(text);
}

/* Octets of the record as it is, at most, and of what is wished. */
static uint64_t
octets_of(const struct vhost *vhost, const struct vhost_wish *wish)
{
    uint64_t octets = wish->name.size + TEXTS_FIXED + text_octets(wish->description) +
                      text_octets(wish->tags) + text_octets(wish->default_queue_type);
    if (vhost != NULL) {
        octets += text_octets(vhost->description) + text_octets(vhost->tags) +
                  text_octets(vhost->default_queue_type);
    }
    return vhost == NULL ? octets + PREDECLARED_OCTETS : octets;
}

/* An empty text is none. True: it is another one now. */
static bool
take_text(char **place, const char *wanted)
{
    const char *before = *place == NULL ? "" : *place;
    if (wanted == NULL || strcmp(before, wanted) == 0) {
        return false;
    }
    free(*place);
    *place = wanted[0] == '\0' ? NULL : xstrdup(wanted);
    return true;
}

static bool
take_wish(struct vhost *vhost, const struct vhost_wish *wish)
{
    bool is_changed = take_text(&vhost->description, wish->description);
    is_changed |= take_text(&vhost->tags, wish->tags);
    is_changed |= take_text(&vhost->default_queue_type, wish->default_queue_type);
    return is_changed;
}

static void
make_vhost(struct change *change, const struct vhost_wish *wish)
{
    char text[RESOURCE_TEXT_SIZE];
    struct vhost *vhost = vhost_new(change->core, wish->name);
    (void)take_wish(vhost, wish);
    core_add_vhost(change->core, vhost);
    change_log(change, AUDIT_VHOST_CREATED, wish->name, "vhost=%s", vhost_text(wish->name, text));
}

enum change_outcome
change_put_vhost(struct change *change, const struct vhost_wish *wish)
{
    char text[RESOURCE_TEXT_SIZE];
    struct vhost *vhost = core_find_vhost(change->core, wish->name);
    bool existed = vhost != NULL;
    if (wish->name.size == 0 || wish->name.size > NAME_SIZE_MAX) {
        return change_refuse(change, "the name of a virtual host has 1 to 255 octets");
    }
    if (!change_has_room(change, octets_of(vhost, wish))) {
        return CHANGE_REFUSED;
    }
    if (!existed) {
        make_vhost(change, wish);
        vhost = core_find_vhost(change->core, wish->name);
    } else if (take_wish(vhost, wish)) {
        vhost_remember(vhost);
        change_log(change, AUDIT_VHOST_CHANGED, wish->name, "vhost=%s",
                   vhost_text(wish->name, text));
    }
    if (wish->is_traced != NULL) {
        change_trace_vhost(change, vhost, *wish->is_traced);
    }
    return existed ? CHANGE_DONE : CHANGE_MADE;
}

/* Finds the vhost and has room for its record. */
static struct vhost *
find_to_change(struct change *change, struct bytes name, enum change_outcome *outcome_out)
{
    struct vhost *vhost = core_find_vhost(change->core, name);
    const struct vhost_wish nothing = {.name = name};
    *outcome_out = CHANGE_NOT_FOUND;
    if (vhost != NULL && !change_has_room(change, octets_of(vhost, &nothing))) {
        *outcome_out = CHANGE_REFUSED;
        return NULL;
    }
    return vhost;
}

enum change_outcome
change_protect_vhost(struct change *change, struct bytes name, bool is_protected)
{
    char text[RESOURCE_TEXT_SIZE];
    enum change_outcome outcome;
    struct vhost *vhost = find_to_change(change, name, &outcome);
    if (vhost == NULL) {
        return outcome;
    }
    if (vhost->is_protected != is_protected) {
        vhost->is_protected = is_protected;
        vhost_remember(vhost);
        change_log(change, is_protected ? AUDIT_VHOST_PROTECTED : AUDIT_VHOST_UNPROTECTED, name,
                   "vhost=%s", vhost_text(name, text));
    }
    return CHANGE_DONE;
}

void
change_trace_vhost(const struct change *change, struct vhost *vhost, bool is_traced)
{
    char text[RESOURCE_TEXT_SIZE];
    if (vhost_set_tracing(vhost, is_traced)) {
        change_log(change, is_traced ? AUDIT_TRACE_STARTED : AUDIT_TRACE_STOPPED, vhost->name,
                   "vhost=%s", vhost_text(vhost->name, text));
    }
}

enum change_outcome
change_limit_vhost(struct change *change, struct bytes name, struct bytes limit, int64_t value)
{
    char text[RESOURCE_TEXT_SIZE];
    enum change_outcome outcome;
    struct vhost *vhost = find_to_change(change, name, &outcome);
    if (vhost == NULL) {
        return outcome;
    }
    int64_t *place = bytes_equal_text(limit, "max-connections") ? &vhost->connections_max
                     : bytes_equal_text(limit, "max-queues")    ? &vhost->queues_max
                                                                : NULL;
    if (place == NULL) {
        return change_refuse(change,
                             "a virtual host has no limit \"%.*s\"; it has \"max-connections\" "
                             "and \"max-queues\"",
                             BYTES_FORMAT(limit));
    }
    if (*place == value) {
        return CHANGE_DONE;
    }
    *place = value;
    vhost_remember(vhost);
    change_log(change, AUDIT_VHOST_LIMITED, name, "vhost=%s %.*s=%" PRId64, vhost_text(name, text),
               BYTES_FORMAT(limit), value);
    return CHANGE_DONE;
}

/* Deleting ----------------------------------------------------------------------------------- */

static void
close_connections(const struct vhost *vhost)
{
    struct fault fault;
    (void)fault_connection(&fault, REPLY_CONNECTION_FORCED, "vhost '%.*s' was deleted",
                           BYTES_FORMAT(vhost->name));
    LIST_FOR_EACH(&vhost->core->connection_list, link)
    {
        struct connection *connection = CONTAINER_OF(link, struct connection, core_link);
        if (connection->vhost == vhost) {
            connection_close(connection, &fault, 0, 0);
        }
    }
}

/* A restart takes rights in what is not there for none: their users need no record. */
static void
revoke_rights(const struct vhost *vhost)
{
    uint32_t position = 0;
    for (struct map_entry *entry; (entry = map_next(&vhost->core->users, &position)) != NULL;) {
        (void)user_drop_grant(entry->value, vhost->name);
    }
}

enum change_outcome
change_delete_vhost(struct change *change, struct bytes name)
{
    struct core *core = change->core;
    char text[RESOURCE_TEXT_SIZE];
    struct vhost *vhost = core_find_vhost(core, name);
    if (vhost == NULL) {
        return CHANGE_NOT_FOUND;
    }
    if (vhost->is_protected) {
        return change_refuse(change,
                             "vhost '%.*s' is protected from deletion: DELETE "
                             "/api/vhosts/NAME/deletion/protection lifts that",
                             BYTES_FORMAT(name));
    }
    if (!change_has_room(change, 0)) {
        return CHANGE_REFUSED;
    }
    change_log(change, AUDIT_VHOST_DELETED, bytes_of(""), "vhost=%s queues=%u exchanges=%u",
               vhost_text(name, text), (unsigned)map_count(&vhost->queues),
               (unsigned)map_count(&vhost->exchanges));
    vhost_forget(vhost);
    core_forget_generations(core, vhost->id);
    revoke_rights(vhost);
    vhost_forget_traces(vhost);
    list_remove(&vhost->policies.walk_link);
    (void)map_remove(&core->vhosts, vhost->name);
    close_connections(vhost);
    vhost->policies.queues_left = map_places(&vhost->queues);
    vhost->policies.exchanges_left = map_places(&vhost->exchanges);
    list_append(&core->gone_vhosts, &vhost->gone_link);
    return CHANGE_DONE;
}

/* One object of it; false when there is none left but the default exchange, which what is still
 * under way may ask for. */
static bool
delete_one(struct vhost *vhost)
{
    struct vhost_policies *walk = &vhost->policies; /* nothing is matched any more */
    struct map_entry *entry = map_previous(&vhost->queues, &walk->queues_left);
    if (entry != NULL) {
        (void)vhost_delete_queue(vhost, entry->value);
        return true;
    }
    entry = map_previous(&vhost->exchanges, &walk->exchanges_left);
    if (entry != NULL && map_entry_key(entry).size > 0) {
        vhost_delete_exchange(vhost, entry->value);
    }
    return entry != NULL;
}

void
core_empty_gone_vhosts(struct core *core)
{
    uint32_t left = CORE_GONE_PER_TICK;
    struct list_link *link;
    while (left > 0 && (link = list_first(&core->gone_vhosts)) != NULL) {
        struct vhost *vhost = CONTAINER_OF(link, struct vhost, gone_link);
        if (delete_one(vhost)) {
            left--;
        } else {
            list_remove(&vhost->gone_link);
            list_append(&core->empty_vhosts, &vhost->gone_link);
        }
    }
}

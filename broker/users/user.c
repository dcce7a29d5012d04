/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/users/user.h"

#include <stdlib.h>

#include "base/alloc.h"
#include "broker/connections/login.h"
#include "broker/durability/durability.h"
#include "broker/durability/durable_topology.h"

static struct bytes
bytes_new_copy(struct bytes source)
{
    uint8_t *copy = xalloc(source.size + 1);
    memcpy(copy, source.data, source.size);
    return bytes_make(copy, source.size);
}

/* NULL when an expression does not compile; the log says which. */
static struct user_rights *
user_rights_make(const struct config_user *config, struct bytes vhost, struct core *core)
{
    struct user_grant grant = config_user_grant(config, vhost);
    struct user_rights *rights = user_rights_new(&grant, core->seed);
    if (rights != NULL && !user_rights_compile(rights, config->name, core->log)) {
        user_rights_free(rights);
        return NULL;
    }
    return rights;
}

void
user_free(struct user **user_pointer)
{
    struct user *user = *user_pointer;
    if (user == NULL) {
        return;
    }
    uint32_t position = 0;
    struct map_entry *entry;
    while ((entry = map_next(&user->rights, &position)) != NULL) {
        user_rights_free(entry->value);
    }
    map_fini(&user->rights);
    buffer_fini(&user->record);
    free(user->password_hash);
    free(user->tags);
    free((void *)user->name.data);
    free(user);
    *user_pointer = NULL;
}

struct user *
core_find_user(struct core *core, struct bytes name)
{
    return map_get(&core->users, name);
}

struct user *
core_restore_user(struct core *core, uint64_t id, struct bytes name)
{
    struct user *user = xalloc(sizeof(*user));
    user->id = id;
    user->name = bytes_new_copy(name);
    map_init(&user->rights, core->seed);
    map_put(&core->users, user->name, user);
    map_put(&core->user_ids, bytes_make(&user->id, sizeof(user->id)), user);
    return user;
}

static void
user_take_rights(struct user *user, struct user_rights *rights)
{
    struct user_rights *replaced = map_get(&user->rights, rights->given.vhost);
    map_put(&user->rights, rights->given.vhost, rights);
    if (replaced != NULL) {
        user_rights_free(replaced);
    }
    user->version++;
}

void
user_restore_grant(struct user *user, struct core *core, const struct user_grant *grant)
{
    struct user_rights *rights = user_rights_new(grant, core->seed);
    assert(rights != NULL);
    (void)user_rights_compile(rights, user->name, core->log);
    user_take_rights(user, rights);
}

enum status
user_put_grant(struct user *user, struct core *core, const struct user_grant *grant)
{
    struct user_rights *rights = user_rights_new(grant, core->seed);
    if (rights != NULL && !user_rights_compile(rights, user->name, core->log)) {
        user_rights_free(rights);
        rights = NULL;
    }
    if (rights == NULL) {
        return STATUS_REJECTED;
    }
    user_take_rights(user, rights);
    return STATUS_OK;
}

bool
user_drop_grant(struct user *user, struct bytes vhost)
{
    struct user_rights *rights = map_remove(&user->rights, vhost);
    if (rights == NULL) {
        return false;
    }
    user_rights_free(rights);
    user->version++;
    return true;
}

bool
user_find_grant(const struct user *user, struct bytes vhost, struct user_grant *grant_out)
{
    const struct user_rights *rights = map_get(&user->rights, vhost);
    if (rights == NULL) {
        return false;
    }
    *grant_out = rights->given;
    return true;
}

void
user_ref(struct user *user)
{
    user->references++;
}

void
user_unref(struct user *user)
{
    assert(user->references > 0);
    user->references--;
    if (user->is_gone && user->references == 0) {
        user_free(&user);
    }
}

void
core_drop_user(struct core *core, struct user *user)
{
    (void)map_remove(&core->users, user->name);
    (void)map_remove(&core->user_ids, bytes_make(&user->id, sizeof(user->id)));
    user->is_gone = true;
    user->is_disabled = true;
    user->version++;
    user_ref(user);
    user_unref(user);
}

bool
user_next_grant(const struct user *user, uint32_t *position, struct user_grant *grant_out)
{
    const struct map_entry *entry = map_next(&user->rights, position);
    if (entry == NULL) {
        return false;
    }
    const struct user_rights *rights = entry->value;
    *grant_out = rights->given;
    return true;
}

static void
user_take_credentials(struct user *user, const struct config_user *config, struct core *core)
{
    if (config->keeps_password) {
        return;
    }
    free(user->password_hash);
    user->password_hash = config->password_hash != NULL ? xstrdup(config->password_hash) : NULL;
    user->has_secret = config->password != NULL;
    if (user->has_secret) {
        login_desk_mac(core->logins, user->name, (struct bytes){.data = NULL},
                       bytes_of(config->password), user->secret_mac);
    }
}

enum status
core_check_user(struct core *core, const struct config_user *config, struct bytes vhost)
{
    struct user_rights *rights = user_rights_make(config, vhost, core);
    if (rights == NULL) {
        return STATUS_REJECTED;
    }
    user_rights_free(rights);
    return STATUS_OK;
}

enum status
core_put_user(struct core *core, const struct config_user *config, struct bytes vhost)
{
    struct user_rights *rights = user_rights_make(config, vhost, core);
    if (rights == NULL) {
        return STATUS_REJECTED;
    }
    struct user *user = core_find_user(core, config->name);
    if (user == NULL) {
        user = core_restore_user(core, core_new_id(core, true), config->name);
    }
    user->from_file = true;
    user->auth = config->auth;
    user->role = config->role;
    free(user->tags);
    user->tags = NULL;
    user->loopback_only = config->loopback_only;
    user->is_disabled = false;
    user->connections_max = config->connections_max;
    user->channels_max = config->channels_max;
    user_take_credentials(user, config, core);
    user_take_rights(user, rights);
    user_remember(core, user);
    return STATUS_OK;
}

void
core_disable_user(struct core *core, struct user *user)
{
    user->is_disabled = true;
    user->version++;
    user_remember(core, user);
}

void
core_take_grant(struct core *core, struct user *user, struct bytes vhost)
{
    (void)user_drop_grant(user, vhost);
    if (map_count(&user->rights) == 0) {
        user->is_disabled = true;
    }
    user_remember(core, user);
}

void
core_give_password(struct core *core, struct user *user, const struct config_user *config)
{
    user_take_credentials(user, config, core);
    user->version++;
    user_remember(core, user);
}

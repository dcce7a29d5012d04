/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/users/new_password.h"

#include <stdio.h>

bool
new_password_begin(struct new_password *password, struct core *core, struct bytes text)
{
    struct password_port *port = &core->ports.password;
    password->id = core->next_password_id;
    password->is_done = false;
    if (port->hash(port->context, password->id, text) != STATUS_OK) {
        return false;
    }
    core->next_password_id++;
    list_append(&core->new_passwords, &password->link);
    return true;
}

void
new_password_forget(struct new_password *password)
{
    list_remove(&password->link);
}

void
core_password_hashed(struct core *core, uint64_t id, const char *hash)
{
    LIST_FOR_EACH(&core->new_passwords, link)
    {
        struct new_password *password = CONTAINER_OF(link, struct new_password, link);
        if (password->id == id) {
            (void)snprintf(password->hash, sizeof(password->hash), "%s", hash == NULL ? "" : hash);
            password->is_done = true;
            core->requests_go_on = true;
            new_password_forget(password);
            return;
        }
    }
}

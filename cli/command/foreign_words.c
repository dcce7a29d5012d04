/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/command/foreign_words.h"

#include <string.h>

#include "base/assert.h"

static const struct foreign_word words[] = {
    /* rabbitmqctl and rabbitmq-diagnostics. */
    {"add_user", "user add USER"},
    {"add_vhost", "vhost add VHOST"},
    {"alarms", "status"},
    {"change_password", "user passwd USER"},
    {"check_alarms", "doctor"},
    {"check_running", "ping"},
    {"clear_operator_policy", "policy delete POLICY --operator"},
    {"clear_permissions", "user rights USER --clear"},
    {"clear_policy", "policy delete POLICY"},
    {"close_all_connections", "conn close USER --of-user"},
    {"close_all_user_connections", "conn close USER --of-user"},
    {"close_connection", "conn close CONNECTION"},
    {"cluster_status", "status"},
    {"delete_queue", "queue delete QUEUE"},
    {"delete_user", "user delete USER"},
    {"delete_vhost", "vhost delete VHOST"},
    {"environment", "support-bundle FILE"},
    {"export_definitions", "export --format definitions"},
    {"import_definitions", "import FILE --apply"},
    {"list_bindings", "ls bindings"},
    {"list_channels", "ls channels"},
    {"list_connections", "ls connections"},
    {"list_consumers", "ls consumers"},
    {"list_exchanges", "ls exchanges"},
    {"list_permissions", "ls permissions"},
    {"list_policies", "ls policies"},
    {"list_queues", "ls queues"},
    {"list_user_permissions", "user rights USER"},
    {"list_users", "ls users"},
    {"list_vhosts", "ls vhosts"},
    {"memory_breakdown", "status"},
    {"purge_queue", "purge QUEUE"},
    {"report", "support-bundle FILE"},
    {"set_operator_policy", "policy set POLICY PATTERN DEFINITION --operator"},
    {"set_permissions", "user rights USER CONFIGURE WRITE READ"},
    {"set_policy", "policy set POLICY PATTERN DEFINITION"},
    {"set_user_tags", "user role USER ROLE"},
    {"trace_off", "trace off"},
    {"trace_on", "trace on"},
    /* rabbitmqadmin. */
    {"close", "conn close CONNECTION"},
    {"declare", "queue declare QUEUE, exchange declare or binding add"},
    {"delete", "queue delete QUEUE, exchange delete, user delete or vhost delete"},
    {"list", "ls queues"},
    {"show", "status"},
};

const struct foreign_word *
foreign_word_at(size_t index)
{
    return index < ARRAY_LEN(words) ? &words[index] : NULL;
}

const char *
foreign_word_ours(const char *word)
{
    for (size_t i = 0; i < ARRAY_LEN(words); i++) {
        if (strcmp(words[i].theirs, word) == 0) {
            return words[i].ours;
        }
    }
    return NULL;
}

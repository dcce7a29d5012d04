/* SPDX-License-Identifier: Apache-2.0 */
/* Users, their rights, and policies. */
#ifndef BOURSE_CLI_OBJECTS_USERS_H
#define BOURSE_CLI_OBJECTS_USERS_H

#include "cli/command/command.h"

enum {
    USER_ADD_OPTION_COUNT = 4,
    PASSWD_OPTION_COUNT = 2,
    RIGHTS_OPTION_COUNT = 1,
    POLICY_SET_OPTION_COUNT = 3,
    POLICY_OPTION_COUNT = 1
};

extern const struct command_option user_add_options[USER_ADD_OPTION_COUNT];
extern const struct command_option passwd_options[PASSWD_OPTION_COUNT];
extern const struct command_option rights_options[RIGHTS_OPTION_COUNT];
extern const struct command_option policy_set_options[POLICY_SET_OPTION_COUNT];
extern const struct command_option policy_options[POLICY_OPTION_COUNT];

int user_add_run(const struct command_line *line, const struct command_io *io);
int user_passwd_run(const struct command_line *line, const struct command_io *io);
int user_role_run(const struct command_line *line, const struct command_io *io);
int user_rights_run(const struct command_line *line, const struct command_io *io);
int user_delete_run(const struct command_line *line, const struct command_io *io);
int policy_set_run(const struct command_line *line, const struct command_io *io);
int policy_delete_run(const struct command_line *line, const struct command_io *io);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* From what the files say about users to logins and permission expressions. */
#ifndef BOURSE_CONFIG_USERS_H
#define BOURSE_CONFIG_USERS_H

#include "config/document.h"

enum { PASSWORD_SIZE_MAX = 1024, RIGHTS_SIZE_MAX = 256 };

/* Fills the users of `config`; problems go to its report. Listeners must have been compiled: a user
 * with a certificate needs one that asks for it. */
void users_compile(struct config *config, const struct document *document,
                   enum config_purpose purpose, const struct config_environment *environment);

#endif

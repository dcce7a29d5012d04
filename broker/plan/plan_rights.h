/* SPDX-License-Identifier: Apache-2.0 */
/* Rights of users as sentences: what somebody may do that he could not before, and what he could
 * and may no longer. Expressions that come from words of a file are taken back to these; others are
 * shown as they are. */
#ifndef BOURSE_BROKER_PLAN_PLAN_RIGHTS_H
#define BOURSE_BROKER_PLAN_PLAN_RIGHTS_H

#include "broker/plan/plan.h"
#include "broker/users/user.h"

/* Appends to `lines` what changes between the two grants; `from` NULL: there was none. Texts are in
 * `arena`. */
void plan_rights_compare(struct arena *arena, struct plan_line **lines,
                         const struct user_grant *from, const struct user_grant *to);

/* Puts a line in its place: lines with a key by that, in front of sentences, which keep their
 * order. */
void plan_lines_add(struct arena *arena, struct plan_line **lines, struct plan_line line);

#endif

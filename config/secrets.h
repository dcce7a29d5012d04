/* SPDX-License-Identifier: Apache-2.0 */
/* The text of a configuration file without the secrets that stand in it: what may be kept and
 * shown. */
#ifndef BOURSE_CONFIG_SECRETS_H
#define BOURSE_CONFIG_SECRETS_H

#include "config/yaml_tree.h"

/* A copy of `text`, whose tree is `root`, with the value of `password-hash` of every user replaced
 * by CONFIG_KEPT_SECRET; the rest, comments included, stays as it is. In `arena`. */
struct bytes secrets_replace(struct arena *arena, const struct node *root, struct bytes text);

#endif

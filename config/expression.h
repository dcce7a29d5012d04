/* SPDX-License-Identifier: Apache-2.0 */
/* The words of a user's rights become regular expressions as the broker (and RabbitMQ) evaluates
 * them: Perl syntax, searched, hence anchored here. Everything the file says literally is quoted.
 */
#ifndef BOURSE_CONFIG_EXPRESSION_H
#define BOURSE_CONFIG_EXPRESSION_H

#include "base/alloc.h"
#include "base/bytes.h"

/* Matches exactly the names in `names`; one that ends in `*` stands for all that begin with what is
 * before it. "" (matches nothing, by the broker's rule) when there are none. In `arena`. */
const char *expression_from_names(struct arena *arena, const struct bytes *names, size_t count);

/* Matches exactly the routing keys that one of the topic patterns matches: words between dots, `*`
 * is one word, `#` zero or more; the empty key has no words. `count` is at least 1. In `arena`. */
const char *expression_from_patterns(struct arena *arena, const struct bytes *patterns,
                                     size_t count);

/* The way back: the names (or topic patterns) that an expression of the function above was made
 * from, as an array in `arena`. A pattern of nothing but `#` comes back as one `#`. False when it
 * is not of that form: somebody has written it by hand. */
bool expression_to_names(struct arena *arena, const char *expression, struct bytes **names_out,
                         size_t *count_out);
bool expression_to_patterns(struct arena *arena, const char *expression,
                            struct bytes **patterns_out, size_t *count_out);

/* Whether a pattern of names (see expression_from_names) covers `name`. */
bool name_pattern_matches(struct bytes pattern, struct bytes name);

/* True for a pattern that ends in `*`. */
bool name_pattern_is_prefix(struct bytes pattern);

#endif

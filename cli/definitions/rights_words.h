/* SPDX-License-Identifier: Apache-2.0 */
/* The words `publish`, `consume` and `topics` out of permission expressions: the way of
 * config/expression.h back. Found only where the words compile to exactly the same expression. */
#ifndef BOURSE_CLI_DEFINITIONS_RIGHTS_WORDS_H
#define BOURSE_CLI_DEFINITIONS_RIGHTS_WORDS_H

#include "base/alloc.h"
#include "base/bytes.h"

/* Names, each of which may end in `*`; none for "". False: the expression is no list of names. */
bool rights_find_names(const char *expression, struct arena *arena, struct bytes **names_out,
                       size_t *count_out);

/* Topic patterns. False: the expression stands for none. */
bool rights_find_patterns(const char *expression, struct arena *arena, struct bytes **patterns_out,
                          size_t *count_out);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* Regular expressions over names: PCRE2, searched and not anchored, over octets, interpreted. What
 * one match may cost is bounded, whatever the expression is. */
#ifndef BOURSE_BROKER_NAMES_EXPRESSION_H
#define BOURSE_BROKER_NAMES_EXPRESSION_H

#include "base/bytes.h"
#include "base/status.h"

struct pcre2_real_code_8;
struct pcre2_real_match_context_8;
struct pcre2_real_match_data_8;

enum { EXPRESSION_PREFIX_SIZE = 31 };

/* `code` NULL: matches all or nothing. */
struct expression {
    struct pcre2_real_code_8 *code;
    bool matches_all;    /* it is ".*": no need to compile or run it */
    uint8_t prefix_size; /* what it matches begins with so many octets of `prefix` */
    uint8_t prefix[EXPRESSION_PREFIX_SIZE];
};

struct expression_error {
    size_t offset; /* in the pattern, where it was noticed */
    char reason[128];
};

/* What matching needs besides; one for any number of expressions of one thread. */
struct expression_runner {
    struct pcre2_real_match_context_8 *context;
    struct pcre2_real_match_data_8 *data;
};

enum expression_verdict {
    EXPRESSION_DIFFERS_AT_ONCE, /* seen without running it: some nanoseconds */
    EXPRESSION_DIFFERS,
    EXPRESSION_MATCHES,
    EXPRESSION_GAVE_UP, /* it ran into a limit, after up to 0.7 ms */
};

/* False with the reason when the pattern does not compile; the expression then matches nothing. */
bool expression_compile(struct expression *expression, struct bytes pattern,
                        struct expression_error *error);
void expression_fini(struct expression *expression);

MUST_CHECK enum status expression_runner_init(struct expression_runner *runner);
void expression_runner_fini(struct expression_runner *runner); /* of one that is all zero, too */

enum expression_verdict expression_match(const struct expression *expression,
                                         const struct expression_runner *runner,
                                         struct bytes subject);

#endif

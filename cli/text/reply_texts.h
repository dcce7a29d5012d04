/* SPDX-License-Identifier: Apache-2.0 */
/* What each reply code of AMQP means to somebody who got it, for `bourse explain`. A test compares
 * the table with amqp/reply.h. */
#ifndef BOURSE_CLI_TEXT_REPLY_TEXTS_H
#define BOURSE_CLI_TEXT_REPLY_TEXTS_H

#include <stddef.h>

#include "amqp/reply.h"

struct reply_explanation {
    enum reply_code code;
    const char *meaning;
    const char *cause;
    const char *next;
};

/* In order of code; NULL behind the last. */
const struct reply_explanation *reply_explanation_at(size_t index);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* What the words of RabbitMQ's commands are called here: whoever comes from there types those. */
#ifndef BOURSE_CLI_COMMAND_FOREIGN_WORDS_H
#define BOURSE_CLI_COMMAND_FOREIGN_WORDS_H

#include <stddef.h>

struct foreign_word {
    const char *theirs; /* the first word behind rabbitmqctl or rabbitmqadmin */
    const char *ours;   /* what stands behind "bourse" for it */
};

/* NULL behind the last. */
const struct foreign_word *foreign_word_at(size_t index);

/* NULL: it is no word of RabbitMQ's that has one here. */
const char *foreign_word_ours(const char *word);

#endif

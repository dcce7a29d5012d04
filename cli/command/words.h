/* SPDX-License-Identifier: Apache-2.0 */
/* The words that stand for arguments in the table of commands, such as FILE or QUEUE: what the
 * completion offers in their place. */
#ifndef BOURSE_CLI_COMMAND_WORDS_H
#define BOURSE_CLI_COMMAND_WORDS_H

#include <stdbool.h>
#include <stddef.h>

#include "base/bytes.h"

enum word_kind {
    WORD_FREE,      /* nothing is offered */
    WORD_FILE,      /* a path */
    WORD_DIRECTORY, /* a path of a directory */
    WORD_CHOICE,    /* one of the words between bars: "table|wide|json" */
    WORD_NAME,      /* what a command of ours lists */
};

struct word {
    enum word_kind kind;
    struct bytes text;  /* without brackets and dots: "FILE", or the words with their bars */
    const char *lister; /* WORD_NAME: words behind "bourse" that print the names, one a line */
    bool is_repeated;   /* "..." follows */
};

/* The word number `index` of `text`, such as "EXCHANGE KEY" or "[FILE...]"; false behind the last.
 * What repeats goes on for ever. */
bool word_at(const char *text, size_t index, struct word *out);

/* One of the words of a choice, in order; size 0 behind the last. */
struct bytes word_choice(struct bytes choices, size_t index);

/* True when `text` is one of the words between the bars of `choices`. */
bool word_is_choice(struct bytes choices, const char *text);

#endif

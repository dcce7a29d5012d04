/* SPDX-License-Identifier: Apache-2.0 */
/* Collecting what is wrong with a configuration, and guessing what a misspelt word was meant to be.
 * Nothing here stops the reading: a run reports every error of its files. */
#ifndef BOURSE_CONFIG_REPORT_H
#define BOURSE_CONFIG_REPORT_H

#include "config/config.h"

enum {
    REPORT_ITEMS_MAX = 1000, /* further ones are counted, and the last line says how many */
    SUGGESTION_TEXT_SIZE = 96,
    SUGGESTION_WORD_MAX = 40, /* octets; longer words are never guessed at */
};

/* Adds a diagnostic; the text is formatted into the config's arena. */
void report_error(struct config *config, struct config_mark mark, const char *format, ...)
    PRINTF_LIKE(3, 4);
void report_warning(struct config *config, struct config_mark mark, const char *format, ...)
    PRINTF_LIKE(3, 4);

/* Puts the diagnostics in order: files as in `paths`, then line, then column. Removes those that
 * say the same twice about the same place (a default that many objects share). */
void report_sort(struct config *config, const char *const *paths, size_t path_count);

/* The candidate nearest to a word, by edit distance; see suggestion_offer. */
struct suggestion {
    struct bytes word; /* borrowed */
    struct bytes best; /* borrowed; size 0: nothing is near enough */
    size_t distance;
};

struct suggestion suggestion_for(struct bytes word);

/* Considers `candidate`: insertions, deletions, replacements and swapped neighbours count one each;
 * the longer the word, the more of them are forgiven (1 to 3). */
void suggestion_offer(struct suggestion *suggestion, struct bytes candidate);

/* ` (did you mean "..."?)`, or an empty text when nothing was near. Returns `out`. */
const char *suggestion_text(const struct suggestion *suggestion,
                            char out[static SUGGESTION_TEXT_SIZE]);

/* The same in one step, from words that end with NULL. */
const char *suggestion_among(struct bytes word, const char *const *words,
                             char out[static SUGGESTION_TEXT_SIZE]);

#endif

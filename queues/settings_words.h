/* SPDX-License-Identifier: Apache-2.0 */
/* Words that arguments of a queue may be, in the order of the enumerations that they stand for;
 * each list ends with NULL. Within the folder only. */
#ifndef BOURSE_QUEUES_SETTINGS_WORDS_H
#define BOURSE_QUEUES_SETTINGS_WORDS_H

#include "base/bytes.h"

extern const char *const queue_overflow_words[];       /* enum queue_overflow */
extern const char *const dead_letter_strategy_words[]; /* enum dead_letter_strategy */
extern const char *const retry_type_words[];           /* enum retry_type */
extern const char *const retry_order_words[];          /* enum retry_order */
extern const char *const retry_verdict_words[];        /* 1 << place is one of retry_verdict */

/* The place of `word` in the list; -1: it is none of them. */
int words_find(const char *const *words, struct bytes word);

/* Takes the next item off the front of a list that commas separate, without the blanks around it.
 * False when there was none left; an empty list has one empty item. Start with `*at` 0. */
bool comma_list_next(struct bytes list, size_t *at, struct bytes *item_out);

#endif

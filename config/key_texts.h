/* SPDX-License-Identifier: Apache-2.0 */
/* What each key of a configuration file means, for people: the words that `bourse explain` prints.
 * Which keys there are is known from the schema alone; a test compares the two, so that a new key
 * cannot come without its text, nor a text outlive its key. */
#ifndef BOURSE_CONFIG_KEY_TEXTS_H
#define BOURSE_CONFIG_KEY_TEXTS_H

#include <stddef.h>

struct key_text {
    const char *path;    /* as key_canonical gives it: "queues.NAME.ttl" */
    const char *meaning; /* what it does */
    const char *cause;   /* what it is for, or what goes wrong around it */
    const char *next;    /* what to do, or where to read on */
};

/* In order of the table; NULL behind the last. */
const struct key_text *key_text_at(size_t index);

/* The text of a canonical path; NULL: there is none. */
const struct key_text *key_text_find(const char *path);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* The words of a queue and the x-arguments that they stand for. */
#ifndef BOURSE_CONFIG_QUEUE_ARGUMENTS_H
#define BOURSE_CONFIG_QUEUE_ARGUMENTS_H

#include "base/buffer.h"
#include "config/document.h"

enum { QUEUE_ARGUMENTS_MAX = 24, QUEUE_ARGUMENT_TEXT_SIZE = 64 };

enum queue_argument_type { ARGUMENT_INTEGER, ARGUMENT_NUMBER, ARGUMENT_BOOLEAN, ARGUMENT_TEXT };

struct queue_argument {
    const char *name;        /* "x-message-ttl" */
    const char *word;        /* the key that says so: "ttl" */
    const struct node *node; /* where the file says so; NULL: a default */
    enum queue_argument_type type;
    int64_t integer;
    double number;
    struct bytes text; /* views the document, static memory or `own_text` */
    char own_text[QUEUE_ARGUMENT_TEXT_SIZE];
};

/* Writes the arguments that the words of `queue` and its retry policy (NULL: none) stand for to
 * `out` and returns their number. Defaults of a retry policy are written out, those of `on-full`
 * only where the queue has a limit. */
size_t queue_arguments_list(const struct document_queue *queue, const struct document_retry *retry,
                            struct queue_argument out[static QUEUE_ARGUMENTS_MAX]);

void queue_argument_put(const struct queue_argument *argument, struct buffer *table);

#endif

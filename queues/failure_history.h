/* SPDX-License-Identifier: Apache-2.0 */
/* What consumers said of the attempts of a message that failed and is tried again: the last note as
 * it is, and the class of error of each attempt whose time is kept (failures.h). Only messages of
 * which something was said have one, beside their row and as long as that; nothing of it is in the
 * log.
 *
 * What one queue keeps is bounded: beyond that nothing more is kept of messages that had nothing,
 * and of the others no more than the class.
 *
 * Owner: the core thread. */
#ifndef BOURSE_QUEUES_FAILURE_HISTORY_H
#define BOURSE_QUEUES_FAILURE_HISTORY_H

#include "base/bytes.h"
#include "queues/failures.h"

#include <stdbool.h>
#include <stdint.h>

/* What a consumer said of one delivery; in one allocation. Texts that are not there have no `data`.
 */
struct failure_note {
    uint64_t tag;       /* the delivery */
    uint32_t octets;    /* of memory */
    struct bytes class; /* of the error: its type, or a code */
    struct bytes text;
    struct bytes advice; /* to whoever looks at the dead letter */
    uint8_t copies[];
};

/* Copies the texts; NULL: there is no memory. */
struct failure_note *failure_note_new(uint64_t tag, struct bytes class, struct bytes text,
                                      struct bytes advice);

enum {
    FAILURE_CLASS_MAX = 63,                /* octets that are kept of the class of an attempt */
    FAILURE_HISTORY_OCTETS_MAX = 16 << 20, /* of one queue */
};

struct failure_class {
    uint8_t size; /* 0: nothing was said */
    uint8_t text[FAILURE_CLASS_MAX];
};

struct failure_history {
    uint64_t position; /* of the message */
    struct failure_note
        *note; /* of the last attempt that had one; owned; NULL: there was no room */
    struct failure_class classes[FAILURE_TIMES_MAX]; /* at the places of the times */
};

/* Keeps what was said of counted failure `number`; 0: of one that does not count. Takes the note,
 * and frees it where there is too much already. The message has the row. */
void queue_keep_note(struct queue *queue, struct failure_row *row, uint32_t number,
                     struct failure_note *note);

/* Nothing was said of that failure. */
void queue_keep_no_note(struct queue *queue, const struct failure_row *row, uint32_t number);

/* What is kept; NULL: nothing. */
const struct failure_history *queue_find_history(const struct queue *queue,
                                                 const struct failure_row *row);

/* The class of counted failure `number`, whose time is kept; without `data`: it is not known. */
struct bytes failure_history_class(const struct failure_history *history, uint32_t number);

/* Nothing is kept of the message any more. */
void queue_forget_history(struct queue *queue, struct failure_row *row);

/* With the queue's rows. */
void queue_forget_histories(struct queue *queue);

#endif

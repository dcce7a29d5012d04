/* SPDX-License-Identifier: Apache-2.0 */
/* Why a message failed: what its consumer said of it, in a note that came before it was rejected,
 * and what the broker knows of its attempts. It travels with the dead letter as headers. */
#ifndef BOURSE_BROKER_MESSAGE_FAILURE_H
#define BOURSE_BROKER_MESSAGE_FAILURE_H

#include "base/buffer.h"
#include "base/bytes.h"
#include "queues/failure_history.h"
#include "store/row_state.h"

#include <stdbool.h>
#include <stdint.h>

/* One delivery that failed. */
struct failure_attempt {
    uint64_t time_ms;   /* wall clock, since 1970 */
    uint8_t verdict;    /* of enum row_verdict; none: nobody knows any more */
    struct bytes class; /* of the error; a view; without `data`: nobody said */
};

/* Attempts that are told of one by one: those that a row keeps, and a rejection for good. */
enum { FAILURE_ATTEMPTS_MAX = FAILURE_TIMES_MAX + 1 };

struct failure {
    struct failure_note *note;  /* of the last attempt that had one; owned; NULL: none had */
    uint64_t first_ms, last_ms; /* 0: nobody knows any more */
    uint32_t count;             /* attempts that failed, as far as the broker knows; at least 1 */
    uint32_t attempt_count;     /* of them: that are listed */
    struct failure_attempt attempts[FAILURE_ATTEMPTS_MAX]; /* in their order */
};

/* One that begins with this attempt, and takes the note, if there is one. NULL: there is no memory,
 * and the note is still the caller's. */
struct failure *failure_new(struct failure_note *note, const struct failure_attempt *attempt);

/* One attempt more; the oldest is forgotten where there are too many. */
void failure_add(struct failure *failure, const struct failure_attempt *attempt);
void failure_free(struct failure **failure);

/* Octets of memory. */
static inline uint64_t
failure_octets(const struct failure *failure)
{
    return sizeof(*failure) + (failure->note == NULL ? 0 : failure->note->octets);
}

/* Whether a header is one of those below; whether it is of those that a note has. */
bool failure_header_is_ours(struct bytes name);
bool failure_header_is_of_note(struct bytes name);

/* Where the message failed, and what it said of itself; views. */
struct failure_source {
    struct bytes queue;
    struct bytes message_id; /* `data` is NULL: it has none */
    struct bytes headers;    /* those that it came with: a trace id is looked for in them */
};

/* Appends the headers x-failure-* to a table: all of them, or without the list of attempts, or
 * without the texts of the note as well, whatever fits `octets_max`; else none. */
void failure_headers_put(struct buffer *out, const struct failure *failure,
                         const struct failure_source *source, size_t octets_max);

#endif

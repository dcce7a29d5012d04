/* SPDX-License-Identifier: Apache-2.0 */
/* The words of a configuration file out of x-arguments: the way of config/queue_arguments.h back.
 * A word is chosen only where it compiles to exactly the arguments that were there; what has no
 * word stays an argument. */
#ifndef BOURSE_CLI_DEFINITIONS_QUEUE_WORDS_H
#define BOURSE_CLI_DEFINITIONS_QUEUE_WORDS_H

#include "amqp/table.h"
#include "base/alloc.h"

/* A retry block; all zero: there is none. */
struct retry_words {
    bool is_there;
    int64_t first_ms, max_ms; /* -1: not given */
    double factor;
    bool jitter_is_full;
    int64_t jitter_percent;
    int64_t attempts;
    int64_t max_age_ms;  /* -1 */
    struct bytes counts; /* data NULL: not given; as in the argument, comma list */
    struct bytes order;  /* data NULL */
    struct bytes then;   /* data NULL: none */
};

/* Views of the arguments. */
struct queue_words {
    struct bytes type;                    /* data NULL: not given, and so on */
    int64_t max_length, max_length_bytes; /* -1: not given */
    const char *on_full;                  /* NULL */
    int64_t ttl_ms, expires_ms, priorities, ack_timeout_ms, release_rate; /* -1 */
    bool single_active;
    struct retry_words retry;
    struct bytes dead_letter_exchange, dead_letter_key; /* data NULL: not given */
    struct bytes rest; /* a table body: what stays an argument; the arena's */
};

/* `knows_exchange` says whether a word may name the exchange. */
void queue_words_find(struct queue_words *words, struct bytes arguments,
                      bool (*knows_exchange)(void *context, struct bytes name), void *context,
                      struct arena *arena);

bool retry_words_equal(const struct retry_words *a, const struct retry_words *b);

#endif

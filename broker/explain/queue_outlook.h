/* SPDX-License-Identifier: Apache-2.0 */
/* What would become of a message that reached a queue now: whether it is taken, how long it lives
 * there, who would take it, and where it goes when it dies. Changes nothing. */
#ifndef BOURSE_BROKER_EXPLAIN_QUEUE_OUTLOOK_H
#define BOURSE_BROKER_EXPLAIN_QUEUE_OUTLOOK_H

#include "broker/core/core.h"
#include "queues/queue.h"

enum queue_reception {
    RECEPTION_TAKES,
    RECEPTION_DROPS_OLDEST, /* it is full: the oldest ready message makes room */
    RECEPTION_REFUSES, /* it is full: the publisher gets basic.nack, if it asked for confirms */
    RECEPTION_REFUSES_TO_DLX, /* the same, and a copy goes to the dead-letter exchange */
};

/* Texts are the arena's that it was asked with. */
struct queue_outlook {
    enum queue_reception reception;
    uint64_t ready_count, ready_bytes;
    int64_t max_length, max_length_bytes; /* -1: none */
    enum queue_overflow overflow;
    int64_t time_to_live_ms; /* -1: none */
    bool by_message;         /* the message itself says so, or says less than the queue */
    bool has_dead_letters;
    bool dead_letters_get_lost; /* there is no such exchange */
    struct bytes dead_letter_exchange;
    struct bytes dead_letter_key; /* data NULL: each keeps its own */
    int64_t delivery_limit;       /* -1: none, or it does not count failures */
    bool retries;                 /* failed messages wait before they are tried again */
    bool single_active;
    bool exclusive;
    uint32_t consumer_count;
};

/* `expiration` is the message's own, as in struct logged_message; 0: it says nothing. */
void queue_look_ahead(const struct queue *queue, uint32_t body_size, uint64_t expiration,
                      struct arena *arena, struct queue_outlook *outlook_out);

#endif

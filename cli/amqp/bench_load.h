/* SPDX-License-Identifier: Apache-2.0 */
/* The load of `bourse bench`: producers that publish to one queue, consumers that take from it, all
 * turned by one thread. What it measures is what one client program sees of the broker, the
 * program's own work included. */
#ifndef BOURSE_CLI_AMQP_BENCH_LOAD_H
#define BOURSE_CLI_AMQP_BENCH_LOAD_H

#include "base/random.h"
#include "cli/amqp/amqp_client.h"
#include "cli/amqp/latencies.h"

enum { BENCH_QUEUE_SIZE = 16 + RANDOM_NAME_SIZE, BENCH_CLIENTS_MAX = 100 };

struct bench_wish {
    uint64_t producers, consumers; /* BENCH_CLIENTS_MAX of each at most */
    uint64_t body_bytes;           /* at least 8 */
    uint64_t window;               /* unconfirmed messages of a producer; 0: no confirms */
    uint64_t prefetch;
    uint64_t rate; /* of all producers, a second; 0: as fast as it goes */
    uint64_t seconds;
    bool is_persistent;
};

struct bench_producer {
    struct amqp_client *client;  /* owned */
    uint64_t *sent_ns;           /* by sequence number, as many as the window; 0: it is answered;
                                    owned; NULL: without confirms */
    uint64_t settled, published; /* sequence numbers: up to this all are answered; the last */
};

struct bench_load {
    struct bench_wish wish;
    const struct amqp_address *address; /* borrowed */
    const struct command_io *io;
    char queue[BENCH_QUEUE_SIZE];
    bool has_queue;
    struct bench_producer producers[BENCH_CLIENTS_MAX];
    struct amqp_client *consumers[BENCH_CLIENTS_MAX]; /* owned */
    uint8_t *body;                                    /* owned */
    struct buffer properties;

    uint64_t begun_ms;                                             /* of amqp_client_now_ms */
    uint64_t begun_ns, ended_ns;                                   /* of publishing; 0: not yet */
    uint64_t published, confirmed, refused, received, received_ns; /* the last one's time */
    struct latencies confirming, arriving;
    double allowance;
    uint64_t filled_ns;
    bool was_blocked;
};

/* Connects all of them and makes the queue. In any case bench_load_close is called behind it. */
int bench_load_open(struct bench_load *load, const struct bench_wish *wish,
                    const struct amqp_address *address, const struct command_io *io)
    __attribute__((warn_unused_result));
void bench_load_close(struct bench_load *load); /* and deletes the queue */

/* One turn. `*goes_on_out` false: the time is over, and what was published has come, or does not.
 */
int bench_load_turn(struct bench_load *load, bool *goes_on_out) __attribute__((warn_unused_result));

/* Nothing more is published. */
void bench_load_end(struct bench_load *load);

#endif

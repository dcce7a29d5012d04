/* SPDX-License-Identifier: Apache-2.0 */

/* The command line of the load generator, checked as a whole before the first socket opens. */

#ifndef BENCH_LOADGEN_OPTIONS_H
#define BENCH_LOADGEN_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>

/* Which route a published message takes to its queues. */
enum route {
    ROUTE_DEFAULT,    /* the default exchange; the key is the queue's name */
    ROUTE_DIRECT,     /* key i is bound to queue i modulo the number of queues */
    ROUTE_FANOUT,     /* every queue gets every message */
    ROUTE_TOPIC_STAR, /* bindings dev.N.*.temp */
    ROUTE_TOPIC_HASH, /* bindings dev.N.# */
};

struct options {
    const char *host;
    const char *port;
    const char *user;
    const char *password;
    const char *vhost;
    const char *name; /* prefix of every queue and exchange, so that two runs can share a broker */

    bool tls;
    bool insecure;       /* accept any certificate */
    const char *ca_file; /* NULL: the system's authorities */

    uint32_t producers;
    uint32_t consumers; /* zero: publish only; the messages stay and are deleted with the queues */
    uint32_t queues;
    const char *queue_type; /* x-queue-type of every queue; NULL: the argument is not sent */
    enum route route;
    uint32_t bindings; /* zero on the command line means one for each queue */
    uint32_t keys;     /* distinct routing keys published; zero means one for each binding */

    uint32_t body_bytes;
    bool persistent;         /* delivery-mode 2 and durable queues */
    uint32_t confirm_window; /* unconfirmed messages per producer; zero: no confirms */
    uint16_t prefetch_count; /* zero: no limit */
    uint32_t ack_every;      /* deliveries per basic.ack; zero: the consumer is no-ack */
    uint64_t in_flight_max;  /* published but not yet received, all producers together */
    double rate_per_s;       /* all producers together; zero: as fast as it goes */

    uint64_t fill_count;   /* not zero: publish so many messages and leave them where they are */
    uint64_t drain_count;  /* not zero: so many are there from a fill; consume and check them */
    uint32_t drain_from;   /* only queues from this number on */
    uint32_t drain_queues; /* and so many of them; zero on the command line means all the rest */
    bool progress;         /* say every second how far a fill or drain is, on standard error */

    double duration_s; /* measured, after the warm-up */
    double warmup_s;

    uint32_t idle_connections; /* not zero: open these, hold them and measure memory */
    bool connect_rate;         /* open and close connections one after the other */

    pid_t broker_pid; /* zero: no figures about the broker's process */
    bool json;
};

/* Fills `options` from the command line. Prints what is wrong and ends the program with status 2
 * if it makes no sense; --help ends it with status 0. The strings stay the caller's argv. */
void options_parse(struct options *options, int argc, char **argv);

#endif

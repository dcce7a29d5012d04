/* SPDX-License-Identifier: Apache-2.0 */
/* The broker's process as the simulator runs it: a core, its message memory, the seam to its
 * networks, and (with a disk) its log, threads and recovery, all real. It starts, is killed, and
 * starts again. */
#ifndef BOURSE_TESTS_SIM_SERVER_H
#define BOURSE_TESTS_SIM_SERVER_H

#include "amqp/method.h"
#include "broker/core/core.h"
#include "tests/sim/history.h"
#include "tests/sim/storage.h"
#include "tests/sim/wire.h"

enum {
    SERVER_CHECKS_MAX = 64,
    SERVER_DISK_MARK = 256 * 1024,
};

struct server {
    struct core *core; /* NULL: it is not running */
    struct chunk_pool *pool;
    struct wire wire; /* to the clients */
    bool is_broken;   /* something was taken away from it: a mutant */
    bool frees_early; /* a chunk goes although a network may still read it: a mutant */
    struct log log;
    struct clock_reading now;
    uint64_t random_state;
    uint64_t next_link;                 /* never used twice, in no life of the process */
    uint64_t checks[SERVER_CHECKS_MAX]; /* ids of passwords that are being checked */
    size_t check_count;
    struct net_port tap;           /* gets what the core posts */
    struct storage *storage;       /* borrowed; NULL: everything is in memory */
    uint64_t memory_mark_bytes;    /* of the core; 0: none */
    uint32_t work_per_tick;        /* of the core; 0: as usual */
    uint32_t queues_max;           /* of the vhost; 0: any number */
    uint32_t connections_max;      /* the same */
    uint32_t user_connections_max; /* of the user */
    uint32_t user_channels_max;
    struct config_policy *policies; /* in force, or with the next start; borrowed */
    size_t policy_count;
    uint64_t sealed_last; /* the end of what the last tick had said when its batch was sealed */
    uint64_t cut;         /* where the log of the process before ended */
    char why[256];        /* why it did not start */
    char line[256];       /* the last error in its log */
    struct buffer scratch;
    uint64_t event_count; /* handed to the core */
    bool is_hurried;      /* a tick takes away two bindings of what was deleted, at most */
};

/* `tap` gets every action as the core posts it, and `to` what comes through the wire. */
void server_init(struct server *server, uint64_t seed, struct net_port tap, struct wire_events to,
                 struct storage *storage);
void server_fini(struct server *server);

/* A new process. STATUS_IO: the disk failed; STATUS_CORRUPT: it refused the directory; server->why
 * says more, and there is no process. */
MUST_CHECK enum status server_start(struct server *server);

/* What a file says is other than before. */
void server_apply(struct server *server);

/* It is gone, with everything that was in memory. */
void server_kill(struct server *server);

/* The user that clients are. */
#define SERVER_USER "sim"

/* Events on their way to the core; `sent` travels along, and says what is not the link's. */
uint64_t server_connect(struct server *server, uint32_t network, const struct net_peer *peer,
                        struct sent *sent);
void server_hang_up(struct server *server, struct sent *sent);
void server_send(struct server *server, const struct method *method, struct sent *sent);
struct server_publish {
    const char *exchange;
    const char *routing_key;
    uint32_t number;
    uint32_t size;
    uint64_t expiration; /* in ms, and 1; 0: none */
    uint8_t priority;    /* 0: none */
    uint64_t delay;      /* as in struct history_message, and so is the next */
    uint64_t deliver_at_ms;
    const char *message_id; /* NULL: none */
    uint64_t noted_tag;     /* it is a failure note about that delivery; 0: it is none */
    uint32_t note;          /* what it says */
    bool is_persistent;
    bool is_mandatory;
};
void server_publish(struct server *server, const struct server_publish *publish, struct sent *sent);
void server_written(struct server *server, uint64_t link, uint64_t octets);

/* The core handles an event. Returns where the log speaks of what it did. */
struct history_span server_handle(struct server *server, const struct net_event *event);

/* Where what the core does from now on will stand in the log, at the lowest. */
uint64_t server_log_first(const struct server *server);
/* From there to where the log ends now. */
struct history_span server_span_from(const struct server *server, uint64_t first);
/* The end of everything that the log has taken so far. */
uint64_t server_log_last(const struct server *server);

/* What is on the disk of the log, come what may. */
uint64_t server_flushed(const struct server *server);

/* Ends the turn of the core's loop, and begins the next one. */
void server_end_tick(struct server *server);
void server_release_tick(struct server *server);
void server_step_clock(struct server *server, uint64_t ms);

/* Whether something that is due is still in the queue, and if so, whether the core knows. */
enum server_due { SERVER_NOTHING_DUE, SERVER_DUE_LATER, SERVER_DUE_FORGOTTEN };
enum server_due server_look_for_due(struct server *server, const char *queue_name);

/* Checks of the whole state: queues are sound. */
void server_check(const struct server *server);

#endif

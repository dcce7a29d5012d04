/* SPDX-License-Identifier: Apache-2.0 */
/* A client: one connection with some channels, as a well-behaved program would use them. What it
 * sends reaches the core through the wire, which may take a while; what the core sends waits until
 * the client reads it. The history hears of things when the core does them, not when the client
 * sends or learns of them. */
#ifndef BOURSE_TESTS_SIM_ACTOR_H
#define BOURSE_TESTS_SIM_ACTOR_H

#include "amqp/method.h"
#include "net/seam.h"
#include "tests/sim/history.h"
#include "tests/sim/sent.h"

enum { ACTORS_MAX = 8, ACTOR_CHANNELS = 3, ACTOR_CONSUMERS = 3 };

enum actor_op {
    ACTOR_PUBLISH,
    ACTOR_SETTLE,
    ACTOR_GET,
    ACTOR_CONSUME,
    ACTOR_CANCEL,
    ACTOR_RECOVER,
    ACTOR_QOS,
    ACTOR_DECLARE_QUEUE,
    ACTOR_DELETE_QUEUE,
    ACTOR_PURGE,
    ACTOR_DECLARE_EXCHANGE,
    ACTOR_DELETE_EXCHANGE,
    ACTOR_BIND,
    ACTOR_UNBIND,
    ACTOR_COMMIT,
    ACTOR_ROLLBACK,
    ACTOR_CLOSE_CHANNEL,
    ACTOR_HANG_UP,
    ACTOR_FAULT,
    ACTOR_OP_COUNT,
};

enum actor_mode { ACTOR_PLAIN, ACTOR_CONFIRM, ACTOR_TX };

/* A delivery that is not settled. */
struct actor_held {
    uint64_t tag;
    uint32_t queue, copy; /* of the history */
    bool is_rejected;     /* in a transaction: how it will be settled */
    bool is_returned;
    bool is_sent;          /* its settlement is on its way */
    uint8_t heard_verdict; /* how it came back, by the broker's account */
    bool is_nacked;        /* with is_returned: by basic.nack */
    uint32_t note;         /* what the client has said of it; 0: nothing */
    uint32_t consumer;     /* its number; 0: basic.get */
    uint64_t delivered_ms; /* by the core's clock */
    uint64_t reopened_ms;  /* the same of the last rollback that has opened it again; 0: none */
    int64_t timeout_ms;    /* that its consumer has asked for; -1: none, the queue's counts */
};

/* A method that waits for its answer. */
struct actor_request {
    enum method_id answer;
    bool is_waiting;    /* the client has not read the answer */
    bool is_answered;   /* the core has sent it */
    bool is_durable;    /* the answer promises that `span` is safe */
    bool is_unfinished; /* the span ends with the tick */
    struct history_span span;
    uint32_t queue;       /* what it was about; HISTORY_NONE */
    uint64_t ready_count; /* that the answer should give */
    uint64_t maybe_count; /* it may be less by so many */
    uint64_t count;       /* that the answer gave */
    uint64_t flushed;     /* how much of the log was on the disk when it was sent */
};

struct actor_channel {
    enum {
        CHANNEL_SHUT,
        CHANNEL_OPENING,
        CHANNEL_OPEN,
        CHANNEL_SHUTTING,
        CHANNEL_BREAKING,
        CHANNEL_BROKEN
    } state;
    enum actor_mode mode;
    bool has_mode;         /* confirm.select or tx.select was sent */
    bool is_faulty;        /* something was sent for which the broker will close it */
    uint16_t close_code;   /* with which it does */
    bool blames_nobody;    /* nothing that is open has failed when it does */
    bool closes_twice;     /* the client has closed it, too */
    uint16_t prefetch;     /* of consumers to come; 0: none */
    uint16_t prefetch_all; /* of all consumers together; 0: none */
    struct actor_request request;
    uint64_t next_tag;
    uint64_t read_tag;       /* the client has read deliveries up to this one */
    struct actor_held *held; /* by rising tag; owned */
    uint32_t held_count, held_capacity;
    struct actor_held *settled; /* in a transaction; owned */
    uint32_t settled_count, settled_capacity;
    struct sent settling; /* what the core has begun to settle; without an effect: nothing */
    uint64_t *late; /* tags that have timed out, and that the client may still settle; owned */
    uint32_t late_count, late_capacity;
    uint32_t late_total; /* that there were */
    uint32_t *published; /* messages: in a transaction, or not confirmed yet; owned */
    uint32_t published_count, published_capacity;
    uint64_t confirmed_number;
    struct actor_consumer {
        uint32_t queue; /* handle */
        bool is_on, no_ack;
        int32_t priority;
        int64_t timeout_ms; /* -1: none of its own */
        uint16_t prefetch;  /* 0: none */
        bool is_there;      /* the core has it */
        uint32_t number;    /* of all that there were, from 1 on */
        bool awaits_cancel; /* its queue is gone, and the client has not been told */
    } consumers[ACTOR_CONSUMERS];
};

/* What the core has sent and the client has not read. */
struct actor_arrival {
    enum method_id id;
    uint16_t channel;
    uint64_t tag;         /* of a delivery */
    uint32_t queue, copy; /* of a delivery */
};

struct actor {
    uint64_t link; /* 0: not connected */
    uint32_t number;
    struct net_peer peer;
    bool is_up;      /* the handshake is done */
    bool is_let_in;  /* the core has said so */
    bool is_refused; /* the core closes the connection: it is one too many, or one channel is */
    uint32_t tired;  /* so many steps it does not try again to connect */
    bool is_paused;  /* its socket is not read */
    bool is_deaf;    /* it is not told when its consumers are cancelled */
    bool is_leaving; /* it has hung up, and the core does not know */
    uint64_t unread_octets;
    uint32_t in_flight[1 + ACTOR_CHANNELS]; /* what was sent and has not happened, by channel */
    struct sent *kept; /* what has reached the core, which keeps it for later; owned */
    uint32_t kept_count, kept_capacity;
    struct actor_arrival *arrivals; /* owned */
    uint32_t arrival_first, arrival_end, arrival_capacity;
    uint32_t
        arrival_visible;    /* these have come; without networks: the tick that sent them is over */
    uint64_t arrived_count; /* that were ever sent to it */
    struct actor_channel channels[ACTOR_CHANNELS];
};

struct posted;

void actor_init(struct actor *actor, uint32_t number);
void actor_fini(struct actor *actor);

/* Does one thing: connects, reads, or one of the operations. */
void actor_step(struct world *world, struct actor *actor);

/* actor_read.c: reads what has come. */
void actor_read(struct world *world, struct actor *actor, uint32_t arrival_max);
/* Call when what the core keeps of the channel has its turn: a basic.get that waits for its message
 * may find its queue gone. */
void actor_begin_turn(struct world *world, struct actor *actor, uint16_t number);
/* The core is about to close the channel, with that code. */
void actor_begin_breaking(struct world *world, struct actor *actor, uint16_t number, uint16_t code);
/* Then, before whatever the core posts: which of those channels it has ended meanwhile. */
void actor_see_ends(struct world *world, struct actor *actor);

/* Everything that a tick sent may be read now; what it purged has its place in the log, below
 * `purged_last` (0: nobody can tell; UINT64_MAX: not yet). */
void actor_end_tick(struct actor *actor, uint64_t purged_last);

/* The core has ended all channels, and drops whatever the client sends. */
void actor_end_connection(struct world *world, struct actor *actor);

/* actor_ops.c: does `op` on the channel. False when it makes no sense now. */
bool actor_do(struct world *world, struct actor *actor, uint16_t channel, enum actor_op op);

/* The socket is gone: by the client's doing, or with the broker. */
void actor_hang_up(struct world *world, struct actor *actor);
void actor_forget(struct actor *actor);

/* What the network has taken may be read. */
void actor_take(struct actor *actor, const struct posted *posted);

/* What is open goes back to its queues, and what a transaction has is dropped. */
void actor_end_channel(struct world *world, struct actor_channel *channel);

/* The core has settled more of what it had begun to. */
void actor_go_on_settling(struct world *world, struct actor *actor, struct history_span span);

/* It is settled, or back: its consumer may have one more. */
void actor_free_place(struct world *world, const struct actor_held *held);

/* The client consumes from the queue, in the consumer's place `at`. */
struct actor_consumer_terms {
    uint32_t at, queue;
    bool no_ack;
    int32_t priority;
    int64_t timeout_ms; /* -1: none of its own */
};
void actor_consume(struct world *world, struct actor *actor, uint16_t channel,
                   const struct actor_consumer_terms *terms);
/* And cancels the consumer in the first place; false: there is none. */
bool actor_cancel_first(struct world *world, struct actor *actor, uint16_t channel);

/* What came back to its queue must have done so with that verdict. */
void actor_check_verdict(struct world *world, const struct actor_held *held,
                         enum history_verdict verdict);

/* Something to be sent on the channel, without an effect so far. */
struct sent actor_sent(struct actor *actor, uint16_t channel);

/* The effect of basic.get. */
void actor_end_get(struct world *world, const struct sent *sent, struct history_span span);

void actor_send(struct world *world, const struct method *method, struct sent *sent);
void actor_open_channel(struct world *world, struct actor *actor, uint16_t channel);

/* Sends a method that is answered. */
void actor_ask(struct world *world, const struct method *method, enum method_id answer,
               struct sent *sent);

static inline struct actor_channel *
actor_channel(struct actor *actor, uint16_t number)
{
    return &actor->channels[number - 1];
}

static inline bool
actor_request_is_get(const struct actor_request *request)
{
    return request->answer == METHOD_BASIC_GET_OK || request->answer == METHOD_BASIC_GET_EMPTY;
}

/* Names as they go over the wire. */
const char *sim_queue_name(uint32_t name);
const char *sim_exchange_name(uint32_t name); /* HISTORY_DEFAULT_EXCHANGE: "" */
const char *sim_key_name(uint32_t exchange_name, uint32_t key);

#endif

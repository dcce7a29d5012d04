/* SPDX-License-Identifier: Apache-2.0 */
/* One simulated run: a broker, clients that do anything at any time, and the history that judges
 * them; everything is decided by one seed. */
#ifndef BOURSE_TESTS_SIM_WORLD_H
#define BOURSE_TESTS_SIM_WORLD_H

#include "broker/desk/pending.h"
#include "tests/sim/actor.h"
#include "tests/sim/dice.h"
#include "tests/sim/history.h"
#include "tests/sim/mutant.h"
#include "tests/sim/server.h"
#include "tests/sim/storage.h"
#include "tests/sim/trace.h"

/* What a run is like; drawn from its seed, so that runs differ in more than their order. */
struct habits {
    uint32_t actor_count;
    uint32_t queue_names, exchange_names, key_names; /* how many are in use */
    uint32_t weights[ACTOR_OP_COUNT];                /* how often a client does what */
    uint32_t turn_permille;                          /* how often a turn of the core ends */
    uint32_t arrival_permille;                       /* how often a client reads */
    uint32_t persistent_permille, durable_permille, large_permille;
    uint32_t confirm_permille, tx_permille; /* of channels */
    bool hoards; /* hardly anybody reads the first queue, so that segments stay for its sake */
    uint32_t ready_max; /* of a queue; beyond it nothing is published */
    bool has_disk;
    uint32_t step_permille;  /* how often threads of the store get something done */
    uint32_t crash_permille; /* of 1,000 steps of the world */
    uint32_t power_permille; /* crashes that are power cuts; the others are kill -9 */
    uint32_t stop_permille;  /* of 1,000 steps: the broker is stopped in an orderly way */
    uint64_t memory_mark_bytes;
    uint32_t fault_permille;   /* starts, and crashes, that come with a call that fails */
    bool copies_on_write;      /* the disk: writing over what is there takes room */
    uint32_t fill_permille;    /* of 1,000 steps: somebody else fills the disk */
    uint32_t work_per_tick;    /* of the core; 0: as usual */
    uint32_t network_count;    /* 0: the core itself reads the sockets */
    uint32_t network_permille; /* how often a network has its turn */
    uint32_t take_permille;    /* how often the core takes what a network has flushed */
    uint32_t write_permille;   /* turns of a network in which it writes what it has taken */
    uint32_t mortal_permille;  /* messages that have a time to live */
    uint32_t ttl_permille;     /* queues that give one to what comes, by their names */
    enum history_overflow overflow_max; /* what queues with a limit may do */
    uint32_t limited_permille;          /* of queues, by their names */
    bool buries;                /* half of the queues that refuse let die what they refuse */
    uint32_t delayed_permille;  /* of exchanges that hold back, and of messages that ask for it */
    uint8_t level_max;          /* of priorities; 0: there are none */
    uint32_t retry_permille;    /* of queues that have a limit of failures, or delays after them */
    uint32_t operator_permille; /* of 1,000 steps: somebody does something with what waits */
    uint32_t look_permille;     /* of 1,000 steps: somebody looks at a queue */
    uint32_t counting_mask;     /* bit n: queue n counts failures, without a limit */
    uint32_t dead_letter_mask;  /* bit n: what dies in queue n goes to the next queue */
    uint32_t quorum_mask;       /* bit n: queue n is a quorum queue */
    uint32_t hashed_permille;   /* of exchanges that give a message to one queue */
    bool has_all_retries;       /* every setting that retries have is used */
    uint32_t governed_mask;     /* bit n: what queue n does is set by policies */
    uint32_t policy_permille;   /* of 1,000 steps: they change */
    uint32_t expires_permille;  /* of queues, by their names: they go when nobody uses them */
    uint32_t queues_max;        /* of the vhost; 0: any number */
    uint32_t twice_permille;    /* crashes that another one follows at once */
    uint32_t noted_permille;    /* rejections that a note comes before */
    uint32_t single_permille;   /* of queues, by their names: they serve one consumer at a time */
    uint32_t ranked_permille;   /* of consumers: they ask for a priority */
    uint32_t timeout_permille;  /* of queues, by their names: they wait so long for settlements;
                                   of consumers half as many */
    uint32_t deaf_permille;     /* of clients: they cannot be told of cancelled consumers */
    uint32_t paced_permille;    /* of queues, by their names: what is overdue comes in slowly */
    uint32_t jump_permille;     /* of 1,000 steps: time goes on at once by seconds */
    uint32_t downtime_permille; /* starts, before which it does */
    uint32_t pause_permille;    /* of 1,000 steps: a queue is paused, or goes on */
    uint32_t sending_permille;  /* the same: messages are sent on at the desk, or taken out */
    uint32_t settles_all_permille; /* settlements of everything that is open */
    bool is_crowded;               /* few queues, with thousands of messages */
    uint32_t bulk_permille;        /* the same: what waits in a queue is worked off */
    uint32_t connections_max;      /* of the vhost, and */
    uint32_t user_connections_max, user_channels_max; /* of the user; 0: any number */
};

/* Somebody works off what waits in a queue; world_bulk.c. */
enum { BULK_MAX = 4 };
struct world_bulk {
    struct world *world;
    uint32_t queue; /* handle */
    enum pending_action action;
    struct history_worked_off meant;
    uint64_t count; /* of messages so far */
    bool is_under_way;
};

/* A queue was asked whether it takes a message of a transaction. */
struct world_asked {
    uint32_t queue; /* handle */
    uint32_t size;  /* of the body */
    bool takes;
};

/* The core has taken the first message that was dying in a queue away from there. */
struct world_move {
    uint32_t queue; /* handle */
    bool is_parked; /* it stays in the queue */
};

/* What an operator does with a message that waits. */
enum world_operation { OPERATION_NONE, OPERATION_RELEASE, OPERATION_CANCEL };

struct world {
    uint64_t seed;
    struct dice dice;
    struct dice lives; /* for times to live */
    struct dice priorities;
    struct dice delays;
    struct dice retries; /* and for what operators do */
    struct dice rest;    /* for what came later */
    struct dice service; /* for who takes messages, and what came with that */
    struct dice looks;   /* for what is looked at */
    struct dice bulk;    /* for what is worked off */
    struct trace trace;
    struct habits habits;
    enum mutant mutant;
    struct history history;
    struct sim_disk *files; /* owned */
    struct storage storage;
    struct server server;
    bool expects_fault; /* a call of the disk is to fail, or may find no room */
    bool disk_is_filled;
    struct actor actors[ACTORS_MAX];
    uint64_t operation_count;     /* what clients have done */
    uint32_t idle_steps;          /* since the last of that */
    void (*watch)(void *context); /* called whenever something may have happened; NULL: nobody */
    void *watch_context;
    uint32_t breaking_count;   /* channels in CHANNEL_BREAKING */
    uint32_t purge_count;      /* in this tick */
    uint32_t deleting_queue;   /* handle, while queue.delete is being handled */
    uint32_t publishing;       /* number of the message that is being handled; HISTORY_NONE */
    uint32_t recognised;       /* number of the message that the core posts; HISTORY_NONE */
    enum sent_keeping keeping; /* what has become of the event that is being handled */
    struct world_move *moves;  /* one by one; owned */
    uint32_t move_count, move_capacity;
    bool is_ending;                 /* the core is about to go */
    bool is_sending;                /* somebody sends a message on, or takes it out */
    bool is_parking;                /* the core has parked the first dying message of a queue */
    struct history_identity taken;  /* of what the core has taken off a queue last */
    uint32_t settling_copy;         /* a client is losing it, by its verdict or not; HISTORY_NONE */
    uint64_t returning_due_ms;      /* it will wait; 0 */
    enum world_operation operation; /* that is under way */
    uint64_t death_first;           /* where the log went on when moves were looked at last */
    struct name_lock queue_locks[HISTORY_NAMES];
    struct name_lock exchange_locks[HISTORY_NAMES];
    bool is_starting;          /* a new core reads the log */
    bool has_routed;           /* the message that is being handled */
    bool is_breaking;          /* the core is to close the channel for what is being handled */
    bool is_committing;        /* `committing` is being handled */
    struct sent committing;    /* without an effect once that was heard */
    uint64_t commit_first;     /* where the log went on */
    struct world_asked *asked; /* in the order of the messages; owned */
    uint32_t asked_count, asked_capacity, asked_at;
    uint32_t settling_note;  /* what was said of what a client is losing; 0: nothing */
    uint32_t note_count;     /* that clients have sent */
    uint32_t consumer_count; /* the same of consumers */
    uint64_t alarm_from_ms;  /* since when memory is short; 0: it is not */
    struct world_bulk bulks[BULK_MAX];
    bool is_in_bulk;                 /* the core works on one of them */
    uint64_t generation;             /* of policies */
    struct world_policies *policies; /* those in force; owned; NULL: none */
};

/* `out` (NULL: nobody) gets the trace. There is no process yet: habits may be changed. */
struct world *world_new(uint64_t seed, enum mutant mutant, FILE *out);
void world_free(struct world **world);

/* Runs until clients have done so many things, and then drains every queue. False: a promise was
 * broken, `world->history` says which; the run ends there. */
bool world_run(struct world *world, uint64_t operation_count);
bool world_go_on(struct world *world, uint64_t operation_count); /* the first half of it */

/* The process ends, by a power cut or by a signal, and another one takes its place; world_crash.c.
 */
void world_crash(struct world *world);
/* The same with a farewell: everything is on the disk then. */
void world_stop(struct world *world);
/* The first process; world_run begins with it if there is none. */
void world_begin(struct world *world);
/* No call of the disk fails any more, and it has room. */
void world_calm(struct world *world);
/* Somebody else takes nearly all of the room that the disk has left, or gives it back. */
void world_fill_disk(struct world *world);
void world_empty_disk(struct world *world);

/* The core is about to post something, or has ended the tick: what it did silently is seen. */
static inline void
world_see_ends(struct world *world)
{
    for (uint32_t i = 0; i < ACTORS_MAX && world->breaking_count > 0; i++) {
        actor_see_ends(world, &world->actors[i]);
    }
}

/* The core lets a message die; call before it does. */
void world_hear_death(struct world *world, const struct queue *queue,
                      const struct queue_entry *entry, uint64_t position, enum death_reason reason);

/* The core has moved the message of that queue that died first, or dropped it. */
void world_hear_move(struct world *world, const struct queue *queue);

/* The history hears which dying messages the core has moved; call before whatever came after. */
void world_see_deaths(struct world *world);

/* The message that it is: by its body, by its place in the log, or HISTORY_NONE: it is transient
 * and was spilled. */
uint32_t world_find_message(const struct world *world, const struct queue_entry *entry);

/* Of a queue that is there, or HISTORY_NONE. */
uint32_t world_find_handle(const struct world *world, const struct queue *queue);

/* The core has put a message into a queue, at that position. */
void world_hear_push(struct world *world, const struct queue *queue,
                     const struct queue_entry *entry, uint64_t position);

/* The core lets a message in that has waited; world_waiting.c. */
struct due_row;
void world_hear_coming(struct world *world, const struct queue *queue, const struct due_row *row);

/* A message of that channel comes back to a queue that counts; before the core does anything, and
 * after. */
struct actor_held *world_begin_return(struct world *world, uint64_t link, uint16_t channel,
                                      uint64_t tag);
struct unacked;
void world_end_return(struct world *world, struct actor_held *held, const struct unacked *item,
                      uint8_t verdict, uint64_t first);

/* A message of that channel is rejected: its death comes next. */
void world_begin_rejection(struct world *world, uint64_t link, uint16_t channel, uint64_t tag);

/* Somebody looks at a queue from the desk, which changes nothing. */
void world_look(struct world *world);

/* Somebody lets in what is parked, or anything that waits, or takes it out: one message. */
void world_operate(struct world *world);
/* The same for all that is parked. */
void world_release_parked(struct world *world);
/* Whether in each queue that waits which should, when a tick ends. */
void world_check_waiting(struct world *world);
/* The history hears what waits in a queue of a new core. */
void world_look_at_waiting(struct world *world, const struct queue *queue);

/* What waits in a queue is let in or taken out, all of it or what has some message-id. Drawn;
 * begun; a message of that kind (of enum waiting_kind) is let in or taken out for that; whether
 * something of it is under way; the core is gone. */
void world_draw_bulk(struct world *world);
void world_begin_bulk(struct world *world);
void world_hear_bulk(struct world *world, uint32_t queue, uint32_t message, uint32_t kind);
bool world_has_bulk(const struct world *world);
void world_forget_bulk(struct world *world);
/* That the message is published with; NULL: none. */
const char *world_message_id(const struct world *world, uint32_t message);

/* Whether something is dying. */
bool world_has_dying(const struct world *world);

/* The core is about to go. */
void world_forget_deaths(struct world *world);

/* The process is gone, and whatever was on its way. */
void world_forget_wire(struct world *world);

/* The core's clock goes on. */
void world_step_clock(struct world *world, uint64_t ms);

/* What the queue of that name does, whenever it is declared; world_settings.c. */
struct history_settings world_settings(const struct world *world, uint32_t name);
/* What priorities count up to in it; 0: it does not heed them. */
uint8_t world_level_max(const struct world *world, uint32_t name);
/* It goes when nobody has used it for so long; UINT64_MAX: never. */
uint64_t world_expires_ms(const struct world *world, uint32_t name);
bool world_is_quorum(const struct world *world, uint32_t name);
bool world_is_governed(const struct world *world, uint32_t name);
bool world_is_single_active(const struct world *world, uint32_t name);
/* The arguments that it is declared with. */
struct buffer;
void world_put_arguments(const struct world *world, uint32_t name, struct buffer *arguments);
/* And the definition of its policy. */
void world_put_policy(const struct world *world, uint32_t name, struct buffer *definition);

/* Policies set other things from now on; world_policies.c. */
struct world_policies;
void world_change_policies(struct world *world);
void world_make_policies(struct world *world);   /* of this generation; for the next process */
void world_settle_policies(struct world *world); /* a new process has begun */
void world_free_policies(struct world *world);

/* A transaction is about to be committed; a queue is asked whether it takes a message of it; which
 * queues have taken that one, of those that were asked; world_commit.c. */
void world_begin_commit(struct world *world, const struct sent *sent);
void world_hear_asked(struct world *world, const struct queue *queue, uint32_t size, bool takes);
void world_find_takers(struct world *world, uint32_t message,
                       bool takes[static HISTORY_TARGETS_MAX]);
/* The channel ends behind the commit: what that did is heard now. */
void world_end_commit(struct world *world, const struct actor *actor, uint16_t channel);

/* The core has routed the message that is being handled: the history hears whom an exchange has
 * chosen. */
struct exchange;
void world_hear_route(struct world *world, const struct exchange *exchange);

/* A message that was held back at the head of its queue is to wait elsewhere. */
void world_hear_hold_end(struct world *world, const struct queue *queue,
                         const struct queue_entry *entry, uint64_t due_ms);

/* The core has deleted that queue by itself: nobody uses it. */
void world_hear_expiry(struct world *world, uint32_t handle, bool has_consumers, uint64_t first);

/* The broker's queue of that handle, or NULL. */
const struct queue *world_find_queue(const struct world *world, uint32_t queue);

/* What came last, drawn; world_service.c. */
void world_draw_service(struct world *world);

/* And what some runs are like whatever was drawn; world_crowd.c. */
void world_draw_crowd(struct world *world);

/* The core hands a message to that consumer: nobody comes before it. */
void world_check_turn(struct world *world, const struct actor *actor, uint16_t channel,
                      const struct actor_consumer *consumer);

/* A delivery has been open for too long: before the core takes it back, which it must (false: it is
 * not one), and after; world_timeouts.c. */
bool world_begin_timeout(struct world *world, uint64_t link, uint16_t channel, uint64_t tag);
void world_end_timeout(struct world *world, uint64_t link, uint16_t channel, uint64_t tag);
/* The clock has gone on: nothing is open for too long. */
void world_check_timeouts(struct world *world);

/* Notes how long the memory alarm is on; call when a tick has ended. And the core discards the
 * transaction of a channel for that. */
void world_watch_alarm(struct world *world);
void world_hear_discard(struct world *world, uint64_t link, uint16_t channel);

/* One more connection, or channel, was let in: there was room for it. And whether the broker may
 * close the client's connection, since there is none for it or for a channel; world_limits.c. */
void world_check_connections(struct world *world);
void world_check_channels(struct world *world);
bool world_may_refuse(const struct world *world, const struct actor *actor);

/* A message is sent on, or taken out, at the desk: what the core says of it before, and that it was
 * done (`target` NULL: it was taken out); world_desk.c. */
struct desk_row;
struct world_sending {
    uint32_t queue; /* handle; HISTORY_NONE: of none that the history knows */
    struct history_sending sending;
    uint64_t first; /* where the log goes on */
};
struct world_sending world_begin_sending(struct world *world, const struct queue *queue,
                                         const struct desk_row *row);
void world_end_sending(struct world *world, struct world_sending *sending,
                       const struct queue *target);

/* Somebody has messages of a queue sent on, or taken out. */
void world_send_on(struct world *world);

/* Somebody pauses a queue, or has it go on; all of them go on. What a new core has is what the log
 * says; world_pause.c. */
void world_pause(struct world *world);
void world_end_pauses(struct world *world);

/* Time passes that the core does not see. */
void world_sleep(struct world *world, uint64_t ms);

/* Nobody who could be served is left out when a tick ends. */
void world_check_service(struct world *world);

/* Ends a turn of the core's loop. */
void world_end_turn(struct world *world);
/* Time passes without anybody doing anything. */
void world_advance(struct world *world);

/* Everything that the core posts, as it posts it; actor_read.c. */
void world_on_action(void *context, const struct net_action *action);
/* And when a network has taken it, and written it. */
void world_on_taken(void *context, const struct posted *posted);
void world_on_written(void *context, const struct posted *posted);

static inline void
world_note(struct world *world, const char *what, uint64_t a, uint64_t b, uint64_t c)
{
    trace_note(&world->trace, what, a, b, c);
}

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* The core: one thread that owns every fact (users, vhosts, exchanges, queues, channels) and
 * decides everything. A state machine: events go in, actions come out through the ports. It makes
 * no system call, reads no clock and no global, and walks nothing in the order of addresses, so the
 * same core runs in production and under a simulator. Any number of cores live in one process. */
#ifndef BOURSE_BROKER_CORE_CORE_H
#define BOURSE_BROKER_CORE_CORE_H

#include "base/buffer.h"
#include "base/clock.h"
#include "base/list.h"
#include "base/log.h"
#include "base/map.h"
#include "base/random.h"
#include "base/timer.h"
#include "config/config.h"
#include "net/seam.h"
#include "queues/clocks.h"
#include "queues/queue.h"
#include "routing/route_cache.h"
#include "routing/target.h"
#include "store/chunk.h"

/* Messages of purged queues that are released in one tick. */
enum { CORE_DISCARDS_PER_TICK = 16384 };

/* Held events that are looked at again in one tick, and not many more than one connection holds. */
enum { CORE_REPLAYS_PER_TICK = 16384 };

/* Memory that was kept for the next contents goes back when so long none needed it. */
enum { CORE_TRIM_MS = 1000 };

/* How long consumers wait that there was no memory to serve. */
enum { CORE_HUNGER_MS = 100 };

/* What clients may have done in one tick beyond the parsing of it, in copies of a message to a
 * queue (about a tenth of a microsecond each, three for a queue's first): a publish may reach
 * 100,000 queues, or ask as many bindings whether they match. What comes when it is spent waits for
 * the next tick; what has begun is finished. A change of topology counts for as many as it takes.
 */
enum { CORE_WORK_PER_TICK = 256 * 1024, CORE_WORK_OF_CHANGE = 40 };

struct audit;
struct connection;
struct dead_letters;
struct generations;
struct desk;
struct journal;
struct login_desk;
struct queue;
struct space;
struct user;
struct vhost;

/* Where slow password checks go: two threads in production, an instant answer in a simulator. */
struct password_port {
    /* Starts a check of `password` against `hash` (password.h). Both are copied; the verdict comes
     * back through core_password_done with the same id. STATUS_FULL: 64 are waiting, try when the
     * next verdict has come. */
    enum status (*check)(void *context, uint64_t id, struct bytes password, const char *hash);
    /* Starts hashing a new password; the hash comes back through core_password_hashed. The same
     * otherwise. */
    enum status (*hash)(void *context, uint64_t id, struct bytes password);
    void *context;
};

struct core_ports {
    struct net_port net;
    struct password_port password;
    struct random_source random;
    struct clock_source clock; /* asked within long ticks; `read` is NULL: the time of a tick is
                                  that with which it began */
};

/* What does not change while the core lives. */
struct core_settings {
    uint32_t frame_max;
    uint16_t channel_max;
    uint16_t heartbeat_s;
    uint64_t message_bytes_max;
    uint64_t memory_mark_bytes; /* message memory from which publishers are blocked; 0: never */
    uint64_t disk_mark_bytes;   /* free octets below which publishers are blocked; 0: by percent */
    uint32_t disk_mark_percent; /* of the file system; both 0: the larger of 1 GiB and 5 % */
    uint32_t unacked_max;       /* open deliveries of a channel without prefetch; 0: 1,000,000 */
    uint32_t work_per_tick;     /* 0: CORE_WORK_PER_TICK */
    uint32_t lend_bytes_min;    /* a larger body is lent to the network; 0: CHUNK_BODY_OWN */
    bool is_development;
    const char *node_name; /* what this broker is called in messages; borrowed for as long as the
                              core lives; NULL: "bourse@localhost" */
};

/* Octets posted to a connection and not yet written: beyond it its consumers get nothing more. */
enum { CORE_WINDOW_OCTETS = 256 * 1024 };

/* Beyond this nothing more is read from the connection either: it bounds answers to basic.get and
 * returned messages of a client that does not read. Far above the window and any usual message,
 * since a client that writes a large message may not read before it has. */
enum { CORE_OUTPUT_OCTETS = 32 * 1024 * 1024 };

/* What one queue hands out in one turn of dispatch, in messages and in octets of their bodies: a
 * small part of a window, so that several queues find room in it. And what all of them do in a
 * tick; of a body that is lent only what it is cut by counts, for no tick writes it whole. */
enum {
    CORE_DISPATCH_PER_QUEUE = 256,
    CORE_DISPATCH_OCTETS_PER_QUEUE = 16 * 1024,
    CORE_DISPATCH_PER_TICK = 16384,
    CORE_DISPATCH_OCTETS_PER_TICK = 4 * 1024 * 1024,
};

/* Why publishers are blocked. */
enum core_alarm {
    ALARM_MEMORY = 1 << 0,
    ALARM_DISK = 1 << 1,
    ALARM_STOPPING = 1 << 2, /* the broker drains: said to nobody */
};

/* Bodies of published messages are counted by their size: the upper ends of all but the last. */
enum { MESSAGE_SIZE_BUCKET_COUNT = 9 };
extern const uint32_t core_message_size_bounds[MESSAGE_SIZE_BUCKET_COUNT];

/* How long confirms took, by the core's clock: upper ends of all but the last, milliseconds. */
enum { CONFIRM_BUCKET_COUNT = 14 };
extern const uint64_t core_confirm_bounds_ms[CONFIRM_BUCKET_COUNT];

struct core_counters {
    uint64_t connections_opened, connections_closed;
    uint64_t channels_opened, channels_closed;
    uint64_t queues_declared, queues_created, queues_deleted;
    uint64_t published, routed, unroutable_returned, unroutable_dropped;
    uint64_t published_for_confirm;                                   /* of them: in confirm mode */
    uint64_t message_sizes[MESSAGE_SIZE_BUCKET_COUNT], message_bytes; /* of those published */
    uint64_t confirm_times[CONFIRM_BUCKET_COUNT], confirm_ms;         /* of those confirmed */
    uint64_t publishers; /* channels that are open and have published */
    uint64_t delivered, acked, redelivered, confirmed, expired;
    uint64_t delivered_by[DELIVERY_KIND_COUNT], get_empty;
    uint64_t refused;                  /* messages by queues that are full, once for each queue */
    uint64_t timed_out;                /* deliveries that were not settled in time */
    uint64_t failed;                   /* deliveries, as far as their queue counts them */
    uint64_t retried;                  /* of them: after which the message waited */
    uint64_t quarantined;              /* messages over their limit that nobody took */
    uint64_t failure_notes;            /* that were kept for an open delivery */
    uint64_t failure_notes_refused;    /* for their connection had too many, or too much */
    uint64_t died[DEATH_REASON_COUNT]; /* messages, by what they died of */
    uint64_t dead_lettered[DEATH_REASON_COUNT]; /* of them: that reached a queue */
    uint64_t dead_letters_dropped;              /* no dead-letter exchange, or no queue behind it */
    uint64_t dead_letter_cycles;          /* copies that were not made, for they would come again */
    uint64_t dead_letters_set_aside;      /* that no segment can hold */
    uint64_t desk_replayed, desk_dropped; /* messages, by operators (desk.h) */
    uint64_t logins_succeeded, logins_failed;
    uint64_t traced;          /* messages of which a trace was made (trace.h) */
    uint64_t traces_dropped;  /* for want of memory, or of room in a queue */
    uint64_t internal_errors; /* 541: must be 0 */
};

struct core {
    struct core_settings settings;
    struct core_ports ports;
    struct log *log;          /* borrowed */
    struct chunk_pool *pool;  /* borrowed; the networks fill it */
    struct clock_reading now; /* of the tick under way */
    uint32_t steps;           /* that this reading stands for (core_take_time) */
    uint64_t base_ms; /* monotonic: where deadlines of messages count from; two steps before the
                         core began */
    uint64_t first_tick_ms; /* monotonic; 0: there was none yet */
    struct timer_wheel timers;
    struct buffer record;      /* scratch of broker/durability/durability.c */
    uint64_t seed;             /* of every hash */
    uint64_t next_id;          /* of transient objects; counts from 2^63 */
    uint64_t next_durable_id;  /* of durable ones; counts from 1 and goes on after a restart */
    uint64_t next_house_link;  /* of connections of the house (house.h) */
    struct user *house_user;   /* who may do everything; owned; NULL: nobody has asked for it */
    struct map durable_queues; /* struct queue by id; points */
    struct map vhosts;         /* struct vhost by name; owns */
    struct map users;          /* struct user by name; owns */
    struct map user_ids;       /* the same by id; points */
    struct generations *generations; /* configurations that were applied (generation.h); owned */
    struct list new_passwords;       /* of new_password.link: being hashed */
    uint64_t next_password_id;       /* of them */
    struct list gone_vhosts;         /* of vhost.gone_link; owns (vhost_life.h) */
    struct list empty_vhosts;        /* the same, of those with nothing left in them */
    struct login_desk *logins;       /* logins under way, throttling, verified credentials; owned */
    struct map connections;          /* struct connection by its link id */
    struct connection *recent;       /* the one found last; NULL: none */
    struct list connection_list;     /* of struct connection.core_link, oldest first; owns */
    uint32_t connection_count;
    struct list dispatch_queues;    /* of queue.dispatch_link: ready messages met consumers */
    struct list expiring;           /* of queue_times.link: something may be due (expiry.h) */
    uint32_t deaths_left;           /* of messages by time, in this tick */
    struct list waking;             /* of queue_waiting.link: something may be due (waiting.h) */
    uint32_t waits_left;            /* of messages that come in by time, in this tick */
    struct list pending;            /* of what an operator asks for of them (pending.h); owns */
    struct list pending_waits;      /* the same: for a job, memory or room */
    struct list requests;           /* of request.link: what others ask (request.h) */
    uint32_t events_of_tick;        /* methods and messages of clients, in this one */
    struct list overlong;           /* of queue_dying.overlong_link: too much is ready (limits.h) */
    struct queue_discards discards; /* of purged queues */
    struct list confirming;         /* of channel.confirm_link: confirms go out at the tick's end */
    struct list awaiting_commit;    /* of channel.commit_link: what they say waits for the log */
    struct list replays;          /* of connection.replay_link: what they hold is looked at again */
    struct list getters;          /* of channel.getter_link: a basic.get waits for a queue's head */
    struct list settling;         /* of channel.settling_link: a settlement of many goes on */
    struct list purgers;          /* of channel.wait_link: a purge waits for its last slice */
    struct list committers;       /* of channel.wait_link: a commit waits for its dead letters */
    struct list doomed_exchanges; /* of exchange.doomed_link; owns (doomed.h) */
    struct list doomed_queues;    /* of queue.owner_list_link; a reference each */
    struct list unbind_waiters;   /* of channel.wait_link: what they ask needs those gone */
    uint32_t unbinds_left;        /* in this tick */
    uint32_t work_left;           /* the same, of settings.work_per_tick */
    struct list policy_walks;     /* of vhost_policies.walk_link: matched anew (policies.h) */
    uint32_t drops_left;          /* the same, of CORE_DROPS_PER_TICK */
    struct list handouts;         /* of queue_handout.link: their mark is not written yet */
    struct list log_paused;       /* of connection.log_paused_link: the log has to catch up */
    struct list reopened;         /* of connection.reopen_link: the window has room again */
    struct list doomed_channels;  /* channels to be freed at the tick's end */
    struct map reply_channels;    /* struct channel by direct reply-to token; points */
    struct route_set routes;      /* reused by every routing pass */
    uint32_t prompt_count;        /* of its targets: those that are to have the message at once */
    uint64_t route_due_ms;        /* when the others are (route.h) */
    struct route_cache *cache;
    struct buffer payload;                     /* scratch of channel_send and connection_send */
    struct entry_memory queue_memory;          /* of all queues; they keep it up to date */
    uint64_t opened_bytes;                     /* of all chunks that networks ever opened */
    uint64_t disk_free_bytes, disk_mark_bytes; /* as it was told; 0: not yet */
    uint64_t held_bytes; /* message memory of publishes that wait for the alarm; blocked.c */
    uint8_t alarms;      /* of enum core_alarm: publishers are blocked while any is set */
    struct dead_letters *dead_letters; /* owned (broker/death/dead_letter.h) */
    struct traces *traces;             /* owned (broker/watch/trace.h) */
    uint32_t traced_vhost_count;       /* where messages leave a trace */
    uint32_t tap_count;                /* of them (broker/watch/tap.h): */
    struct list taps;                  /* of struct tap.link; a reference each */
    struct desk *desk;                 /* owned (broker/desk/desk.h) */
    struct audit *audit;               /* owned (broker/changes/audit.h) */
    struct paging *paging;             /* owned; NULL: nothing leaves memory */
    struct journal *journal;           /* borrowed; NULL: nothing is durable, all is in memory */
    struct space *space;               /* borrowed; NULL with the journal */
    uint64_t topology_token;           /* of the last change of something durable */
    uint64_t *log_targets;             /* scratch of core_log_target; owned */
    uint32_t log_target_count, log_target_capacity;
    struct journal_state *log_states;  /* what is kept of some of them; owned */
    uint64_t log_expiration;           /* of the message that goes to them; 0: none */
    const struct content *log_content; /* what that is; while the list is made */
    uint32_t log_state_count, log_state_capacity;
    uint64_t stop_token;             /* what a stop waits for; 0: none is under way */
    bool heads_came;                 /* a queue in `getters` may wait no longer */
    bool passed_requests_over;       /* in the tick before this one */
    bool requests_go_on;             /* one of `requests` has something to do in the next tick */
    bool refuses_requests;           /* for the rest of its life */
    bool is_shut_down;               /* core_shut_down: whoever comes now is too late */
    bool is_cutting;                 /* queues are too long for one tick: publishes wait */
    bool wants_flush;                /* somebody waits for the tick's batch, or for one before it */
    bool wants_write;                /* the tick's batch has waited long enough to be handed over */
    struct list transactions;        /* of those that have messages, by their age (transaction.c) */
    uint64_t transaction_octets;     /* of message memory that all of them keep, at most */
    struct timer transactions_timer; /* armed while memory is short */
    struct timer write_timer;  /* armed since a batch was not handed over because it could wait */
    struct timer flush_timer;  /* armed while something is written and nobody asked for a flush */
    struct timer hunger_timer; /* armed while a connection is hungry */
    struct timer trim_timer;   /* armed while the pool keeps memory that it may not need again */
    struct map parameters;     /* struct parameter by name (parameters.h); owns */
    struct core_counters counters;
    struct sampled_rates *rates; /* of some of them (survey.h); owned; NULL: nobody has looked */
};

/* `ports`, `log` and `pool` are borrowed. The pool's writers are the networks, each under its
 * number; core_free has the pool forget them. A core that only checks a file has no pool. The core
 * starts without vhosts, users and journal: what is restored (durable_topology.h) comes next, then
 * the journal, then core_complete_topology.
 */
struct core *core_new(const struct core_settings *settings, const struct core_ports *ports,
                      struct chunk_pool *pool, struct log *log, struct clock_reading now);
void core_free(struct core **core);

/* Where the network side delivers to. */
struct net_events core_net_events(struct core *core);

/* The verdict on a check started through the password port. */
void core_password_done(struct core *core, uint64_t id, bool matches);

/* The hash that was asked for (new_password.h); NULL: there was no memory for it. */
void core_password_hashed(struct core *core, uint64_t id, const char *hash);

/* Sets the time of everything handled until the next call, and fires due timers. */
void core_begin_tick(struct core *core, struct clock_reading now);

/* What lasts from now on for some time is counted from here, so that it never ends early: clocks
 * are cut to milliseconds. Monotonic. */
static inline uint64_t
core_from_now_ms(const struct core *core)
{
    return core->now.monotonic_ms + core->now.begun_ms;
}

/* Reads the clock again within the tick; timers wait for the next one. */
void core_read_clock(struct core *core);

/* One of many steps of a tick begins: a delivery, a dead letter, what was held. What lasts for some
 * time from then on must not end early because those before it took long, so the clock is read
 * again from time to time: a reading stands for some tens of microseconds, which a millisecond that
 * has begun covers. */
static inline void
core_take_time(struct core *core)
{
    enum { STEPS_MAX = 64 };
    if (++core->steps >= STEPS_MAX) {
        core_read_clock(core);
    }
}

/* Dispatches queues, sends confirms, frees what ended. */
void core_end_tick(struct core *core);

/* Call when all networks have written or copied the output of the ticks up to `passed_tick`
 * (chunk_pool_tick; on one thread: of the one that ends): gives message memory back, and lets
 * publishers go on when that brought it under the mark. */
void core_release_tick(struct core *core, uint64_t passed_tick);

/* How many octets of chunks the networks may have opened in all, from the beginning, counted as
 * NET_EVENT_CHUNK_OPENED tells them: UINT64_MAX without a memory mark, else what there were and
 * room until message memory stands a quarter above the mark. Ask when the tick is released. */
uint64_t core_contents_allowed(const struct core *core);

/* Milliseconds until core_end_tick has something to do again: 0 when work is left over, UINT64_MAX
 * when no timer is armed. */
uint64_t core_wait_ms(const struct core *core);

/* Makes what the configuration declares and is missing, changes in place what may change, users and
 * rights included, and reports once what the file no longer names (topology.c). STATUS_REJECTED
 * when something declared cannot be had, or differs so that it would have to be replaced: `why` has
 * the first reason as FILE:LINE:COL, the log all of them, and nothing was changed unless memory ran
 * out. Connections whose rights are gone are closed or lose their consumers before this returns. */
MUST_CHECK enum status core_apply(struct core *core, const struct config *config, char *why,
                                  size_t why_size);

/* How much room the file system has: turns the disk alarm on below the mark, and off again a tenth
 * above it. */
void core_set_disk_space(struct core *core, uint64_t free_bytes, uint64_t total_bytes);
/* Below how many free octets the alarm goes on, by the two marks of struct core_settings. */
uint64_t core_disk_mark(uint64_t mark_bytes, uint32_t mark_percent, uint64_t total_bytes);
bool core_disk_is_low(const struct core *core); /* as of the last time it was told */

/* The first half of a stop: publishes are held from now on. True once everything that was promised
 * so far is committed and said. */
void core_hold_publishers(struct core *core);
bool core_has_said_all(const struct core *core);

/* Sends connection.close 320 to everyone; core_connection_count falls to 0 as they answer or time
 * out. */
void core_shut_down(struct core *core, const char *reason);

static inline uint32_t
core_connection_count(const struct core *core)
{
    return core->connection_count;
}

/* A number that no other object of this core has; a durable one has never been given and will
 * never be, in any life of the data directory. */
uint64_t core_new_id(struct core *core, bool is_durable);

/* The durable queue of that id, or NULL. */
struct queue *core_find_queue_by_id(const struct core *core, uint64_t id);

/* The connection of a link, or NULL. */
struct connection *core_find_connection(struct core *core, uint64_t link);

static inline void
core_spend(struct core *core, uint32_t work)
{
    core->work_left -= work < core->work_left ? work : core->work_left;
}

static inline bool
core_has_worked(const struct core *core)
{
    return core->work_left == 0;
}

/* Puts the queue on the list of those to dispatch before the tick ends. */
void core_wake_queue(struct core *core, struct queue *queue);

#endif

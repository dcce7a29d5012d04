/* SPDX-License-Identifier: Apache-2.0 */
/* One client connection as the core sees it: login state, channels, what was posted to its link and
 * is not written yet, and the exclusive queues that end with it. */
#ifndef BOURSE_BROKER_CONNECTIONS_CONNECTION_H
#define BOURSE_BROKER_CONNECTIONS_CONNECTION_H

#include "amqp/method.h"
#include "base/list.h"
#include "base/timer.h"
#include "broker/core/core.h"

struct channel;
struct held_event;
struct house;

enum connection_state {
    CONNECTION_STARTING, /* connection.start is out */
    CONNECTION_CHECKING, /* a login is being checked */
    CONNECTION_TUNING,   /* connection.tune is out */
    CONNECTION_OPENING,  /* tuned; connection.open is due */
    CONNECTION_RUNNING,
    CONNECTION_CLOSING, /* our connection.close is out; everything but close and close-ok is ignored
                         */
    CONNECTION_CLOSED,  /* told the network side to close; waits for NET_EVENT_CLOSED */
};

enum connection_capability { /* of the client */
                             CAPABILITY_CONSUMER_CANCEL_NOTIFY = 1 << 0,
                             CAPABILITY_CONNECTION_BLOCKED = 1 << 1,
                             CAPABILITY_AUTHENTICATION_FAILURE_CLOSE = 1 << 2,
};

/* Why the socket of a connection is not read. */
enum connection_pause {
    PAUSE_LOGIN = 1 << 0,  /* a login is being checked, or was refused without a word */
    PAUSE_HELD = 1 << 1,   /* too much is held back under the memory alarm */
    PAUSE_OUTPUT = 1 << 2, /* the client asks for more than it reads */
    PAUSE_LOG = 1 << 3,    /* it publishes faster than the log is written */
    PAUSE_COMMIT = 1 << 4, /* too many of its answers wait for a commit */
};

struct connection {
    struct core *core;
    struct list_link core_link;       /* core->connection_list */
    struct list_link reopen_link;     /* core->reopened */
    struct list_link replay_link;     /* core->replays */
    struct list_link log_paused_link; /* core->log_paused */
    uint32_t waiting_channels;        /* channels with something that waits for a commit, or a
                                         settlement that goes on; counted for each */
    uint32_t wait_count;              /* what waits on all of them */
    uint64_t link;                    /* its id on the network side */
    struct net_peer *peer;            /* owned */
    struct house *house;              /* whose it is (house.h); NULL: a client's */
    enum connection_state state;
    uint8_t capabilities;  /* of enum connection_capability */
    bool window_was_full;  /* a consumer was passed over for want of window */
    bool is_hungry;        /* the same for want of memory */
    uint8_t pause_reasons; /* of enum connection_pause; while any is set the socket is not read */
    bool blocked_sent;     /* connection.blocked is out */
    uint16_t channel_max;
    uint16_t heartbeat_s;
    uint32_t frame_max;
    struct user *user;              /* borrowed from core->users; NULL before the login */
    struct vhost *vhost;            /* borrowed; NULL before connection.open */
    char *name;                     /* "ip:port -> ip:port"; owned */
    char *client_name;              /* client-properties.connection_name; owned; NULL: none */
    struct bytes client_properties; /* table body, as they came; owned; data NULL: none were kept */
    const char *mechanism;          /* of the login; static memory; NULL: none yet */
    int64_t opened_wall_ms;         /* when it came */
    uint64_t received_octets;       /* of frames, their bodies included */
    uint64_t sent_octets;           /* that the socket took */
    struct sampled_rates *rates;    /* of both; owned; NULL: nobody has looked */
    struct channel **channels;      /* by number - 1; owned; NULL where none is open */
    uint16_t channel_capacity;
    uint16_t wake_first; /* where the next waking of consumers begins; any number */
    uint16_t channel_count;
    uint64_t window_used;         /* octets posted and not yet reported written */
    struct list exclusive_queues; /* of queue.owner_list_link */
    uint32_t note_count;          /* failure notes of open deliveries of its channels, */
    uint64_t note_octets;         /* and the memory that they take (failure_notes.h) */
    struct list held;             /* events held back while publishers are blocked; blocked.c */
    uint64_t held_octets;         /* of what is held behind the first */
    bool runs_held;               /* what is handled now has waited */
    bool has_held_fault;          /* one that ends the connection: what follows it is not heard */
    bool has_held_close;          /* the client's connection.close: the same */
    struct timer close_timer;     /* bounds CONNECTION_CLOSING */
};

/* Makes the connection of a link that showed the right protocol header, and sends connection.start.
 * Takes `peer`. */
struct connection *connection_new(struct core *core, uint64_t link, struct net_peer *peer);

/* The same without a socket: nothing is sent, and it counts nowhere. What the core says to it goes
 * to house_take_action. */
struct connection *connection_new_for_house(struct core *core, struct house *house, uint64_t link,
                                            struct net_peer *peer);

/* Ends everything it owns (channels, consumers, exclusive queues) and frees it. */
void connection_free(struct connection **connection);

/* A frame's worth of work: see net/seam.h. `connection` may have changed state on return, but is
 * still there; connection_events.c. */
void connection_on_method(struct connection *connection, uint16_t channel, struct bytes payload);
/* `content` is what the event's place names, with a pin that passes to the connection; not set when
 * it names none, or when the content had to be refused. */
void connection_on_publish(struct connection *connection, const struct net_event *event,
                           struct content_ref content);
void connection_on_fault(struct connection *connection, const struct net_event *event);
void connection_on_written(struct connection *connection, uint64_t octets);

/* The same for an event that was held, or need not be; blocked.c calls them in order. */
void connection_run_method(struct connection *connection, uint16_t channel, struct bytes payload);
void connection_run_publish(struct connection *connection, const struct net_event *event,
                            struct content_ref content);
void connection_run_fault(struct connection *connection, const struct net_event *event);

/* Adds and takes away a reason for not reading the socket; idempotent. Network code hands over no
 * further event once it knows, not even of octets that it has read; with a thread of its own it
 * knows a little later, and what has been handed over until then still comes. */
void connection_pause(struct connection *connection, enum connection_pause reason);
void connection_resume(struct connection *connection, enum connection_pause reason);

/* Posts a method on a channel (0: the connection itself). */
void connection_send(struct connection *connection, uint16_t channel, const struct method *method);

/* The same for one that is encoded already. */
void connection_post_method(struct connection *connection, uint16_t channel, struct bytes payload);

/* Posts an action that puts nothing on the wire by itself (TUNE, ESTABLISHED). */
void connection_post_control(struct connection *connection, struct net_action *action);

/* Posts an action that names `content`, which `ref` is for (DELIVER, CONTENT), and charges the
 * window. A large one is lent: pinned until NET_EVENT_LOAN_RETURNED. */
void connection_post_content(struct connection *connection, struct net_action *action,
                             struct content_ref ref, const struct content *content);

static inline bool
connection_has_window(const struct connection *connection)
{
    return connection->window_used < CORE_WINDOW_OCTETS;
}

/* Answers a fault: channel.close or connection.close by its scope, naming the method it was about
 * (0, 0: none). */
void connection_raise(struct connection *connection, uint16_t channel, const struct fault *fault,
                      uint16_t class_id, uint16_t method_id);

/* Sends connection.close and waits for close-ok, bounded by min(heartbeat, 30 s). Channels end
 * at once. */
void connection_close(struct connection *connection, const struct fault *fault, uint16_t class_id,
                      uint16_t method_id);

/* Ends channels, consumers and exclusive queues; what is open goes back to its queues. Idempotent.
 */
void connection_end_channels(struct connection *connection);

/* Tells the network side to close the socket after writing what is queued. */
void connection_drop(struct connection *connection, uint32_t linger_ms);

/* Ends a channel, takes it out of the table and leaves it to be freed at the tick's end. */
void connection_forget_channel(struct connection *connection, struct channel *channel);

/* The channel under that number, or NULL. */
struct channel *connection_find_channel(const struct connection *connection, uint16_t number);

/* Methods of class connection; handle_connection.c. */
enum status connection_handle_start_ok(struct connection *connection,
                                       const struct connection_start_ok *args, struct fault *fault);
enum status connection_handle_secure_ok(struct connection *connection,
                                        const struct connection_secure_ok *args,
                                        struct fault *fault);
enum status connection_handle_tune_ok(struct connection *connection,
                                      const struct connection_tune_ok *args, struct fault *fault);
enum status connection_handle_open(struct connection *connection,
                                   const struct connection_open *args, struct fault *fault);
enum status connection_handle_update_secret(struct connection *connection,
                                            const struct connection_update_secret *args,
                                            struct fault *fault);

/* Sends connection.start with what the broker is and can do. */
void connection_send_start(struct connection *connection);

/* Cancels, with notice, the consumers whose queues the user may no longer read. */
void connection_recheck_consumers(struct connection *connection);

/* Called by the login desk. */
void connection_login_succeeded(struct connection *connection, struct user *user);
void connection_login_failed(struct connection *connection, const char *mechanism);

/* While the memory alarm is on, publishes wait here in order, and with them whatever follows on
 * their channel but settlements; blocked.c. */

/* True when the event was taken (copied) and must not be handled now. */
bool connection_hold_method(struct connection *connection, uint16_t channel, struct bytes payload);
bool connection_hold_publish(struct connection *connection, const struct net_event *event,
                             struct content_ref content);
bool connection_hold_fault(struct connection *connection, const struct net_event *event);

/* Looks again at what is held, in order: what need not wait any more is handled. Ends no alarm.
 * When no alarm is left the client is told. Returns how many events there were. */
uint32_t connection_replay_held(struct connection *connection);
/* The same before the next tick ends, or one after it when there is much to look at; nothing
 * happens when nothing is held. */
void connection_replay_later(struct connection *connection);
void connection_drop_held(struct connection *connection);

/* Holds an event that a handler could not carry out yet (STATUS_AGAIN). */
void connection_hold_again(struct connection *connection, uint16_t channel, struct bytes payload);

/* Alarms; alarms.c. Compares memory with the mark and turns the alarm on or off for all. */
void core_check_memory(struct core *core);
void core_set_alarm(struct core *core, enum core_alarm alarm, bool is_on);

/* Why publishers are blocked: "low on memory"; empty: nothing that anybody is told of. */
const char *core_alarm_reason(const struct core *core);

/* Tells a client that wants to know it that it is blocked, and that it no longer is; idempotent. */
void connection_send_blocked(struct connection *connection);
void connection_send_unblocked(struct connection *connection);

#endif

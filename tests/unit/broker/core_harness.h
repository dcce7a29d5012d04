/* SPDX-License-Identifier: Apache-2.0 */
/* A core between fake ports: a network that writes down what the core posts and delivers what a
 * test lets clients send, password threads that answer when the test wants, a seeded random source
 * and a clock that only moves when it is stepped.
 *
 * The rig keeps the core to the seam's rules: nothing may be posted for a link that is gone or was
 * told to close, and every content must have been released when the rig is freed. Contents lie in
 * heap memory, so the address sanitizer sees who reads one too late. Planned allocation faults
 * (tests/support/alloc_faults.h) hit the core only, not the rig. */
#ifndef BOURSE_TESTS_UNIT_BROKER_CORE_HARNESS_H
#define BOURSE_TESTS_UNIT_BROKER_CORE_HARNESS_H

#include "amqp/method.h"
#include "base/buffer.h"
#include "broker/channels/channel.h"
#include "broker/connections/connection.h"
#include "broker/core/core.h"
#include "broker/topology/vhost.h"
#include "broker/users/access.h"

enum { RIG_LINKS_MAX = 256, RIG_CHECKS_MAX = 64, RIG_LOANS_MAX = 1024 };

/* One action, with copies of what it pointed at. */
struct posted {
    enum net_action_type type;
    uint16_t channel;
    uint64_t link;
    struct method method;          /* METHOD; of DELIVER the basic.deliver, of CONTENT the method */
    struct bytes properties, body; /* DELIVER, CONTENT */
    uint32_t frame_max;            /* TUNE */
    uint16_t heartbeat_s;          /* TUNE */
    uint32_t linger_ms;            /* CLOSE */
    struct buffer octets;          /* what the views above point into */
    struct buffer content_octets;
};

struct rig_link {
    uint32_t frame_max;
    size_t read;    /* actions up to here were looked at by rig_next */
    uint64_t owed;  /* octets posted and not reported written */
    bool is_stuck;  /* the socket takes nothing: WRITTEN does not come */
    bool is_paused; /* the core told it to stop reading */
    bool is_closing, is_gone;
};

/* A check at the password threads that waits for its verdict. */
struct rig_check {
    uint64_t id;
    bool matches;
};

struct rig {
    struct core *core;
    struct net_events events;
    struct chunk_pool *pool;
    struct chunk_writer *writer; /* what a network would lay contents down with */
    struct net_action returned;  /* the last CHUNK_RETURNED */
    size_t returned_count;
    uint64_t loans[RIG_LOANS_MAX]; /* contents that the network side still reads */
    size_t loan_count;
    bool keeps_loans; /* they come back by rig_return_loans only, not when a turn begins */
    struct clock_reading now;
    uint64_t random_state;
    struct log log;
    struct buffer log_text;
    struct posted *posted; /* in the order in which they came */
    size_t posted_count, posted_capacity;
    struct rig_link links[RIG_LINKS_MAX]; /* of id - 1 */
    size_t link_count;
    bool holds_turn; /* events are handled without ending the turn after each */
    struct rig_check checks[RIG_CHECKS_MAX];
    size_t check_count;    /* waiting */
    size_t checks_max;     /* how many may wait; RIG_CHECKS_MAX from the start */
    size_t checks_started; /* ever */
    bool keeps_verdicts;   /* they come by rig_verdict only, not at the end of every turn */
};

/* `settings` NULL: those of a broker without configuration, without memory mark. The vhost "/"
 * exists, users do not. */
struct rig *rig_new(const struct core_settings *settings);
struct rig *rig_new_empty(const struct core_settings *settings); /* no vhost either */
struct core_settings rig_settings(void);
void rig_free(struct rig **rig); /* whatever is open then ends with the core */

/* Ends the turn as the broker's loop does: verdicts, core_end_tick, core_release_tick; begins the
 * next one and reports what was written. */
void rig_turn(struct rig *rig);

/* Gives back what the core has lent. */
void rig_return_loans(struct rig *rig);

/* Moves the clock and lets due timers fire. */
void rig_step(struct rig *rig, uint64_t ms);

/* Gives the verdict on the oldest waiting check. */
void rig_verdict(struct rig *rig);

/* Users and vhosts. `rig_user` has every right; its hash is a slow one that the rig's password
 * threads match with `password` alone. Views of the arguments stay in it. */
struct config_user rig_user(const char *name, const char *hash);
void rig_put_user(struct rig *rig, const struct config_user *user);
void rig_add_user(struct rig *rig, const char *name, const char *password);
struct vhost *rig_add_vhost(struct rig *rig, const char *name);
struct vhost *rig_vhost(struct rig *rig); /* "/" */

/* What hashes look like here: a prefix and the password itself. */
enum { RIG_HASH_SIZE = 128 };
const char *rig_slow_hash(const char *password, char out[static RIG_HASH_SIZE]);
const char *rig_fast_hash(const char *password, char out[static RIG_HASH_SIZE]);

/* Links. A peer is a plain one from loopback unless the test says who it is. */
struct net_peer rig_local_peer(void);
struct net_peer rig_remote_peer(const char *address);
uint64_t rig_open(struct rig *rig);
uint64_t rig_open_as(struct rig *rig, const struct net_peer *peer);
void rig_hang_up(struct rig *rig, uint64_t link); /* the socket is gone */

/* Handshake, step by step and as a whole. `rig_start_ok` announces every client capability when
 * `has_capabilities`, else none. */
void rig_start_ok(struct rig *rig, uint64_t link, const char *mechanism, struct bytes response,
                  bool has_capabilities);
void rig_start_plain(struct rig *rig, uint64_t link, const char *user, const char *password);
void rig_tune_ok(struct rig *rig, uint64_t link, uint16_t channel_max, uint32_t frame_max,
                 uint16_t heartbeat_s);
void rig_open_vhost(struct rig *rig, uint64_t link, const char *vhost);
uint64_t rig_connect(struct rig *rig, const char *user, const char *password);
void rig_open_channel(struct rig *rig, uint64_t link, uint16_t channel);

/* What the client sends. A paused link delivers nothing, so sending on one is a mistake of the
 * test. */
void rig_send(struct rig *rig, uint64_t link, uint16_t channel, const struct method *method);
void rig_send_id(struct rig *rig, uint64_t link, uint16_t channel, enum method_id id);
void rig_send_payload(struct rig *rig, uint64_t link, uint16_t channel, struct bytes payload);
void rig_send_fault(struct rig *rig, uint64_t link, uint16_t channel, const struct fault *fault);

struct rig_publish {
    const char *exchange;
    const char *routing_key;
    struct bytes properties; /* flag words and values; empty: none are set */
    struct bytes body;
    uint64_t oversize; /* not 0: announced that large, and refused by the network */
    bool mandatory, immediate, is_persistent, has_headers;
};
void rig_publish(struct rig *rig, uint64_t link, uint16_t channel, const char *exchange,
                 const char *routing_key, const char *body);
void rig_publish_as(struct rig *rig, uint64_t link, uint16_t channel,
                    const struct rig_publish *publish);

/* What the core posted. `rig_next` is the next METHOD, DELIVER or CONTENT of the link that no call
 * has looked at yet, or NULL; the others assert that it is what they name. What is returned lives
 * until the core posts again (views inside it as long as the rig): copy a struct to keep it. */
const struct posted *rig_next(struct rig *rig, uint64_t link);
const struct posted *rig_expect_posted(struct rig *rig, uint64_t link, uint16_t channel,
                                       enum method_id id);
const struct method *rig_expect(struct rig *rig, uint64_t link, uint16_t channel,
                                enum method_id id);
void rig_expect_nothing(struct rig *rig, uint64_t link);
void rig_expect_close(struct rig *rig, uint64_t link, uint16_t code, const char *text);
void rig_expect_channel_close(struct rig *rig, uint64_t link, uint16_t channel, uint16_t code,
                              const char *text);
size_t rig_count(const struct rig *rig, uint64_t link, enum net_action_type type);

static inline struct rig_link *
rig_link(struct rig *rig, uint64_t link)
{
    return &rig->links[link - 1];
}

/* The core has told the link to close. */
static inline bool
rig_is_closed(struct rig *rig, uint64_t link)
{
    return rig_link(rig, link)->is_closing;
}

bool rig_logged(struct rig *rig, const char *text);

#endif

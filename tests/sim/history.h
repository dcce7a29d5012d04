/* SPDX-License-Identifier: Apache-2.0 */
/* What clients did, what the broker did with it, and whether that keeps the promises: the judge of
 * a simulated run. It is told everything in the order in which the core did it, knows by itself
 * which messages wait in which queue, and notes every difference as a wrong.
 *
 * Time is counted in positions of the log: whatever must survive a crash comes with the span of
 * positions between which the log speaks of it. A crash leaves the log up to one position, the cut:
 * what lies below it happened, what lies above did not, and what the cut goes through may be either
 * (and is settled by what is seen first). Without a log all positions are 0 and nothing crashes.
 *
 * Queues, exchanges and keys go by small numbers. A queue that is deleted and declared again is
 * another queue: it gets a new handle. */
#ifndef BOURSE_TESTS_SIM_HISTORY_H
#define BOURSE_TESTS_SIM_HISTORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    HISTORY_NAMES = 16,       /* queue names, and exchange names */
    HISTORY_TARGETS_MAX = 16, /* queues that one message reaches */
    HISTORY_DEFAULT_EXCHANGE = HISTORY_NAMES,
    HISTORY_TEXT_SIZE = 256,
    HISTORY_REASONS = 4,                                  /* of enum history_reason */
    HISTORY_DEATHS_MAX = HISTORY_NAMES * HISTORY_REASONS, /* that the headers of one speak of */
};

static const uint32_t HISTORY_NONE = UINT32_MAX;

/* A time that never comes: somebody has to let the message in. */
static const uint64_t HISTORY_PARKED_MS = UINT64_MAX - 1;

enum history_rule {
    HISTORY_LOST,       /* answered or confirmed, and gone */
    HISTORY_UNEXPECTED, /* not there by any account */
    HISTORY_DUPLICATED, /* handed out again without the mark, or twice at a time */
    HISTORY_ORDER,      /* another message was next */
    HISTORY_BODY,       /* not what was published */
    HISTORY_EARLY,      /* confirmed or answered before it was on the disk */
    HISTORY_TOPOLOGY,   /* a queue, exchange or binding that is there or not there wrongly */
    HISTORY_ANSWER,     /* the broker answers something else than it should */
    HISTORY_RULE_COUNT,
};

/* Holds after a cut at or above `last`, does not hold after one below `first`. Zero: for ever. */
struct history_span {
    uint64_t first, last;
};

enum history_presence { HISTORY_ABSENT, HISTORY_MAYBE, HISTORY_PRESENT };

enum history_overflow {
    HISTORY_TAKES_ALL, /* no limit */
    HISTORY_DROPS,     /* from its head */
    HISTORY_REFUSES,   /* what does not fit */
};

/* Of ready messages in a queue. */
struct history_limit {
    enum history_overflow overflow;
    bool buries;                    /* what is refused dies */
    uint64_t length_max, bytes_max; /* UINT64_MAX: none */
};

/* How a delivery ended that was not settled for good; a queue counts a set of them. */
enum history_verdict {
    HISTORY_NO_VERDICT = 0, /* nobody says that it has failed */
    HISTORY_NACKED = 1 << 0,
    HISTORY_GIVEN_BACK = 1 << 1, /* by basic.reject */
    HISTORY_BROKEN_OFF = 1 << 2, /* with its channel or connection */
    HISTORY_TIMED_OUT = 1 << 3,  /* nobody settled it in time */
    HISTORY_ANY_VERDICT =
        HISTORY_NACKED | HISTORY_GIVEN_BACK | HISTORY_BROKEN_OFF | HISTORY_TIMED_OUT,
};

/* Which of what comes back waits. */
enum history_retry_type {
    HISTORY_RETRIES_COUNTED, /* what counts as a failure */
    HISTORY_RETRIES_UNCOUNTED,
    HISTORY_RETRIES_NOTHING,
};

enum { HISTORY_JITTER_FULL = 255 };

/* What a queue does with messages that come back. */
struct history_retry {
    bool counts;
    bool holds;         /* what waits keeps its place, and nobody passes it */
    uint8_t type;       /* of enum history_retry_type */
    uint8_t verdicts;   /* that count; of enum history_verdict */
    uint8_t jitter;     /* percent either way, or HISTORY_JITTER_FULL: anything up to the delay */
    uint8_t factor;     /* from one delay to the next; 0: they grow by the first one */
    int64_t limit;      /* of failures; -1: none */
    uint64_t first_ms;  /* delay after the first failure; 0: there is none */
    uint64_t max_ms;    /* without the jitter */
    int64_t max_age_ms; /* of a message that fails; -1: any */
};

/* What is known of a message's failures, by the headers that it is handed out with. */
struct history_headers {
    uint64_t delivery_count, acquired_count; /* 0: they do not say */
    uint8_t verdict;                         /* the last; of enum history_verdict */
    uint32_t note;                           /* what was said last of why it failed; 0: nothing */
};

/* What the log says of a copy beside its message. */
struct history_state {
    uint64_t due_ms; /* it waits until then; 0: it does not */
    uint32_t delivery_count, acquired_count;
    uint8_t verdict;
    bool is_return;  /* it came back; else it has not come in yet */
    bool is_endless; /* it has no time to live any more */
};

/* Why a message waits. */
enum history_wait {
    HISTORY_WAITS_DELAYED, /* it has not come in yet */
    HISTORY_WAITS_RETRY,
    HISTORY_WAITS_PARKED,
};

enum history_place {
    HISTORY_READY,
    HISTORY_DUE,     /* its time is over, and it has not died yet: nobody gets it any more */
    HISTORY_LENT,    /* with a client, not settled */
    HISTORY_WAITING, /* for its time to come in: it is not counted */
    HISTORY_DYING,   /* dead; where it goes it is not yet */
    HISTORY_DONE,
};

/* What a message dies of. */
enum history_reason {
    HISTORY_REJECTED,
    HISTORY_EXPIRED,
    HISTORY_TOO_MANY,
    HISTORY_TRIED_OUT, /* it has failed more often than its queue allows */
};

/* Where a message that is ready stands. */
enum history_standing {
    HISTORY_STANDS_IN_LINE,  /* at its level, in the order of arrival */
    HISTORY_STANDS_FIRST,    /* it came back to a quorum queue: before all of those */
    HISTORY_STANDS_IN_FRONT, /* the same where strict order is kept: before those, in line */
};

/* What tells a copy from others of its message: its position in the queue, or its place in the log.
 */
struct history_identity {
    uint64_t position, lsn; /* 0: nobody knows */
};

/* A message in a queue. */
struct history_copy {
    uint32_t message;
    uint8_t place;        /* of enum history_place */
    uint8_t level;        /* of its priority in the queue */
    bool is_durable;      /* persistent, in a durable queue */
    bool is_maybe;        /* the last cut went through it */
    bool was_seen;        /* a client got hold of it */
    bool is_marked;       /* must be handed out as redelivered */
    bool is_mark_free;    /* ...or not: a crash has made it uncertain */
    bool is_dead_letter;  /* came from another queue, in `moved` */
    bool is_replayed;     /* somebody has sent it on since it died last */
    bool is_timeless;     /* it has lost the time to live that it was published with */
    uint64_t lsn;         /* where the log has it; 0: in no log */
    uint64_t position;    /* that the broker has given it in the queue; 0: not heard of */
    bool awaits_position; /* ...but still to be heard of */
    uint32_t chain;       /* of copies, each of which took the place of the one before; 0: none */
    uint32_t stage;       /* in the chain */
    uint8_t death_count;
    uint8_t deaths[HISTORY_DEATHS_MAX]; /* name of the queue and reason, the newest first */
    struct history_span moved;
    uint64_t due_ms;         /* when it comes in, if it waits; by the core's monotonic clock */
    uint64_t wait_number;    /* of all that ever waited, if it waits */
    bool is_retry;           /* it waits for another try, at its place */
    bool was_found;          /* after a crash, waiting */
    bool was_heard;          /* to come back, which a client will know of */
    bool has_other;          /* the last cut went through `other` */
    bool is_count_free;      /* a crash has made acquired_count uncertain */
    uint32_t delivery_count; /* failures that count */
    uint32_t other_count;    /* with has_other: or so many */
    uint32_t acquired_count; /* how often it came back */
    uint8_t verdict;         /* how it came back last */
    struct history_headers carried; /* of where it died before: its own headers */
    uint32_t note;                  /* what was said of its last failure here; 0: nothing */
    bool is_note_last;              /* of the one that it died of */
    uint8_t standing;               /* of enum history_standing */
    uint64_t return_number;         /* with HISTORY_STANDS_FIRST */
    uint64_t held_until_ms;  /* it is ready, and is not handed out before; 0: it is not held */
    bool is_hold_free;       /* ...or is, for a crash has made that uncertain */
    uint64_t arrived_ms;     /* when it came into its queue: not before, */
    uint64_t arrived_end_ms; /* and not after */
    bool is_age_free;        /* a crash has made that uncertain */
    struct history_state logged, other;
    uint64_t handed_at;       /* the end of the log when it was handed out last */
    uint64_t deadline_ms;     /* it is not handed out from then on; 0: it has none */
    uint64_t written_ms;      /* the same before it was rounded up, as the log has it */
    bool is_instant;          /* it dies with the tick */
    struct history_span gone; /* when HISTORY_DONE */
};

/* A message as the log has it, in any life of the broker. */
struct history_logged {
    uint64_t lsn;
    uint32_t message;
    uint64_t
        letter_queue; /* the broker's id of the queue that a dead letter went to; 0: published */
    bool is_known;    /* that copy was seen */
};

/* Of a chain at most one copy is there. */
enum history_chain {
    HISTORY_CHAIN_MAY_END, /* none may be there */
    HISTORY_CHAIN_GOES_ON, /* one is there, though after a crash nobody knows which */
};

/* The broker has given a message a position in a queue. */
struct history_position {
    uint32_t message; /* HISTORY_NONE: nobody can tell; a transient one */
    uint32_t size;    /* of its body */
    uint64_t position;
};

/* A copy that is on its way to where the dead go. */
struct history_dying {
    uint32_t copy;
    enum history_reason reason;
};

/* How fast a queue lets in what is overdue. */
enum { HISTORY_RATE_MAX = 50, HISTORY_PACE_TIMES = 64 };

struct history_pace {
    uint32_t rate;                         /* messages a second; 0: as fast as it goes */
    uint64_t times_ms[HISTORY_PACE_TIMES]; /* when the last ones came in; a ring */
    uint32_t count;                        /* that came in since the rate was set */
    uint64_t next_ms;                      /* when the next one may */
};

/* Nothing is handed out from a queue that is paused. */
struct history_pause {
    bool is_paused;
    struct history_span span; /* where the log says so */
};
struct history_pauses {
    bool is_paused;
    bool was_paused;             /* after the last crash */
    struct history_pause *items; /* since then; owned */
    uint32_t count, capacity;
    bool may_be, may_not_be; /* paused, after a crash */
};

/* Somebody who takes messages from a queue. */
struct history_consumer {
    uint32_t number; /* of all that there were, from 1 on */
    int32_t priority;
    uint32_t held_count; /* of what it was handed out, what it has not settled */
};

struct history_queue {
    uint32_t name;
    uint64_t id; /* the broker's own; tells a queue from another of the same name */
    bool is_durable;
    bool is_over; /* absent, whatever a crash does */
    enum history_presence presence;
    struct history_span made, gone;
    struct history_limit limit;
    struct history_retry retry;
    uint64_t ttl_ms;               /* of what comes to it; UINT64_MAX: none */
    uint64_t expires_ms;           /* it is deleted when nobody has used it for so long;
                                      UINT64_MAX: never */
    uint64_t used_ms, used_end_ms; /* when somebody did last: not before the one, nor after the
                                      other */
    bool is_quorum;
    bool is_governed;      /* by policies, which change */
    uint64_t return_count; /* that came back to a quorum queue */
    uint64_t taken_count;  /* of messages that came to it, in this life of the broker */
    uint8_t level_max;     /* what priorities count up to; 0: not at all */
    struct history_pace pace;
    struct history_pauses pauses;
    uint64_t timeout_ms;                /* how long a delivery may be open; 0: for ever */
    uint64_t timeout_changed_ms;        /* when that was set last */
    bool is_single_active;              /* one consumer is served at a time */
    struct history_consumer *consumers; /* in the order in which they came; owned */
    uint32_t consumer_count, consumer_capacity;
    uint32_t active;             /* where one is served at a time: which; 0: there is none */
    struct history_copy *copies; /* in the order in which they came; owned */
    uint32_t copy_count, copy_capacity;
    uint32_t first_ready;               /* none before it is, and none is due */
    uint32_t first_awaiting;            /* none before it awaits its position */
    struct history_position *positions; /* of copies that have not come here yet; owned */
    uint32_t position_count, position_capacity;
    uint32_t ready_count, due_count;
    uint32_t maybe_count; /* of those that are ready or due */
    uint32_t waiting_count;
    bool has_moved;              /* some that waited have come: copies stand in another order than
                                    in the log */
    uint32_t dead_letter_name;   /* of the queue that gets what dies here; HISTORY_NONE */
    struct history_dying *dying; /* in the order of their deaths; owned */
    uint32_t dying_count, dying_capacity;
};

/* Whom of those that are bound an exchange gives a message. */
enum history_kind {
    HISTORY_DIRECT,          /* all with its key */
    HISTORY_FANOUT,          /* all */
    HISTORY_CONSISTENT_HASH, /* one, by the hash of its key; keys of bindings are weights */
    HISTORY_MODULUS_HASH,    /* the same; they mean nothing */
    HISTORY_RANDOM,          /* one by chance */
    HISTORY_KINDS,
};

/* Where a key went last that was hashed. */
struct history_pick {
    bool is_known;
    uint32_t queue_name;
    uint32_t weights[HISTORY_NAMES]; /* of what was bound then, by the names of queues */
};

/* How often something fell that is drawn. */
struct history_draws {
    uint64_t count, low_count; /* of those that the lower half of the range has */
};

struct history_exchange {
    uint32_t name;
    enum history_kind kind;
    bool is_delayed; /* holds back what asks for it */
    bool is_durable;
    bool is_over; /* absent, whatever a crash does */
    enum history_presence presence;
    struct history_span made, gone;
};

struct history_binding {
    uint32_t exchange, queue; /* handles */
    uint32_t key;
    bool is_durable;
    bool was_found; /* after a crash */
    enum history_presence presence;
    struct history_span made, gone;
};

struct history_message {
    struct history_span made; /* when it is in queues */
    uint32_t size;
    uint32_t exchange;      /* its name */
    uint32_t key;           /* on the default exchange the name of a queue */
    uint64_t expiration;    /* its time to live in ms, and 1; 0: it has none */
    uint8_t priority;       /* 0: the message does not say */
    uint64_t delay;         /* that it asks for in ms, and 1; 0: none */
    uint64_t deliver_at_ms; /* the same as a time of the wall clock; 0: none */
    uint64_t due_ms;        /* when it comes into its queues; 0: at once */
    bool is_persistent;
    bool is_logged; /* it went to a durable queue */
    bool is_confirmed;
    bool is_refused; /* by a queue at least */
    bool is_sent_on; /* by somebody, a copy of it at least */
    uint8_t target_count;
    uint32_t targets[HISTORY_TARGETS_MAX]; /* handles */
};

struct history_unfinished {
    uint32_t queue, copy;
    bool is_purged; /* its end comes later than that of the others */
};

/* A message came back, and the log says so there. */
struct history_return {
    uint32_t queue, copy;
    struct history_state state;
    struct history_span span;
};

struct history_sums {
    uint64_t attempted, confirmed, delivered, redelivered, acknowledged, expired, lost, unexpected,
        duplicated, crashes, dropped, refused, moved, dead_lettered, delayed, retried, parked, held,
        picked, noted, queues_expired, policies_changed, looked, taken_over, timed_out, turned_away,
        paced, paused, sent_on, taken_out, let_in, called_off, discarded;
};

struct history {
    struct history_queue *queues; /* by handle; owned, and so are the others */
    uint32_t queue_count, queue_capacity;
    struct history_exchange *exchanges;
    uint32_t exchange_count, exchange_capacity;
    struct history_binding *bindings;
    uint32_t binding_count, binding_capacity;
    struct history_message *messages; /* by number */
    uint32_t message_count, message_capacity;
    uint32_t settled_count; /* of the messages that were there before the last crash */
    uint32_t queue_by_name[HISTORY_NAMES];    /* handle or HISTORY_NONE */
    uint32_t exchange_by_name[HISTORY_NAMES]; /* handle or HISTORY_NONE */
    struct history_logged *logged;            /* by rising LSN; owned */
    uint32_t logged_count, logged_capacity;
    uint32_t chain_count;
    enum history_chain *chains; /* of enum history_chain, by number; owned */
    uint32_t chain_capacity;
    uint64_t wait_count;                   /* how often a message has begun to wait */
    struct history_unfinished *unfinished; /* what the tick did whose span has no end yet; owned */
    uint32_t unfinished_count, unfinished_capacity;
    struct history_return *returns; /* since the last crash; owned */
    uint32_t return_count, return_capacity;
    uint64_t promised; /* everything below was answered or confirmed to somebody */
    uint64_t now_ms;   /* the core's monotonic clock */
    bool has_mortals;  /* a message had a time to live */
    bool counts_gone;  /* bindings of what was deleted still count where they are counted */
    struct history_pick picks[HISTORY_KINDS][HISTORY_NAMES]; /* by keys; where names decide */
    struct history_draws random_picks; /* where two queues are bound; low: the one of lower name */
    struct history_draws delays;       /* of retries, with jitter */
    bool keeps_all; /* bindings that are gone as well, for somebody who looks back */
    struct history_sums sums;
    uint64_t wrongs[HISTORY_RULE_COUNT];
    uint64_t wrong_count;
    char first_wrong[HISTORY_TEXT_SIZE]; /* empty: none */
};

void history_init(struct history *history);
void history_fini(struct history *history);

/* Notes a difference; for what is seen outside as well. */
void history_wrong(struct history *history, enum history_rule rule, const char *text, ...)
    __attribute__((format(printf, 3, 4)));
const char *history_rule_name(enum history_rule rule);

/* Topology ---------------------------------------------------------------------------------------
 */

/* The queue under that name, or HISTORY_NONE. */
uint32_t history_find_queue(const struct history *history, uint32_t name);
uint32_t history_find_exchange(const struct history *history, uint32_t name);

/* Something of that name was made: none was there. `id` is the broker's. */
uint32_t history_make_queue(struct history *history, uint32_t name, uint64_t id, bool is_durable,
                            struct history_limit limit, struct history_span span);
uint32_t history_make_exchange(struct history *history, uint32_t name, enum history_kind kind,
                               bool is_durable, struct history_span span);

/* It is gone, and every binding from or to it. */
void history_drop_queue(struct history *history, uint32_t queue, struct history_span span);
void history_drop_exchange(struct history *history, uint32_t exchange, struct history_span span);

/* Does nothing when the same binding is there (or, to unbind, is not). Returns the span in which
 * the binding was made. */
struct history_span history_bind(struct history *history, uint32_t exchange, uint32_t queue,
                                 uint32_t key, struct history_span span);
void history_unbind(struct history *history, uint32_t exchange, uint32_t queue, uint32_t key,
                    struct history_span span);

/* The broker has written a message down. */
void history_hear_logged(struct history *history, struct history_logged row);

/* Which message the log has there. */
uint32_t history_logged_message(const struct history *history, uint64_t lsn);

/* Messages ---------------------------------------------------------------------------------------
 */

/* A message is about to be published; returns its number and finds out whom it reaches, as things
 * are now. */
uint32_t history_attempt(struct history *history, uint32_t exchange_name, uint32_t key,
                         bool is_persistent, uint32_t size);

/* The broker is about to handle it: whom it reaches now. */
void history_route(struct history *history, uint32_t message);

/* Whether its exchange gives it to one queue only, which the broker chooses. */
bool history_is_picked(const struct history *history, uint32_t message);

/* The broker has chosen so many queues for such a message: one of those that are bound, if any is,
 * and where names decide it is the same as before as far as the same is bound. */
void history_hear_pick(struct history *history, uint32_t message, const uint32_t *queues,
                       uint32_t count);

/* What was drawn in this run fell on all of its range. */
void history_check_draws(struct history *history);

/* The broker has given a message a position in the queue, before the history hears that it came
 * there or after: tells copies of one message from each other as long as the broker lives. */
void history_hear_position(struct history *history, uint32_t queue,
                           struct history_position position);

/* It was taken: it is in its queues now, or in those that have their names now, but for those that
 * have refused it: `takes` says of the i-th what the broker did, and what it should have done is
 * checked. NULL: all have taken it. */
void history_enqueue(struct history *history, uint32_t message, const bool *takes,
                     struct history_span span);

/* The same for one message of a transaction, of which the broker has asked each queue before. */
void history_commit(struct history *history, uint32_t message, const bool *takes,
                    struct history_span span);

/* Messages that are to come to a queue together. */
struct history_load {
    uint64_t count, bytes;
};

/* Whether a queue may take, or refuse, the last message of so many, the others of which it has
 * taken. */
void history_check_limit(struct history *history, uint32_t queue, uint32_t message,
                         struct history_load load, bool takes);

/* The queue that target of the message means now, or HISTORY_NONE. */
uint32_t history_target(const struct history *history, uint32_t message, uint32_t at);

/* The broker has so many messages in the queue that are ready, or due and not dead: it keeps no
 * other, and has dropped none silently. */
void history_check_ready(struct history *history, uint32_t queue, uint64_t ready_count);

/* It is so late now: what is due is never handed out again. */
void history_set_time(struct history *history, uint64_t now_ms);

/* The broker has nothing left in the queue that is due: all of that has died. */
void history_has_expired(struct history *history, uint32_t queue);

/* The publisher has heard that it is safe. */
void history_confirm(struct history *history, uint32_t message, uint64_t flushed);

/* Something that stands in the log was answered with success: everything below `flushed` is on the
 * disk. */
void history_promise(struct history *history, struct history_span span, uint64_t flushed,
                     const char *what);

/* A message that is handed out. */
struct history_handing {
    uint32_t message;
    struct history_identity identity; /* by the broker's account */
    bool is_redelivered;
    bool is_final;            /* it is not to be settled: what the log says of it ends with the tick
                                 (history_end_tick) */
    struct history_span span; /* from where the log goes on to where it ends now */
};

/* The broker takes a message off a queue for a client. Returns its copy, or HISTORY_NONE when it is
 * wrong. */
uint32_t history_hand_out(struct history *history, uint32_t queue,
                          const struct history_handing *handing);

/* By the broker's account that is what it has just handed out: it is no other copy of the same
 * message. */
void history_check_identity(struct history *history, uint32_t queue, uint32_t copy,
                            struct history_identity identity);

/* A client has got it. */
void history_see(struct history *history, uint32_t queue, uint32_t copy);

/* The broker says that the queue is empty. */
void history_expect_empty(struct history *history, uint32_t queue);

/* The broker says how many messages are ready. */
void history_expect_ready(struct history *history, uint32_t queue, uint64_t ready_count,
                          const char *what);

/* Whether the log has to say so when a lent message is done with. */
bool history_copy_is_logged(const struct history *history, uint32_t queue, uint32_t copy);

/* A lent message is done with, or back. */
void history_settle(struct history *history, uint32_t queue, uint32_t copy,
                    struct history_span span);
void history_give_back(struct history *history, uint32_t queue, uint32_t copy);

/* A message that waited comes into its queue, as the broker says. */
struct history_coming {
    uint32_t message;  /* HISTORY_NONE: nobody can tell; a transient one */
    uint32_t size;     /* of its body */
    uint64_t lsn;      /* where the log has it; 0: in no log */
    uint64_t position; /* of its key */
    uint64_t due_ms;   /* that it waited for */
    bool is_retry;     /* it had been in the queue */
    bool is_released;  /* somebody lets it in, early or not */
    bool is_taken;     /* ...or takes it out for good */
    uint64_t first;    /* where the log goes on */
};

/* It must be there, its time must have come, and it must have been its turn. */
void history_hear_coming(struct history *history, uint32_t queue,
                         const struct history_coming *coming);

/* Somebody has let in or taken out what waits in the queue: all that is meant, and waited before
 * that was asked for, is gone from there. */
struct history_worked_off {
    uint32_t kinds;        /* a bit for each enum history_wait */
    uint32_t id_count, id; /* messages whose number modulo `id_count` is `id` */
    uint64_t waits_before; /* history->wait_count when it was asked for */
};
void history_check_worked_off(struct history *history, uint32_t queue,
                              const struct history_worked_off *meant);

/* What was let in or taken out has its place in the log. */
void history_end_release(struct history *history, uint64_t last);

/* A lent message has come back to a queue that counts; `due_ms` is when it will be tried again by
 * the broker's account (0: at once). */
struct history_failure {
    uint8_t verdict; /* of enum history_verdict */
    uint64_t due_ms;
    bool is_held;  /* it does not wait elsewhere, but at its place */
    uint32_t note; /* what its consumer had said of it; 0: nothing */
    struct history_span span;
};
void history_hear_return(struct history *history, uint32_t queue, uint32_t copy,
                         const struct history_failure *failure);

/* A message that was held at its place waits elsewhere from now on, for strict order is not kept
 * any more. */
void history_hear_release_of_hold(struct history *history, uint32_t queue, uint32_t message,
                                  uint64_t lsn, uint64_t due_ms);

/* What a message that is handed out says of its failures. */
void history_check_headers(struct history *history, uint32_t queue, uint32_t copy,
                           const struct history_headers *headers);

/* The queue does other things from now on. */
struct history_settings {
    struct history_limit limit;
    struct history_retry retry;
    uint64_t ttl_ms;
    uint64_t timeout_ms;
    uint32_t release_rate;
    uint32_t dead_letter_name;
};
void history_change_settings(struct history *history, uint32_t queue,
                             const struct history_settings *settings);

/* Pauses -----------------------------------------------------------------------------------------
 */

/* Somebody has paused the queue, or has it go on. */
void history_pause(struct history *history, uint32_t queue, bool is_paused,
                   struct history_span span);

/* What a new broker has of the queue of that id; call behind history_found_queue. */
void history_found_pause(struct history *history, uint64_t id, bool is_paused);

/* Consumers --------------------------------------------------------------------------------------
 */

/* One comes to the queue, or goes; the second does nothing when it is not there. */
void history_add_consumer(struct history *history, uint32_t queue, uint32_t number,
                          int32_t priority);
void history_end_consumer(struct history *history, uint32_t queue, uint32_t number);

/* NULL: it is not there. Valid until another one comes or goes. */
const struct history_consumer *history_find_consumer(const struct history *history, uint32_t queue,
                                                     uint32_t number);

/* The broker hands a message out to it, which must be its turn; with `is_final` there is nothing to
 * settle. */
void history_serve(struct history *history, uint32_t queue, uint32_t number, bool is_final);

/* One of those is settled, or back; nothing when the consumer is not there any more. */
void history_end_service(struct history *history, uint32_t queue, uint32_t number);

/* Whether it is one that may be served, as long as it has room. */
bool history_may_serve(const struct history *history, uint32_t queue, uint32_t number);

/* By the broker's account that one is active; 0: nobody. */
void history_check_active(struct history *history, uint32_t queue, uint32_t number);

/* Somebody has used the queue; with `is_over` at any time between the last use and now. */
void history_use_queue(struct history *history, uint32_t queue, bool is_over);

/* Whether the broker may delete it at any time. */
bool history_may_expire(const struct history *history, uint32_t queue);

/* The broker deletes the queue, since nobody has used it for too long; `has_consumers` by its
 * account. */
void history_expire_queue(struct history *history, uint32_t queue, bool has_consumers,
                          struct history_span span);

/* The queue is there when a tick ends, and nobody uses it. */
void history_check_lease(struct history *history, uint32_t queue);

/* So many messages wait in the queue; with `none_is_due` the broker knows of none whose time has
 * come. */
void history_check_waiting(struct history *history, uint32_t queue, uint64_t waiting_count,
                           bool none_is_due);

/* A death in the broker, as it happens. */
struct history_death {
    enum history_reason reason;
    bool is_refused;        /* it never was in the queue, which buries what it refuses */
    bool has_failed;        /* it has come back to the queue, which counts: */
    uint32_t failure_count; /* so many failures */
    uint32_t note;          /* what its consumer has said of why it rejects it; 0: nothing */
    uint32_t message;       /* HISTORY_NONE: nobody can tell; a transient one */
    uint32_t size;          /* of its body */
    uint64_t lsn;           /* where the log has it; 0: in no log */
    uint64_t position;
    uint64_t deadline_ms; /* that it had, by the broker's steps; 0: it was over when it came */
    uint32_t copy;        /* that a client had until now; HISTORY_NONE */
};

/* It must have been its turn to die of that, and goes to where the dead of the queue go; what the
 * log says of one that goes nowhere ends with the tick. `first` is where the log goes on. */
void history_hear_death(struct history *history, uint32_t queue, const struct history_death *death,
                        uint64_t first);

/* A lent message was rejected: it is done with, or dying if the queue has dead letters. */
void history_die(struct history *history, uint32_t queue, uint32_t copy, struct history_span span);

/* The first of the queue's dying messages was moved, in `span`: it is gone here, and in the queue
 * that gets dead letters if that is there. */
void history_move_dead(struct history *history, uint32_t queue, struct history_span span);
/* The same, but it was parked, since nobody takes it. */
void history_park_dead(struct history *history, uint32_t queue, struct history_span span);

/* All ready messages are gone, though the log says so only in the end (history_end_tick). True when
 * it has to. */
bool history_purge(struct history *history, uint32_t queue, uint64_t first);

/* What the tick did has its place in the log: below `last`, what it purged below `purged_last`;
 * UINT64_MAX: not yet. */
void history_end_tick(struct history *history, uint64_t last, uint64_t purged_last);

/* Somebody sends a message of the queue on to the queue `target` of now, or takes it out for good
 * (HISTORY_NONE). */
struct history_sending {
    uint32_t message;
    uint64_t lsn; /* where the log has it; 0: in no log */
    uint64_t position;
    bool is_ready;                        /* else it waits, */
    uint64_t due_ms;                      /* for that */
    uint32_t failure_count, return_count; /* by the broker's account */
    uint32_t target;
    struct history_span span;
};
void history_send_on(struct history *history, uint32_t queue,
                     const struct history_sending *sending);

/* Crashes ----------------------------------------------------------------------------------------
 */

/* What is there after a cut, by all that is known. */
enum history_presence history_queue_after_cut(const struct history_queue *queue, uint64_t cut);
enum history_presence history_exchange_after_cut(const struct history_exchange *exchange,
                                                 uint64_t cut);
enum history_presence history_binding_after_cut(const struct history *history,
                                                const struct history_binding *binding,
                                                uint64_t cut);
enum history_presence history_copy_after_cut(const struct history *history,
                                             const struct history_copy *copy, uint64_t cut);

/* The broker is gone, and its log ends at `cut`; every copy has a new place. The log says of a
 * message that it may have been handed out before that happens, but does not wait for the disk: so
 * the mark survives a kill for certain, and a power cut (`is_power_cut`) when the log does up to
 * there. */
void history_crash(struct history *history, uint64_t cut, bool is_power_cut);

/* What is known of each chain after a cut; there is room for chain_count of them. */
void history_judge_chains(const struct history *history, uint64_t cut,
                          enum history_chain *chains_out);

/* A message waits in the queue of that id of the new broker; call for all of them, before
 * history_found_queue. */
void history_found_waiting(struct history *history, uint64_t id, uint64_t lsn, uint64_t due_ms);

/* What the new broker has; call for every name, then history_end_findings. A queue that is not
 * there has the id 0. */
void history_found_queue(struct history *history, uint32_t name, uint64_t id, uint64_t ready_count);
void history_found_exchange(struct history *history, uint32_t name, bool is_there);
void history_found_binding(struct history *history, uint32_t exchange_name, uint32_t queue_name,
                           uint32_t key);
void history_end_findings(struct history *history);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* One channel: consumers, open deliveries, prefetch, confirm or transaction mode. Handlers of its
 * methods are spread over handle_*.c, one file per AMQP class; each answers (unless nowait) or
 * returns STATUS_FAULT with `fault` filled. */
#ifndef BOURSE_BROKER_CHANNELS_CHANNEL_H
#define BOURSE_BROKER_CHANNELS_CHANNEL_H

#include "amqp/method.h"
#include "base/list.h"
#include "base/map.h"
#include "broker/connections/connection.h"
#include "broker/death/dead_letter.h"
#include "broker/upkeep/ack_timeout.h"
#include "queues/clocks.h"
#include "queues/queue.h"
#include "queues/unacked.h"

enum channel_mode { CHANNEL_PLAIN, CHANNEL_CONFIRM, CHANNEL_TX };

struct commit_waits; /* commit_wait.c */
struct exchange;
struct failure_notes; /* failure_notes.c */
struct transaction;   /* transaction.c */

/* What the last publish of a channel found: good while both numbers are what they were. */
struct publish_memory {
    struct exchange *exchange; /* NULL: nothing yet */
    uint64_t exchange_deletions;
    uint64_t user_version;
};

/* What happened on a channel; confirmed_number says how many publishes were answered. */
struct channel_counters {
    uint64_t published, returned;
    uint64_t delivered[DELIVERY_KIND_COUNT], redelivered, get_empty;
    uint64_t acked;
};

/* What becomes of an open delivery. */
enum settlement {
    SETTLEMENT_ACK,
    SETTLEMENT_NACKED,   /* back to the queue, by basic.nack; gone if the queue is gone */
    SETTLEMENT_REQUEUED, /* the same by basic.reject */
    SETTLEMENT_REFUSED,  /* for good, by basic.nack: it dies */
    SETTLEMENT_REJECTED, /* the same by basic.reject */
};

struct channel {
    struct connection *connection;
    uint16_t number;
    bool is_closing;    /* our channel.close is out: everything but close, close-ok is
                           dropped */
    bool is_ended;      /* end_channel ran: no consumers, nothing open */
    bool blames_nobody; /* what is open when it ends has not failed */
    enum channel_mode mode;
    struct bytes last_queue;   /* name of the queue declared last; owned; empty: none */
    struct map consumers;      /* struct consumer by tag */
    struct list consumer_list; /* of consumer.channel_link, in the order in which they are woken */
    struct unacked_table unacked;
    struct ack_timeouts timeouts;
    struct failure_notes *notes;   /* of open deliveries; owned; NULL: there never was one */
    uint64_t next_delivery_tag;    /* the first is 1 */
    uint16_t prefetch_default;     /* for consumers started from now on; 0: none */
    uint16_t prefetch_global;      /* shared by all consumers; 0: none */
    uint32_t unacked_by_consumers; /* open deliveries that count against prefetch_global */
    bool was_full;                 /* a consumer was passed over for want of room in the channel */
    struct list_link confirm_link; /* core->confirming */
    struct publish_memory last_publish;
    uint64_t publish_number;         /* of the last publish in confirm mode */
    uint64_t noted_number;           /* everything up to it is answered, or waits for a commit */
    uint64_t confirmed_number;       /* everything up to it has been answered */
    uint64_t publish_token;          /* what the publishes of this tick have to wait for */
    bool is_refusing;                /* what is not noted yet was refused, else taken */
    struct commit_waits *waits;      /* what waits for a commit; owned; NULL: nothing ever did */
    struct list_link commit_link;    /* core->awaiting_commit */
    struct list_link getter_link;    /* core->getters */
    struct queue *getting_from;      /* a reference; a basic.get waits for its head; NULL: none */
    struct list_link wait_link;      /* core->purgers, committers or unbind_waiters */
    struct death_range deaths;       /* that the commit waits for */
    bool has_committed;              /* they are over and its answer is due */
    uint64_t purge_sequence;         /* of queue_discards; the purge waits until it is released */
    uint64_t purged_count;           /* what that purge will answer */
    bool has_purged;                 /* the purge is done and its answer is due */
    struct transaction *transaction; /* in CHANNEL_TX; owned */
    char reply_token[32];            /* of the direct reply-to consumer; empty: none */
    struct bytes reply_consumer_tag; /* owned */
    bool has_held;                   /* events of it wait in connection->held */
    bool has_held_select;            /* tx.select is among them: settlements wait behind it */
    bool has_held_settlement;        /* the same, of one that came while others were carried out */
    struct list_link settling_link;  /* core->settling: a settlement of many goes on */
    uint64_t settling_to;            /* up to this tag; means nothing while none does */
    enum settlement settling_as;
    struct list_link doomed_link; /* core->doomed_channels */
    struct channel_counters counters;
    struct sampled_rates *rates; /* of them (client_survey.h); owned; NULL: nobody has looked */
    uint64_t opened_ms;          /* monotonic */
    bool is_publisher;           /* has published: counted among them */
};

struct channel *channel_new(struct connection *connection, uint16_t number);

/* Cancels consumers, requeues what is open, discards the transaction. The channel stays until it is
 * freed. Idempotent. */
void channel_end(struct channel *channel);

/* After channel_end. */
void channel_free(struct channel **channel);

/* Decides by class and method which handler runs. */
enum status channel_handle_method(struct channel *channel, const struct method *method,
                                  struct fault *fault);

/* Ends the channel and sends channel.close. */
void channel_close(struct channel *channel, const struct fault *fault, uint16_t class_id,
                   uint16_t method_id);

/* Sends a method, behind answers that wait for a commit; commit_wait.c. */
void channel_send(struct channel *channel, const struct method *method);

/* The same behind confirms that wait, too: nothing follows it. */
void channel_send_last(struct channel *channel, const struct method *method);

/* Whether anything of the channel waits for a commit, and whether answers are among it. */
bool channel_waits(const struct channel *channel);
bool channel_has_waiting_answer(const struct channel *channel);

/* Whether the channel waits for the head of a queue, the end of a purge, of a commit or of
 * unbinding: whatever follows on it is held, but for settlements. */
static inline bool
channel_is_held_up(const struct channel *channel)
{
    return channel->getting_from != NULL || list_link_is_linked(&channel->wait_link);
}

/* A basic.get has to wait for the head of the queue, and does no longer. */
void channel_start_getting(struct channel *channel, struct queue *queue);
void channel_stop_getting(struct channel *channel);

static inline struct core *
channel_core(const struct channel *channel)
{
    return channel->connection->core;
}

static inline struct vhost *
channel_vhost(const struct channel *channel)
{
    return channel->connection->vhost;
}

/* Makes `name` (copied) what an empty queue name means from now on. */
void channel_remember_queue(struct channel *channel, struct bytes name);

/* Whether the channel allows one more open delivery (prefetch_global, and the configured maximum of
 * a channel without prefetch); it is not asked for no_ack consumers. */
bool channel_has_room(const struct channel *channel);

/* Room may have come (a settlement, a wider prefetch): its consumers are ready again. */
void channel_wake_consumers(struct channel *channel);

/* Ends one consumer. With `notify`, the client is told by basic.cancel if it can hear it. Frees the
 * tag; deletes the queue if it was its last consumer and the queue is auto-delete. */
void channel_cancel_consumer(struct channel *channel, struct consumer *consumer, bool notify);

/* handle_confirm.c. Numbers a publish in confirm mode that has passed its checks, and has it
 * confirmed at the end of the tick, or refused because a queue was full. */
void channel_confirm_publish(struct channel *channel, bool is_refused);

/* Sends what confirms are due, or has them wait for their commit; called at the end of the tick and
 * before the channel closes. */
void channel_flush_confirms(struct channel *channel);

/* dispatch.c. Posts a method that carries a content, such as get-ok. The content is borrowed until
 * the tick ends. */
void channel_send_content(struct channel *channel, const struct method *method,
                          struct content_ref ref);

/* What becomes of an open delivery. */
/* settle.c. Settles what is open up to `tag_max`: as much as half the work of a tick is, and the
 * rest in ticks to come. Whatever follows on the channel waits for that, settlements too. */
void channel_settle_up_to(struct channel *channel, uint64_t tag_max, enum settlement settlement);
void channel_stop_settling(struct channel *channel); /* the rest stays open */
/* Another slice for each channel that is at it. */
void core_go_on_settling(struct core *core);
static inline bool
channel_is_settling(const struct channel *channel)
{
    return list_link_is_linked(&channel->settling_link);
}

/* Settles one open delivery that was taken out of the table: its references pass to the
 * call. Its consumer, and whoever waited for room in the channel, may be served again. */
void channel_settle(struct channel *channel, struct unacked *item, enum settlement settlement);
void channel_settle_ack(struct channel *channel, struct unacked *item);
/* Back to the queue; RETRY_NO_VERDICT: nobody says that the delivery failed. */
void channel_settle_return(struct channel *channel, struct unacked *item,
                           enum retry_verdict verdict);

/* handle_channel.c */
enum status channel_handle_flow(struct channel *channel, const struct channel_flow *args,
                                struct fault *fault);
/* handle_access.c: the obsolete class 30 */
enum status channel_handle_access_request(struct channel *channel,
                                          const struct access_request *args, struct fault *fault);
/* handle_exchange.c */
enum status channel_handle_exchange_declare(struct channel *channel,
                                            const struct exchange_declare *args,
                                            struct fault *fault);
enum status channel_handle_exchange_delete(struct channel *channel,
                                           const struct exchange_delete *args, struct fault *fault);
enum status channel_handle_exchange_bind(struct channel *channel, const struct exchange_bind *args,
                                         struct fault *fault);
enum status channel_handle_exchange_unbind(struct channel *channel,
                                           const struct exchange_unbind *args, struct fault *fault);
/* handle_queue.c */
enum status channel_handle_queue_declare(struct channel *channel, const struct queue_declare *args,
                                         struct fault *fault);
enum status channel_handle_queue_bind(struct channel *channel, const struct queue_bind *args,
                                      struct fault *fault);
enum status channel_handle_queue_unbind(struct channel *channel, const struct queue_unbind *args,
                                        struct fault *fault);
enum status channel_handle_queue_purge(struct channel *channel, const struct queue_purge *args,
                                       struct fault *fault);
enum status channel_handle_queue_delete(struct channel *channel, const struct queue_delete *args,
                                        struct fault *fault);
/* The queue that a method means: by name, or the one declared last when the name is empty.
 * STATUS_FAULT: 404 when there is none, 405 when it is exclusive to another connection. Rights are
 * the caller's business and come first: use channel_queue_name for them. */
MUST_CHECK enum status channel_find_queue(struct channel *channel, struct bytes name,
                                          struct queue **queue_out, struct fault *fault);
/* The name that `name` means (the queue declared last when empty). STATUS_FAULT: 404 `no previously
 * declared queue`. */
MUST_CHECK enum status channel_queue_name(struct channel *channel, struct bytes name,
                                          struct bytes *name_out, struct fault *fault);
/* handle_basic.c */
enum status channel_handle_basic_qos(struct channel *channel, const struct basic_qos *args,
                                     struct fault *fault);
enum status channel_handle_basic_consume(struct channel *channel, const struct basic_consume *args,
                                         struct fault *fault);
enum status channel_handle_basic_cancel(struct channel *channel, const struct basic_cancel *args,
                                        struct fault *fault);
enum status channel_handle_basic_get(struct channel *channel, const struct basic_get *args,
                                     struct fault *fault);
enum status channel_handle_basic_ack(struct channel *channel, const struct basic_ack *args,
                                     struct fault *fault);
enum status channel_handle_basic_reject(struct channel *channel, const struct basic_reject *args,
                                        struct fault *fault);
enum status channel_handle_basic_nack(struct channel *channel, const struct basic_nack *args,
                                      struct fault *fault);
enum status channel_handle_basic_recover(struct channel *channel, bool requeue, bool async,
                                         struct fault *fault);
/* The tag that a consumer gets: the client's, or one made into `out` when it is empty. */
enum { CONSUMER_TAG_SIZE = 64 };
struct bytes channel_consumer_tag(struct channel *channel, struct bytes tag,
                                  char out[static CONSUMER_TAG_SIZE]);
/* publish.c: `event` is a NET_EVENT_PUBLISH, `content` what it brought; its pin is the caller's. */
enum status channel_handle_publish(struct channel *channel, const struct net_event *event,
                                   struct content_ref content, struct fault *fault);
/* handle_confirm.c, handle_tx.c */
enum status channel_handle_confirm_select(struct channel *channel,
                                          const struct confirm_select *args, struct fault *fault);
enum status channel_handle_tx_select(struct channel *channel, struct fault *fault);
enum status channel_handle_tx_commit(struct channel *channel, struct fault *fault);
enum status channel_handle_tx_rollback(struct channel *channel, struct fault *fault);
/* transaction.c: drops what the transaction has buffered, returns what it was to settle to the
 * queues, and frees it. Nothing happens when there is none. */
void transaction_free(struct channel *channel);

/* dispatch.c: hands out ready messages of woken queues, bounded per tick; a queue with more to give
 * stays in core->dispatch_queues. */
void core_dispatch(struct core *core);

/* core.c: there was no memory to serve a consumer of the connection: all are woken CORE_HUNGER_MS
 * later. */
void core_serve_later(struct connection *connection);
/* dispatch.c: what the queue's consumers have room for goes to them now, bounded like a tick. For
 * methods that take, count or drop ready messages: as in RabbitMQ, a message never waits in a queue
 * while a consumer waits for it, however close the method followed the publish. */
void core_serve_consumers(struct core *core, struct queue *queue);

/* reply_to.c: direct reply-to. */
#define REPLY_TO_QUEUE "amq.rabbitmq.reply-to"
enum status channel_consume_replies(struct channel *channel, const struct basic_consume *args,
                                    struct fault *fault);
/* The channel that waits for replies under `name` ("amq.rabbitmq.reply-to.TOKEN"), or NULL. */
struct channel *core_find_reply_channel(struct core *core, struct bytes name);
void channel_stop_replies(struct channel *channel);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* A virtual host: a name space of exchanges and queues, and the operations on them that AMQP
 * methods and the topology file share. Rights were checked by the caller. */
#ifndef BOURSE_BROKER_TOPOLOGY_VHOST_H
#define BOURSE_BROKER_TOPOLOGY_VHOST_H

#include "base/map.h"
#include "broker/core/core.h"
#include "broker/topology/policies.h"
#include "exchanges/exchange.h"
#include "queues/queue.h"

struct vhost {
    struct core *core;
    struct bytes name;           /* owned */
    uint64_t id;                 /* in the log */
    bool from_file;              /* a topology file made it, not a client */
    struct map exchanges;        /* struct exchange by name; owns */
    bool is_traced;              /* trace.h */
    uint64_t exchange_deletions; /* rises, so that who remembers an exchange can tell */
    struct map queues;           /* struct queue by name; one reference each */
    struct queue *named_last;    /* by a key of the default exchange, and still there; NULL: none */
    struct vhost_policies policies;
    int64_t connections_max; /* -1: none */
    int64_t queues_max;
    uint32_t connection_count;
    bool is_protected;          /* from deletion by the management interface */
    char *description;          /* what people say about it; owned; NULL: nothing */
    char *tags;                 /* with commas; owned; NULL: none */
    char *default_queue_type;   /* as it was given; it has no effect; owned; NULL: none */
    struct list_link gone_link; /* in core->gone_vhosts: it was deleted (vhost_life.h) */
};

/* Comes with the predeclared exchanges: "", amq.direct, amq.fanout, amq.topic, amq.headers,
 * amq.match, amq.rabbitmq.trace, bourse.control. Until core_add_vhost it is nobody's and the log
 * knows nothing of it. */
struct vhost *vhost_new(struct core *core, struct bytes name);
void vhost_free(struct vhost **vhost);

/* Takes the vhost, whose name is not taken. */
void core_add_vhost(struct core *core, struct vhost *vhost);

struct vhost *core_find_vhost(struct core *core, struct bytes name);

struct exchange *vhost_find_exchange(const struct vhost *vhost, struct bytes name);
struct queue *vhost_find_queue(const struct vhost *vhost, struct bytes name);

/* From the log, under the numbers that they had; checked by the caller and not told to the log
 * again. The vhost has no exchanges. NULL when there is no memory. */
struct vhost *core_restore_vhost(struct core *core, uint64_t id, struct bytes name);
struct exchange *vhost_restore_exchange(struct vhost *vhost, uint64_t id,
                                        const struct exchange_properties *properties);
struct queue *vhost_restore_queue(struct vhost *vhost, uint64_t id,
                                  const struct queue_properties *properties);

/* Makes those predeclared exchanges that are missing, and tells the log if `is_logged`. */
void vhost_make_predeclared(struct vhost *vhost, bool is_logged);

/* Makes the exchange or checks that the one there is the same (type, durable, auto-delete,
 * internal, alternate-exchange). STATUS_FAULT: 406. `*exchange_out` may be NULL. */
MUST_CHECK enum status vhost_declare_exchange(struct vhost *vhost,
                                              const struct exchange_properties *properties,
                                              struct exchange **exchange_out, struct fault *fault);

/* Makes the queue or checks that the one there is the same: exclusivity (405), durable,
 * auto-delete, arguments (406). Validates arguments and the vhost's queue limit. Does not touch the
 * channel. */
MUST_CHECK enum status vhost_declare_queue(struct vhost *vhost,
                                           const struct queue_properties *properties,
                                           struct queue **queue_out, struct fault *fault);

/* STATUS_FAULT: 406 when the vhost may have no more queues; `name` is who asks. */
MUST_CHECK enum status vhost_check_queue_limit(const struct vhost *vhost, struct bytes name,
                                               struct fault *fault);

/* Takes it out of the vhost and removes its bindings on both sides, which may auto-delete others
 * (doomed.h). */
void vhost_delete_exchange(struct vhost *vhost, struct exchange *exchange);

/* Cancels its consumers (notifying them), removes its bindings and ready messages, and takes it out
 * of the vhost; returns the number of ready messages it had. */
uint64_t vhost_delete_queue(struct vhost *vhost, struct queue *queue);

/* Binds `target` to `source`; the binding is durable when both ends are. `*binding_out`, which may
 * be NULL, may have been there before. STATUS_FAULT: 406 when the type of the source refuses the
 * arguments, 506 when there is no memory. */
MUST_CHECK enum status vhost_bind(struct vhost *vhost, struct exchange *source,
                                  struct route_target *target, struct bytes routing_key,
                                  struct bytes arguments, struct binding **binding_out,
                                  struct fault *fault);
/* Removes a binding if it is there, and the source if it is auto-delete and that was its last.
 * STATUS_FAULT: 506 when there is no memory. */
MUST_CHECK enum status vhost_unbind(struct vhost *vhost, struct exchange *source,
                                    struct route_target *target, struct bytes routing_key,
                                    struct bytes arguments, struct fault *fault);

/* "queue 'Q' in vhost 'V'", "exchange 'X' in vhost 'V'" as they stand in reply texts. The default
 * exchange has an empty name here. Cut to fit, NUL-terminated; returns `out`. */
enum { RESOURCE_TEXT_SIZE = 600 };
const char *vhost_queue_text(const struct vhost *vhost, struct bytes name,
                             char out[static RESOURCE_TEXT_SIZE]);
const char *vhost_exchange_text(const struct vhost *vhost, struct bytes name,
                                char out[static RESOURCE_TEXT_SIZE]);

/* `vhost="V" queue="Q"`, the fields of a log line, escaped. Cut to fit, NUL-terminated; returns
 * `out`. */
enum { QUEUE_FIELDS_SIZE = 2 * RESOURCE_TEXT_SIZE + 16 };
const char *vhost_queue_fields(const struct queue *queue, char out[static QUEUE_FIELDS_SIZE]);

/* 404 at channel scope: `no queue 'Q' in vhost 'V'`, `no exchange 'X' in vhost 'V'`. */
enum status fault_no_queue(struct fault *fault, const struct vhost *vhost, struct bytes name);
enum status fault_no_exchange(struct fault *fault, const struct vhost *vhost, struct bytes name);

/* 405 at channel scope: the queue is exclusive to another connection, or is not exclusive where an
 * exclusive one was asked for. */
enum status fault_locked_queue(struct fault *fault, const struct queue *queue);

/* STATUS_OK when `queue` is not exclusive to a connection other than `link`, else 405. */
MUST_CHECK enum status queue_check_owner(const struct queue *queue, uint64_t link,
                                         struct fault *fault);

static inline struct queue *
queue_of_target(struct route_target *target)
{
    assert(target->kind == ROUTE_TARGET_QUEUE);
    return CONTAINER_OF(target, struct queue, target);
}

static inline struct exchange *
exchange_of_target(struct route_target *target)
{
    assert(target->kind == ROUTE_TARGET_EXCHANGE);
    return CONTAINER_OF(target, struct exchange, target);
}

#endif

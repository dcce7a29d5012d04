/* SPDX-License-Identifier: Apache-2.0 */
/* Queues as the interface shows them: RabbitMQ's fields, and ours under "bourse". */
#ifndef BOURSE_MANAGEMENT_VIEWS_QUEUE_JSON_H
#define BOURSE_MANAGEMENT_VIEWS_QUEUE_JSON_H

#include "broker/survey/binding_survey.h"
#include "broker/survey/survey.h"
#include "management/views/list_page.h"

/* The members of a queue's object, without the braces. `node` is the name of this broker. */
void queue_write_members(struct json_writer *json, const struct survey_queue *queue,
                         const char *node);

/* A list of struct survey_queue; its context is to be the node's name. */
extern const struct list_kind queue_list_kind;

/* One binding, and one consumer, as objects. */
void route_write(struct json_writer *json, const struct survey_route *route);
void consumer_write(struct json_writer *json, const struct survey_consumer *consumer,
                    struct bytes vhost, struct bytes queue, const char *node);

/* RabbitMQ's name for a binding among those of the same two ends: "~" for no key and no arguments,
 * the key, percent-encoded, or "KEY~HASH" with arguments; a "~" of the key's own is "%7E". Appends
 * it. */
void binding_put_properties_key(struct buffer *out, struct bytes routing_key,
                                struct bytes arguments);

/* Appends `text` percent-encoded, but for letters, digits and "-._". */
void put_percent_encoded(struct buffer *out, struct bytes text);

/* A time in milliseconds, or null for NEVER_MS. */
void age_write(struct json_writer *json, const char *name, uint64_t age_ms);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* What clients do with queues and messages, in one line each; for tests on top of the core's rig.
 * Every call sends one method and, where the method has an answer, takes it. */
#ifndef BOURSE_TESTS_UNIT_BROKER_MESSAGING_H
#define BOURSE_TESTS_UNIT_BROKER_MESSAGING_H

#include "tests/unit/broker/core_harness.h"

/* A connection with one channel, number 1, of user "u", which exists. */
struct rig *messaging_rig(const struct core_settings *settings);
uint64_t messaging_client(struct rig *rig);

void declare_queue(struct rig *rig, uint64_t link, const char *name);
void declare_queue_as(struct rig *rig, uint64_t link, const struct queue_declare *declare);
void declare_exchange(struct rig *rig, uint64_t link, const char *name, const char *type,
                      const char *alternate);
void bind_queue(struct rig *rig, uint64_t link, const char *queue, const char *exchange,
                const char *key);
void bind_exchange(struct rig *rig, uint64_t link, const char *destination, const char *source,
                   const char *key);

/* Publishes to the default exchange of channel 1; the body is the text. */
void publish_text(struct rig *rig, uint64_t link, const char *queue, const char *text);
void publish_numbers(struct rig *rig, uint64_t link, const char *queue, int first, int last);

void consume(struct rig *rig, uint64_t link, uint16_t channel, const char *queue, const char *tag,
             bool no_ack);
void consume_with_priority(struct rig *rig, uint64_t link, const char *queue, const char *tag,
                           int64_t priority);
void set_prefetch(struct rig *rig, uint64_t link, uint16_t channel, uint16_t count, bool global);
void cancel(struct rig *rig, uint64_t link, const char *tag);

void send_ack(struct rig *rig, uint64_t link, uint16_t channel, uint64_t tag, bool multiple);
void send_nack(struct rig *rig, uint64_t link, uint16_t channel, uint64_t tag, bool multiple,
               bool requeue);

/* basic.get on channel 1: the message, or NULL. */
const struct posted *get_message(struct rig *rig, uint64_t link, const char *queue, bool no_ack);

/* Asserts that the next thing that came is a delivery of that text, and returns it. */
const struct posted *expect_delivery(struct rig *rig, uint64_t link, const char *text);

/* Bodies of all deliveries since the last look, separated by blanks; asserts that nothing else
 * came. */
const char *deliveries(struct rig *rig, uint64_t link);

uint64_t ready_count(struct rig *rig, const char *queue);
struct queue *find_queue(struct rig *rig, const char *name);

/* What the queue keeps of rates is there from now on: an allocation for it that fails is no failure
 * that anybody could see. The queue has had a message, or makes what it keeps of those. */
void have_rates(struct rig *rig, const char *queue);

#endif

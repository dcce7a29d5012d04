/* SPDX-License-Identifier: Apache-2.0 */
/* What a queue was declared with, and what policies make of it: the settings in force. As declared
 * the arguments lie in the queue's own allocation, behind its name, and what they say in front of
 * that; changed ones have an allocation of their own, and so has what policies make of them. Part
 * of queue.c, which includes the rest of what others see of this (queue_set_arguments and its
 * like). */
#ifndef BOURSE_QUEUES_QUEUE_ARGUMENTS_H
#define BOURSE_QUEUES_QUEUE_ARGUMENTS_H

#include "queues/queue.h"

/* What arguments say that were found valid. */
void queue_read_arguments(struct queue_settings *settings, struct bytes arguments);

/* With the queue: what it has beside its own allocation, and its references of policies. */
void queue_free_arguments(struct queue *queue);

#endif

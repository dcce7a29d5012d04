/* SPDX-License-Identifier: Apache-2.0 */
/* The property `expiration`: a time to live in milliseconds, as text. */
#ifndef BOURSE_BROKER_MESSAGE_EXPIRATION_H
#define BOURSE_BROKER_MESSAGE_EXPIRATION_H

#include "base/status.h"
#include "store/content.h"

/* Milliseconds as decimal digits, at most ten years; a sign is read, as RabbitMQ does.
 * `*expiration_out` as in struct logged_message (enqueue.h). STATUS_FAULT: 406, in RabbitMQ's
 * words. */
MUST_CHECK enum status expiration_read(struct bytes text, uint64_t *expiration_out,
                                       struct fault *fault);

/* The expiration of a content that has passed the checks of a publish, as in logged_message. */
uint64_t content_expiration(const struct content *content);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* What publishing at once shares with tx.commit and with dead letters. */
#ifndef BOURSE_BROKER_PUBLISHING_PUBLISH_H
#define BOURSE_BROKER_PUBLISHING_PUBLISH_H

#include "amqp/properties.h"
#include "base/status.h"
#include "broker/channels/channel.h"
#include "broker/message/expiration.h"
#include "broker/publishing/enqueue.h"

/* Keys that the headers CC and BCC may name together. */
enum { PUBLISH_HEADER_KEYS_MAX = 64 };

/* Adds the keys that one of the headers CC and BCC names behind those in `keys` (room for 1 +
 * PUBLISH_HEADER_KEYS_MAX); items that are no strings are skipped. STATUS_FAULT: 406, too many, or
 * the header is no array; never for a message that was published. */
MUST_CHECK enum status publish_collect_keys(struct bytes headers, const char *name,
                                            struct bytes *keys, uint32_t *key_count,
                                            struct fault *fault);

/* Sends basic.return 312 NO_ROUTE with the message to its publisher. */
void channel_return_message(struct channel *channel, struct content_ref content);

/* 506 at connection scope: the machine has no memory for what the peer sends. */
enum status fault_no_memory(struct fault *fault);

/* What a message that could not be written down is answered with: STATUS_FULL is 406, for it
 * reaches more queues than a segment of the log can name; STATUS_NO_MEMORY is 506. */
enum status fault_not_logged(struct fault *fault, enum status status);

#endif

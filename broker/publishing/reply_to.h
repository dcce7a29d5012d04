/* SPDX-License-Identifier: Apache-2.0 */
/* Direct reply-to, the part that publishing needs: a request's reply-to becomes a name that only
 * its receivers learn, and a message published under that name goes straight to the channel that
 * asked, through no queue. */
#ifndef BOURSE_BROKER_PUBLISHING_REPLY_TO_H
#define BOURSE_BROKER_PUBLISHING_REPLY_TO_H

#include "broker/channels/channel.h"

enum { REPLY_NAME_SIZE = 64 };

/* Writes the name under which replies reach the channel ("amq.rabbitmq.reply-to.TOKEN") and returns
 * a view of it. The channel has a reply consumer. */
struct bytes channel_reply_name(const struct channel *channel, char out[static REPLY_NAME_SIZE]);

/* The channel in the publisher's own vhost that waits for replies under `name`, or NULL. */
struct channel *channel_find_requester(const struct channel *publisher, struct bytes name);

/* Delivers a reply; at most once, with no buffering: false when the requester takes no more at the
 * moment because it does not read its socket. */
bool channel_deliver_reply(struct channel *requester, struct bytes name, struct content_ref ref);

#endif

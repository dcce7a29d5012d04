/* SPDX-License-Identifier: Apache-2.0 */
/* What a channel must not say before the log is committed up to a point: confirms, and answers to
 * changes of durable things. They leave in the order in which they were made; whatever else the
 * channel sends meanwhile queues up behind a waiting answer, so that answers never overtake each
 * other. */
#ifndef BOURSE_BROKER_CHANNELS_COMMIT_WAIT_H
#define BOURSE_BROKER_CHANNELS_COMMIT_WAIT_H

#include "broker/channels/channel.h"

/* More than this waits on the channels of a connection, and it is not read until some has left. */
enum { COMMIT_WAITS_MAX = 1024 };

/* Publishes up to `number` are confirmed once `token` is committed; at once when nothing stands in
 * the way. */
void channel_confirm_after(struct channel *channel, uint64_t number, uint64_t token);

/* The same with a basic.nack: the publishes behind those that were answered, up to `number`, were
 * refused. Waits for nothing but what waits already. */
void channel_refuse_after(struct channel *channel, uint64_t number);

/* Sends the method once `token` is committed, behind what waits already. */
void channel_send_after(struct channel *channel, const struct method *method, uint64_t token);

/* Sends what was waiting for a commit that has come. */
void channel_on_commit(struct channel *channel);

/* Forgets everything: the channel is gone, or will say nothing more. */
void channel_drop_waits(struct channel *channel);

#endif

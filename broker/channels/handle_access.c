/* SPDX-License-Identifier: Apache-2.0 */
/* Class access, obsolete since AMQP 0-9-1: old clients ask for a ticket, which nothing ever looks
 * at again. */
#include "broker/channels/channel.h"

enum status
channel_handle_access_request(struct channel *channel, const struct access_request *args,
                              struct fault *fault)
{
    (void)args;
    (void)fault;
    struct method answer = {.id = METHOD_ACCESS_REQUEST_OK, .access_request_ok = {.ticket = 1}};
    channel_send(channel, &answer);
    return STATUS_OK;
}

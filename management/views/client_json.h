/* SPDX-License-Identifier: Apache-2.0 */
/* Connections and channels as the interface shows them, with RabbitMQ's fields; consumers are in
 * queue_json.h. The context of a list is the node's name. */
#ifndef BOURSE_MANAGEMENT_VIEWS_CLIENT_JSON_H
#define BOURSE_MANAGEMENT_VIEWS_CLIENT_JSON_H

#include "broker/survey/client_survey.h"
#include "management/views/list_page.h"

/* Lists of struct survey_connection, survey_channel and survey_subscription. */
extern const struct list_kind connection_list_kind;
extern const struct list_kind channel_list_kind;
extern const struct list_kind subscription_list_kind;

/* The members of a channel's object, without the braces. */
void channel_write_members(struct json_writer *json, const struct survey_channel *channel,
                           const char *node);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* How a broker is, by what it says of itself: for `bourse doctor`. */
#ifndef BOURSE_CLI_DOCTOR_DOCTOR_BROKER_H
#define BOURSE_CLI_DOCTOR_DOCTOR_BROKER_H

#include <jansson.h>

#include "cli/client/client.h"

/* Adds findings about descriptors, memory and disk. `node` is an object of /api/nodes. */
void doctor_judge_node(json_t *findings, const json_t *node);

/* Adds one for each item of /api/bourse/attention, up to DOCTOR_ITEMS_MAX of them. */
enum { DOCTOR_ITEMS_MAX = 20 };
void doctor_judge_attention(json_t *findings, const json_t *attention);

/* Asks the broker, and adds all of that. */
void doctor_ask_broker(json_t *findings, struct client *client);

#endif

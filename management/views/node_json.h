/* SPDX-License-Identifier: Apache-2.0 */
/* This broker as RabbitMQ's API shows a node, and what of that stands in the overview, too. */
#ifndef BOURSE_MANAGEMENT_VIEWS_NODE_JSON_H
#define BOURSE_MANAGEMENT_VIEWS_NODE_JSON_H

#include "broker/survey/survey.h"
#include "management/http/server.h"
#include "management/json/json_writer.h"

/* "exchange_types": [...], "listeners": [...], "contexts": [...]. */
void put_exchange_types(struct json_writer *json);
void put_listeners(struct json_writer *json, const struct management *management);
void put_contexts(struct json_writer *json, const struct management *management);

/* The node's object. */
void node_write(struct json_writer *json, const struct management *management,
                const struct core_survey *survey);

/* What it uses memory for: {"memory": {...}}. */
void node_write_memory(struct json_writer *json, const struct core_survey *survey);

/* One of the addresses that are listened at, of all protocols; false behind the last. */
struct listener_row {
    const char *protocol; /* "amqp", "amqp/ssl", "http", "https", "http/prometheus" */
    const char *host;
    uint16_t port;
    bool is_tls;
};
struct listener_walk {
    size_t broker_position, management_position;
};
bool listener_next(const struct management *management, struct listener_walk *walk,
                   struct listener_row *row_out);

#endif

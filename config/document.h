/* SPDX-License-Identifier: Apache-2.0 */
/* What configuration files say, word for word: one struct per kind of map in them, each with the
 * table that reads it. Values are checked one by one, not yet against each other. */
#ifndef BOURSE_CONFIG_DOCUMENT_H
#define BOURSE_CONFIG_DOCUMENT_H

#include "config/schema.h"

struct document_log {
    const struct node *node;
    struct setting format; /* enum log_format */
    struct setting level;  /* enum log_level */
};

struct document_server {
    const struct node *node;
    struct setting data_dir;
    struct setting threads;
    struct setting memory;
    struct setting disk_free;
    struct setting segment_size;
    struct setting max_message_size;
    struct setting frame_max;
    struct setting channel_max;
    struct setting heartbeat;
    struct document_log log;
    struct setting control_socket;
    struct setting rabbitmq_version;
};

/* Of a vhost: connections and queues; of a user: connections and channels. */
struct document_limits {
    const struct node *node;
    struct setting max_connections;
    struct setting max_queues;
    struct setting max_channels;
};

struct document_binding {
    const struct node *node;
    struct setting exchange;
    struct setting key;
    const struct node *arguments;
};

struct document_exchange {
    struct named named;
    struct setting type; /* enum document_exchange_type */
    struct setting durable;
    struct setting auto_delete;
    struct setting internal;
    struct record_list from; /* struct document_binding */
    struct setting unrouted;
    const struct node *arguments;
};

enum document_exchange_type {
    EXCHANGE_TYPE_DIRECT,
    EXCHANGE_TYPE_FANOUT,
    EXCHANGE_TYPE_TOPIC,
    EXCHANGE_TYPE_HEADERS,
    EXCHANGE_TYPE_CONSISTENT_HASH,
    EXCHANGE_TYPE_MODULUS_HASH,
    EXCHANGE_TYPE_RANDOM,
    EXCHANGE_TYPE_DELAYED,
};

struct document_retry {
    struct named named; /* a name only in the section `retry` */
    struct setting first;
    struct setting factor;
    struct setting max;
    struct setting jitter;
    struct setting attempts;
    struct setting max_age;
    struct setting_list counts;
    struct setting order;
    struct setting then;
};

struct document_queue_limits {
    const struct node *node;
    struct setting max_length;
    struct setting max_bytes;
    struct setting on_full; /* enum document_on_full */
};

enum document_on_full { ON_FULL_REJECT, ON_FULL_DROP_OLDEST, ON_FULL_DEAD_LETTER };

struct document_consumers {
    const struct node *node;
    struct setting single_active;
};

struct document_dead_letter {
    const struct node *node;
    struct setting exchange; /* empty: the default exchange */
    struct setting key;
};

struct document_alert {
    const struct node *node;
    struct setting ready_above;
    struct setting oldest_above;
};

struct document_queue {
    struct named named;
    struct record_list from; /* struct document_binding */
    struct setting type;
    struct setting durable;
    struct document_queue_limits limits;
    struct setting ttl;
    struct setting expires;
    struct setting priorities;
    struct document_consumers consumers;
    struct setting ack_timeout;
    struct setting release_rate;
    struct choice retry; /* struct document_retry */
    struct document_dead_letter dead_letter;
    struct document_alert alert;
    const struct node *arguments;
};

struct document_policy {
    struct named named;
    struct setting pattern;
    struct setting apply_to;
    struct setting priority;
    const struct node *definition;
};

/* Expressions on the keys of one topic exchange. */
struct document_topic_rights {
    struct named named;
    struct setting write;
    struct setting read;
};

struct document_rights {
    const struct node *node;
    struct setting configure;
    struct setting write;
    struct setting read;
    struct named_list topics; /* struct document_topic_rights */
};

struct document_user {
    struct named named;
    struct setting auth; /* enum config_auth */
    struct setting password_file;
    struct setting password_env;
    struct setting password_hash;
    struct setting_list publish;
    struct setting_list consume;
    struct named_list topics; /* struct named_literals */
    struct document_rights rights;
    struct setting role; /* enum config_role */
    struct document_limits limits;
};

struct document_tls {
    const struct node *node;
    struct setting certificate;
    struct setting key;
    struct setting client_ca;
    struct setting client_crl;
    struct setting ocsp;
    struct setting client_cert; /* enum config_client_cert */
    struct setting user_from;   /* enum config_user_from */
    struct setting min_version; /* 0x0303 or 0x0304 */
};

struct document_listener {
    const struct node *node;
    struct setting_list bind;
    struct choice tls; /* struct document_tls; a name is "same-as LISTENER" */
    struct setting_list proxy_protocol;
};

struct document_listeners {
    const struct node *node;
    struct document_listener kinds[LISTENER_KIND_COUNT];
};

struct document_defaults {
    const struct node *node;
    struct document_exchange exchange;
    struct document_queue queue;
};

/* All files together. `schema`, `vhost` and `defaults` are of the file that was read last. */
struct document {
    const struct node *node;
    struct setting schema;
    struct setting vhost;
    struct document_defaults defaults;
    struct document_server server;
    struct document_limits limits;
    struct named_list exchanges;         /* struct document_exchange */
    struct named_list retry;             /* struct document_retry */
    struct named_list queues;            /* struct document_queue */
    struct named_list policies;          /* struct document_policy */
    struct named_list operator_policies; /* struct document_policy */
    struct named_list users;             /* struct document_user */
    struct document_listeners listeners;
    struct setting_list protect;
    size_t file_count;
    struct setting vhost_given; /* the vhost of all files, where one of them says it */
};

/* Adds the file whose tree is `root` to `document`: reads it by the tables and lays its defaults
 * under its exchanges and queues. Problems go to the config's report. */
void document_add(struct config *config, struct document *document, const struct node *root);

void document_fini(struct document *document);

/* The table of the whole file, from which all others are reached. */
const struct record_spec *document_schema(void);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* The objects of a broker as RabbitMQ's and LavinMQ's definitions.json list them, in no language:
 * read from JSON (definitions_read.h), from configuration files
 * (cli/definitions/definitions_config.h) or from a running broker, and written as JSON
 * (definitions_write.h), YAML and more (cli). Several vhosts stand side by side. Arguments are
 * table bodies. Texts are the arena's. */
#ifndef BOURSE_MANAGEMENT_DEFINITIONS_DEFINITIONS_H
#define BOURSE_MANAGEMENT_DEFINITIONS_DEFINITIONS_H

#include "base/alloc.h"
#include "base/bytes.h"
#include "base/map.h"
#include "config/config.h"

#include <stdint.h>

enum definitions_hash {
    DEFINITIONS_NO_HASH, /* none, or an empty one: no login by password */
    DEFINITIONS_SCRYPT,  /* ours */
    DEFINITIONS_SHA256,
    DEFINITIONS_SHA512,
    DEFINITIONS_MD5,     /* what RabbitMQ made before 3.6; a topology file does not take it */
    DEFINITIONS_FOREIGN, /* bcrypt, or none that is known here: it cannot be checked; or the
                            password stands in a file or a variable, and there is no hash of it */
};

struct definitions_user {
    struct bytes name;
    enum definitions_hash hash_kind;
    struct bytes hash;  /* as it stood there */
    struct bytes *tags; /* "administrator" */
    size_t tag_count;
    int64_t connections_max, channels_max; /* -1: none */
};

struct definitions_vhost {
    struct bytes name;
    const char *description, *tags, *default_queue_type; /* tags with commas; NULL: not said */
    int64_t connections_max, queues_max;                 /* -1: none */
};

struct definitions_permission {
    struct bytes user, vhost;
    const char *configure, *write, *read;
};

struct definitions_topic_permission {
    struct bytes user, vhost, exchange;
    const char *write, *read;
};

struct definitions_policy {
    struct bytes vhost, name, pattern;
    const char *apply_to;
    int32_t priority;
    bool is_operator;
    struct bytes definition;
};

/* A global one. */
struct definitions_parameter {
    struct bytes name, value; /* JSON */
};

struct definitions_exchange {
    struct bytes vhost, name;
    const char *type;
    bool durable, auto_delete, internal;
    bool is_protected; /* a word of ours: it stands under `protect` */
    struct bytes arguments;
};

struct definitions_queue {
    struct bytes vhost, name;
    bool durable, auto_delete;
    bool is_protected;         /* like that of an exchange */
    struct config_alert alert; /* ours, too */
    struct bytes arguments;    /* x-queue-type included */
};

struct definitions_binding {
    struct bytes vhost, source, destination, routing_key;
    bool to_exchange;
    struct bytes arguments;
};

/* An array that grows in the arena. */
#define DEFINITIONS_LIST(type)                                                                     \
    struct {                                                                                       \
        type *items;                                                                               \
        size_t count, capacity;                                                                    \
    }

struct definitions {
    struct arena arena; /* owns everything below */
    DEFINITIONS_LIST(struct definitions_user) users;
    DEFINITIONS_LIST(struct definitions_vhost) vhosts;
    struct map vhost_places; /* size_t by name: where in `vhosts` it was put */
    DEFINITIONS_LIST(struct definitions_permission) permissions;
    DEFINITIONS_LIST(struct definitions_topic_permission) topic_permissions;
    DEFINITIONS_LIST(struct definitions_parameter) parameters;
    DEFINITIONS_LIST(struct definitions_policy) policies;
    DEFINITIONS_LIST(struct definitions_exchange) exchanges;
    DEFINITIONS_LIST(struct definitions_queue) queues;
    DEFINITIONS_LIST(struct definitions_binding) bindings;
    DEFINITIONS_LIST(const char *) warnings; /* what could not be taken over, one sentence each */
};

void definitions_init(struct definitions *definitions);
void definitions_fini(struct definitions *definitions);

/* Room for one more in a list, zeroed; a macro because the lists have different types. */
#define definitions_add(definitions, list)                                                         \
    ((list)->count == (list)->capacity                                                             \
         ? ((list)->items = definitions_grow((definitions), (list)->items, &(list)->capacity,      \
                                             sizeof(*(list)->items)))                              \
         : (list)->items,                                                                          \
     &(list)->items[(list)->count++])
void *definitions_grow(struct definitions *definitions, void *items, size_t *capacity,
                       size_t item_size);

/* Notes something that could not be taken over; cut to 500 octets, control characters replaced. */
void definitions_warn(struct definitions *definitions, const char *format, ...) PRINTF_LIKE(2, 3);

/* The vhost of that name, or NULL; definitions_put_vhost makes it if it is missing. */
struct definitions_vhost *definitions_find_vhost(const struct definitions *definitions,
                                                 struct bytes name);
struct definitions_vhost *definitions_put_vhost(struct definitions *definitions, struct bytes name);

/* What kind of password hash it is, by its form. */
enum definitions_hash definitions_hash_kind(struct bytes hash);

/* What RabbitMQ calls the algorithm of such a hash; its default where there is none that is known.
 */
const char *definitions_hash_algorithm(enum definitions_hash kind);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* One validated struct from YAML and flags: server settings, listeners, the topology of one vhost
 * and its users. Reading reports every error of a file in one run, each with file, line and column;
 * a struct with errors is never used. Words of the file are compiled here to what the broker
 * speaks: x-arguments (table bodies) and permission expressions. */
#ifndef BOURSE_CONFIG_CONFIG_H
#define BOURSE_CONFIG_CONFIG_H

#include "base/alloc.h"
#include "base/bytes.h"
#include "base/cidr.h"
#include "base/log.h"

#include <stdint.h>

/* Where something stands in a file; lines and columns count from 1. */
struct config_mark {
    const char *file;
    uint32_t line;
    uint32_t column;
};

enum config_severity { CONFIG_ERROR, CONFIG_WARNING };

struct config_diagnostic {
    enum config_severity severity;
    struct config_mark mark;
    const char *text; /* what is wrong and what to do */
};

struct config_report {
    struct config_diagnostic *items; /* in order of line; in the config's arena */
    size_t count;
    size_t capacity;
    size_t error_count; /* those that `items` had no room for included */
    size_t left_out;    /* diagnostics beyond the first thousand */
};

struct config_address {
    const char *text; /* "ADDR:PORT" as given; IPv6 in brackets */
    const char *host;
    uint16_t port; /* 0: the system picks one */
    int passed_fd; /* a socket that listens there already, for whoever opens the listeners; 0: none.
                      Only cli/ says so */
    struct config_mark mark;
};

enum config_client_cert { CLIENT_CERT_NONE, CLIENT_CERT_REQUEST, CLIENT_CERT_REQUIRE };
enum config_user_from {
    USER_FROM_CN,
    USER_FROM_DN,
    USER_FROM_SAN_DNS,
    USER_FROM_SAN_EMAIL,
    USER_FROM_SAN_URI, /* the last path segment */
};

/* Paths are resolved against the file's folder. NULL: not given. */
struct config_tls {
    const char *certificate;
    const char *key;
    const char *client_ca;
    const char *client_crl;
    const char *ocsp;
    enum config_client_cert client_cert;
    enum config_user_from user_from;
    uint16_t min_version; /* 0x0303 TLS 1.2 or 0x0304 TLS 1.3 */
    struct config_mark mark;
};

enum config_listener_kind {
    LISTENER_AMQP,
    LISTENER_AMQPS,
    LISTENER_HTTP,
    LISTENER_HTTPS,
    LISTENER_METRICS,
    LISTENER_KIND_COUNT,
};

struct config_listener {
    bool enabled;
    struct config_address *addresses;
    size_t address_count;
    const struct config_tls *tls; /* NULL: plain; `same-as` points at the other's */
    struct cidr *proxies;         /* who may connect, behind a PROXY header; NULL: everybody */
    size_t proxy_count;
    struct config_mark mark;
};

struct config_server {
    const char *data_dir;
    bool is_ephemeral;        /* nothing is written; only the command line says so */
    uint32_t threads;         /* 0: by the number of cores */
    uint64_t memory_bytes;    /* the memory mark; 0: see memory_percent */
    uint32_t memory_percent;  /* of RAM or of the cgroup limit; 0: see memory_bytes */
    uint64_t disk_free_bytes; /* 0: see disk_free_percent; both 0: the default */
    uint32_t disk_free_percent;
    uint64_t segment_bytes;
    uint64_t message_bytes_max;
    uint32_t frame_max;
    uint16_t channel_max;
    uint16_t heartbeat_s;
    enum log_level log_level;
    enum log_format log_format;
    const char *control_socket; /* NULL: bourse.sock in the data directory */
    const char *rabbitmq_version;
};

/* Who says so, in the place of a file. */
#define CONFIG_COMMAND_LINE "command line"

/* Where the settings of the server are given; `file` is NULL where nobody does. */
struct config_server_marks {
    struct config_mark data_dir, threads, memory, disk_free, segment_size, max_message_size,
        frame_max, channel_max, heartbeat, control_socket, rabbitmq_version;
};

struct config_exchange {
    struct bytes name;
    const char *type;
    bool durable;
    bool auto_delete;
    bool internal;
    bool is_protected;                 /* stands under `protect` */
    struct bytes arguments;            /* table body; holds alternate-exchange for `unrouted` */
    struct config_mark arguments_mark; /* of `arguments`; of the name where they are not given */
    struct config_mark mark;
};

/* Where the file says something about an argument, by a word or by its name. */
struct config_argument {
    struct bytes name; /* "x-message-ttl" */
    struct config_mark mark;
};

/* What is worth somebody's attention: `alert` of a queue. */
struct config_alert {
    bool has_ready, has_oldest; /* false: no limit of that kind */
    int64_t ready_above;        /* messages */
    int64_t oldest_above_ms;
};

struct config_queue {
    struct bytes name;
    bool durable;
    bool is_protected; /* stands under `protect` */
    struct config_alert alert;
    struct bytes
        arguments; /* table body with every word compiled to its x-argument, integers as l */
    struct config_argument *argument_marks; /* of those that the file gives */
    size_t argument_count;
    bool has_errors; /* that were reported: no more is to be said about its arguments */
    struct config_mark mark;
};

struct config_binding {
    struct bytes source; /* exchange */
    struct bytes destination;
    bool to_exchange; /* destination is an exchange, else a queue */
    struct bytes routing_key;
    struct bytes arguments;            /* table body */
    struct config_mark key_mark;       /* of the key, or of the binding where it has none */
    struct config_mark arguments_mark; /* of x-match, or else the arguments, or else the binding */
    struct config_mark mark;
};

/* One key of a policy's definition. */
struct config_policy_key {
    struct bytes name;
    struct config_mark mark;       /* of the key */
    struct config_mark value_mark; /* of what stands behind it */
};

struct config_policy {
    struct bytes name;
    bool is_operator;
    struct bytes pattern;
    struct config_mark pattern_mark;
    const char *apply_to; /* "classic_queues" */
    int32_t priority;
    struct bytes definition; /* table body; the keys are in the order of `keys` */
    struct config_policy_key *keys;
    size_t key_count;
    struct config_mark mark;
};

enum config_auth { AUTH_PASSWORD, AUTH_CERTIFICATE };
enum config_role { ROLE_NONE, ROLE_MONITOR, ROLE_OPERATOR, ROLE_ADMIN };

struct config_topic_right {
    struct bytes exchange;
    const char *write; /* expression on the publish key */
    const char *read;  /* expression on the binding key; ".*" when the file does not say */
};

struct config_user {
    struct bytes name;
    enum config_auth auth;
    const char *password;      /* clear text from password-file or password-env; NULL otherwise */
    const char *password_hash; /* PHC scrypt or RabbitMQ's base64 form; NULL otherwise */
    bool keeps_password; /* the file does not say it here: what the broker knows of it stays */
    enum config_role role;
    const char *configure; /* permission expressions, searched as RabbitMQ's; "" allows nothing */
    const char *write;
    const char *read;
    struct config_mark rights_mark; /* of `rights`; of the user when words stand for them */
    struct config_topic_right *topics;
    size_t topic_count;
    int64_t connections_max; /* -1: none */
    int64_t channels_max;
    bool loopback_only; /* only the development user */
    struct config_mark mark;
};

/* A file as it was read, without its secrets: the value of every `password-hash` is replaced by
 * CONFIG_KEPT_SECRET, and names of files and variables are no secrets. Comments stay. */
struct config_source {
    const char *name; /* its path as it was given */
    struct bytes text;
};

/* Stands for a `password-hash` that the broker has and the text has not. */
#define CONFIG_KEPT_SECRET "(kept)"

struct config {
    struct arena arena;  /* owns everything below */
    bool is_development; /* no file: guest/guest from loopback on 127.0.0.1:5672 */
    struct config_report report;
    struct config_server server;
    struct config_server_marks server_marks;
    struct config_listener listeners[LISTENER_KIND_COUNT];
    struct bytes vhost;
    int64_t connections_max; /* of the vhost; -1: none */
    int64_t queues_max;
    struct config_exchange *exchanges;
    size_t exchange_count;
    struct config_queue *queues;
    size_t queue_count;
    struct config_binding *bindings;
    size_t binding_count;
    struct config_policy *policies; /* operator policies are among them */
    size_t policy_count;
    struct config_user *users;
    size_t user_count;
    struct config_source *sources; /* the files; none in development mode */
    size_t source_count;
};

/* What the reader asks of the machine; tests fill in their own. */
struct config_environment {
    const char *(*get_variable)(void *context, const char *name); /* as getenv */
    void *context;
};
struct config_environment config_environment_system(void);

/* How strict the reader is about certificate and secret files that cannot be read here. */
enum config_purpose {
    CONFIG_FOR_CHECK, /* a warning: the file may be checked on another machine */
    CONFIG_FOR_SERVE, /* an error */
    CONFIG_FOR_APPLY, /* none is looked at: a text for a broker that runs; passwords that are not in
                         it are kept as the broker knows them */
};

/* The configuration without a file: development mode. Never fails. */
struct config *config_new_development(void);

/* Reads and validates one or more files that merge into one configuration. Always returns a config;
 * use it only when report.error_count is 0. An object named in two files is an error. */
struct config *config_read(const char *const *paths, size_t path_count, enum config_purpose purpose,
                           const struct config_environment *environment);

/* As config_read for one file whose octets are at hand (`path` names it in messages and is what
 * relative paths start from). */
struct config *config_read_text(const char *path, struct bytes text, enum config_purpose purpose,
                                const struct config_environment *environment);

/* The same for several texts that merge; `sources` are borrowed for the call. */
struct config *config_read_sources(const struct config_source *sources, size_t count,
                                   enum config_purpose purpose,
                                   const struct config_environment *environment);

void config_free(struct config **config); /* wipes clear-text passwords first */

/* Parses "ADDR:PORT" ("[::1]:5672", "127.0.0.1:0"); false with a reason in `*why_out` (static). */
bool config_parse_address(const char *text, char host_out[static 64], uint16_t *port_out,
                          const char **why_out);

/* Puts `text` (ADDR:PORT) in place of the addresses of a listener, switching it on, or switches it
 * off ("off"). False with a reason when the text is no address, or when a listener that is always
 * TLS has no certificate in the file. */
bool config_override_listener(struct config *config, enum config_listener_kind kind,
                              const char *text, const char **why_out);

/* What a listener is called in the file. */
const char *config_listener_name(enum config_listener_kind kind);

/* "FILE:LINE:COL: error: TEXT", NUL-terminated, cut to fit. */
const char *config_diagnostic_text(const struct config_diagnostic *diagnostic, char *out,
                                   size_t out_size);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* The schema as tables. Each row is one key of docs/configuration.md. */
#include "config/document.h"

#include <stdlib.h>

#include "base/assert.h"
#include "config/report.h"

/* Ten years in milliseconds: the longest time RabbitMQ's arguments take. */
#define TEN_YEARS_MS INT64_C(315360000000)
#define KIB INT64_C(1024)
#define MIB (KIB * 1024)
#define GIB (MIB * 1024)

#define FIELDS(table) .fields = (table), .count = ARRAY_LEN(table)

/* Words -------------------------------------------------------------------------------------- */

static const struct literal_word log_formats[] = {
    {"logfmt", LOG_FORMAT_LOGFMT}, {"json", LOG_FORMAT_JSON}, {NULL, 0}};

static const struct literal_word log_levels[] = {{"error", LOG_LEVEL_ERROR},
                                                 {"warn", LOG_LEVEL_WARN},
                                                 {"info", LOG_LEVEL_INFO},
                                                 {"debug", LOG_LEVEL_DEBUG},
                                                 {NULL, 0}};

static const struct literal_word exchange_types[] = {
    {"direct", EXCHANGE_TYPE_DIRECT},
    {"fanout", EXCHANGE_TYPE_FANOUT},
    {"topic", EXCHANGE_TYPE_TOPIC},
    {"headers", EXCHANGE_TYPE_HEADERS},
    {"x-consistent-hash", EXCHANGE_TYPE_CONSISTENT_HASH},
    {"x-modulus-hash", EXCHANGE_TYPE_MODULUS_HASH},
    {"x-random", EXCHANGE_TYPE_RANDOM},
    {"x-delayed-message", EXCHANGE_TYPE_DELAYED},
    {NULL, 0},
};

static const struct literal_word queue_types[] = {{"classic", 0}, {"quorum", 0}, {NULL, 0}};

static const struct literal_word jitter_words[] = {{"full", 100}, {NULL, 0}};

static const struct literal_word retry_counts[] = {
    {"nack", 0}, {"reject", 0}, {"lost", 0}, {"timeout", 0}, {NULL, 0}};

static const struct literal_word retry_orders[] = {{"free", 0}, {"hold", 0}, {NULL, 0}};

static const struct literal_word on_full_words[] = {{"reject", ON_FULL_REJECT},
                                                    {"drop-oldest", ON_FULL_DROP_OLDEST},
                                                    {"dead-letter", ON_FULL_DEAD_LETTER},
                                                    {NULL, 0}};

static const struct literal_word policy_targets[] = {
    {"all", 0},           {"queues", 0},  {"exchanges", 0}, {"classic_queues", 0},
    {"quorum_queues", 0}, {"streams", 0}, {NULL, 0}};

static const struct literal_word auths[] = {
    {"password", AUTH_PASSWORD}, {"cert", AUTH_CERTIFICATE}, {NULL, 0}};

static const struct literal_word roles[] = {{"none", ROLE_NONE},
                                            {"monitor", ROLE_MONITOR},
                                            {"operator", ROLE_OPERATOR},
                                            {"admin", ROLE_ADMIN},
                                            {NULL, 0}};

static const struct literal_word client_certs[] = {{"none", CLIENT_CERT_NONE},
                                                   {"request", CLIENT_CERT_REQUEST},
                                                   {"require", CLIENT_CERT_REQUIRE},
                                                   {NULL, 0}};

static const struct literal_word user_sources[] = {
    {"cn", USER_FROM_CN},           {"dn", USER_FROM_DN},
    {"san-dns", USER_FROM_SAN_DNS}, {"san-email", USER_FROM_SAN_EMAIL},
    {"san-uri", USER_FROM_SAN_URI}, {NULL, 0}};

static const struct literal_word tls_versions[] = {{"1.2", 0x0303}, {"1.3", 0x0304}, {NULL, 0}};

/* Rows --------------------------------------------------------------------------------------- */

/* A row whose value is one literal: KEY, flags, struct, member, then the rule. */
#define LITERAL(key, flag, owner, member, ...)                                                     \
    {                                                                                              \
        .name = (key), .kind = FIELD_LITERAL, .flags = (flag), .offset = offsetof(owner, member),  \
        .rule = {.type = __VA_ARGS__},                                                             \
    }
#define LITERALS(key, flag, owner, member, ...)                                                    \
    {                                                                                              \
        .name = (key), .kind = FIELD_LITERALS, .flags = (flag), .offset = offsetof(owner, member), \
        .rule = {.type = __VA_ARGS__},                                                             \
    }
#define NESTED(key, field_kind, flag, owner, member, spec)                                         \
    {                                                                                              \
        .name = (key), .kind = (field_kind), .flags = (flag), .offset = offsetof(owner, member),   \
        .record = (spec),                                                                          \
    }
#define RAW(key, flag, owner, member)                                                              \
    {                                                                                              \
        .name = (key), .kind = FIELD_RAW, .flags = (flag), .offset = offsetof(owner, member),      \
    }

static const struct field_spec log_fields[] = {
    LITERAL("format", 0, struct document_log, format, LITERAL_WORD, .words = log_formats),
    LITERAL("level", 0, struct document_log, level, LITERAL_WORD, .words = log_levels),
};
static const struct record_spec log_spec = {"log", sizeof(struct document_log), FIELDS(log_fields)};

#define SERVER struct document_server
static const struct field_spec server_fields[] = {
    LITERAL("data-dir", 0, SERVER, data_dir, LITERAL_TEXT),
    LITERAL("threads", 0, SERVER, threads, LITERAL_INTEGER, 1, 64),
    LITERAL("memory", 0, SERVER, memory, LITERAL_SIZE_OR_PERCENT, 1),
    LITERAL("disk-free", 0, SERVER, disk_free, LITERAL_SIZE_OR_PERCENT, 1),
    LITERAL("segment-size", 0, SERVER, segment_size, LITERAL_SIZE, 64 * KIB, 4 * GIB),
    LITERAL("max-message-size", 0, SERVER, max_message_size, LITERAL_SIZE, 1, 512 * MIB),
    LITERAL("frame-max", 0, SERVER, frame_max, LITERAL_SIZE, 4 * KIB, 16 * MIB),
    LITERAL("channel-max", 0, SERVER, channel_max, LITERAL_INTEGER, 1, 65535),
    LITERAL("heartbeat", 0, SERVER, heartbeat, LITERAL_DURATION, 0, 65535000),
    NESTED("log", FIELD_RECORD, FIELD_SHARED, SERVER, log, &log_spec),
    LITERAL("control-socket", 0, SERVER, control_socket, LITERAL_TEXT),
    LITERAL("rabbitmq-version", 0, SERVER, rabbitmq_version, LITERAL_TEXT),
};
static const struct record_spec server_spec = {"server", sizeof(SERVER), FIELDS(server_fields)};

#define LIMITS struct document_limits
static const struct field_spec vhost_limit_fields[] = {
    LITERAL("max-connections", 0, LIMITS, max_connections, LITERAL_INTEGER),
    LITERAL("max-queues", 0, LIMITS, max_queues, LITERAL_INTEGER),
};
static const struct record_spec vhost_limits_spec = {"limits", sizeof(LIMITS),
                                                     FIELDS(vhost_limit_fields)};

static const struct field_spec user_limit_fields[] = {
    LITERAL("max-connections", 0, LIMITS, max_connections, LITERAL_INTEGER),
    LITERAL("max-channels", 0, LIMITS, max_channels, LITERAL_INTEGER),
};
static const struct record_spec user_limits_spec = {"limits", sizeof(LIMITS),
                                                    FIELDS(user_limit_fields)};

#define BINDING struct document_binding
static const struct field_spec binding_fields[] = {
    LITERAL("exchange", FIELD_REQUIRED, BINDING, exchange, LITERAL_NAME),
    LITERAL("key", 0, BINDING, key, LITERAL_KEY),
    RAW("arguments", 0, BINDING, arguments),
};
static const struct record_spec binding_spec = {"binding", sizeof(BINDING), FIELDS(binding_fields)};

#define EXCHANGE struct document_exchange
static const struct field_spec exchange_fields[] = {
    LITERAL("type", 0, EXCHANGE, type, LITERAL_WORD, .words = exchange_types),
    LITERAL("durable", 0, EXCHANGE, durable, LITERAL_BOOLEAN),
    LITERAL("auto-delete", 0, EXCHANGE, auto_delete, LITERAL_BOOLEAN),
    LITERAL("internal", 0, EXCHANGE, internal, LITERAL_BOOLEAN),
    NESTED("from", FIELD_RECORDS, 0, EXCHANGE, from, &binding_spec),
    LITERAL("unrouted", 0, EXCHANGE, unrouted, LITERAL_NAME),
    RAW("arguments", 0, EXCHANGE, arguments),
};
static const struct record_spec exchange_spec = {"exchange", sizeof(EXCHANGE),
                                                 FIELDS(exchange_fields)};

#define RETRY struct document_retry
static const struct field_spec retry_fields[] = {
    LITERAL("first", FIELD_REQUIRED, RETRY, first, LITERAL_DURATION, 1, TEN_YEARS_MS),
    LITERAL("factor", 0, RETRY, factor, LITERAL_NUMBER, 1, 1000),
    LITERAL("max", 0, RETRY, max, LITERAL_DURATION, 1, TEN_YEARS_MS),
    LITERAL("jitter", 0, RETRY, jitter, LITERAL_PERCENT, .words = jitter_words),
    LITERAL("attempts", 0, RETRY, attempts, LITERAL_INTEGER, 1, 1000000),
    LITERAL("max-age", 0, RETRY, max_age, LITERAL_DURATION, 1, TEN_YEARS_MS),
    LITERALS("counts", 0, RETRY, counts, LITERAL_WORD, .words = retry_counts),
    LITERAL("order", 0, RETRY, order, LITERAL_WORD, .words = retry_orders),
    LITERAL("then", 0, RETRY, then, LITERAL_NAME),
};
static const struct record_spec retry_spec = {"retry", sizeof(RETRY), FIELDS(retry_fields)};

#define QUEUE_LIMITS struct document_queue_limits
static const struct field_spec queue_limit_fields[] = {
    LITERAL("max-length", 0, QUEUE_LIMITS, max_length, LITERAL_INTEGER),
    LITERAL("max-bytes", 0, QUEUE_LIMITS, max_bytes, LITERAL_SIZE),
    LITERAL("on-full", 0, QUEUE_LIMITS, on_full, LITERAL_WORD, .words = on_full_words),
};
static const struct record_spec queue_limits_spec = {"limits", sizeof(QUEUE_LIMITS),
                                                     FIELDS(queue_limit_fields)};

static const struct field_spec consumers_fields[] = {
    LITERAL("single-active", 0, struct document_consumers, single_active, LITERAL_BOOLEAN),
};
static const struct record_spec consumers_spec = {"consumers", sizeof(struct document_consumers),
                                                  FIELDS(consumers_fields)};

static const struct field_spec dead_letter_fields[] = {
    LITERAL("exchange", 0, struct document_dead_letter, exchange, LITERAL_KEY),
    LITERAL("key", 0, struct document_dead_letter, key, LITERAL_KEY),
};
static const struct record_spec dead_letter_spec = {
    "dead-letter", sizeof(struct document_dead_letter), FIELDS(dead_letter_fields)};

static const struct field_spec alert_fields[] = {
    LITERAL("ready-above", 0, struct document_alert, ready_above, LITERAL_INTEGER),
    LITERAL("oldest-above", 0, struct document_alert, oldest_above, LITERAL_DURATION),
};
static const struct record_spec alert_spec = {"alert", sizeof(struct document_alert),
                                              FIELDS(alert_fields)};

#define QUEUE struct document_queue
static const struct field_spec queue_fields[] = {
    NESTED("from", FIELD_RECORDS, 0, QUEUE, from, &binding_spec),
    LITERAL("type", 0, QUEUE, type, LITERAL_WORD, .words = queue_types),
    LITERAL("durable", 0, QUEUE, durable, LITERAL_BOOLEAN),
    NESTED("limits", FIELD_RECORD, 0, QUEUE, limits, &queue_limits_spec),
    LITERAL("ttl", 0, QUEUE, ttl, LITERAL_DURATION, 0, TEN_YEARS_MS),
    LITERAL("expires", 0, QUEUE, expires, LITERAL_DURATION, 1, TEN_YEARS_MS),
    LITERAL("priorities", 0, QUEUE, priorities, LITERAL_INTEGER, 1, 255),
    NESTED("consumers", FIELD_RECORD, 0, QUEUE, consumers, &consumers_spec),
    LITERAL("ack-timeout", 0, QUEUE, ack_timeout, LITERAL_DURATION, 1, TEN_YEARS_MS),
    LITERAL("release-rate", 0, QUEUE, release_rate, LITERAL_INTEGER, 1, 1000000),
    NESTED("retry", FIELD_CHOICE, 0, QUEUE, retry, &retry_spec),
    NESTED("dead-letter", FIELD_RECORD, 0, QUEUE, dead_letter, &dead_letter_spec),
    NESTED("alert", FIELD_RECORD, 0, QUEUE, alert, &alert_spec),
    RAW("arguments", 0, QUEUE, arguments),
};
static const struct record_spec queue_spec = {"queue", sizeof(QUEUE), FIELDS(queue_fields)};

#define POLICY struct document_policy
static const struct field_spec policy_fields[] = {
    LITERAL("pattern", FIELD_REQUIRED, POLICY, pattern, LITERAL_TEXT),
    LITERAL("apply-to", 0, POLICY, apply_to, LITERAL_WORD, .words = policy_targets),
    LITERAL("priority", 0, POLICY, priority, LITERAL_INTEGER, INT32_MIN, INT32_MAX),
    RAW("definition", FIELD_REQUIRED, POLICY, definition),
};
static const struct record_spec policy_spec = {"policy", sizeof(POLICY), FIELDS(policy_fields)};

static const struct field_spec topic_rights_fields[] = {
    LITERAL("write", FIELD_REQUIRED, struct document_topic_rights, write, LITERAL_ANY_TEXT),
    LITERAL("read", 0, struct document_topic_rights, read, LITERAL_ANY_TEXT),
};
static const struct record_spec topic_rights_spec = {"topic", sizeof(struct document_topic_rights),
                                                     FIELDS(topic_rights_fields)};

static const struct field_spec rights_fields[] = {
    LITERAL("configure", 0, struct document_rights, configure, LITERAL_ANY_TEXT),
    LITERAL("write", 0, struct document_rights, write, LITERAL_ANY_TEXT),
    LITERAL("read", 0, struct document_rights, read, LITERAL_ANY_TEXT),
    NESTED("topics", FIELD_NAMED, 0, struct document_rights, topics, &topic_rights_spec),
};
static const struct record_spec rights_spec = {"rights", sizeof(struct document_rights),
                                               FIELDS(rights_fields)};

#define USER struct document_user
static const struct field_spec user_fields[] = {
    LITERAL("auth", FIELD_REQUIRED, USER, auth, LITERAL_WORD, .words = auths),
    LITERAL("password-file", 0, USER, password_file, LITERAL_TEXT),
    LITERAL("password-env", 0, USER, password_env, LITERAL_TEXT),
    LITERAL("password-hash", 0, USER, password_hash, LITERAL_TEXT),
    LITERALS("publish", 0, USER, publish, LITERAL_NAME),
    LITERALS("consume", 0, USER, consume, LITERAL_NAME),
    {
        .name = "topics",
        .kind = FIELD_NAMED_LITERALS,
        .offset = offsetof(USER, topics),
        .rule = {.type = LITERAL_KEY},
    },
    NESTED("rights", FIELD_RECORD, 0, USER, rights, &rights_spec),
    LITERAL("role", 0, USER, role, LITERAL_WORD, .words = roles),
    NESTED("limits", FIELD_RECORD, 0, USER, limits, &user_limits_spec),
};
static const struct record_spec user_spec = {"user", sizeof(USER), FIELDS(user_fields)};

#define TLS struct document_tls
static const struct field_spec tls_fields[] = {
    LITERAL("certificate", FIELD_REQUIRED, TLS, certificate, LITERAL_TEXT),
    LITERAL("key", FIELD_REQUIRED, TLS, key, LITERAL_TEXT),
    LITERAL("client-ca", 0, TLS, client_ca, LITERAL_TEXT),
    LITERAL("client-crl", 0, TLS, client_crl, LITERAL_TEXT),
    LITERAL("ocsp", 0, TLS, ocsp, LITERAL_TEXT),
    LITERAL("client-cert", 0, TLS, client_cert, LITERAL_WORD, .words = client_certs),
    LITERAL("user-from", 0, TLS, user_from, LITERAL_WORD, .words = user_sources),
    LITERAL("min-version", 0, TLS, min_version, LITERAL_WORD, .words = tls_versions),
};
static const struct record_spec tls_spec = {"tls", sizeof(TLS), FIELDS(tls_fields)};

static const struct field_spec listener_fields[] = {
    LITERALS("bind", FIELD_REQUIRED | FIELD_ONE_OR_MANY, struct document_listener, bind,
             LITERAL_TEXT),
    NESTED("tls", FIELD_CHOICE, 0, struct document_listener, tls, &tls_spec),
    LITERALS("proxy-protocol", FIELD_ONE_OR_MANY, struct document_listener, proxy_protocol,
             LITERAL_TEXT),
};
static const struct record_spec listener_spec = {"listener", sizeof(struct document_listener),
                                                 FIELDS(listener_fields)};

#define LISTENER(key, flag, kind)                                                                  \
    NESTED(key, FIELD_RECORD, flag, struct document_listeners, kinds[kind], &listener_spec)
static const struct field_spec listeners_fields[] = {
    LISTENER("amqp", 0, LISTENER_AMQP),       LISTENER("amqps", 0, LISTENER_AMQPS),
    LISTENER("http", 0, LISTENER_HTTP),       LISTENER("https", 0, LISTENER_HTTPS),
    LISTENER("metrics", 0, LISTENER_METRICS),
};
static const struct record_spec listeners_spec = {"listeners", sizeof(struct document_listeners),
                                                  FIELDS(listeners_fields)};

static const struct field_spec defaults_fields[] = {
    NESTED("exchange", FIELD_RECORD, 0, struct document_defaults, exchange, &exchange_spec),
    NESTED("queue", FIELD_RECORD, 0, struct document_defaults, queue, &queue_spec),
};
static const struct record_spec defaults_spec = {"defaults", sizeof(struct document_defaults),
                                                 FIELDS(defaults_fields)};

#define DOCUMENT struct document
static const struct field_spec document_fields[] = {
    LITERAL("bourse", FIELD_REQUIRED, DOCUMENT, schema, LITERAL_INTEGER, 1, 1),
    LITERAL("vhost", 0, DOCUMENT, vhost, LITERAL_NAME),
    NESTED("defaults", FIELD_RECORD, 0, DOCUMENT, defaults, &defaults_spec),
    NESTED("server", FIELD_RECORD, FIELD_SHARED, DOCUMENT, server, &server_spec),
    NESTED("limits", FIELD_RECORD, FIELD_SHARED, DOCUMENT, limits, &vhost_limits_spec),
    NESTED("exchanges", FIELD_NAMED, 0, DOCUMENT, exchanges, &exchange_spec),
    NESTED("retry", FIELD_NAMED, 0, DOCUMENT, retry, &retry_spec),
    NESTED("queues", FIELD_NAMED, 0, DOCUMENT, queues, &queue_spec),
    NESTED("policies", FIELD_NAMED, 0, DOCUMENT, policies, &policy_spec),
    NESTED("operator-policies", FIELD_NAMED, 0, DOCUMENT, operator_policies, &policy_spec),
    NESTED("users", FIELD_NAMED, 0, DOCUMENT, users, &user_spec),
    NESTED("listeners", FIELD_RECORD, FIELD_SHARED, DOCUMENT, listeners, &listeners_spec),
    LITERALS("protect", FIELD_SHARED, DOCUMENT, protect, LITERAL_NAME),
};
static const struct record_spec document_spec = {"the file", sizeof(DOCUMENT),
                                                 FIELDS(document_fields)};

/* Files -------------------------------------------------------------------------------------- */

static void
overlay_new(struct config *config, const struct record_spec *spec, struct named_list *list,
            size_t first, const void *defaults)
{
    for (size_t i = first; i < list->count; i++) {
        schema_overlay(config, spec, list->items[i], defaults);
    }
}

/* All files speak of one vhost. */
static void
join_vhost(struct config *config, struct document *document)
{
    const struct setting *here = &document->vhost;
    const struct setting *before = &document->vhost_given;
    if (here->node == NULL) {
        return;
    }
    if (before->node == NULL) {
        document->vhost_given = *here;
    } else if (!bytes_equal(here->value.text, before->value.text)) {
        const struct config_mark *mark = &before->node->mark;
        report_error(config, here->node->mark,
                     "vhost \"%.*s\" here, but \"%.*s\" in %s:%u:%u; all files share one",
                     BYTES_FORMAT(here->value.text), BYTES_FORMAT(before->value.text), mark->file,
                     mark->line, mark->column);
    }
}

void
document_add(struct config *config, struct document *document, const struct node *root)
{
    size_t exchange_count = document->exchanges.count;
    size_t queue_count = document->queues.count;
    memset(&document->schema, 0, sizeof(document->schema));
    memset(&document->vhost, 0, sizeof(document->vhost));
    memset(&document->defaults, 0, sizeof(document->defaults));

    schema_read(config, &document_spec, root, document);
    if (document->node != root) {
        return; /* no map at all */
    }
    document->file_count++;
    join_vhost(config, document);
    overlay_new(config, &exchange_spec, &document->exchanges, exchange_count,
                &document->defaults.exchange);
    overlay_new(config, &queue_spec, &document->queues, queue_count, &document->defaults.queue);
}

void
document_fini(struct document *document)
{
    struct named_list *lists[] = {&document->exchanges, &document->retry,
                                  &document->queues,    &document->policies,
                                  &document->users,     &document->operator_policies};
    for (size_t i = 0; i < document->users.count; i++) {
        struct document_user *user = document->users.items[i];
        named_list_fini(&user->topics);
        named_list_fini(&user->rights.topics);
    }
    for (size_t i = 0; i < ARRAY_LEN(lists); i++) {
        named_list_fini(lists[i]);
    }
}

const struct record_spec *
document_schema(void)
{
    return &document_spec;
}

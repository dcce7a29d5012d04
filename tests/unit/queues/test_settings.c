/* SPDX-License-Identifier: Apache-2.0 */
/* x-arguments: what is refused and with which words, and what a redeclaration may change. Words and
 * ranges are RabbitMQ's; clients show them. */
#include "queues/settings.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>

#include <stdio.h>

#include "amqp/reply.h"
#include "amqp/table.h"
#include "base/assert.h"

#define SUBJECT "queue 'q' in vhost '/'"

TestSuite(settings);

/* One field of a table as a test writes it. A NULL name ends a list. */
struct field {
    const char *name;
    char type;        /* S l I t d V A, or 0: no such field */
    const char *text; /* S */
    int64_t number;   /* l I t */
    double real;      /* d */
};

#define TEXT(name, value)                                                                          \
    {                                                                                              \
        name, 'S', value, 0, 0                                                                     \
    }
#define LONG(name, value)                                                                          \
    {                                                                                              \
        name, 'l', NULL, value, 0                                                                  \
    }
#define INT(name, value)                                                                           \
    {                                                                                              \
        name, 'I', NULL, value, 0                                                                  \
    }
#define BOOL(name, value)                                                                          \
    {                                                                                              \
        name, 't', NULL, value, 0                                                                  \
    }
#define REAL(name, value)                                                                          \
    {                                                                                              \
        name, 'd', NULL, 0, value                                                                  \
    }
#define VOID(name)                                                                                 \
    {                                                                                              \
        name, 'V', NULL, 0, 0                                                                      \
    }

static void
put_field(struct buffer *table, const struct field *field)
{
    uint8_t octets[8];
    struct table_value value = {.type = (uint8_t)field->type};
    switch (field->type) {
    case 'S':
        value.raw = bytes_of(field->text);
        break;
    case 'l':
        put_u64(octets, (uint64_t)field->number);
        value.raw = bytes_make(octets, 8);
        break;
    case 'I':
        put_u32(octets, (uint32_t)field->number);
        value.raw = bytes_make(octets, 4);
        break;
    case 't':
        octets[0] = (uint8_t)field->number;
        value.raw = bytes_make(octets, 1);
        break;
    case 'd': {
        uint64_t bits;
        memcpy(&bits, &field->real, sizeof(bits));
        put_u64(octets, bits);
        value.raw = bytes_make(octets, 8);
        break;
    }
    default:
        break;
    }
    table_put_value(table, bytes_of(field->name), &value);
}

static void
put_fields(struct buffer *table, const struct field *fields, size_t count)
{
    buffer_init(table);
    for (size_t i = 0; i < count && fields[i].type != 0; i++) {
        put_field(table, &fields[i]);
    }
}

/* What a declaration with these fields is told; empty when it is accepted. */
static const char *
verdict(const struct field *fields, size_t count, struct fault *fault)
{
    struct buffer table;
    struct queue_settings settings;
    put_fields(&table, fields, count);
    *fault = (struct fault){0};
    enum status status = queue_settings_read(&settings, buffer_bytes(&table), SUBJECT, fault);
    buffer_fini(&table);
    if (status == STATUS_OK) {
        return "";
    }
    cr_expect(eq(int, status, STATUS_FAULT));
    cr_expect(eq(int, fault->scope, FAULT_CHANNEL));
    cr_expect(eq(int, fault->reply_code, REPLY_PRECONDITION_FAILED));
    return fault->text;
}

Test(settings, refuses_bad_values_with_the_reason)
{
    static const struct {
        struct field fields[2];
        const char *reason; /* behind "invalid arg 'NAME' for SUBJECT: "; NULL: accepted */
    } rows[] = {
        {{LONG("x-expires", 1)}, NULL},
        {{LONG("x-expires", 315360000000)}, NULL},
        {{LONG("x-expires", 0)}, "{value_zero,0}"},
        {{INT("x-expires", -1)}, "{value_negative,-1}"},
        {{LONG("x-expires", 315360000001)}, "{value_too_large,315360000001}"},
        {{TEXT("x-expires", "5")}, "\"expected integer, got longstr\""},
        {{REAL("x-expires", 5)}, "\"expected integer, got double\""},
        {{LONG("x-message-ttl", 0)}, NULL},
        {{LONG("x-message-ttl", -1)}, "{value_negative,-1}"},
        {{LONG("x-message-ttl", 315360000001)}, "{value_too_large,315360000001}"},
        {{BOOL("x-message-ttl", 1)}, "\"expected integer, got bool\""},
        {{LONG("x-max-length", 0)}, NULL},
        {{LONG("x-max-length", -1)}, "{value_negative,-1}"},
        {{TEXT("x-max-length", "many")}, "\"expected integer, got longstr\""},
        {{LONG("x-max-length-bytes", INT64_MAX)}, NULL},
        {{LONG("x-max-length-bytes", -5)}, "{value_negative,-5}"},
        {{TEXT("x-overflow", "drop-head")}, NULL},
        {{TEXT("x-overflow", "reject-publish")}, NULL},
        {{TEXT("x-overflow", "reject-publish-dlx")}, NULL},
        {{TEXT("x-overflow", "drop-tail")}, "invalid_overflow"},
        {{LONG("x-overflow", 1)}, "{unacceptable_type,long}"},
        {{TEXT("x-dead-letter-exchange", "")}, NULL},
        {{INT("x-dead-letter-exchange", 1)}, "{unacceptable_type,signedint}"},
        {{TEXT("x-dead-letter-routing-key", "k")}, "routing_key_but_no_dlx_defined"},
        {{TEXT("x-dead-letter-exchange", "dlx"), TEXT("x-dead-letter-routing-key", "k")}, NULL},
        {{BOOL("x-dead-letter-routing-key", 1)}, "{unacceptable_type,bool}"},
        {{LONG("x-max-priority", 0)}, NULL},
        {{LONG("x-max-priority", 255)}, NULL},
        {{LONG("x-max-priority", 256)}, "{max_value_exceeded,256}"},
        {{LONG("x-max-priority", -1)}, "{value_negative,-1}"},
        {{BOOL("x-single-active-consumer", 0)}, NULL},
        {{TEXT("x-single-active-consumer", "true")}, "{unacceptable_type,longstr}"},
        {{LONG("x-release-rate", 1)}, NULL},
        {{LONG("x-release-rate", 0)}, "{value_zero,0}"},
        {{LONG("x-consumer-timeout", 0)}, NULL},
        {{LONG("x-consumer-timeout", -1)}, "{value_negative,-1}"},
        {{LONG("x-consumer-disconnected-timeout", -1)}, "{value_negative,-1}"},
        {{LONG("x-delivery-limit", -1)}, NULL},
        {{LONG("x-delivery-limit", -2)}, "{value_negative,-2}"},
        {{TEXT("x-delivery-limit", "3")}, "\"expected integer, got longstr\""},
        {{TEXT("x-delayed-retry-type", "failed")}, NULL},
        {{TEXT("x-delayed-retry-type", "sometimes")}, "invalid_delayed_retry_type"},
        {{LONG("x-delayed-retry-min", 1)}, NULL},
        {{LONG("x-delayed-retry-min", 0)}, "{value_zero,0}"},
        {{LONG("x-delayed-retry-max", -1)}, "{value_negative,-1}"},
        {{LONG("x-delayed-retry-max", 10), LONG("x-delayed-retry-min", 10)}, NULL},
        {{LONG("x-delayed-retry-max", 9), LONG("x-delayed-retry-min", 10)},
         "\"x-delayed-retry-max (9) must not be smaller than x-delayed-retry-min (10)\""},
        {{LONG("x-delayed-retry-multiplier", 1)}, NULL},
        {{REAL("x-delayed-retry-multiplier", 1.5)}, NULL},
        {{REAL("x-delayed-retry-multiplier", 0.5)}, "invalid_delayed_retry_multiplier"},
        {{LONG("x-delayed-retry-multiplier", 0)}, "invalid_delayed_retry_multiplier"},
        {{TEXT("x-delayed-retry-multiplier", "2")}, "{unacceptable_type,longstr}"},
        {{LONG("x-delayed-retry-jitter", 100)}, NULL},
        {{TEXT("x-delayed-retry-jitter", "full")}, NULL},
        {{LONG("x-delayed-retry-jitter", 101)}, "{max_value_exceeded,101}"},
        {{LONG("x-delayed-retry-jitter", -1)}, "{value_negative,-1}"},
        {{TEXT("x-delayed-retry-jitter", "half")}, "invalid_delayed_retry_jitter"},
        {{BOOL("x-delayed-retry-jitter", 1)}, "\"expected integer, got bool\""},
        {{LONG("x-delayed-retry-max-age", 0)}, NULL},
        {{LONG("x-delayed-retry-max-age", -1)}, "{value_negative,-1}"},
        {{TEXT("x-delayed-retry-counts", "nack")}, NULL},
        {{TEXT("x-delayed-retry-counts", "nack, reject,lost ,timeout")}, NULL},
        {{TEXT("x-delayed-retry-counts", "")}, "invalid_delayed_retry_counts"},
        {{TEXT("x-delayed-retry-counts", "nack,")}, "invalid_delayed_retry_counts"},
        {{TEXT("x-delayed-retry-counts", "nack,ack")}, "invalid_delayed_retry_counts"},
        {{TEXT("x-delayed-retry-order", "hold")}, NULL},
        {{TEXT("x-delayed-retry-order", "none")}, "invalid_delayed_retry_order"},
        {{TEXT("x-queue-type", "classic")}, NULL},
        {{TEXT("x-queue-type", "quorum")}, NULL},
        {{TEXT("x-queue-type", "")}, NULL},
        {{TEXT("x-queue-type", "stream")}, "\"unsupported queue type 'stream'\""},
        {{TEXT("x-queue-type", "Classic")}, "\"unsupported queue type 'Classic'\""},
        {{LONG("x-queue-type", 1)}, "{unacceptable_type,long}"},
        {{TEXT("x-queue-mode", "lazy")}, NULL},
        {{TEXT("x-queue-mode", "eager")}, "\"unsupported queue mode 'eager'\""},
        {{LONG("x-queue-mode", 1)}, "{unacceptable_type,long}"},
        {{LONG("x-queue-version", 2)}, NULL},
        {{LONG("x-queue-version", 1)}, "\"unsupported queue version '1'\""},
        {{LONG("x-queue-version", -1)}, "{value_negative,-1}"},
        {{TEXT("x-queue-leader-locator", "balanced")}, NULL},
        {{TEXT("x-queue-leader-locator", "random")}, "invalid_queue_locator_arg"},
        {{VOID("x-max-length")}, "\"expected integer, got void\""},
        {{TEXT("x-something-else", "anything")}, NULL},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char expected[FAULT_TEXT_SIZE] = "";
        struct fault fault;
        if (rows[i].reason != NULL) {
            snprintf(expected, sizeof(expected), "invalid arg '%s' for " SUBJECT ": %s",
                     rows[i].fields[0].name, rows[i].reason);
        }
        const char *text = verdict(rows[i].fields, ARRAY_LEN(rows[i].fields), &fault);
        cr_expect(eq(str, (char *)text, expected), "row %zu", i);
    }
}

Test(settings, takes_every_integer_letter)
{
    static const uint8_t octets[8] = {0, 0, 0, 0, 0, 0, 0, 7};
    static const struct {
        char type;
        size_t size;
    } letters[] = {{'b', 1}, {'B', 1}, {'s', 2}, {'u', 2}, {'I', 4}, {'i', 4}, {'l', 8}};
    for (size_t i = 0; i < ARRAY_LEN(letters); i++) {
        struct buffer table;
        buffer_init(&table);
        struct table_value value = {.type = (uint8_t)letters[i].type,
                                    .raw =
                                        bytes_make(octets + 8 - letters[i].size, letters[i].size)};
        table_put_value(&table, bytes_of("x-max-length"), &value);
        struct queue_settings settings;
        struct fault fault;
        enum status status = queue_settings_read(&settings, buffer_bytes(&table), SUBJECT, &fault);
        cr_expect(eq(int, status, STATUS_OK), "letter %c", letters[i].type);
        cr_expect(eq(i64, settings.max_length, 7));
        buffer_fini(&table);
    }
}

Test(settings, refuses_arguments_of_another_queue_type)
{
    static const struct {
        struct field fields[2];
        const char *text; /* NULL: accepted */
    } rows[] = {
        {{LONG("x-max-age", 1)}, "invalid arg 'x-max-age' for " SUBJECT " of queue type classic"},
        {{TEXT("x-queue-type", "quorum"), TEXT("x-max-age", "1D")},
         "invalid arg 'x-max-age' for " SUBJECT " of queue type quorum"},
        {{LONG("x-stream-max-segment-size-bytes", 1)},
         "invalid arg 'x-stream-max-segment-size-bytes' for " SUBJECT " of queue type classic"},
        {{LONG("x-initial-cluster-size", 3)},
         "invalid arg 'x-initial-cluster-size' for " SUBJECT " of queue type classic"},
        {{TEXT("x-queue-type", "quorum"), LONG("x-max-priority", 5)},
         "invalid arg 'x-max-priority' for " SUBJECT " of queue type quorum"},
        {{TEXT("x-queue-type", "quorum"), TEXT("x-queue-mode", "lazy")},
         "invalid arg 'x-queue-mode' for " SUBJECT " of queue type quorum"},
        {{TEXT("x-dead-letter-strategy", "at-least-once")},
         "invalid arg 'x-dead-letter-strategy' for " SUBJECT " of queue type classic"},
        {{TEXT("x-queue-type", "quorum"), TEXT("x-dead-letter-strategy", "at-least-once")}, NULL},
        {{TEXT("x-queue-type", "quorum"), TEXT("x-dead-letter-strategy", "often")},
         "invalid arg 'x-dead-letter-strategy' for " SUBJECT ": invalid_dlx_strategy"},
        {{LONG("x-quorum-initial-group-size", 3)},
         "invalid arg 'x-quorum-initial-group-size' for " SUBJECT " of queue type classic"},
        {{TEXT("x-queue-type", "quorum"), LONG("x-quorum-initial-group-size", 0)},
         "invalid arg 'x-quorum-initial-group-size' for " SUBJECT ": {value_zero,0}"},
        {{TEXT("x-queue-type", "quorum"), LONG("x-delivery-limit", 5)}, NULL},
        {{LONG("x-delivery-limit", 5), LONG("x-consumer-timeout", 5)}, NULL},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct fault fault;
        const char *text = verdict(rows[i].fields, ARRAY_LEN(rows[i].fields), &fault);
        cr_expect(eq(str, (char *)text, (char *)(rows[i].text == NULL ? "" : rows[i].text)),
                  "row %zu", i);
    }
}

Test(settings, says_what_the_arguments_mean)
{
    static const struct field fields[] = {
        TEXT("x-queue-type", "quorum"),
        BOOL("x-single-active-consumer", 1),
        TEXT("x-overflow", "reject-publish"),
        LONG("x-expires", 1),
        INT("x-message-ttl", 2),
        LONG("x-max-length", 3),
        LONG("x-max-length-bytes", 4),
        LONG("x-consumer-timeout", 6),
        LONG("x-delivery-limit", 7),
        TEXT("x-dead-letter-exchange", ""),
        TEXT("x-dead-letter-routing-key", "key"),
    };
    struct buffer table;
    struct queue_settings settings;
    struct fault fault;
    put_fields(&table, fields, ARRAY_LEN(fields));
    enum status status = queue_settings_read(&settings, buffer_bytes(&table), SUBJECT, &fault);
    cr_assert(eq(int, status, STATUS_OK));
    cr_expect(eq(int, settings.type, QUEUE_TYPE_QUORUM));
    cr_expect(settings.single_active_consumer);
    cr_expect(eq(int, settings.overflow, OVERFLOW_REJECT_PUBLISH));
    cr_expect(eq(i64, settings.expires_ms, 1));
    cr_expect(eq(i64, settings.message_ttl_ms, 2));
    cr_expect(eq(i64, settings.max_length, 3));
    cr_expect(eq(i64, settings.max_length_bytes, 4));
    cr_expect(eq(i64, settings.max_priority, -1));
    cr_expect(eq(i64, settings.consumer_timeout_ms, 6));
    cr_expect(eq(i64, settings.delivery_limit, 7));
    cr_expect(settings.has_dead_letter_exchange);
    cr_expect(eq(sz, settings.dead_letter_exchange.size, 0));
    cr_expect(settings.has_dead_letter_routing_key);
    cr_expect(bytes_equal_text(settings.dead_letter_routing_key, "key"));
    buffer_fini(&table);
}

/* All queues without arguments share one, which must say what they would have read. */
Test(settings, are_the_default_where_there_are_no_arguments)
{
    struct queue_settings settings;
    struct fault fault;
    enum status status = queue_settings_read(&settings, bytes_make(NULL, 0), SUBJECT, &fault);
    cr_assert(eq(int, status, STATUS_OK));
    const struct queue_settings *shared = queue_settings_default();
    cr_expect(eq(int, shared->type, settings.type));
    cr_expect(eq(int, shared->overflow, settings.overflow));
    cr_expect(not(shared->single_active_consumer));
    cr_expect(not(shared->has_dead_letter_exchange));
    cr_expect(not(shared->has_dead_letter_routing_key));
    cr_expect(eq(i64, shared->expires_ms, settings.expires_ms));
    cr_expect(eq(i64, shared->message_ttl_ms, settings.message_ttl_ms));
    cr_expect(eq(i64, shared->max_length, settings.max_length));
    cr_expect(eq(i64, shared->max_length_bytes, settings.max_length_bytes));
    cr_expect(eq(i64, shared->max_priority, settings.max_priority));
    cr_expect(eq(i64, shared->consumer_timeout_ms, settings.consumer_timeout_ms));
    cr_expect(eq(i64, shared->delivery_limit, settings.delivery_limit));
}

/* A quorum queue is nobody's alone, and outlives its consumers and a restart. */
Test(settings, says_what_a_quorum_queue_must_be)
{
    static const struct {
        enum queue_type type;
        bool auto_delete, durable, exclusive;
        const char *text;
    } rows[] = {
        {QUEUE_TYPE_QUORUM, false, true, false, ""},
        {QUEUE_TYPE_QUORUM, false, false, false, "invalid property 'non-durable' for " SUBJECT},
        {QUEUE_TYPE_QUORUM, false, true, true, "invalid property 'exclusive-owner' for " SUBJECT},
        {QUEUE_TYPE_QUORUM, true, true, false, "invalid property 'auto-delete' for " SUBJECT},
        {QUEUE_TYPE_CLASSIC, true, false, true, ""},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct queue_settings settings = {.type = rows[i].type};
        struct fault fault = {0};
        enum status status = queue_settings_check_quorum(
            &settings, rows[i].auto_delete, rows[i].durable, rows[i].exclusive, SUBJECT, &fault);
        cr_expect(eq(int, status, rows[i].text[0] == '\0' ? STATUS_OK : STATUS_FAULT));
        cr_expect(eq(str, fault.text, (char *)rows[i].text), "row %zu", i);
    }
}

Test(settings, compares_redeclarations_by_class_and_value)
{
    static const struct {
        struct field received, current;
        const char *text; /* behind "inequivalent arg 'NAME' for SUBJECT: "; NULL: equivalent */
    } rows[] = {
        {INT("x-message-ttl", 60000), LONG("x-message-ttl", 60000), NULL},
        {INT("x-message-ttl", 5),
         {0},
         "received the value '5' of type 'signedint' but current is "
         "none"},
        {{0}, LONG("x-expires", 9), "received none but current is the value '9' of type 'long'"},
        {LONG("x-max-length", 5), LONG("x-max-length", 6), "received '5' but current is '6'"},
        {TEXT("x-max-length", "5"), LONG("x-max-length", 5), "received '5' but current is '5'"},
        {BOOL("x-single-active-consumer", 1), BOOL("x-single-active-consumer", 0),
         "received 'true' but current is 'false'"},
        {TEXT("x-dead-letter-exchange", "a"), TEXT("x-dead-letter-exchange", "b"),
         "received 'a' but current is 'b'"},
        {TEXT("x-queue-type", "classic"), {0}, NULL},
        {{0}, TEXT("x-queue-type", "classic"), NULL},
        {TEXT("x-queue-type", "quorum"),
         {0},
         "received the value 'quorum' of type 'longstr' but current is none"},
        {TEXT("x-my-metadata", "1"), TEXT("x-my-metadata", "2"), NULL},
        {TEXT("x-my-metadata", "1"), {0}, NULL},
        {LONG("x-delivery-limit", 1), LONG("x-delivery-limit", 2),
         "received '1' but current is '2'"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct buffer received;
        struct buffer current;
        put_fields(&received, &rows[i].received, 1);
        put_fields(&current, &rows[i].current, 1);
        struct fault fault = {0};
        char expected[FAULT_TEXT_SIZE] = "";
        const char *name = rows[i].received.name;
        if (rows[i].text != NULL) {
            snprintf(expected, sizeof(expected), "inequivalent arg '%s' for " SUBJECT ": %s",
                     name == NULL ? rows[i].current.name : name, rows[i].text);
        }
        enum status status = queue_settings_compare(buffer_bytes(&received), buffer_bytes(&current),
                                                    SUBJECT, &fault);
        cr_expect(eq(int, status, rows[i].text == NULL ? STATUS_OK : STATUS_FAULT), "row %zu", i);
        cr_expect(eq(str, fault.text, expected), "row %zu", i);
        buffer_fini(&received);
        buffer_fini(&current);
    }
}

Test(settings, compares_arguments_in_a_fixed_order)
{
    static const struct field received[] = {LONG("x-max-length", 1), LONG("x-message-ttl", 1)};
    struct buffer table;
    struct fault fault;
    put_fields(&table, received, ARRAY_LEN(received));
    enum status status =
        queue_settings_compare(buffer_bytes(&table), (struct bytes){0}, SUBJECT, &fault);
    cr_expect(eq(int, status, STATUS_FAULT));
    cr_expect(ne(ptr, strstr(fault.text, "'x-message-ttl'"), NULL));
    buffer_fini(&table);
}

Test(settings, compares_properties)
{
    struct fault fault = {0};
    enum status status = queue_property_compare("durable", true, true, SUBJECT, &fault);
    cr_expect(eq(int, status, STATUS_OK));
    status = queue_property_compare("durable", false, true, SUBJECT, &fault);
    cr_expect(eq(int, status, STATUS_FAULT));
    cr_expect(eq(int, fault.reply_code, REPLY_PRECONDITION_FAILED));
    cr_expect(eq(str, fault.text,
                 "inequivalent arg 'durable' for " SUBJECT
                 ": received 'false' but current is 'true'"));
}

Test(settings, reads_the_arguments_of_consume)
{
    static const struct {
        struct field field;
        enum queue_type type;
        int64_t priority;
        const char *text; /* NULL: accepted */
    } rows[] = {
        {{0}, QUEUE_TYPE_CLASSIC, 0, NULL},
        {INT("x-priority", -3), QUEUE_TYPE_CLASSIC, -3, NULL},
        {LONG("x-priority", INT64_MAX), QUEUE_TYPE_QUORUM, INT64_MAX, NULL},
        {TEXT("x-priority", "1"), QUEUE_TYPE_CLASSIC, 0,
         "invalid arg 'x-priority' for " SUBJECT ": \"expected integer, got longstr\""},
        {LONG("x-consumer-timeout", 5), QUEUE_TYPE_CLASSIC, 0, NULL},
        {LONG("x-consumer-timeout", -5), QUEUE_TYPE_CLASSIC, 0,
         "invalid arg 'x-consumer-timeout' for " SUBJECT ": {value_negative,-5}"},
        {TEXT("x-stream-offset", "next"), QUEUE_TYPE_CLASSIC, 0,
         "invalid arg 'x-stream-offset' for " SUBJECT " of queue type classic"},
        {BOOL("x-cancel-on-ha-failover", 1), QUEUE_TYPE_CLASSIC, 0, NULL},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct buffer table;
        struct fault fault = {0};
        struct consume_settings settings = {0};
        put_fields(&table, &rows[i].field, 1);
        enum status status = queue_consume_arguments_read(&settings, buffer_bytes(&table),
                                                          rows[i].type, SUBJECT, &fault);
        cr_expect(eq(int, status, rows[i].text == NULL ? STATUS_OK : STATUS_FAULT), "row %zu", i);
        cr_expect(eq(i64, settings.priority, rows[i].priority), "row %zu", i);
        cr_expect(eq(str, fault.text, (char *)(rows[i].text == NULL ? "" : rows[i].text)),
                  "row %zu", i);
        buffer_fini(&table);
    }
}

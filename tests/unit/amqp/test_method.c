/* SPDX-License-Identifier: Apache-2.0 */
/* The method codec: every method of methods.def there and back, and every way to break one. */
#include "amqp/method.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>

#include <stdio.h>

#include "amqp/table.h"
#include "base/assert.h"
#include "base/random.h"
#include "tests/support/exact_copy.h"

static struct buffer wire;
static struct buffer table;
static struct fault fault;
static uint64_t seed = 31;
static struct random_source source;
static uint8_t long_text[4096];

static void
set_up(void)
{
    source = random_seeded(&seed);
    memset(long_text, 'x', sizeof(long_text));
    table_put_text(&table, "text", bytes_of("value"));
    table_put_integer(&table, "number", 7);
}

static void
tear_down(void)
{
    buffer_fini(&wire);
    buffer_fini(&table);
}

TestSuite(method, .init = set_up, .fini = tear_down);

/* Values at the edges of their types, else random ones. */
static uint64_t
some_number(void)
{
    static const uint64_t edges[] = {
        0, 1, 254, 255, 256, 65535, UINT64_C(1) << 31, UINT32_MAX, UINT64_C(1) << 63, UINT64_MAX};
    uint64_t choice = random_u64(&source) % (2 * ARRAY_LEN(edges));
    return choice < ARRAY_LEN(edges) ? edges[choice] : random_u64(&source);
}

static struct bytes
some_text(size_t size_max)
{
    static const size_t sizes[] = {0, 1, 5, 254, 255, 256, 4095, 4096};
    size_t size = sizes[random_u64(&source) % ARRAY_LEN(sizes)];
    return bytes_make(long_text, size < size_max ? size : size_max);
}

static struct bytes
some_table(void)
{
    return random_u64(&source) % 2 == 0 ? buffer_bytes(&table) : bytes_make(NULL, 0);
}

/* fill_<method> puts something into every field; equal_<method> compares every field. */
#define OCTET(name) arguments->name = (uint8_t)some_number();
#define SHORT(name) arguments->name = (uint16_t)some_number();
#define LONG(name) arguments->name = (uint32_t)some_number();
#define LONGLONG(name) arguments->name = some_number();
#define BIT(name) arguments->name = random_u64(&source) % 2 == 0;
#define SHORTSTR(name) arguments->name = some_text(255);
#define LONGSTR(name) arguments->name = some_text(4096);
#define TABLE(name) arguments->name = some_table();
#define NO_FIELDS arguments->nothing = 0;
#define METHOD(upper, lower, name, class_id, method_id, sender, content, fields)                   \
    static void fill_##lower(struct lower *arguments)                                              \
    {                                                                                              \
        fields                                                                                     \
    }
#include "amqp/methods.def"

#define OCTET(name) &&a->name == b->name
#define SHORT(name) &&a->name == b->name
#define LONG(name) &&a->name == b->name
#define LONGLONG(name) &&a->name == b->name
#define BIT(name) &&a->name == b->name
#define SHORTSTR(name) &&bytes_equal(a->name, b->name)
#define LONGSTR(name) &&bytes_equal(a->name, b->name)
#define TABLE(name) &&bytes_equal(a->name, b->name)
#define NO_FIELDS &&a->nothing == b->nothing
#define METHOD(upper, lower, name, class_id, method_id, sender, content, fields)                   \
    static bool equal_##lower(const struct lower *a, const struct lower *b)                        \
    {                                                                                              \
        return true fields;                                                                        \
    }
#include "amqp/methods.def"

static void
fill(struct method *method)
{
    switch (method->id) {
#define METHOD(upper, lower, name, class_id, method_id, sender, content, fields)                   \
    case METHOD_##upper:                                                                           \
        fill_##lower(&method->lower);                                                              \
        break;
#include "amqp/methods.def"
    case METHOD_COUNT:
        break;
    }
}

static bool
equal(const struct method *a, const struct method *b)
{
    if (a->id != b->id) {
        return false;
    }
    switch (a->id) {
#define METHOD(upper, lower, name, class_id, method_id, sender, content, fields)                   \
    case METHOD_##upper:                                                                           \
        return equal_##lower(&a->lower, &b->lower);
#include "amqp/methods.def"
    case METHOD_COUNT:
        break;
    }
    return false;
}

/* Decodes a copy of exactly the size of `payload` and forgets the result. */
static enum status
try_decode(struct bytes payload)
{
    struct method method;
    struct bytes copy = exact_copy(payload);
    enum status status = method_decode(&method, copy, &fault);
    exact_copy_free(copy);
    return status;
}

Test(method, every_method_makes_the_round_trip)
{
    for (int id = 0; id < METHOD_COUNT; id++) {
        for (int round = 0; round < 200; round++) {
            struct method written = {.id = (enum method_id)id};
            struct method read = {.id = METHOD_COUNT};
            fill(&written);
            buffer_clear(&wire);
            method_encode(&wire, &written);
            cr_assert(eq(int, method_decode(&read, buffer_bytes(&wire), &fault), STATUS_OK),
                      "%s: %s", method_info(written.id)->name, fault.text);
            cr_assert(equal(&written, &read), "%s", method_info(written.id)->name);
        }
    }
}

Test(method, one_cut_at_any_octet_or_with_one_too_many_is_a_syntax_error)
{
    for (int id = 0; id < METHOD_COUNT; id++) {
        struct method written = {.id = (enum method_id)id};
        fill(&written);
        buffer_clear(&wire);
        method_encode(&wire, &written);
        buffer_put_u8(&wire, 0);
        struct bytes whole = buffer_bytes(&wire);
        for (size_t size = 0; size <= whole.size; size++) {
            enum status status = try_decode(bytes_make(whole.data, size));
            bool is_whole = size == whole.size - 1;
            cr_assert(eq(int, status, is_whole ? STATUS_OK : STATUS_FAULT), "%s, %zu octets",
                      method_info(written.id)->name, size);
            cr_assert(is_whole || fault.reply_code == 502, "%s, %zu octets: %u",
                      method_info(written.id)->name, size, fault.reply_code);
            cr_assert(is_whole || fault.scope == FAULT_CONNECTION);
        }
    }
}

Test(method, random_changes_never_break_the_decoder)
{
    for (int round = 0; round < 60000; round++) {
        struct method method = {.id = (enum method_id)(random_u64(&source) % METHOD_COUNT)};
        fill(&method);
        buffer_clear(&wire);
        method_encode(&wire, &method);
        size_t size = buffer_size(&wire) < 300 ? buffer_size(&wire) : 300;
        struct bytes copy = exact_copy(bytes_make(buffer_bytes(&wire).data, size));
        for (uint64_t change = random_u64(&source) % 3; change < 3; change++) {
            ((uint8_t *)copy.data)[random_u64(&source) % size] = (uint8_t)random_u64(&source);
        }
        struct method read;
        enum status status = method_decode(&read, copy, &fault);
        cr_assert(status == STATUS_OK || status == STATUS_FAULT);
        cr_assert(status == STATUS_OK || fault.reply_code == 501 || fault.reply_code == 502 ||
                  fault.reply_code == 540);
        exact_copy_free(copy);
    }
}

/* Octets written by hand, so that encoder and decoder cannot agree on the same mistake. */
Test(method, the_wire_is_that_of_the_specification)
{
    static const uint8_t publish[] = {0, 60, 0, 40, 0, 0, 1, 'x', 2, 'r', 'k', 0x02};
    static const uint8_t declare[] = {0, 50, 0, 10, 0, 1, 1, 'q', 0x15, 0, 0, 0, 3, 1, 'a', 'V'};
    static const uint8_t nack[] = {0, 60, 0, 120, 1, 2, 3, 4, 5, 6, 7, 8, 0x03};
    static const uint8_t deliver[] = {0, 60, 0, 60, 1, 'c', 0, 0, 0, 0, 0, 0, 0, 9, 1, 0, 1, 'k'};
    struct method method;

    cr_assert(
        eq(int, method_decode(&method, bytes_make(publish, sizeof(publish)), &fault), STATUS_OK));
    cr_expect(eq(int, method.id, METHOD_BASIC_PUBLISH));
    cr_expect(bytes_equal_text(method.basic_publish.exchange, "x"));
    cr_expect(bytes_equal_text(method.basic_publish.routing_key, "rk"));
    cr_expect(not(method.basic_publish.mandatory));
    cr_expect(method.basic_publish.immediate);

    cr_assert(
        eq(int, method_decode(&method, bytes_make(declare, sizeof(declare)), &fault), STATUS_OK));
    cr_expect(method.queue_declare.passive);
    cr_expect(not(method.queue_declare.durable));
    cr_expect(method.queue_declare.exclusive);
    cr_expect(not(method.queue_declare.auto_delete));
    cr_expect(method.queue_declare.nowait);
    cr_expect(eq(sz, method.queue_declare.arguments.size, 3));
    method_encode(&wire, &method);
    cr_expect(bytes_equal(buffer_bytes(&wire), bytes_make(declare, sizeof(declare))));

    cr_assert(eq(int, method_decode(&method, bytes_make(nack, sizeof(nack)), &fault), STATUS_OK));
    cr_expect(eq(u64, method.basic_nack.delivery_tag, UINT64_C(0x0102030405060708)));
    cr_expect(method.basic_nack.multiple && method.basic_nack.requeue);

    buffer_clear(&wire);
    method = (struct method){.id = METHOD_BASIC_DELIVER,
                             .basic_deliver = {.consumer_tag = bytes_of("c"),
                                               .delivery_tag = 9,
                                               .redelivered = true,
                                               .routing_key = bytes_of("k")}};
    method_encode(&wire, &method);
    cr_expect(bytes_equal(buffer_bytes(&wire), bytes_make(deliver, sizeof(deliver))));
}

/* Bits of the octet that no argument uses may be anything, as in RabbitMQ. */
Test(method, unused_bits_are_ignored)
{
    static const uint8_t publish[] = {0, 60, 0, 40, 0, 0, 0, 0, 0xFD};
    struct method method;
    cr_assert(
        eq(int, method_decode(&method, bytes_make(publish, sizeof(publish)), &fault), STATUS_OK));
    cr_expect(method.basic_publish.mandatory);
    cr_expect(not(method.basic_publish.immediate));
}

Test(method, an_unknown_id_is_not_implemented)
{
    static const uint8_t rows[][4] = {
        {0, 0, 0, 0},   {0, 60, 0, 41},           {0, 40, 0, 41}, {0, 61, 0, 10},
        {0, 10, 0, 12}, {0xFF, 0xFF, 0xFF, 0xFF}, {60, 0, 40, 0},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        cr_expect(eq(int, try_decode(bytes_make(rows[i], 4)), STATUS_FAULT), "row %zu", i);
        cr_expect(eq(u16, fault.reply_code, 540), "row %zu", i);
        cr_expect(eq(int, fault.scope, FAULT_CONNECTION));
    }
}

/* RabbitMQ has the same text; so do the tests of clients. */
Test(method, a_short_string_that_is_not_utf8_is_a_frame_error)
{
    static const uint8_t exchange[] = {0, 60, 0, 40, 0, 0, 1, 0xFF, 0, 0};
    static const uint8_t key[] = {0, 60, 0, 40, 0, 0, 0, 2, 0xC3, 'x', 0};
    struct bytes rows[] = {bytes_make(exchange, sizeof(exchange)), bytes_make(key, sizeof(key))};
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        cr_expect(eq(int, try_decode(rows[i]), STATUS_FAULT));
        cr_expect(eq(u16, fault.reply_code, 501));
        cr_expect(eq(str, fault.text, "Malformed UTF-8 in shortstr"));
    }
}

Test(method, a_long_string_may_hold_anything)
{
    static const uint8_t secure_ok[] = {0, 10, 0, 21, 0, 0, 0, 3, 0xFF, 0, 0xFE};
    cr_expect(eq(int, try_decode(bytes_make(secure_ok, sizeof(secure_ok))), STATUS_OK));
}

Test(method, a_malformed_table_is_a_frame_error_and_a_missing_one_a_syntax_error)
{
    static const uint8_t malformed[] = {0, 50, 0, 10, 0, 0, 0, 0, 0, 0, 0, 3, 1, 'a', '?'};
    static const uint8_t missing[] = {0, 50, 0, 10, 0, 0, 0, 0, 0, 0, 0, 4, 1, 'a', 'V'};
    cr_expect(eq(int, try_decode(bytes_make(malformed, sizeof(malformed))), STATUS_FAULT));
    cr_expect(eq(u16, fault.reply_code, 501));
    cr_expect(eq(int, try_decode(bytes_make(missing, sizeof(missing))), STATUS_FAULT));
    cr_expect(eq(u16, fault.reply_code, 502));
}

/* Two mistakes at once: lengths come first, what lies in a field means nothing without them. */
Test(method, a_wrong_length_is_told_before_wrong_content)
{
    static const uint8_t left_over[] = {0, 60, 0, 40, 0, 0, 1, 0xFF, 0, 0, 'x'};
    cr_expect(eq(int, try_decode(bytes_make(left_over, sizeof(left_over))), STATUS_FAULT));
    cr_expect(eq(u16, fault.reply_code, 502));
}

Test(method, arguments_take_1024_fields_and_no_more)
{
    for (uint32_t count = 1024; count <= 1025; count++) {
        buffer_clear(&table);
        for (uint32_t i = 0; i < count; i++) {
            buffer_put_u8(&table, 0);
            buffer_put_u8(&table, 'V');
        }
        struct method method = {.id = METHOD_QUEUE_DECLARE,
                                .queue_declare = {.arguments = buffer_bytes(&table)}};
        buffer_clear(&wire);
        method_encode(&wire, &method);
        enum status status = try_decode(buffer_bytes(&wire));
        cr_expect(eq(int, status, count == 1024 ? STATUS_OK : STATUS_FAULT));
    }
    cr_expect(eq(u16, fault.reply_code, 501));
}

Test(method, a_failed_decode_leaves_the_result_alone)
{
    static const uint8_t ack[] = {0, 60, 0, 80, 1, 2, 3, 4, 5, 6, 7, 8};
    struct method method = {.id = METHOD_TX_COMMIT, .basic_ack = {.delivery_tag = 77}};
    cr_expect(eq(int, method_decode(&method, bytes_make(ack, sizeof(ack)), &fault), STATUS_FAULT));
    cr_expect(eq(int, method.id, METHOD_TX_COMMIT));
    cr_expect(eq(u64, method.basic_ack.delivery_tag, 77));
}

/* The one place where a name is written twice. */
Test(method, names_are_those_of_the_structs)
{
    static const char *const idents[METHOD_COUNT] = {
#define METHOD(upper, lower, name, class_id, method_id, sender, content, fields) #lower,
#include "amqp/methods.def"
    };
    for (int id = 0; id < METHOD_COUNT; id++) {
        const struct method_info *info = method_info((enum method_id)id);
        char expected[64];
        snprintf(expected, sizeof(expected), "%s", idents[id]);
        char *separator = strchr(expected, '_');
        *separator = '.';
        for (char *at = separator; *at != '\0'; at++) {
            *at = *at == '_' ? '-' : *at;
        }
        cr_expect(eq(str, (char *)info->name, expected));
    }
}

/* What the specification and its extensions say, from another source than methods.def. */
Test(method, ids_senders_and_content_are_those_of_the_specification)
{
    static const struct {
        enum method_id id;
        uint16_t class_id;
        uint16_t method_id;
        enum method_sender sender;
    } rows[] = {
        {METHOD_CONNECTION_START_OK, 10, 11, METHOD_SENDER_CLIENT},
        {METHOD_CONNECTION_BLOCKED, 10, 60, METHOD_SENDER_SERVER},
        {METHOD_CHANNEL_CLOSE, 20, 40, METHOD_SENDER_BOTH},
        {METHOD_EXCHANGE_UNBIND, 40, 40, METHOD_SENDER_CLIENT},
        {METHOD_EXCHANGE_UNBIND_OK, 40, 51, METHOD_SENDER_SERVER}, /* not 41 */
        {METHOD_QUEUE_UNBIND, 50, 50, METHOD_SENDER_CLIENT},
        {METHOD_BASIC_RECOVER_ASYNC, 60, 100, METHOD_SENDER_CLIENT},
        {METHOD_BASIC_RECOVER, 60, 110, METHOD_SENDER_CLIENT},
        {METHOD_BASIC_NACK, 60, 120, METHOD_SENDER_BOTH},
        {METHOD_CONFIRM_SELECT, 85, 10, METHOD_SENDER_CLIENT},
        {METHOD_TX_ROLLBACK_OK, 90, 31, METHOD_SENDER_SERVER},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        const struct method_info *info = method_info(rows[i].id);
        cr_expect(eq(u16, info->class_id, rows[i].class_id), "%s", info->name);
        cr_expect(eq(u16, info->method_id, rows[i].method_id), "%s", info->name);
        cr_expect(eq(int, info->sender, rows[i].sender), "%s", info->name);
    }
    for (int id = 0; id < METHOD_COUNT; id++) {
        bool carries_content = id == METHOD_BASIC_PUBLISH || id == METHOD_BASIC_RETURN ||
                               id == METHOD_BASIC_DELIVER || id == METHOD_BASIC_GET_OK;
        cr_expect(eq(int, method_info((enum method_id)id)->has_content, carries_content));
    }
}

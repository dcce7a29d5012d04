/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/fuzz/make.h"

#include "amqp/frame.h"
#include "amqp/properties.h"
#include "amqp/table.h"
#include "base/assert.h"

enum { TABLE_ITEMS_MAX = 5, BODY_PART_MAX = 40 };

void
maker_init(struct maker *maker, struct draw *draw)
{
    maker->draw = draw;
    arena_init(&maker->arena);
}

void
maker_fini(struct maker *maker)
{
    arena_fini(&maker->arena);
}

static struct bytes
keep(struct maker *maker, struct buffer *buffer)
{
    assert(!buffer->failed);
    struct bytes kept = arena_copy(&maker->arena, buffer_bytes(buffer));
    buffer_fini(buffer);
    return kept;
}

/* Texts --------------------------------------------------------------------------------------- */

enum { VOCABULARY_MAX = 34 };

struct vocabulary {
    const char *what;
    const char *words[VOCABULARY_MAX]; /* up to the first NULL */
};

/* The last row stands for everything else. */
static const struct vocabulary vocabularies[] = {
    {"queue", {"", "a", "b", "c", "qq", "amq.rabbitmq.reply-to", "amq.x"}},
    {"exchange",
     {"", "x", "y", "amq.direct", "amq.fanout", "amq.topic", "amq.headers", "amq.default",
      "bourse.control"}},
    {"source",
     {"", "x", "y", "amq.direct", "amq.fanout", "amq.topic", "amq.headers", "bourse.control"}},
    {"destination", {"", "x", "y", "amq.fanout", "amq.topic", "bourse.control"}},
    {"type",
     {"direct", "fanout", "topic", "headers", "x-delayed-message", "x-delayed-message",
      "x-consistent-hash", "x-modulus-hash", "x-random", ""}},
    {"routing_key",
     {"", "a", "b", "c", "a.b", "#", "*", "a.#", "#.b", "a.*.c", "amq.gen-1", "5", "failure-note"}},
    {"consumer_tag", {"", "t", "u", "v"}},
    {"virtual_host", {"/", "", "other"}},
    {"mechanism", {"PLAIN", "AMQPLAIN", "EXTERNAL", "X"}},
    {"reply_to", {"amq.rabbitmq.reply-to", "a", "amq.rabbitmq.reply-to.AAAA"}},
    {"expiration", {"0", "10", "60000", "x", "-1", "4294967296"}},
    {"user_id", {"guest", "narrow", "x"}},
    {"header",
     {"CC",
      "BCC",
      "a",
      "b",
      "x-match",
      "x-death",
      "x-a",
      "",
      "x-delay",
      "x-delay",
      "x-deliver-at",
      "delivery-tag",
      "class",
      "text",
      "advice",
      "consumer-tag",
      "traceparent",
      "x-delivery-count",
      "x-last-verdict",
      "x-first-death-queue"}},
    {"match", {"all", "any", "all-with-x", "any-with-x", "none"}},
    {"argument",
     {"x-queue-type",
      "x-max-length",
      "x-overflow",
      "x-single-active-consumer",
      "x-max-priority",
      "x-message-ttl",
      "x-expires",
      "x-dead-letter-exchange",
      "x-priority",
      "alternate-exchange",
      "x-dead-letter-routing-key",
      "x-match",
      "a",
      "x-delivery-limit",
      "x-delayed-type",
      "x-max-length-bytes",
      "x-delayed-retry-type",
      "x-delayed-retry-min",
      "x-delayed-retry-max",
      "x-delayed-retry-multiplier",
      "x-delayed-retry-jitter",
      "x-delayed-retry-max-age",
      "x-delayed-retry-counts",
      "x-delayed-retry-order",
      "x-release-rate",
      "x-consumer-timeout",
      "x-consumer-disconnected-timeout",
      "hash-header",
      "hash-property"}},
    {"value",
     {"quorum", "classic", "stream", "drop-head", "reject-publish", "all", "any", "a", "b", "x",
      "amq.fanout", "y"}},
    {"x-queue-type", {"quorum", "classic", "stream"}},
    {"x-overflow", {"drop-head", "reject-publish", "reject-publish-dlx"}},
    {"x-dead-letter-exchange", {"", "", "x", "y", "amq.fanout", "amq.topic", "gone"}},
    {"x-dead-letter-routing-key", {"a", "b", "c", "qq", "a.b"}},
    {"x-delayed-retry-type", {"all", "failed", "returned", "disabled"}},
    {"x-delayed-retry-jitter", {"full"}},
    {"x-delayed-retry-counts", {"nack", "reject", "lost", "timeout", "nack,reject,lost,timeout"}},
    {"x-delayed-retry-order", {"free", "hold"}},
    {"hash-property", {"message_id", "correlation_id", "timestamp"}},
    {"hash-header", {"a", "b"}},
    {"alternate-exchange", {"x", "y", "amq.fanout"}},
    {"class", {"E"}},
    {"text", {"it failed"}},
    {"advice", {"again"}},
    {"capability",
     {"consumer_cancel_notify", "connection.blocked", "authentication_failure_close",
      "capabilities", "connection_name"}},
    {NULL, {"", "a", "en_US"}},
};

static const char *
draw_word(struct draw *draw, const char *what)
{
    const struct vocabulary *vocabulary = vocabularies;
    while (vocabulary->what != NULL && strcmp(vocabulary->what, what) != 0) {
        vocabulary++;
    }
    uint32_t count = 0;
    while (count < VOCABULARY_MAX && vocabulary->words[count] != NULL) {
        count++;
    }
    return vocabulary->words[draw_below(draw, count)];
}

struct bytes
make_text(struct maker *maker, const char *what)
{
    if (!draw_chance(maker->draw, 3)) {
        return bytes_of(draw_word(maker->draw, what));
    }
    uint8_t octets[UINT8_MAX];
    size_t size = draw_chance(maker->draw, 30) ? sizeof(octets) : draw_below(maker->draw, 9);
    for (size_t i = 0; i < size; i++) {
        octets[i] = (uint8_t)(draw_chance(maker->draw, 2) ? draw_u64(maker->draw)
                                                          : 'a' + draw_below(maker->draw, 26));
    }
    return arena_copy(&maker->arena, bytes_make(octets, size));
}

/* Tables -------------------------------------------------------------------------------------- */

/* What a field of that name usually takes: words of its own, or NULL: a number. */
static const char *
words_of(struct bytes name)
{
    static const char *const others[][2] = {
        {"x-match", "match"}, {"x-delayed-type", "type"}, {"consumer-tag", "consumer_tag"}};
    for (size_t i = 0; i < ARRAY_LEN(others); i++) {
        if (bytes_equal_text(name, others[i][0])) {
            return others[i][1];
        }
    }
    for (const struct vocabulary *vocabulary = vocabularies; vocabulary->what != NULL;
         vocabulary++) {
        if (bytes_equal_text(name, vocabulary->what)) {
            return vocabulary->what;
        }
    }
    return NULL;
}

/* As a client would say it that knows the field, so that it leads somewhere. */
static void
put_usual(struct maker *maker, struct buffer *table, struct bytes name)
{
    uint8_t octets[8];
    const char *words = words_of(name);
    struct table_value value = {.type = 'l', .raw = bytes_make(octets, sizeof(octets))};
    put_u64(octets, draw_number(maker->draw));
    if (words != NULL) {
        value = (struct table_value){.type = 'S', .raw = make_text(maker, words)};
    }
    table_put_value(table, name, &value);
}

static void
put_scalar(struct maker *maker, struct buffer *table, struct bytes name, const char *words)
{
    static const char letters[] = "tbBsuIilLfdDTVSx";
    static const uint8_t sizes[] = {1, 1, 1, 2, 2, 4, 4, 8, 8, 4, 8, 5, 8, 0};
    uint32_t letter = draw_below(maker->draw, sizeof(letters) - 1);
    uint8_t octets[8];
    uint64_t number = draw_number(maker->draw);
    struct table_value value = {.type = (uint8_t)letters[letter]};
    if (letter < ARRAY_LEN(sizes)) {
        for (size_t i = 0; i < sizes[letter]; i++) {
            octets[i] = (uint8_t)(number >> (8 * (sizes[letter] - 1 - i)));
        }
        value.raw = bytes_make(octets, sizes[letter]);
    } else {
        value.raw = make_text(maker, words);
    }
    table_put_value(table, name, &value);
}

static void
put_field(struct maker *maker, struct buffer *table, struct bytes name)
{
    if (draw_chance(maker->draw, 60)) {
        put_usual(maker, table, name);
    } else {
        put_scalar(maker, table, name, "value");
    }
}

/* A value may be the table that was built before, so that tables nest. */
static void
put_nested(struct maker *maker, struct buffer *table, struct bytes name, struct bytes *inner)
{
    struct table_value value = {.type = 'F', .raw = *inner};
    if (draw_chance(maker->draw, 50)) {
        /* As an array: the same fields without names. */
        struct buffer items;
        buffer_init(&items);
        struct byte_reader reader = byte_reader_make(*inner);
        struct bytes ignored;
        struct table_value item;
        const uint8_t *field = reader.next;
        for (; table_next(&reader, &ignored, &item); field = reader.next) {
            const uint8_t *start = field + 1 + ignored.size;
            buffer_put(&items, start, (size_t)(reader.next - start));
        }
        value = (struct table_value){.type = 'A', .raw = keep(maker, &items)};
    }
    table_put_value(table, name, &value);
    *inner = bytes_make(NULL, 0);
}

struct bytes
make_table(struct maker *maker, const char *what)
{
    bool is_headers = strcmp(what, "headers") == 0;
    const char *names = is_headers                               ? "header"
                        : strcmp(what, "client_properties") == 0 ? "capability"
                                                                 : "argument";
    struct bytes inner = bytes_make(NULL, 0); /* tables are built from the inside out */
    uint32_t levels = draw_chance(maker->draw, 20) ? 1 + draw_below(maker->draw, 17) : 1;
    for (; levels > 0; levels--) {
        struct buffer table;
        buffer_init(&table);
        uint32_t count =
            draw_chance(maker->draw, 40) ? 0 : draw_below(maker->draw, TABLE_ITEMS_MAX);
        uint32_t nested_at = draw_below(maker->draw, count + 1);
        for (uint32_t i = 0; i <= count; i++) {
            struct bytes name = make_text(maker, names);
            if (i == nested_at && inner.size > 0) {
                put_nested(maker, &table, name, &inner);
            } else if (i < count) {
                put_field(maker, &table, name);
            }
        }
        inner = keep(maker, &table);
    }
    return inner;
}

enum { FIELDS_MAX = 64 };

struct field {
    struct bytes name;
    struct table_value value;
};

/* Puts the fields of a valid table in another order, or some of them not at all or twice. */
static void
put_changed_fields(struct draw *draw, struct buffer *out, struct bytes table)
{
    struct field fields[FIELDS_MAX];
    uint32_t count = 0;
    struct byte_reader reader = byte_reader_make(table);
    while (count < FIELDS_MAX && table_next(&reader, &fields[count].name, &fields[count].value)) {
        count++;
    }
    uint32_t swaps = draw_chance(draw, 50) ? 1 + draw_below(draw, 3) : 0;
    for (; swaps > 0 && count > 0; swaps--) {
        uint32_t at = draw_below(draw, count);
        uint32_t other = draw_below(draw, count);
        struct field field = fields[at];
        fields[at] = fields[other];
        fields[other] = field;
    }
    for (uint32_t i = 0; i < count; i++) {
        uint32_t fate = draw_below(draw, 16);
        for (uint32_t copies = fate == 0 ? 0 : fate == 1 ? 2 : 1; copies > 0; copies--) {
            table_put_value(out, fields[i].name, &fields[i].value);
        }
    }
}

size_t
mutate_table(uint8_t *data, size_t size, size_t size_max, struct draw *draw)
{
    struct maker maker;
    struct buffer out;
    struct fault fault;
    maker_init(&maker, draw);
    buffer_init(&out);
    struct bytes table = bytes_make(data, size);
    bool is_valid = table_validate(table, TABLE_FIELDS_MAX, &fault) == STATUS_OK;
    if (is_valid) {
        put_changed_fields(draw, &out, table);
    }
    if (!is_valid || draw_chance(draw, 50)) {
        buffer_put_bytes(&out, make_table(&maker, draw_chance(draw, 50) ? "headers" : "arguments"));
    }
    size_t out_size = buffer_size(&out);
    if (out_size <= size_max && out_size > 0) {
        memcpy(data, buffer_bytes(&out).data, out_size);
        size = out_size;
    }
    if (size > 0 && draw_chance(draw, 25)) {
        data[draw_below(draw, (uint32_t)size)] ^= (uint8_t)(1U << draw_below(draw, 8));
    }
    buffer_fini(&out);
    maker_fini(&maker);
    return size;
}

/* Contents ------------------------------------------------------------------------------------ */

struct bytes
make_properties(struct maker *maker)
{
    struct draw *draw = maker->draw;
    struct properties properties = {.flags = 0};
    if (draw_chance(draw, 60)) {
        properties.flags = (uint16_t)(draw_u64(draw) & draw_u64(draw) & 0xFFFC);
    }
    properties.delivery_mode = (uint8_t)draw_number(draw);
    properties.priority = (uint8_t)draw_number(draw);
    properties.timestamp = draw_number(draw);
    properties.content_type = make_text(maker, "content_type");
    properties.content_encoding = make_text(maker, "content_encoding");
    properties.headers = make_table(maker, "headers");
    properties.correlation_id = make_text(maker, "correlation_id");
    properties.reply_to = make_text(maker, "reply_to");
    properties.expiration = make_text(maker, "expiration");
    properties.message_id = make_text(maker, "message_id");
    properties.type = make_text(maker, "type");
    properties.user_id = make_text(maker, "user_id");
    properties.app_id = make_text(maker, "app_id");
    properties.cluster_id = make_text(maker, "cluster_id");
    struct buffer block;
    buffer_init(&block);
    properties_encode(&block, &properties);
    return keep(maker, &block);
}

/* Methods ------------------------------------------------------------------------------------- */

#define OCTET(name) into->name = (uint8_t)draw_number(maker->draw);
#define SHORT(name) into->name = (uint16_t)draw_number(maker->draw);
#define LONG(name) into->name = (uint32_t)draw_number(maker->draw);
#define LONGLONG(name) into->name = draw_number(maker->draw);
#define BIT(name) into->name = draw_chance(maker->draw, 30);
#define SHORTSTR(name) into->name = make_text(maker, #name);
#define LONGSTR(name) into->name = make_text(maker, #name);
#define TABLE(name) into->name = make_table(maker, #name);
#define NO_FIELDS                                                                                  \
    (void)maker;                                                                                   \
    into->nothing = 0;
#define METHOD(upper, lower, name, class_id, method_id, sender, content, fields)                   \
    static void make_##lower(struct maker *maker, struct lower *into)                              \
    {                                                                                              \
        fields                                                                                     \
    }
#include "amqp/methods.def"

struct method
make_method_of(struct maker *maker, enum method_id id)
{
    struct method method = {.id = id};
    switch (id) {
#define METHOD(upper, lower, name, class_id, method_id, sender, content, fields)                   \
    case METHOD_##upper:                                                                           \
        make_##lower(maker, &method.lower);                                                        \
        break;
#include "amqp/methods.def"
    case METHOD_COUNT:
        break;
    }
    return method;
}

/* The methods that lead somewhere come more often than the others. */
struct method
make_method(struct maker *maker)
{
    static const enum method_id usual[] = {
        METHOD_CHANNEL_OPEN,     METHOD_QUEUE_DECLARE,  METHOD_QUEUE_BIND,    METHOD_BASIC_CONSUME,
        METHOD_EXCHANGE_DECLARE, METHOD_EXCHANGE_BIND,  METHOD_BASIC_GET,     METHOD_BASIC_ACK,
        METHOD_BASIC_NACK,       METHOD_CONFIRM_SELECT, METHOD_TX_SELECT,     METHOD_TX_COMMIT,
        METHOD_BASIC_PUBLISH,    METHOD_BASIC_PUBLISH,  METHOD_BASIC_PUBLISH, METHOD_BASIC_PUBLISH,
        METHOD_BASIC_QOS,        METHOD_QUEUE_BIND,     METHOD_BASIC_REJECT,  METHOD_QUEUE_DELETE,
        METHOD_BASIC_RECOVER,    METHOD_BASIC_CANCEL,
    };
    if (draw_chance(maker->draw, 75)) {
        return make_method_of(maker, usual[draw_below(maker->draw, ARRAY_LEN(usual))]);
    }
    enum method_id id = (enum method_id)draw_below(maker->draw, METHOD_COUNT);
    if ((method_info(id)->sender & METHOD_SENDER_CLIENT) == 0 && draw_chance(maker->draw, 90)) {
        id = METHOD_BASIC_ACK;
    }
    return make_method_of(maker, id);
}

/* Frames -------------------------------------------------------------------------------------- */

static void
put_method_frame(struct buffer *out, uint16_t channel, const struct method *method)
{
    struct buffer payload;
    buffer_init(&payload);
    method_encode(&payload, method);
    frame_encode(out, FRAME_TYPE_METHOD, channel, buffer_bytes(&payload));
    buffer_fini(&payload);
}

/* Of a failure note that may be right: its delivery is one of the first of its channel. */
static struct bytes
make_note_properties(struct maker *maker)
{
    static const char *const names[] = {"class", "text", "advice", "consumer-tag"};
    struct buffer table;
    struct buffer block;
    buffer_init(&table);
    buffer_init(&block);
    put_usual(maker, &table, bytes_of("delivery-tag"));
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        if (draw_chance(maker->draw, 40)) {
            put_usual(maker, &table, bytes_of(names[i]));
        }
    }
    struct properties properties = {.flags = PROPERTY_HEADERS, .headers = keep(maker, &table)};
    properties_encode(&block, &properties);
    return keep(maker, &block);
}

/* What says more than one thing that have to fit: one chance in some that they do. */
static void
make_fit(struct maker *maker, struct method *method)
{
    if (method->id == METHOD_EXCHANGE_DECLARE && draw_chance(maker->draw, 70) &&
        bytes_equal_text(method->exchange_declare.type, "x-delayed-message")) {
        struct buffer table;
        buffer_init(&table);
        put_usual(maker, &table, bytes_of("x-delayed-type"));
        method->exchange_declare.arguments = keep(maker, &table);
    } else if (method->id == METHOD_BASIC_PUBLISH && draw_chance(maker->draw, 6)) {
        method->basic_publish.exchange = bytes_of("bourse.control");
        method->basic_publish.routing_key = bytes_of("failure-note");
    }
}

static bool
is_note(const struct method *method)
{
    return method->id == METHOD_BASIC_PUBLISH &&
           bytes_equal_text(method->basic_publish.routing_key, "failure-note");
}

static void
put_content_frames(struct maker *maker, struct buffer *out, uint16_t channel, bool is_of_note)
{
    static const uint8_t body[BODY_PART_MAX] = "what a message may have to say";
    struct draw *draw = maker->draw;
    uint32_t parts = draw_below(draw, 3);
    uint32_t part_size = draw_below(draw, BODY_PART_MAX);
    uint64_t body_size = (uint64_t)parts * part_size;
    struct buffer header;
    buffer_init(&header);
    buffer_put_u16(&header, CLASS_BASIC);
    buffer_put_u16(&header, 0);
    buffer_put_u64(&header, draw_chance(draw, 5) ? draw_number(draw) : body_size);
    buffer_put_bytes(&header, is_of_note && draw_chance(draw, 80) ? make_note_properties(maker)
                                                                  : make_properties(maker));
    frame_encode(out, FRAME_TYPE_HEADER, channel, buffer_bytes(&header));
    buffer_fini(&header);
    for (; parts > 0; parts--) {
        frame_encode(out, FRAME_TYPE_BODY, channel, bytes_make(body, part_size));
    }
}

void
make_frames(struct maker *maker, struct buffer *out, uint16_t channel)
{
    struct method method = make_method(maker);
    make_fit(maker, &method);
    put_method_frame(out, channel, &method);
    if (method_info(method.id)->has_content && draw_chance(maker->draw, 95)) {
        put_content_frames(maker, out, channel, is_note(&method));
    }
}

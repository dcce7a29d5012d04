/* SPDX-License-Identifier: Apache-2.0 */
#include "config/hints.h"

#include "base/assert.h"

/* Keys --------------------------------------------------------------------------------------- */

struct key_hint {
    const char *record; /* NULL: of any */
    const char *key;
    const char *hint;
};

static const struct key_hint key_hints[] = {
    {"queue", "auto-delete",
     "; queues of a file stay: \"expires\" deletes one that nobody has used for so long"},
    {"queue", "auto_delete",
     "; queues of a file stay: \"expires\" deletes one that nobody has used for so long"},
    {"queue", "exclusive", "; a queue of a file belongs to no connection: leave it out"},
    {"queue", "single-active", "; it stands under \"consumers\""},
    {"queue", "max-bytes", "; it stands under \"limits\""},
    {"queue", "on-full", "; it stands under \"limits\""},
    {"queue", "attempts", "; it stands under \"retry\""},
    {"queue", "key", "; it stands under \"from\", beside the exchange"},
    {"queue", "exchange", "; it stands under \"from\", or under \"dead-letter\""},
    {"user", "password",
     "; no password stands in a file: put it into one of its own, and name that by "
     "\"password-file\""},
    {"listeners", "management", "; here it is called \"http\" or \"https\""},
    {"listeners", "tls", "; here it is called \"amqps\""},
    {"listeners", "ssl", "; here it is called \"amqps\""},
    {"listeners", "prometheus", "; here it is called \"metrics\""},
    {"the file", "include", "; name all files on the command line instead"},
    {"the file", "vhosts", "; a file is of one: \"vhost: NAME\""},
    {"the file", "rabbit_version",
     "; this is a definitions.json: \"bourse import\" makes a file of it"},
    {"the file", "rabbitmq_version",
     "; this is a definitions.json: \"bourse import\" makes a file of it"},
    {"the file", "bindings", "; here it is called \"from\", of a queue or an exchange"},
    /* Words of other brokers. */
    {NULL, "message-ttl", "; here it is called \"ttl\""},
    {NULL, "max-length", "; here it is called \"limits.max-length\""},
    {NULL, "max-length-bytes", "; here it is called \"limits.max-bytes\""},
    {NULL, "overflow", "; here it is called \"limits.on-full\""},
    {NULL, "max-priority", "; here it is called \"priorities\""},
    {NULL, "queue-type", "; here it is called \"type\""},
    {NULL, "single-active-consumer", "; here it is called \"consumers.single-active\""},
    {NULL, "consumer-timeout", "; here it is called \"ack-timeout\""},
    {NULL, "dead-letter-exchange", "; here it is called \"dead-letter.exchange\""},
    {NULL, "dead-letter-routing-key", "; here it is called \"dead-letter.key\""},
    {NULL, "alternate-exchange", "; here it is called \"unrouted\""},
    {NULL, "routing-key", "; here it is called \"key\""},
    {NULL, "routing_key", "; here it is called \"key\""},
    {NULL, "auto_delete", "; here it is called \"auto-delete\""},
    {NULL, "bindings", "; here it is called \"from\""},
    {NULL, "permissions", "; here it is called \"rights\""},
    {NULL, "tags", "; here it is called \"role\""},
};

const char *
hint_for_key(const char *record, struct bytes key)
{
    if (bytes_starts_with(key, "x-")) {
        key = bytes_make(key.data + 2, key.size - 2);
    }
    for (size_t i = 0; i < ARRAY_LEN(key_hints); i++) {
        const struct key_hint *row = &key_hints[i];
        if ((row->record == NULL || strcmp(row->record, record) == 0) &&
            bytes_equal_text(key, row->key)) {
            return row->hint;
        }
    }
    return NULL;
}

/* Values ------------------------------------------------------------------------------------- */

/* "ttl:1s" is a text, and no key. */
static bool
lacks_a_blank(struct bytes text)
{
    const uint8_t *colon = text.size == 0 ? NULL : memchr(text.data, ':', text.size);
    return colon != NULL && colon + 1 < text.data + text.size && colon[1] != '/';
}

struct shape {
    const char *name, *hint;
};

static const char *
find_shape(const struct shape *shapes, size_t count, const char *name)
{
    for (size_t i = 0; i < count; i++) {
        if (strcmp(shapes[i].name, name) == 0) {
            return shapes[i].hint;
        }
    }
    return "";
}

const char *
hint_for_map(const char *record, struct bytes text)
{
    static const struct shape shapes[] = {
        {"binding", "; such as {exchange: orders, key: order.eu}"},
        {"dead-letter", "; such as {exchange: dead}"},
        {"listener", "; such as {bind: \"127.0.0.1:5672\"}"},
        {"limits", "; such as {max-length: 1000}"},
        {"alert", "; such as {ready-above: 10}"},
        {"consumers", "; such as {single-active: true}"},
    };
    const char *hint = find_shape(shapes, ARRAY_LEN(shapes), record);
    bool is_amiss = strcmp(record, "listener") != 0 && lacks_a_blank(text);
    return is_amiss ? "; is a blank missing behind the colon?" : hint;
}

const char *
hint_for_shape(const char *key)
{
    static const struct shape shapes[] = {
        {"from", "; such as [{exchange: orders, key: order.eu}]"},
        {"key", "; each key is a binding of its own"},
        {"publish", "; such as [orders]"},
        {"consume", "; such as [billing]"},
        {"protect", "; such as [billing]"},
        {"counts", "; such as [nack, timeout]"},
        {"queues", "; such as {billing: {ttl: 1h}}"},
        {"exchanges", "; such as {orders: {type: topic}}"},
        {"users", "; such as {billing: {auth: cert}}"},
    };
    return find_shape(shapes, ARRAY_LEN(shapes), key);
}

const char *
hint_for_word(struct bytes word)
{
    static const struct shape words[] = {
        {"drop-head", "; here it is called drop-oldest"},
        {"reject-publish", "; here it is called reject"},
        {"reject-publish-dlx", "; here it is called dead-letter"},
        {"administrator", "; here it is called admin"},
        {"monitoring", "; here it is called monitor"},
        {"policymaker", "; here it is called operator"},
        {"management", "; here it is called monitor, which looks, or operator, which also acts"},
        {"warning", "; here it is called warn"},
        {"yes", "; write true"},
        {"on", "; write true"},
        {"True", "; write true"},
        {"no", "; write false"},
        {"off", "; write false"},
        {"False", "; write false"},
    };
    for (size_t i = 0; i < ARRAY_LEN(words); i++) {
        if (bytes_equal_text(word, words[i].name)) {
            return words[i].hint;
        }
    }
    return "";
}

/* Lines -------------------------------------------------------------------------------------- */

static bool
has_text(struct bytes line, const char *text)
{
    return line.size > 0 && memmem(line.data, line.size, text, strlen(text)) != NULL;
}

/* Whether a value begins with that character, outside of quotes: behind a colon, a dash or an
 * opening bracket. */
static bool
has_value_with(struct bytes line, char first)
{
    int quote = 0;     /* that is open; 0: none */
    int before = '\n'; /* the last that was no blank */
    for (size_t i = 0; i < line.size; i++) {
        int at = line.data[i];
        if (quote == 0 && at == first && before != 0 && strchr(":-[,{", before) != NULL) {
            return true;
        }
        if (at == quote) {
            quote = 0;
        } else if (quote == 0 && (at == '"' || at == '\'')) {
            quote = at;
        }
        before = at == ' ' ? before : at;
    }
    return false;
}

const char *
hint_for_line(struct bytes line)
{
    if (bytes_starts_with(line, "<<<<<<<") || bytes_starts_with(line, "=======") ||
        bytes_starts_with(line, ">>>>>>>")) {
        return "; this is a conflict that a merge has left: choose one of its sides";
    }
    if (has_text(line, "{{") || has_text(line, "${")) {
        return "; nothing is filled in here: give it what the template has made";
    }
    if (has_text(line, "\t")) {
        return "; YAML is indented with blanks, not with tabs";
    }
    if (has_value_with(line, '*')) {
        return "; a text that begins with * stands in quotes";
    }
    if (has_value_with(line, '#')) {
        return "; a # begins a comment: a text with one stands in quotes";
    }
    if (has_value_with(line, '%') || has_value_with(line, '@') || has_value_with(line, '`')) {
        return "; a text that begins so stands in quotes";
    }
    return "";
}

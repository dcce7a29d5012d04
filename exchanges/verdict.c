/* SPDX-License-Identifier: Apache-2.0 */
#include "exchanges/verdict.h"

#include <inttypes.h>
#include <stdio.h>

#include "base/log.h"

enum { SHOWN_SIZE = 80 };

uint32_t
verdict_key_distance(struct bytes a, struct bytes b)
{
    size_t shorter = a.size < b.size ? a.size : b.size;
    size_t longer = a.size < b.size ? b.size : a.size;
    size_t front = 0;
    while (front < shorter && a.data[front] == b.data[front]) {
        front++;
    }
    size_t back = 0;
    while (back < shorter - front && a.data[a.size - 1 - back] == b.data[b.size - 1 - back]) {
        back++;
    }
    return (uint32_t)(longer - front - back);
}

static const char *
topic_text(const struct topic_finding *finding, char *out)
{
    char found[SHOWN_SIZE];
    char wanted[SHOWN_SIZE];
    log_escape(found, sizeof(found), finding->found);
    log_escape(wanted, sizeof(wanted), finding->wanted);
    switch (finding->stop) {
    case TOPIC_MATCHES:
        return "every word matches";
    case TOPIC_WORD_DIFFERS:
        (void)snprintf(out, VERDICT_TEXT_SIZE, "word %" PRIu32 " is %s, the pattern wants %s",
                       finding->word, found, wanted);
        break;
    case TOPIC_KEY_ENDS:
        (void)snprintf(out, VERDICT_TEXT_SIZE, "the key ends where the pattern wants %s", wanted);
        break;
    case TOPIC_PATTERN_ENDS:
        (void)snprintf(out, VERDICT_TEXT_SIZE, "the pattern ends before word %" PRIu32 ", %s",
                       finding->word, found);
        break;
    case TOPIC_KEY_TOO_LONG:
        return "a key of more than 255 octets matches nothing";
    }
    return out;
}

static const char *
value_text(const struct table_value *value, char out[static SHOWN_SIZE])
{
    char plain[SHOWN_SIZE];
    table_value_text(value, plain, sizeof(plain));
    if (table_value_class(value) == TABLE_CLASS_STRING) {
        return log_escape(out, SHOWN_SIZE, bytes_of(plain));
    }
    (void)snprintf(out, SHOWN_SIZE, "%s", plain);
    return out;
}

static const char *
headers_text(const struct binding_verdict *verdict, char *out)
{
    char name[SHOWN_SIZE];
    char wanted[SHOWN_SIZE];
    char found[SHOWN_SIZE];
    log_escape(name, sizeof(name), verdict->header);
    const char *or_others = verdict->needs_all ? "" : ", and no other header matches either";
    if (verdict->matches && verdict->needs_all) {
        return "every header that is asked for is there";
    }
    if (verdict->matches) {
        (void)snprintf(out, VERDICT_TEXT_SIZE, "header %s is as asked for", name);
    } else if (!verdict->has_found) {
        (void)snprintf(out, VERDICT_TEXT_SIZE, "there is no header %s%s", name, or_others);
    } else {
        bool other_type = verdict->wanted.type != verdict->found.type;
        (void)snprintf(out, VERDICT_TEXT_SIZE, "header %s is %s%s%s, the binding wants %s%s%s%s",
                       name, other_type ? table_type_name(verdict->found.type) : "",
                       other_type ? " " : "", value_text(&verdict->found, found),
                       other_type ? table_type_name(verdict->wanted.type) : "",
                       other_type ? " " : "", value_text(&verdict->wanted, wanted), or_others);
    }
    return out;
}

static const char *
key_text(const struct binding_verdict *verdict, char *out)
{
    char wanted[SHOWN_SIZE];
    char found[SHOWN_SIZE];
    if (verdict->matches) {
        return "the keys are equal";
    }
    (void)snprintf(out, VERDICT_TEXT_SIZE, "the key is %s, the binding wants %s",
                   log_escape(found, sizeof(found), verdict->message_key),
                   log_escape(wanted, sizeof(wanted), verdict->routing_key));
    return out;
}

static const char *
choose_text(const struct binding_verdict *verdict, char *out)
{
    switch (verdict->reason) {
    case VERDICT_ALWAYS:
        return "a fanout exchange takes every message";
    case VERDICT_KEY:
        return key_text(verdict, out);
    case VERDICT_TOPIC:
        return topic_text(&verdict->topic, out);
    case VERDICT_HEADERS:
        return headers_text(verdict, out);
    case VERDICT_NO_HEADERS:
        return verdict->needs_all ? "it asks for no header, so every message matches"
                                  : "it asks for any of no headers, so nothing matches";
    case VERDICT_HASH:
        (void)snprintf(
            out, VERDICT_TEXT_SIZE,
            "the hash of %s, %016" PRIx64 ", belongs to %s; share %" PRIu64 " of %" PRIu64,
            verdict->hashed, verdict->hash, verdict->matches ? "this one" : "another binding",
            verdict->share, verdict->shares);
        return out;
    case VERDICT_CHANCE:
        (void)snprintf(out, VERDICT_TEXT_SIZE,
                       "one of %" PRIu64 " bindings has the message, by chance", verdict->shares);
        return out;
    }
    return "";
}

const char *
verdict_text(const struct binding_verdict *verdict, char out[static VERDICT_TEXT_SIZE])
{
    const char *text = choose_text(verdict, out);
    if (text != out) {
        (void)snprintf(out, VERDICT_TEXT_SIZE, "%s", text);
    }
    return out;
}

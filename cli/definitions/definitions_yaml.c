/* SPDX-License-Identifier: Apache-2.0 */
/* Sections in the order of docs/configuration.md: exchanges, retry blocks that several queues
 * share, queues, policies; users are written in definitions_users.c. */
#include "cli/definitions/definitions_yaml.h"

#include <inttypes.h>
#include <stdlib.h>

#include "base/assert.h"
#include "broker/explain/units_text.h"
#include "cli/definitions/definitions_known.h"
#include "cli/definitions/definitions_users.h"
#include "cli/definitions/queue_words.h"
#include "cli/definitions/yaml_text.h"

enum { RETRY_NAME_SIZE = 32 };

/* A retry block that several queues have. */
struct shared_retry {
    struct retry_words words;
    size_t user_count;
    char name[RETRY_NAME_SIZE];
};

struct writer {
    FILE *out;
    struct definitions *definitions;
    struct known known;
    struct queue_words *words; /* of the known queues, in their order */
    struct shared_retry *retries;
    size_t retry_count;
};

/* Small parts --------------------------------------------------------------------------------- */

static void
put_key(struct writer *writer, const char *indent, struct bytes name)
{
    fputs(indent, writer->out);
    yaml_put_text(writer->out, name);
    fputc(':', writer->out);
}

static void
flow_duration(struct yaml_flow *flow, const char *key, int64_t ms)
{
    struct duration_text text;
    if (ms >= 0) {
        yaml_flow_key(flow, key);
        fputs(duration_text(ms, &text), flow->out);
    }
}

static void
flow_number(struct yaml_flow *flow, const char *key, int64_t number)
{
    if (number >= 0) {
        yaml_flow_key(flow, key);
        fprintf(flow->out, "%" PRId64, number);
    }
}

static void
flow_table(struct yaml_flow *flow, const char *key, struct bytes table)
{
    if (table.size > 0) {
        struct table_value value = {.type = 'F', .raw = table};
        yaml_flow_key(flow, key);
        yaml_put_value(flow->out, &value);
    }
}

static void
put_binding(FILE *out, const struct definitions_binding *binding)
{
    struct yaml_flow flow = {.out = out};
    yaml_flow_text(&flow, "exchange", binding->source);
    if (binding->routing_key.size > 0) {
        yaml_flow_text(&flow, "key", binding->routing_key);
    }
    flow_table(&flow, "arguments", binding->arguments);
    yaml_flow_end(&flow);
}

/* In a map on one line: one binding behind the other, on lines of their own if there are several.
 */
static void
flow_bindings(struct yaml_flow *flow, const struct known_bindings *from)
{
    if (from->count == 0) {
        return;
    }
    yaml_flow_key(flow, "from");
    for (size_t i = 0; i < from->count; i++) {
        fputs(i == 0 ? "[" : ", ", flow->out);
        fputs(from->count > 1 ? "\n      " : "", flow->out);
        put_binding(flow->out, from->items[i]);
    }
    fputc(']', flow->out);
}

static void
put_bindings(struct writer *writer, const struct known_bindings *from)
{
    if (from->count == 0) {
        return;
    }
    fputs("    from:\n", writer->out);
    for (size_t i = 0; i < from->count; i++) {
        fputs("      - ", writer->out);
        put_binding(writer->out, from->items[i]);
        fputc('\n', writer->out);
    }
}

/* "    KEY: " in front of a value in block style. */
static void
put_line(struct writer *writer, const char *key)
{
    fprintf(writer->out, "    %s: ", key);
}

static void
put_table_line(struct writer *writer, const char *key, struct bytes table)
{
    if (table.size > 0) {
        struct table_value value = {.type = 'F', .raw = table};
        put_line(writer, key);
        yaml_put_value(writer->out, &value);
        fputc('\n', writer->out);
    }
}

static void
put_duration_line(struct writer *writer, const char *key, int64_t ms)
{
    struct duration_text text;
    if (ms >= 0) {
        put_line(writer, key);
        fprintf(writer->out, "%s\n", duration_text(ms, &text));
    }
}

static void
put_number_line(struct writer *writer, const char *key, int64_t number)
{
    if (number >= 0) {
        put_line(writer, key);
        fprintf(writer->out, "%" PRId64 "\n", number);
    }
}

/* Exchanges ----------------------------------------------------------------------------------- */

static bool
knows_exchange(void *context, struct bytes name)
{
    const struct writer *writer = context;
    return known_has_exchange(&writer->known, name);
}

/* The alternate exchange as a word, if there is one and it is known; the rest of the arguments. */
static struct bytes
find_unrouted(struct writer *writer, const struct known_exchange *exchange, struct bytes *rest)
{
    struct table_value value;
    *rest = exchange->arguments;
    if (!table_find(exchange->arguments, "alternate-exchange", &value) ||
        !known_has_exchange(&writer->known, value.raw)) {
        return bytes_make(NULL, 0);
    }
    struct buffer table;
    buffer_init(&table);
    table_copy_without(&table, exchange->arguments, "alternate-exchange");
    *rest = arena_copy(&writer->definitions->arena, buffer_bytes(&table));
    buffer_fini(&table);
    return value.raw;
}

static void
flow_flag(struct yaml_flow *flow, const char *key, bool value, bool by_default)
{
    if (value != by_default) {
        yaml_flow_key(flow, key);
        fputs(value ? "true" : "false", flow->out);
    }
}

/* One line, unless there are bindings, which stand below each other. */
static void
put_exchange(struct writer *writer, const struct known_exchange *exchange)
{
    struct yaml_flow flow = {.out = writer->out};
    struct bytes rest;
    struct bytes unrouted = find_unrouted(writer, exchange, &rest);
    const struct definitions_exchange *is = exchange->is;
    put_key(writer, "  ", is->name);
    fputc(' ', writer->out);
    yaml_flow_text(&flow, "type", bytes_of(is->type));
    flow_flag(&flow, "durable", is->durable, true);
    flow_flag(&flow, "auto-delete", is->auto_delete, false);
    flow_flag(&flow, "internal", is->internal, false);
    if (unrouted.data != NULL) {
        yaml_flow_text(&flow, "unrouted", unrouted);
    }
    flow_table(&flow, "arguments", rest);
    flow_bindings(&flow, &exchange->from);
    yaml_flow_end(&flow);
    fputc('\n', writer->out);
}

static void
put_exchanges(struct writer *writer)
{
    if (writer->known.exchange_count > 0) {
        fputs("\nexchanges:\n", writer->out);
    }
    for (size_t i = 0; i < writer->known.exchange_count; i++) {
        put_exchange(writer, &writer->known.exchanges[i]);
    }
}

/* Retry --------------------------------------------------------------------------------------- */

static void
put_retry_flow(FILE *out, const struct retry_words *retry)
{
    struct yaml_flow flow = {.out = out};
    flow_duration(&flow, "first", retry->first_ms);
    yaml_flow_key(&flow, "factor");
    fprintf(out, "%.17g", retry->factor);
    flow_duration(&flow, "max", retry->max_ms);
    yaml_flow_key(&flow, "jitter");
    if (retry->jitter_is_full) {
        fputs("full", out);
    } else {
        fprintf(out, "%" PRId64 "%%", retry->jitter_percent);
    }
    flow_number(&flow, "attempts", retry->attempts);
    flow_duration(&flow, "max-age", retry->max_age_ms);
    if (retry->counts.data != NULL) {
        yaml_flow_key(&flow, "counts");
        fprintf(out, "[%.*s]", BYTES_FORMAT(retry->counts));
    }
    if (retry->order.data != NULL) {
        yaml_flow_text(&flow, "order", retry->order);
    }
    if (retry->then.data != NULL) {
        yaml_flow_text(&flow, "then", retry->then);
    }
    yaml_flow_end(&flow);
}

/* The block of that content, or NULL. */
static struct shared_retry *
find_retry(const struct writer *writer, const struct retry_words *words)
{
    for (size_t i = 0; i < writer->retry_count; i++) {
        if (retry_words_equal(&writer->retries[i].words, words)) {
            return &writer->retries[i];
        }
    }
    return NULL;
}

/* Finds the blocks that are worth a name: those of more than one queue. */
static void
share_retries(struct writer *writer)
{
    size_t named_count = 0;
    assert(writer->retries != NULL);
    for (size_t i = 0; i < writer->known.queue_count; i++) {
        const struct retry_words *words = &writer->words[i].retry;
        struct shared_retry *retry = words->is_there ? find_retry(writer, words) : NULL;
        if (retry != NULL) {
            retry->user_count++;
        } else if (words->is_there) {
            writer->retries[writer->retry_count++] =
                (struct shared_retry){.words = *words, .user_count = 1};
        }
    }
    for (size_t i = 0; i < writer->retry_count; i++) {
        if (writer->retries[i].user_count > 1) {
            (void)snprintf(writer->retries[i].name, RETRY_NAME_SIZE, "retry-%zu", ++named_count);
        }
    }
}

static void
put_retries(struct writer *writer)
{
    bool has_head = false;
    for (size_t i = 0; i < writer->retry_count; i++) {
        const struct shared_retry *retry = &writer->retries[i];
        if (retry->name[0] == '\0') {
            continue;
        }
        fputs(has_head ? "" : "\nretry:\n", writer->out);
        has_head = true;
        fprintf(writer->out, "  %s: ", retry->name);
        put_retry_flow(writer->out, &retry->words);
        fputc('\n', writer->out);
    }
}

static void
put_retry_line(struct writer *writer, const struct retry_words *words)
{
    if (!words->is_there) {
        return;
    }
    const struct shared_retry *retry = find_retry(writer, words);
    put_line(writer, "retry");
    if (retry->name[0] != '\0') {
        fputs(retry->name, writer->out);
    } else {
        put_retry_flow(writer->out, words);
    }
    fputc('\n', writer->out);
}

/* Queues -------------------------------------------------------------------------------------- */

static void
put_limits(struct writer *writer, const struct queue_words *words)
{
    struct yaml_flow flow = {.out = writer->out};
    struct size_text size;
    if (words->on_full == NULL) {
        return;
    }
    put_line(writer, "limits");
    flow_number(&flow, "max-length", words->max_length);
    if (words->max_length_bytes >= 0) {
        yaml_flow_key(&flow, "max-bytes");
        fputs(size_text(words->max_length_bytes, &size), writer->out);
    }
    yaml_flow_text(&flow, "on-full", bytes_of(words->on_full));
    yaml_flow_end(&flow);
    fputc('\n', writer->out);
}

static void
put_dead_letter(struct writer *writer, const struct queue_words *words)
{
    struct yaml_flow flow = {.out = writer->out};
    if (words->dead_letter_exchange.data == NULL) {
        return;
    }
    put_line(writer, "dead-letter");
    yaml_flow_text(&flow, "exchange", words->dead_letter_exchange);
    if (words->dead_letter_key.data != NULL) {
        yaml_flow_text(&flow, "key", words->dead_letter_key);
    }
    yaml_flow_end(&flow);
    fputc('\n', writer->out);
}

static void
put_alert(struct writer *writer, const struct config_alert *alert)
{
    struct yaml_flow flow = {.out = writer->out};
    if (!alert->has_ready && !alert->has_oldest) {
        return;
    }
    put_line(writer, "alert");
    flow_number(&flow, "ready-above", alert->has_ready ? alert->ready_above : -1);
    flow_duration(&flow, "oldest-above", alert->has_oldest ? alert->oldest_above_ms : -1);
    yaml_flow_end(&flow);
    fputc('\n', writer->out);
}

static bool
says_nothing(const struct known_queue *queue, const struct queue_words *words)
{
    const struct config_alert *alert = &queue->is->alert;
    return queue->from.count == 0 && queue->is->durable && queue->arguments.size == 0 &&
           words->rest.size == 0 && !alert->has_ready && !alert->has_oldest;
}

static void
put_queue(struct writer *writer, const struct known_queue *queue, const struct queue_words *words)
{
    put_key(writer, "  ", queue->is->name);
    if (says_nothing(queue, words)) {
        fputs(" {}\n", writer->out);
        return;
    }
    fputc('\n', writer->out);
    put_bindings(writer, &queue->from);
    if (words->type.data != NULL) {
        put_line(writer, "type");
        fprintf(writer->out, "%.*s\n", BYTES_FORMAT(words->type));
    }
    fputs(queue->is->durable ? "" : "    durable: false\n", writer->out);
    put_limits(writer, words);
    put_duration_line(writer, "ttl", words->ttl_ms);
    put_duration_line(writer, "expires", words->expires_ms);
    put_number_line(writer, "priorities", words->priorities);
    fputs(words->single_active ? "    consumers: {single-active: true}\n" : "", writer->out);
    put_duration_line(writer, "ack-timeout", words->ack_timeout_ms);
    put_number_line(writer, "release-rate", words->release_rate);
    put_retry_line(writer, &words->retry);
    put_dead_letter(writer, words);
    put_alert(writer, &queue->is->alert);
    put_table_line(writer, "arguments", words->rest);
}

static void
find_words(struct writer *writer)
{
    struct arena *arena = &writer->definitions->arena;
    size_t count = writer->known.queue_count;
    writer->words = arena_alloc(arena, (count + 1) * sizeof(*writer->words));
    writer->retries = arena_alloc(arena, (count + 1) * sizeof(*writer->retries));
    for (size_t i = 0; i < count; i++) {
        queue_words_find(&writer->words[i], writer->known.queues[i].arguments, knows_exchange,
                         writer, arena);
    }
    share_retries(writer);
}

static void
put_queues(struct writer *writer)
{
    if (writer->known.queue_count > 0) {
        fputs("\nqueues:\n", writer->out);
    }
    for (size_t i = 0; i < writer->known.queue_count; i++) {
        put_queue(writer, &writer->known.queues[i], &writer->words[i]);
    }
}

/* Policies ------------------------------------------------------------------------------------ */

static void
put_policy(struct writer *writer, const struct known_policy *policy)
{
    put_key(writer, "  ", policy->is->name);
    fputc('\n', writer->out);
    put_line(writer, "pattern");
    yaml_put_text(writer->out, policy->is->pattern);
    fputc('\n', writer->out);
    if (strcmp(policy->is->apply_to, "all") != 0) {
        put_line(writer, "apply-to");
        fprintf(writer->out, "%s\n", policy->is->apply_to);
    }
    if (policy->is->priority != 0) {
        put_line(writer, "priority");
        fprintf(writer->out, "%" PRId32 "\n", policy->is->priority);
    }
    put_table_line(writer, "definition", policy->definition);
}

static void
put_policies(struct writer *writer, const char *section, bool are_operators)
{
    bool has_head = false;
    for (size_t i = 0; i < writer->known.policy_count; i++) {
        const struct known_policy *policy = &writer->known.policies[i];
        if (policy->is->is_operator == are_operators) {
            if (!has_head) {
                fprintf(writer->out, "\n%s:\n", section);
            }
            has_head = true;
            put_policy(writer, policy);
        }
    }
}

/* Protection ---------------------------------------------------------------------------------- */

static void
put_protected(struct writer *writer, struct bytes name, size_t *count)
{
    fputs((*count)++ == 0 ? "\nprotect:\n" : "", writer->out);
    fputs("  - ", writer->out);
    yaml_put_text(writer->out, name);
    fputc('\n', writer->out);
}

/* A name stands for a queue and an exchange that both have it, and stands there once. */
static void
put_protect(struct writer *writer)
{
    size_t count = 0;
    for (size_t i = 0; i < writer->known.queue_count; i++) {
        const struct definitions_queue *queue = writer->known.queues[i].is;
        if (queue->is_protected) {
            put_protected(writer, queue->name, &count);
        }
    }
    for (size_t i = 0; i < writer->known.exchange_count; i++) {
        const struct definitions_exchange *exchange = writer->known.exchanges[i].is;
        const struct known_queue *namesake = map_get(&writer->known.queue_index, exchange->name);
        if (exchange->is_protected && (namesake == NULL || !namesake->is->is_protected)) {
            put_protected(writer, exchange->name, &count);
        }
    }
}

/* The file ------------------------------------------------------------------------------------ */

static void
put_head(struct writer *writer)
{
    const struct definitions_vhost *vhost =
        definitions_find_vhost(writer->definitions, writer->known.vhost);
    struct yaml_flow flow = {.out = writer->out};
    int64_t queues_max = vhost->queues_max;
    fputs("bourse: 1\nvhost: ", writer->out);
    yaml_put_text(writer->out, writer->known.vhost);
    fputc('\n', writer->out);
    if (queues_max >= 0 && (uint64_t)queues_max < writer->known.queue_count) {
        definitions_warn(writer->definitions,
                         "vhost \"%.*s\": max-queues is left out: there are more queues",
                         BYTES_FORMAT(writer->known.vhost));
        queues_max = -1;
    }
    if (vhost->connections_max >= 0 || queues_max >= 0) {
        fputs("limits: ", writer->out);
        flow_number(&flow, "max-connections", vhost->connections_max);
        flow_number(&flow, "max-queues", queues_max);
        yaml_flow_end(&flow);
        fputc('\n', writer->out);
    }
}

void
definitions_write_yaml(struct definitions *definitions, struct bytes vhost, FILE *out)
{
    struct writer writer = {.out = out, .definitions = definitions};
    known_init(&writer.known, definitions, vhost);
    find_words(&writer);
    put_head(&writer);
    put_exchanges(&writer);
    put_retries(&writer);
    put_queues(&writer);
    put_policies(&writer, "policies", false);
    put_policies(&writer, "operator-policies", true);
    put_protect(&writer);
    definitions_write_users(definitions, &writer.known, out);
    known_fini(&writer.known);
}

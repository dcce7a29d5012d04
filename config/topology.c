/* SPDX-License-Identifier: Apache-2.0 */
/* Exchanges, queues and bindings of the files as the broker is to declare them. */
#include "config/topology.h"

#include "base/assert.h"
#include "config/arguments.h"
#include "config/cycles.h"
#include "config/queue_arguments.h"
#include "config/report.h"

/* What every vhost has besides the default exchange, which has no name to bind to. */
static const char *const predeclared_exchanges[] = {
    "amq.direct", "amq.fanout",         "amq.topic",      "amq.headers",
    "amq.match",  "amq.rabbitmq.trace", "bourse.control", NULL,
};

static const char *const exchange_type_names[] = {
    [EXCHANGE_TYPE_DIRECT] = "direct",
    [EXCHANGE_TYPE_FANOUT] = "fanout",
    [EXCHANGE_TYPE_TOPIC] = "topic",
    [EXCHANGE_TYPE_HEADERS] = "headers",
    [EXCHANGE_TYPE_CONSISTENT_HASH] = "x-consistent-hash",
    [EXCHANGE_TYPE_MODULUS_HASH] = "x-modulus-hash",
    [EXCHANGE_TYPE_RANDOM] = "x-random",
    [EXCHANGE_TYPE_DELAYED] = "x-delayed-message",
};

struct compiler {
    struct config *config;
    struct document *document;
    struct map protected_names; /* of `protect`: struct setting by name */
    size_t binding_capacity;
    size_t argument_bytes;
    bool is_too_large; /* reported once */
};

/* Protection and alerts ---------------------------------------------------------------------- */

static void
note_protected(struct compiler *compiler)
{
    const struct setting_list *protect = &compiler->document->protect;
    map_init(&compiler->protected_names, (uint64_t)(uintptr_t)compiler->config);
    for (size_t i = 0; i < protect->count; i++) {
        map_put(&compiler->protected_names, protect->items[i].value.text, &protect->items[i]);
    }
}

static bool
is_protected(const struct compiler *compiler, struct bytes name)
{
    return map_get(&compiler->protected_names, name) != NULL;
}

static struct config_alert
compile_alert(const struct document_alert *alert)
{
    return (struct config_alert){
        .has_ready = alert->ready_above.node != NULL,
        .has_oldest = alert->oldest_above.node != NULL,
        .ready_above = alert->ready_above.value.integer,
        .oldest_above_ms = alert->oldest_above.value.integer,
    };
}

/* References --------------------------------------------------------------------------------- */

static bool
is_predeclared(struct bytes name)
{
    for (const char *const *known = predeclared_exchanges; *known != NULL; known++) {
        if (bytes_equal_text(name, *known)) {
            return true;
        }
    }
    return false;
}

bool
topology_has_exchange(const struct document *document, struct bytes name)
{
    return is_predeclared(name) || named_list_find(&document->exchanges, name) != NULL;
}

/* A guess costs a look at every name: only so many are made in one run. */
static void
offer_names(const struct config *config, const struct named_list *list,
            struct suggestion *suggestion)
{
    enum { GUESSES_MAX = 100, NAMES_MAX = 10000 };
    if (config->report.count > GUESSES_MAX || list->count > NAMES_MAX) {
        return;
    }
    for (size_t i = 0; i < list->count; i++) {
        const struct named *named = list->items[i];
        suggestion_offer(suggestion, named->name);
    }
}

void
topology_report_unknown_exchange(struct config *config, const struct document *document,
                                 struct config_mark mark, const char *what, struct bytes name)
{
    char guess[SUGGESTION_TEXT_SIZE];
    struct suggestion suggestion = suggestion_for(name);
    offer_names(config, &document->exchanges, &suggestion);
    for (const char *const *known = predeclared_exchanges; *known != NULL; known++) {
        suggestion_offer(&suggestion, bytes_of(*known));
    }
    bool is_queue = named_list_find(&document->queues, name) != NULL;
    report_error(config, mark, "\"%s\" names the exchange \"%.*s\", which is not declared%s", what,
                 BYTES_FORMAT(name),
                 is_queue ? "; it is a queue: declare an exchange that it takes \"from\""
                          : suggestion_text(&suggestion, guess));
}

void
topology_report_unknown_queue(struct config *config, const struct document *document,
                              struct config_mark mark, const char *what, struct bytes name)
{
    char guess[SUGGESTION_TEXT_SIZE];
    struct suggestion suggestion = suggestion_for(name);
    offer_names(config, &document->queues, &suggestion);
    report_error(config, mark, "\"%s\" names the queue \"%.*s\", which is not declared%s", what,
                 BYTES_FORMAT(name), suggestion_text(&suggestion, guess));
}

static void
check_exchange_reference(struct compiler *compiler, const struct setting *setting, const char *what)
{
    if (setting->node != NULL && !topology_has_exchange(compiler->document, setting->value.text)) {
        topology_report_unknown_exchange(compiler->config, compiler->document, setting->node->mark,
                                         what, setting->value.text);
    }
}

static void
check_not_reserved(struct compiler *compiler, const struct named *named, const char *what)
{
    if (bytes_starts_with(named->name, "amq.")) {
        report_error(compiler->config, named->mark,
                     "the name of the %s \"%.*s\" begins with \"amq.\", which is reserved", what,
                     BYTES_FORMAT(named->name));
    }
}

/* Arguments ---------------------------------------------------------------------------------- */

static struct bytes
finish_arguments(struct compiler *compiler, struct config_mark mark, struct buffer *table)
{
    compiler->argument_bytes += buffer_size(table);
    if (compiler->argument_bytes <= TOPOLOGY_ARGUMENT_BYTES_MAX && !table->failed) {
        return arguments_finish(compiler->config, table);
    }
    if (!compiler->is_too_large) {
        report_error(compiler->config, mark,
                     "the arguments of all objects together are larger "
                     "than 64 MiB");
    }
    compiler->is_too_large = true;
    buffer_fini(table);
    return bytes_of("");
}

/* An argument that a word stands for is given by the word or by its name, never by both. */
static void
check_argument_not_given(struct compiler *compiler, const struct node *arguments, const char *name,
                         const char *word)
{
    const struct node *given = arguments == NULL ? NULL : node_find(arguments, bytes_of(name));
    if (given != NULL) {
        report_error(compiler->config, given->key_mark, "\"%s\" says the same as \"%s\"; keep one",
                     name, word);
    }
}

/* Bindings ----------------------------------------------------------------------------------- */

static struct config_binding *
add_binding(struct compiler *compiler)
{
    struct config *config = compiler->config;
    if (config->binding_count == compiler->binding_capacity) {
        size_t capacity = compiler->binding_capacity == 0 ? 16 : compiler->binding_capacity * 2;
        struct config_binding *bindings = arena_alloc(&config->arena, capacity * sizeof(*bindings));
        if (config->binding_count > 0) {
            memcpy(bindings, config->bindings, config->binding_count * sizeof(*bindings));
        }
        config->bindings = bindings;
        compiler->binding_capacity = capacity;
    }
    return &config->bindings[config->binding_count++];
}

/* Where binding arguments are wrong, it is mostly x-match. */
static struct config_mark
binding_arguments_mark(const struct document_binding *from)
{
    const struct node *match =
        from->arguments == NULL ? NULL : node_find(from->arguments, bytes_of("x-match"));
    if (match != NULL) {
        return match->mark;
    }
    return from->arguments == NULL ? from->node->mark : from->arguments->mark;
}

static void
compile_binding(struct compiler *compiler, const struct document_binding *from,
                struct bytes destination, bool to_exchange)
{
    struct buffer table;
    if (from->exchange.node == NULL) {
        return; /* reported as missing or wrong */
    }
    if (compiler->config->binding_count == TOPOLOGY_BINDINGS_MAX) {
        if (!compiler->is_too_large) {
            report_error(compiler->config, from->node->mark, "more than 262,144 bindings");
        }
        compiler->is_too_large = true;
        return;
    }
    check_exchange_reference(compiler, &from->exchange, "from");
    buffer_init(&table);
    arguments_put_map(compiler->config, &table, from->arguments);
    struct bytes arguments = finish_arguments(compiler, from->node->mark, &table);
    *add_binding(compiler) = (struct config_binding){
        .source = from->exchange.value.text,
        .destination = destination,
        .to_exchange = to_exchange,
        .routing_key = from->key.node == NULL ? bytes_of("") : from->key.value.text,
        .arguments = arguments,
        .key_mark = from->key.node == NULL ? from->node->mark : from->key.node->mark,
        .arguments_mark = binding_arguments_mark(from),
        .mark = from->node->mark,
    };
}

static void
compile_bindings(struct compiler *compiler, const struct record_list *from,
                 struct bytes destination, bool to_exchange)
{
    for (size_t i = 0; i < from->count; i++) {
        compile_binding(compiler, from->items[i], destination, to_exchange);
    }
}

/* Exchanges ---------------------------------------------------------------------------------- */

static bool
boolean_or(const struct setting *setting, bool by_default)
{
    return setting->node == NULL ? by_default : setting->value.integer != 0;
}

static struct bytes
compile_exchange_arguments(struct compiler *compiler, const struct document_exchange *exchange)
{
    struct buffer table;
    buffer_init(&table);
    if (exchange->unrouted.node != NULL) {
        check_argument_not_given(compiler, exchange->arguments, "alternate-exchange", "unrouted");
        arguments_put_text(&table, "alternate-exchange", exchange->unrouted.value.text);
    }
    arguments_put_map(compiler->config, &table, exchange->arguments);
    return finish_arguments(compiler, exchange->named.mark, &table);
}

static void
compile_exchange(struct compiler *compiler, const struct document_exchange *exchange,
                 struct config_exchange *out)
{
    check_not_reserved(compiler, &exchange->named, "exchange");
    check_exchange_reference(compiler, &exchange->unrouted, "unrouted");
    out->name = exchange->named.name;
    out->mark = exchange->named.mark;
    out->type = exchange_type_names[exchange->type.value.integer];
    out->durable = boolean_or(&exchange->durable, true);
    out->auto_delete = boolean_or(&exchange->auto_delete, false);
    out->internal = boolean_or(&exchange->internal, false);
    out->arguments_mark =
        exchange->arguments == NULL ? exchange->named.mark : exchange->arguments->mark;
    out->arguments = compile_exchange_arguments(compiler, exchange);
    out->is_protected = is_protected(compiler, out->name);
    compile_bindings(compiler, &exchange->from, out->name, true);
}

static void
compile_exchanges(struct compiler *compiler)
{
    struct config *config = compiler->config;
    const struct named_list *list = &compiler->document->exchanges;
    config->exchanges = arena_alloc(&config->arena, (list->count + 1) * sizeof(*config->exchanges));
    config->exchange_count = list->count;
    for (size_t i = 0; i < list->count; i++) {
        compile_exchange(compiler, list->items[i], &config->exchanges[i]);
    }
}

/* Queues ------------------------------------------------------------------------------------- */

/* The policy that `retry` of a queue means: its own block or a named one. NULL: none. */
static const struct document_retry *
find_retry(struct compiler *compiler, const struct document_queue *queue)
{
    const struct choice *retry = &queue->retry;
    if (retry->node == NULL || retry->record != NULL) {
        return retry->record;
    }
    const struct document_retry *found = named_list_find(&compiler->document->retry, retry->name);
    if (found == NULL) {
        char guess[SUGGESTION_TEXT_SIZE];
        struct suggestion suggestion = suggestion_for(retry->name);
        offer_names(compiler->config, &compiler->document->retry, &suggestion);
        report_error(compiler->config, retry->node->mark,
                     "\"retry\" names \"%.*s\", which is not declared%s", BYTES_FORMAT(retry->name),
                     suggestion_text(&suggestion, guess));
    }
    return found;
}

/* Whether the longest delay is not less than the first. */
static bool
retry_is_ordered(const struct document_retry *retry)
{
    return retry->max.node == NULL || retry->first.node == NULL ||
           retry->max.value.integer >= retry->first.value.integer;
}

static void
check_retry(struct compiler *compiler, const struct document_retry *retry)
{
    check_exchange_reference(compiler, &retry->then, "then");
    if (!retry_is_ordered(retry)) {
        report_error(compiler->config, retry->max.node->mark, "\"max\" is less than \"first\"");
    }
}

static void
check_dead_letters(struct compiler *compiler, const struct document_queue *queue,
                   const struct document_retry *retry)
{
    const struct setting *exchange = &queue->dead_letter.exchange;
    const struct setting *then = retry == NULL ? NULL : &retry->then;
    bool has_then = then != NULL && then->node != NULL;
    bool has_target = exchange->node != NULL || has_then;

    if (exchange->node != NULL && exchange->value.text.size > 0) {
        check_exchange_reference(compiler, exchange, "dead-letter.exchange");
    }
    if (queue->dead_letter.key.node != NULL && !has_target) {
        report_error(compiler->config, queue->dead_letter.key.node->mark,
                     "\"dead-letter.key\" needs \"dead-letter.exchange\"");
    }
    if (queue->limits.on_full.value.integer == ON_FULL_DEAD_LETTER && !has_target) {
        report_error(compiler->config, queue->limits.on_full.node->mark,
                     "\"on-full: dead-letter\" needs \"dead-letter\" or a retry with \"then\"");
    }
    if (retry != NULL && !has_target) {
        report_warning(compiler->config, queue->retry.node->mark,
                       "queue \"%.*s\" retries, but has neither \"then\" nor \"dead-letter\" for "
                       "messages that fail for good: they stay in its quarantine",
                       BYTES_FORMAT(queue->named.name));
    }
    if (has_then && exchange->node != NULL &&
        !bytes_equal(exchange->value.text, then->value.text)) {
        report_warning(compiler->config, exchange->node->mark,
                       "messages that fail for good go to \"%.*s\" and not to the \"then\" of the "
                       "retry, \"%.*s\"",
                       BYTES_FORMAT(exchange->value.text), BYTES_FORMAT(then->value.text));
    }
}

static void
add_mark(struct config_queue *out, struct bytes name, struct config_mark mark)
{
    out->argument_marks[out->argument_count++] = (struct config_argument){name, mark};
}

/* Where each argument stands: by a word, or under `arguments`. */
static void
mark_arguments(struct compiler *compiler, const struct document_queue *queue,
               const struct queue_argument *words, size_t word_count, struct config_queue *out)
{
    size_t raw_count = queue->arguments == NULL ? 0 : queue->arguments->count;
    out->argument_marks = arena_alloc(&compiler->config->arena,
                                      (word_count + raw_count + 1) * sizeof(*out->argument_marks));
    for (size_t i = 0; i < word_count; i++) {
        const struct node *node = words[i].node != NULL ? words[i].node : queue->retry.node;
        if (node != NULL) {
            add_mark(out, bytes_of(words[i].name), node->mark);
        }
    }
    const struct node *child = queue->arguments == NULL ? NULL : queue->arguments->first;
    for (; child != NULL; child = child->next) {
        add_mark(out, child->key, child->kind == NODE_BROKEN ? child->key_mark : child->mark);
    }
}

static void
compile_queue_arguments(struct compiler *compiler, const struct document_queue *queue,
                        const struct document_retry *retry, struct config_queue *out)
{
    struct queue_argument words[QUEUE_ARGUMENTS_MAX];
    size_t count = queue_arguments_list(queue, retry, words);
    struct buffer table;
    buffer_init(&table);
    for (size_t i = 0; i < count; i++) {
        check_argument_not_given(compiler, queue->arguments, words[i].name, words[i].word);
        queue_argument_put(&words[i], &table);
    }
    arguments_put_map(compiler->config, &table, queue->arguments);
    mark_arguments(compiler, queue, words, count, out);
    out->arguments = finish_arguments(compiler, queue->named.mark, &table);
}

static void
compile_queue(struct compiler *compiler, const struct document_queue *queue,
              struct config_queue *out)
{
    size_t errors_before = compiler->config->report.error_count;
    const struct document_retry *retry = find_retry(compiler, queue);
    check_not_reserved(compiler, &queue->named, "queue");
    if (queue->retry.record != NULL) {
        check_retry(compiler, retry);
    }
    check_dead_letters(compiler, queue, retry);
    out->name = queue->named.name;
    out->mark = queue->named.mark;
    out->durable = boolean_or(&queue->durable, true);
    compile_queue_arguments(compiler, queue, retry, out);
    out->has_errors = compiler->config->report.error_count > errors_before ||
                      (retry != NULL && !retry_is_ordered(retry));
    out->is_protected = is_protected(compiler, out->name);
    out->alert = compile_alert(&queue->alert);
    compile_bindings(compiler, &queue->from, out->name, false);
}

static void
compile_queues(struct compiler *compiler)
{
    struct config *config = compiler->config;
    const struct named_list *list = &compiler->document->queues;
    config->queues = arena_alloc(&config->arena, (list->count + 1) * sizeof(*config->queues));
    config->queue_count = list->count;
    for (size_t i = 0; i < list->count; i++) {
        compile_queue(compiler, list->items[i], &config->queues[i]);
    }
}

static void
check_queue_count(struct compiler *compiler)
{
    const struct setting *limit = &compiler->document->limits.max_queues;
    size_t count = compiler->document->queues.count;
    if (limit->node != NULL && count > (uint64_t)limit->value.integer) {
        report_error(compiler->config, limit->node->mark,
                     "\"max-queues\" is less than the %zu queues that are declared", count);
    }
}

/* Protected objects --------------------------------------------------------------------------- */

static void
check_protected(struct compiler *compiler)
{
    const struct setting_list *protect = &compiler->document->protect;
    for (size_t i = 0; i < protect->count; i++) {
        struct bytes name = protect->items[i].value.text;
        char guess[SUGGESTION_TEXT_SIZE];
        if (topology_has_exchange(compiler->document, name) ||
            named_list_find(&compiler->document->queues, name) != NULL) {
            continue;
        }
        struct suggestion suggestion = suggestion_for(name);
        offer_names(compiler->config, &compiler->document->queues, &suggestion);
        offer_names(compiler->config, &compiler->document->exchanges, &suggestion);
        report_error(compiler->config, protect->items[i].node->mark,
                     "\"protect\" names \"%.*s\", which is neither a queue nor an exchange%s",
                     BYTES_FORMAT(name), suggestion_text(&suggestion, guess));
    }
}

static void
check_named_retries(struct compiler *compiler)
{
    for (size_t i = 0; i < compiler->document->retry.count; i++) {
        check_retry(compiler, compiler->document->retry.items[i]);
    }
}

void
topology_compile(struct config *config, struct document *document)
{
    struct compiler compiler = {.config = config, .document = document};
    note_protected(&compiler);
    compile_exchanges(&compiler);
    compile_queues(&compiler);
    check_queue_count(&compiler);
    check_named_retries(&compiler);
    check_protected(&compiler);
    map_fini(&compiler.protected_names);
    cycles_report(config, document);
}

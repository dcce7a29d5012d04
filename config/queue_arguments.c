/* SPDX-License-Identifier: Apache-2.0 */
/* Words to x-arguments, in the order in which they are written. */
#include "config/queue_arguments.h"

#include <stdio.h>

#include "base/assert.h"
#include "config/arguments.h"

enum {
    RETRY_FACTOR = 2,
    RETRY_JITTER_PERCENT = 20,
    RETRY_ATTEMPTS = 6,
};

static const char *const overflow_names[] = {
    [ON_FULL_REJECT] = "reject-publish",
    [ON_FULL_DROP_OLDEST] = "drop-head",
    [ON_FULL_DEAD_LETTER] = "reject-publish-dlx",
};

struct list {
    struct queue_argument *items;
    size_t count;
};

static struct queue_argument *
list_add(struct list *list, const char *name, const char *word, enum queue_argument_type type)
{
    assert(list->count < QUEUE_ARGUMENTS_MAX);
    struct queue_argument *argument = &list->items[list->count++];
    memset(argument, 0, sizeof(*argument));
    argument->name = name;
    argument->word = word;
    argument->type = type;
    return argument;
}

/* `node` is where the file says so, or NULL. */
static void
list_add_integer(struct list *list, const char *name, const char *word, const struct node *node,
                 int64_t value)
{
    struct queue_argument *argument = list_add(list, name, word, ARGUMENT_INTEGER);
    argument->integer = value;
    argument->node = node;
}

static void
list_add_text(struct list *list, const char *name, const char *word, const struct node *node,
              struct bytes value)
{
    struct queue_argument *argument = list_add(list, name, word, ARGUMENT_TEXT);
    argument->text = value;
    argument->node = node;
}

/* Nothing when the file does not say it. */
static void
list_add_given(struct list *list, const char *name, const char *word, const struct setting *setting)
{
    if (setting->node != NULL) {
        list_add_integer(list, name, word, setting->node, setting->value.integer);
    }
}

static void
list_add_given_text(struct list *list, const char *name, const char *word,
                    const struct setting *setting)
{
    if (setting->node != NULL) {
        list_add_text(list, name, word, setting->node, setting->value.text);
    }
}

static void
list_limits(struct list *list, const struct document_queue_limits *limits)
{
    bool has_limit = limits->max_length.node != NULL || limits->max_bytes.node != NULL;
    list_add_given(list, "x-max-length", "limits.max-length", &limits->max_length);
    list_add_given(list, "x-max-length-bytes", "limits.max-bytes", &limits->max_bytes);
    if (has_limit || limits->on_full.node != NULL) {
        const char *overflow = overflow_names[limits->on_full.value.integer];
        list_add_text(list, "x-overflow", "limits.on-full", limits->on_full.node,
                      bytes_of(overflow));
    }
}

/* A whole factor is written as an integer, so that it reads as it was written. */
static void
list_factor(struct list *list, const struct setting *factor)
{
    double value = factor->node == NULL ? RETRY_FACTOR : factor->value.number;
    bool is_whole = value == (double)(int64_t)value; /* at most 1000 */
    struct queue_argument *argument = list_add(list, "x-delayed-retry-multiplier", "retry.factor",
                                               is_whole ? ARGUMENT_INTEGER : ARGUMENT_NUMBER);
    argument->integer = is_whole ? (int64_t)value : 0;
    argument->number = value;
    argument->node = factor->node;
}

static void
list_jitter(struct list *list, const struct setting *jitter)
{
    if (jitter->node != NULL && jitter->value.is_word) {
        list_add_text(list, "x-delayed-retry-jitter", "retry.jitter", jitter->node,
                      bytes_of("full"));
        return;
    }
    list_add_integer(list, "x-delayed-retry-jitter", "retry.jitter", jitter->node,
                     jitter->node == NULL ? RETRY_JITTER_PERCENT : jitter->value.integer);
}

/* "nack,reject" */
static void
list_counts(struct list *list, const struct setting_list *counts)
{
    if (counts->node == NULL) {
        return;
    }
    struct queue_argument *argument =
        list_add(list, "x-delayed-retry-counts", "retry.counts", ARGUMENT_TEXT);
    argument->node = counts->node;
    size_t used = 0;
    for (size_t i = 0; i < counts->count && used + 10 < sizeof(argument->own_text); i++) {
        used +=
            (size_t)snprintf(argument->own_text + used, sizeof(argument->own_text) - used, "%s%.*s",
                             i == 0 ? "" : ",", BYTES_FORMAT(counts->items[i].value.text));
    }
    argument->text = bytes_make(argument->own_text, used);
}

static void
list_retry(struct list *list, const struct document_retry *retry)
{
    int64_t attempts =
        retry->attempts.node == NULL ? RETRY_ATTEMPTS : retry->attempts.value.integer;
    list_add_text(list, "x-delayed-retry-type", "retry", retry->named.node, bytes_of("all"));
    list_add_given(list, "x-delayed-retry-min", "retry.first", &retry->first);
    list_add_given(list, "x-delayed-retry-max", "retry.max", &retry->max);
    list_factor(list, &retry->factor);
    list_jitter(list, &retry->jitter);
    /* A limit of 3 allows four deliveries. */
    list_add_integer(list, "x-delivery-limit", "retry.attempts", retry->attempts.node,
                     attempts - 1);
    list_add_given(list, "x-delayed-retry-max-age", "retry.max-age", &retry->max_age);
    list_counts(list, &retry->counts);
    list_add_given_text(list, "x-delayed-retry-order", "retry.order", &retry->order);
}

static void
list_dead_letter(struct list *list, const struct document_dead_letter *dead_letter,
                 const struct document_retry *retry)
{
    if (dead_letter->exchange.node != NULL) {
        list_add_given_text(list, "x-dead-letter-exchange", "dead-letter.exchange",
                            &dead_letter->exchange);
    } else if (retry != NULL) {
        list_add_given_text(list, "x-dead-letter-exchange", "retry.then", &retry->then);
    }
    list_add_given_text(list, "x-dead-letter-routing-key", "dead-letter.key", &dead_letter->key);
}

size_t
queue_arguments_list(const struct document_queue *queue, const struct document_retry *retry,
                     struct queue_argument out[static QUEUE_ARGUMENTS_MAX])
{
    struct list list = {.items = out};
    list_add_given_text(&list, "x-queue-type", "type", &queue->type);
    list_limits(&list, &queue->limits);
    list_add_given(&list, "x-message-ttl", "ttl", &queue->ttl);
    list_add_given(&list, "x-expires", "expires", &queue->expires);
    list_add_given(&list, "x-max-priority", "priorities", &queue->priorities);
    if (queue->consumers.single_active.value.integer != 0) {
        struct queue_argument *argument = list_add(&list, "x-single-active-consumer",
                                                   "consumers.single-active", ARGUMENT_BOOLEAN);
        argument->integer = 1;
        argument->node = queue->consumers.single_active.node;
    }
    list_add_given(&list, "x-consumer-timeout", "ack-timeout", &queue->ack_timeout);
    list_add_given(&list, "x-release-rate", "release-rate", &queue->release_rate);
    if (retry != NULL) {
        list_retry(&list, retry);
    }
    list_dead_letter(&list, &queue->dead_letter, retry);
    return list.count;
}

void
queue_argument_put(const struct queue_argument *argument, struct buffer *table)
{
    switch (argument->type) {
    case ARGUMENT_INTEGER:
        arguments_put_integer(table, argument->name, argument->integer);
        break;
    case ARGUMENT_NUMBER:
        arguments_put_number(table, argument->name, argument->number);
        break;
    case ARGUMENT_BOOLEAN:
        arguments_put_boolean(table, argument->name, argument->integer != 0);
        break;
    case ARGUMENT_TEXT:
        arguments_put_text(table, argument->name, argument->text);
        break;
    }
}

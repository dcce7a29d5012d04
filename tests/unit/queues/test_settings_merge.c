/* SPDX-License-Identifier: Apache-2.0 */
/* What is in force where argument, policy and operator policy speak of the same setting: every rule
 * of docs/policies.md. */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <stdio.h>

#include "amqp/table.h"
#include "base/assert.h"
#include "queues/settings.h"

TestSuite(settings_merge);

enum { NONE = INT32_MIN };

/* The three parts, as tables, and what comes of them. */
struct parts {
    struct buffer arguments, policy, operator_policy;
    struct queue_settings settings;
};

static void
parts_init(struct parts *parts)
{
    buffer_init(&parts->arguments);
    buffer_init(&parts->policy);
    buffer_init(&parts->operator_policy);
}

static void
parts_fini(struct parts *parts)
{
    buffer_fini(&parts->arguments);
    buffer_fini(&parts->policy);
    buffer_fini(&parts->operator_policy);
}

static void
merge(struct parts *parts)
{
    struct queue_settings arguments;
    struct queue_settings policy;
    struct queue_settings above;
    struct fault fault;
    enum status status =
        queue_settings_read(&arguments, buffer_bytes(&parts->arguments), "queue", &fault);
    cr_assert(eq(int, status, STATUS_OK), "%s", fault.text);
    queue_settings_fill(&policy, QUEUE_TYPE_CLASSIC, buffer_bytes(&parts->policy),
                        SETTINGS_OF_POLICY, SETTING_FROM_POLICY);
    queue_settings_fill(&above, QUEUE_TYPE_CLASSIC, buffer_bytes(&parts->operator_policy),
                        SETTINGS_OF_POLICY, SETTING_FROM_OPERATOR_POLICY);
    queue_settings_merge(&parts->settings, &arguments,
                         buffer_size(&parts->policy) > 0 ? &policy : NULL,
                         buffer_size(&parts->operator_policy) > 0 ? &above : NULL);
}

static int64_t
number_of(const struct queue_settings *settings, const char *key)
{
    const struct {
        const char *key;
        int64_t number;
    } numbers[] = {
        {"message-ttl", settings->message_ttl_ms},
        {"expires", settings->expires_ms},
        {"max-length", settings->max_length},
        {"max-length-bytes", settings->max_length_bytes},
        {"delivery-limit", settings->delivery_limit},
        {"consumer-timeout", settings->consumer_timeout_ms},
        {"release-rate", settings->release_rate},
        {"delayed-retry-min", settings->retry.min_ms},
        {"delayed-retry-max", settings->retry.max_ms},
        {"delayed-retry-max-age", settings->retry.max_age_ms},
        {"delayed-retry-multiplier", (int64_t)settings->retry.multiplier},
        {"delayed-retry-jitter", settings->retry.jitter.percent},
    };
    for (size_t i = 0; i < ARRAY_LEN(numbers); i++) {
        if (strcmp(numbers[i].key, key) == 0) {
            return numbers[i].number;
        }
    }
    cr_fatal("no number is called %s", key);
}

static enum queue_setting
setting_called(const char *key)
{
    enum queue_setting setting = 0;
    while (strcmp(queue_setting_name(setting), key) != 0) {
        setting++;
        cr_assert(lt(int, setting, QUEUE_SETTING_COUNT), "no setting is called %s", key);
    }
    return setting;
}

Test(settings_merge, of_two_numbers_the_one_that_the_rule_says_wins)
{
    enum { D = SETTING_IS_DEFAULT, A = SETTING_FROM_ARGUMENT };
    enum { P = SETTING_FROM_POLICY, O = SETTING_FROM_OPERATOR_POLICY };
    static const struct {
        const char *key;
        int64_t argument, policy, above;
        int64_t wins;
        int source;
    } rows[] = {
        {"message-ttl", NONE, NONE, NONE, -1, D},
        {"message-ttl", 10, NONE, NONE, 10, A},
        {"message-ttl", NONE, 10, NONE, 10, P},
        {"message-ttl", NONE, NONE, 10, 10, O},
        {"message-ttl", 10, 20, NONE, 10, A},
        {"message-ttl", 20, 10, NONE, 10, P},
        {"message-ttl", 10, 10, NONE, 10, A},
        {"message-ttl", NONE, 10, 20, 10, P},
        {"message-ttl", NONE, 20, 10, 10, O},
        {"message-ttl", 5, 20, 10, 5, A},
        {"message-ttl", 30, 20, 10, 10, O},
        {"message-ttl", 0, 20, 10, 0, A},
        {"expires", 20, 10, NONE, 10, P},
        {"expires", 10, 20, NONE, 10, A},
        {"expires", NONE, 20, 10, 10, O},
        {"expires", NONE, 10, 20, 10, P},
        {"max-length", 20, 10, NONE, 10, P},
        {"max-length", 10, NONE, 20, 10, A},
        {"max-length", NONE, 20, 0, 0, O},
        {"max-length-bytes", 20, 10, NONE, 10, P},
        {"max-length-bytes", 10, 20, NONE, 10, A},
        {"max-length-bytes", NONE, 20, 10, 10, O},
        /* A negative limit is none at all. */
        {"delivery-limit", 5, 3, NONE, 3, P},
        {"delivery-limit", 3, 5, NONE, 3, A},
        {"delivery-limit", -1, 5, NONE, 5, P},
        {"delivery-limit", 5, -1, NONE, 5, A},
        {"delivery-limit", -1, -1, NONE, -1, A},
        {"delivery-limit", NONE, -1, 4, 4, O},
        {"delivery-limit", NONE, 6, 4, 4, O},
        {"delivery-limit", NONE, 4, -1, 4, P},
        {"release-rate", 20, 10, 30, 10, P},
        {"release-rate", 20, 30, 10, 10, O},
        {"consumer-timeout", 20, 10, NONE, 10, P},
        {"consumer-timeout", 10, 20, NONE, 10, A},
        /* Below an operator's the smallest delay is the larger, beside an argument the smaller. */
        {"delayed-retry-min", 20, 10, NONE, 10, P},
        {"delayed-retry-min", 10, 20, NONE, 10, A},
        {"delayed-retry-min", NONE, 10, 20, 20, O},
        {"delayed-retry-min", NONE, 20, 10, 20, P},
        {"delayed-retry-min", 15, 10, 20, 15, A},
        {"delayed-retry-max", 20, 10, NONE, 10, P},
        {"delayed-retry-max", NONE, 10, 20, 10, P},
        {"delayed-retry-max", NONE, 20, 10, 10, O},
        {"delayed-retry-max-age", 20, 10, NONE, 10, P},
        {"delayed-retry-max-age", 10, 20, NONE, 10, A},
        {"delayed-retry-max-age", NONE, 20, 10, 10, O},
        {"delayed-retry-multiplier", 2, 3, NONE, 3, P},
        {"delayed-retry-multiplier", 4, 3, 2, 2, O},
        {"delayed-retry-multiplier", 4, NONE, NONE, 4, A},
        {"delayed-retry-jitter", 10, 20, NONE, 20, P},
        {"delayed-retry-jitter", 10, 20, 0, 0, O},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct parts parts;
        char argument[64];
        parts_init(&parts);
        (void)snprintf(argument, sizeof(argument), "x-%s", rows[i].key);
        if (rows[i].argument != NONE) {
            table_put_integer(&parts.arguments, argument, rows[i].argument);
        }
        if (rows[i].policy != NONE) {
            table_put_integer(&parts.policy, rows[i].key, rows[i].policy);
        }
        if (rows[i].above != NONE) {
            table_put_integer(&parts.operator_policy, rows[i].key, rows[i].above);
        }
        merge(&parts);
        cr_expect(eq(i64, number_of(&parts.settings, rows[i].key), rows[i].wins), "row %zu", i);
        cr_expect(eq(int, queue_settings_source(&parts.settings, setting_called(rows[i].key)),
                     rows[i].source),
                  "row %zu", i);
        parts_fini(&parts);
    }
}

/* An operator's word goes over the policy's, and both give way to the argument of a classic queue;
 * in a quorum queue policies win. */
Test(settings_merge, overflow_depends_on_the_type)
{
    enum { A = SETTING_FROM_ARGUMENT, P = SETTING_FROM_POLICY, O = SETTING_FROM_OPERATOR_POLICY };
    static const struct {
        const char *type, *argument, *policy, *above;
        enum queue_overflow wins;
        int source;
    } rows[] = {
        {"classic", "reject-publish", "drop-head", NULL, OVERFLOW_REJECT_PUBLISH, A},
        {"quorum", "reject-publish", "drop-head", NULL, OVERFLOW_DROP_HEAD, P},
        {"classic", NULL, "reject-publish", "drop-head", OVERFLOW_DROP_HEAD, O},
        {"classic", NULL, "reject-publish-dlx", NULL, OVERFLOW_REJECT_PUBLISH_DLX, P},
        {"classic", "drop-head", "reject-publish", "reject-publish-dlx", OVERFLOW_DROP_HEAD, A},
        {"quorum", "drop-head", NULL, "reject-publish", OVERFLOW_REJECT_PUBLISH, O},
        {"classic", "drop-head", NULL, "reject-publish", OVERFLOW_DROP_HEAD, A},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct parts parts;
        parts_init(&parts);
        table_put_text(&parts.arguments, "x-queue-type", bytes_of(rows[i].type));
        if (rows[i].argument != NULL) {
            table_put_text(&parts.arguments, "x-overflow", bytes_of(rows[i].argument));
        }
        if (rows[i].policy != NULL) {
            table_put_text(&parts.policy, "overflow", bytes_of(rows[i].policy));
        }
        if (rows[i].above != NULL) {
            table_put_text(&parts.operator_policy, "overflow", bytes_of(rows[i].above));
        }
        merge(&parts);
        cr_expect(eq(int, parts.settings.overflow, rows[i].wins), "row %zu", i);
        cr_expect(eq(int, queue_settings_source(&parts.settings, SETTING_OVERFLOW), rows[i].source),
                  "row %zu", i);
        parts_fini(&parts);
    }
}

/* Each for itself: a policy may give the key to an exchange that an argument names. An empty name
 * is the default exchange, and not none. */
Test(settings_merge, an_argument_wins_over_a_policy_where_dead_letters_go)
{
    struct parts parts;
    parts_init(&parts);
    table_put_text(&parts.policy, "dead-letter-exchange", bytes_of("of policy"));
    table_put_text(&parts.policy, "dead-letter-routing-key", bytes_of("key"));
    merge(&parts);
    cr_expect(parts.settings.has_dead_letter_exchange);
    cr_expect(bytes_equal_text(parts.settings.dead_letter_exchange, "of policy"));
    table_put_text(&parts.arguments, "x-dead-letter-exchange", bytes_of(""));
    merge(&parts);
    cr_expect(parts.settings.has_dead_letter_exchange);
    cr_expect(eq(sz, parts.settings.dead_letter_exchange.size, 0));
    cr_expect(parts.settings.has_dead_letter_routing_key);
    cr_expect(bytes_equal_text(parts.settings.dead_letter_routing_key, "key"));
    cr_expect(eq(int, queue_settings_source(&parts.settings, SETTING_DEAD_LETTER_EXCHANGE),
                 SETTING_FROM_ARGUMENT));
    cr_expect(eq(int, queue_settings_source(&parts.settings, SETTING_DEAD_LETTER_ROUTING_KEY),
                 SETTING_FROM_POLICY));
    parts_fini(&parts);
}

Test(settings_merge, an_argument_wins_over_a_policy_in_the_strategy)
{
    struct parts parts;
    parts_init(&parts);
    table_put_text(&parts.arguments, "x-queue-type", bytes_of("quorum"));
    table_put_text(&parts.policy, "dead-letter-strategy", bytes_of("at-least-once"));
    merge(&parts);
    cr_expect(eq(int, parts.settings.dead_letter_strategy, DEAD_LETTER_AT_LEAST_ONCE));
    table_put_text(&parts.arguments, "x-dead-letter-strategy", bytes_of("at-most-once"));
    merge(&parts);
    cr_expect(eq(int, parts.settings.dead_letter_strategy, DEAD_LETTER_AT_MOST_ONCE));
    parts_fini(&parts);
}

/* How a queue retries is the policy's to say. */
Test(settings_merge, policies_win_in_words_about_retry)
{
    struct parts parts;
    parts_init(&parts);
    table_put_text(&parts.arguments, "x-delayed-retry-type", bytes_of("all"));
    table_put_integer(&parts.arguments, "x-delayed-retry-min", 100);
    table_put_text(&parts.arguments, "x-delayed-retry-jitter", bytes_of("full"));
    table_put_text(&parts.arguments, "x-delayed-retry-counts", bytes_of("nack, lost"));
    merge(&parts);
    cr_expect(eq(int, parts.settings.retry.type, RETRY_ALL));
    cr_expect(parts.settings.retry.jitter.is_full);
    cr_expect(eq(int, parts.settings.retry.counts, RETRY_NACK | RETRY_LOST));
    table_put_text(&parts.policy, "delayed-retry-type", bytes_of("failed"));
    table_put_text(&parts.policy, "delayed-retry-order", bytes_of("hold"));
    table_put_text(&parts.policy, "delayed-retry-counts", bytes_of("timeout"));
    table_put_integer(&parts.policy, "delayed-retry-jitter", 5);
    merge(&parts);
    cr_expect(eq(int, parts.settings.retry.type, RETRY_FAILED));
    cr_expect(eq(int, parts.settings.retry.order, RETRY_ORDER_HOLD));
    cr_expect(eq(int, parts.settings.retry.counts, RETRY_TIMEOUT));
    cr_expect(not(parts.settings.retry.jitter.is_full));
    cr_expect(eq(int, parts.settings.retry.jitter.percent, 5));
    table_put_text(&parts.operator_policy, "delayed-retry-type", bytes_of("disabled"));
    merge(&parts);
    cr_expect(eq(int, parts.settings.retry.type, RETRY_DISABLED));
    cr_expect(eq(i64, parts.settings.retry.min_ms, 100));
    parts_fini(&parts);
}

/* Twenty deliveries of a quorum queue whose owner says nothing; -1 is no limit. */
Test(settings_merge, a_quorum_queue_has_a_delivery_limit_by_default)
{
    struct parts parts;
    parts_init(&parts);
    table_put_text(&parts.arguments, "x-queue-type", bytes_of("quorum"));
    merge(&parts);
    cr_expect(eq(i64, parts.settings.delivery_limit, 20));
    cr_expect(eq(int, queue_settings_source(&parts.settings, SETTING_DELIVERY_LIMIT),
                 SETTING_IS_DEFAULT));
    table_put_integer(&parts.policy, "delivery-limit", 50);
    merge(&parts);
    cr_expect(eq(i64, parts.settings.delivery_limit, 50));
    table_put_integer(&parts.arguments, "x-delivery-limit", -1);
    buffer_clear(&parts.policy);
    merge(&parts);
    cr_expect(eq(i64, parts.settings.delivery_limit, -1));
    parts_fini(&parts);
}

/* What no policy can say stays the queue's. */
Test(settings_merge, type_priorities_and_single_active_consumer_stay)
{
    struct parts parts;
    parts_init(&parts);
    table_put_integer(&parts.arguments, "x-max-priority", 7);
    table_put_boolean(&parts.arguments, "x-single-active-consumer", true);
    table_put_integer(&parts.policy, "max-length", 1);
    merge(&parts);
    cr_expect(eq(i64, parts.settings.max_priority, 7));
    cr_expect(parts.settings.single_active_consumer);
    cr_expect(eq(i64, parts.settings.max_length, 1));
    parts_fini(&parts);
}

/* Who said it does not matter, nor where the text lies; an empty text is not no text. */
Test(settings_merge, differences_are_those_of_values)
{
    struct parts a;
    struct parts b;
    parts_init(&a);
    parts_init(&b);
    table_put_integer(&a.arguments, "x-max-length", 5);
    table_put_text(&a.arguments, "x-dead-letter-exchange", bytes_of("dead"));
    merge(&a);
    table_put_integer(&b.policy, "max-length", 5);
    table_put_text(&b.policy, "dead-letter-exchange", bytes_of("dead"));
    merge(&b);
    cr_expect(eq(u32, queue_settings_differences(&a.settings, &b.settings), 0));
    table_put_text(&b.arguments, "x-dead-letter-exchange", bytes_of(""));
    table_put_integer(&b.arguments, "x-message-ttl", 1);
    merge(&b);
    cr_expect(eq(u32, queue_settings_differences(&a.settings, &b.settings),
                 1u << SETTING_DEAD_LETTER_EXCHANGE | 1u << SETTING_MESSAGE_TTL));
    cr_expect(eq(u32, queue_settings_differences(&b.settings, queue_settings_default()),
                 1u << SETTING_DEAD_LETTER_EXCHANGE | 1u << SETTING_MESSAGE_TTL |
                     1u << SETTING_MAX_LENGTH));
    parts_fini(&a);
    parts_fini(&b);
}

/* In the arguments of a queue the same is read as in a policy. */
Test(settings_merge, retry_arguments_are_read)
{
    struct parts parts;
    parts_init(&parts);
    table_put_text(&parts.arguments, "x-delayed-retry-type", bytes_of("returned"));
    table_put_integer(&parts.arguments, "x-delayed-retry-min", 2000);
    table_put_integer(&parts.arguments, "x-delayed-retry-max", 300000);
    table_put_integer(&parts.arguments, "x-delayed-retry-multiplier", 2);
    table_put_integer(&parts.arguments, "x-delayed-retry-jitter", 20);
    table_put_integer(&parts.arguments, "x-delayed-retry-max-age", 7);
    table_put_text(&parts.arguments, "x-delayed-retry-order", bytes_of("hold"));
    merge(&parts);
    const struct retry_settings *retry = &parts.settings.retry;
    cr_expect(eq(int, retry->type, RETRY_RETURNED));
    cr_expect(eq(i64, retry->min_ms, 2000));
    cr_expect(eq(i64, retry->max_ms, 300000));
    cr_expect(retry->multiplier == 2.0);
    cr_expect(eq(int, retry->jitter.percent, 20));
    cr_expect(eq(i64, retry->max_age_ms, 7));
    cr_expect(eq(int, retry->order, RETRY_ORDER_HOLD));
    cr_expect(eq(int, retry->counts, RETRY_ANY_VERDICT));
    parts_fini(&parts);
}

/* What is shown of both together is what is in force. */
Test(settings_merge, definitions_are_merged_by_the_same_rules)
{
    struct parts parts;
    struct buffer merged;
    parts_init(&parts);
    buffer_init(&merged);
    table_put_integer(&parts.policy, "message-ttl", 5);
    table_put_integer(&parts.policy, "delivery-limit", 3);
    table_put_integer(&parts.policy, "delayed-retry-min", 10);
    table_put_integer(&parts.policy, "delayed-retry-jitter", 10);
    table_put_text(&parts.policy, "dead-letter-exchange", bytes_of("dead"));
    table_put_integer(&parts.operator_policy, "message-ttl", 7);
    table_put_integer(&parts.operator_policy, "delivery-limit", -1);
    table_put_integer(&parts.operator_policy, "delayed-retry-min", 20);
    table_put_integer(&parts.operator_policy, "delayed-retry-jitter", 30);
    table_put_integer(&parts.operator_policy, "max-length", 9);
    queue_settings_merge_definitions(&merged, buffer_bytes(&parts.policy),
                                     buffer_bytes(&parts.operator_policy));
    struct buffer expected;
    buffer_init(&expected);
    table_put_integer(&expected, "message-ttl", 5);
    table_put_integer(&expected, "delivery-limit", 3);
    table_put_integer(&expected, "delayed-retry-min", 20);
    table_put_integer(&expected, "delayed-retry-jitter", 30);
    table_put_text(&expected, "dead-letter-exchange", bytes_of("dead"));
    table_put_integer(&expected, "max-length", 9);
    cr_expect(bytes_equal(buffer_bytes(&merged), buffer_bytes(&expected)));
    buffer_fini(&expected);
    buffer_fini(&merged);
    parts_fini(&parts);
}

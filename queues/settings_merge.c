/* SPDX-License-Identifier: Apache-2.0 */
/* Who wins: two rules a setting, one for policy against operator policy and one for what comes of
 * that against the queue's argument. Both policies are put together first, as RabbitMQ does it: an
 * operator's overflow replaces the policy's, and still gives way to an argument. */
#include "amqp/table.h"
#include "base/assert.h"
#include "queues/settings_fill.h"

/* The first is what stands there already: the argument, or the policy below an operator's. */
enum merge_rule {
    MERGE_FIRST,       /* it stays */
    MERGE_SECOND,      /* it is replaced */
    MERGE_SMALLER,     /* the smaller of both */
    MERGE_LARGER,      /* the larger */
    MERGE_LIMIT,       /* the smaller; negative is none at all, and gives way to any */
    MERGE_BY_TYPE,     /* it stays in classic queues, and is replaced in quorum queues */
    MERGE_NOT_ALLOWED, /* there is no second */
};

struct merge_rules {
    enum merge_rule with_argument;
    enum merge_rule with_operator;
};

static const struct merge_rules rules[QUEUE_SETTING_COUNT] = {
    [SETTING_MESSAGE_TTL] = {MERGE_SMALLER, MERGE_SMALLER},
    [SETTING_EXPIRES] = {MERGE_SMALLER, MERGE_SMALLER},
    [SETTING_MAX_LENGTH] = {MERGE_SMALLER, MERGE_SMALLER},
    [SETTING_MAX_LENGTH_BYTES] = {MERGE_SMALLER, MERGE_SMALLER},
    [SETTING_OVERFLOW] = {MERGE_BY_TYPE, MERGE_SECOND},
    [SETTING_DEAD_LETTER_EXCHANGE] = {MERGE_FIRST, MERGE_NOT_ALLOWED},
    [SETTING_DEAD_LETTER_ROUTING_KEY] = {MERGE_FIRST, MERGE_NOT_ALLOWED},
    [SETTING_DEAD_LETTER_STRATEGY] = {MERGE_FIRST, MERGE_NOT_ALLOWED},
    [SETTING_DELIVERY_LIMIT] = {MERGE_LIMIT, MERGE_LIMIT},
    [SETTING_CONSUMER_TIMEOUT] = {MERGE_SMALLER, MERGE_NOT_ALLOWED},
    [SETTING_RETRY_TYPE] = {MERGE_SECOND, MERGE_SECOND},
    [SETTING_RETRY_MIN] = {MERGE_SMALLER, MERGE_LARGER},
    [SETTING_RETRY_MAX] = {MERGE_SMALLER, MERGE_SMALLER},
    [SETTING_RETRY_MULTIPLIER] = {MERGE_SECOND, MERGE_SECOND},
    [SETTING_RETRY_JITTER] = {MERGE_SECOND, MERGE_SECOND},
    [SETTING_RETRY_MAX_AGE] = {MERGE_SMALLER, MERGE_SMALLER},
    [SETTING_RETRY_COUNTS] = {MERGE_SECOND, MERGE_SECOND},
    [SETTING_RETRY_ORDER] = {MERGE_SECOND, MERGE_SECOND},
    [SETTING_RELEASE_RATE] = {MERGE_SMALLER, MERGE_SMALLER},
};

static int64_t
number_in(const struct queue_settings *settings, enum queue_setting setting)
{
    const struct setting_row *row = setting_row(setting);
    int64_t number;
    assert(row->size == sizeof(number));
    memcpy(&number, (const uint8_t *)settings + row->offset, sizeof(number));
    return number;
}

static bool
second_limit_wins(int64_t first, int64_t second)
{
    return first < 0 ? second >= 0 : second >= 0 && second < first;
}

/* Whether `second` takes the place of `first`; both say something. */
static bool
second_wins(enum merge_rule rule, enum queue_setting setting, const struct queue_settings *first,
            const struct queue_settings *second)
{
    switch (rule) {
    case MERGE_FIRST:
        return false;
    case MERGE_SECOND:
        return true;
    case MERGE_SMALLER:
        return number_in(second, setting) < number_in(first, setting);
    case MERGE_LARGER:
        return number_in(second, setting) > number_in(first, setting);
    case MERGE_LIMIT:
        return second_limit_wins(number_in(first, setting), number_in(second, setting));
    case MERGE_BY_TYPE:
        return first->type == QUEUE_TYPE_QUORUM;
    case MERGE_NOT_ALLOWED:
        break;
    }
    assert(rule != MERGE_NOT_ALLOWED); /* policy_definition_check has seen to it */
    return false;
}

static void
combine(struct queue_settings *settings, const struct queue_settings *second,
        enum queue_setting setting, enum merge_rule rule)
{
    if (second->sources[setting] == SETTING_IS_DEFAULT) {
        return;
    }
    if (settings->sources[setting] == SETTING_IS_DEFAULT ||
        second_wins(rule, setting, settings, second)) {
        const struct setting_row *row = setting_row(setting);
        memcpy((uint8_t *)settings + row->offset, (const uint8_t *)second + row->offset, row->size);
        settings->sources[setting] = second->sources[setting];
    }
}

void
queue_settings_merge(struct queue_settings *settings, const struct queue_settings *arguments,
                     const struct queue_settings *policy,
                     const struct queue_settings *operator_policy)
{
    const struct queue_settings *nothing = queue_settings_default();
    struct queue_settings both = policy == NULL ? *nothing : *policy;
    const struct queue_settings *above = operator_policy == NULL ? nothing : operator_policy;
    *settings = *arguments;
    for (enum queue_setting i = 0; i < QUEUE_SETTING_COUNT; i++) {
        combine(&both, above, i, rules[i].with_operator);
        combine(settings, &both, i, rules[i].with_argument);
    }
    queue_settings_finish(settings);
}

/* Definitions ---------------------------------------------------------------------------------- */

/* The setting that a key of policies stands for; QUEUE_SETTING_COUNT: none. */
static enum queue_setting
setting_of_key(struct bytes key)
{
    enum queue_setting i = 0;
    while (i < QUEUE_SETTING_COUNT && !bytes_equal_text(key, queue_setting_name(i))) {
        i++;
    }
    return i;
}

static bool
find_key(struct bytes definition, struct bytes wanted, struct table_value *value_out)
{
    struct byte_reader reader = byte_reader_make(definition);
    struct bytes key;
    while (table_next(&reader, &key, value_out)) {
        if (bytes_equal(key, wanted)) {
            return true;
        }
    }
    return false;
}

/* Which rules are by type concerns arguments only, so the type does not matter here. */
static void
fill_from_definition(struct queue_settings *settings, struct bytes definition)
{
    queue_settings_fill(settings, QUEUE_TYPE_CLASSIC, definition, SETTINGS_OF_POLICY,
                        SETTING_FROM_POLICY);
}

/* Whether the operator's value is in force where both give one. */
static bool
operator_wins(struct bytes key, const struct queue_settings *policy,
              const struct queue_settings *operator_policy)
{
    enum queue_setting setting = setting_of_key(key);
    return setting == QUEUE_SETTING_COUNT ||
           second_wins(rules[setting].with_operator, setting, policy, operator_policy);
}

void
queue_settings_merge_definitions(struct buffer *out, struct bytes policy,
                                 struct bytes operator_policy)
{
    struct queue_settings said;
    struct queue_settings above;
    struct bytes key;
    struct table_value value;
    struct table_value other;
    fill_from_definition(&said, policy);
    fill_from_definition(&above, operator_policy);
    struct byte_reader reader = byte_reader_make(policy);
    while (table_next(&reader, &key, &value)) {
        bool is_replaced =
            find_key(operator_policy, key, &other) && operator_wins(key, &said, &above);
        table_put_value(out, key, is_replaced ? &other : &value);
    }
    reader = byte_reader_make(operator_policy);
    while (table_next(&reader, &key, &value)) {
        if (!find_key(policy, key, &other)) {
            table_put_value(out, key, &value);
        }
    }
}

/* Differences ---------------------------------------------------------------------------------- */

static bool
text_differs(const struct queue_settings *a, const struct queue_settings *b,
             const struct setting_row *row)
{
    struct bytes texts[2];
    memcpy(&texts[0], (const uint8_t *)a + row->offset, sizeof(texts[0]));
    memcpy(&texts[1], (const uint8_t *)b + row->offset, sizeof(texts[1]));
    return !bytes_equal(texts[0], texts[1]);
}

static bool
value_differs(const struct queue_settings *a, const struct queue_settings *b,
              enum queue_setting setting)
{
    const struct setting_row *row = setting_row(setting);
    if (!row->is_text) {
        return memcmp((const uint8_t *)a + row->offset, (const uint8_t *)b + row->offset,
                      row->size) != 0;
    }
    /* An empty name is a name. */
    bool is_set = a->sources[setting] != SETTING_IS_DEFAULT;
    return is_set != (b->sources[setting] != SETTING_IS_DEFAULT) || text_differs(a, b, row);
}

uint32_t
queue_settings_differences(const struct queue_settings *a, const struct queue_settings *b)
{
    uint32_t differences = 0;
    for (enum queue_setting i = 0; i < QUEUE_SETTING_COUNT; i++) {
        differences |= value_differs(a, b, i) ? UINT32_C(1) << i : 0;
    }
    return differences;
}

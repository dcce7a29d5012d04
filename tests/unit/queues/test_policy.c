/* SPDX-License-Identifier: Apache-2.0 */
/* Definitions of policies: which keys there are, for whom, what they take, and with which words
 * they are refused. */
#include "queues/policy.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>

#include "base/assert.h"

TestSuite(policy);

static char why[512];

/* What a policy with that one key is told; "" when it is accepted. A NULL text is the number. */
static const char *
verdict(enum policy_kind kind, const char *target, const char *key, const char *text,
        int64_t number)
{
    struct buffer definition;
    buffer_init(&definition);
    if (text != NULL) {
        table_put_text(&definition, key, bytes_of(text));
    } else {
        table_put_integer(&definition, key, number);
    }
    struct policy_properties properties = {.kind = kind, .definition = buffer_bytes(&definition)};
    cr_assert(policy_target_find(bytes_of(target), &properties.target));
    why[0] = '\0';
    bool is_good = policy_definition_check(&properties, why, sizeof(why));
    cr_expect(eq(int, is_good, why[0] == '\0'));
    buffer_fini(&definition);
    return why;
}

Test(policy, values_are_refused_with_the_reason_and_what_would_be_right)
{
    static const struct {
        const char *key;
        const char *text;
        int64_t number;
        const char *told;
    } rows[] = {
        {"message-ttl", NULL, 0, ""},
        {"message-ttl", NULL, -1,
         "-1 is not a valid message TTL ({value_negative,-1}); it takes milliseconds from 0 to "
         "315360000000"},
        {"message-ttl", "60s", 0,
         "\"60s\" is not a valid message TTL (\"expected integer, got longstr\"); it takes "
         "milliseconds from 0 to 315360000000"},
        {"message-ttl", NULL, 315360000001,
         "315360000001 is not a valid message TTL ({value_too_large,315360000001}); it takes "
         "milliseconds from 0 to 315360000000"},
        {"expires", NULL, 1, ""},
        {"expires", NULL, 0,
         "0 is not a valid queue expiry ({value_zero,0}); it takes milliseconds from 1 to "
         "315360000000"},
        {"max-length", NULL, 0, ""},
        {"max-length", NULL, -5,
         "-5 is not a valid maximum length ({value_negative,-5}); it takes a whole number from 0 "
         "on"},
        {"max-length-bytes", NULL, -5,
         "-5 is not a valid maximum length in bytes ({value_negative,-5}); it takes a whole number "
         "from 0 on"},
        {"overflow", "drop-head", 0, ""},
        {"overflow", "drop", 0,
         "\"drop\" is not a valid overflow value (invalid_overflow); it takes drop-head, "
         "reject-publish or reject-publish-dlx"},
        {"dead-letter-exchange", "", 0, ""},
        {"dead-letter-exchange", NULL, 5,
         "5 is not a valid dead letter exchange name ({unacceptable_type,long}); it takes a text"},
        {"dead-letter-routing-key", "alone", 0, ""},
        {"dead-letter-routing-key", NULL, 5,
         "5 is not a valid dead letter routing key ({unacceptable_type,long}); it takes a text"},
        {"dead-letter-strategy", "at-least-once", 0, ""},
        {"dead-letter-strategy", "often", 0,
         "\"often\" is not a valid dead letter strategy (invalid_dlx_strategy); it takes "
         "at-most-once or at-least-once"},
        {"delivery-limit", NULL, -1, ""},
        {"delivery-limit", NULL, -2,
         "-2 is not a valid delivery limit ({value_negative,-2}); it takes a whole number from 0 "
         "on, or -1 for none"},
        {"consumer-timeout", NULL, 0, ""},
        {"consumer-timeout", NULL, -1,
         "-1 is not a valid consumer timeout ({value_negative,-1}); it takes milliseconds from 0 "
         "on"},
        {"consumer-disconnected-timeout", NULL, 0, ""},
        {"delayed-retry-type", "disabled", 0, ""},
        {"delayed-retry-type", "all", 0,
         "\"delayed-retry-type\" needs \"delayed-retry-min\" beside it, the delay after the first "
         "failure in milliseconds"},
        {"delayed-retry-type", "some", 0,
         "\"some\" is not a valid delayed retry type (invalid_delayed_retry_type); it takes all, "
         "failed, returned or disabled"},
        {"delayed-retry-min", NULL, 1, ""},
        {"delayed-retry-min", NULL, 0,
         "0 is not a valid delayed retry min ({value_zero,0}); it takes milliseconds from 1 on"},
        {"delayed-retry-max", NULL, 1, ""},
        {"delayed-retry-multiplier", NULL, 2, ""},
        {"delayed-retry-multiplier", NULL, 0,
         "0 is not a valid delayed retry multiplier (invalid_delayed_retry_multiplier); it takes a "
         "number from 1 on"},
        {"delayed-retry-jitter", "full", 0, ""},
        {"delayed-retry-jitter", NULL, 101,
         "101 is not a valid delayed retry jitter ({max_value_exceeded,101}); it takes a "
         "percentage from 0 to 100 as a number, or full"},
        {"delayed-retry-max-age", NULL, 0, ""},
        {"delayed-retry-counts", "nack,lost", 0, ""},
        {"delayed-retry-counts", "never", 0,
         "\"never\" is not a valid list of delayed retry counts (invalid_delayed_retry_counts); it "
         "takes nack, reject, lost and timeout, separated by commas"},
        {"delayed-retry-order", "hold", 0, ""},
        {"queue-leader-locator", "balanced", 0, ""},
        {"initial-cluster-size", NULL, 0,
         "0 is not a valid cluster size ({value_zero,0}); it takes a whole number from 1 on"},
        {"target-group-size", NULL, 3, ""},
        {"queue-mode", "lazy", 0, ""},
        {"queue-version", NULL, 1,
         "1 is not a valid queue version (\"unsupported queue version '1'\"); it takes 2"},
        {"max-age", "7D", 0, ""},
        {"max-age", "7 days", 0,
         "\"7 days\" is not a valid max age (invalid_max_age); it takes a number and Y, M, D, h, m "
         "or s, such as 7D"},
        {"stream-max-segment-size-bytes", NULL, 0, ""},
        {"stream-filter-size-bytes", NULL, 16, ""},
        {"stream-filter-size-bytes", NULL, 15,
         "15 is not a valid filter size ({value_too_small,15}); it takes a whole number from 16 to "
         "255"},
        {"stream-filter-size-bytes", NULL, 256,
         "256 is not a valid filter size ({value_too_large,256}); it takes a whole number from 16 "
         "to 255"},
        {"alternate-exchange", "lost", 0, ""},
        {"alternate-exchange", NULL, 5,
         "5 is not a valid alternate exchange name ({unacceptable_type,long}); it takes a text"},
        {"federation-upstream", "north", 0, ""},
        {"federation-upstream-set", "all", 0, ""},
        {"x-message-ttl", NULL, 5, "\"x-message-ttl\" is not a key of policies"},
        {"max-priority", NULL, 5, "\"max-priority\" is not a key of policies"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        const char *told =
            verdict(POLICY_ORDINARY, "all", rows[i].key, rows[i].text, rows[i].number);
        cr_expect(eq(str, (char *)told, (char *)rows[i].told), "row %zu", i);
    }
}

Test(policy, a_key_that_nothing_it_applies_to_has_is_refused)
{
    static const struct {
        const char *target, *key, *text;
        const char *told;
    } rows[] = {
        {"exchanges", "alternate-exchange", "x", ""},
        {"queues", "alternate-exchange", "x",
         "\"alternate-exchange\" is for exchanges, and this policy applies to queues; change "
         "\"apply-to\" or leave the key out"},
        {"exchanges", "overflow", "drop-head",
         "\"overflow\" is for queues, and this policy applies to exchanges; change \"apply-to\" or "
         "leave the key out"},
        {"classic_queues", "dead-letter-strategy", "at-most-once",
         "\"dead-letter-strategy\" is for quorum_queues, and this policy applies to "
         "classic_queues; change \"apply-to\" or leave the key out"},
        {"queues", "dead-letter-strategy", "at-most-once", ""},
        {"quorum_queues", "queue-mode", "lazy",
         "\"queue-mode\" is for classic_queues, and this policy applies to quorum_queues; change "
         "\"apply-to\" or leave the key out"},
        {"streams", "max-age", "1h", ""},
        {"quorum_queues", "max-age", "1h",
         "\"max-age\" is for streams, and this policy applies to quorum_queues; change "
         "\"apply-to\" or leave the key out"},
        {"classic_queues", "overflow", "drop-head", ""},
        {"quorum_queues", "overflow", "drop-head", ""},
        {"streams", "overflow", "drop-head",
         "\"overflow\" is for queues, and this policy applies to streams; change \"apply-to\" or "
         "leave the key out"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        const char *told = verdict(POLICY_ORDINARY, rows[i].target, rows[i].key, rows[i].text, 0);
        cr_expect(eq(str, (char *)told, (char *)rows[i].told), "row %zu", i);
    }
}

/* What an operator may limit and no more: not where messages go. */
Test(policy, some_keys_are_not_for_operators)
{
    cr_expect(eq(str, (char *)verdict(POLICY_OPERATOR, "all", "max-length", NULL, 5), ""));
    cr_expect(eq(str, (char *)verdict(POLICY_OPERATOR, "all", "delivery-limit", NULL, 5), ""));
    cr_expect(eq(str, (char *)verdict(POLICY_OPERATOR, "all", "dead-letter-exchange", "x", 0),
                 "\"dead-letter-exchange\" is not for operator policies; set it in a policy"));
    cr_expect(eq(str, (char *)verdict(POLICY_OPERATOR, "all", "consumer-timeout", NULL, 5),
                 "\"consumer-timeout\" is not for operator policies; set it in a policy"));
    cr_expect(eq(str, (char *)verdict(POLICY_OPERATOR, "all", "alternate-exchange", "x", 0),
                 "\"alternate-exchange\" is not for operator policies; set it in a policy"));
}

Test(policy, keys_are_judged_beside_each_other)
{
    struct buffer definition;
    buffer_init(&definition);
    table_put_text(&definition, "delayed-retry-type", bytes_of("all"));
    table_put_integer(&definition, "delayed-retry-min", 500);
    table_put_integer(&definition, "delayed-retry-max", 499);
    struct policy_properties properties = {.definition = buffer_bytes(&definition)};
    cr_expect(not(policy_definition_check(&properties, why, sizeof(why))));
    cr_expect(eq(str, why,
                 "\"delayed-retry-max\" (499) must not be smaller than \"delayed-retry-min\" "
                 "(500)"));
    buffer_clear(&definition);
    table_put_text(&definition, "delayed-retry-type", bytes_of("all"));
    table_put_integer(&definition, "delayed-retry-min", 500);
    table_put_integer(&definition, "delayed-retry-max", 500);
    properties.definition = buffer_bytes(&definition);
    cr_expect(policy_definition_check(&properties, why, sizeof(why)));
    buffer_fini(&definition);
}

Test(policy, an_empty_definition_says_nothing_and_is_refused)
{
    struct policy_properties properties = {.definition = bytes_make(NULL, 0)};
    cr_expect(not(policy_definition_check(&properties, why, sizeof(why))));
    cr_expect(eq(str, why, "the definition is empty"));
}

/* Every key has a check that a value of the wrong type does not pass. */
Test(policy, every_key_refuses_a_boolean)
{
    const char *key;
    size_t count = 0;
    for (; (key = policy_key_name(count)) != NULL; count++) {
        struct buffer definition;
        buffer_init(&definition);
        table_put_boolean(&definition, key, true);
        struct policy_properties properties = {.definition = buffer_bytes(&definition)};
        cr_expect(not(policy_definition_check(&properties, why, sizeof(why))), "%s", key);
        buffer_fini(&definition);
    }
    cr_expect(eq(sz, count, 31));
}

Test(policy, has_its_own_copies_and_lives_as_long_as_its_references)
{
    char name[] = "limits";
    struct buffer definition;
    buffer_init(&definition);
    table_put_integer(&definition, "max-length", 5);
    table_put_text(&definition, "alternate-exchange", bytes_of("lost"));
    struct policy_properties properties = {
        .name = bytes_of(name),
        .pattern = bytes_of("^a"),
        .priority = -3,
        .definition = buffer_bytes(&definition),
    };
    struct policy *policy = policy_new(7, &properties);
    cr_assert(ne(ptr, policy, NULL));
    cr_expect(policy_says_the_same(policy, &properties));
    properties.priority = 3;
    cr_expect(not(policy_says_the_same(policy, &properties)));
    buffer_fini(&definition);
    name[0] = 'x';
    struct policy *other = policy_ref(policy);
    policy_unref(&policy);
    cr_expect(eq(ptr, policy, NULL));
    cr_expect(bytes_equal_text(other->is.name, "limits"));
    cr_expect(bytes_equal_text(other->alternate_exchange, "lost"));
    cr_expect(eq(i64, other->settings.max_length, 5));
    cr_expect(
        eq(int, queue_settings_source(&other->settings, SETTING_MAX_LENGTH), SETTING_FROM_POLICY));
    policy_unref(&other);
    policy_unref(&other);
}

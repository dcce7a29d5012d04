/* SPDX-License-Identifier: Apache-2.0 */
/* Asks the queue, exchange and access code about what a configuration declares. */
#include "broker/plan/examine.h"

#include <stdio.h>
#include <string.h>

#include "amqp/table.h"
#include "base/assert.h"
#include "base/map.h"
#include "base/random.h"
#include "broker/core/core.h"
#include "broker/names/expression.h"
#include "broker/plan/examine_ways.h"
#include "broker/plan/topology_check.h"
#include "broker/users/user.h"
#include "config/report.h"
#include "exchanges/exchange.h"
#include "queues/policy.h"
#include "queues/settings.h"

enum { SUBJECT_SIZE = 640 };

/* What a fault says, at the place in the file that would cause it. */
static void
report_fault(struct config *config, struct config_mark mark, const struct fault *fault)
{
    report_error(config, mark, "%s", fault->text);
}

/* Where the file says what is refused; the queue itself where it says nothing of it. */
static struct config_mark
argument_mark(const struct config_queue *queue, const char *name)
{
    for (size_t i = 0; name != NULL && i < queue->argument_count; i++) {
        if (bytes_equal_text(queue->argument_marks[i].name, name)) {
            return queue->argument_marks[i].mark;
        }
    }
    return queue->mark;
}

/* What an argument takes, for those whose refusal in the broker's words does not say so. */
static const struct {
    const char *name, *hint;
} argument_hints[] = {
    {"x-message-ttl", "it takes milliseconds; as a word, \"ttl: 1h\""},
    {"x-expires", "it takes milliseconds from 1 on; as a word, \"expires: 1h\""},
    {"x-max-length", "it takes a whole number from 0 on; as a word, \"limits: {max-length: N}\""},
    {"x-max-length-bytes", "it takes octets; as a word, \"limits: {max-bytes: 2GiB}\""},
    {"x-overflow", "it takes drop-head, reject-publish or reject-publish-dlx"},
    {"x-queue-type", "it takes classic or quorum"},
    {"x-max-age", "only streams have it; as a word, \"ttl\" lets messages die"},
    {"x-max-priority", "only classic queues have it; it takes 1 to 255"},
    {"x-dead-letter-strategy", "only quorum queues have it: say \"type: quorum\" or leave it out"},
    {"x-dead-letter-routing-key", "it needs x-dead-letter-exchange beside it"},
    {"x-delayed-retry-type", "it takes disabled, all, failed or returned"},
    {"x-delayed-retry-max", "it takes milliseconds, not less than x-delayed-retry-min"},
    {"x-delayed-retry-counts", "it takes nack, reject, lost and timeout, with commas between them"},
    {"x-delayed-retry-order", "it takes free or hold"},
    {"x-single-active-consumer", "it takes true or false"},
};

static void
report_argument(struct config *config, const struct config_queue *queue, const struct fault *fault)
{
    const char *culprit = queue_settings_culprit(queue->arguments);
    const char *hint = NULL;
    for (size_t i = 0; culprit != NULL && i < ARRAY_LEN(argument_hints); i++) {
        hint = strcmp(argument_hints[i].name, culprit) == 0 ? argument_hints[i].hint : hint;
    }
    report_error(config, argument_mark(queue, culprit), "%s%s%s", fault->text,
                 hint == NULL ? "" : "; ", hint == NULL ? "" : hint);
}

static void
examine_queue(struct config *config, const struct config_queue *queue)
{
    char subject[SUBJECT_SIZE];
    struct queue_settings settings;
    struct fault fault;
    if (queue->has_errors) {
        return; /* the broker would say the same in other words */
    }
    snprintf(subject, sizeof(subject), "queue '%.*s' in vhost '%.*s'", BYTES_FORMAT(queue->name),
             BYTES_FORMAT(config->vhost));
    if (table_validate(queue->arguments, TABLE_FIELDS_MAX, &fault) != STATUS_OK) {
        report_fault(config, queue->mark, &fault);
    } else if (queue_settings_read(&settings, queue->arguments, subject, &fault) != STATUS_OK) {
        report_argument(config, queue, &fault);
    } else if (queue_settings_check_quorum(&settings, false, queue->durable, false, subject,
                                           &fault) != STATUS_OK) {
        report_error(config, queue->mark, "%s; a quorum queue is durable", fault.text);
    }
}

static const char *
predeclared_type(struct bytes name)
{
    if (bytes_equal_text(name, "amq.headers") || bytes_equal_text(name, "amq.match")) {
        return "headers";
    }
    if (bytes_equal_text(name, "amq.fanout")) {
        return "fanout";
    }
    bool is_direct =
        bytes_equal_text(name, "amq.direct") || bytes_equal_text(name, "bourse.control");
    return is_direct ? "direct" : "topic";
}

static void
examine_binding(struct config *config, const struct map *exchanges,
                const struct config_binding *binding)
{
    const struct config_exchange *source = map_get(exchanges, binding->source);
    const char *name = source == NULL ? predeclared_type(binding->source) : source->type;
    const struct exchange_type *type = exchange_type_find(bytes_of(name));
    if (source != NULL && exchange_type_inner(type, source->arguments) != NULL) {
        type = exchange_type_inner(type, source->arguments);
    }
    struct fault fault;
    if (table_validate(binding->arguments, TABLE_FIELDS_MAX, &fault) != STATUS_OK) {
        report_fault(config, binding->mark, &fault);
    } else if (type->check(binding->routing_key, binding->arguments, &fault) != STATUS_OK) {
        bool is_about_key = binding->arguments.size == 0;
        report_fault(config, is_about_key ? binding->key_mark : binding->arguments_mark, &fault);
    }
}

/* The one argument of an exchange that means something must be a name. */
static void
examine_alternate(struct config *config, const struct config_exchange *exchange)
{
    struct table_value value;
    if (table_find(exchange->arguments, "alternate-exchange", &value) &&
        table_value_class(&value) != TABLE_CLASS_STRING) {
        report_error(config, exchange->arguments_mark,
                     "\"alternate-exchange\" of exchange \"%.*s\" is no "
                     "text",
                     BYTES_FORMAT(exchange->name));
    }
}

/* What its type says of its arguments. */
static void
examine_arguments(struct config *config, const struct config_exchange *exchange)
{
    const struct exchange_type *type = exchange_type_find(bytes_of(exchange->type));
    char subject[SUBJECT_SIZE];
    struct fault fault;
    (void)snprintf(subject, sizeof(subject), "exchange '%.*s'", BYTES_FORMAT(exchange->name));
    if (exchange_type_check_arguments(type, exchange->arguments, subject, &fault) != STATUS_OK) {
        report_fault(config, exchange->arguments_mark, &fault);
    }
}

static void
examine_exchanges(struct config *config, struct map *exchanges)
{
    for (size_t i = 0; i < config->exchange_count; i++) {
        struct config_exchange *exchange = &config->exchanges[i];
        struct fault fault;
        map_put(exchanges, exchange->name, exchange);
        if (table_validate(exchange->arguments, TABLE_FIELDS_MAX, &fault) != STATUS_OK) {
            report_fault(config, exchange->mark, &fault);
        } else {
            examine_alternate(config, exchange);
            examine_arguments(config, exchange);
        }
    }
}

/* Policies ----------------------------------------------------------------------------------- */

static void
report_key(struct config *config, const struct config_policy_key *key,
           const struct policy_problem *problem)
{
    char guess[SUGGESTION_TEXT_SIZE];
    struct suggestion suggestion = suggestion_for(key->name);
    const char *known;
    for (size_t i = 0; problem->is_unknown && (known = policy_key_name(i)) != NULL; i++) {
        suggestion_offer(&suggestion, bytes_of(known));
    }
    report_error(config, problem->kind == POLICY_PROBLEM_VALUE ? key->value_mark : key->mark,
                 "%s%s", problem->text, suggestion_text(&suggestion, guess));
}

static void
examine_key(struct config *config, const struct config_policy *policy,
            const struct policy_properties *properties, const struct config_policy_key *key)
{
    struct table_value value;
    struct policy_problem problem;
    if (!table_find(policy->definition, (const char *)key->name.data, &value)) {
        return; /* reported when the file was read */
    }
    if (!policy_key_check(properties, key->name, &value, &problem)) {
        report_key(config, key, &problem);
    } else if (policy_key_is_without_effect(key->name)) {
        report_warning(config, key->mark, "\"%.*s\" has no effect in this version",
                       BYTES_FORMAT(key->name));
    }
}

static void
examine_pattern(struct config *config, const struct config_policy *policy)
{
    struct expression expression;
    struct expression_error error;
    if (!expression_compile(&expression, policy->pattern, &error)) {
        report_error(config, policy->pattern_mark,
                     "the pattern does not compile: %s, at offset %zu of it", error.reason,
                     error.offset);
    }
    expression_fini(&expression);
}

static void
examine_policy(struct config *config, const struct config_policy *policy)
{
    struct policy_properties properties = config_policy_properties(policy);
    struct fault fault;
    examine_pattern(config, policy);
    if (table_validate(policy->definition, TABLE_FIELDS_MAX, &fault) != STATUS_OK) {
        report_fault(config, policy->mark, &fault);
        return;
    }
    if (policy->key_count == 0) {
        report_error(config, policy->mark, "the definition of this policy is empty");
    }
    if (properties.target == POLICY_FOR_STREAMS) {
        report_warning(config, policy->mark, "there are no streams: this policy has no effect");
    }
    for (size_t i = 0; i < policy->key_count; i++) {
        examine_key(config, policy, &properties, &policy->keys[i]);
    }
}

/* A core that serves nobody: enough to make users in. */
static struct core *
rehearsal_core_new(void)
{
    struct core_settings settings = {0};
    struct core_ports ports = {.random = random_system()};
    return core_new(&settings, &ports, NULL, NULL, (struct clock_reading){0});
}

/* Reports the first of a user's expressions that does not compile; `probe` has that one alone. */
static bool
examine_expression(struct config *config, struct core *core, const struct config_user *probe,
                   const char *which)
{
    if (core_put_user(core, probe, config->vhost) == STATUS_OK) {
        return true;
    }
    report_error(config, probe->rights_mark,
                 "the expression for \"%s\" of user \"%.*s\" is not valid or too large", which,
                 BYTES_FORMAT(probe->name));
    return false;
}

static void
examine_user(struct config *config, struct core *core, const struct config_user *user)
{
    struct config_user none = {
        .name = user->name,
        .configure = "",
        .write = "",
        .read = "",
        .rights_mark = user->rights_mark,
    };
    struct config_user configure = none;
    struct config_user write = none;
    struct config_user read = none;
    struct config_user topics = none;
    configure.configure = user->configure;
    write.write = user->write;
    read.read = user->read;
    topics.topics = user->topics;
    topics.topic_count = user->topic_count;
    if (examine_expression(config, core, &configure, "configure") &&
        examine_expression(config, core, &write, "write") &&
        examine_expression(config, core, &read, "read")) {
        (void)examine_expression(config, core, &topics, "topics");
    }
}

/* With the rights as they are; each was put in by itself before. */
static void
examine_ways_of_users(struct config *config, struct core *core)
{
    for (size_t i = 0; i < config->user_count; i++) {
        if (core_put_user(core, &config->users[i], config->vhost) != STATUS_OK) {
            return;
        }
    }
    examine_ways(config, core);
}

static void
examine_users(struct config *config)
{
    struct core *core = rehearsal_core_new();
    for (size_t i = 0; i < config->user_count; i++) {
        examine_user(config, core, &config->users[i]);
    }
    if (config->report.error_count == 0) {
        examine_ways_of_users(config, core);
    }
    core_free(&core);
}

void
examine_config(struct config *config)
{
    struct map exchanges;
    map_init(&exchanges, (uint64_t)(uintptr_t)config);
    examine_exchanges(config, &exchanges);
    for (size_t i = 0; i < config->queue_count; i++) {
        examine_queue(config, &config->queues[i]);
    }
    for (size_t i = 0; i < config->binding_count; i++) {
        examine_binding(config, &exchanges, &config->bindings[i]);
    }
    map_fini(&exchanges);
    for (size_t i = 0; i < config->policy_count; i++) {
        examine_policy(config, &config->policies[i]);
    }
    examine_users(config);
}

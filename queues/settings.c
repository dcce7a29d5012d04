/* SPDX-License-Identifier: Apache-2.0 */
/* Arguments become settings, and are compared with those of a queue that is there. What each may be
 * says the table of argument_checks.h. */
#include "queues/settings.h"

#include <stdio.h>

#include "amqp/reply.h"
#include "amqp/table.h"
#include "base/assert.h"
#include "queues/argument_checks.h"

enum { VALUE_TEXT_SIZE = 96 };

/* Reading -------------------------------------------------------------------------------------- */

const char *
queue_type_name(enum queue_type type)
{
    return type == QUEUE_TYPE_QUORUM ? "quorum" : "classic";
}

static enum status
check_argument(const struct argument *argument, const struct table_value *value,
               struct bytes arguments, const char *subject, struct fault *fault)
{
    char reason[QUEUE_ARGUMENT_REASON_SIZE];
    if (argument->check(value, arguments, reason)) {
        return STATUS_OK;
    }
    return fault_channel(fault, REPLY_PRECONDITION_FAILED, "invalid arg '%s' for %s: %s",
                         argument->name, subject, reason);
}

/* Values first, then arguments that belong to other types: RabbitMQ's order. `*culprit_out` is the
 * name of the one that is refused. */
static enum status
check_arguments(const struct argument *known, size_t known_count, struct bytes arguments,
                enum queue_type type, const char *subject, const char **culprit_out,
                struct fault *fault)
{
    struct table_value value;
    const char *foreign = NULL;
    for (size_t i = 0; i < known_count; i++) {
        if (!table_find(arguments, known[i].name, &value)) {
            continue;
        }
        if ((known[i].types & 1 << type) == 0) {
            foreign = foreign == NULL ? known[i].name : foreign;
        } else if (check_argument(&known[i], &value, arguments, subject, fault) != STATUS_OK) {
            *culprit_out = known[i].name;
            return STATUS_FAULT;
        }
    }
    *culprit_out = foreign;
    if (foreign != NULL) {
        return fault_channel(fault, REPLY_PRECONDITION_FAILED,
                             "invalid arg '%s' for %s of queue type %s", foreign, subject,
                             queue_type_name(type));
    }
    return STATUS_OK;
}

/* The type decides which arguments there are, so it is read before them. */
static enum status
read_type(enum queue_type *type_out, struct bytes arguments, const char *subject,
          struct fault *fault)
{
    const struct argument *argument = argument_find("x-queue-type");
    struct table_value value;
    if (!table_find(arguments, argument->name, &value)) {
        *type_out = QUEUE_TYPE_CLASSIC;
        return STATUS_OK;
    }
    if (check_argument(argument, &value, arguments, subject, fault) != STATUS_OK) {
        return STATUS_FAULT;
    }
    *type_out = bytes_equal_text(value.raw, "quorum") ? QUEUE_TYPE_QUORUM : QUEUE_TYPE_CLASSIC;
    return STATUS_OK;
}

/* Type and arguments; `*culprit_out` as in check_arguments. */
static enum status
check_queue_arguments(struct bytes arguments, const char *subject, enum queue_type *type_out,
                      const char **culprit_out, struct fault *fault)
{
    *culprit_out = "x-queue-type";
    if (read_type(type_out, arguments, subject, fault) != STATUS_OK) {
        return STATUS_FAULT;
    }
    return check_arguments(queue_arguments, queue_argument_count, arguments, *type_out, subject,
                           culprit_out, fault);
}

const char *
queue_settings_culprit(struct bytes arguments)
{
    enum queue_type type;
    const char *culprit;
    struct fault fault;
    bool is_good = check_queue_arguments(arguments, "", &type, &culprit, &fault) == STATUS_OK;
    return is_good ? NULL : culprit;
}

enum status
queue_settings_read(struct queue_settings *settings, struct bytes arguments, const char *subject,
                    struct fault *fault)
{
    enum queue_type type;
    const char *culprit;
    if (check_queue_arguments(arguments, subject, &type, &culprit, fault) != STATUS_OK) {
        return STATUS_FAULT;
    }
    queue_settings_fill(settings, type, arguments, SETTINGS_OF_ARGUMENTS, SETTING_FROM_ARGUMENT);
    return STATUS_OK;
}

bool
queue_argument_check(const char *name, const struct table_value *value, struct bytes arguments,
                     char reason[static QUEUE_ARGUMENT_REASON_SIZE])
{
    const struct argument *argument = argument_find(name);
    assert(argument != NULL);
    return argument->check(value, arguments, reason);
}

enum status
queue_consume_arguments_read(struct consume_settings *settings_out, struct bytes arguments,
                             enum queue_type type, const char *subject, struct fault *fault)
{
    const char *culprit;
    if (check_arguments(consume_arguments, consume_argument_count, arguments, type, subject,
                        &culprit, fault) != STATUS_OK) {
        return STATUS_FAULT;
    }
    struct table_value value;
    *settings_out = (struct consume_settings){.timeout_ms = -1};
    if (table_find(arguments, "x-priority", &value)) {
        settings_out->priority = table_value_integer(&value);
    }
    if (table_find(arguments, "x-consumer-timeout", &value)) {
        settings_out->timeout_ms = table_value_integer(&value);
    }
    return STATUS_OK;
}

enum status
queue_settings_check_quorum(const struct queue_settings *settings, bool auto_delete, bool durable,
                            bool exclusive, const char *subject, struct fault *fault)
{
    if (settings->type != QUEUE_TYPE_QUORUM) {
        return STATUS_OK;
    }
    if (auto_delete) {
        return fault_channel(fault, REPLY_PRECONDITION_FAILED,
                             "invalid property 'auto-delete' for %s", subject);
    }
    if (exclusive) {
        return fault_channel(fault, REPLY_PRECONDITION_FAILED,
                             "invalid property 'exclusive-owner' for %s", subject);
    }
    if (!durable) {
        return fault_channel(fault, REPLY_PRECONDITION_FAILED,
                             "invalid property 'non-durable' for %s", subject);
    }
    return STATUS_OK;
}

/* Comparing ------------------------------------------------------------------------------------ */

/* As it stands after "received" and "current is". The type is named only where the other side has
 * no value at all. */
static const char *
describe(const struct table_value *value, bool with_type, char *out, size_t out_size)
{
    char text[VALUE_TEXT_SIZE];
    if (value == NULL) {
        (void)snprintf(out, out_size, "none");
    } else if (with_type) {
        (void)snprintf(out, out_size, "the value '%s' of type '%s'",
                       table_value_text(value, text, sizeof(text)), table_type_name(value->type));
    } else {
        (void)snprintf(out, out_size, "'%s'", table_value_text(value, text, sizeof(text)));
    }
    return out;
}

static enum status
fault_inequivalent(const char *name, const struct table_value *received,
                   const struct table_value *current, const char *subject, struct fault *fault)
{
    char received_text[VALUE_TEXT_SIZE + 64];
    char current_text[VALUE_TEXT_SIZE + 64];
    return fault_channel(fault, REPLY_PRECONDITION_FAILED,
                         "inequivalent arg '%s' for %s: received %s but current is %s", name,
                         subject,
                         describe(received, current == NULL, received_text, sizeof(received_text)),
                         describe(current, received == NULL, current_text, sizeof(current_text)));
}

/* No type at all means classic. */
static bool
is_default_type(const char *name, const struct table_value *value)
{
    return bytes_equal_text(bytes_of("x-queue-type"), name) &&
           table_value_class(value) == TABLE_CLASS_STRING &&
           (bytes_equal_text(value->raw, "classic") || queue_type_is_none(value->raw));
}

static bool
is_equivalent(const char *name, const struct table_value *received,
              const struct table_value *current)
{
    if (received == NULL && current == NULL) {
        return true;
    }
    if (received == NULL) {
        return is_default_type(name, current);
    }
    if (current == NULL) {
        return is_default_type(name, received);
    }
    return table_value_equal(received, current);
}

enum status
queue_settings_compare(struct bytes received, struct bytes current, const char *subject,
                       struct fault *fault)
{
    for (size_t i = 0; i < queue_argument_count; i++) {
        if (!queue_arguments[i].is_compared) {
            continue;
        }
        const char *name = queue_arguments[i].name;
        struct table_value received_value;
        struct table_value current_value;
        const struct table_value *a =
            table_find(received, name, &received_value) ? &received_value : NULL;
        const struct table_value *b =
            table_find(current, name, &current_value) ? &current_value : NULL;
        if (!is_equivalent(name, a, b)) {
            return fault_inequivalent(name, a, b, subject, fault);
        }
    }
    return STATUS_OK;
}

enum status
queue_property_compare(const char *name, bool received, bool current, const char *subject,
                       struct fault *fault)
{
    if (received == current) {
        return STATUS_OK;
    }
    return fault_channel(fault, REPLY_PRECONDITION_FAILED,
                         "inequivalent arg '%s' for %s: received '%s' but current is '%s'", name,
                         subject, received ? "true" : "false", current ? "true" : "false");
}

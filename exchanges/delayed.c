/* SPDX-License-Identifier: Apache-2.0 */
/* The x-delayed-message exchange: its argument x-delayed-type names another type, which does all of
 * the matching. This one stands in its place where an exchange is declared, and nowhere else; that
 * messages are held back is the broker's business (broker/message/delay.h). */
#include "amqp/reply.h"
#include "amqp/table.h"
#include "exchanges/exchange.h"

static const char INNER_TYPE[] = "x-delayed-type";

/* NULL: the argument is missing, no text, or no type. */
static const struct exchange_type *
find_inner(struct bytes arguments)
{
    struct table_value value;
    if (!table_find(arguments, INNER_TYPE, &value) ||
        table_value_class(&value) != TABLE_CLASS_STRING) {
        return NULL;
    }
    const struct exchange_type *inner = exchange_type_find(value.raw);
    return inner == NULL || inner->is_delayed ? NULL : inner;
}

const struct exchange_type *
exchange_type_inner(const struct exchange_type *type, struct bytes arguments)
{
    return type->is_delayed ? find_inner(arguments) : type;
}

static enum status
delayed_check_arguments(struct bytes arguments, const char *subject, struct fault *fault)
{
    const struct exchange_type *inner = find_inner(arguments);
    if (inner != NULL) {
        return exchange_type_check_arguments(inner, arguments, subject, fault);
    }
    struct table_value value;
    if (table_find(arguments, INNER_TYPE, &value) &&
        table_value_class(&value) == TABLE_CLASS_STRING && exchange_type_find(value.raw) == NULL) {
        char text[128];
        return fault_channel(fault, REPLY_PRECONDITION_FAILED, "unknown exchange type '%s'",
                             table_value_text(&value, text, sizeof(text)));
    }
    return fault_channel(fault, REPLY_PRECONDITION_FAILED,
                         "Invalid argument, 'x-delayed-type' must be an existing exchange type");
}

/* Of an exchange whose arguments were not accepted, which is said there. */
static enum status
delayed_check(struct bytes routing_key, struct bytes arguments, struct fault *fault)
{
    (void)routing_key;
    (void)arguments;
    (void)fault;
    return STATUS_OK;
}

const struct exchange_type exchange_type_delayed = {
    .name = "x-delayed-message",
    .is_delayed = true,
    .check = delayed_check,
    .check_arguments = delayed_check_arguments,
};

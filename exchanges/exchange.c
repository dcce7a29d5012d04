/* SPDX-License-Identifier: Apache-2.0 */
/* What all types share: names, bindings kept once, generations, and the cache in front of a
 * matcher. */
#include "exchanges/exchange.h"

#include <stdlib.h>

#include "amqp/table.h"
#include "base/alloc.h"
#include "base/assert.h"
#include "base/sampled_rates.h"
#include "routing/route_cache.h"

const struct exchange_type *
exchange_type_find(struct bytes name)
{
    static const struct exchange_type *const types[] = {
        &exchange_type_direct,  &exchange_type_fanout,          &exchange_type_topic,
        &exchange_type_headers, &exchange_type_consistent_hash, &exchange_type_modulus_hash,
        &exchange_type_random,  &exchange_type_delayed,
    };
    for (size_t i = 0; i < ARRAY_LEN(types); i++) {
        if (bytes_equal_text(name, types[i]->name)) {
            return types[i];
        }
    }
    return NULL;
}

enum status
exchange_type_check_arguments(const struct exchange_type *type, struct bytes arguments,
                              const char *subject, struct fault *fault)
{
    return type->check_arguments == NULL ? STATUS_OK
                                         : type->check_arguments(arguments, subject, fault);
}

/* A copy on the heap; `data` is NULL only when there is no memory. */
static struct bytes
bytes_copy(struct bytes bytes)
{
    uint8_t *copy = try_alloc(bytes.size + 1);
    if (copy == NULL) {
        return bytes_make(NULL, 0);
    }
    if (bytes.size > 0) {
        memcpy(copy, bytes.data, bytes.size);
    }
    return bytes_make(copy, bytes.size);
}

/* An argument wins over a policy. */
static void
choose_alternate(struct exchange *exchange)
{
    struct table_value value;
    bool is_declared = table_find(exchange->arguments, "alternate-exchange", &value) &&
                       table_value_class(&value) == TABLE_CLASS_STRING;
    exchange->alternate = is_declared ? value.raw : exchange->policy_alternate;
}

static void
make_matcher(struct exchange *exchange)
{
    exchange->matcher = exchange->type->matcher_new(&exchange->tools);
    if (exchange->type->configure != NULL) {
        exchange->type->configure(exchange->matcher, exchange->arguments);
    }
}

struct exchange *
exchange_new(uint64_t id, const struct exchange_properties *properties)
{
    struct bytes name = bytes_copy(properties->name);
    struct bytes arguments = bytes_copy(properties->arguments);
    if (name.data == NULL || arguments.data == NULL) {
        free((void *)name.data);
        free((void *)arguments.data);
        return NULL;
    }
    struct exchange *exchange = xalloc(sizeof(*exchange));
    route_target_init(&exchange->target, ROUTE_TARGET_EXCHANGE, id);
    exchange->name = name;
    exchange->type = exchange_type_inner(properties->type, properties->arguments);
    exchange->is_delayed = properties->type->is_delayed;
    assert(exchange->type != NULL);
    exchange->durable = properties->durable;
    exchange->auto_delete = properties->auto_delete;
    exchange->internal = properties->internal;
    exchange->predeclared = properties->predeclared;
    exchange->from_file = properties->from_file;
    exchange->is_protected = properties->is_protected;
    exchange->made = properties->made;
    exchange->arguments = arguments;
    choose_alternate(exchange);
    exchange->tools = properties->tools;
    binding_table_init(&exchange->bindings, exchange->tools.seed);
    make_matcher(exchange);
    return exchange;
}

enum status
exchange_set_arguments(struct exchange *exchange, struct bytes arguments)
{
    assert(exchange_type_inner(exchange_declared_type(exchange), arguments) == exchange->type);
    struct bytes copy = bytes_copy(arguments);
    if (copy.data == NULL) {
        return STATUS_NO_MEMORY;
    }
    if (exchange->type->configure != NULL) {
        exchange->type->configure(exchange->matcher, copy);
    }
    free((void *)exchange->arguments.data);
    exchange->arguments = copy;
    choose_alternate(exchange);
    return STATUS_OK;
}

void
exchange_set_policy_alternate(struct exchange *exchange, struct bytes alternate)
{
    exchange->policy_alternate = alternate;
    choose_alternate(exchange);
}

void
exchange_free(struct exchange **exchange_pointer)
{
    struct exchange *exchange = *exchange_pointer;
    if (exchange == NULL) {
        return;
    }
    assert(list_is_empty(&exchange->target.bindings));
    sampled_rates_free(&exchange->rates);
    exchange->type->matcher_free(exchange->matcher);
    binding_table_fini(&exchange->bindings);
    free((void *)exchange->arguments.data);
    free((void *)exchange->name.data);
    free(exchange);
    *exchange_pointer = NULL;
}

enum status
exchange_bind(struct exchange *exchange, struct route_target *target, struct bytes routing_key,
              struct bytes arguments, bool durable, bool *created_out, struct fault *fault)
{
    enum status status = exchange->type->check(routing_key, arguments, fault);
    if (status != STATUS_OK) {
        return status;
    }
    if (binding_table_find(&exchange->bindings, target, routing_key, arguments) != NULL) {
        *created_out = false;
        return STATUS_OK;
    }
    struct binding *binding;
    status = binding_table_add(&exchange->bindings, exchange, target, routing_key, arguments,
                               durable, &binding);
    if (status != STATUS_OK) {
        return status;
    }
    exchange->type->bind(exchange->matcher, binding);
    exchange->generation++;
    exchange->had_binding = true;
    *created_out = true;
    return STATUS_OK;
}

void
exchange_unbind_binding(struct exchange *exchange, struct binding *binding)
{
    assert(binding->source == exchange);
    exchange->type->unbind(exchange->matcher, binding);
    binding_table_remove(&exchange->bindings, binding);
    exchange->generation++;
}

uint32_t
exchange_binding_work(const struct binding *binding)
{
    const struct exchange *source = binding->source;
    return source->type->work == NULL ? 1 : source->type->work(source->matcher, binding);
}

void
exchange_unbind_all(struct exchange *exchange)
{
    exchange->type->matcher_free(exchange->matcher);
    make_matcher(exchange);
    binding_table_fini(&exchange->bindings);
    exchange->generation++;
}

bool
exchange_unbind(struct exchange *exchange, struct route_target *target, struct bytes routing_key,
                struct bytes arguments)
{
    struct binding *binding =
        binding_table_find(&exchange->bindings, target, routing_key, arguments);
    if (binding == NULL) {
        return false;
    }
    exchange_unbind_binding(exchange, binding);
    return true;
}

void
exchange_route(struct exchange *exchange, const struct exchange_message *message,
               struct route_cache *cache, struct route_set *set)
{
    if (exchange->bindings.count == 0) {
        return;
    }
    if (cache == NULL || !exchange->type->is_cacheable) {
        exchange->type->route(exchange->matcher, message, set);
        return;
    }
    uint64_t id = exchange->target.id;
    if (route_cache_find(cache, id, exchange->generation, message->routing_key, set)) {
        return;
    }
    /* To be remembered the result must be whole, with what others had put into the set before. */
    uint32_t start = route_set_split(set);
    exchange->type->route(exchange->matcher, message, set);
    route_cache_store(cache, id, exchange->generation, message->routing_key, set->targets + start,
                      set->count - start);
    route_set_merge(set, start);
}

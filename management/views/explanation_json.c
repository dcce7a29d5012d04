/* SPDX-License-Identifier: Apache-2.0 */
#include "management/views/explanation_json.h"

#include <stdio.h>
#include <stdlib.h>

#include "amqp/reply.h"

/* Rights --------------------------------------------------------------------------------------- */

static void
put_expression(struct json_writer *json, const char *name, const char *expression)
{
    if (expression == NULL) {
        json_put_null(json, name);
    } else {
        json_put_string(json, name, expression);
    }
}

static void
write_rights(struct json_writer *json, const struct explained_route *route)
{
    const struct explained_rights *rights = &route->rights;
    json_key(json, "rights");
    json_begin_object(json);
    json_put_text(json, "user", route->user);
    json_put_bool(json, "is_missing", rights->is_missing);
    json_put_bool(json, "is_disabled", rights->is_disabled);
    json_put_bool(json, "may_enter", rights->may_enter);
    json_put_bool(json, "may_write", rights->may_write);
    put_expression(json, "write", rights->write);
    put_expression(json, "topic_write", rights->topic);
    json_key(json, "keys");
    json_begin_array(json);
    for (uint32_t i = 0; i < rights->key_count; i++) {
        json_begin_object(json);
        json_put_text(json, "key", rights->keys[i].key);
        json_put_bool(json, "is_allowed", rights->keys[i].is_allowed);
        json_end_object(json);
    }
    json_end_array(json);
    json_end_object(json);
}

static void
write_refusal(struct json_writer *json, const struct explained_route *route)
{
    const struct fault *fault = &route->refusal;
    json_key(json, "refusal");
    if (!route->is_refused) {
        json_nil(json);
        return;
    }
    json_begin_object(json);
    json_put_unsigned(json, "code", fault->reply_code);
    json_put_string(json, "name", reply_code_name(fault->reply_code));
    json_put_string(json, "text", fault->text);
    json_end_object(json);
}

/* Exchanges ------------------------------------------------------------------------------------ */

static void
write_binding(struct json_writer *json, const struct explained_binding *binding)
{
    json_begin_object(json);
    json_put_text(json, "destination", bytes_make(binding->destination, binding->destination_size));
    json_put_string(json, "destination_type", binding->to_exchange ? "exchange" : "queue");
    json_put_text(json, "routing_key", bytes_make(binding->key, binding->key_size));
    json_put_string(json, "why", binding->why);
    json_put_unsigned(json, "message_key", binding->message_key);
    json_end_object(json);
}

static void
write_bindings(struct json_writer *json, const char *name, const struct explained_bindings *list)
{
    char total[32];
    json_key(json, name);
    json_begin_array(json);
    for (uint32_t i = 0; i < list->count; i++) {
        write_binding(json, &list->items[i]);
    }
    json_end_array(json);
    (void)snprintf(total, sizeof(total), "%s_total", name);
    json_put_unsigned(json, total, list->total);
}

static void
write_exchange(struct json_writer *json, const struct explained_route *route,
               const struct explained_exchange *step)
{
    static const char *const ways[] = {
        [WAY_PUBLISHED] = "published", [WAY_BOUND] = "bound", [WAY_ALTERNATE] = "alternate"};
    json_begin_object(json);
    json_put_text(json, "name", step->name);
    json_put_string(json, "type", step->type);
    json_put_string(json, "matches_as", step->inner_type);
    json_put_string(json, "way", ways[step->way]);
    if (step->way != WAY_PUBLISHED) {
        json_put_text(json, "from", route->exchanges[step->from]->name);
    }
    json_put_bool(json, "is_by_chance", step->is_by_chance);
    json_put_bool(json, "is_delayed", step->is_delayed);
    json_put_bool(json, "holds_back", step->holds_back);
    json_put_bool(json, "takes_alternate", step->takes_alternate);
    if (step->alternate.data != NULL) {
        json_put_text(json, "alternate", step->alternate);
        json_put_bool(json, "alternate_is_missing", step->alternate_is_missing);
    }
    write_bindings(json, "matches", &step->matches);
    write_bindings(json, "misses", &step->misses);
    json_end_object(json);
}

/* Queues --------------------------------------------------------------------------------------- */

static void
put_limit(struct json_writer *json, const char *name, int64_t limit)
{
    if (limit >= 0) {
        json_put_number(json, name, limit);
    }
}

static void
write_outlook(struct json_writer *json, const struct queue_outlook *outlook)
{
    static const char *const receptions[] = {
        [RECEPTION_TAKES] = "takes",
        [RECEPTION_DROPS_OLDEST] = "drops_oldest",
        [RECEPTION_REFUSES] = "refuses",
        [RECEPTION_REFUSES_TO_DLX] = "refuses_and_dead_letters",
    };
    json_put_string(json, "reception", receptions[outlook->reception]);
    json_put_unsigned(json, "messages_ready", outlook->ready_count);
    json_put_unsigned(json, "consumers", outlook->consumer_count);
    put_limit(json, "max_length", outlook->max_length);
    put_limit(json, "max_length_bytes", outlook->max_length_bytes);
    put_limit(json, "ttl_ms", outlook->time_to_live_ms);
    put_limit(json, "delivery_limit", outlook->delivery_limit);
    json_put_bool(json, "retries", outlook->retries);
    json_put_bool(json, "single_active_consumer", outlook->single_active);
    if (outlook->has_dead_letters) {
        json_put_text(json, "dead_letter_exchange", outlook->dead_letter_exchange);
        json_put_bool(json, "dead_letters_get_lost", outlook->dead_letters_get_lost);
    }
    if (outlook->has_dead_letters && outlook->dead_letter_key.data != NULL) {
        json_put_text(json, "dead_letter_routing_key", outlook->dead_letter_key);
    }
}

static void
write_queue(struct json_writer *json, const struct explained_route *route,
            const struct explained_queue *queue)
{
    json_begin_object(json);
    json_put_text(json, "name", queue->name);
    json_put_text(json, "from", route->exchanges[queue->from]->name);
    json_put_bool(json, "is_by_chance", queue->is_by_chance);
    json_put_bool(json, "is_delayed", queue->is_delayed);
    write_outlook(json, &queue->outlook);
    json_end_object(json);
}

/* The whole ------------------------------------------------------------------------------------ */

static void
write_text(struct json_writer *json, const struct explained_route *route, enum route_source source)
{
    char *text = NULL;
    size_t size = 0;
    FILE *memory = open_memstream(&text, &size);
    bool is_good = memory != NULL;
    if (is_good) {
        route_print(route, source, memory);
        is_good = fclose(memory) == 0;
    }
    if (is_good) {
        json_put_text(json, "text", bytes_make(text, size));
    }
    json->out.failed |= !is_good;
    free(text);
}

static void
write_way(struct json_writer *json, const struct explained_route *route)
{
    json_key(json, "keys");
    json_begin_array(json);
    for (uint32_t i = 0; i < route->key_count; i++) {
        json_text(json, route->keys[i]);
    }
    json_end_array(json);
    json_key(json, "exchanges");
    json_begin_array(json);
    for (uint32_t i = 0; i < route->exchange_count; i++) {
        write_exchange(json, route, route->exchanges[i]);
    }
    json_end_array(json);
    json_key(json, "queues");
    json_begin_array(json);
    for (uint32_t i = 0; i < route->queue_count; i++) {
        write_queue(json, route, route->queues[i]);
    }
    json_end_array(json);
}

void
explanation_write(struct json_writer *json, const struct explained_route *route,
                  enum route_source source)
{
    json_begin_object(json);
    json_put_bool(json, "arrives", !route->is_refused && route->queue_total > 0);
    write_refusal(json, route);
    json_put_text(json, "vhost", route->vhost);
    json_put_text(json, "exchange", route->exchange);
    json_put_bool(json, "exchange_exists", route->has_exchange);
    json_put_unsigned(json, "delay_ms", route->delay_ms);
    write_way(json, route);
    json_put_unsigned(json, "queues_total", route->queue_total);
    json_put_unsigned(json, "bindings_looked_at", route->looked_at);
    if (route->asked_rights) {
        write_rights(json, route);
    }
    write_text(json, route, source);
    json_end_object(json);
}

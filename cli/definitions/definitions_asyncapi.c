/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/definitions/definitions_asyncapi.h"

#include <stdio.h>

enum { NAME_SIZE = 800, REFERENCE_SIZE = 2 * NAME_SIZE };

/* A key of the document: letters, digits, ".", "-" and "_" as they are, all others as "_XX", and
 * "_" so too, so that no two names become one. */
static const char *
make_key(const char *kind, struct bytes name, char out[static NAME_SIZE])
{
    size_t used = (size_t)snprintf(out, NAME_SIZE, "%s.", kind);
    for (size_t i = 0; i < name.size && used + 4 < NAME_SIZE; i++) {
        uint8_t octet = name.data[i];
        bool is_plain = (octet >= 'a' && octet <= 'z') || (octet >= 'A' && octet <= 'Z') ||
                        (octet >= '0' && octet <= '9') || octet == '.' || octet == '-';
        used += (size_t)snprintf(out + used, NAME_SIZE - used, is_plain ? "%c" : "_%02X", octet);
    }
    return out;
}

static void
write_messages(struct json_writer *json)
{
    json_key(json, "messages");
    json_begin_object(json);
    json_key(json, "any");
    json_begin_object(json);
    json_put_string(json, "summary", "The topology does not say what is in a message");
    json_end_object(json);
    json_end_object(json);
}

/* "bindings": {"amqp": {, to be ended twice. */
static void
begin_amqp(struct json_writer *json)
{
    json_key(json, "bindings");
    json_begin_object(json);
    json_key(json, "amqp");
    json_begin_object(json);
}

static void
end_amqp(struct json_writer *json)
{
    json_put_string(json, "bindingVersion", "0.3.0");
    json_end_object(json);
    json_end_object(json);
}

/* The binding's own list of types is that of AMQP: the type that matches stands for the others. */
static const char *
binding_type(const char *type)
{
    static const char *const types[] = {"topic", "direct", "fanout", "headers"};
    for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
        if (strcmp(type, types[i]) == 0) {
            return type;
        }
    }
    return "default";
}

static void
write_exchange_channel(struct json_writer *json, const struct definitions_exchange *exchange)
{
    char key[NAME_SIZE];
    json_key(json, make_key("exchange", exchange->name, key));
    json_begin_object(json);
    json_put_text(json, "address", exchange->name);
    write_messages(json);
    begin_amqp(json);
    json_put_string(json, "is", "routingKey");
    json_key(json, "exchange");
    json_begin_object(json);
    json_put_text(json, "name", exchange->name);
    json_put_string(json, "type", binding_type(exchange->type));
    json_put_bool(json, "durable", exchange->durable);
    json_put_bool(json, "autoDelete", exchange->auto_delete);
    json_put_text(json, "vhost", exchange->vhost);
    json_end_object(json);
    end_amqp(json);
    json_end_object(json);
}

static void
write_queue_channel(struct json_writer *json, const struct definitions_queue *queue)
{
    char key[NAME_SIZE];
    json_key(json, make_key("queue", queue->name, key));
    json_begin_object(json);
    json_put_text(json, "address", queue->name);
    write_messages(json);
    begin_amqp(json);
    json_put_string(json, "is", "queue");
    json_key(json, "queue");
    json_begin_object(json);
    json_put_text(json, "name", queue->name);
    json_put_bool(json, "durable", queue->durable);
    json_put_bool(json, "exclusive", false);
    json_put_bool(json, "autoDelete", queue->auto_delete);
    json_put_text(json, "vhost", queue->vhost);
    json_end_object(json);
    end_amqp(json);
    json_end_object(json);
}

static void
write_operation(struct json_writer *json, const char *action, const char *kind, struct bytes name)
{
    char key[NAME_SIZE];
    char text[REFERENCE_SIZE];
    make_key(kind, name, key);
    (void)snprintf(text, sizeof(text), "%s.%s", action, key);
    json_key(json, text);
    json_begin_object(json);
    json_put_string(json, "action", action);
    json_key(json, "channel");
    json_begin_object(json);
    (void)snprintf(text, sizeof(text), "#/channels/%s", key);
    json_put_string(json, "$ref", text);
    json_end_object(json);
    begin_amqp(json);
    if (strcmp(action, "receive") == 0) {
        json_put_bool(json, "ack", true);
    } else {
        json_put_number(json, "deliveryMode", 2);
    }
    end_amqp(json);
    json_end_object(json);
}

static void
write_channels(const struct definitions *definitions, struct bytes vhost, struct json_writer *json)
{
    json_key(json, "channels");
    json_begin_object(json);
    for (size_t i = 0; i < definitions->exchanges.count; i++) {
        if (bytes_equal(definitions->exchanges.items[i].vhost, vhost)) {
            write_exchange_channel(json, &definitions->exchanges.items[i]);
        }
    }
    for (size_t i = 0; i < definitions->queues.count; i++) {
        if (bytes_equal(definitions->queues.items[i].vhost, vhost)) {
            write_queue_channel(json, &definitions->queues.items[i]);
        }
    }
    json_end_object(json);
}

/* Nobody publishes to an internal exchange. */
static void
write_operations(const struct definitions *definitions, struct bytes vhost,
                 struct json_writer *json)
{
    json_key(json, "operations");
    json_begin_object(json);
    for (size_t i = 0; i < definitions->exchanges.count; i++) {
        const struct definitions_exchange *exchange = &definitions->exchanges.items[i];
        if (bytes_equal(exchange->vhost, vhost) && !exchange->internal) {
            write_operation(json, "send", "exchange", exchange->name);
        }
    }
    for (size_t i = 0; i < definitions->queues.count; i++) {
        if (bytes_equal(definitions->queues.items[i].vhost, vhost)) {
            write_operation(json, "receive", "queue", definitions->queues.items[i].name);
        }
    }
    json_end_object(json);
}

void
definitions_write_asyncapi(const struct definitions *definitions, struct bytes vhost,
                           struct json_writer *json)
{
    json_begin_object(json);
    json_put_string(json, "asyncapi", "3.0.0");
    json_key(json, "info");
    json_begin_object(json);
    json_put_text(json, "title", vhost);
    json_put_string(json, "version", "1.0.0");
    json_end_object(json);
    json_put_string(json, "defaultContentType", "application/octet-stream");
    write_channels(definitions, vhost, json);
    write_operations(definitions, vhost, json);
    json_end_object(json);
}

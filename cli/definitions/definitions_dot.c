/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/definitions/definitions_dot.h"

#include "amqp/table.h"

/* A string of the language: only quotes and backslashes mean something in it; line ends go. */
static void
put_octets(FILE *out, struct bytes text)
{
    for (size_t i = 0; i < text.size; i++) {
        uint8_t octet = text.data[i];
        if (octet == '"' || octet == '\\') {
            fprintf(out, "\\%c", octet);
        } else {
            fputc(octet < 0x20 || octet == 0x7F ? '?' : octet, out);
        }
    }
}

/* Queues and exchanges may have the same name. */
static void
put_node(FILE *out, bool is_exchange, struct bytes name)
{
    fputs(is_exchange ? "\"x:" : "\"q:", out);
    put_octets(out, name);
    fputc('"', out);
}

static void
declare_node(FILE *out, bool is_exchange, struct bytes name, const char *type)
{
    fputs("  ", out);
    put_node(out, is_exchange, name);
    fputs(" [label=\"", out);
    put_octets(out, name);
    fprintf(out, "%s%s\" shape=%s]\n", type[0] == '\0' ? "" : "\\n", type,
            is_exchange ? "box" : "cylinder");
}

static void
put_edge(FILE *out, bool from_exchange, struct bytes from, bool to_exchange, struct bytes to)
{
    fputs("  ", out);
    put_node(out, from_exchange, from);
    fputs(" -> ", out);
    put_node(out, to_exchange, to);
}

/* A way that an argument means, dashed: data NULL says nothing. */
static void
put_argument_edge(FILE *out, bool from_exchange, struct bytes from, struct bytes arguments,
                  const char *argument, const char *label)
{
    struct table_value value;
    if (table_find(arguments, argument, &value) &&
        table_value_class(&value) == TABLE_CLASS_STRING) {
        put_edge(out, from_exchange, from, true, value.raw);
        fprintf(out, " [style=dashed label=\"%s\"]\n", label);
    }
}

static void
put_binding(FILE *out, const struct definitions_binding *binding)
{
    put_edge(out, true, binding->source, binding->to_exchange, binding->destination);
    fputs(" [label=\"", out);
    put_octets(out, binding->routing_key);
    fputs(binding->arguments.size > 0 ? " {...}" : "", out);
    fputs("\"]\n", out);
}

void
definitions_write_dot(const struct definitions *definitions, struct bytes vhost, FILE *out)
{
    fputs("digraph \"", out);
    put_octets(out, vhost);
    fputs("\" {\n  rankdir=LR\n", out);
    for (size_t i = 0; i < definitions->exchanges.count; i++) {
        const struct definitions_exchange *exchange = &definitions->exchanges.items[i];
        if (bytes_equal(exchange->vhost, vhost)) {
            declare_node(out, true, exchange->name, exchange->type);
            put_argument_edge(out, true, exchange->name, exchange->arguments, "alternate-exchange",
                              "unrouted");
        }
    }
    for (size_t i = 0; i < definitions->queues.count; i++) {
        const struct definitions_queue *queue = &definitions->queues.items[i];
        if (bytes_equal(queue->vhost, vhost)) {
            declare_node(out, false, queue->name, "");
            put_argument_edge(out, false, queue->name, queue->arguments, "x-dead-letter-exchange",
                              "dead letters");
        }
    }
    for (size_t i = 0; i < definitions->bindings.count; i++) {
        if (bytes_equal(definitions->bindings.items[i].vhost, vhost)) {
            put_binding(out, &definitions->bindings.items[i]);
        }
    }
    fputs("}\n", out);
}

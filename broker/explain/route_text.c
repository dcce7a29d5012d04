/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/explain/route_text.h"

#include <inttypes.h>

#include "amqp/reply.h"
#include "base/log.h"
#include "broker/explain/units_text.h"

enum { TEXT_SIZE = 400 };

/* Names as they are in double quotes, escaped. */
struct text {
    char octets[TEXT_SIZE];
};

static const char *
quoted(struct bytes name, struct text *text)
{
    return log_escape(text->octets, sizeof(text->octets), name);
}

static const char *
plural(uint64_t count)
{
    return count == 1 ? "" : "s";
}

/* What was asked ------------------------------------------------------------------------------- */

static void
print_question(const struct explained_route *route, FILE *out)
{
    struct text texts[3];
    if (route->exchange.size == 0) {
        fprintf(out, "the default exchange");
    } else {
        fprintf(out, "exchange %s", quoted(route->exchange, &texts[0]));
    }
    fprintf(out, " in vhost %s", quoted(route->vhost, &texts[1]));
    for (uint32_t i = 0; i < route->key_count; i++) {
        fprintf(out, "%s%s",
                i == 0   ? ", key "
                : i == 1 ? " and from CC and BCC "
                         : ", ",
                quoted(route->keys[i], &texts[2]));
    }
    if (route->delay_ms > 0) {
        struct duration_text delay;
        fprintf(out, ", asks for a delay of %s", duration_text((int64_t)route->delay_ms, &delay));
    }
    fputc('\n', out);
}

static void
print_rights(const struct explained_route *route, FILE *out)
{
    const struct explained_rights *rights = &route->rights;
    struct text texts[2];
    fprintf(out, "user %s: ", quoted(route->user, &texts[0]));
    if (rights->is_missing || rights->is_disabled || !rights->may_enter) {
        fprintf(out, "%s\n",
                rights->is_missing    ? "there is no such user"
                : rights->is_disabled ? "is no longer in the file"
                                      : "has no rights in this vhost");
        return;
    }
    fprintf(out, "%s to this exchange, by write %s\n",
            rights->may_write ? "may publish" : "may not publish",
            rights->write == NULL || rights->write[0] == '\0'
                ? "\"\", which allows nothing"
                : quoted(bytes_of(rights->write), &texts[0]));
    for (uint32_t i = 0; i < rights->key_count && rights->topic != NULL; i++) {
        fprintf(out, "  key %s %s, by the topic right %s\n", quoted(rights->keys[i].key, &texts[0]),
                rights->keys[i].is_allowed ? "is allowed" : "is refused",
                quoted(bytes_of(rights->topic), &texts[1]));
    }
}

static void
print_refusal(const struct explained_route *route, FILE *out)
{
    const struct fault *fault = &route->refusal;
    char text[2 * sizeof(fault->text)];
    log_escape(text, sizeof(text), bytes_of(fault->text)); /* it has names as they came */
    fprintf(out, "REFUSED: %u %s - %.*s\n", fault->reply_code, reply_code_name(fault->reply_code),
            (int)strlen(text) - 2, text + 1);
    if (route->has_exchange) {
        fputs("where it would go if it were not:\n", out);
    }
}

/* Exchanges ------------------------------------------------------------------------------------ */

static void
print_destination(const struct explained_binding *binding, FILE *out)
{
    struct text texts[2];
    fprintf(out, "%s -> %s %s: %s", quoted(bytes_make(binding->key, binding->key_size), &texts[0]),
            binding->to_exchange ? "exchange" : "queue",
            quoted(bytes_make(binding->destination, binding->destination_size), &texts[1]),
            binding->why);
}

static void
print_bindings(const struct explained_route *route, const struct explained_bindings *list,
               char sign, const char *what, FILE *out)
{
    struct text text;
    for (uint32_t i = 0; i < list->count; i++) {
        const struct explained_binding *binding = &list->items[i];
        fprintf(out, "  %c ", sign);
        print_destination(binding, out);
        if (binding->message_key > 0) {
            fprintf(out, " (key %s)", quoted(route->keys[binding->message_key], &text));
        }
        fputc('\n', out);
    }
    if (list->total > list->count) {
        uint64_t rest = list->total - list->count;
        fprintf(out, "  %c %" PRIu64 " %s%s that %s\n", sign, rest,
                list->count == 0 ? "binding" : "more binding", plural(rest), what);
    }
}

static void
print_way(const struct explained_route *route, const struct explained_exchange *step, FILE *out)
{
    struct text text;
    if (step->way == WAY_PUBLISHED) {
        return;
    }
    fprintf(out, "%s exchange %s", step->way == WAY_BOUND ? ", from" : ", alternate of",
            quoted(route->exchanges[step->from]->name, &text));
    fputs(step->is_by_chance ? ", perhaps" : "", out);
}

static void
print_exchange(const struct explained_route *route, const struct explained_exchange *step,
               FILE *out)
{
    struct text text;
    bool is_default = step->name.size == 0;
    fprintf(out, "\n%s (%s%s%s)", is_default ? "the default exchange" : quoted(step->name, &text),
            step->type, step->type == step->inner_type ? "" : ", matches as ",
            step->type == step->inner_type ? "" : step->inner_type);
    print_way(route, step, out);
    fputc('\n', out);
    if (step->holds_back) {
        fputs("  holds the message back: all that is only behind it gets it later\n", out);
    }
    print_bindings(route, &step->matches, '+', "match", out);
    print_bindings(route, &step->misses, '-', "do not match", out);
    if (step->matches.total == 0 && !step->takes_alternate) {
        fprintf(out, "  %s\n",
                is_default ? "no queue has that name"
                           : "nothing matches, and it has no alternate exchange");
    } else if (step->takes_alternate) {
        fprintf(out, "  nothing matches: on to the alternate exchange %s%s\n",
                quoted(step->alternate, &text),
                step->alternate_is_missing ? ", which does not exist" : "");
    }
}

/* Queues --------------------------------------------------------------------------------------- */

static void
print_limits(const struct queue_outlook *outlook, enum route_source source, FILE *out)
{
    static const char *const when_full[] = {
        [OVERFLOW_DROP_HEAD] = "then the oldest goes",
        [OVERFLOW_REJECT_PUBLISH] = "then it refuses (basic.nack)",
        [OVERFLOW_REJECT_PUBLISH_DLX] = "then it refuses, and dead-letters what it refused",
    };
    struct size_text size;
    if (outlook->max_length < 0 && outlook->max_length_bytes < 0) {
        return;
    }
    fputs("; holds at most ", out);
    if (outlook->max_length >= 0) {
        fprintf(out, "%" PRId64 " message%s", outlook->max_length,
                plural((uint64_t)outlook->max_length));
    }
    if (outlook->max_length_bytes >= 0) {
        fprintf(out, "%s%s", outlook->max_length >= 0 ? " and " : "",
                size_text(outlook->max_length_bytes, &size));
    }
    fprintf(out, ", %s", when_full[outlook->overflow]);
    if (source == ROUTE_OF_BROKER) {
        fprintf(out, "; has %" PRIu64 " ready", outlook->ready_count);
    }
}

static void
print_dead_letters(const struct queue_outlook *outlook, FILE *out)
{
    struct text texts[2];
    if (!outlook->has_dead_letters) {
        return;
    }
    if (outlook->dead_letter_exchange.size == 0) {
        fputs("; dead letters to the default exchange", out);
    } else {
        fprintf(out, "; dead letters to exchange %s",
                quoted(outlook->dead_letter_exchange, &texts[0]));
    }
    if (outlook->dead_letter_key.data != NULL) {
        fprintf(out, " with key %s", quoted(outlook->dead_letter_key, &texts[1]));
    }
    fputs(outlook->dead_letters_get_lost ? ", which does not exist: they are lost" : "", out);
}

static void
print_reception(const struct queue_outlook *outlook, FILE *out)
{
    switch (outlook->reception) {
    case RECEPTION_TAKES:
        break;
    case RECEPTION_DROPS_OLDEST:
        fputs("; IS FULL: the oldest message would go for it", out);
        break;
    case RECEPTION_REFUSES:
        fputs("; IS FULL: it would refuse the message", out);
        break;
    case RECEPTION_REFUSES_TO_DLX:
        fputs("; IS FULL: it would refuse the message and dead-letter a copy", out);
        break;
    }
}

static void
print_life(const struct queue_outlook *outlook, enum route_source source, FILE *out)
{
    struct duration_text time;
    if (outlook->time_to_live_ms >= 0) {
        fprintf(out, "; lives %s%s", duration_text(outlook->time_to_live_ms, &time),
                outlook->by_message ? " by its own expiration" : "");
    }
    if (outlook->delivery_limit >= 0) {
        fprintf(out, "; at most %" PRId64 " deliveries%s", outlook->delivery_limit + 1,
                outlook->retries ? " with waits between them" : "");
    }
    fputs(outlook->single_active ? "; one active consumer" : "", out);
    if (source == ROUTE_OF_BROKER && outlook->consumer_count == 0) {
        fputs("; NO CONSUMER", out);
    }
}

static void
print_queue(const struct explained_route *route, const struct explained_queue *queue,
            enum route_source source, FILE *out)
{
    struct text texts[2];
    const struct explained_exchange *from = route->exchanges[queue->from];
    fprintf(out, "  %s, by %s%s", quoted(queue->name, &texts[0]),
            from->name.size == 0 ? "the default exchange" : quoted(from->name, &texts[1]),
            queue->is_by_chance ? ", perhaps" : "");
    if (queue->is_delayed) {
        struct duration_text delay;
        fprintf(out, ", after %s", duration_text((int64_t)route->delay_ms, &delay));
    }
    print_reception(&queue->outlook, out);
    print_limits(&queue->outlook, source, out);
    print_life(&queue->outlook, source, out);
    print_dead_letters(&queue->outlook, out);
    fputc('\n', out);
}

static void
print_queues(const struct explained_route *route, enum route_source source, FILE *out)
{
    if (route->queue_total == 0) {
        fputs("\nUNROUTABLE: no queue gets it; a publisher hears of it only with the flag "
              "mandatory\n",
              out);
        return;
    }
    fprintf(out, "\n%" PRIu64 " queue%s:\n", route->queue_total, plural(route->queue_total));
    for (uint32_t i = 0; i < route->queue_count; i++) {
        print_queue(route, route->queues[i], source, out);
    }
    if (route->queue_total > route->queue_count) {
        fprintf(out, "  and %" PRIu64 " more\n", route->queue_total - route->queue_count);
    }
}

void
route_print(const struct explained_route *route, enum route_source source, FILE *out)
{
    if (route->is_changing) {
        fputs("the topology changes too fast to be looked at; ask again\n", out);
        return;
    }
    print_question(route, out);
    if (route->asked_rights) {
        print_rights(route, out);
    }
    if (route->is_refused) {
        print_refusal(route, out);
    }
    if (!route->has_exchange) {
        return;
    }
    for (uint32_t i = 0; i < route->exchange_count; i++) {
        print_exchange(route, route->exchanges[i], out);
    }
    print_queues(route, source, out);
}

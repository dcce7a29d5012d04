/* SPDX-License-Identifier: Apache-2.0 */
/* Queues and exchanges are the places of one graph: queues first, then exchanges. Bindings of an
 * exchange are found by an index, so that a large file is a short walk. */
#include "broker/plan/examine_ways.h"

#include <stdlib.h>
#include <string.h>

#include "amqp/table.h"
#include "base/buffer.h"
#include "base/map.h"
#include "broker/users/access.h"
#include "config/report.h"
#include "routing/topic_explain.h"

enum visit { VISIT_NEW, VISIT_OPEN, VISIT_DONE };

/* Where the dead of a queue go. */
struct dead_end {
    bool has_exchange, has_key;
    struct bytes exchange, key;
};

struct ways {
    struct config *config;
    struct core *core;
    struct map places;      /* number of a place plus one, by name of the exchange */
    struct map queue_names; /* the same of queues */
    struct dead_end *dead_ends;
    uint32_t *first;    /* per exchange: its bindings are order[first[i]] to order[first[i + 1]] */
    uint32_t *order;    /* numbers of bindings, by source */
    bool *is_reachable; /* per place */
    enum visit *visits; /* per place */
    uint32_t *stack, *next, *at;
    uint32_t depth;
    uint32_t edge_count, circle_count; /* that were followed, that were found */
};

/* A file may have as many ways for dead letters as it has queues, times its bindings, and each may
 * close another circle: what was found by then is enough. */
enum { EDGES_MAX = 4000000, CIRCLES_MAX = 32 };

static const uint32_t NOWHERE = UINT32_MAX;

static uint32_t
place_of(const struct map *map, struct bytes name)
{
    uintptr_t number = (uintptr_t)map_get(map, name);
    return number == 0 ? NOWHERE : (uint32_t)(number - 1);
}

static bool
is_queue(const struct ways *ways, uint32_t place)
{
    return place < ways->config->queue_count;
}

static const struct config_exchange *
exchange_at(const struct ways *ways, uint32_t place)
{
    return &ways->config->exchanges[place - ways->config->queue_count];
}

/* The exchange's alternate; NOWHERE: it has none in the file. */
static uint32_t
alternate_of(const struct ways *ways, uint32_t place)
{
    struct table_value value;
    if (!table_find(exchange_at(ways, place)->arguments, "alternate-exchange", &value)) {
        return NOWHERE;
    }
    return place_of(&ways->places, value.raw);
}

static uint32_t
destination_of(const struct ways *ways, const struct config_binding *binding)
{
    return place_of(binding->to_exchange ? &ways->places : &ways->queue_names,
                    binding->destination);
}

/* The index ------------------------------------------------------------------------------------ */

static void
index_names(struct ways *ways)
{
    const struct config *config = ways->config;
    for (size_t i = 0; i < config->queue_count; i++) {
        map_put(&ways->queue_names, config->queues[i].name, (void *)(uintptr_t)(i + 1));
    }
    for (size_t i = 0; i < config->exchange_count; i++) {
        map_put(&ways->places, config->exchanges[i].name,
                (void *)(uintptr_t)(config->queue_count + i + 1));
    }
}

/* Bindings in order of their sources, by counting. Those of exchanges that are not in the file are
 * left out. */
static void
index_bindings(struct ways *ways)
{
    const struct config *config = ways->config;
    uint32_t *next = xalloc((config->exchange_count + 1) * sizeof(*next));
    for (size_t i = 0; i < config->binding_count; i++) {
        uint32_t place = place_of(&ways->places, config->bindings[i].source);
        if (place != NOWHERE) {
            ways->first[place - config->queue_count + 1]++;
        }
    }
    for (size_t i = 0; i < config->exchange_count; i++) {
        ways->first[i + 1] += ways->first[i];
        next[i] = ways->first[i];
    }
    for (size_t i = 0; i < config->binding_count; i++) {
        uint32_t place = place_of(&ways->places, config->bindings[i].source);
        if (place != NOWHERE) {
            ways->order[next[place - config->queue_count]++] = (uint32_t)i;
        }
    }
    free(next);
}

static void
index_dead_ends(struct ways *ways)
{
    const struct config *config = ways->config;
    for (size_t i = 0; i < config->queue_count; i++) {
        struct dead_end *end = &ways->dead_ends[i];
        struct table_value value;
        if (table_find(config->queues[i].arguments, "x-dead-letter-exchange", &value)) {
            end->has_exchange = true;
            end->exchange = value.raw;
        }
        if (table_find(config->queues[i].arguments, "x-dead-letter-routing-key", &value)) {
            end->has_key = true;
            end->key = value.raw;
        }
    }
}

static void
ways_init(struct ways *ways, struct config *config, struct core *core)
{
    size_t places = config->queue_count + config->exchange_count + 1;
    *ways = (struct ways){.config = config, .core = core};
    map_init(&ways->places, core->seed);
    map_init(&ways->queue_names, core->seed);
    ways->dead_ends = xalloc((config->queue_count + 1) * sizeof(*ways->dead_ends));
    ways->first = xalloc((config->exchange_count + 1) * sizeof(*ways->first));
    ways->order = xalloc((config->binding_count + 1) * sizeof(*ways->order));
    ways->is_reachable = xalloc(places * sizeof(*ways->is_reachable));
    ways->visits = xalloc(places * sizeof(*ways->visits));
    ways->stack = xalloc(places * sizeof(*ways->stack));
    ways->next = xalloc(places * sizeof(*ways->next));
    ways->at = xalloc(places * sizeof(*ways->at));
    index_names(ways);
    index_bindings(ways);
    index_dead_ends(ways);
}

static void
ways_fini(struct ways *ways)
{
    map_fini(&ways->places);
    map_fini(&ways->queue_names);
    free(ways->dead_ends);
    free(ways->first);
    free(ways->order);
    free(ways->is_reachable);
    free(ways->visits);
    free(ways->stack);
    free(ways->next);
    free(ways->at);
}

/* Edges ---------------------------------------------------------------------------------------- */

/* Whether a message with that key may take the binding; what cannot be known may be. */
static bool
may_match(const struct ways *ways, uint32_t place, const struct config_binding *binding,
          const struct dead_end *end)
{
    struct topic_finding finding;
    const char *type = exchange_at(ways, place)->type;
    if (!end->has_key) {
        return true;
    }
    if (strcmp(type, "direct") == 0) {
        return bytes_equal(binding->routing_key, end->key);
    }
    if (strcmp(type, "topic") == 0) {
        topic_explain(binding->routing_key, end->key, &finding);
        return finding.stop == TOPIC_MATCHES;
    }
    return true;
}

/* The binding number `at` of the exchange, then its alternate; NOWHERE behind the last, or when
 * this one leads nowhere (`*is_end_out` tells them apart). */
static uint32_t
edge_of_exchange(const struct ways *ways, uint32_t place, uint32_t at, const struct dead_end *end,
                 bool *is_end_out)
{
    uint32_t exchange = place - (uint32_t)ways->config->queue_count;
    uint32_t count = ways->first[exchange + 1] - ways->first[exchange];
    *is_end_out = at > count;
    if (at >= count) {
        return at == count ? alternate_of(ways, place) : NOWHERE;
    }
    const struct config_binding *binding =
        &ways->config->bindings[ways->order[ways->first[exchange] + at]];
    bool is_way = end == NULL || may_match(ways, place, binding, end);
    return is_way ? destination_of(ways, binding) : NOWHERE;
}

/* The same of any place: a queue's edges are those of its dead letters. */
static uint32_t
edge_at(const struct ways *ways, uint32_t place, uint32_t at, bool *is_end_out)
{
    if (!is_queue(ways, place)) {
        return edge_of_exchange(ways, place, at, NULL, is_end_out);
    }
    const struct dead_end *end = &ways->dead_ends[place];
    uint32_t exchange = place_of(&ways->places, end->exchange);
    *is_end_out = !end->has_exchange || (exchange == NOWHERE && at > 0);
    if (*is_end_out) {
        return NOWHERE;
    }
    if (end->exchange.size == 0) {
        return end->has_key ? place_of(&ways->queue_names, end->key) : place;
    }
    return exchange == NOWHERE ? NOWHERE : edge_of_exchange(ways, exchange, at, end, is_end_out);
}

/* Circles -------------------------------------------------------------------------------------- */

static struct config_mark
dead_letter_mark(const struct config_queue *queue)
{
    for (size_t i = 0; i < queue->argument_count; i++) {
        if (bytes_equal_text(queue->argument_marks[i].name, "x-dead-letter-exchange")) {
            return queue->argument_marks[i].mark;
        }
    }
    return queue->mark;
}

/* The queues between where the walk has been before and where it is now; the file's exchanges among
 * themselves are told elsewhere (config/cycles.h). */
static void
report_circle(struct ways *ways, uint32_t to)
{
    enum { SHOWN_MAX = 8 };
    struct buffer text;
    const struct config_queue *first = NULL;
    size_t count = 0;
    buffer_init(&text);
    for (uint32_t i = ways->at[to]; i < ways->depth; i++) {
        if (!is_queue(ways, ways->stack[i])) {
            continue;
        }
        const struct config_queue *queue = &ways->config->queues[ways->stack[i]];
        first = first == NULL ? queue : first;
        if (count++ < SHOWN_MAX) {
            buffer_printf(&text, "\"%.*s\" -> ", BYTES_FORMAT(queue->name));
        }
    }
    if (first != NULL) {
        ways->circle_count++;
        report_warning(ways->config, dead_letter_mark(first),
                       "dead letters in a circle: %.*s%s\"%.*s\"; what expires all the way round "
                       "is dropped, what is rejected goes round for ever",
                       BYTES_FORMAT(buffer_bytes(&text)), count > SHOWN_MAX ? "... -> " : "",
                       BYTES_FORMAT(first->name));
    }
    buffer_fini(&text);
}

static void
enter(struct ways *ways, uint32_t place)
{
    ways->visits[place] = VISIT_OPEN;
    ways->at[place] = ways->depth;
    ways->next[place] = 0;
    ways->stack[ways->depth++] = place;
}

static void
step(struct ways *ways)
{
    bool is_end;
    uint32_t place = ways->stack[ways->depth - 1];
    uint32_t to = edge_at(ways, place, ways->next[place]++, &is_end);
    ways->edge_count++;
    if (is_end) {
        ways->visits[place] = VISIT_DONE;
        ways->depth--;
    } else if (to != NOWHERE && ways->visits[to] == VISIT_NEW) {
        enter(ways, to);
    } else if (to != NOWHERE && ways->visits[to] == VISIT_OPEN) {
        report_circle(ways, to);
    }
}

static bool
has_seen_enough(const struct ways *ways)
{
    return ways->edge_count >= EDGES_MAX || ways->circle_count >= CIRCLES_MAX;
}

static void
look_for_circles(struct ways *ways)
{
    for (uint32_t i = 0; i < ways->config->queue_count; i++) {
        if (ways->visits[i] == VISIT_NEW && ways->dead_ends[i].has_exchange) {
            enter(ways, i);
        }
        while (ways->depth > 0 && !has_seen_enough(ways)) {
            step(ways);
        }
        ways->depth = 0;
    }
}

/* Reach ---------------------------------------------------------------------------------------- */

/* Whether anybody of the file may publish there. */
static bool
is_written(const struct ways *ways, struct bytes exchange)
{
    const struct config *config = ways->config;
    for (size_t i = 0; i < config->user_count; i++) {
        struct user *user = core_find_user(ways->core, config->users[i].name);
        if (user != NULL && access_allows(ways->core, user, config->vhost, ACCESS_WRITE,
                                          ACCESS_EXCHANGE, exchange)) {
            return true;
        }
    }
    return false;
}

static void
reach(struct ways *ways, uint32_t place)
{
    if (place != NOWHERE && !ways->is_reachable[place]) {
        ways->is_reachable[place] = true;
        ways->stack[ways->depth++] = place;
    }
}

/* Dead letters of any queue lead on; whether that queue gets any is another question. */
static void
reach_dead_ends(struct ways *ways)
{
    for (size_t i = 0; i < ways->config->queue_count; i++) {
        const struct dead_end *end = &ways->dead_ends[i];
        if (end->has_exchange && end->exchange.size > 0) {
            reach(ways, place_of(&ways->places, end->exchange));
        } else if (end->has_exchange && end->has_key) {
            reach(ways, place_of(&ways->queue_names, end->key));
        }
    }
}

static void
reach_from_policies(struct ways *ways)
{
    static const char *const keys[] = {"dead-letter-exchange", "alternate-exchange"};
    for (size_t i = 0; i < ways->config->policy_count; i++) {
        for (size_t k = 0; k < sizeof(keys) / sizeof(keys[0]); k++) {
            struct table_value value;
            if (table_find(ways->config->policies[i].definition, keys[k], &value)) {
                reach(ways, place_of(&ways->places, value.raw));
            }
        }
    }
}

/* Exchanges that every vhost has are written to by somebody, or not: they are taken for written. */
static void
reach_from_elsewhere(struct ways *ways)
{
    for (size_t i = 0; i < ways->config->binding_count; i++) {
        const struct config_binding *binding = &ways->config->bindings[i];
        if (place_of(&ways->places, binding->source) == NOWHERE) {
            reach(ways, destination_of(ways, binding));
        }
    }
}

static void
reach_from_users(struct ways *ways)
{
    for (size_t i = 0; i < ways->config->exchange_count; i++) {
        const struct config_exchange *exchange = &ways->config->exchanges[i];
        if (!exchange->internal && is_written(ways, exchange->name)) {
            reach(ways, (uint32_t)(ways->config->queue_count + i));
        }
    }
}

static void
go_on(struct ways *ways)
{
    while (ways->depth > 0) {
        uint32_t place = ways->stack[--ways->depth];
        bool is_end = is_queue(ways, place);
        for (uint32_t at = 0; !is_end; at++) {
            reach(ways, edge_of_exchange(ways, place, at, NULL, &is_end));
        }
    }
}

static bool
may_publish_anywhere(const struct config *config)
{
    for (size_t i = 0; i < config->user_count; i++) {
        if (config->users[i].write[0] != '\0') {
            return true;
        }
    }
    return false;
}

/* Only where the file has users who publish, and none who may name queues: else others may. */
static void
look_for_lonely_queues(struct ways *ways)
{
    const struct config *config = ways->config;
    if (!may_publish_anywhere(config) || is_written(ways, bytes_of(""))) {
        return;
    }
    reach_from_users(ways);
    reach_from_elsewhere(ways);
    reach_from_policies(ways);
    reach_dead_ends(ways);
    go_on(ways);
    for (size_t i = 0; i < config->queue_count; i++) {
        if (!ways->is_reachable[i]) {
            report_warning(ways->config, config->queues[i].mark,
                           "nothing reaches queue \"%.*s\": no user of the file may publish to the "
                           "default exchange, or to what leads there",
                           BYTES_FORMAT(config->queues[i].name));
        }
    }
}

void
examine_ways(struct config *config, struct core *core)
{
    struct ways ways;
    ways_init(&ways, config, core);
    look_for_circles(&ways);
    look_for_lonely_queues(&ways);
    ways_fini(&ways);
}

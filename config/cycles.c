/* SPDX-License-Identifier: Apache-2.0 */
/* A depth-first walk over the exchanges with a stack of its own: one that leads to an exchange
 * which is still open has come round. */
#include "config/cycles.h"

#include "base/assert.h"
#include "base/buffer.h"
#include "config/report.h"

enum visit { VISIT_NEW, VISIT_OPEN, VISIT_DONE };

struct edge {
    size_t from; /* positions of exchanges */
    size_t to;
    struct config_mark mark;
};

/* The edges of exchange i are edges[first[i]] to edges[first[i + 1] - 1]. */
struct graph {
    struct config *config;
    size_t exchange_count;
    struct edge *edges;
    size_t *first;
    enum visit *visits;
    size_t *stack;
    size_t *place; /* per exchange on the stack: where */
    size_t *next;  /* per exchange: the edge to follow next */
    size_t depth;
};

typedef void edge_visit(void *context, struct edge edge);

/* Edges lead the way of a message: from the source of a binding to its destination, and from an
 * exchange to its alternate. What every vhost has leads nowhere. */
static void
for_each_edge(const struct config *config, const struct document *document, edge_visit *visit,
              void *context)
{
    const struct named_list *list = &document->exchanges;
    for (size_t i = 0; i < config->binding_count; i++) {
        const struct config_binding *binding = &config->bindings[i];
        const struct named *from = named_list_find(list, binding->source);
        const struct named *to =
            binding->to_exchange ? named_list_find(list, binding->destination) : NULL;
        if (from != NULL && to != NULL) {
            visit(context, (struct edge){from->position, to->position, binding->mark});
        }
    }
    for (size_t i = 0; i < list->count; i++) {
        const struct document_exchange *exchange = list->items[i];
        const struct named *to = exchange->unrouted.node == NULL
                                     ? NULL
                                     : named_list_find(list, exchange->unrouted.value.text);
        if (to != NULL) {
            visit(context, (struct edge){i, to->position, exchange->unrouted.node->mark});
        }
    }
}

static void
graph_count_edge(void *context, struct edge edge)
{
    struct graph *graph = context;
    graph->first[edge.from + 1]++;
}

static void
graph_put_edge(void *context, struct edge edge)
{
    struct graph *graph = context;
    graph->edges[graph->next[edge.from]++] = edge;
}

static void
graph_build(struct graph *graph, const struct document *document)
{
    struct arena *arena = &graph->config->arena;
    size_t count = graph->exchange_count;
    graph->first = arena_alloc(arena, (count + 1) * sizeof(*graph->first));
    graph->next = arena_alloc(arena, (count + 1) * sizeof(*graph->next));
    graph->stack = arena_alloc(arena, (count + 1) * sizeof(*graph->stack));
    graph->place = arena_alloc(arena, (count + 1) * sizeof(*graph->place));
    graph->visits = arena_alloc(arena, (count + 1) * sizeof(*graph->visits));
    for_each_edge(graph->config, document, graph_count_edge, graph);
    for (size_t i = 0; i < count; i++) {
        graph->first[i + 1] += graph->first[i];
        graph->next[i] = graph->first[i];
    }
    graph->edges = arena_alloc(arena, (graph->first[count] + 1) * sizeof(*graph->edges));
    for_each_edge(graph->config, document, graph_put_edge, graph);
    for (size_t i = 0; i < count; i++) {
        graph->next[i] = graph->first[i];
    }
}

/* "a" -> "b" -> "a", from where the walk has been before to where it is now. */
static void
graph_report(const struct graph *graph, const struct edge *edge)
{
    enum { SHOWN_MAX = 8 };
    struct buffer text;
    size_t start = graph->place[edge->to];
    buffer_init(&text);
    for (size_t i = start; i < graph->depth && i < start + SHOWN_MAX; i++) {
        struct bytes name = graph->config->exchanges[graph->stack[i]].name;
        buffer_printf(&text, "\"%.*s\" -> ", BYTES_FORMAT(name));
    }
    buffer_printf(&text, "%s\"%.*s\"", graph->depth > start + SHOWN_MAX ? "... -> " : "",
                  BYTES_FORMAT(graph->config->exchanges[edge->to].name));
    report_warning(graph->config, edge->mark, "exchanges in a circle: %.*s",
                   BYTES_FORMAT(buffer_bytes(&text)));
    buffer_fini(&text);
}

static void
graph_enter(struct graph *graph, size_t exchange)
{
    graph->visits[exchange] = VISIT_OPEN;
    graph->place[exchange] = graph->depth;
    graph->stack[graph->depth++] = exchange;
}

static void
graph_step(struct graph *graph)
{
    size_t exchange = graph->stack[graph->depth - 1];
    if (graph->next[exchange] == graph->first[exchange + 1]) {
        graph->visits[exchange] = VISIT_DONE;
        graph->depth--;
        return;
    }
    const struct edge *edge = &graph->edges[graph->next[exchange]++];
    if (graph->visits[edge->to] == VISIT_NEW) {
        graph_enter(graph, edge->to);
    } else if (graph->visits[edge->to] == VISIT_OPEN) {
        graph_report(graph, edge);
    }
}

void
cycles_report(struct config *config, const struct document *document)
{
    struct graph graph = {.config = config, .exchange_count = document->exchanges.count};
    graph_build(&graph, document);
    for (size_t i = 0; i < graph.exchange_count; i++) {
        if (graph.visits[i] == VISIT_NEW) {
            graph_enter(&graph, i);
        }
        while (graph.depth > 0) {
            graph_step(&graph);
        }
    }
}

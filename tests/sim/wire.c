/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/sim/wire.h"

#include <stdlib.h>

#include "base/assert.h"
#include "tests/sim/history_parts.h"

/* Notes ---------------------------------------------------------------------------------------- */

#define NOTES_PUSH(list, note)                                                                     \
    do {                                                                                           \
        if ((list)->first == (list)->end) {                                                        \
            (list)->first = 0;                                                                     \
            (list)->end = 0;                                                                       \
        }                                                                                          \
        *HISTORY_PUSH((list)->notes, (list)->end, (list)->capacity) = (note);                      \
    } while (0)

static void
forget_notes(struct wire_network *network)
{
    network->sent.first = network->sent.end;
    network->posted.first = network->posted.end;
    network->unwritten.first = network->unwritten.end;
    network->lent.first = network->lent.end;
}

/* Chunks --------------------------------------------------------------------------------------- */

static void
post_chunk(struct wire_network *network, enum net_event_type type,
           const struct chunk_notice *notice)
{
    struct net_event event = {.type = type, .link = net_no_link(network->number), .chunk = *notice};
    struct sent sent = {.type = type, .link = event.link, .message = HISTORY_NONE};
    wire_post_event(network->wire, &event, &sent);
}

static void
on_opened(void *context, const struct chunk_notice *notice)
{
    post_chunk(context, NET_EVENT_CHUNK_OPENED, notice);
}

static void
on_closed(void *context, const struct chunk_notice *notice)
{
    post_chunk(context, NET_EVENT_CHUNK_CLOSED, notice);
}

/* Life ----------------------------------------------------------------------------------------- */

void
wire_init(struct wire *wire, struct wire_events to)
{
    *wire = (struct wire){.to = to};
}

void
wire_fini(struct wire *wire)
{
    assert(!wire->is_running);
    for (uint32_t i = 0; i < WIRE_NETWORKS_MAX; i++) {
        free(wire->networks[i].sent.notes);
        free(wire->networks[i].posted.notes);
        free(wire->networks[i].unwritten.notes);
        free(wire->networks[i].lent.notes);
    }
}

static uint32_t
writer_count(const struct wire *wire)
{
    return wire_is_direct(wire) ? 1 : wire->network_count;
}

static void
start_network(struct wire *wire, uint32_t number, struct chunk_memory memory)
{
    struct wire_network *network = &wire->networks[number];
    struct chunk_sink sink = {.opened = on_opened, .closed = on_closed, .context = network};
    network->wire = wire;
    network->number = number;
    network->is_asleep = false;
    network->writer = chunk_writer_new(memory, sink);
    if (wire_is_direct(wire)) {
        chunk_pool_share_thread(wire->pool, number, network->writer);
        return;
    }
    bell_init(&network->bell);
    network->events = ring_new(wire->ring_octets, &wire->core_bell, &network->bell);
    network->actions = ring_new(wire->ring_octets, &network->bell, &wire->core_bell);
    seam_network_end_init(&network->network_end, network->events, network->actions);
    seam_core_end_init(&network->core_end, network->events, network->actions);
}

void
wire_start(struct wire *wire, struct chunk_pool *pool, struct chunk_memory memory)
{
    assert(!wire->is_running);
    wire->pool = pool;
    wire->is_running = true;
    wire->core_is_asleep = false;
    bell_init(&wire->core_bell);
    for (uint32_t i = 0; i < writer_count(wire); i++) {
        start_network(wire, i, memory);
    }
}

/* Memory alone outlives the process's end: chunks go to the core, and a peer that it never met
 * goes. */
static void
keep_memory(void *context, const struct net_event *event)
{
    const struct net_events *core = context;
    if (event->type == NET_EVENT_OPENED) {
        free(event->opened.peer);
    }
    if (event->type == NET_EVENT_CHUNK_OPENED || event->type == NET_EVENT_CHUNK_CLOSED ||
        event->type == NET_EVENT_LOAN_RETURNED) {
        core->handle(core->context, event);
    }
}

static void
take_memory(void *context, const struct net_action *action)
{
    struct wire_network *network = context;
    if (action->type == NET_ACTION_CHUNK_RETURNED) {
        chunk_writer_take_back(network->writer, action->chunk_returned.memory,
                               action->chunk_returned.capacity);
    }
}

static void
release_loan(struct wire *wire, uint64_t loan)
{
    if (loan != 0) {
        chunk_pool_release(wire->pool, (struct content_ref){.bits = loan});
    }
}

/* Nobody will say what was lent to whom. */
static void
release_loans(struct wire *wire, const struct posted_notes *notes)
{
    for (uint32_t i = notes->first; i < notes->end; i++) {
        release_loan(wire, notes->notes[i].loan);
    }
}

/* While the contents that actions name are still there. */
static void
drop_actions(struct wire_network *network)
{
    struct net_port port = {.post = take_memory, .context = network};
    do {
        ring_flush(network->actions);
    } while (seam_take_actions(&network->network_end, WIRE_ALL, &port) > 0);
}

void
wire_drain(struct wire *wire, const struct net_events *core)
{
    for (uint32_t i = 0; i < wire->network_count; i++) {
        struct wire_network *network = &wire->networks[i];
        struct net_events events = {.handle = keep_memory, .context = (void *)core};
        do {
            ring_flush(network->events);
        } while (seam_take_events(&network->core_end, WIRE_ALL, &events) > 0);
        drop_actions(network);
        release_loans(wire, &network->posted);
        release_loans(wire, &network->unwritten);
        release_loans(wire, &network->lent);
        forget_notes(network);
    }
}

static void
stop_network(struct wire_network *network)
{
    if (network->actions != NULL) {
        drop_actions(network); /* the core has given back more since */
    }
    chunk_writer_free(&network->writer);
    ring_free(&network->events);
    ring_free(&network->actions);
    forget_notes(network);
}

void
wire_stop(struct wire *wire)
{
    for (uint32_t i = 0; wire->is_running && i < writer_count(wire); i++) {
        stop_network(&wire->networks[i]);
    }
    wire->is_running = false;
}

/* Events --------------------------------------------------------------------------------------- */

static struct wire_network *
network_of(struct wire *wire, uint64_t link)
{
    uint32_t number = net_link_network(link);
    assert(number < writer_count(wire));
    return &wire->networks[number];
}

struct chunk_writer *
wire_writer(struct wire *wire, uint64_t link)
{
    return network_of(wire, link)->writer;
}

bool
wire_may_read(const struct wire *wire, uint64_t link)
{
    return wire_is_direct(wire) ||
           ring_overflow_octets(wire->networks[net_link_network(link)].events) == 0;
}

void
wire_post_event(struct wire *wire, const struct net_event *event, const struct sent *sent)
{
    if (wire_is_direct(wire)) {
        wire->to.handle(wire->to.context, event, sent);
        return;
    }
    struct wire_network *network = network_of(wire, event->link);
    NOTES_PUSH(&network->sent, *sent);
    seam_post_event(&network->network_end, event);
    network->has_input = true;
}

static void
hand_over_event(void *context, const struct net_event *event)
{
    struct wire_network *network = context;
    struct wire *wire = network->wire;
    if (network->sent.first == network->sent.end) {
        wire->to.wrong(wire->to.context, HISTORY_ORDER, "an event comes that nobody posted");
        return;
    }
    struct sent sent = network->sent.notes[network->sent.first++];
    if (sent.type != event->type || sent.link != event->link || sent.channel != event->channel) {
        wire->to.wrong(wire->to.context, HISTORY_ORDER,
                       "an event comes before another that was posted earlier");
        return;
    }
    wire->to.handle(wire->to.context, event, &sent);
}

/* The core has looked at everything and would sleep, unless something came meanwhile. */
static void
rest_core(struct wire *wire)
{
    bell_announce_sleep(&wire->core_bell);
    wire->core_is_asleep = true;
    for (uint32_t i = 0; i < wire->network_count; i++) {
        if (ring_has_items(wire->networks[i].events) || ring_can_move(wire->networks[i].actions)) {
            bell_end_sleep(&wire->core_bell);
            wire->core_is_asleep = false;
            return;
        }
    }
}

void
wire_take(struct wire *wire, uint32_t number, size_t octets_max)
{
    if (wire->core_is_asleep && !bell_was_rung(&wire->core_bell)) {
        return;
    }
    if (wire->core_is_asleep) {
        bell_end_sleep(&wire->core_bell);
        wire->core_is_asleep = false;
    }
    struct wire_network *network = &wire->networks[number];
    struct net_events events = {.handle = hand_over_event, .context = network};
    (void)seam_take_events(&network->core_end, octets_max, &events);
    rest_core(wire);
}

/* Actions -------------------------------------------------------------------------------------- */

void
wire_post_action(struct wire *wire, const struct net_action *action, const struct posted *posted)
{
    if (wire_is_direct(wire)) {
        return;
    }
    struct wire_network *network = network_of(wire, action->link);
    if (action->type == NET_ACTION_CHUNK_RETURNED) {
        wire_check_memory(wire, action->chunk_returned.memory, action->chunk_returned.capacity);
    }
    NOTES_PUSH(&network->posted, *posted);
    seam_post_action(&network->core_end, action);
}

static bool
notes_name(const struct posted_notes *notes, const uint8_t *memory, size_t size)
{
    for (uint32_t i = notes->first; i < notes->end; i++) {
        const uint8_t *content = (const uint8_t *)notes->notes[i].content;
        if (content >= memory && content < memory + size) {
            return true;
        }
    }
    return false;
}

void
wire_check_memory(struct wire *wire, const uint8_t *memory, size_t size)
{
    for (uint32_t i = 0; i < wire->network_count; i++) {
        const struct wire_network *network = &wire->networks[i];
        if (notes_name(&network->posted, memory, size) ||
            notes_name(&network->unwritten, memory, size) ||
            notes_name(&network->lent, memory, size)) {
            wire->to.wrong(wire->to.context, HISTORY_BODY,
                           "a chunk goes that a network may still read");
        }
    }
}

static void
hand_over_action(void *context, const struct net_action *action)
{
    struct wire_network *network = context;
    struct wire *wire = network->wire;
    if (network->posted.first == network->posted.end) {
        wire->to.wrong(wire->to.context, HISTORY_ORDER, "an action comes that nobody posted");
        return;
    }
    struct posted posted = network->posted.notes[network->posted.first++];
    if (posted.type != action->type || posted.link != action->link ||
        posted.channel != action->channel) {
        wire->to.wrong(wire->to.context, HISTORY_ORDER,
                       "an action comes before another that was posted earlier");
        return;
    }
    take_memory(network, action);
    wire->to.take(wire->to.context, &posted);
    if (posted.content != NULL) {
        NOTES_PUSH(&network->unwritten, posted);
    }
}

static void
return_loan(struct wire_network *network, uint64_t loan)
{
    struct net_event event = {
        .type = NET_EVENT_LOAN_RETURNED,
        .link = net_no_link(network->number),
        .returned = {.loan = loan},
    };
    struct sent sent = {.type = event.type, .link = event.link, .message = HISTORY_NONE};
    wire_post_event(network->wire, &event, &sent);
}

/* What was lent is read a turn longer, when its tick has long been reported. */
static void
write_all(struct wire_network *network)
{
    struct wire *wire = network->wire;
    while (network->lent.first < network->lent.end) {
        return_loan(network, network->lent.notes[network->lent.first++].loan);
    }
    while (network->unwritten.first < network->unwritten.end) {
        struct posted posted = network->unwritten.notes[network->unwritten.first++];
        wire->to.write(wire->to.context, &posted);
        if (posted.loan != 0) {
            NOTES_PUSH(&network->lent, posted);
        }
    }
    seam_report_passed(&network->network_end);
}

static void
rest_network(struct wire_network *network)
{
    bell_announce_sleep(&network->bell);
    network->is_asleep = true;
    if (ring_has_items(network->actions) || ring_can_move(network->events) ||
        network->unwritten.first < network->unwritten.end ||
        network->lent.first < network->lent.end ||
        network->network_end.taken_tick != network->network_end.passed_tick) {
        bell_end_sleep(&network->bell);
        network->is_asleep = false;
    }
}

void
wire_turn(struct wire *wire, uint32_t number, size_t octets_max, bool writes)
{
    struct wire_network *network = &wire->networks[number];
    if (network->is_asleep && !network->has_input && !bell_was_rung(&network->bell)) {
        return;
    }
    if (network->is_asleep) {
        bell_end_sleep(&network->bell);
    }
    network->has_input = false;
    struct net_port port = {.post = hand_over_action, .context = network};
    (void)seam_take_actions(&network->network_end, octets_max, &port);
    if (writes) {
        write_all(network);
    }
    chunk_writer_report(network->writer);
    ring_flush(network->events);
    rest_network(network);
}

uint64_t
wire_flush(struct wire *wire, uint64_t tick)
{
    uint64_t passed_tick = tick;
    for (uint32_t i = 0; i < wire->network_count; i++) {
        struct wire_network *network = &wire->networks[i];
        seam_flush_actions(&network->core_end, tick);
        if (network->core_end.passed_tick < passed_tick) {
            passed_tick = network->core_end.passed_tick;
        }
    }
    return passed_tick;
}

bool
wire_is_empty(const struct wire *wire)
{
    for (uint32_t i = 0; i < wire->network_count; i++) {
        const struct wire_network *network = &wire->networks[i];
        if (network->sent.first < network->sent.end ||
            network->posted.first < network->posted.end ||
            network->unwritten.first < network->unwritten.end ||
            network->lent.first < network->lent.end) {
            return false;
        }
    }
    return true;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* One turn of the loop, and the table that leads from an id to its link. */
#include "net/network.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "amqp/frame.h"
#include "base/alloc.h"
#include "base/assert.h"
#include "base/bell.h"
#include "net/network_state.h"

enum {
    LINK_SLOT_BITS = 20,
    LINK_SLOTS_MAX = 1 << LINK_SLOT_BITS,
    LINK_SLOTS_FIRST = 64,
    /* What an unfinished message takes besides its body: header, names, property block. */
    ASSEMBLY_OVERHEAD = 256 * 1024,
    TRIM_MS = 1000,
    /* So long after one of them was read, members count as busy. */
    MEMBERS_BUSY_MS = 100,
};

/* A descriptor that is not ours to read, only to watch. */
struct network_watch {
    struct loop_watch watch;
    struct list_link link;
    network_watch_callback *ready;
    void *context;
};

/* Life ---------------------------------------------------------------------------------------- */

static uint32_t
u32_or(uint32_t value, uint32_t otherwise)
{
    return value != 0 ? value : otherwise;
}

static uint64_t
u64_or(uint64_t value, uint64_t otherwise)
{
    return value != 0 ? value : otherwise;
}

static struct network_settings
settings_or_defaults(const struct network_settings *given)
{
    struct network_settings settings = {
        .frame_max = u32_or(given->frame_max, 131072),
        .message_bytes_max = u64_or(given->message_bytes_max, 16 * 1024 * 1024),
        .assembly_bytes_max = u64_or(given->assembly_bytes_max, 64 * 1024 * 1024),
        .tls_handshake_ms = u32_or(given->tls_handshake_ms, 5000),
        .handshake_ms = u32_or(given->handshake_ms, 10000),
        .input_octets_per_tick = u32_or(given->input_octets_per_tick, 1024 * 1024),
        .ready_links_per_tick = u32_or(given->ready_links_per_tick, 256),
        .handshake_steps_per_tick = u32_or(given->handshake_steps_per_tick, 8),
    };
    /* The budget never stands in the way of one message that is allowed. */
    if (settings.assembly_bytes_max < settings.message_bytes_max + ASSEMBLY_OVERHEAD) {
        settings.assembly_bytes_max = settings.message_bytes_max + ASSEMBLY_OVERHEAD;
    }
    return settings;
}

static void
network_join(struct network *network, const struct network_settings *settings,
             struct network_group *group)
{
    network->owns_group = group == NULL;
    network->group = group != NULL ? group : network_group_new(settings);
    network->strangers = network_group_strangers(network->group);
    uint32_t number = network_group_join(network->group, network);
    network->number = network->owns_group ? settings->number : number;
    assert(network->number < NET_NETWORKS_MAX);
}

/* Nobody will serve them. */
static void
network_drop_newcomers(struct network *network)
{
    struct newcomer *newcomers;
    uint32_t count = inbox_take(&network->inbox, &newcomers);
    for (uint32_t i = 0; i < count; i++) {
        strangers_leave(network->strangers, newcomers[i].source);
        close(newcomers[i].fd);
    }
    free(newcomers);
    inbox_fini(&network->inbox);
}

static void
network_post_chunk(struct network *network, enum net_event_type type,
                   const struct chunk_notice *notice)
{
    struct net_event event = {
        .type = type,
        .link = net_no_link(network->number),
        .chunk = *notice,
    };
    network->events.handle(network->events.context, &event);
}

static void
network_on_chunk_opened(void *context, const struct chunk_notice *notice)
{
    const struct network *network = context;
    network_group_note_opened(network->group, notice->capacity);
    network_post_chunk(context, NET_EVENT_CHUNK_OPENED, notice);
}

static void
network_on_chunk_closed(void *context, const struct chunk_notice *notice)
{
    network_post_chunk(context, NET_EVENT_CHUNK_CLOSED, notice);
}

static struct chunk_sink
network_chunk_sink(struct network *network)
{
    return (struct chunk_sink){
        .opened = network_on_chunk_opened,
        .closed = network_on_chunk_closed,
        .context = network,
    };
}

struct network *
network_new(const struct network_settings *settings, struct network_group *group,
            struct chunk_memory memory, const struct clock_source *clock, struct log *log,
            const struct net_events *events)
{
    struct network *network = xalloc_apart(sizeof(*network));
    if (loop_init(&network->loop) != STATUS_OK) {
        free(network);
        return NULL;
    }
    network->settings = settings_or_defaults(settings);
    network_join(network, settings, group);
    inbox_init(&network->inbox);
    network->writer = chunk_writer_new(memory, network_chunk_sink(network));
    network->clock = *clock;
    network->log = log;
    network->events = *events;
    network->now_ms = clock->read(clock->context).monotonic_ms;
    timer_wheel_init(&network->timers, network->now_ms);
    list_init(&network->ready);
    list_init(&network->greeting);
    list_init(&network->roomless);
    list_init(&network->dirty);
    list_init(&network->unwritten);
    list_init(&network->reports);
    list_init(&network->watches);
    listeners_init(&network->listeners, network);
    output_pool_init(&network->outputs);
    network->scratch = xalloc(TAIL_COPY_MAX + READ_SIZE);
    return network;
}

void
network_free(struct network **network)
{
    struct network *dying = *network;
    if (dying == NULL) {
        return;
    }
    *network = NULL;
    for (uint32_t i = 0; i < dying->slot_count; i++) {
        if (dying->slots[i].link != NULL) {
            link_free(dying->slots[i].link);
        }
    }
    network_drop_newcomers(dying);
    struct list_link *link;
    while ((link = list_pop(&dying->watches)) != NULL) {
        free(CONTAINER_OF(link, struct network_watch, link));
    }
    timer_cancel(&dying->timers, &dying->trim);
    listeners_fini(&dying->listeners, dying);
    network_group_leave(dying->group);
    if (dying->owns_group) {
        network_group_free(&dying->group);
    }
    output_pool_fini(&dying->outputs);
    chunk_writer_free(&dying->writer);
    loop_fini(&dying->loop);
    free(dying->slots);
    free(dying->scratch);
    free(dying);
}

/* Ids ----------------------------------------------------------------------------------------- */

static void
network_grow_slots(struct network *network)
{
    uint32_t capacity = network->slot_capacity == 0 ? LINK_SLOTS_FIRST : network->slot_capacity * 2;
    network->slots = xrealloc(network->slots, capacity * sizeof(*network->slots));
    network->slot_capacity = capacity;
}

/* Generations stand above the slot in a link's id, and the network's number above them. */
static uint64_t
network_first_generation(const struct network *network)
{
    return net_no_link(network->number) >> LINK_SLOT_BITS;
}

enum status
network_register(struct network *network, struct link *link)
{
    uint32_t number = network->free_slot;
    if (number != 0) {
        network->free_slot = network->slots[number - 1].next_free;
    } else {
        if (network->slot_count == LINK_SLOTS_MAX) {
            return STATUS_FULL;
        }
        if (network->slot_count == network->slot_capacity) {
            network_grow_slots(network);
        }
        number = ++network->slot_count;
        network->slots[number - 1] =
            (struct link_slot){.generation = network_first_generation(network)};
    }
    struct link_slot *slot = &network->slots[number - 1];
    slot->link = link;
    slot->generation++;
    link->id = slot->generation << LINK_SLOT_BITS | (number - 1);
    network->link_count++;
    return STATUS_OK;
}

void
network_unregister(struct network *network, struct link *link)
{
    if (link->id == 0) {
        return; /* it never came so far */
    }
    uint32_t number = link->id & (LINK_SLOTS_MAX - 1);
    struct link_slot *slot = &network->slots[number];
    assert(slot->link == link);
    slot->link = NULL;
    slot->next_free = network->free_slot;
    network->free_slot = number + 1;
    network->link_count--;
}

static struct link *
network_find(const struct network *network, uint64_t id)
{
    uint32_t number = id & (LINK_SLOTS_MAX - 1);
    if (number >= network->slot_count) {
        return NULL;
    }
    const struct link_slot *slot = &network->slots[number];
    return slot->generation == id >> LINK_SLOT_BITS ? slot->link : NULL;
}

/* Memory -------------------------------------------------------------------------------------- */

/* Memory that a busy second has left behind goes back when the next one does not need it; so a
 * broker that has become idle becomes small as well. */
static void
network_on_trim(struct timer *timer, void *context)
{
    struct network *network = context;
    bool keeps_outputs = output_pool_trim(&network->outputs);
    bool keeps_chunks = chunk_writer_trim(network->writer);
    if (keeps_outputs || keeps_chunks) {
        timer_arm(&network->timers, timer, network->now_ms + TRIM_MS, network_on_trim, network);
    }
}

static void
network_trim_later(struct network *network)
{
    if (!timer_is_armed(&network->trim)) {
        timer_arm(&network->timers, &network->trim, network->now_ms + TRIM_MS, network_on_trim,
                  network);
    }
}

/* What the core calls ------------------------------------------------------------------------- */

static void
network_post(void *context, const struct net_action *action)
{
    struct network *network = context;
    struct link *link = network_find(network, action->link);
    if (link != NULL) {
        link_act(link, action);
    } else if (action->type == NET_ACTION_CHUNK_RETURNED) {
        chunk_writer_take_back(network->writer, action->chunk_returned.memory,
                               action->chunk_returned.capacity);
        network_trim_later(network);
    } else {
        output_pool_return(&network->outputs, action->loan);
    }
}

struct chunk_writer *
network_chunk_writer(struct network *network)
{
    return network->writer;
}

struct net_port
network_port(struct network *network)
{
    return (struct net_port){.post = network_post, .context = network};
}

enum status
network_listen(struct network *network, const struct listener_settings *settings,
               uint16_t *port_out, char *why, size_t why_size)
{
    return listener_open(network, settings, port_out, why, why_size);
}

enum status
network_share_listeners(struct network *network, const struct network *first)
{
    return listeners_share(network, first);
}

void
network_stop_listening(struct network *network)
{
    listeners_close(network);
}

static void
network_on_watch(struct loop_watch *watch, uint32_t events)
{
    (void)events;
    struct network_watch *watched = CONTAINER_OF(watch, struct network_watch, watch);
    watched->ready(watched->context);
}

enum status
network_watch(struct network *network, int fd, network_watch_callback *ready, void *context)
{
    struct network_watch *watched = xalloc(sizeof(*watched));
    watched->watch.ready = network_on_watch;
    watched->ready = ready;
    watched->context = context;
    if (loop_add(&network->loop, &watched->watch, fd, EPOLLIN) != STATUS_OK) {
        free(watched);
        return STATUS_IO;
    }
    list_append(&network->watches, &watched->link);
    return STATUS_OK;
}

uint32_t
network_link_count(const struct network *network)
{
    return network->link_count;
}

uint32_t
network_unestablished_count(const struct network *network)
{
    return network->unestablished_count;
}

/* Whether a handshake may take a step now. While members are busy the private key is used once in a
 * millisecond, which leaves them three quarters of the time (P-256 takes 0.2 ms): once a turn is
 * not enough, for turns are short, and what comes at any moment would find a signature under way.
 */
static bool
network_may_greet(const struct network *network)
{
    bool members_are_busy = network->now_ms < network->member_read_ms + MEMBERS_BUSY_MS;
    return !list_is_empty(&network->greeting) &&
           !(members_are_busy && network->now_ms == network->private_key_ms);
}

bool
network_has_work(const struct network *network)
{
    bool may_read = !network->holds_input && !list_is_empty(&network->ready);
    return may_read || network_may_greet(network) || !list_is_empty(&network->dirty) ||
           !list_is_empty(&network->reports) || atomic_load(&network->is_called);
}

/* What others want ---------------------------------------------------------------------------- */

void
network_call(struct network *network)
{
    atomic_store(&network->is_called, true);
    if (network->bell != NULL) {
        bell_ring(network->bell);
    }
}

void
network_ask_to_stop_listening(struct network *network)
{
    atomic_store(&network->is_asked_to_stop_listening, true);
    network_call(network);
}

static void
network_on_rung(struct loop_watch *watch, uint32_t events)
{
    (void)watch;
    (void)events; /* whoever waits reads the descriptor */
}

enum status
network_use_bell(struct network *network, struct bell *bell)
{
    network->bell = bell;
    network->rung.ready = network_on_rung;
    return loop_add(&network->loop, &network->rung, bell->fd, EPOLLIN);
}

void
network_hold_input(struct network *network, bool is_held)
{
    network->holds_input = is_held;
}

void
network_take_newcomer(struct network *network, const struct newcomer *newcomer)
{
    if (link_new(network, newcomer) == NULL) {
        log_limited(network->log, LOG_LEVEL_WARN, "listener.no_memory", "peer=%s",
                    newcomer->peer.address);
    }
}

static void
network_set_roomless(struct network *network, bool is_roomless)
{
    if (network->is_roomless != is_roomless) {
        network->is_roomless = is_roomless;
        network_group_note_waiting(network->group, is_roomless);
    }
}

bool
network_await_room(struct network *network, struct link *link)
{
    network_set_roomless(network, true);
    if (network_group_has_room(network->group)) {
        return false;
    }
    list_remove(&link->ready_link);
    list_append(&network->roomless, &link->ready_link);
    return true;
}

/* There may be room for contents: links that wait for it are read again. Who finds none waits
 * anew. */
static void
network_look_for_room(struct network *network)
{
    struct list_link *waiting;
    if (!network->is_roomless || !network_group_has_room(network->group)) {
        return;
    }
    network_set_roomless(network, false);
    while ((waiting = list_first(&network->roomless)) != NULL) {
        link_find_room(CONTAINER_OF(waiting, struct link, ready_link));
    }
}

static void
network_answer_calls(struct network *network)
{
    if (!atomic_load(&network->is_called)) {
        return;
    }
    atomic_store(&network->is_called, false); /* before looking: who comes later calls again */
    struct newcomer *newcomers;
    uint32_t count = inbox_take(&network->inbox, &newcomers);
    for (uint32_t i = 0; i < count; i++) {
        network_take_newcomer(network, &newcomers[i]);
    }
    free(newcomers);
    listeners_look_for_room(network);
    network_look_for_room(network);
    if (atomic_load(&network->is_asked_to_stop_listening)) {
        network_stop_listening(network);
    }
}

/* One turn ------------------------------------------------------------------------------------ */

static void
network_read_clock(struct network *network)
{
    network->now_ms = network->clock.read(network->clock.context).monotonic_ms;
}

/* How long to wait for descriptors. The clock is read again only for newcomers, whose next step may
 * be a millisecond away; a timer may be as late as this turn took. */
static uint64_t
network_wait_ms(struct network *network, uint64_t wait_ms)
{
    if (wait_ms == 0 || network_has_work(network)) {
        return 0;
    }
    bool is_greeting = !list_is_empty(&network->greeting);
    if (is_greeting) {
        network_read_clock(network);
        if (network_has_work(network)) {
            return 0; /* a handshake, now that the time is known */
        }
    }
    uint64_t own_ms = timer_wheel_wait_ms(&network->timers, network->now_ms);
    if (is_greeting && own_ms > 1) {
        own_ms = 1;
    }
    return own_ms < wait_ms ? own_ms : wait_ms;
}

/* Takes newcomers a step further, until the private key was used once: that is work which nobody
 * can interrupt, and a flood of newcomers must not keep members waiting for more than one of it.
 * A link that wants another step is told so by its descriptor, in another turn. True when the key
 * was used. */
static bool
network_greet_links(struct network *network)
{
    bool used_private_key = false;
    for (uint32_t i = 0; i < network->settings.handshake_steps_per_tick && !used_private_key; i++) {
        if (!network_may_greet(network)) {
            break;
        }
        struct list_link *ready = list_pop(&network->greeting);
        used_private_key = link_greet(CONTAINER_OF(ready, struct link, ready_link));
    }
    if (used_private_key) {
        network->private_key_ms = network->now_ms;
    }
    return used_private_key;
}

/* Reads links in turn, one read each, until every one that was ready has had its turn or the budget
 * of the tick is used up. Who has more waits for the next tick, behind all others: what one peer
 * sends never keeps what another has sent, or is to get, for longer than that. */
static void
network_read_links(struct network *network)
{
    uint64_t octets = 0;
    for (uint32_t i = 0; !network->holds_input && i < network->settings.ready_links_per_tick &&
                         octets < network->settings.input_octets_per_tick;
         i++) {
        struct list_link *ready = list_first(&network->ready);
        if (ready == NULL) {
            break;
        }
        struct link *link = CONTAINER_OF(ready, struct link, ready_link);
        if (link->turn_of_read == network->turn) {
            break;
        }
        link->turn_of_read = network->turn;
        if (link->is_established) {
            network->member_read_ms = network->now_ms;
        }
        list_remove(ready);
        octets += link_read(link);
    }
}

/* The core hears which contents that it lent are read no more. */
static void
network_return_loans(struct network *network)
{
    struct output_pool *outputs = &network->outputs;
    for (uint32_t i = 0; i < outputs->loan_count; i++) {
        struct net_event event = {
            .type = NET_EVENT_LOAN_RETURNED,
            .link = net_no_link(network->number),
            .returned = {.loan = outputs->loans[i]},
        };
        network->events.handle(network->events.context, &event);
    }
    outputs->loan_count = 0;
}

/* Reports may cause further ones: each written octet and each end is reported once, so this comes
 * to an end. */
static void
network_report(struct network *network)
{
    struct list_link *report;
    while ((report = list_pop(&network->reports)) != NULL) {
        link_report(CONTAINER_OF(report, struct link, report_link));
    }
    network_return_loans(network);
    chunk_writer_report(network->writer);
}

void
network_wait(struct network *network, uint64_t wait_ms)
{
    /* Here nobody waits for this turn but newcomers: what members had sent was answered by the last
     * flush. */
    bool used_private_key = network_greet_links(network);
    loop_wait(&network->loop, network_wait_ms(network, wait_ms));
    network_read_clock(network);
    if (used_private_key) {
        network->private_key_ms = network->now_ms; /* which was as old as the last turn */
    }
    network->turn++;
    network_answer_calls(network);
    loop_dispatch(&network->loop); /* now: a later step may free a link that it points at */
}

void
network_read(struct network *network)
{
    network_read_links(network);
    /* After reading: silence is judged when what has come is known. */
    timer_wheel_advance(&network->timers, network->now_ms);
    network_report(network);
}

void
network_poll(struct network *network, uint64_t wait_ms)
{
    network_wait(network, wait_ms);
    network_read(network);
}

static void
network_settle(struct network *network)
{
    LIST_FOR_EACH(&network->dirty, dirty)
    {
        link_settle(CONTAINER_OF(dirty, struct link, dirty_link));
    }
}

/* Writes links in turn, until each has had its turn or the flush has written what it may. Who has
 * not had it is the first in the next one; who has more to write goes behind all others. */
static void
network_write_links(struct network *network)
{
    uint64_t octets = 0;
    struct list_link *dirty;
    while (octets < FLUSH_OCTETS && (dirty = list_pop(&network->dirty)) != NULL) {
        octets += link_flush(CONTAINER_OF(dirty, struct link, dirty_link));
    }
    while ((dirty = list_pop(&network->unwritten)) != NULL) {
        list_append(&network->dirty, dirty);
    }
}

void
network_flush(struct network *network)
{
    if (!list_is_empty(&network->dirty) || chunk_writer_has_spares(network->writer)) {
        network_trim_later(network);
    }
    network_write_links(network);
    /* What the core posts in answer to the reports is written by the next flush: a peer that reads
     * fast must not keep this one going. Only contents must not be left where they are. */
    do {
        network_report(network);
        network_settle(network);
    } while (!list_is_empty(&network->reports));
    output_pool_trim_parts(&network->outputs);
}

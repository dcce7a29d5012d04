/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/core/core.h"

#include "amqp/reply.h"
#include "base/alloc.h"
#include "base/sampled_rates.h"
#include "broker/changes/audit.h"
#include "broker/changes/generation.h"
#include "broker/changes/parameters.h"
#include "broker/channels/channel.h"
#include "broker/channels/commit_wait.h"
#include "broker/connections/connection.h"
#include "broker/connections/login.h"
#include "broker/core/request.h"
#include "broker/death/dead_letter.h"
#include "broker/delivery/handing_out.h"
#include "broker/desk/desk.h"
#include "broker/desk/pending.h"
#include "broker/durability/durability.h"
#include "broker/paging/paging.h"
#include "broker/topology/doomed.h"
#include "broker/topology/vhost.h"
#include "broker/topology/vhost_life.h"
#include "broker/upkeep/expiry.h"
#include "broker/upkeep/limits.h"
#include "broker/upkeep/waiting.h"
#include "broker/users/user.h"
#include "broker/watch/tap.h"
#include "broker/watch/trace.h"

#include <stdlib.h>

const uint32_t core_message_size_bounds[MESSAGE_SIZE_BUCKET_COUNT] = {
    100, 1000, 10000, 100000, 1000000, 10000000, 50000000, 100000000, UINT32_MAX,
};

const uint64_t core_confirm_bounds_ms[CONFIRM_BUCKET_COUNT] = {
    1, 2, 5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10000, UINT64_MAX,
};

/* Ids of objects that no log knows start here; those of durable ones stay below. */
static const uint64_t CORE_FIRST_TRANSIENT_ID = UINT64_C(1) << 63;

static void core_handle_event(void *context, const struct net_event *event);

/* A message that was purged, or whose queue is gone. */
static void
core_release_discarded(void *context, uint64_t queue_id, const struct queue_entry *entry)
{
    struct core *core = context;
    core_log_discarded(core, queue_id, entry);
    queue_entry_release(entry, core->pool);
}

static void
init_maps(struct core *core)
{
    map_init(&core->vhosts, core->seed);
    map_init(&core->users, core->seed);
    map_init(&core->user_ids, core->seed);
    map_init(&core->reply_channels, core->seed);
    map_init(&core->connections, core->seed);
    map_init(&core->durable_queues, core->seed);
}

static void
init_lists(struct core *core)
{
    list_init(&core->connection_list);
    list_init(&core->new_passwords);
    list_init(&core->gone_vhosts);
    list_init(&core->empty_vhosts);
    list_init(&core->dispatch_queues);
    list_init(&core->expiring);
    list_init(&core->waking);
    list_init(&core->pending);
    list_init(&core->pending_waits);
    list_init(&core->requests);
    list_init(&core->taps);
    list_init(&core->overlong);
    list_init(&core->confirming);
    list_init(&core->awaiting_commit);
    list_init(&core->replays);
    list_init(&core->getters);
    list_init(&core->settling);
    list_init(&core->purgers);
    list_init(&core->committers);
    list_init(&core->transactions);
    list_init(&core->doomed_exchanges);
    list_init(&core->doomed_queues);
    list_init(&core->unbind_waiters);
    list_init(&core->policy_walks);
    list_init(&core->handouts);
    list_init(&core->log_paused);
    list_init(&core->reopened);
    list_init(&core->doomed_channels);
}

_Static_assert((int)NET_NETWORKS_MAX <= (int)CHUNK_WRITERS_MAX, "each network has a writer");

/* Message memory goes back to the network that has filled it. */
static void
core_return_chunk(void *context, uint32_t network, uint8_t *memory, size_t capacity)
{
    struct core *core = context;
    struct net_action action = {
        .type = NET_ACTION_CHUNK_RETURNED,
        .link = net_no_link(network),
        .chunk_returned = {.memory = memory, .capacity = capacity},
    };
    core->ports.net.post(core->ports.net.context, &action);
}

/* Settings with what is meant where they say nothing. */
static struct core_settings
complete_settings(const struct core_settings *given)
{
    struct core_settings settings = *given;
    if (settings.work_per_tick == 0) {
        settings.work_per_tick = CORE_WORK_PER_TICK;
    }
    if (settings.lend_bytes_min == 0) {
        settings.lend_bytes_min = CHUNK_BODY_OWN;
    }
    if (settings.node_name == NULL) {
        settings.node_name = "bourse@localhost";
    }
    return settings;
}

static void
init_budgets(struct core *core)
{
    core->deaths_left = CORE_EXPIRED_PER_TICK;
    core->waits_left = CORE_WAITED_PER_TICK;
    core->unbinds_left = CORE_UNBINDS_PER_TICK;
    core->work_left = core->settings.work_per_tick;
    core->drops_left = CORE_DROPS_PER_TICK;
}

static void
init_queue_memory(struct core *core)
{
    entry_memory_init(&core->queue_memory);
    core->queue_memory.now_ms = (int64_t)(core->now.monotonic_ms - core->base_ms);
    queue_discards_init(&core->discards);
    core->discards.release = core_release_discarded;
    core->discards.context = core;
}

struct core *
core_new(const struct core_settings *settings, const struct core_ports *ports,
         struct chunk_pool *pool, struct log *log, struct clock_reading now)
{
    struct core *core = xalloc(sizeof(*core));
    core->settings = complete_settings(settings);
    core->ports = *ports;
    core->log = log;
    core->pool = pool;
    if (pool != NULL) {
        struct chunk_returns returns = {.take = core_return_chunk, .context = core};
        chunk_pool_use_returns(pool, returns);
    }
    core->now = now;
    core->base_ms = now.monotonic_ms / DUE_STEP_MS * DUE_STEP_MS - 2 * DUE_STEP_MS;
    core->seed = random_u64(&core->ports.random);
    core->next_id = CORE_FIRST_TRANSIENT_ID;
    core->next_durable_id = 1;
    core->next_house_link = net_no_link(NET_NETWORKS_MAX - 1) + 1;
    init_budgets(core);
    init_queue_memory(core);
    init_maps(core);
    init_lists(core);
    buffer_init(&core->record);
    timer_wheel_init(&core->timers, now.monotonic_ms);
    route_set_init(&core->routes);
    core->cache = route_cache_new(core->seed);
    buffer_init(&core->payload);
    core->logins = login_desk_new(core);
    core->dead_letters = dead_letters_new(core);
    core->traces = traces_new(core);
    core->generations = generations_new();
    core->audit = audit_new();
    map_init(&core->parameters, core->seed);
    core->desk = desk_new(core);
    return core;
}

static void
core_free_doomed_channels(struct core *core)
{
    struct list_link *link;
    while ((link = list_pop(&core->doomed_channels)) != NULL) {
        struct channel *channel = CONTAINER_OF(link, struct channel, doomed_link);
        channel_free(&channel);
    }
}

static void
free_gone_vhosts(struct list *vhosts)
{
    for (struct list_link *link; (link = list_first(vhosts)) != NULL;) {
        struct vhost *vhost = CONTAINER_OF(link, struct vhost, gone_link);
        vhost_free(&vhost);
    }
}

static void
free_connections(struct core *core)
{
    struct list_link *link;
    while ((link = list_first(&core->connection_list)) != NULL) {
        struct connection *connection = CONTAINER_OF(link, struct connection, core_link);
        connection_free(&connection);
    }
    core_free_doomed_channels(core);
}

static void
free_vhosts(struct core *core)
{
    core_unbind_all(core);
    uint32_t position = 0;
    struct map_entry *entry;
    while ((entry = map_next(&core->vhosts, &position)) != NULL) {
        struct vhost *vhost = entry->value;
        vhost_free(&vhost);
    }
    free_gone_vhosts(&core->gone_vhosts);
    free_gone_vhosts(&core->empty_vhosts);
}

static void
free_users(struct core *core)
{
    uint32_t position = 0;
    struct map_entry *entry;
    while ((entry = map_next(&core->users, &position)) != NULL) {
        struct user *user = entry->value;
        user_free(&user);
    }
    user_free(&core->house_user);
}

static void
fini_maps(struct core *core)
{
    map_fini(&core->vhosts);
    map_fini(&core->users);
    map_fini(&core->user_ids);
    map_fini(&core->reply_channels);
    map_fini(&core->connections);
    map_fini(&core->durable_queues);
}

void
core_free(struct core **core_pointer)
{
    struct core *core = *core_pointer;
    if (core == NULL) {
        return;
    }
    /* What ends with the process is no change of anything. */
    core_attach_store(core, NULL, NULL);
    core_refuse_requests(core);
    core_close_taps(core);
    free_connections(core);
    core_forget_pending(core);
    desk_free(&core->desk);
    audit_free(&core->audit);
    parameters_free(&core->parameters);
    dead_letters_free(&core->dead_letters);
    traces_free(&core->traces);
    free_vhosts(core);
    core_relieve_memory(core);
    queue_discards_fini(&core->discards);
    paging_free(&core->paging);
    free_users(core);
    login_desk_free(&core->logins);
    generations_free(&core->generations);
    fini_maps(core);
    sampled_rates_free(&core->rates);
    free(core->log_targets);
    free(core->log_states);
    buffer_fini(&core->record);
    route_set_fini(&core->routes);
    route_cache_free(&core->cache);
    buffer_fini(&core->payload);
    if (core->pool != NULL) {
        chunk_pool_forget_writers(core->pool);
    }
    free(core);
    *core_pointer = NULL;
}

uint64_t
core_new_id(struct core *core, bool is_durable)
{
    if (!is_durable) {
        return core->next_id++;
    }
    assert(core->next_durable_id < CORE_FIRST_TRANSIENT_ID);
    return core->next_durable_id++;
}

struct queue *
core_find_queue_by_id(const struct core *core, uint64_t id)
{
    return map_get(&core->durable_queues, bytes_make(&id, sizeof(id)));
}

struct net_events
core_net_events(struct core *core)
{
    return (struct net_events){.handle = core_handle_event, .context = core};
}

/* Events of one link come in runs, so the last one found is mostly the one that is asked for. */
struct connection *
core_find_connection(struct core *core, uint64_t link)
{
    if (core->recent == NULL || core->recent->link != link) {
        core->recent = map_get(&core->connections, bytes_make(&link, sizeof(link)));
    }
    return core->recent;
}

static void
core_open_connection(struct core *core, const struct net_event *event)
{
    struct connection *connection = connection_new(core, event->link, event->opened.peer);
    map_put(&core->connections, bytes_make(&connection->link, sizeof(connection->link)),
            connection);
    core->counters.connections_opened++;
    if (core->is_shut_down) {
        connection_drop(connection, 0);
    }
}

static void
core_close_connection(struct core *core, struct connection *connection,
                      enum net_close_reason reason)
{
    static const char *const reasons[] = {
        [NET_CLOSE_BY_PEER] = "peer",        [NET_CLOSE_BY_CORE] = "broker",
        [NET_CLOSE_HEARTBEAT] = "heartbeat", [NET_CLOSE_DEADLINE] = "handshake-deadline",
        [NET_CLOSE_ERROR] = "error",
    };
    enum log_level level = reason == NET_CLOSE_HEARTBEAT || reason == NET_CLOSE_DEADLINE
                               ? LOG_LEVEL_WARN
                               : LOG_LEVEL_INFO;
    log_limited(core->log, level, "connection.closed", "conn=\"%s\" by=%s", connection->name,
                reasons[reason]);
    core->counters.connections_closed++;
    map_remove(&core->connections, bytes_make(&connection->link, sizeof(connection->link)));
    core->recent = NULL;
    connection_free(&connection);
}

/* A content gets its reference here. Without one there is no slot for its chunk, and it is refused
 * where its turn comes. */
static void
core_take_publish(struct core *core, struct connection *connection, const struct net_event *event)
{
    struct content_ref content = {0};
    if (event->publish.place.content != NULL) {
        content =
            chunk_pool_receive(core->pool, net_link_network(event->link), event->publish.place);
    }
    connection_on_publish(connection, event, content);
}

/* An event of no link. What comes of a link that is gone is dropped: nobody has counted its
 * content.
 */
static void
core_handle_memory(struct core *core, const struct net_event *event)
{
    uint32_t network = net_link_network(event->link);
    if (event->type == NET_EVENT_CHUNK_OPENED) {
        core->opened_bytes += event->chunk.capacity;
        chunk_pool_open(core->pool, network, &event->chunk);
    } else if (event->type == NET_EVENT_CHUNK_CLOSED) {
        chunk_pool_close(core->pool, network, &event->chunk);
    } else if (event->type == NET_EVENT_LOAN_RETURNED) {
        chunk_pool_release(core->pool, (struct content_ref){.bits = event->returned.loan});
    }
}

static void
core_handle_event(void *context, const struct net_event *event)
{
    struct core *core = context;
    if (event->type == NET_EVENT_OPENED) {
        core_open_connection(core, event);
        return;
    }
    struct connection *connection = core_find_connection(core, event->link);
    if (connection == NULL) {
        core_handle_memory(core, event);
        return;
    }
    switch (event->type) {
    case NET_EVENT_METHOD:
        core->events_of_tick++;
        connection_on_method(connection, event->channel, event->method.payload);
        break;
    case NET_EVENT_PUBLISH:
        core->events_of_tick++;
        core_take_publish(core, connection, event);
        break;
    case NET_EVENT_FAULT:
        connection_on_fault(connection, event);
        break;
    case NET_EVENT_WRITTEN:
        connection_on_written(connection, event->written.octets);
        break;
    case NET_EVENT_CLOSED:
        core_close_connection(core, connection, event->closed.reason);
        break;
    case NET_EVENT_OPENED:
    case NET_EVENT_CHUNK_OPENED:
    case NET_EVENT_CHUNK_CLOSED:
    case NET_EVENT_LOAN_RETURNED:
        break;
    }
}

void
core_password_done(struct core *core, uint64_t id, bool matches)
{
    login_desk_on_verdict(core->logins, id, matches);
}

static void
set_time(struct core *core, struct clock_reading now)
{
    core->now = now;
    core->queue_memory.now_ms = (int64_t)(now.monotonic_ms - core->base_ms);
    core->steps = 0;
}

void
core_read_clock(struct core *core)
{
    struct clock_reading now = core->now;
    if (core->ports.clock.read != NULL) {
        now = core->ports.clock.read(core->ports.clock.context);
    }
    set_time(core, now);
}

void
core_begin_tick(struct core *core, struct clock_reading now)
{
    set_time(core, now);
    if (core->first_tick_ms == 0) {
        core->first_tick_ms = core_from_now_ms(core);
    }
    if (core->journal != NULL) {
        journal_set_time(core->journal, now.wall_ms);
    }
    timer_wheel_advance(&core->timers, now.monotonic_ms);
}

/* The consumers of a connection may be served again: channel by channel, each time beginning with
 * another one, since the first ones may take the whole window. */
static void
connection_wake_consumers(struct connection *connection)
{
    uint16_t capacity = connection->channel_capacity;
    for (uint16_t i = 0; i < capacity; i++) {
        uint32_t at = ((uint32_t)connection->wake_first + i) % capacity;
        if (connection->channels[at] != NULL) {
            channel_wake_consumers(connection->channels[at]);
        }
    }
    connection->wake_first++;
}

static void
on_hunger(struct timer *timer, void *context)
{
    struct core *core = context;
    (void)timer;
    LIST_FOR_EACH(&core->connection_list, link)
    {
        struct connection *connection = CONTAINER_OF(link, struct connection, core_link);
        if (connection->is_hungry) {
            connection->is_hungry = false;
            connection_wake_consumers(connection);
        }
    }
}

void
core_serve_later(struct connection *connection)
{
    struct core *core = connection->core;
    connection->is_hungry = true;
    if (!timer_is_armed(&core->hunger_timer)) {
        timer_arm(&core->timers, &core->hunger_timer, core->now.monotonic_ms + CORE_HUNGER_MS,
                  on_hunger, core);
    }
}

static void
core_reopen_windows(struct core *core)
{
    struct list_link *link;
    while ((link = list_pop(&core->reopened)) != NULL) {
        struct connection *connection = CONTAINER_OF(link, struct connection, reopen_link);
        connection->window_was_full = false;
        connection_wake_consumers(connection);
    }
}

static void
core_send_confirms(struct core *core)
{
    struct list_link *link;
    while ((link = list_pop(&core->confirming)) != NULL) {
        channel_flush_confirms(CONTAINER_OF(link, struct channel, confirm_link));
    }
}

/* Connections whose held events need not wait any more: many, when an alarm ends. Whoever spends
 * the work of the tick goes behind those that have not had their turn. */
static void
core_replay(struct core *core)
{
    uint32_t budget = CORE_REPLAYS_PER_TICK;
    struct list_link *link;
    while (budget > 0 && !core_has_worked(core) && (link = list_pop(&core->replays)) != NULL) {
        uint32_t count =
            1 + connection_replay_held(CONTAINER_OF(link, struct connection, replay_link));
        budget -= count < budget ? count : budget;
    }
}

void
core_end_tick(struct core *core)
{
    core_begin_unbinding(core);
    if (!core->is_cutting) {
        core->work_left = core->settings.work_per_tick;
    }
    core_match_policies(core);
    if (!list_is_empty(&core->gone_vhosts)) {
        core_empty_gone_vhosts(core);
    }
    core_release_getters(core);
    core_replay(core);
    if (!list_is_empty(&core->settling)) {
        core_go_on_settling(core);
    }
    core_reopen_windows(core);
    core_begin_moving_dead(core);
    core_move_dead(core);
    core_release_committers(core);
    core_work_on_pending(core);
    if (!list_is_empty(&core->requests) || core->requests_go_on) {
        core_work_on_requests(core);
    }
    core->events_of_tick = 0;
    core_work_on_desk(core);
    core_end_waits(core);
    core_dispatch(core);
    core_send_traces(core);
    if (core_is_tapped(core)) {
        core_close_left_taps(core);
    }
    core_expire(core);
    core_cut_queues(core);
    core_send_confirms(core);
    core_seal_tick(core);
    core_free_doomed_channels(core);
}

/* Purges whose last slice has been released go on: their answer waits for its commit. */
static void
core_release_purgers(struct core *core)
{
    LIST_FOR_EACH(&core->purgers, link)
    {
        struct channel *channel = CONTAINER_OF(link, struct channel, wait_link);
        if (channel->purge_sequence > core->discards.released_sequence) {
            break;
        }
        list_remove(link);
        channel->has_purged = true;
        connection_replay_later(channel->connection);
    }
}

static void
core_on_trim(struct timer *timer, void *context)
{
    struct core *core = context;
    (void)timer;
    (void)chunk_pool_trim(core->pool);
}

/* What a busy second has left behind goes back when the next one does not need it. */
static void
core_trim_later(struct core *core)
{
    if (chunk_pool_has_spares(core->pool) && !timer_is_armed(&core->trim_timer)) {
        timer_arm(&core->timers, &core->trim_timer, core->now.monotonic_ms + CORE_TRIM_MS,
                  core_on_trim, core);
    }
}

void
core_release_tick(struct core *core, uint64_t passed_tick)
{
    (void)queue_discards_release(&core->discards, CORE_DISCARDS_PER_TICK);
    core_release_purgers(core);
    chunk_pool_end_tick(core->pool, passed_tick);
    core_relieve_memory(core);
    core_check_memory(core);
    core_trim_later(core);
}

uint64_t
core_wait_ms(const struct core *core)
{
    if (!list_is_empty(&core->dispatch_queues) || !list_is_empty(&core->expiring) ||
        !list_is_empty(&core->waking) || !list_is_empty(&core->pending) ||
        !list_is_empty(&core->overlong) || !list_is_empty(&core->confirming) ||
        !list_is_empty(&core->reopened) || !list_is_empty(&core->replays) || core->heads_came ||
        !list_is_empty(&core->settling) || core_is_unbinding(core) ||
        !list_is_empty(&core->gone_vhosts) || !list_is_empty(&core->policy_walks) ||
        core->requests_go_on || core_has_desk_work(core) ||
        queue_discards_can_go_on(&core->discards) || core_can_move_dead(core) ||
        core_wants_seal(core)) {
        return 0;
    }
    return timer_wheel_wait_ms(&core->timers, core->now.monotonic_ms);
}

void
core_wake_queue(struct core *core, struct queue *queue)
{
    if (!queue->head_waits && !list_link_is_linked(&queue->dispatch_link)) {
        list_append(&core->dispatch_queues, &queue->dispatch_link);
    }
}

void
core_hold_publishers(struct core *core)
{
    core_set_alarm(core, ALARM_STOPPING, true);
    desk_stop(core);
    core->stop_token = core_log_token(core);
    core->wants_flush = true;
}

bool
core_has_said_all(const struct core *core)
{
    return list_is_empty(&core->awaiting_commit) && list_is_empty(&core->confirming) &&
           list_is_empty(&core->purgers) && list_is_empty(&core->unbind_waiters) &&
           !core_can_move_dead(core) && core_is_committed(core, core->stop_token);
}

void
core_shut_down(struct core *core, const char *reason)
{
    struct fault fault;
    (void)fault_connection(&fault, REPLY_CONNECTION_FORCED,
                           "broker forced connection closure with reason '%s'", reason);
    core->is_shut_down = true;
    LIST_FOR_EACH(&core->connection_list, link)
    {
        struct connection *connection = CONTAINER_OF(link, struct connection, core_link);
        if (connection->state == CONNECTION_RUNNING) {
            connection_close(connection, &fault, 0, 0);
        } else if (connection->state < CONNECTION_RUNNING) {
            connection_drop(connection, 0);
        }
    }
}

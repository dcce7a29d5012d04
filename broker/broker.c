/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/broker.h"

#include "base/alloc.h"
#include "base/short_turns.h"
#include "broker/core/core.h"
#include "broker/core/core_clock.h"
#include "broker/data_directory.h"
#include "broker/durability/durability.h"
#include "broker/machine.h"
#include "broker/networks.h"
#include "broker/password_pool.h"
#include "broker/plan/apply.h"
#include "broker/request_desk.h"
#include "broker/tls_settings.h"
#include "broker/topology/vhost.h"
#include "broker/turn_clock.h"
#include "tls/tls_context.h"

#include <errno.h>
#include <inttypes.h>
#include <malloc.h>
#include <stdlib.h>
#include <string.h>

/* How long clients may take to answer the close of a shutdown. An end in order takes ten seconds at
 * most; what is left of them is for the store to close. */
static const uint64_t BROKER_STOP_WAIT_MS = 8000;

/* An open listening address. */
struct broker_listener {
    enum config_listener_kind kind;
    char *host; /* owned */
    uint16_t port;
};

struct broker {
    struct log *log;
    struct clock_source clock;
    struct chunk_pool *pool;
    struct password_pool *passwords;
    struct networks *networks;
    struct core *core;
    struct request_desk *requests;                /* NULL: nobody else asks */
    struct data_directory *data;                  /* NULL: memory only */
    struct tls_context *tls[LISTENER_KIND_COUNT]; /* NULL: plain or off; owned */
    struct cidr *proxies[LISTENER_KIND_COUNT];    /* who may connect; NULL: everybody; owned */
    struct broker_listener *listeners;            /* owned */
    size_t listener_count;
    enum { BROKER_RUNNING, BROKER_DRAINING, BROKER_STOPPING, BROKER_STOPPED } state;
    uint64_t stop_deadline_ms;
    /* The core and the network point at each other; the network is made first, so its events come
     * through here. */
    struct net_events core_events;
    void (*settled)(void *context); /* NULL: nobody waits */
    void *settled_context;
    char node_name[MACHINE_NODE_NAME_SIZE];
    struct turn_clock turn_clock;
    uint32_t link_count_peak; /* since memory was last given back to the system */
};

static const char *const listener_schemes[LISTENER_KIND_COUNT] = {
    [LISTENER_AMQP] = "amqp",   [LISTENER_AMQPS] = "amqps",     [LISTENER_HTTP] = "http",
    [LISTENER_HTTPS] = "https", [LISTENER_METRICS] = "metrics",
};

/* The listeners that are served here; the others are the management interface's. */
static const enum config_listener_kind served_kinds[] = {LISTENER_AMQP, LISTENER_AMQPS};

static SELDOM void
broker_read_clock(struct broker *broker)
{
    core_begin_tick(broker->core, broker->clock.read(broker->clock.context));
}

static inline void
broker_tell_time(struct broker *broker, uint64_t link)
{
    if (turn_clock_is_stale(&broker->turn_clock, link)) {
        broker_read_clock(broker);
    }
}

static void
broker_forward_event(void *context, const struct net_event *event)
{
    struct broker *broker = context;
    if (event->type != NET_EVENT_WRITTEN || turn_clock_is_unread(&broker->turn_clock)) {
        broker_tell_time(broker, event->link);
    }
    broker->core_events.handle(broker->core_events.context, event);
}

static void
broker_on_passwords(void *context)
{
    struct broker *broker = context;
    broker_tell_time(broker, TURN_CLOCK_NO_LINK);
    password_pool_collect(broker->passwords, broker->core);
}

static void
broker_on_requests(void *context)
{
    struct broker *broker = context;
    broker_tell_time(broker, TURN_CLOCK_NO_LINK);
    request_desk_take(broker->requests, broker->core);
}

static uint64_t
broker_memory_mark(const struct config_server *server)
{
    if (server->memory_bytes != 0) {
        return server->memory_bytes;
    }
    uint64_t percent = server->memory_percent != 0 ? server->memory_percent : 40;
    return machine_memory_bytes() / 100 * percent;
}

/* Threads for core and network. One core does well with few others on a small machine. */
static uint32_t
broker_thread_count(const struct config_server *server)
{
    enum { THREADS_DEFAULT_MAX = 8 };
    if (server->threads != 0) {
        return server->threads;
    }
    uint32_t processors = machine_processors();
    uint32_t others = processors > 2 ? processors - 1 : 1;
    return others < THREADS_DEFAULT_MAX ? others : THREADS_DEFAULT_MAX;
}

static bool
broker_make_networks(struct broker *broker, const struct config_server *server, char *why,
                     size_t why_size)
{
    struct networks_settings settings = {
        .thread_count = broker_thread_count(server) - 1,
        .network = {.frame_max = server->frame_max, .message_bytes_max = server->message_bytes_max},
        .clock = broker->clock,
        .log = broker->log,
    };
    struct net_events events = {.handle = broker_forward_event, .context = broker};
    broker->networks = networks_new(&settings, &events, why, why_size);
    if (broker->networks == NULL) {
        return false;
    }
    broker->passwords = password_pool_new();
    if (broker->passwords == NULL ||
        networks_watch(broker->networks, password_pool_fd(broker->passwords), broker_on_passwords,
                       broker) != STATUS_OK) {
        (void)snprintf(why, why_size, "cannot set up the event loop: %s", strerror(errno));
        return false;
    }
    return true;
}

static void
broker_make_core(struct broker *broker, const struct config *config)
{
    const struct config_server *server = &config->server;
    struct core_settings settings = {
        .frame_max = server->frame_max,
        .channel_max = server->channel_max,
        .heartbeat_s = server->heartbeat_s,
        .message_bytes_max = server->message_bytes_max,
        .memory_mark_bytes = broker_memory_mark(server),
        .disk_mark_bytes = server->disk_free_bytes,
        .disk_mark_percent = server->disk_free_percent,
        .is_development = config->is_development,
        .node_name = machine_node_name(broker->node_name),
    };
    struct core_ports ports = {
        .net = networks_port(broker->networks),
        .password = password_pool_port(broker->passwords),
        .random = random_system(),
        .clock = broker->clock,
    };
    broker->core = core_new(&settings, &ports, broker->pool, broker->log,
                            broker->clock.read(broker->clock.context));
    broker->core_events = core_net_events(broker->core);
    struct chunk_writer *shared = networks_shared_writer(broker->networks);
    if (shared != NULL) {
        chunk_pool_share_thread(broker->pool, 0, shared);
    }
}

static void
broker_on_data(void *context)
{
    struct broker *broker = context;
    broker_tell_time(broker, TURN_CLOCK_NO_LINK);
    data_directory_collect(broker->data);
}

static bool
broker_open_data(struct broker *broker, const struct config_server *server, char *why,
                 size_t why_size)
{
    if (server->is_ephemeral) {
        return true;
    }
    struct data_directory_settings settings = {
        .path = server->data_dir,
        .segment_bytes = server->segment_bytes,
    };
    broker->data =
        data_directory_open(&settings, broker->core, broker->pool, broker->log, why, why_size);
    if (broker->data == NULL) {
        return false;
    }
    if (networks_watch(broker->networks, data_directory_fd(broker->data), broker_on_data, broker) !=
        STATUS_OK) {
        (void)snprintf(why, why_size, "cannot set up the event loop: %s", strerror(errno));
        return false;
    }
    return true;
}

static bool
broker_open_address(struct broker *broker, enum config_listener_kind kind,
                    const struct config_address *address, size_t proxy_count, char *why,
                    size_t why_size)
{
    struct tls_context *tls = broker->tls[kind];
    struct listener_settings settings = {
        .host = address->host,
        .port = address->port,
        .passed_fd = address->passed_fd,
        .is_tls = tls != NULL,
        .factory = tls != NULL ? tls_context_factory(tls) : transport_factory_tcp(),
        .proxies = broker->proxies[kind],
        .proxy_count = proxy_count,
    };
    uint16_t port;
    char reason[256] = "";
    if (networks_listen(broker->networks, &settings, &port, reason, sizeof(reason)) != STATUS_OK) {
        (void)snprintf(why, why_size, "cannot listen on %s://%s: %s", listener_schemes[kind],
                       address->text, reason);
        return false;
    }
    broker->listeners =
        xrealloc(broker->listeners, (broker->listener_count + 1) * sizeof(*broker->listeners));
    broker->listeners[broker->listener_count++] =
        (struct broker_listener){.kind = kind, .host = xstrdup(address->host), .port = port};
    return true;
}

static bool
broker_open_listener(struct broker *broker, enum config_listener_kind kind,
                     const struct config_listener *listener, char *why, size_t why_size)
{
    if (!listener->enabled) {
        return true;
    }
    if (listener->tls != NULL) {
        struct tls_settings settings = tls_settings_of(listener->tls);
        broker->tls[kind] = tls_context_new(&settings, broker->log, why, why_size);
        if (broker->tls[kind] == NULL) {
            return false;
        }
    }
    if (listener->proxies != NULL) {
        broker->proxies[kind] = xalloc((listener->proxy_count + 1) * sizeof(struct cidr));
        memcpy(broker->proxies[kind], listener->proxies,
               listener->proxy_count * sizeof(struct cidr));
    }
    for (size_t i = 0; i < listener->address_count; i++) {
        if (!broker_open_address(broker, kind, &listener->addresses[i], listener->proxy_count, why,
                                 why_size)) {
            return false;
        }
    }
    return true;
}

static bool
broker_build(struct broker *broker, const struct config *config, char *why, size_t why_size)
{
    if (!broker_make_networks(broker, &config->server, why, why_size)) {
        return false;
    }
    broker_make_core(broker, config);
    if (!broker_open_data(broker, &config->server, why, why_size)) {
        return false;
    }
    if (core_apply(broker->core, config, why, why_size) != STATUS_OK) {
        return false;
    }
    for (size_t i = 0; i < ARRAY_LEN(served_kinds); i++) {
        enum config_listener_kind kind = served_kinds[i];
        if (!broker_open_listener(broker, kind, &config->listeners[kind], why, why_size)) {
            return false;
        }
    }
    return networks_start(broker->networks, why, why_size) == STATUS_OK;
}

struct broker *
broker_new(const struct config *config, struct log *log, char *why, size_t why_size)
{
    struct broker *broker = xalloc(sizeof(*broker));
    broker->log = log;
    broker->clock = clock_system();
    broker->pool = chunk_pool_new();
    if (!broker_build(broker, config, why, why_size)) {
        broker_free(&broker);
    }
    return broker;
}

void
broker_free(struct broker **broker_pointer)
{
    struct broker *broker = *broker_pointer;
    if (broker == NULL) {
        return;
    }
    if (broker->networks != NULL) {
        networks_stop(broker->networks);
    }
    data_directory_close(&broker->data);
    core_free(&broker->core);
    request_desk_free(&broker->requests);
    networks_free(&broker->networks);
    password_pool_free(&broker->passwords);
    for (size_t i = 0; i < LISTENER_KIND_COUNT; i++) {
        tls_context_unref(&broker->tls[i]);
        free(broker->proxies[i]);
    }
    for (size_t i = 0; i < broker->listener_count; i++) {
        free(broker->listeners[i].host);
    }
    free(broker->listeners);
    chunk_pool_free(&broker->pool);
    free(broker);
    *broker_pointer = NULL;
}

void
broker_print_addresses(const struct broker *broker, FILE *out)
{
    for (size_t i = 0; i < broker->listener_count; i++) {
        const struct broker_listener *listener = &broker->listeners[i];
        bool is_ipv6 = strchr(listener->host, ':') != NULL;
        (void)fprintf(out, is_ipv6 ? " %s://[%s]:%u" : " %s://%s:%u",
                      listener_schemes[listener->kind], listener->host, (unsigned)listener->port);
    }
}

bool
broker_next_address(const struct broker *broker, size_t *position,
                    struct broker_address *address_out)
{
    if (*position >= broker->listener_count) {
        return false;
    }
    const struct broker_listener *listener = &broker->listeners[(*position)++];
    *address_out = (struct broker_address){
        .scheme = listener_schemes[listener->kind],
        .host = listener->host,
        .port = listener->port,
        .is_tls = broker->tls[listener->kind] != NULL,
    };
    return true;
}

struct request_desk *
broker_requests(struct broker *broker)
{
    if (broker->requests == NULL) {
        broker->requests = request_desk_new();
        if (broker->requests != NULL &&
            networks_watch(broker->networks, request_desk_post_fd(broker->requests),
                           broker_on_requests, broker) != STATUS_OK) {
            request_desk_free(&broker->requests);
        }
    }
    return broker->requests;
}

void
broker_refuse_requests(struct broker *broker)
{
    if (broker->requests != NULL) {
        request_desk_close(broker->requests);
    }
    core_refuse_requests(broker->core);
}

/* How long the next turn may sleep. */
static uint64_t
broker_wait_ms(const struct broker *broker, uint64_t wait_ms)
{
    if (networks_has_work(broker->networks)) {
        return 0;
    }
    uint64_t core_ms = core_wait_ms(broker->core);
    return core_ms < wait_ms ? core_ms : wait_ms;
}

/* A stop in its turn: publishers are held until everything that was promised is committed and said,
 * then everyone is told to go. */
static void
broker_check_stop(struct broker *broker, uint64_t now_ms)
{
    bool is_late = now_ms >= broker->stop_deadline_ms;
    if (broker->state == BROKER_DRAINING && (core_has_said_all(broker->core) || is_late)) {
        broker->state = BROKER_STOPPING;
        core_shut_down(broker->core, "shutdown");
    }
    if (broker->state == BROKER_STOPPING && (core_connection_count(broker->core) == 0 || is_late)) {
        broker->state = BROKER_STOPPED;
    }
}

/* When most of many connections have gone, the memory they leave goes back to the system; the
 * allocator by itself keeps it. Takes some milliseconds, once for each such ebb. */
static void
broker_return_memory(struct broker *broker)
{
    static const uint32_t MANY_LINKS = 512;
    uint32_t count = networks_link_count(broker->networks);
    if (count > broker->link_count_peak) {
        broker->link_count_peak = count;
    } else if (broker->link_count_peak >= MANY_LINKS && count <= broker->link_count_peak / 4) {
        (void)malloc_trim(0);
        broker->link_count_peak = count;
    }
}

static void
broker_check_settled(struct broker *broker)
{
    void (*settled)(void *context) = broker->settled;
    if (settled != NULL && broker->state == BROKER_RUNNING &&
        core_is_committed(broker->core, core_topology_token(broker->core))) {
        broker->settled = NULL;
        settled(broker->settled_context);
    }
}

void
broker_when_settled(struct broker *broker, void (*settled)(void *context), void *context)
{
    broker->settled = settled;
    broker->settled_context = context;
    broker_check_settled(broker);
}

bool
broker_turn(struct broker *broker, uint64_t wait_ms)
{
    turn_clock_begin(&broker->turn_clock);
    networks_poll(broker->networks, broker_wait_ms(broker, wait_ms));
    broker_tell_time(broker, TURN_CLOCK_NO_LINK);
    core_end_tick(broker->core);
    if (broker->data != NULL) {
        data_directory_turn(broker->data);
    }
    uint64_t tick = chunk_pool_tick(broker->pool);
    networks_flush(broker->networks, tick);
    core_release_tick(broker->core, networks_passed(broker->networks, tick));
    networks_allow(broker->networks, core_contents_allowed(broker->core));
    broker_return_memory(broker);
    broker_check_settled(broker);
    broker_check_stop(broker, broker->core->now.monotonic_ms);
    return broker->state != BROKER_STOPPED;
}

/* What it has done, for whoever reads the log afterwards. Connections are those that were still
 * there after they had been told. */
static void
log_stopped(const struct broker *broker)
{
    const struct core *core = broker->core;
    const struct core_counters *counters = &core->counters;
    log_info(broker->log, "broker.stopped",
             "uptime_ms=%" PRIu64 " connections=%" PRIu32 " published=%" PRIu64
             " confirmed=%" PRIu64 " delivered=%" PRIu64 " acked=%" PRIu64
             " dead_letters_dropped=%" PRIu64 " internal_errors=%" PRIu64,
             core_uptime_ms(core), core_connection_count(core), counters->published,
             counters->confirmed, counters->delivered, counters->acked,
             counters->dead_letters_dropped, counters->internal_errors);
}

void
broker_run(struct broker *broker)
{
    static const uint64_t STOPPING_TURN_MS = 50;
    static const uint64_t DATA_TURN_MS = 1000; /* the room on the disk is asked for */
    uint64_t wait_ms = broker->data != NULL ? DATA_TURN_MS : UINT64_MAX;
    short_turns_ask();
    while (broker_turn(broker, broker->state != BROKER_RUNNING ? STOPPING_TURN_MS : wait_ms)) {
    }
    log_stopped(broker);
}

enum status
broker_watch(struct broker *broker, int fd, void (*ready)(void *context), void *context)
{
    return networks_watch(broker->networks, fd, ready, context);
}

void
broker_stop(struct broker *broker)
{
    if (broker->state != BROKER_RUNNING) {
        return;
    }
    struct clock_reading now = broker->clock.read(broker->clock.context);
    log_info(broker->log, "broker.stopping", "connections=%" PRIu32,
             core_connection_count(broker->core));
    broker->state = BROKER_DRAINING;
    broker->stop_deadline_ms = now.monotonic_ms + BROKER_STOP_WAIT_MS;
    networks_stop_listening(broker->networks);
    broker_refuse_requests(broker);
    core_hold_publishers(broker->core);
}

static bool
broker_prepare_certificates(struct broker *broker, const struct config *config, char *why,
                            size_t why_size)
{
    for (size_t i = 0; i < ARRAY_LEN(served_kinds); i++) {
        enum config_listener_kind kind = served_kinds[i];
        const struct config_tls *tls = config->listeners[kind].tls;
        if (broker->tls[kind] == NULL || tls == NULL) {
            continue;
        }
        struct tls_settings settings = tls_settings_of(tls);
        if (tls_context_prepare(broker->tls[kind], &settings, why, why_size) != STATUS_OK) {
            return false;
        }
    }
    return true;
}

/* `end`: what to do with each that was prepared. */
static void
broker_end_certificates(struct broker *broker, void (*end)(struct tls_context *context))
{
    for (size_t i = 0; i < ARRAY_LEN(served_kinds); i++) {
        if (broker->tls[served_kinds[i]] != NULL) {
            end(broker->tls[served_kinds[i]]);
        }
    }
}

void
broker_add_flushes(const struct broker *broker, struct store_flushes *flushes)
{
    if (broker->data != NULL) {
        data_directory_add_flushes(broker->data, flushes);
    }
}

enum status
broker_reload(struct broker *broker, struct config *config, char *why, size_t why_size)
{
    enum status status = STATUS_REJECTED;
    if (!broker_prepare_certificates(broker, config, why, why_size)) {
        char reason[RESOURCE_TEXT_SIZE];
        log_error(broker->log, "reload.refused", "reason=%s",
                  log_escape(reason, sizeof(reason), bytes_of(why)));
    } else {
        const struct apply_options options = {.cause = GENERATION_RELOAD, .maker = bytes_of("")};
        struct apply_result result;
        status = core_apply_as(broker->core, config, &options, &result, why, why_size);
        plan_free(&result.plan);
    }
    broker_end_certificates(broker, status == STATUS_OK ? tls_context_take : tls_context_forget);
    config_free(&config);
    return status;
}

bool
broker_back_up(struct broker *broker, const char *path,
               void (*done)(void *context, enum status status, const struct backup_report *report),
               void *context, char *why, size_t why_size)
{
    if (broker->data == NULL) {
        (void)snprintf(why, why_size, "everything is in memory: there is nothing to copy");
        return false;
    }
    if (!data_directory_back_up(broker->data, path, done, context)) {
        (void)snprintf(why, why_size, "another copy is being made: wait until it is done");
        return false;
    }
    return true;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "management/management.h"

#include <errno.h>
#include <event2/event.h>
#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/alloc.h"
#include "broker/tls_settings.h"
#include "management/http/server.h"
#include "management/monitor/effective_config.h"
#include "management/monitor/log_tail.h"
#include "management/monitor/monitor.h"
#include "tls/certificate_time.h"

static void
on_answers(evutil_socket_t fd, short events, void *context)
{
    struct management *management = context;
    (void)fd;
    (void)events;
    request_desk_collect(management->desk);
}

static void
on_stop(evutil_socket_t fd, short events, void *context)
{
    struct management *management = context;
    (void)fd;
    (void)events;
    (void)event_base_loopbreak(management->base);
}

static void *
run(void *context)
{
    const struct management *management = context;
    (void)event_base_dispatch(management->base);
    return NULL;
}

/* libevent's loop, with the two descriptors that others write to. */
static bool
make_loop(struct management *management)
{
    struct event_config *config = event_config_new();
    if (config == NULL) {
        return false;
    }
    (void)event_config_set_flag(config, EVENT_BASE_FLAG_NOLOCK);
    management->base = event_base_new_with_config(config);
    event_config_free(config);
    management->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (management->base == NULL || management->stop_fd < 0) {
        return false;
    }
    management->stop =
        event_new(management->base, management->stop_fd, EV_READ, on_stop, management);
    management->answers = event_new(management->base, request_desk_answer_fd(management->desk),
                                    EV_READ | EV_PERSIST, on_answers, management);
    return management->stop != NULL && management->answers != NULL &&
           event_add(management->stop, NULL) == 0 && event_add(management->answers, NULL) == 0;
}

static bool
start_thread(struct management *management, char *why, size_t why_size)
{
    static const size_t STACK_SIZE = 512 * 1024;
    pthread_attr_t attributes;
    int error = pthread_attr_init(&attributes);
    if (error == 0) {
        error = pthread_attr_setstacksize(&attributes, STACK_SIZE);
        error =
            error != 0 ? error : pthread_create(&management->thread, &attributes, run, management);
        (void)pthread_attr_destroy(&attributes);
    }
    management->has_thread = error == 0;
    if (error != 0) {
        (void)snprintf(why, why_size, "cannot start the thread of the management interface: %s",
                       strerrordesc_np(error));
    }
    return error == 0;
}

static char *
name_of_node(void)
{
    enum { HOST_SIZE = 256 };
    char host[HOST_SIZE] = "localhost";
    char name[HOST_SIZE + 16];
    (void)gethostname(host, sizeof(host) - 1);
    (void)snprintf(name, sizeof(name), "bourse@%s", host);
    return xstrdup(name);
}

static void
find_certificate_ends(const struct config *config, int64_t ends_ms[LISTENER_KIND_COUNT])
{
    for (int i = 0; i < LISTENER_KIND_COUNT; i++) {
        const struct config_listener *listener = &config->listeners[i];
        int64_t end_ms = 0;
        if (listener->enabled && listener->tls != NULL) {
            (void)certificate_file_end(listener->tls->certificate, &end_ms);
        }
        ends_ms[i] = end_ms;
    }
}

static void
show_certificate_ends(struct management *management, const int64_t ends_ms[LISTENER_KIND_COUNT])
{
    for (int i = 0; i < LISTENER_KIND_COUNT; i++) {
        atomic_store(&management->certificate_ends_ms[i], ends_ms[i]);
    }
}

struct management *
management_new(const struct config *config, struct broker *broker, struct log *log, char *why,
               size_t why_size)
{
    struct management *management = xalloc(sizeof(*management));
    management->log = log;
    management->log_tail = log_tail_new(log);
    management->broker = broker;
    management->stop_fd = -1;
    management->rabbitmq_version = xstrdup(config->server.rabbitmq_version);
    management->node = name_of_node();
    management->effective_config = effective_config_new(config);
    if (!config->server.is_ephemeral && config->server.data_dir != NULL) {
        management->data_directory = xstrdup(config->server.data_dir);
    }
    int64_t ends_ms[LISTENER_KIND_COUNT];
    find_certificate_ends(config, ends_ms);
    show_certificate_ends(management, ends_ms);
    list_init(&management->connections);
    event_streams_init(&management->streams);
    management->desk = broker_requests(broker);
    if (management->desk == NULL || !make_loop(management) ||
        (management->monitor = monitor_new(management)) == NULL) {
        (void)snprintf(why, why_size,
                       "cannot set up the event loop of the management interface: %s",
                       strerrordesc_np(errno));
        management_free(&management);
        return NULL;
    }
    if (!server_open(management, config, why, why_size) ||
        !start_thread(management, why, why_size)) {
        management_free(&management);
    }
    return management;
}

static void
free_event(struct event *event)
{
    if (event != NULL) {
        event_free(event);
    }
}

/* What was under way has come back refused by now, or comes back here. */
static void
stop_thread(struct management *management)
{
    broker_refuse_requests(management->broker);
    if (management->has_thread) {
        (void)eventfd_write(management->stop_fd, 1);
        (void)pthread_join(management->thread, NULL);
    }
    if (management->desk != NULL) {
        request_desk_collect(management->desk);
    }
}

void
management_free(struct management **management_pointer)
{
    struct management *management = *management_pointer;
    if (management == NULL) {
        return;
    }
    stop_thread(management);
    monitor_free(&management->monitor);
    server_close(management);
    if (management->desk != NULL) {
        request_desk_collect(management->desk); /* what closing gave up */
    }
    free_event(management->stop);
    free_event(management->answers);
    event_streams_fini(&management->streams);
    sessions_fini(&management->sessions);
    if (management->base != NULL) {
        event_base_free(management->base);
    }
    if (management->stop_fd >= 0) {
        close(management->stop_fd);
    }
    free(management->rabbitmq_version);
    free(management->node);
    free(management->data_directory);
    free(management->effective_config);
    log_tail_free(&management->log_tail);
    free(management);
    *management_pointer = NULL;
}

void
management_set_reloaded(struct management *management, bool has_succeeded)
{
    for (size_t i = 0; i < ARRAY_LEN(management->ports); i++) {
        struct tls_context *tls = management->ports[i].tls;
        if (tls != NULL && has_succeeded) {
            tls_context_take(tls);
        } else if (tls != NULL) {
            tls_context_forget(tls);
        }
    }
    if (has_succeeded) {
        show_certificate_ends(management, management->prepared_ends_ms);
    }
    atomic_store(&management->reload_has_failed, !has_succeeded);
}

enum status
management_prepare_reload(struct management *management, const struct config *config, char *why,
                          size_t why_size)
{
    static const enum config_listener_kind kinds[] = {
        [PORT_HTTP] = LISTENER_HTTP,
        [PORT_HTTPS] = LISTENER_HTTPS,
        [PORT_METRICS] = LISTENER_METRICS,
    };
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
        struct tls_context *tls = management->ports[i].tls;
        const struct config_tls *from = config->listeners[kinds[i]].tls;
        if (tls == NULL || from == NULL) {
            continue;
        }
        struct tls_settings settings = tls_settings_of(from);
        if (tls_context_prepare(tls, &settings, why, why_size) != STATUS_OK) {
            return STATUS_REJECTED;
        }
    }
    find_certificate_ends(config, management->prepared_ends_ms);
    return STATUS_OK;
}

void
management_print_addresses(const struct management *management, FILE *out)
{
    for (size_t i = 0; i < management->listener_count; i++) {
        const struct server_listener *listener = &management->listeners[i];
        bool is_ipv6 = strchr(listener->host, ':') != NULL;
        (void)fprintf(out, is_ipv6 ? " %s://[%s]:%u" : " %s://%s:%u",
                      server_schemes[listener->port_kind], listener->host,
                      (unsigned)listener->port);
    }
}

void
management_set_ready(struct management *management, bool is_ready)
{
    atomic_store(&management->is_ready, is_ready);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/serve/serve.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio_ext.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "base/assert.h"
#include "broker/broker.h"
#include "cli/serve/passed_sockets.h"
#include "cli/serve/serve_process.h"
#include "cli/serve/service.h"
#include "management/management.h"
#include "tls/tls_library.h"

enum { WHY_SIZE = 512, LINE_SIZE = 1024 };

struct server {
    const struct command_line *line;
    const struct command_io *io;
    struct log log;
    struct broker *broker;
    struct management *management; /* NULL: it has no listener */
    int signal_fd;
    /* Given up while files are read again, so that this works when no descriptor is left. */
    int reserve_fd;
    struct service service;
    int watchdog_fd; /* -1: nobody asks whether the process lives */
    /* What is said when the configuration is on disk. */
    bool ready_is_due, reload_is_due;
    bool is_stopping; /* nothing is read again any more */
};

static int
open_reserve(void)
{
    return open("/dev/null", O_RDONLY | O_CLOEXEC);
}

static void
close_if_open(int fd)
{
    if (fd >= 0) {
        close(fd);
    }
}

static void
print_notices(FILE *out, const struct config *config)
{
    if (config->is_development) {
        fputs("development mode: user guest with password guest, accepted from loopback only\n",
              out);
    }
    if (config->server.is_ephemeral) {
        fputs("ephemeral: nothing survives a restart, durable objects and persistent messages live "
              "in memory\n",
              out);
    } else {
        fprintf(out, "data directory %s, flushed before every confirm\n", config->server.data_dir);
    }
    fflush(out);
}

static void
print_ready(const struct server *server)
{
    fputs("bourse ready:", server->io->out);
    broker_print_addresses(server->broker, server->io->out);
    if (server->management != NULL) {
        management_print_addresses(server->management, server->io->out);
        management_set_ready(server->management, true);
    }
    fputc('\n', server->io->out);
    fflush(server->io->out);
}

/* `news` and behind it where it listens. The caller frees; NULL: there is no memory. */
static char *
with_addresses(const struct server *server, const char *news)
{
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    if (out == NULL) {
        return NULL;
    }
    fputs(news, out);
    broker_print_addresses(server->broker, out);
    if (server->management != NULL) {
        management_print_addresses(server->management, out);
    }
    (void)fclose(out);
    return text;
}

/* The same line to the service manager, behind `news`. */
static void
tell_ready(const struct server *server, const char *news)
{
    char *text = with_addresses(server, news);
    service_ready(&server->service, text == NULL ? news : text);
    free(text);
}

static void
log_ready(struct server *server)
{
    char *text = with_addresses(server, "");
    log_info(&server->log, "server.ready", "listening=\"%s\"", text == NULL ? "" : text + 1);
    free(text);
}

/* What it runs with: the files, where it keeps what is durable, and what bounds it. A limit of 0 is
 * chosen by the broker. */
static void
log_starting(struct server *server, const struct config *config)
{
    char files[LINE_SIZE] = "";
    char quoted[LINE_SIZE * 2];
    char place[LINE_SIZE * 2];
    struct rlimit descriptors = {0};
    for (size_t i = 0, size = 0; i < server->line->operand_count && size < sizeof(files); i++) {
        size += (size_t)snprintf(files + size, sizeof(files) - size, i == 0 ? "%s" : " %s",
                                 server->line->operands[i]);
    }
    bool is_durable = !config->server.is_ephemeral;
    (void)getrlimit(RLIMIT_NOFILE, &descriptors);
    log_info(&server->log, "server.starting",
             "version=%s pid=%d files=%s data_dir=%s flush=%s threads=%u memory_bytes=%" PRIu64
             " memory_percent=%u descriptors_max=%" PRIu64,
             BOURSE_VERSION, (int)getpid(), log_escape(quoted, sizeof(quoted), bytes_of(files)),
             log_escape(place, sizeof(place), bytes_of(is_durable ? config->server.data_dir : "")),
             is_durable ? "before_confirm" : "never", config->server.threads,
             config->server.memory_bytes, config->server.memory_percent,
             (uint64_t)descriptors.rlim_cur);
}

/* What a configuration made is on disk: who reads the line may rely on it. */
static void
on_settled(void *context)
{
    struct server *server = context;
    if (server->ready_is_due) {
        log_ready(server);
        print_ready(server);
        tell_ready(server, "listening on");
    }
    if (server->reload_is_due) {
        log_info(&server->log, "config.reloaded", "files=%zu", server->line->operand_count);
        tell_ready(server, "reloaded, listening on");
    }
    server->ready_is_due = false;
    server->reload_is_due = false;
}

/* Reload ------------------------------------------------------------------------------------- */

static void
log_report(struct server *server, const struct config *config)
{
    for (size_t i = 0; i < config->report.count; i++) {
        const struct config_diagnostic *diagnostic = &config->report.items[i];
        bool is_error = diagnostic->severity == CONFIG_ERROR;
        char line[LINE_SIZE];
        char quoted[LINE_SIZE * 2];
        config_diagnostic_text(diagnostic, line, sizeof(line));
        log_line(&server->log, is_error ? LOG_LEVEL_ERROR : LOG_LEVEL_WARN, "config.diagnostic",
                 "text=%s", log_escape(quoted, sizeof(quoted), bytes_of(line)));
    }
}

static void
log_refusal(struct server *server, const char *reason)
{
    char quoted[WHY_SIZE * 2];
    log_error(&server->log, "config.reload_refused", "reason=%s",
              log_escape(quoted, sizeof(quoted), bytes_of(reason)));
    tell_ready(server, "the new configuration was refused (see the log), listening on");
}

static void
note_reload(struct server *server, bool has_succeeded)
{
    if (server->management != NULL) {
        management_set_reloaded(server->management, has_succeeded);
    }
}

static void
refuse_reload(struct server *server, const char *why)
{
    note_reload(server, false);
    log_refusal(server, why);
}

/* Takes `config`, which has no errors. */
static void
apply_configuration(struct server *server, struct config *config)
{
    char why[WHY_SIZE] = "";
    enum log_level level = config->server.log_level;
    enum log_format format = config->server.log_format;
    if (server->management != NULL &&
        management_prepare_reload(server->management, config, why, sizeof(why)) != STATUS_OK) {
        config_free(&config);
        refuse_reload(server, why);
        return;
    }
    if (broker_reload(server->broker, config, why, sizeof(why)) != STATUS_OK) {
        refuse_reload(server, why);
        return;
    }
    note_reload(server, true);
    server->log.level = level;
    server->log.format = format;
    server->reload_is_due = true;
    broker_when_settled(server->broker, on_settled, server);
}

static void
reload(struct server *server)
{
    if (server->line->operand_count == 0) {
        log_info(&server->log, "config.reload_skipped", "reason=\"development mode has no file\"");
        return;
    }
    service_reloading(&server->service);
    close_if_open(server->reserve_fd);
    struct config *config = serve_read_configuration(server->line);
    log_report(server, config);
    if (config->report.error_count > 0) {
        refuse_reload(server, "the configuration has errors; everything stays as it was");
        config_free(&config);
    } else if (serve_apply_overrides(config, server->line, server->io) != COMMAND_OK) {
        refuse_reload(server, "an option of the command line does not fit the files any more");
        config_free(&config);
    } else {
        apply_configuration(server, config);
    }
    server->reserve_fd = open_reserve();
}

/* Signals ------------------------------------------------------------------------------------ */

static void
handle_signal(struct server *server, uint32_t number)
{
    if (number == SIGHUP) {
        if (!server->is_stopping) {
            reload(server);
        }
        return;
    }
    server->is_stopping = true;
    log_info(&server->log, "server.stopping", "signal=%s", sigabbrev_np((int)number));
    service_stopping(&server->service);
    if (server->management != NULL) {
        management_set_ready(server->management, false);
    }
    broker_stop(server->broker);
    process_let_signals_end();
}

static void
on_signals(void *context)
{
    struct server *server = context;
    struct signalfd_siginfo info;
    while (read(server->signal_fd, &info, sizeof(info)) == (ssize_t)sizeof(info)) {
        handle_signal(server, info.ssi_signo);
    }
}

/* The service manager ------------------------------------------------------------------------ */

/* In the core's own loop: a core that is stuck says nothing. */
static void
on_watchdog(void *context)
{
    const struct server *server = context;
    service_alive(&server->service, server->watchdog_fd);
}

/* Listens to the signals, and has the manager told that the core lives. */
static bool
watch_all(struct server *server)
{
    if (broker_watch(server->broker, server->signal_fd, on_signals, server) != STATUS_OK) {
        return false;
    }
    bool is_asked = server->service.fd >= 0 && server->service.watchdog_us > 0;
    server->watchdog_fd = service_watchdog_open(&server->service);
    if (server->watchdog_fd < 0) {
        return !is_asked;
    }
    return broker_watch(server->broker, server->watchdog_fd, on_watchdog, server) == STATUS_OK;
}

/* Finds out what a service manager asks for and gives. False: told already. */
static bool
meet_manager(struct server *server, struct config *config)
{
    char why[WHY_SIZE] = "";
    struct config_environment environment = config_environment_system();
    if (service_open(&server->service, &environment, why, sizeof(why)) &&
        passed_sockets_adopt(config, &environment, PASSED_SOCKET_FIRST, why, sizeof(why))) {
        return true;
    }
    fprintf(server->io->err, "bourse: not started: %s\n", why);
    return false;
}

/* Running ------------------------------------------------------------------------------------ */

static bool
wants_management(const struct config *config)
{
    return config->listeners[LISTENER_HTTP].enabled || config->listeners[LISTENER_HTTPS].enabled ||
           config->listeners[LISTENER_METRICS].enabled || !config->server.is_ephemeral ||
           config->server.control_socket != NULL;
}

/* False with the reason. */
static bool
build(struct server *server, const struct config *config, char *why)
{
    server->broker = broker_new(config, &server->log, why, WHY_SIZE);
    if (server->broker == NULL) {
        return false;
    }
    if (!wants_management(config)) {
        return true;
    }
    server->management = management_new(config, server->broker, &server->log, why, WHY_SIZE);
    return server->management != NULL;
}

static bool
has_tls(const struct config *config)
{
    for (size_t i = 0; i < LISTENER_KIND_COUNT; i++) {
        if (config->listeners[i].enabled && config->listeners[i].tls != NULL) {
            return true;
        }
    }
    return false;
}

/* Takes `config`. */
static int
run_broker(struct server *server, struct config *config)
{
    char why[WHY_SIZE] = "";
    log_init_stderr(&server->log, config->server.log_level, config->server.log_format);
    print_notices(server->io->out, config);
    log_starting(server, config);
    if (!has_tls(config)) {
        tls_library_leave_texts();
    }
    service_starting(&server->service);
    bool is_built = build(server, config, why);
    config_free(&config);
    if (!is_built) {
        fprintf(server->io->err, "bourse: not started: %s\n", why);
        broker_free(&server->broker);
        return COMMAND_FAILED;
    }
    int result = COMMAND_OK;
    if (watch_all(server)) {
        server->ready_is_due = true;
        broker_when_settled(server->broker, on_settled, server);
        broker_run(server->broker);
    } else {
        fprintf(server->io->err, "bourse: not started: cannot watch signals or clock: %s\n",
                strerrordesc_np(errno));
        result = COMMAND_FAILED;
    }
    management_free(&server->management);
    broker_free(&server->broker);
    return result;
}

int
serve_run(const struct command_line *given, const struct command_io *io)
{
    struct command_line with_file = *given;
    const struct command_line *line = &with_file;
    char *file;
    serve_take_file_of_environment(&with_file, &file);
    struct server server = {
        .line = line,
        .io = io,
        .signal_fd = -1,
        .reserve_fd = -1,
        .service = {.fd = -1},
        .watchdog_fd = -1,
    };
    sigset_t signals;
    int result = COMMAND_OK;
    process_keep_hangups();
    process_harden();
    process_return_large_blocks();
    struct config *config = serve_first_configuration(line, io, &result);
    if (config == NULL) {
        return result;
    }
    process_block_signals(&signals); /* before there are threads, which inherit it */
    server.signal_fd = signalfd(-1, &signals, SFD_NONBLOCK | SFD_CLOEXEC);
    server.reserve_fd = open_reserve();
    if (server.signal_fd < 0 || server.reserve_fd < 0) {
        fprintf(io->err, "bourse: not started: %s\n", strerrordesc_np(errno));
        config_free(&config);
        result = COMMAND_FAILED;
    } else if (!meet_manager(&server, config)) {
        config_free(&config);
        result = COMMAND_FAILED;
    } else {
        result = run_broker(&server, config);
    }
    close_if_open(server.watchdog_fd);
    service_close(&server.service);
    close_if_open(server.signal_fd);
    close_if_open(server.reserve_fd);
    /* Whoever read the first lines may be gone by now, which is no failure of the broker's. */
    __fpurge(io->out);
    clearerr(io->out);
    return result;
}

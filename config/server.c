/* SPDX-License-Identifier: Apache-2.0 */
/* Server settings: one line for each key of `server`. */
#include "config/server.h"

#include "base/assert.h"
#include "config/file.h"
#include "config/report.h"

enum { MS_PER_S = 1000 };

static const struct config_server defaults = {
    .data_dir = "/var/lib/bourse",
    .memory_percent = 40,
    .segment_bytes = 64 << 20,
    .message_bytes_max = 16 << 20,
    .frame_max = 128 << 10,
    .channel_max = 2047,
    .heartbeat_s = 60,
    .log_level = LOG_LEVEL_INFO,
    .log_format = LOG_FORMAT_LOGFMT,
    .rabbitmq_version = "4.1.0",
};

void
server_set_defaults(struct config_server *server)
{
    *server = defaults;
}

static int64_t
integer_or(const struct setting *setting, uint64_t by_default)
{
    return setting->node == NULL ? (int64_t)by_default : setting->value.integer;
}

static const char *
path_or(struct config *config, const struct setting *setting, const char *by_default)
{
    if (setting->node == NULL) {
        return by_default;
    }
    return file_resolve(&config->arena, setting->node->mark.file,
                        (const char *)setting->value.text.data);
}

static void
set_size_or_percent(const struct setting *setting, uint64_t *bytes, uint32_t *percent)
{
    if (setting->node != NULL) {
        *bytes = setting->value.is_percent ? 0 : (uint64_t)setting->value.integer;
        *percent = setting->value.is_percent ? (uint32_t)setting->value.integer : 0;
    }
}

static void
compile_threads(struct config *config, const struct setting *threads)
{
    config->server.threads = (uint32_t)integer_or(threads, 0);
}

/* A batch never crosses a segment, so the largest message has to fit one: its body, its properties,
 * which are one frame, and 8 KiB for the segment's header, the batch's, names and record. A method
 * is one frame as well: what it declares fits, too. */
static void
check_message_fits_segment(struct config *config, const struct document_server *from)
{
    enum { SEGMENT_OVERHEAD = 8 << 10 };
    const struct config_server *server = &config->server;
    const struct setting *settings[] = {&from->max_message_size, &from->segment_size,
                                        &from->frame_max};
    if (server->message_bytes_max + server->frame_max + SEGMENT_OVERHEAD <= server->segment_bytes) {
        return;
    }
    for (size_t i = 0; i < ARRAY_LEN(settings); i++) {
        if (settings[i]->node != NULL) {
            report_error(config, settings[i]->node->mark,
                         "a message of \"max-message-size\" with properties of \"frame-max\" "
                         "does not fit into \"segment-size\"");
            return;
        }
    }
}

static void
compile_heartbeat(struct config *config, const struct setting *heartbeat)
{
    if (heartbeat->node == NULL) {
        return;
    }
    if (heartbeat->value.integer % MS_PER_S != 0) {
        report_error(config, heartbeat->node->mark, "\"heartbeat\" is a whole number of seconds");
    }
    config->server.heartbeat_s = (uint16_t)(heartbeat->value.integer / MS_PER_S);
}

static void
set_mark(struct config_mark *mark, const struct setting *setting)
{
    if (setting->node != NULL) {
        *mark = setting->node->mark;
    }
}

static void
set_marks(struct config_server_marks *marks, const struct document_server *from)
{
    set_mark(&marks->data_dir, &from->data_dir);
    set_mark(&marks->threads, &from->threads);
    set_mark(&marks->memory, &from->memory);
    set_mark(&marks->disk_free, &from->disk_free);
    set_mark(&marks->segment_size, &from->segment_size);
    set_mark(&marks->max_message_size, &from->max_message_size);
    set_mark(&marks->frame_max, &from->frame_max);
    set_mark(&marks->channel_max, &from->channel_max);
    set_mark(&marks->heartbeat, &from->heartbeat);
    set_mark(&marks->control_socket, &from->control_socket);
    set_mark(&marks->rabbitmq_version, &from->rabbitmq_version);
}

void
server_compile(struct config *config, const struct document *document)
{
    const struct document_server *from = &document->server;
    struct config_server *server = &config->server;
    server->data_dir = path_or(config, &from->data_dir, server->data_dir);
    server->control_socket = path_or(config, &from->control_socket, NULL);
    server->rabbitmq_version = from->rabbitmq_version.node == NULL
                                   ? server->rabbitmq_version
                                   : (const char *)from->rabbitmq_version.value.text.data;
    set_size_or_percent(&from->memory, &server->memory_bytes, &server->memory_percent);
    set_size_or_percent(&from->disk_free, &server->disk_free_bytes, &server->disk_free_percent);
    server->segment_bytes = (uint64_t)integer_or(&from->segment_size, server->segment_bytes);
    server->message_bytes_max =
        (uint64_t)integer_or(&from->max_message_size, server->message_bytes_max);
    server->frame_max = (uint32_t)integer_or(&from->frame_max, server->frame_max);
    server->channel_max = (uint16_t)integer_or(&from->channel_max, server->channel_max);
    server->log_level = (enum log_level)integer_or(&from->log.level, server->log_level);
    server->log_format = (enum log_format)integer_or(&from->log.format, server->log_format);
    set_marks(&config->server_marks, from);
    compile_threads(config, &from->threads);
    compile_heartbeat(config, &from->heartbeat);
    check_message_fits_segment(config, from);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "management/monitor/effective_config.h"

#include <stdio.h>

#include "base/alloc.h"
#include "management/json/json_writer.h"

static void
begin(struct json_writer *json, const char *key)
{
    json_begin_object(json);
    json_put_string(json, "key", key);
}

/* `mark` is where it stands, or NULL, or without a file: a default. */
static void
end(struct json_writer *json, const struct config_mark *mark)
{
    if (mark == NULL || mark->file == NULL) {
        json_put_null(json, "file");
    } else {
        json_put_string(json, "file", mark->file);
    }
    if (mark == NULL || mark->line == 0) {
        json_put_null(json, "line");
    } else {
        json_put_unsigned(json, "line", mark->line);
    }
    json_end_object(json);
}

static void
put_number(struct json_writer *json, const char *key, uint64_t value,
           const struct config_mark *mark)
{
    begin(json, key);
    json_put_unsigned(json, "value", value);
    end(json, mark);
}

static void
put_string(struct json_writer *json, const char *key, const char *value,
           const struct config_mark *mark)
{
    begin(json, key);
    if (value == NULL) {
        json_put_null(json, "value");
    } else {
        json_put_string(json, "value", value);
    }
    end(json, mark);
}

static void
put_server(struct json_writer *json, const struct config_server *server,
           const struct config_server_marks *marks)
{
    put_string(json, "server.data-dir", server->is_ephemeral ? NULL : server->data_dir,
               &marks->data_dir);
    put_number(json, "server.threads", server->threads, &marks->threads);
    put_number(json, "server.memory-bytes", server->memory_bytes, &marks->memory);
    put_number(json, "server.memory-percent", server->memory_percent, &marks->memory);
    put_number(json, "server.disk-free-bytes", server->disk_free_bytes, &marks->disk_free);
    put_number(json, "server.disk-free-percent", server->disk_free_percent, &marks->disk_free);
    put_number(json, "server.segment-bytes", server->segment_bytes, &marks->segment_size);
    put_number(json, "server.message-bytes-max", server->message_bytes_max,
               &marks->max_message_size);
    put_number(json, "server.frame-max", server->frame_max, &marks->frame_max);
    put_number(json, "server.channel-max", server->channel_max, &marks->channel_max);
    put_number(json, "server.heartbeat-s", server->heartbeat_s, &marks->heartbeat);
    put_string(json, "server.control-socket", server->control_socket, &marks->control_socket);
    put_string(json, "server.rabbitmq-version", server->rabbitmq_version, &marks->rabbitmq_version);
}

/* Addresses, and the certificate's path; the key's is nobody's business. */
static void
put_listener(struct json_writer *json, const char *name, const struct config_listener *listener)
{
    char key[64];
    bool has_address = listener->enabled && listener->address_count > 0;
    (void)snprintf(key, sizeof(key), "listeners.%s", name);
    begin(json, key);
    json_key(json, "value");
    json_begin_array(json);
    for (size_t i = 0; listener->enabled && i < listener->address_count; i++) {
        json_text(json, bytes_of(listener->addresses[i].text));
    }
    json_end_array(json);
    end(json, has_address ? &listener->addresses[0].mark : NULL);
    if (listener->enabled && listener->tls != NULL) {
        (void)snprintf(key, sizeof(key), "listeners.%s.tls.certificate", name);
        put_string(json, key, listener->tls->certificate, &listener->tls->mark);
    }
}

char *
effective_config_new(const struct config *config)
{
    static const char *const listeners[LISTENER_KIND_COUNT] = {
        [LISTENER_AMQP] = "amqp",   [LISTENER_AMQPS] = "amqps",     [LISTENER_HTTP] = "http",
        [LISTENER_HTTPS] = "https", [LISTENER_METRICS] = "metrics",
    };
    struct json_writer json;
    json_init(&json);
    json_begin_array(&json);
    put_server(&json, &config->server, &config->server_marks);
    for (int i = 0; i < LISTENER_KIND_COUNT; i++) {
        put_listener(&json, listeners[i], &config->listeners[i]);
    }
    json_end_array(&json);
    buffer_put_u8(&json.out, '\0');
    char *text =
        json.out.failed ? xstrdup("[]") : xstrdup((const char *)buffer_bytes(&json.out).data);
    json_fini(&json);
    return text;
}

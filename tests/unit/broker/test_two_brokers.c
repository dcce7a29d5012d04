/* SPDX-License-Identifier: Apache-2.0 */
/* Two brokers in one process, each with its own listener, users, queues, log and data directory:
 * nothing in the product is global. Real sockets over loopback, both loops turned by hand; the
 * second broker has a network thread. */
#include "broker/broker.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <dirent.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "amqp/frame.h"
#include "amqp/method.h"
#include "amqp/reply.h"
#include "amqp/table.h"
#include "base/buffer.h"

/* How long a test waits. Not so many turns: one ends as soon as anything happens, and passwords are
 * checked by threads that a busy machine lets wait. */
enum { BROKERS = 2, PATIENCE_MS = 30 * 1000 };

static struct side {
    struct broker *broker;
    struct log log;
    struct buffer log_text;
    struct clock_source clock;
    uint16_t port;
    char data_dir[64]; /* made by start_broker, removed by remove_data */
    bool is_running;
} sides[BROKERS];

/* A client: one socket, and what came out of it that no call has taken. */
struct client {
    int fd;
    struct buffer input;
    size_t taken; /* octets of `input` that the last frame took */
};

static void
collect_log(void *context, struct bytes line)
{
    buffer_put_bytes(context, line);
}

static struct broker *
start_broker(struct side *side, const char *address, char *why, size_t why_size)
{
    struct config *config = config_new_development();

    const char *reason = "";
    (void)snprintf(side->data_dir, sizeof(side->data_dir), "/tmp/bourse-two-brokers-XXXXXX");
    cr_assert(ne(ptr, mkdtemp(side->data_dir), NULL));
    config->server.data_dir = side->data_dir;
    config->server.threads = side == &sides[1] ? 2 : 1;
    cr_assert(config_override_listener(config, LISTENER_AMQP, address, &reason), "%s", reason);
    side->log = (struct log){.level = LOG_LEVEL_DEBUG,
                             .write = collect_log,
                             .context = &side->log_text,
                             .clock = clock_system()};
    struct broker *broker = broker_new(config, &side->log, why, why_size);
    config_free(&config);
    return broker;
}

static uint16_t
port_of(const struct broker *broker)
{
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    broker_print_addresses(broker, out);
    (void)fclose(out);
    unsigned port = 0;
    cr_expect(eq(int, sscanf(text, " amqp://127.0.0.1:%u", &port), 1), "%s", text);
    free(text);
    return (uint16_t)port;
}

static void
remove_data(const struct side *side)
{
    DIR *directory = opendir(side->data_dir);
    cr_assert(ne(ptr, directory, NULL));
    for (const struct dirent *entry; (entry = readdir(directory)) != NULL;) {
        if (entry->d_name[0] != '.') {
            cr_expect(eq(int, unlinkat(dirfd(directory), entry->d_name, 0), 0));
        }
    }
    (void)closedir(directory);
    cr_expect(eq(int, rmdir(side->data_dir), 0));
}

static void
set_up(void)
{
    for (size_t i = 0; i < BROKERS; i++) {
        char why[256] = "";
        sides[i].broker = start_broker(&sides[i], "127.0.0.1:0", why, sizeof(why));
        cr_assert(ne(ptr, sides[i].broker, NULL), "%s", why);
        sides[i].port = port_of(sides[i].broker);
        sides[i].is_running = true;
    }
    cr_assert(ne(u16, sides[0].port, sides[1].port));
}

static void
tear_down(void)
{
    for (size_t i = 0; i < BROKERS; i++) {
        broker_free(&sides[i].broker);
        buffer_fini(&sides[i].log_text);
        remove_data(&sides[i]);
    }
}

TestSuite(two_brokers, .init = set_up, .fini = tear_down, .timeout = 60);

static void
turn_both(void)
{
    for (size_t i = 0; i < BROKERS; i++) {
        if (sides[i].is_running) {
            sides[i].is_running = broker_turn(sides[i].broker, 5);
        }
    }
}

static int64_t
now_ms(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static void
client_send(struct client *client, uint16_t channel, const struct method *method)
{
    struct buffer payload;
    struct buffer frame;
    buffer_init(&payload);
    buffer_init(&frame);
    method_encode(&payload, method);
    frame_encode(&frame, FRAME_TYPE_METHOD, channel, buffer_bytes(&payload));
    cr_assert(eq(long, send(client->fd, buffer_bytes(&frame).data, buffer_size(&frame), 0),
                 (long)buffer_size(&frame)));
    buffer_fini(&payload);
    buffer_fini(&frame);
}

/* Reads what is there without waiting; false at the end of the stream. */
static bool
client_read(struct client *client)
{
    uint8_t *room = buffer_reserve(&client->input, 4096);
    ssize_t size = recv(client->fd, room, 4096, MSG_DONTWAIT);
    if (size > 0) {
        buffer_commit(&client->input, (size_t)size);
    }
    return size != 0;
}

/* The next method while both brokers run. Views inside it live until the next call. */
static struct method
client_expect(struct client *client, enum method_id id)
{
    buffer_consume(&client->input, client->taken);
    client->taken = 0;
    struct frame frame;
    struct fault fault;
    enum status status = STATUS_AGAIN;
    int64_t end_ms = now_ms() + PATIENCE_MS;
    while (status == STATUS_AGAIN && now_ms() < end_ms) {
        turn_both();
        (void)client_read(client);
        status = frame_decode(&frame, buffer_bytes(&client->input), 131072, NULL, &fault);
    }
    cr_assert(eq(int, status, STATUS_OK), "%s came in time", method_info(id)->name);
    client->taken = frame.payload.size + FRAME_OVERHEAD;
    struct method method;
    cr_assert(eq(int, method_decode(&method, frame.payload, &fault), STATUS_OK));
    cr_assert(eq(int, method.id, id), "%s was expected, %s came", method_info(id)->name,
              method_info(method.id)->name);
    return method;
}

static struct client
client_start(const struct side *side, const char *response, size_t response_size)
{
    struct client client = {.fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons(side->port),
                                  .sin_addr = {.s_addr = htonl(INADDR_LOOPBACK)}};
    cr_assert(eq(int, connect(client.fd, (struct sockaddr *)&address, sizeof(address)), 0));
    cr_assert(eq(long, send(client.fd, "AMQP\0\0\x09\x01", 8, 0), 8));
    (void)client_expect(&client, METHOD_CONNECTION_START);
    struct buffer capabilities;
    struct buffer properties;
    buffer_init(&capabilities);
    buffer_init(&properties);
    table_put_boolean(&capabilities, "authentication_failure_close", true);
    table_put_table(&properties, "capabilities", buffer_bytes(&capabilities));
    struct method start_ok = {
        .id = METHOD_CONNECTION_START_OK,
        .connection_start_ok = {.client_properties = buffer_bytes(&properties),
                                .mechanism = bytes_of("PLAIN"),
                                .response = bytes_make(response, response_size),
                                .locale = bytes_of("en_US")},
    };
    client_send(&client, 0, &start_ok);
    buffer_fini(&capabilities);
    buffer_fini(&properties);
    return client;
}

static struct client
client_open(const struct side *side)
{
    struct client client = client_start(side, "\0guest\0guest", 12);
    struct connection_tune tune = client_expect(&client, METHOD_CONNECTION_TUNE).connection_tune;
    struct method tune_ok = {.id = METHOD_CONNECTION_TUNE_OK,
                             .connection_tune_ok = {.channel_max = tune.channel_max,
                                                    .frame_max = tune.frame_max,
                                                    .heartbeat = 0}};
    struct method open = {.id = METHOD_CONNECTION_OPEN,
                          .connection_open = {.virtual_host = bytes_of("/")}};
    struct method channel_open = {.id = METHOD_CHANNEL_OPEN};
    client_send(&client, 0, &tune_ok);
    client_send(&client, 0, &open);
    client_send(&client, 1, &channel_open);
    (void)client_expect(&client, METHOD_CONNECTION_OPEN_OK);
    (void)client_expect(&client, METHOD_CHANNEL_OPEN_OK);
    return client;
}

static void
client_close(struct client *client)
{
    (void)close(client->fd);
    buffer_fini(&client->input);
}

/* The stream ends in an orderly way and without another octet. */
static bool
client_reads_end(struct client *client)
{
    buffer_consume(&client->input, client->taken);
    client->taken = 0;
    int64_t end_ms = now_ms() + PATIENCE_MS;
    while (now_ms() < end_ms) {
        turn_both();
        if (!client_read(client)) {
            return buffer_size(&client->input) == 0;
        }
    }
    return false;
}

static void
send_declare(struct client *client, const char *queue, bool passive)
{
    struct method declare = {.id = METHOD_QUEUE_DECLARE,
                             .queue_declare = {.queue = bytes_of(queue), .passive = passive}};
    client_send(client, 1, &declare);
}

static bool
side_logged(const struct side *side, const char *text)
{
    struct bytes all = buffer_bytes(&side->log_text);
    return all.size > 0 && memmem(all.data, all.size, text, strlen(text)) != NULL;
}

/* Each has its own guest, and what one of them is told is not known to the other. */
Test(two_brokers, a_queue_of_one_is_not_there_in_the_other)
{
    struct client first = client_open(&sides[0]);
    struct client second = client_open(&sides[1]);
    send_declare(&first, "mine", false);
    (void)client_expect(&first, METHOD_QUEUE_DECLARE_OK);
    send_declare(&second, "mine", true);
    struct channel_close close = client_expect(&second, METHOD_CHANNEL_CLOSE).channel_close;
    cr_expect(eq(u16, close.reply_code, REPLY_NOT_FOUND));
    cr_expect(bytes_equal_text(close.reply_text, "NOT_FOUND - no queue 'mine' in vhost '/'"));
    cr_expect(side_logged(&sides[1], "channel.error"));
    cr_expect(not(side_logged(&sides[0], "channel.error")), "each has a log of its own");
    client_close(&first);
    client_close(&second);
}

/* A failure with one slows nobody at the other: throttling and credentials are theirs alone. */
Test(two_brokers, guessing_at_one_does_not_slow_the_other)
{
    struct client guess = client_start(&sides[0], "\0guest\0wrong", 12);
    struct client right = client_open(&sides[1]);
    struct connection_close close = client_expect(&guess, METHOD_CONNECTION_CLOSE).connection_close;
    cr_expect(eq(u16, close.reply_code, REPLY_ACCESS_REFUSED));
    cr_expect(side_logged(&sides[0], "login.refused"));
    cr_expect(not(side_logged(&sides[1], "login.refused")));
    client_close(&guess);
    client_close(&right);
}

Test(two_brokers, one_stops_and_the_other_goes_on)
{
    struct client first = client_open(&sides[0]);
    struct client second = client_open(&sides[1]);
    broker_stop(sides[0].broker);
    struct connection_close close = client_expect(&first, METHOD_CONNECTION_CLOSE).connection_close;
    cr_expect(eq(u16, close.reply_code, REPLY_CONNECTION_FORCED));
    struct method close_ok = {.id = METHOD_CONNECTION_CLOSE_OK};
    client_send(&first, 0, &close_ok);
    cr_expect(client_reads_end(&first));
    int64_t end_ms = now_ms() + PATIENCE_MS;
    while (sides[0].is_running && now_ms() < end_ms) {
        turn_both();
    }
    cr_expect(not(sides[0].is_running), "the stop was carried out");
    broker_free(&sides[0].broker);
    send_declare(&second, "still here", false);
    (void)client_expect(&second, METHOD_QUEUE_DECLARE_OK);
    client_close(&first);
    client_close(&second);
}

Test(two_brokers, an_address_in_use_is_told_in_one_line)
{
    char address[64];
    (void)snprintf(address, sizeof(address), "127.0.0.1:%u", (unsigned)sides[0].port);
    struct side third = {.broker = NULL};
    char why[256] = "";
    cr_expect(eq(ptr, start_broker(&third, address, why, sizeof(why)), NULL));
    char expected[128];
    (void)snprintf(expected, sizeof(expected), "cannot listen on amqp://%s: ", address);
    cr_expect(eq(int, strncmp(why, expected, strlen(expected)), 0), "%s", why);
    cr_expect(eq(ptr, strchr(why, '\n'), NULL));
    buffer_fini(&third.log_text);
    remove_data(&third);
}

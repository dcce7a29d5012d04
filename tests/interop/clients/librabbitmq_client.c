/* SPDX-License-Identifier: Apache-2.0 */
/* The story of README.md with librabbitmq, written as its examples are. */
#include <amqp.h>
#include <amqp_ssl_socket.h>
#include <amqp_tcp_socket.h>

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static const amqp_channel_t CHANNEL = 1;

static void
done(const char *step)
{
    printf("ok %s\n", step);
    fflush(stdout);
}

static void
fail(const char *what)
{
    fprintf(stderr, "failed: %s\n", what);
    exit(1);
}

static void
check_rpc(amqp_rpc_reply_t reply, const char *what)
{
    if (reply.reply_type != AMQP_RESPONSE_NORMAL) {
        fail(what);
    }
}

static void
check_last(amqp_connection_state_t conn, const char *what)
{
    check_rpc(amqp_get_rpc_reply(conn), what);
}

static amqp_connection_state_t
log_in(char *url, const char *authority)
{
    char *text = strdup(url);
    struct amqp_connection_info info;
    if (amqp_parse_url(text, &info) != AMQP_STATUS_OK) {
        fail("url");
    }
    amqp_connection_state_t conn = amqp_new_connection();
    amqp_socket_t *socket;
    if (info.ssl) {
        socket = amqp_ssl_socket_new(conn);
        amqp_ssl_socket_set_verify_peer(socket, 1);
        amqp_ssl_socket_set_verify_hostname(socket, 1);
        if (amqp_ssl_socket_set_cacert(socket, authority) != AMQP_STATUS_OK) {
            fail("authority");
        }
    } else {
        socket = amqp_tcp_socket_new(conn);
    }
    if (amqp_socket_open(socket, info.host, info.port) != AMQP_STATUS_OK) {
        fail("open");
    }
    check_rpc(amqp_login(conn, info.vhost, 0, 131072, 0, AMQP_SASL_METHOD_PLAIN, info.user,
                         info.password),
              "login");
    amqp_channel_open(conn, CHANNEL);
    check_last(conn, "channel");
    free(text);
    return conn;
}

static void
publish(amqp_connection_state_t conn, const char *exchange, const char *key, const char *body,
        bool mandatory)
{
    amqp_basic_properties_t properties = {
        ._flags = AMQP_BASIC_CONTENT_TYPE_FLAG | AMQP_BASIC_DELIVERY_MODE_FLAG,
        .content_type = amqp_cstring_bytes("text/plain"),
        .delivery_mode = 2,
    };
    if (amqp_basic_publish(conn, CHANNEL, amqp_cstring_bytes(exchange), amqp_cstring_bytes(key),
                           mandatory, 0, &properties, amqp_cstring_bytes(body)) != AMQP_STATUS_OK) {
        fail("publish");
    }
}

/* Waits for `method_id` and hands back its decoded arguments. */
static void *
await(amqp_connection_state_t conn, amqp_method_number_t method_id)
{
    amqp_frame_t frame;
    do {
        if (amqp_simple_wait_frame(conn, &frame) != AMQP_STATUS_OK) {
            fail("wait");
        }
    } while (frame.frame_type != AMQP_FRAME_METHOD || frame.payload.method.id != method_id);
    return frame.payload.method.decoded;
}

static void
await_confirms(amqp_connection_state_t conn, uint64_t last)
{
    uint64_t confirmed = 0;
    while (confirmed < last) {
        amqp_basic_ack_t *ack = await(conn, AMQP_BASIC_ACK_METHOD);
        confirmed = ack->delivery_tag;
    }
}

static bool
body_is(const amqp_envelope_t *envelope, const char *text)
{
    return envelope->message.body.len == strlen(text) &&
           memcmp(envelope->message.body.bytes, text, strlen(text)) == 0;
}

static void
consume_and_settle(amqp_connection_state_t conn, const char *queue)
{
    amqp_basic_qos(conn, CHANNEL, 0, 3, 0);
    check_last(conn, "qos");
    amqp_basic_consume(conn, CHANNEL, amqp_cstring_bytes(queue), amqp_cstring_bytes("interop"), 0,
                       0, 0, amqp_empty_table);
    check_last(conn, "consume");
    bool nacked = false;
    for (int settled = 0; settled < 10;) {
        amqp_envelope_t envelope;
        check_rpc(amqp_consume_message(conn, &envelope, NULL, 0), "delivery");
        if (body_is(&envelope, "4") && !envelope.redelivered) {
            amqp_basic_nack(conn, CHANNEL, envelope.delivery_tag, 0, 1);
            nacked = true;
        } else {
            amqp_basic_ack(conn, CHANNEL, envelope.delivery_tag, 0);
            settled++;
        }
        amqp_destroy_envelope(&envelope);
    }
    if (!nacked) {
        fail("nack");
    }
    done("consume");
    done("ack");
    done("nack");
    amqp_basic_cancel(conn, CHANNEL, amqp_cstring_bytes("interop"));
    check_last(conn, "cancel");
    done("cancel");
}

static void
return_unroutable(amqp_connection_state_t conn, const char *exchange)
{
    publish(conn, exchange, "nowhere", "lost", true);
    amqp_basic_return_t *returned = await(conn, AMQP_BASIC_RETURN_METHOD);
    amqp_message_t message;
    if (returned->reply_code != 312) {
        fail("return");
    }
    check_rpc(amqp_read_message(conn, CHANNEL, &message, 0), "returned message");
    amqp_destroy_message(&message);
    await(conn, AMQP_BASIC_ACK_METHOD);
    done("return");
}

/* Holds a message, loses the socket, and finds the message back on a new connection. */
static void
reconnect(amqp_connection_state_t conn, char *url, const char *authority, const char *queue)
{
    publish(conn, "", queue, "survivor", false);
    await(conn, AMQP_BASIC_ACK_METHOD);
    check_rpc(amqp_basic_get(conn, CHANNEL, amqp_cstring_bytes(queue), 0), "get");
    shutdown(amqp_get_sockfd(conn), SHUT_RDWR);
    amqp_destroy_connection(conn);

    conn = log_in(url, authority);
    amqp_basic_consume(conn, CHANNEL, amqp_cstring_bytes(queue), amqp_empty_bytes, 0, 1, 0,
                       amqp_empty_table);
    check_last(conn, "consume again");
    amqp_envelope_t envelope;
    check_rpc(amqp_consume_message(conn, &envelope, NULL, 0), "delivery again");
    if (!body_is(&envelope, "survivor") || !envelope.redelivered) {
        fail("redelivery");
    }
    amqp_destroy_envelope(&envelope);
    done("reconnect");
    amqp_queue_delete(conn, CHANNEL, amqp_cstring_bytes(queue), 0, 0);
    check_last(conn, "delete");
    check_rpc(amqp_connection_close(conn, AMQP_REPLY_SUCCESS), "close");
    amqp_destroy_connection(conn);
}

int
main(int argc, char **argv)
{
    if (argc < 2) {
        fail("usage: librabbitmq_client URL [AUTHORITY]");
    }
    const char *authority = argc > 2 ? argv[2] : NULL;
    char name[64];
    snprintf(name, sizeof(name), "interop-librabbitmq-%d", (int)getpid());
    amqp_connection_state_t conn = log_in(argv[1], authority);
    done("connect");

    amqp_exchange_declare(conn, CHANNEL, amqp_cstring_bytes(name), amqp_cstring_bytes("topic"), 0,
                          0, 1, 0, amqp_empty_table);
    check_last(conn, "exchange");
    amqp_queue_declare(conn, CHANNEL, amqp_cstring_bytes(name), 0, 1, 0, 0, amqp_empty_table);
    check_last(conn, "queue");
    amqp_queue_bind(conn, CHANNEL, amqp_cstring_bytes(name), amqp_cstring_bytes(name),
                    amqp_cstring_bytes("order.*.placed"), amqp_empty_table);
    check_last(conn, "bind");
    done("declare");

    amqp_confirm_select(conn, CHANNEL);
    check_last(conn, "confirm.select");
    for (int number = 0; number < 10; number++) {
        char body[8];
        snprintf(body, sizeof(body), "%d", number);
        publish(conn, name, "order.eu.placed", body, false);
    }
    done("publish");
    await_confirms(conn, 10);
    done("confirm");
    return_unroutable(conn, name);
    consume_and_settle(conn, name);
    reconnect(conn, argv[1], authority, name);
    return 0;
}

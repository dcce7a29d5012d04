/* SPDX-License-Identifier: Apache-2.0 */

/* The handshake is AMQP 0-9-1, 2.2.4: header, start, start-ok, tune, tune-ok, open, open-ok. The
 * heartbeat is tuned to zero: a load generator that is busy must not be taken for dead. */

#include "bench/loadgen_link.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "bench/loadgen_die.h"

enum {
    LINK_INPUT_BYTES = 2 * WIRE_FRAME_BYTES_MAX, /* so that any frame fits behind half a frame */
    LINK_SETUP_BYTES = 2048,                     /* the largest method of the handshake */
    LINK_ANSWER_TIMEOUT_S = 120,
};

static _Noreturn void
link_die_tls(const struct link *link, const char *doing)
{
    char text[256] = "the connection ended";
    unsigned long code = ERR_get_error();
    if (code != 0) {
        ERR_error_string_n(code, text, sizeof text);
    }
    die("%s: %s: %s", link->role, doing, text);
}

SSL_CTX *
link_tls_new(const struct options *options)
{
    if (!options->tls) {
        return NULL;
    }
    SSL_CTX *tls = SSL_CTX_new(TLS_client_method());
    if (tls == NULL) {
        die("cannot set up TLS");
    }
    SSL_CTX_set_mode(tls, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
                              SSL_MODE_RELEASE_BUFFERS);
    SSL_CTX_set_read_ahead(tls, 1);
    if (options->insecure) {
        return tls;
    }
    SSL_CTX_set_verify(tls, SSL_VERIFY_PEER, NULL);
    bool loaded = options->ca_file == NULL ? SSL_CTX_set_default_verify_paths(tls) == 1
                                           : SSL_CTX_load_verify_file(tls, options->ca_file) == 1;
    if (!loaded) {
        die("cannot read certificate authorities from %s",
            options->ca_file == NULL ? "the system" : options->ca_file);
    }
    return tls;
}

static int
link_connect(const struct options *options)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
    struct addrinfo *found = NULL;
    int error = getaddrinfo(options->host, options->port, &hints, &found);
    if (error != 0) {
        die("%s:%s: %s", options->host, options->port, gai_strerror(error));
    }
    int fd = -1;
    for (const struct addrinfo *at = found; at != NULL && fd < 0; at = at->ai_next) {
        fd = socket(at->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (fd >= 0 && connect(fd, at->ai_addr, at->ai_addrlen) != 0) {
            int cause = errno;
            close(fd);
            errno = cause;
            fd = -1;
        }
    }
    freeaddrinfo(found);
    if (fd < 0) {
        die("cannot connect to %s:%s: %s", options->host, options->port, strerror(errno));
    }
    return fd;
}

static void
link_set_socket_options(const struct link *link)
{
    int on = 1;
    struct timeval timeout = {.tv_sec = LINK_ANSWER_TIMEOUT_S};
    if (setsockopt(link->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) != 0 ||
        setsockopt(link->fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof timeout) != 0) {
        die_errno("setsockopt");
    }
}

/* SNI and the name check take a name or an address, never one as the other. */
static void
link_expect_host(const struct link *link, const char *host)
{
    struct in6_addr address;
    bool is_address =
        inet_pton(AF_INET, host, &address) == 1 || inet_pton(AF_INET6, host, &address) == 1;
    int done = is_address
                   ? X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(link->ssl), host)
                   : SSL_set1_host(link->ssl, host) && SSL_set_tlsext_host_name(link->ssl, host);
    if (done != 1) {
        link_die_tls(link, "TLS host name");
    }
}

static void
link_start_tls(struct link *link, const struct options *options, SSL_CTX *tls)
{
    link->ssl = SSL_new(tls);
    if (link->ssl == NULL || SSL_set_fd(link->ssl, link->fd) != 1) {
        link_die_tls(link, "TLS");
    }
    link_expect_host(link, options->host);
    if (SSL_connect(link->ssl) != 1) {
        link_die_tls(link, "TLS handshake");
    }
}

static void
link_put_string_entry(struct wire_writer *writer, const char *key, const char *value)
{
    wire_put_shortstr(writer, key);
    wire_put_octet(writer, 'S');
    wire_put_long(writer, (uint32_t)strlen(value));
    wire_put_bytes(writer, value, strlen(value));
}

static void
link_put_capabilities(struct wire_writer *writer)
{
    static const char *const names[] = {
        "publisher_confirms",           "basic.nack",
        "consumer_cancel_notify",       "connection.blocked",
        "authentication_failure_close",
    };
    wire_put_shortstr(writer, "capabilities");
    wire_put_octet(writer, 'F');
    size_t table = wire_begin_length(writer);
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        wire_put_shortstr(writer, names[i]);
        wire_put_octet(writer, 't');
        wire_put_octet(writer, 1);
    }
    wire_end_length(writer, table);
}

/* Answers connection.start; the PLAIN response is NUL user NUL password (RFC 4616). */
static void
link_put_start_ok(struct wire_writer *writer, const struct options *options)
{
    wire_begin_method(writer, 0, WIRE_CONNECTION_START_OK);
    size_t properties = wire_begin_length(writer);
    link_put_string_entry(writer, "product", "bourse-loadgen");
    link_put_capabilities(writer);
    wire_end_length(writer, properties);
    wire_put_shortstr(writer, "PLAIN");
    size_t response = wire_begin_length(writer);
    wire_put_octet(writer, 0);
    wire_put_bytes(writer, options->user, strlen(options->user));
    wire_put_octet(writer, 0);
    wire_put_bytes(writer, options->password, strlen(options->password));
    wire_end_length(writer, response);
    wire_put_shortstr(writer, "en_US");
    wire_end_frame(writer);
}

/* Accepts what connection.tune proposes, but no frame larger than our input can hold. */
static void
link_put_tune_ok(struct link *link, struct wire_writer *writer, const struct wire_frame *tune)
{
    struct wire_reader reader = wire_reader_of(tune);
    wire_get_long(&reader);
    uint16_t channel_max = wire_get_short(&reader);
    uint32_t frame_max = wire_get_long(&reader);
    if (reader.failed) {
        die("%s: connection.tune is too short", link->role);
    }
    if (frame_max == 0 || frame_max > WIRE_FRAME_BYTES_MAX) {
        frame_max = WIRE_FRAME_BYTES_MAX;
    }
    link->frame_max = frame_max;
    wire_begin_method(writer, 0, WIRE_CONNECTION_TUNE_OK);
    wire_put_short(writer, channel_max);
    wire_put_long(writer, frame_max);
    wire_put_short(writer, 0);
    wire_end_frame(writer);
}

static void
link_login(struct link *link, const struct options *options)
{
    static const uint8_t protocol_header[8] = {'A', 'M', 'Q', 'P', 0, 0, 9, 1};
    uint8_t bytes[LINK_SETUP_BYTES];
    struct wire_writer writer = {.bytes = bytes, .capacity = sizeof bytes};

    wire_put_bytes(&writer, protocol_header, sizeof protocol_header);
    link_request(link, &writer, WIRE_CONNECTION_START);
    writer.length = 0;
    link_put_start_ok(&writer, options);
    struct wire_frame tune = link_request(link, &writer, WIRE_CONNECTION_TUNE);

    writer.length = 0;
    link_put_tune_ok(link, &writer, &tune);
    wire_begin_method(&writer, 0, WIRE_CONNECTION_OPEN);
    wire_put_shortstr(&writer, options->vhost);
    wire_put_shortstr(&writer, "");
    wire_put_octet(&writer, 0);
    wire_end_frame(&writer);
    link_request(link, &writer, WIRE_CONNECTION_OPEN_OK);

    writer.length = 0;
    wire_begin_method(&writer, LINK_CHANNEL, WIRE_CHANNEL_OPEN);
    wire_put_shortstr(&writer, "");
    wire_end_frame(&writer);
    link_request(link, &writer, WIRE_CHANNEL_OPEN_OK);
}

void
link_open(struct link *link, const struct options *options, SSL_CTX *tls, const char *role)
{
    *link = (struct link){.fd = link_connect(options), .role = role};
    link->input = die_calloc(LINK_INPUT_BYTES, 1);
    link_set_socket_options(link);
    if (tls != NULL) {
        link_start_tls(link, options, tls);
    }
    link_login(link, options);
}

struct wire_frame
link_request(struct link *link, const struct wire_writer *request, enum wire_method answer)
{
    struct wire_frame frame;
    link_send(link, request->bytes, request->length);
    while (!link_next_frame(link, &frame)) {
        if (link_read(link) == 0) {
            die("%s: no answer within %d s", link->role, LINK_ANSWER_TIMEOUT_S);
        }
    }
    if (link_method_of(&frame) != (uint32_t)answer) {
        link_refuse_frame(link, &frame);
    }
    return frame;
}

void
link_send(struct link *link, const uint8_t *bytes, size_t length)
{
    while (length > 0) {
        size_t written = link_write(link, bytes, length);
        bytes += written;
        length -= written;
    }
}

void
link_set_nonblocking(struct link *link)
{
    int flags = fcntl(link->fd, F_GETFL);
    if (flags < 0 || fcntl(link->fd, F_SETFL, flags | O_NONBLOCK) != 0) {
        die_errno("fcntl");
    }
    link->nonblocking = true;
}

static void
link_set_blocking(struct link *link)
{
    int flags = fcntl(link->fd, F_GETFL);
    if (flags < 0 || fcntl(link->fd, F_SETFL, flags & ~O_NONBLOCK) != 0) {
        die_errno("fcntl");
    }
    link->nonblocking = false;
}

/* Reads once from the socket; 0: nothing there now; -1: the stream has ended. */
static ssize_t
link_receive(struct link *link, uint8_t *bytes, size_t room)
{
    ssize_t length = recv(link->fd, bytes, room, 0);
    if (length > 0) {
        return length;
    }
    if (length < 0 && (errno == EAGAIN || errno == EINTR)) {
        return 0;
    }
    return -1;
}

/* As link_receive(). A record holds at most 16 KiB, so several are read until none is left. */
static ssize_t
link_receive_tls(struct link *link, uint8_t *bytes, size_t room)
{
    size_t total = 0;
    while (room - total > 0) {
        size_t length = 0;
        if (SSL_read_ex(link->ssl, bytes + total, room - total, &length) != 1) {
            int why = SSL_get_error(link->ssl, 0);
            bool later = why == SSL_ERROR_WANT_READ || why == SSL_ERROR_WANT_WRITE;
            return later || total > 0 ? (ssize_t)total : -1;
        }
        total += length;
        if (!link->nonblocking) {
            break; /* a second read would wait for a record that may never come */
        }
    }
    return (ssize_t)total;
}

/* Reads into the room behind the input; -1: the stream has ended. */
static ssize_t
link_fill(struct link *link)
{
    if (link->input_start > 0) {
        memmove(link->input, link->input + link->input_start, link->input_end - link->input_start);
        link->input_end -= link->input_start;
        link->input_start = 0;
    }
    uint8_t *bytes = link->input + link->input_end;
    size_t room = LINK_INPUT_BYTES - link->input_end;
    assert(room > 0);
    ssize_t length =
        link->ssl == NULL ? link_receive(link, bytes, room) : link_receive_tls(link, bytes, room);
    if (length > 0) {
        link->input_end += (size_t)length;
    }
    return length;
}

size_t
link_read(struct link *link)
{
    ssize_t length = link_fill(link);
    if (length < 0) {
        die("%s: the broker closed the socket without a word", link->role);
    }
    return (size_t)length;
}

/* Deals with what may arrive at any time and means nothing to the caller. */
static bool
link_absorb(struct link *link, const struct wire_frame *frame)
{
    if (frame->type == WIRE_FRAME_HEARTBEAT) {
        return true;
    }
    uint32_t method = link_method_of(frame);
    if (method == WIRE_CONNECTION_BLOCKED) {
        link->blocked_count++;
        return true;
    }
    return method == WIRE_CONNECTION_UNBLOCKED;
}

bool
link_next_frame(struct link *link, struct wire_frame *frame_out)
{
    for (;;) {
        const uint8_t *input = link->input + link->input_start;
        size_t length = link->input_end - link->input_start;
        switch (wire_find_frame(input, length, frame_out)) {
        case WIRE_FOUND_TOO_LITTLE:
            return false;
        case WIRE_FOUND_GARBAGE:
            die("%s: what the broker sent is not an AMQP frame", link->role);
        case WIRE_FOUND_FRAME:
            break;
        }
        link->input_start += (size_t)frame_out->payload_bytes + WIRE_FRAME_EXTRA_BYTES;
        if (frame_out->type == WIRE_FRAME_BODY || !link_absorb(link, frame_out)) {
            return true;
        }
    }
}

_Noreturn void
link_refuse_frame(const struct link *link, const struct wire_frame *frame)
{
    struct wire_reader reader = wire_reader_of(frame);
    uint32_t method = link_method_of(frame);
    char text[WIRE_SHORTSTR_MAX + 1];
    wire_get_long(&reader);
    if (method == WIRE_CONNECTION_CLOSE || method == WIRE_CHANNEL_CLOSE) {
        unsigned code = wire_get_short(&reader);
        wire_get_text(&reader, text);
        die("%s: the broker closed the %s: %u %s", link->role,
            method == WIRE_CONNECTION_CLOSE ? "connection" : "channel", code, text);
    }
    if (method == WIRE_BASIC_CANCEL) {
        wire_get_text(&reader, text);
        die("%s: the broker cancelled consumer %s", link->role, text);
    }
    die("%s: unexpected frame of type %u, class %u, method %u", link->role, frame->type,
        method >> 16, method & 0xFFFF);
}

uint32_t
link_method_of(const struct wire_frame *frame)
{
    bool is_method = frame->type == WIRE_FRAME_METHOD && frame->payload_bytes >= 4;
    return is_method ? wire_load_long(frame->payload) : 0;
}

/* The broker has ended the connection while we were writing: why is among what it sent before. */
static _Noreturn void
link_explain_end(struct link *link)
{
    struct wire_frame frame;
    do {
        while (link_next_frame(link, &frame)) {
            uint32_t method = link_method_of(&frame);
            if (method == WIRE_CONNECTION_CLOSE || method == WIRE_CHANNEL_CLOSE) {
                link_refuse_frame(link, &frame);
            }
        }
    } while (link_fill(link) > 0);
    die("%s: the broker closed the socket without a word", link->role);
}

size_t
link_write(struct link *link, const uint8_t *bytes, size_t length)
{
    if (link->ssl != NULL) {
        size_t written = 0;
        if (SSL_write_ex(link->ssl, bytes, length, &written) == 1) {
            return written;
        }
        int why = SSL_get_error(link->ssl, 0);
        if (why == SSL_ERROR_WANT_READ || why == SSL_ERROR_WANT_WRITE) {
            return 0;
        }
        link_die_tls(link, "write");
    }
    ssize_t written = send(link->fd, bytes, length, MSG_NOSIGNAL);
    if (written >= 0) {
        return (size_t)written;
    }
    if (errno == EAGAIN || errno == EINTR) {
        return 0;
    }
    link_explain_end(link);
}

void
link_release_input(struct link *link)
{
    free(link->input);
    link->input = NULL;
    link->input_start = 0;
    link->input_end = 0;
}

/* Reads until close-ok or the end; what else arrives was under way and is of no interest. */
static void
link_await_close_ok(struct link *link)
{
    struct wire_frame frame;
    for (;;) {
        while (link_next_frame(link, &frame)) {
            if (link_method_of(&frame) == WIRE_CONNECTION_CLOSE_OK) {
                return;
            }
        }
        if (link_fill(link) <= 0) {
            return;
        }
    }
}

void
link_close(struct link *link)
{
    uint8_t bytes[64];
    struct wire_writer writer = {.bytes = bytes, .capacity = sizeof bytes};
    wire_begin_method(&writer, 0, WIRE_CONNECTION_CLOSE);
    wire_put_short(&writer, 200);
    wire_put_shortstr(&writer, "done");
    wire_put_long(&writer, 0);
    wire_end_frame(&writer);
    if (link->input == NULL) {
        link->input = die_calloc(LINK_INPUT_BYTES, 1);
    }
    link_set_blocking(link);
    link_send(link, bytes, writer.length);
    link_await_close_ok(link);
    SSL_free(link->ssl);
    close(link->fd);
    link_release_input(link);
}

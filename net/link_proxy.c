/* SPDX-License-Identifier: Apache-2.0 */
/* The PROXY header in front of a link. It is looked at where it lies, in the socket, until it is
 * whole, and only then taken from there: what follows is for the transport, and not one octet of it
 * may be read here. A header is short and its sender a proxy that the configuration trusts; the
 * deadline of the handshake, which began when the socket was accepted, bounds the rest. */
#include "net/link.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/alloc.h"
#include "net/network_state.h"
#include "net/proxy_header.h"

static void
copy_address(char out[static NET_ADDRESS_SIZE], const char *address)
{
    size_t size = strlen(address) + 1;
    memcpy(out, address, size);
}

_Static_assert((int)PROXY_ADDRESS_TEXT_SIZE <= (int)NET_ADDRESS_SIZE, "an address fits");

/* From here on the link is that of the client, not that of the proxy. False when there are too many
 * strangers from there. */
static bool
take_addresses(struct link *link, const struct proxy_header *header)
{
    if (!header->has_addresses) {
        return listeners_name_source(link->network, link, link->address);
    }
    copy_address(link->peer->address, header->source);
    copy_address(link->peer->local_address, header->destination);
    link->peer->port = header->source_port;
    link->peer->local_port = header->destination_port;
    free(link->address);
    link->address = xstrdup(header->source);
    link->port = header->source_port;
    return listeners_name_source(link->network, link, link->address);
}

/* All of the header has come. */
static void
link_pass_proxy(struct link *link, const struct proxy_header *header, uint8_t *scratch)
{
    ssize_t count = recv(link->fd, scratch, header->size, 0);
    if (count < 0 || (size_t)count != header->size || !take_addresses(link, header)) {
        link_end(link, NET_CLOSE_ERROR);
        return;
    }
    link_begin_handshake(link);
}

static void
refuse(struct link *link, const char *why)
{
    log_limited(link->network->log, LOG_LEVEL_WARN, "link.bad_proxy_header",
                "peer=%s port=%u reason=\"%s\"", link->address, link->port, why);
    link_end(link, NET_CLOSE_ERROR);
}

/* What there is, without taking it. 0: nothing yet; -1: the link is over. */
static ssize_t
peek(struct link *link, uint8_t *out, size_t size)
{
    ssize_t count;
    do {
        count = recv(link->fd, out, size, MSG_PEEK);
    } while (count < 0 && errno == EINTR);
    if (count > 0) {
        return count;
    }
    if (count < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
        return 0;
    }
    /* A proxy that asks whether somebody listens, or whose client has gone. */
    log_debug(link->network->log, "link.closed_before_proxy_header", "peer=%s port=%u",
              link->address, link->port);
    link_end(link, NET_CLOSE_BY_PEER);
    return -1;
}

void
link_read_proxy_header(struct link *link)
{
    UNINITIALIZED uint8_t octets[PROXY_HEADER_MAX];
    ssize_t count = peek(link, octets, sizeof(octets));
    if (count <= 0) {
        return;
    }
    struct proxy_header header;
    const char *why = NULL;
    switch (proxy_header_decode(&header, bytes_make(octets, (size_t)count), &why)) {
    case STATUS_OK:
        link_pass_proxy(link, &header, octets);
        break;
    case STATUS_AGAIN:
        if (link->is_hung_up) {
            refuse(link, "the stream ended within the header");
        }
        break;
    default:
        refuse(link, why);
        break;
    }
}

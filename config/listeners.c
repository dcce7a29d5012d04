/* SPDX-License-Identifier: Apache-2.0 */
/* Listeners: addresses, certificates, and what does not go together. */
#include "config/listeners.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/assert.h"
#include "config/file.h"
#include "config/report.h"

enum { HOST_SIZE = 64, PORT_MAX = 65535, ADDRESSES_MAX = 64, PROXIES_MAX = 64 };

enum tls_need { TLS_NEVER, TLS_MAYBE, TLS_ALWAYS };

static const struct {
    const char *name;
    enum tls_need tls;
    const char *secure; /* the listener to use instead when TLS is wanted */
    bool knows_proxies;
} kinds[LISTENER_KIND_COUNT] = {
    [LISTENER_AMQP] = {"amqp", TLS_NEVER, "amqps", true},
    [LISTENER_AMQPS] = {"amqps", TLS_ALWAYS, NULL, true},
    [LISTENER_HTTP] = {"http", TLS_NEVER, "https", false},
    [LISTENER_HTTPS] = {"https", TLS_ALWAYS, NULL, false},
    [LISTENER_METRICS] = {"metrics", TLS_MAYBE, NULL, false},
};

const char *
config_listener_name(enum config_listener_kind kind)
{
    return kinds[kind].name;
}

/* Addresses ---------------------------------------------------------------------------------- */

static bool
parse_port(const char *text, uint16_t *port_out)
{
    size_t digits = strspn(text, "0123456789");
    if (digits == 0 || digits > 5 || text[digits] != '\0') {
        return false;
    }
    long value = strtol(text, NULL, 10);
    if (value > PORT_MAX) {
        return false;
    }
    *port_out = (uint16_t)value;
    return true;
}

static bool
is_ipv6(const char *host)
{
    struct in6_addr address;
    return inet_pton(AF_INET6, host, &address) == 1;
}

/* An IPv4 address, or a name: letters, digits, hyphens and dots, with a letter somewhere. */
static bool
is_ipv4_or_name(const char *host)
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
    static const char others[] = "0123456789-.";
    struct in_addr address;
    bool has_letter = strpbrk(host, letters) != NULL;
    const char *at = host;
    while (*at != '\0' && (strchr(letters, *at) != NULL || strchr(others, *at) != NULL)) {
        at++;
    }
    return inet_pton(AF_INET, host, &address) == 1 || (has_letter && *at == '\0');
}

bool
config_parse_address(const char *text, char host_out[static 64], uint16_t *port_out,
                     const char **why_out)
{
    const char *colon = strrchr(text, ':');
    bool in_brackets = text[0] == '[';
    if (colon == NULL || (in_brackets && (colon == text || colon[-1] != ']'))) {
        *why_out = "is not ADDR:PORT, such as 127.0.0.1:5672 or [::1]:5672";
        return false;
    }
    const char *start = in_brackets ? text + 1 : text;
    size_t size = (size_t)(colon - start) - (in_brackets ? 1 : 0);
    char host[HOST_SIZE];
    uint16_t port = 0;
    if (size == 0 || size >= sizeof(host)) {
        *why_out = size == 0 ? "has no address in front of the port; 0.0.0.0 is every IPv4 address"
                             : "has an address that is too long";
        return false;
    }
    memcpy(host, start, size);
    host[size] = '\0';
    if (!parse_port(colon + 1, &port)) {
        *why_out = "has no port from 0 to 65535";
        return false;
    }
    if (in_brackets ? !is_ipv6(host) : !is_ipv4_or_name(host)) {
        *why_out = strchr(host, ':') != NULL && !in_brackets
                       ? "needs brackets around an IPv6 address, such as [::1]:5672"
                       : "has no valid address in front of the port";
        return false;
    }
    memcpy(host_out, host, size + 1);
    *port_out = port;
    return true;
}

static bool
is_loopback(const char *host)
{
    struct in_addr v4;
    if (inet_pton(AF_INET, host, &v4) == 1) {
        return (ntohl(v4.s_addr) >> 24) == 127;
    }
    return strcmp(host, "localhost") == 0 || strcmp(host, "::1") == 0;
}

static bool
fill_address(struct config *config, const char *text, struct config_mark mark,
             struct config_address *out, const char **why_out)
{
    char host[HOST_SIZE];
    uint16_t port = 0;
    if (!config_parse_address(text, host, &port, why_out)) {
        return false;
    }
    *out = (struct config_address){
        .text = arena_strdup(&config->arena, text),
        .host = arena_strdup(&config->arena, host),
        .port = port,
        .mark = mark,
    };
    return true;
}

void
listener_set_address(struct config *config, enum config_listener_kind kind, const char *text,
                     struct config_mark mark)
{
    struct config_listener *listener = &config->listeners[kind];
    const char *why = NULL;
    listener->addresses = arena_alloc(&config->arena, sizeof(*listener->addresses));
    listener->enabled = fill_address(config, text, mark, listener->addresses, &why);
    assert(listener->enabled);
    listener->address_count = 1;
    listener->mark = mark;
}

/* Adds one address to the listener, which has room for it. */
static void
compile_address(struct config *config, enum config_listener_kind kind, bool is_plain,
                const struct setting *setting)
{
    struct config_listener *listener = &config->listeners[kind];
    struct config_address *address = &listener->addresses[listener->address_count];
    const char *text = (const char *)setting->value.text.data;
    const char *why = NULL;
    if (!fill_address(config, text, setting->node->mark, address, &why)) {
        report_error(config, setting->node->mark, "\"%.80s\" %s", text, why);
        return;
    }
    listener->address_count++;
    if (is_plain && !is_loopback(address->host)) {
        report_warning(config, setting->node->mark,
                       "%s without TLS on an address other than loopback: passwords and messages "
                       "can be read on the way",
                       kinds[kind].name);
    }
}

static void
compile_addresses(struct config *config, enum config_listener_kind kind,
                  const struct document_listener *from)
{
    const struct setting_list *bind = &from->bind;
    bool is_plain = kinds[kind].tls != TLS_ALWAYS && from->tls.node == NULL;
    struct config_listener *listener = &config->listeners[kind];
    listener->addresses =
        arena_alloc(&config->arena, (bind->count + 1) * sizeof(*listener->addresses));
    for (size_t i = 0; i < bind->count && i < ADDRESSES_MAX; i++) {
        compile_address(config, kind, is_plain, &bind->items[i]);
    }
    if (bind->count > ADDRESSES_MAX) {
        report_error(config, bind->items[ADDRESSES_MAX].node->mark,
                     "\"bind\" has more than %d addresses", ADDRESSES_MAX);
    }
    if (bind->node != NULL && bind->node->count == 0 && bind->node->kind != NODE_SCALAR) {
        report_error(config, bind->node->mark, "\"bind\" is an empty list");
    }
}

/* Two listeners on one address: the second would fail to open. */
static void
check_address(struct config *config, const struct config_address *address)
{
    for (int other = 0; other < LISTENER_KIND_COUNT; other++) {
        const struct config_listener *listener = &config->listeners[other];
        for (size_t i = 0; i < listener->address_count; i++) {
            const struct config_address *earlier = &listener->addresses[i];
            if (earlier == address) {
                return;
            }
            if (address->port != 0 && earlier->port == address->port &&
                strcmp(earlier->host, address->host) == 0) {
                report_error(config, address->mark, "%s is also an address of %s in line %u",
                             address->text, kinds[other].name, earlier->mark.line);
                return;
            }
        }
    }
}

static void
check_addresses(struct config *config)
{
    for (int kind = 0; kind < LISTENER_KIND_COUNT; kind++) {
        const struct config_listener *listener = &config->listeners[kind];
        for (size_t i = 0; i < listener->address_count; i++) {
            check_address(config, &listener->addresses[i]);
        }
    }
}

/* Proxies ------------------------------------------------------------------------------------ */

static void
compile_proxy(struct config *config, struct config_listener *listener,
              const struct setting *setting)
{
    const char *text = (const char *)setting->value.text.data;
    const char *why = NULL;
    if (cidr_parse(text, &listener->proxies[listener->proxy_count], &why)) {
        listener->proxy_count++;
    } else {
        report_error(config, setting->node->mark, "\"%.80s\" %s", text, why);
    }
}

/* An empty list would let nobody in, and nobody means that. */
static void
compile_proxies(struct config *config, enum config_listener_kind kind,
                const struct setting_list *ranges)
{
    struct config_listener *listener = &config->listeners[kind];
    if (ranges->node == NULL) {
        return;
    }
    if (!kinds[kind].knows_proxies) {
        report_error(config, ranges->node->mark,
                     "\"proxy-protocol\" is for amqp and amqps: %s takes no PROXY header",
                     kinds[kind].name);
        return;
    }
    if (ranges->count == 0 && ranges->node->kind != NODE_SCALAR) {
        report_error(config, ranges->node->mark,
                     "\"proxy-protocol\" is an empty list: name the proxies that may connect");
    }
    if (ranges->count > PROXIES_MAX) {
        report_error(config, ranges->items[PROXIES_MAX].node->mark,
                     "\"proxy-protocol\" has more than %d ranges", PROXIES_MAX);
    }
    listener->proxies = arena_alloc(&config->arena, (ranges->count + 1) * sizeof(struct cidr));
    for (size_t i = 0; i < ranges->count && i < PROXIES_MAX; i++) {
        compile_proxy(config, listener, &ranges->items[i]);
    }
}

/* TLS ---------------------------------------------------------------------------------------- */

static const char *
compile_path(struct config *config, const struct setting *setting, enum config_purpose purpose)
{
    if (setting->node == NULL) {
        return NULL;
    }
    struct config_mark mark = setting->node->mark;
    const char *path =
        file_resolve(&config->arena, mark.file, (const char *)setting->value.text.data);
    if (purpose != CONFIG_FOR_APPLY && !file_is_readable(path)) {
        const char *why = strerrordesc_np(errno);
        if (purpose == CONFIG_FOR_SERVE) {
            report_error(config, mark, "cannot read %s: %s", path, why);
        } else {
            report_warning(config, mark, "cannot read %s: %s", path, why);
        }
    }
    return path;
}

static void
check_client_certificates(struct config *config, const struct document_tls *tls,
                          const struct config_tls *out)
{
    if (out->client_cert != CLIENT_CERT_NONE && out->client_ca == NULL) {
        report_error(config, tls->client_cert.node->mark,
                     "asking for client certificates needs \"client-ca\"");
    }
    if (out->client_cert == CLIENT_CERT_NONE && tls->client_ca.node != NULL) {
        report_warning(config, tls->client_ca.node->key_mark,
                       "\"client-ca\" does nothing without \"client-cert: request\" or "
                       "\"require\"");
    }
    if (tls->client_crl.node != NULL && tls->client_ca.node == NULL) {
        report_error(config, tls->client_crl.node->key_mark, "\"client-crl\" needs \"client-ca\"");
    }
}

static const struct config_tls *
compile_tls(struct config *config, const struct document_tls *tls, enum config_purpose purpose)
{
    struct config_tls *out = arena_alloc(&config->arena, sizeof(*out));
    out->certificate = compile_path(config, &tls->certificate, purpose);
    out->key = compile_path(config, &tls->key, purpose);
    out->client_ca = compile_path(config, &tls->client_ca, purpose);
    out->client_crl = compile_path(config, &tls->client_crl, purpose);
    out->ocsp = compile_path(config, &tls->ocsp, purpose);
    out->client_cert = (enum config_client_cert)tls->client_cert.value.integer;
    out->user_from = (enum config_user_from)tls->user_from.value.integer;
    out->min_version =
        tls->min_version.node == NULL ? 0x0303 : (uint16_t)tls->min_version.value.integer;
    if (tls->node != NULL) {
        out->mark = tls->node->mark;
    }
    check_client_certificates(config, tls, out);
    return out;
}

/* Whether the listener may, must or must not have a tls block. */
static void
check_tls_presence(struct config *config, enum config_listener_kind kind,
                   const struct document_listener *listener)
{
    bool has_tls = listener->tls.node != NULL;
    if (kinds[kind].tls == TLS_ALWAYS && !has_tls &&
        node_find(listener->node, bytes_of("tls")) == NULL) {
        report_error(config, listener->node->key_mark,
                     "\"%s\" needs \"tls\" with a certificate and a key", kinds[kind].name);
    }
    if (kinds[kind].tls == TLS_NEVER && has_tls) {
        report_error(config, listener->tls.node->key_mark,
                     "\"%s\" is plain; with TLS it is called \"%s\"", kinds[kind].name,
                     kinds[kind].secure);
    }
}

/* The listener whose block `same-as NAME` means; LISTENER_KIND_COUNT when there is none, which is
 * reported. */
static enum config_listener_kind
find_same_as(struct config *config, const struct document_listeners *listeners,
             const struct choice *tls)
{
    static const char prefix[] = "same-as ";
    size_t size = sizeof(prefix) - 1;
    if (!bytes_starts_with(tls->name, prefix)) {
        report_error(config, tls->node->mark, "\"tls\" takes a map or \"same-as LISTENER\"");
        return LISTENER_KIND_COUNT;
    }
    struct bytes name = bytes_make(tls->name.data + size, tls->name.size - size);
    struct suggestion suggestion = suggestion_for(name);
    for (int kind = 0; kind < LISTENER_KIND_COUNT; kind++) {
        bool has_block = listeners->kinds[kind].tls.record != NULL;
        if (has_block && bytes_equal_text(name, kinds[kind].name)) {
            return (enum config_listener_kind)kind;
        }
        if (has_block) {
            suggestion_offer(&suggestion, bytes_of(kinds[kind].name));
        }
    }
    char guess[SUGGESTION_TEXT_SIZE];
    report_error(config, tls->node->mark, "\"same-as\" names \"%.*s\", which has no tls block%s",
                 BYTES_FORMAT(name), suggestion_text(&suggestion, guess));
    return LISTENER_KIND_COUNT;
}

static void
compile_own_blocks(struct config *config, const struct document_listeners *listeners,
                   enum config_purpose purpose)
{
    for (int kind = 0; kind < LISTENER_KIND_COUNT; kind++) {
        const struct document_listener *listener = &listeners->kinds[kind];
        if (listener->node != NULL) {
            check_tls_presence(config, (enum config_listener_kind)kind, listener);
        }
        if (listener->tls.record != NULL) {
            config->listeners[kind].tls = compile_tls(config, listener->tls.record, purpose);
        }
    }
}

static void
compile_references(struct config *config, const struct document_listeners *listeners)
{
    for (int kind = 0; kind < LISTENER_KIND_COUNT; kind++) {
        const struct choice *tls = &listeners->kinds[kind].tls;
        if (tls->node == NULL || tls->record != NULL) {
            continue;
        }
        enum config_listener_kind same = find_same_as(config, listeners, tls);
        if (same != LISTENER_KIND_COUNT) {
            config->listeners[kind].tls = config->listeners[same].tls;
        }
    }
}

void
listeners_compile(struct config *config, const struct document *document,
                  enum config_purpose purpose)
{
    const struct document_listeners *listeners = &document->listeners;
    for (int kind = 0; kind < LISTENER_KIND_COUNT; kind++) {
        const struct document_listener *listener = &listeners->kinds[kind];
        if (listener->node != NULL) {
            compile_addresses(config, (enum config_listener_kind)kind, listener);
            compile_proxies(config, (enum config_listener_kind)kind, &listener->proxy_protocol);
            config->listeners[kind].enabled = true;
            config->listeners[kind].mark = listener->node->key_mark;
        }
    }
    compile_own_blocks(config, listeners, purpose);
    compile_references(config, listeners);
    check_addresses(config);
}

bool
config_override_listener(struct config *config, enum config_listener_kind kind, const char *text,
                         const char **why_out)
{
    char host[HOST_SIZE];
    uint16_t port = 0;
    if (strcmp(text, "off") == 0) {
        config->listeners[kind].enabled = false;
        config->listeners[kind].address_count = 0;
        return true;
    }
    if (!config_parse_address(text, host, &port, why_out)) {
        return false;
    }
    if (kinds[kind].tls == TLS_ALWAYS && config->listeners[kind].tls == NULL) {
        *why_out = kind == LISTENER_HTTPS ? "needs a certificate: listeners.https.tls in the file"
                                          : "needs a certificate: listeners.amqps.tls in the file";
        return false;
    }
    listener_set_address(config, kind, text, (struct config_mark){.file = CONFIG_COMMAND_LINE});
    return true;
}

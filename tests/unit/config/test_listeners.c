/* SPDX-License-Identifier: Apache-2.0 */
/* Addresses, and what listeners need. */
#include "config/listeners.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>

#include "base/assert.h"
#include "tests/unit/config/reading.h"

Test(listeners, addresses_are_a_host_and_a_port)
{
    static const struct {
        const char *text;
        const char *host; /* NULL: refused */
        uint16_t port;
    } rows[] = {
        {"127.0.0.1:5672", "127.0.0.1", 5672},
        {"0.0.0.0:0", "0.0.0.0", 0},
        {"[::1]:65535", "::1", 65535},
        {"[2001:db8::1]:1", "2001:db8::1", 1},
        {"localhost:5672", "localhost", 5672},
        {"mq-1.example.org:5672", "mq-1.example.org", 5672},
        {"", NULL, 0},
        {"5672", NULL, 0},
        {":5672", NULL, 0},
        {"[]:5672", NULL, 0},
        {"[", NULL, 0},
        {"[:1", NULL, 0},
        {"]:1", NULL, 0},
        {"[::1]", NULL, 0},
        {"::1:5672", NULL, 0},
        {"[127.0.0.1]:1", NULL, 0},
        {"127.0.0.1:", NULL, 0},
        {"127.0.0.1:65536", NULL, 0},
        {"127.0.0.1:-1", NULL, 0},
        {"127.0.0.1:1x", NULL, 0},
        {"127.0.0.1:000001", NULL, 0},
        {"127.0.0.256:1", NULL, 0},
        {"a b:1", NULL, 0},
        {"*:1", NULL, 0},
        {"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa:1", NULL, 0},
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char host[64] = "untouched";
        uint16_t port = 7;
        const char *why = NULL;
        bool accepted = config_parse_address(rows[i].text, host, &port, &why);
        cr_expect(eq(int, accepted, rows[i].host != NULL), "%s", rows[i].text);
        cr_expect(eq(str, host, (char *)(accepted ? rows[i].host : "untouched")));
        cr_expect(eq(u16, port, accepted ? rows[i].port : 7));
        cr_expect(eq(int, why == NULL, accepted), "%s", rows[i].text);
    }
}

Test(listeners, what_does_not_go_together_is_told)
{
    static const struct {
        const char *listeners;
        const char *report;
    } rows[] = {
        {"{amqp: {bind: \"[::1]:5672\"}}", ""},
        {"{amqp: {bind: [\"127.0.0.1:0\", \"127.0.0.2:0\", \"127.0.0.1:0\"]}}", ""},
        {"{amqp: {}}", "3:19: error: \"bind\" is missing in listener\n"},
        {"{amqp: {bind: []}}", "3:26: error: \"bind\" is an empty list\n"},
        {"{amqp: {bind: 5672}}",
         "3:26: error: \"5672\" is not ADDR:PORT, such as 127.0.0.1:5672 or [::1]:5672\n"},
        {"{amqp: {bind: \"::1:5672\"}}",
         "3:26: error: \"::1:5672\" needs brackets around an IPv6 address, such as [::1]:5672\n"},
        {"{amqp: {bind: \"0.0.0.0:5672\"}}",
         "3:26: warning: amqp without TLS on an address other than loopback: passwords and "
         "messages can be read on the way\n"},
        {"{ampq: {bind: \"127.0.0.1:1\"}}",
         "3:13: error: unknown key \"ampq\" in listeners (did you mean \"amqp\"?)\n"},
        {"{amqps: {bind: \"0.0.0.0:5671\"}}",
         "3:13: error: \"amqps\" needs \"tls\" with a certificate and a key\n"},
        {"{amqps: {bind: \"0.0.0.0:5671\", tls: {certificate: /dev/null}}}",
         "3:48: error: \"key\" is missing in tls\n"},
        {"{amqps: {bind: \"0.0.0.0:5671\", tls: {certificate: /dev/null, key: /dev/null, "
         "client-cert: require}}}",
         "3:102: error: asking for client certificates needs \"client-ca\"\n"},
        {"{amqps: {bind: \"0.0.0.0:5671\", tls: {certificate: /dev/null, key: /dev/null, "
         "client-ca: /dev/null}}}",
         "3:89: warning: \"client-ca\" does nothing without \"client-cert: request\" or "
         "\"require\"\n"},
        {"{amqps: {bind: \"0.0.0.0:5671\", tls: {certificate: /dev/null, key: /dev/null, "
         "min-version: \"1.1\"}}}",
         "3:102: error: \"min-version\" takes 1.2 or 1.3, not \"1.1\" (did you mean \"1.2\"?)\n"},
        {"{amqp: {bind: \"127.0.0.1:1\", tls: {certificate: /dev/null, key: /dev/null}}}",
         "3:41: error: \"amqp\" is plain; with TLS it is called \"amqps\"\n"},
        {"{amqps: {bind: \"0.0.0.0:1\", tls: same-as http}}",
         "3:45: error: \"same-as\" names \"http\", which has no tls block\n"},
        {"{amqps: {bind: \"0.0.0.0:1\", tls: amqp}}",
         "3:45: error: \"tls\" takes a map or \"same-as LISTENER\"\n"},
        {"{amqp: {bind: [\"127.0.0.1:1\", \"127.0.0.1:1\"]}}",
         "3:42: error: 127.0.0.1:1 is also an address of amqp in line 3\n"},
        {"{amqp: {bind: \"127.0.0.1:1\", proxy-protocol: [10.0.0.0/8, \"fd00::/8\"]}}", ""},
        {"{amqp: {bind: \"127.0.0.1:1\", proxy-protocol: 192.0.2.7}}", ""},
        {"{amqp: {bind: \"127.0.0.1:1\", proxy-protocol: [10.0.0.1/8, load-balancer]}}",
         "3:58: error: \"10.0.0.1/8\" has bits set behind its prefix: write the first address of "
         "the range\n"
         "3:70: error: \"load-balancer\" is no range of addresses, such as 10.0.0.0/8 or "
         "fd00::/8\n"},
        {"{amqp: {bind: \"127.0.0.1:1\", proxy-protocol: []}}",
         "3:57: error: \"proxy-protocol\" is an empty list: name the proxies that may connect\n"},
        {"{metrics: {bind: \"127.0.0.1:1\", proxy-protocol: 10.0.0.0/8}}",
         "3:60: error: \"proxy-protocol\" is for amqp and amqps: metrics takes no PROXY header\n"},
        {"{metrics: {bind: \"0.0.0.0:1\"}}",
         "3:29: warning: metrics without TLS on an address other than loopback: passwords and "
         "messages can be read on the way\n"},
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct buffer text;
        struct buffer report;
        buffer_init(&text);
        buffer_printf(&text, READING_HEAD "listeners: %s\n", rows[i].listeners);
        buffer_put_u8(&text, 0);
        struct config *config =
            reading_of((const char *)buffer_bytes(&text).data, CONFIG_FOR_CHECK);
        cr_expect(eq(str, (char *)reading_report(config, false, &report), (char *)rows[i].report),
                  "%s", rows[i].listeners);
        buffer_fini(&text);
        buffer_fini(&report);
        config_free(&config);
    }
}

Test(listeners, proxies_are_ranges_of_addresses)
{
    struct config *config = reading_of(
        READING_HEAD "listeners: {amqp: {bind: \"127.0.0.1:1\", proxy-protocol: [10.0.0.0/8, "
                     "\"fd00::1\"]}}\n",
        CONFIG_FOR_CHECK);
    const struct config_listener *amqp = &config->listeners[LISTENER_AMQP];
    cr_assert(eq(sz, amqp->proxy_count, 2));
    cr_expect(eq(u8, amqp->proxies[0].prefix_bits, 96 + 8));
    cr_expect(eq(u8, amqp->proxies[1].prefix_bits, 128));
    cr_expect(eq(ptr, config->listeners[LISTENER_AMQPS].proxies, NULL), "everybody connects");
    config_free(&config);
}

Test(listeners, the_command_line_replaces_addresses_but_brings_no_certificate)
{
    struct config *config =
        reading_of(READING_HEAD "listeners: {amqp: {bind: [\"127.0.0.1:1\", \"127.0.0.1:2\"]}}\n",
                   CONFIG_FOR_CHECK);
    const char *why = NULL;
    cr_assert(config_override_listener(config, LISTENER_AMQP, "[::1]:0", &why));
    cr_expect(eq(sz, config->listeners[LISTENER_AMQP].address_count, 1));
    cr_expect(eq(str, (char *)config->listeners[LISTENER_AMQP].addresses[0].host, "::1"));
    cr_expect(not(config_override_listener(config, LISTENER_AMQP, "nonsense", &why)));
    cr_expect(not(config_override_listener(config, LISTENER_AMQPS, "127.0.0.1:0", &why)));
    cr_expect(eq(str, (char *)why, "needs a certificate: listeners.amqps.tls in the file"));
    cr_expect(not(config->listeners[LISTENER_AMQPS].enabled));
    config_free(&config);
}

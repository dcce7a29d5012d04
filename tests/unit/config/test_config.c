/* SPDX-License-Identifier: Apache-2.0 */
/* Whole files: the example, every kind of error with its place and text, several files, and files
 * that were damaged at random. */
#include "config/config.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/random.h"
#include "tests/unit/config/reading.h"

/* An order processing shop that uses most of the schema. */
static const char shop[] =
    "bourse: 1                                  # schema version\n"
    "vhost: shop\n"
    "defaults: {queue: {durable: true, limits: {max-bytes: 2GiB, on-full: reject}}}\n"
    "\n"
    "exchanges:\n"
    "  orders:        {type: topic, unrouted: orders.lost}      # alternate exchange\n"
    "  order-events:  {type: fanout, from: [{exchange: orders, key: \"order.*.placed\"}]}\n"
    "  orders.lost:   {type: fanout}\n"
    "  dead:          {type: topic}\n"
    "\n"
    "retry:\n"
    "  gentle: {first: 2s, factor: 2, max: 5m, jitter: 20%, attempts: 6, then: dead}\n"
    "  strict: {first: 500ms, factor: 3, max: 30s, jitter: full, attempts: 3, then: dead}\n"
    "\n"
    "queues:\n"
    "  billing:\n"
    "    from: [{exchange: orders, key: \"order.eu.placed\"}, {exchange: orders, key: "
    "\"order.us.placed\"}]\n"
    "    retry: gentle\n"
    "    ack-timeout: 5m\n"
    "  warehouse:\n"
    "    from: [{exchange: orders, key: \"order.#\"}]\n"
    "    retry: strict\n"
    "    consumers: {single-active: true}\n"
    "  mail:\n"
    "    from: [{exchange: order-events}]\n"
    "    retry: gentle\n"
    "    ttl: 24h\n"
    "  analytics:\n"
    "    from: [{exchange: order-events}]\n"
    "    limits: {max-length: 1000000, on-full: drop-oldest}\n"
    "  orders.unrouted:\n"
    "    from: [{exchange: orders.lost}]\n"
    "    alert: {ready-above: 0}\n"
    "  dlq:\n"
    "    from: [{exchange: dead, key: \"#\"}]\n"
    "    ttl: 14d\n"
    "    alert: {ready-above: 10, oldest-above: 1h}\n"
    "\n"
    "users:\n"
    "  checkout:   {auth: cert, publish: [orders], topics: {orders: [\"order.*.placed\"]}}\n"
    "  billing:    {auth: cert, consume: [billing], publish: [orders], topics: {orders: "
    "[\"order.*.paid\"]}}\n"
    "  warehouse:  {auth: cert, consume: [warehouse], publish: [orders]}\n"
    "  mailer:     {auth: password, password-file: secrets/mailer, consume: [mail]}\n"
    "  bi:         {auth: password, password-hash: "
    "\"$scrypt$ln=14,r=8,p=5$by0cmnvgTVOIofDD0rTmlw$W3XcNLnYycFc7mvTDAfEeTIQg3cEkjCBXBTn2vJ61Lw\","
    " consume: [analytics]}\n"
    "  oncall:     {auth: password, password-env: ONCALL_PW, role: operator, consume: [dlq]}\n"
    "\n"
    "listeners:\n"
    "  amqps:\n"
    "    bind: \"0.0.0.0:5671\"\n"
    "    tls:\n"
    "      certificate: /nowhere/server.pem\n"
    "      key: /nowhere/server.key\n"
    "      client-ca: /nowhere/services-ca.pem\n"
    "      client-cert: request\n"
    "      user-from: san-uri                     # spiffe://shop/billing -> billing\n"
    "      min-version: \"1.2\"\n"
    "  https: {bind: \"127.0.0.1:15671\", tls: same-as amqps}\n"
    "  amqp:  {bind: \"127.0.0.1:5672\"}            # plain only on loopback\n"
    "  metrics: {bind: \"127.0.0.1:15692\"}\n"
    "\n"
    "protect: [billing, warehouse, dlq]\n";

Test(config, the_shop_compiles_to_exchanges_queues_bindings_and_users)
{
    struct config *config = reading_of(shop, CONFIG_FOR_CHECK);
    cr_expect(eq(sz, config->report.error_count, 0));
    cr_expect(bytes_equal_text(config->vhost, "shop"));
    cr_expect(eq(sz, config->exchange_count, 4));
    cr_expect(eq(sz, config->queue_count, 6));
    cr_expect(eq(sz, config->binding_count, 8));
    cr_assert(eq(sz, config->user_count, 6));
    cr_expect(bytes_equal_text(config->bindings[0].destination, "order-events"));
    cr_expect(config->bindings[0].to_exchange);
    cr_expect(not(config->bindings[1].to_exchange));
    cr_expect(config->listeners[LISTENER_AMQPS].enabled);
    cr_expect(not(config->listeners[LISTENER_HTTP].enabled));
    cr_expect(eq(ptr, (void *)config->listeners[LISTENER_HTTPS].tls,
                 (void *)config->listeners[LISTENER_AMQPS].tls));
    cr_expect(eq(str, (char *)config->users[5].password, "secret of a variable"));
    config_free(&config);
    cr_expect(eq(ptr, config, NULL));
}

/* Where `check` warns, because files of another machine are not here, `serve` must not start. */
Test(config, files_that_cannot_be_read_are_warnings_to_check_and_errors_to_serve)
{
    static const char *const places[] = {"43:47", "51:20", "52:12", "53:18"};
    struct config *check = reading_of(shop, CONFIG_FOR_CHECK);
    struct config *serve = reading_of(shop, CONFIG_FOR_SERVE);
    struct buffer warnings;
    struct buffer errors;
    const char *checked = reading_report(check, false, &warnings);
    const char *served = reading_report(serve, false, &errors);
    cr_expect(eq(sz, serve->report.error_count, 4));

    for (size_t i = 0; i < ARRAY_LEN(places); i++) {
        char warning[64];
        char error[64];
        snprintf(warning, sizeof(warning), "%s: warning: cannot read ", places[i]);
        snprintf(error, sizeof(error), "%s: error: cannot read ", places[i]);
        cr_expect(ne(ptr, strstr(checked, warning), NULL), "%s in %s", warning, checked);
        cr_expect(ne(ptr, strstr(served, error), NULL), "%s in %s", error, served);
    }
    buffer_fini(&warnings);
    buffer_fini(&errors);
    config_free(&check);
    config_free(&serve);
}

/* Nothing is ignored silently: what a later version will do is said today, line by line. */
Test(config, keys_whose_effect_comes_later_are_warnings_with_their_line)
{
    static const char expected[] =
        "39:1: warning: no user has \"role: admin\"\n"
        "43:47: warning: cannot read secrets/mailer: No such file or directory\n"
        "51:20: warning: cannot read /nowhere/server.pem: No such file or directory\n"
        "52:12: warning: cannot read /nowhere/server.key: No such file or directory\n"
        "53:18: warning: cannot read /nowhere/services-ca.pem: No such file or directory\n";
    struct config *config = reading_of(shop, CONFIG_FOR_CHECK);
    struct buffer text;
    cr_expect(eq(str, (char *)reading_report(config, true, &text), (char *)expected));
    buffer_fini(&text);
    config_free(&config);
}

/* Each text follows two good lines; what is expected is the whole report. */
struct row {
    const char *text;
    const char *report;
};

static void
expect_rows(const struct row *rows, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        struct buffer whole;
        struct buffer report;
        buffer_init(&whole);
        buffer_printf(&whole, "%s%s", READING_HEAD, rows[i].text);
        buffer_put_u8(&whole, 0);
        struct config *config =
            reading_of((const char *)buffer_bytes(&whole).data, CONFIG_FOR_CHECK);
        const char *text = reading_report(config, false, &report);
        cr_expect(eq(str, (char *)text, (char *)rows[i].report), "%s", rows[i].text);
        buffer_fini(&whole);
        buffer_fini(&report);
        config_free(&config);
    }
}

Test(config, keys_and_kinds_are_checked)
{
    static const struct row rows[] = {
        {"", ""},
        {"vhosts: x\n",
         "3:1: error: unknown key \"vhosts\" in the file; a file is of one: \"vhost: NAME\"\n"},
        {"zzz: x\n", "3:1: error: unknown key \"zzz\" in the file\n"},
        {"vhost: [x]\n", "3:8: error: \"vhost\" takes a single value, not a list\n"},
        {"vhost:\n", "3:7: error: \"vhost\" has no value\n"},
        {"queues: [a]\n", "3:9: error: \"queues\" takes a map from names, not a list; such as "
                          "{billing: {ttl: 1h}}\n"},
        {"queues: x\n",
         "3:9: error: \"queues\" takes a map from names, not text; such as {billing: {ttl: 1h}}\n"},
        {"queues: {q: x}\n", "3:13: error: queue is a map, not text\n"},
        {"queues: {q: , r: ~, s: {}}\n", ""},
        {"queues: {q: {durabel: true}}\n",
         "3:14: error: unknown key \"durabel\" in queue (did you mean \"durable\"?)\n"},
        {"queues: {q: {durable: yes}}\n",
         "3:23: error: \"durable\" takes true or false, not \"yes\"; write true\n"},
        {"queues: {q: {type: stream}}\n",
         "3:20: error: \"type\" takes classic or quorum, not \"stream\"\n"},
        {"queues: {q: {from: {exchange: amq.topic}}}\n",
         "3:20: error: \"from\" takes a list, not a map; such as [{exchange: orders, key: "
         "order.eu}]\n"},
        {"queues: {q: {from: [{key: x}]}}\n", "3:21: error: \"exchange\" is missing in binding\n"},
        {"queues: {q: {from: [amq.topic]}}\n",
         "3:21: error: binding is a map, not text; such as {exchange: orders, key: order.eu}\n"},
        {"queues: {q: {retry: []}}\n",
         "3:21: error: \"retry\" takes a name or a map, not a list\n"},
        {"queues: {q: {arguments: 5}}\n", "3:25: error: \"arguments\" takes a map, not text\n"},
        {"queues: {q: {ttl: 60}}\n",
         "3:19: error: \"ttl\" needs a unit: 60ms, 60s, m, h, d or w\n"},
        {"queues: {q: {limits: {max-length: 10KiB}}}\n",
         "3:35: error: \"max-length\" takes a whole number without quotes or unit, not "
         "\"10KiB\"\n"},
        {"queues: {q: {priorities: 256}}\n", "3:26: error: \"priorities\" is between 1 and 255\n"},
        {"queues: {\"\": {}}\n", "3:10: error: the name of a queue is empty\n"},
        {"queues: {\"a\\nb\": {}}\n",
         "3:10: error: the name of a queue contains a control character\n"},
        {"server: {threads: 0}\n", "3:19: error: \"threads\" is between 1 and 64\n"},
        {"server: {memory: 40}\n",
         "3:18: error: \"memory\" needs a unit: 40B, KiB, MiB, GiB, TiB, KB, MB, GB or TB\n"},
        {"server: {frame-max: 1KiB}\n", "3:21: error: \"frame-max\" is between 4KiB and 16MiB\n"},
        {"server: {max-message-size: 1GiB}\n",
         "3:28: error: \"max-message-size\" is between 1B and 512MiB\n"},
        {"server: {max-message-size: 64MiB}\n",
         "3:28: error: a message of \"max-message-size\" with properties of \"frame-max\" does "
         "not fit into \"segment-size\"\n"},
        {"server: {max-message-size: 65400KiB}\n", ""},
        {"server: {max-message-size: 65401KiB}\n",
         "3:28: error: a message of \"max-message-size\" with properties of \"frame-max\" does "
         "not fit into \"segment-size\"\n"},
        {"server: {segment-size: 64KiB, max-message-size: 40KiB, frame-max: 16KiB}\n", ""},
        {"server: {segment-size: 64KiB, max-message-size: 40KiB, frame-max: 17KiB}\n",
         "3:49: error: a message of \"max-message-size\" with properties of \"frame-max\" does "
         "not fit into \"segment-size\"\n"},
        {"server: {segment-size: 1MiB}\n",
         "3:24: error: a message of \"max-message-size\" with properties of \"frame-max\" does "
         "not fit into \"segment-size\"\n"},
        {"server: {data-dir: d, disk-free: 5%, segment-size: 128MiB}\n", ""},
        {"server: {heartbeat: 1500ms}\n",
         "3:21: error: \"heartbeat\" is a whole number of seconds\n"},
        {"server: {log: {level: warning}}\n",
         "3:23: error: \"level\" takes error, warn, info or debug, not \"warning\"; here "
         "it is called warn\n"},
        {"limits: {max-queues: 1}\nqueues: {a: {}, b: {}}\n",
         "3:22: error: \"max-queues\" is less than the 2 queues that are declared\n"},
        {"limits: {max-queues: -1}\n", "3:22: error: \"max-queues\" is at least 0\n"},
        {"policies: {p: {definition: {ttl: 5}}}\n",
         "3:15: error: \"pattern\" is missing in policy\n"},
        {"policies: {p: {pattern: x, definition: 5}}\n",
         "3:40: error: \"definition\" takes a map, not text\n"},
    };
    expect_rows(rows, ARRAY_LEN(rows));
}

Test(config, references_and_names_are_checked)
{
    static const struct row rows[] = {
        {"exchanges: {orders: {}}\nqueues: {q: {from: [{exchange: order}]}}\n",
         "4:32: error: \"from\" names the exchange \"order\", which is not declared (did you mean "
         "\"orders\"?)\n"},
        {"exchanges: {a: {from: [{exchange: \"\"}]}}\n", "3:35: error: \"exchange\" is empty\n"},
        {"exchanges: {a: {unrouted: nope}}\n",
         "3:27: error: \"unrouted\" names the exchange \"nope\", which is not declared\n"},
        {"exchanges: {amq.mine: {}}\n",
         "3:13: error: the name of the exchange \"amq.mine\" begins with \"amq.\", which is "
         "reserved\n"},
        {"queues: {amq.gen-x: {}}\n",
         "3:10: error: the name of the queue \"amq.gen-x\" begins with \"amq.\", which is "
         "reserved\n"},
        {"queues: {q: {dead-letter: {exchange: nope}}}\n",
         "3:38: error: \"dead-letter.exchange\" names the exchange \"nope\", which is not "
         "declared\n"},
        {"queues: {q: {dead-letter: {exchange: \"\", key: other}}}\n", ""},
        {"queues: {q: {dead-letter: {key: other}}}\n",
         "3:33: error: \"dead-letter.key\" needs \"dead-letter.exchange\"\n"},
        {"queues: {q: {limits: {max-length: 5, on-full: dead-letter}}}\n",
         "3:47: error: \"on-full: dead-letter\" needs \"dead-letter\" or a retry with \"then\"\n"},
        {"retry: {soft: {first: 1s}}\nqueues: {q: {retry: sofd}}\n",
         "4:21: error: \"retry\" names \"sofd\", which is not declared (did you mean \"soft\"?)\n"},
        {"retry: {soft: {first: 1s, then: nope}}\n",
         "3:33: error: \"then\" names the exchange \"nope\", which is not declared\n"},
        {"retry: {soft: {factor: 2}}\n", "3:15: error: \"first\" is missing in retry\n"},
        {"retry: {soft: {first: 10s, max: 1s}}\n", "3:33: error: \"max\" is less than \"first\"\n"},
        {"retry: {soft: {first: 1s, counts: [nack, lots]}}\n",
         "3:42: error: \"counts\" takes nack, reject, lost or timeout, not \"lots\" (did you mean "
         "\"lost\"?)\n"},
        {"queues: {q: {retry: {first: 1s}}}\n",
         "3:21: warning: queue \"q\" retries, but has neither \"then\" nor \"dead-letter\" for "
         "messages that fail for good: they stay in its quarantine\n"},
        {"exchanges: {a: {}, b: {}}\nqueues: {q: {retry: {first: 1s, then: a}, dead-letter: "
         "{exchange: b}}}\n",
         "4:67: warning: messages that fail for good go to \"b\" and not to the \"then\" of the "
         "retry, \"a\"\n"},
        {"queues: {q: {ttl: 5s, arguments: {x-message-ttl: 5}}}\n",
         "3:35: error: \"x-message-ttl\" says the same as \"ttl\"; keep one\n"},
        {"protect: [q]\nqueues: {qq: {}}\n",
         "3:11: error: \"protect\" names \"q\", which is neither a queue nor an exchange (did you "
         "mean \"qq\"?)\n"},
        {"exchanges:\n  a: {from: [{exchange: b}]}\n  b: {from: [{exchange: c}]}\n"
         "  c: {unrouted: a}\n",
         ""},
        {"exchanges:\n  a: {unrouted: c, from: [{exchange: b}]}\n"
         "  b: {from: [{exchange: c}]}\n  c: {}\n",
         "4:27: warning: exchanges in a circle: \"a\" -> \"c\" -> \"b\" -> \"a\"\n"},
        {"exchanges: {a: {from: [{exchange: a}]}}\n",
         "3:24: warning: exchanges in a circle: \"a\" -> \"a\"\n"},
    };
    expect_rows(rows, ARRAY_LEN(rows));
}

Test(config, users_are_checked)
{
    static const struct row rows[] = {
        {"users: {}\n", "3:1: error: \"users\" is given twice; the first is in line 2\n"},
    };
    static const struct {
        const char *user;
        const char *report; /* from the column of `user` in line 3 on */
    } users[] = {
        {"{}", "3:6: error: \"auth\" is missing in user\n"},
        {"{auth: none}", "3:13: error: \"auth\" takes password or cert, not \"none\"\n"},
        {"{auth: password}",
         "3:13: error: \"auth: password\" needs exactly one of password-file, password-env and "
         "password-hash\n"},
        {"{auth: password, password-env: ROOT_PW, password-file: f}",
         "3:13: error: \"auth: password\" needs exactly one of password-file, password-env and "
         "password-hash\n"},
        {"{auth: cert, password-env: ROOT_PW}",
         "3:13: error: \"auth: cert\" has no password; a user logs in one way or the other\n"
         "3:13: warning: \"u\" cannot log in: no amqps listener asks for client certificates\n"},
        {"{auth: password, password-env: NOT_SET}",
         "3:37: warning: the environment variable NOT_SET: not set\n"},
        {"{auth: password, password-env: EMPTY}",
         "3:37: error: the password of \"password-env\" is empty\n"},
        {"{auth: password, password-hash: secret}",
         "3:38: error: \"password-hash\" is neither $scrypt$ln=...,r=...,p=...$SALT$HASH nor "
         "RabbitMQ's base64 form\n"},
        {"{auth: password, password-env: ROOT_PW, role: root}",
         "3:52: error: \"role\" takes none, monitor, operator or admin, not \"root\"\n"},
        {"{auth: password, password-env: ROOT_PW, publish: [ordres]}",
         "3:56: error: \"publish\" names the exchange \"ordres\", which is not declared (did you "
         "mean \"orders\"?)\n"},
        {"{auth: password, password-env: ROOT_PW, publish: [amq.default, amq.topic, ord*]}", ""},
        {"{auth: password, password-env: ROOT_PW, publish: [nope*]}",
         "3:56: warning: \"publish\" names \"nope*\", which nothing begins with\n"},
        {"{auth: password, password-env: ROOT_PW, consume: ['*']}",
         "3:56: warning: \"consume: *\" grants everything\n"},
        {"{auth: password, password-env: ROOT_PW, consume: [orders]}",
         "3:56: error: \"consume\" names the queue \"orders\", which is not declared\n"},
        {"{auth: password, password-env: ROOT_PW, rights: {write: '.*'}}",
         "3:62: warning: \"write: .*\" grants everything\n"},
        {"{auth: password, password-env: ROOT_PW, rights: {read: ^q$}, consume: [q]}",
         "3:46: error: \"rights\" stands instead of \"publish\" and \"consume\", not beside "
         "them\n"},
        {"{auth: password, password-env: ROOT_PW, publish: [orders], topics: {nope: [a]}}",
         "3:74: error: \"topics\" names the exchange \"nope\", which is not declared\n"},
        {"{auth: password, password-env: ROOT_PW, publish: [plain], topics: {plain: [a]}}",
         "3:73: error: \"topics\" names \"plain\", which is no topic exchange: its keys cannot be "
         "narrowed\n"},
        {"{auth: password, password-env: ROOT_PW, topics: {orders: [a]}}",
         "3:55: error: \"topics\" narrows \"orders\", which is not in \"publish\"\n"},
        {"{auth: password, password-env: ROOT_PW, publish: [orders], topics: {orders: []}}",
         "3:74: error: \"topics\" has no pattern for \"orders\"\n"},
        {"{auth: password, password-env: ROOT_PW, limits: {max-queues: 1}}",
         "3:55: error: unknown key \"max-queues\" in limits\n"},
    };

    expect_rows(rows, ARRAY_LEN(rows));
    for (size_t i = 0; i < ARRAY_LEN(users); i++) {
        struct buffer whole;
        struct buffer report;
        buffer_init(&whole);
        buffer_printf(&whole,
                      "bourse: 1\nusers:\n  u: %s\n  root: {auth: password, password-env: ROOT_PW, "
                      "role: admin}\nqueues: {q: {}}\nexchanges: {orders: {type: topic}, plain: "
                      "{}}\n",
                      users[i].user);
        buffer_put_u8(&whole, 0);
        struct config *config =
            reading_of((const char *)buffer_bytes(&whole).data, CONFIG_FOR_CHECK);
        const char *text = reading_report(config, false, &report);
        cr_expect(eq(str, (char *)text, (char *)users[i].report), "%s", users[i].user);
        buffer_fini(&whole);
        buffer_fini(&report);
        config_free(&config);
    }
}

/* T20: with a file there is no guest, and somebody should be able to administer. */
Test(config, a_file_without_an_administrator_is_a_warning)
{
    struct config *config = reading_of("bourse: 1\n", CONFIG_FOR_CHECK);
    struct buffer report;
    cr_expect(eq(str, (char *)reading_report(config, true, &report),
                 "1:1: warning: no user has \"role: admin\"\n"));
    cr_expect(eq(sz, config->user_count, 0));
    buffer_fini(&report);
    config_free(&config);
}

Test(config, the_schema_version_is_required_and_known)
{
    static const struct {
        const char *text;
        const char *report;
    } rows[] = {
        {"vhost: x\n",
         "1:1: error: \"bourse\" is missing in the file; it starts with \"bourse: 1\"\n"
         "1:1: warning: no user has \"role: admin\"\n"},
        {"bourse: 2\n", "1:1: warning: no user has \"role: admin\"\n"
                        "1:9: error: \"bourse\" is 1: this version knows no other\n"},
        {"[]\n", "1:1: error: the file is a map, not a list\n"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct config *config = reading_of(rows[i].text, CONFIG_FOR_CHECK);
        struct buffer report;
        const char *text = reading_report(config, true, &report);
        cr_expect(eq(str, (char *)text, (char *)rows[i].report));
        buffer_fini(&report);
        config_free(&config);
    }
}

Test(config, defaults_are_merged_key_by_key)
{
    struct config *config = reading_of(
        READING_HEAD
        "defaults: {exchange: {durable: false, type: topic}, queue: {durable: false, "
        "limits: {max-bytes: 1KiB}, arguments: {a: 1, b: 2}}}\n"
        "exchanges: {x: {}, y: {type: fanout}}\n"
        "queues: {p: {}, q: {durable: true, limits: {max-length: 5}, arguments: {b: 3}}}\n",
        CONFIG_FOR_CHECK);
    static const char p_arguments[] = "\x12x-max-length-bytesl\0\0\0\0\0\0\4\0"
                                      "\x0ax-overflowS\0\0\0\x0ereject-publish"
                                      "\1al\0\0\0\0\0\0\0\1\1bl\0\0\0\0\0\0\0\2";
    static const char q_arguments[] = "\x0cx-max-lengthl\0\0\0\0\0\0\0\5"
                                      "\x12x-max-length-bytesl\0\0\0\0\0\0\4\0"
                                      "\x0ax-overflowS\0\0\0\x0ereject-publish"
                                      "\1bl\0\0\0\0\0\0\0\3\1al\0\0\0\0\0\0\0\1";
    cr_assert(eq(sz, config->report.error_count, 0));
    cr_expect(not(config->exchanges[0].durable));
    cr_expect(eq(str, (char *)config->exchanges[0].type, "topic"));
    cr_expect(eq(str, (char *)config->exchanges[1].type, "fanout"));
    cr_expect(not(config->queues[0].durable));
    cr_expect(config->queues[1].durable);
    cr_expect(
        bytes_equal(config->queues[0].arguments, bytes_make(p_arguments, sizeof(p_arguments) - 1)));
    cr_expect(
        bytes_equal(config->queues[1].arguments, bytes_make(q_arguments, sizeof(q_arguments) - 1)));
    config_free(&config);
}

Test(config, server_settings_have_their_defaults_and_take_the_files_values)
{
    struct config *plain = reading_of(READING_HEAD, CONFIG_FOR_CHECK);
    cr_expect(eq(u32, plain->server.memory_percent, 40));
    cr_expect(eq(u64, plain->server.message_bytes_max, 16777216));
    cr_expect(eq(u32, plain->server.frame_max, 131072));
    cr_expect(eq(u16, plain->server.channel_max, 2047));
    cr_expect(eq(u16, plain->server.heartbeat_s, 60));
    cr_expect(eq(i64, plain->connections_max, -1));
    config_free(&plain);

    struct config *given = reading_of(
        READING_HEAD "server: {memory: 64MiB, frame-max: 64KiB, channel-max: 10, heartbeat: 2m,\n"
                     "  max-message-size: 1MiB, log: {level: debug, format: json}}\n"
                     "limits: {max-connections: 5, max-queues: 0}\n",
        CONFIG_FOR_SERVE);
    cr_assert(eq(sz, given->report.count, 0));
    cr_expect(eq(u64, given->server.memory_bytes, 67108864));
    cr_expect(eq(u32, given->server.memory_percent, 0));
    cr_expect(eq(u32, given->server.frame_max, 65536));
    cr_expect(eq(u16, given->server.channel_max, 10));
    cr_expect(eq(u16, given->server.heartbeat_s, 120));
    cr_expect(eq(u64, given->server.message_bytes_max, 1048576));
    cr_expect(eq(int, given->server.log_level, LOG_LEVEL_DEBUG));
    cr_expect(eq(int, given->server.log_format, LOG_FORMAT_JSON));
    cr_expect(eq(i64, given->connections_max, 5));
    cr_expect(eq(i64, given->queues_max, 0));
    config_free(&given);
}

Test(config, without_a_file_guest_comes_from_loopback_only)
{
    struct config *config = config_new_development();
    cr_expect(config->is_development);
    cr_assert(eq(sz, config->user_count, 1));
    cr_expect(config->users[0].loopback_only);
    cr_expect(
        eq(str, (char *)config->listeners[LISTENER_AMQP].addresses[0].text, "127.0.0.1:5672"));
    cr_expect(not(config->listeners[LISTENER_AMQPS].enabled));
    config_free(&config);
}

/* Several files ------------------------------------------------------------------------------ */

/* A folder with the given files; what is made in it goes with the test's process. */
struct folder {
    char path[64];
};

static void
folder_put(const struct folder *folder, const char *name, const char *text, mode_t mode,
           char path_out[static 128])
{
    snprintf(path_out, 128, "%s/%s", folder->path, name);
    int fd = open(path_out, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    cr_assert(ge(int, fd, 0));
    cr_assert(eq(i64, write(fd, text, strlen(text)), (ssize_t)strlen(text)));
    cr_assert(eq(int, fchmod(fd, mode), 0));
    close(fd);
}

static void
folder_make(struct folder *folder)
{
    snprintf(folder->path, sizeof(folder->path), "/tmp/bourse-config-XXXXXX");
    cr_assert(ne(ptr, mkdtemp(folder->path), NULL));
}

static void
folder_remove(const struct folder *folder, const char *const *names, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        char path[128];
        snprintf(path, sizeof(path), "%s/%s", folder->path, names[i]);
        cr_expect(eq(int, unlink(path), 0));
    }
    cr_expect(eq(int, rmdir(folder->path), 0));
}

Test(config, files_merge_and_an_object_in_two_of_them_is_an_error)
{
    static const char *const names[] = {"a", "b"};
    struct config_environment environment = {.get_variable = reading_variable};
    struct folder folder;
    char a[128];
    char b[128];
    char expected[2048];
    struct buffer report;
    folder_make(&folder);
    folder_put(&folder, "a",
               READING_HEAD "vhost: shop\nserver: {frame-max: 8KiB}\n"
                            "exchanges: {orders: {type: topic}}\nqueues: {q: {}}\n",
               0600, a);
    folder_put(&folder, "b",
               "bourse: 1\nvhost: other\nserver: {frame-max: 8KiB, channel-max: 5}\n"
               "queues:\n  q: {}\n  r: {from: [{exchange: orders}]}\nusers: {root: {}}\n",
               0600, b);
    const char *paths[] = {b, a};
    struct config *config = config_read(paths, 2, CONFIG_FOR_CHECK, &environment);

    snprintf(expected, sizeof(expected),
             "%s:7:15: error: \"auth\" is missing in user\n"
             "%s:2:1: warning: no user has \"role: admin\"\n"
             "%s:2:9: error: user \"root\" is already in %s:7:9\n"
             "%s:3:8: error: vhost \"shop\" here, but \"other\" in %s:2:8; all files share one\n"
             "%s:4:10: error: \"frame-max\" is already given in %s:3:10\n"
             "%s:6:10: error: queue \"q\" is already in %s:5:3\n",
             b, a, a, b, a, b, a, b, a, b);
    cr_expect(eq(str, (char *)reading_report(config, false, &report), expected));
    cr_expect(eq(sz, config->queue_count, 2));
    buffer_fini(&report);
    config_free(&config);
    folder_remove(&folder, names, 2);
}

Test(config, a_file_that_cannot_be_read_is_an_error)
{
    struct config_environment environment = {.get_variable = reading_variable};
    static const struct {
        const char *path;
        const char *report;
    } rows[] = {
        {"/nowhere/x.yaml", "/nowhere/x.yaml: error: cannot be read: No such file or directory\n"},
        {"/tmp", "/tmp: error: cannot be read: Is a directory\n"},
        {"/dev/zero", "/dev/zero: error: a configuration file may have at most 1 MiB\n"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct config *config = config_read(&rows[i].path, 1, CONFIG_FOR_CHECK, &environment);
        struct buffer report;
        cr_expect(eq(str, (char *)reading_report(config, true, &report), (char *)rows[i].report));
        cr_expect(eq(sz, config->report.error_count, 1));
        buffer_fini(&report);
        config_free(&config);
    }
}

/* T22: a password comes out of its file as one line, and the file should be nobody else's. */
Test(config, password_files_hold_one_line_and_are_private)
{
    static const struct {
        const char *content;
        mode_t mode;
        const char *password; /* NULL: refused */
        const char *report;
    } rows[] = {
        {"s3cret\n", 0600, "s3cret", ""},
        {"s3cret", 0640, "s3cret", ""},
        {"with blanks \r\n", 0600, "with blanks ", ""},
        {"s3cret\n", 0644, "s3cret", "can be read or written by everybody: chmod o= it"},
        {"", 0600, NULL, "the password of \"password-file\" is empty"},
        {"\n", 0600, NULL, "the password of \"password-file\" is empty"},
        {"two\nlines\n", 0600, NULL, "the password of \"password-file\" has more than one line"},
    };
    static const char *const names[] = {"f.yaml", "pw"};
    struct config_environment environment = {.get_variable = reading_variable};

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct folder folder;
        struct buffer report;
        char yaml[128];
        char secret[128];
        folder_make(&folder);
        folder_put(&folder, "pw", rows[i].content, rows[i].mode, secret);
        folder_put(&folder, "f.yaml",
                   "bourse: 1\nusers: {u: {auth: password, password-file: pw, role: admin}}\n",
                   0600, yaml);
        const char *paths[] = {yaml};
        struct config *config = config_read(paths, 1, CONFIG_FOR_SERVE, &environment);
        const char *text = reading_report(config, true, &report);
        if (rows[i].password != NULL) {
            cr_expect(eq(str, (char *)config->users[0].password, (char *)rows[i].password));
        }
        cr_expect(eq(int, config->report.error_count != 0, rows[i].password == NULL));
        cr_expect(eq(int, config->report.count == 0, rows[i].report[0] == '\0'));
        cr_expect(ne(ptr, strstr(text, rows[i].report), NULL), "%s", text);
        buffer_fini(&report);
        config_free(&config);
        folder_remove(&folder, names, 2);
    }
}

/* Threat: a path of the file leads to a pipe that nobody writes to, and the broker never starts. */
Test(config, a_password_file_that_is_a_pipe_without_a_writer_is_an_error_at_once, .timeout = 10)
{
    static const char *const names[] = {"f.yaml", "pw"};
    struct config_environment environment = {.get_variable = reading_variable};
    struct folder folder;
    char yaml[128];
    char pipe[128];
    folder_make(&folder);
    folder_put(&folder, "pw", "", 0600, pipe);
    cr_assert(eq(int, unlink(pipe), 0));
    cr_assert(eq(int, mkfifo(pipe, 0600), 0));
    folder_put(&folder, "f.yaml", "bourse: 1\nusers: {u: {auth: password, password-file: pw}}\n",
               0600, yaml);
    const char *paths[] = {yaml};
    struct config *config = config_read(paths, 1, CONFIG_FOR_SERVE, &environment);
    cr_expect(eq(sz, config->report.error_count, 1));
    config_free(&config);
    folder_remove(&folder, names, 2);
}

/* Damage ------------------------------------------------------------------------------------- */

static size_t
damage(const struct random_source *random, char *text, size_t size, size_t capacity)
{
    static const char spice[] = "[]{}:,-&*!|>'\"%#\n\t \xff\x01?~<<";
    size_t count = 1 + random_u64(random) % 4;
    for (size_t i = 0; i < count; i++) {
        size_t at = random_u64(random) % size;
        char octet = spice[random_u64(random) % (sizeof(spice) - 1)];
        switch (random_u64(random) % 4) {
        case 0:
            text[at] = octet;
            break;
        case 1: /* insert */
            if (size + 1 < capacity) {
                memmove(text + at + 1, text + at, size - at);
                text[at] = octet;
                size++;
            }
            break;
        case 2: /* cut out */
            memmove(text + at, text + at + 1, size - at - 1);
            size--;
            break;
        default: /* cut off, now and then */
            size = random_u64(random) % 8 == 0 ? at + 1 : size;
            break;
        }
    }
    return size;
}

/* F13: whatever a file has become, reading it ends with a report and nothing else. A damaged file
 * may be a good one; most are not. */
Test(config, damaged_files_are_reported_and_never_crash)
{
    uint64_t state = 1999;
    struct random_source random = random_seeded(&state);
    struct config_environment environment = {.get_variable = reading_variable};
    size_t refused = 0;

    for (int i = 0; i < 500; i++) {
        char text[sizeof(shop) + 64];
        memcpy(text, shop, sizeof(shop) - 1);
        size_t size = damage(&random, text, sizeof(shop) - 1, sizeof(text));
        struct config *config =
            config_read_text("f.yaml", bytes_make(text, size), CONFIG_FOR_CHECK, &environment);
        uint32_t line = 0;
        for (size_t k = 0; k < config->report.count; k++) {
            cr_expect(ge(u32, config->report.items[k].mark.line, line));
            line = config->report.items[k].mark.line;
        }
        refused += config->report.error_count > 0 ? 1 : 0;
        config_free(&config);
    }
    cr_expect(lt(sz, 250, refused));
}

/* Defaults multiply: what is small in the file must not be large in memory. */
Test(config, what_defaults_multiply_is_bounded)
{
    struct buffer text;
    buffer_init(&text);
    buffer_printf(&text, READING_HEAD "defaults: {queue: {from: [");
    for (int i = 0; i < 5000; i++) {
        buffer_printf(&text, "{exchange: amq.topic},");
    }
    buffer_printf(&text, "]}}\nqueues: {");
    for (int i = 0; i < 2000; i++) {
        buffer_printf(&text, "q%d: {},", i);
    }
    buffer_printf(&text, "}\n");
    buffer_put_u8(&text, 0);
    struct config *config = reading_of((const char *)buffer_bytes(&text).data, CONFIG_FOR_CHECK);
    cr_expect(eq(sz, config->report.error_count, 1));
    cr_expect(eq(str, (char *)config->report.items[0].text, "more than 262,144 bindings"));
    cr_expect(eq(sz, config->binding_count, 262144));
    buffer_fini(&text);
    config_free(&config);
}

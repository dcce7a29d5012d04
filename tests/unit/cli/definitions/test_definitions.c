/* SPDX-License-Identifier: Apache-2.0 */
/* Definitions of other brokers in, configuration files out, and round again. */
#include "cli/definitions/definitions_yaml.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>

#include <stdio.h>
#include <stdlib.h>

#include "base/assert.h"
#include "broker/plan/examine.h"
#include "cli/definitions/definitions_config.h"
#include "management/definitions/definitions_read.h"
#include "management/definitions/definitions_write.h"
#include "tests/support/alloc_faults.h"
#include "tests/unit/config/reading.h"

TestSuite(definitions);

/* The traps: tags as text and as a list, limits as [] and {}, a hash without an algorithm, a bcrypt
 * hash, operator policies among the parameters, reserved names, types of others, a policy key of
 * mirrored queues, an auto-delete queue, a limit without an overflow. */
static const char foreign[] =
    "{\"rabbit_version\": \"3.13.7\","
    " \"users\": ["
    "  {\"name\": \"guest\", \"password_hash\": "
    "\"kI3GCqW5JLMJa4iX1lo7X4D6XbYqlLgxIs30+P6tENUV2POR\", \"hashing_algorithm\": "
    "\"rabbit_password_hashing_sha256\", \"tags\": [\"administrator\"], \"limits\": {}},"
    "  {\"name\": \"old\", \"password_hash\": \"VCJlMGh2dCBhbmQgc29tZXRoaW5n\", \"tags\": "
    "\"monitoring, management\"},"
    "  {\"name\": \"lavin\", \"password_hash\": \"$2a$04$abcdefghijklmnopqrstuv\", "
    "\"hashing_algorithm\": \"rabbit_password_hashing_bcrypt\", \"tags\": \"\", \"limits\": []}],"
    " \"vhosts\": [{\"name\": \"shop\", \"limits\": []}],"
    " \"permissions\": ["
    "  {\"user\": \"guest\", \"vhost\": \"shop\", \"configure\": \".*\", \"write\": \".*\", "
    "\"read\": \".*\"},"
    "  {\"user\": \"old\", \"vhost\": \"shop\", \"configure\": \"\", \"write\": \"^orders$\", "
    "\"read\": \"^(billing|dlq)$\"}],"
    " \"topic_permissions\": ["
    "  {\"user\": \"old\", \"vhost\": \"shop\", \"exchange\": \"orders\", \"write\": "
    "\"^eu\\\\.\", \"read\": \".*\"}],"
    " \"parameters\": ["
    "  {\"component\": \"operator_policy\", \"name\": \"cap\", \"vhost\": \"shop\", \"value\": "
    "{\"pattern\": \".*\", \"definition\": {\"max-length\": 1000}, \"priority\": 1, "
    "\"apply-to\": \"queues\"}},"
    "  {\"component\": \"vhost-limits\", \"name\": \"limits\", \"vhost\": \"shop\", \"value\": "
    "{\"max-queues\": 50}},"
    "  {\"component\": \"shovel\", \"name\": \"move\", \"vhost\": \"shop\", \"value\": {}}],"
    " \"policies\": ["
    "  {\"vhost\": \"shop\", \"name\": \"ha\", \"pattern\": \"^\", \"apply-to\": \"all\", "
    "\"definition\": {\"ha-mode\": \"all\"}, \"priority\": 0},"
    "  {\"vhost\": \"shop\", \"name\": \"ttl\", \"pattern\": \"^b\", \"apply-to\": \"queues\", "
    "\"definition\": {\"message-ttl\": 60000, \"ha-mode\": \"all\"}, \"priority\": 5}],"
    " \"queues\": ["
    "  {\"name\": \"billing\", \"vhost\": \"shop\", \"durable\": true, \"auto_delete\": false, "
    "\"arguments\": {\"x-queue-type\": \"quorum\", \"x-dead-letter-exchange\": \"dead\", "
    "\"x-message-ttl\": 3600000}},"
    "  {\"name\": \"dlq\", \"vhost\": \"shop\", \"arguments\": {\"x-max-length\": 10, "
    "\"x-queue-version\": 1}},"
    "  {\"name\": \"tmp\", \"vhost\": \"shop\", \"auto_delete\": true, \"arguments\": {}},"
    "  {\"name\": \"events\", \"vhost\": \"shop\", \"type\": \"stream\", \"arguments\": {}},"
    "  {\"name\": \"amq.gen-x\", \"vhost\": \"shop\", \"arguments\": {}}],"
    " \"exchanges\": ["
    "  {\"name\": \"orders\", \"vhost\": \"shop\", \"type\": \"topic\", \"durable\": true, "
    "\"auto_delete\": false, \"internal\": false, \"arguments\": {\"alternate-exchange\": "
    "\"dead\"}},"
    "  {\"name\": \"dead\", \"vhost\": \"shop\", \"type\": \"fanout\", \"arguments\": {}},"
    "  {\"name\": \"history\", \"vhost\": \"shop\", \"type\": \"x-recent-history\", "
    "\"arguments\": {}}],"
    " \"bindings\": ["
    "  {\"source\": \"orders\", \"vhost\": \"shop\", \"destination\": \"billing\", "
    "\"destination_type\": \"queue\", \"routing_key\": \"eu.#\", \"arguments\": {}},"
    "  {\"source\": \"dead\", \"vhost\": \"shop\", \"destination\": \"dlq\", "
    "\"destination_type\": \"queue\", \"routing_key\": \"\", \"arguments\": {}},"
    "  {\"source\": \"amq.headers\", \"vhost\": \"shop\", \"destination\": \"dlq\", "
    "\"destination_type\": \"queue\", \"routing_key\": \"\", \"arguments\": {\"x-match\": \"any\", "
    "\"n\": 5, \"on\": true}},"
    "  {\"source\": \"history\", \"vhost\": \"shop\", \"destination\": \"dlq\", "
    "\"destination_type\": \"queue\", \"routing_key\": \"\", \"arguments\": {}}]}";

static const char foreign_yaml[] =
    "bourse: 1\n"
    "vhost: shop\n"
    "limits: {max-queues: 50}\n"
    "\n"
    "exchanges:\n"
    "  orders: {type: topic, unrouted: dead}\n"
    "  dead: {type: fanout}\n"
    "\n"
    "queues:\n"
    "  billing:\n"
    "    from:\n"
    "      - {exchange: orders, key: \"eu.#\"}\n"
    "    type: quorum\n"
    "    ttl: 1h\n"
    "    dead-letter: {exchange: dead}\n"
    "  dlq:\n"
    "    from:\n"
    "      - {exchange: dead}\n"
    "      - {exchange: amq.headers, arguments: {x-match: any, \"n\": 5, \"on\": true}}\n"
    "    arguments: {x-max-length: 10}\n"
    "\n"
    "policies:\n"
    "  ttl:\n"
    "    pattern: \"^b\"\n"
    "    apply-to: queues\n"
    "    priority: 5\n"
    "    definition: {message-ttl: 60000}\n"
    "\n"
    "operator-policies:\n"
    "  cap:\n"
    "    pattern: \".*\"\n"
    "    apply-to: queues\n"
    "    priority: 1\n"
    "    definition: {max-length: 1000}\n"
    "\n"
    "users:\n"
    "  guest:\n"
    "    auth: password\n"
    "    password-hash: \"kI3GCqW5JLMJa4iX1lo7X4D6XbYqlLgxIs30+P6tENUV2POR\"\n"
    "    rights:\n"
    "      configure: \".*\"\n"
    "      write: \".*\"\n"
    "      read: \".*\"\n"
    "    role: admin\n"
    "  old:\n"
    "    # Its password did not come along: put one into this variable.\n"
    "    auth: password\n"
    "    password-env: BOURSE_PASSWORD_OLD\n"
    "    rights:\n"
    "      configure: \"\"\n"
    "      write: \"^orders$\"\n"
    "      read: \"^(billing|dlq)$\"\n"
    "      topics:\n"
    "        orders: {write: \"^eu\\\\.\", read: \".*\"}\n"
    "    role: monitor\n"
    "  lavin:\n"
    "    # Its password did not come along: put one into this variable.\n"
    "    auth: password\n"
    "    password-env: BOURSE_PASSWORD_LAVIN\n";

/* The caller frees it. */
static char *
yaml_of(struct definitions *definitions)
{
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    definitions_write_yaml(definitions, definitions->vhosts.items[0].name, out);
    (void)fclose(out);
    return text;
}

static void
read_json(struct definitions *definitions, const char *json, const char *vhost)
{
    char why[DEFINITIONS_WHY_SIZE] = "";
    definitions_init(definitions);
    cr_assert(
        eq(int, definitions_read(definitions, bytes_of(json), bytes_of(vhost), why), STATUS_OK),
        "%s", why);
}

/* What the file declares, as definitions; it has no errors. */
static void
read_yaml(struct definitions *definitions, const char *yaml)
{
    struct config *config = reading_of(yaml, CONFIG_FOR_CHECK);
    struct buffer report;
    examine_config(config);
    const char *text = reading_report(config, false, &report);
    cr_assert(eq(sz, config->report.error_count, 0), "%s", text);
    buffer_fini(&report);
    definitions_init(definitions);
    definitions_add_config(definitions, config);
    config_free(&config);
}

static bool
warns(const struct definitions *definitions, const char *part)
{
    for (size_t i = 0; i < definitions->warnings.count; i++) {
        if (strstr(definitions->warnings.items[i], part) != NULL) {
            return true;
        }
    }
    return false;
}

Test(definitions, of_another_broker_become_a_file_that_passes_the_check)
{
    static const char *const warnings[] = {
        "user \"old\": a password hash by MD5 or bcrypt",
        "user \"lavin\": a password hash by rabbit_password_hashing_bcrypt",
        "parameter \"move\" of shovel",
        "policy \"ha\" is left out",
        "policy \"ttl\" goes without ha-mode",
        "queue \"dlq\" goes without the argument x-queue-version",
        "queue \"tmp\" is left out",
        "queue \"events\" is left out",
        "queue \"amq.gen-x\" is left out",
        "exchange \"history\" is left out",
        "the binding from \"history\" to \"dlq\"",
    };
    struct definitions definitions;
    read_json(&definitions, foreign, "/");
    char *yaml = yaml_of(&definitions);
    cr_expect(eq(str, yaml, (char *)foreign_yaml));
    for (size_t i = 0; i < ARRAY_LEN(warnings); i++) {
        cr_expect(warns(&definitions, warnings[i]), "%s", warnings[i]);
    }
    struct definitions again;
    read_yaml(&again, yaml);
    free(yaml);
    definitions_fini(&again);
    definitions_fini(&definitions);
}

/* A file, its definitions as JSON, and the file that is made of them say the same. */
static void
expect_round_trip(const char *yaml)
{
    struct definitions first;
    struct definitions second;
    struct definitions third;
    struct json_writer jsons[2];
    read_yaml(&first, yaml);
    json_init(&jsons[0]);
    json_init(&jsons[1]);
    definitions_write(&first, "1", "4.1.0", &jsons[0]);
    buffer_put_u8(&jsons[0].out, 0);
    read_json(&second, (const char *)buffer_bytes(&jsons[0].out).data, "/");
    char *written = yaml_of(&second);
    read_yaml(&third, written);
    definitions_write(&third, "1", "4.1.0", &jsons[1]);
    buffer_put_u8(&jsons[1].out, 0);
    cr_expect(eq(str, (char *)buffer_bytes(&jsons[1].out).data,
                 (char *)buffer_bytes(&jsons[0].out).data));
    cr_expect(eq(sz, second.warnings.count, 0));
    free(written);
    json_fini(&jsons[0]);
    json_fini(&jsons[1]);
    definitions_fini(&first);
    definitions_fini(&second);
    definitions_fini(&third);
}

Test(definitions, a_file_comes_back_as_it_was)
{
    expect_round_trip(
        "bourse: 1\n"
        "vhost: shop\n"
        "limits: {max-connections: 5}\n"
        "exchanges:\n"
        "  orders: {type: topic, unrouted: lost}\n"
        "  lost: {type: fanout, durable: false, internal: true}\n"
        "  'with: odd \"name\"': {type: x-delayed-message, auto-delete: true, arguments: "
        "{x-delayed-type: direct}}\n"
        "  hashed: {type: x-consistent-hash, from: [{exchange: orders, key: 'a.#'}]}\n"
        "retry:\n"
        "  gentle: {first: 1s, factor: 1.5, max: 10m, jitter: full, attempts: 4, max-age: 1h, "
        "counts: [nack, lost], order: hold, then: lost}\n"
        "queues:\n"
        "  a: {from: [{exchange: orders, key: a}], retry: gentle, limits: {max-length: 5, on-full: "
        "dead-letter}}\n"
        "  b: {retry: gentle, ttl: 90s, expires: 1d, priorities: 9}\n"
        "  c: {retry: {first: 1ms}, dead-letter: {exchange: '', key: b}}\n"
        "  d: {type: quorum, consumers: {single-active: true}, ack-timeout: 5m, release-rate: 7}\n"
        "  e: {durable: false, limits: {max-bytes: 1500B}, arguments: {x-note: [1, {k: null}, 2.5, "
        "true]}}\n"
        "  f: {from: [{exchange: hashed, key: '3'}]}\n"
        "  g: {}\n");
}

Test(definitions, rights_come_back_as_they_were)
{
    expect_round_trip(
        "bourse: 1\n"
        "exchanges: {orders: {type: topic}, other.x: {type: topic}}\n"
        "queues: {'q*': {}, q1: {}, q2: {}}\n"
        "users:\n"
        "  a: {auth: cert, publish: [orders, 'ot*'], consume: [q1, q2], topics: {orders: [a.*, "
        "'#', '', '*', 'a.#.b', '#.x'], other.x: ['k']}}\n"
        "  b: {auth: cert, rights: {configure: '^x', write: 'a|b', read: ''}, role: admin}\n"
        "  c: {auth: cert, publish: [amq.default], limits: {max-connections: 3, max-channels: 9}}\n"
        "  d: {auth: cert, rights: {write: 'x', topics: {orders: {write: '^a', read: 'b$'}}}}\n"
        "  e: {auth: cert, role: operator}\n");
}

/* The form of a single vhost says no vhost, and has no users. */
Test(definitions, a_single_vhost_gets_its_name_from_who_reads_it)
{
    struct definitions definitions;
    read_json(&definitions,
              "{\"queues\": [{\"name\": \"q\"}], \"exchanges\": [], \"bindings\": []}", "mine");
    char *yaml = yaml_of(&definitions);
    cr_expect(eq(str, yaml, "bourse: 1\nvhost: mine\n\nqueues:\n  q: {}\n"));
    free(yaml);
    definitions_fini(&definitions);
}

/* Found by fuzzing: a file with two users of one name is none. Where rows are imported one after
 * the other, the last one holds. */
Test(definitions, of_two_rows_about_the_same_the_last_one_holds)
{
    struct definitions definitions;
    read_json(
        &definitions,
        "{\"users\": [{\"name\": \"u\", \"tags\": \"\"}, {\"name\": \"v\"}, {\"name\": \"u\", "
        "\"tags\": \"monitoring\"}], \"permissions\": [{\"user\": \"u\", \"vhost\": \"/\", "
        "\"configure\": \".*\", \"write\": \"\", \"read\": \"\"}, {\"user\": \"u\", \"vhost\": "
        "\"/\", \"configure\": \"\", \"write\": \"\", \"read\": \"\"}], \"policies\": [{\"vhost\": "
        "\"/\", \"name\": \"p\", \"pattern\": \"a\", \"definition\": {\"max-length\": 1}}, "
        "{\"vhost\": \"/\", \"name\": \"p\", \"pattern\": \"b\", \"definition\": "
        "{\"max-length\": 2}}]}",
        "/");
    cr_expect(eq(sz, definitions.users.count, 2));
    cr_expect(eq(sz, definitions.users.items[0].tag_count, 1));
    cr_expect(eq(sz, definitions.permissions.count, 1));
    cr_expect(eq(str, (char *)definitions.permissions.items[0].configure, ""));
    cr_expect(eq(sz, definitions.policies.count, 1));
    cr_expect(bytes_equal_text(definitions.policies.items[0].pattern, "b"));
    char *yaml = yaml_of(&definitions);
    struct definitions again;
    read_yaml(&again, yaml);
    free(yaml);
    definitions_fini(&again);
    definitions_fini(&definitions);
}

/* Found by fuzzing: what does not compile denies, and leaving it out would allow. */
Test(definitions, a_topic_right_that_does_not_compile_allows_nothing)
{
    struct definitions definitions;
    read_json(
        &definitions,
        "{\"users\": [{\"name\": \"u\", \"tags\": \"\"}], \"permissions\": [{\"user\": \"u\", "
        "\"vhost\": \"/\", \"configure\": \"a\", \"write\": \"b\", \"read\": \"c\"}], "
        "\"topic_permissions\": [{\"user\": \"u\", \"vhost\": \"/\", \"exchange\": \"x\", "
        "\"write\": \"(\", \"read\": \"a\"}]}",
        "/");
    char *yaml = yaml_of(&definitions);
    cr_expect(strstr(yaml, "x: {write: \"\", read: \"a\"}") != NULL ||
                  strstr(yaml, "x: {write: \"\", read: a}") != NULL,
              "%s", yaml);
    cr_expect(warns(&definitions, "the topic expression cannot be used"));
    struct definitions again;
    read_yaml(&again, yaml);
    free(yaml);
    definitions_fini(&again);
    definitions_fini(&definitions);
}

/* Rather nothing than a queue of another type. */
Test(definitions, a_type_that_finds_no_memory_is_told)
{
    struct definitions definitions;
    char why[DEFINITIONS_WHY_SIZE] = "";
    definitions_init(&definitions);
    alloc_faults_plan(1);
    cr_expect(
        eq(int,
           definitions_read(&definitions,
                            bytes_of("{\"queues\": [{\"name\": \"q\", \"type\": \"quorum\"}]}"),
                            bytes_of("/"), why),
           STATUS_FAULT));
    cr_expect(eq(str, why, "queues[0]: there is no memory for its arguments"));
    cr_expect(eq(sz, definitions.queues.count, 0));
    definitions_fini(&definitions);
}

Test(definitions, what_is_no_definitions_file_is_told_with_its_place)
{
    static const struct {
        const char *json, *why;
    } rows[] = {
        {"{}", "it has none of the lists of a definitions file (queues, exchanges, ...)"},
        {"[]", "it has none of the lists of a definitions file (queues, exchanges, ...)"},
        {"{\"queues\": {}}", "\"queues\" is no list"},
        {"{\"queues\": [5]}", "queues[0]: is no object"},
        {"{\"queues\": [{\"name\": \"a\"}, {\"vhost\": \"/\"}]}", "queues[1]: \"name\" is missing"},
        {"{\"queues\": [{\"name\": 5}]}", "queues[0]: \"name\" takes a text, not a number"},
        {"{\"users\": [{\"name\": \"u\", \"tags\": 5}]}",
         "users[0]: \"tags\" is neither a list nor a text"},
        {"{\"bindings\": [{\"source\": \"x\", \"destination\": \"y\", \"destination_type\": "
         "\"z\"}]}",
         "bindings[0]: \"destination_type\" is neither queue nor exchange"},
        {"{\"exchanges\": [{\"name\": \"x\", \"arguments\": [1]}]}",
         "exchanges[0]: \"arguments\" is no object"},
        /* What is kept as a C string would end there. */
        {"{\"queues\": [{\"name\": \"q\", \"vhost\": \"v\\u0000w\"}]}",
         "queues[0]: \"vhost\" has a character U+0000"},
        {"{\"users\": [{\"name\": \"u\\u0000\"}]}", "users[0]: \"name\" has a character U+0000"},
        {"{\"vhosts\": [{\"name\": \"v\", \"description\": \"a\\u0000b\"}]}",
         "vhosts[0]: \"description\" has a character U+0000"},
        {"{\"vhosts\": [{\"name\": \"v\", \"tags\": [\"a\\u0000b\"]}]}",
         "vhosts[0]: \"tags\" has a character U+0000"},
        {"{\"permissions\": [{\"user\": \"u\", \"vhost\": \"v\", \"configure\": \"\", \"write\": "
         "\"\", \"read\": \"a\\u0000$\"}]}",
         "permissions[0]: \"read\" has a character U+0000"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct definitions definitions;
        char why[DEFINITIONS_WHY_SIZE] = "";
        definitions_init(&definitions);
        cr_expect(eq(int,
                     definitions_read(&definitions, bytes_of(rows[i].json), bytes_of("/"), why),
                     STATUS_FAULT));
        cr_expect(eq(str, why, (char *)rows[i].why));
        definitions_fini(&definitions);
    }
}

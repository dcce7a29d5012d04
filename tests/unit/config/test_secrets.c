/* SPDX-License-Identifier: Apache-2.0 */
/* Texts of configuration files without their secrets. */
#include "config/secrets.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>

#include "base/assert.h"

static const char *
get_variable(void *context, const char *name)
{
    (void)context;
    (void)name;
    return NULL;
}

static const struct config_environment nothing = {.get_variable = get_variable};

/* The text that is kept of a file. */
static void
expect_kept(const char *text, const char *expected)
{
    struct config *config = config_read_text("f.yaml", bytes_of(text), CONFIG_FOR_CHECK, &nothing);
    cr_assert(eq(sz, config->source_count, 1));
    cr_expect(eq(str, (char *)config->sources[0].text.data, (char *)expected));
    config_free(&config);
}

/* However it is written, and whatever stands before it; the rest is as it was, octet by octet. */
Test(secrets, hashes_are_replaced_and_nothing_else)
{
    expect_kept("bourse: 1\nqueues: {q: {}}\n", "bourse: 1\nqueues: {q: {}}\n");
    expect_kept("bourse: 1\nusers:\n"
                "  \xc3\xbc: {auth: password, password-hash: 'canary' }\n"
                "  b: # \xe2\x82\xac canaries stay in comments\n"
                "    auth: password\n"
                "    password-hash: canary\n"
                "  c: {auth: password, password-env: VARIABLE}\n"
                "  d: {password-hash: \"can\\x61ry\", auth: password}\n",
                "bourse: 1\nusers:\n"
                "  \xc3\xbc: {auth: password, password-hash: \"(kept)\" }\n"
                "  b: # \xe2\x82\xac canaries stay in comments\n"
                "    auth: password\n"
                "    password-hash: \"(kept)\"\n"
                "  c: {auth: password, password-env: VARIABLE}\n"
                "  d: {password-hash: \"(kept)\", auth: password}\n");
}

Test(secrets, a_block_ends_where_its_lines_end)
{
    expect_kept("bourse: 1\nusers:\n  a:\n    password-hash: |-\n      canary\n"
                "    auth: password\n",
                "bourse: 1\nusers:\n  a:\n    password-hash: \"(kept)\"\n"
                "    auth: password\n");
}

/* Editors that put one before a text in UTF-8 are about; the hash is still where it is found. */
Test(secrets, a_byte_order_mark_is_no_part_of_the_file)
{
    static const char plain[] = "bourse: 1\nusers: {a: {password-hash: \"(kept)\"}}\n";
    expect_kept("\xEF\xBB\xBF"
                "bourse: 1\nusers: {a: {password-hash: canary}}\n",
                plain);
    expect_kept("\xEF\xBB\xBF{bourse: 1, users: {a: {password-hash: canary}}}",
                "{bourse: 1, users: {a: {password-hash: \"(kept)\"}}}");
}

/* What was kept is a configuration again, for a broker that knows the passwords. */
Test(secrets, what_is_kept_can_be_applied_and_not_served)
{
    static const char kept[] = "bourse: 1\nusers:\n"
                               "  a: {auth: password, password-hash: \"(kept)\"}\n"
                               "  b: {auth: password, password-file: /nowhere}\n"
                               "listeners: {amqp: {bind: '127.0.0.1:0'}}\n";
    struct config *config = config_read_text("f.yaml", bytes_of(kept), CONFIG_FOR_APPLY, &nothing);
    cr_expect(eq(sz, config->report.error_count, 0));
    cr_expect(config->users[0].keeps_password);
    cr_expect(config->users[1].keeps_password);
    config_free(&config);
    config = config_read_text("f.yaml", bytes_of(kept), CONFIG_FOR_SERVE, &nothing);
    cr_expect(eq(sz, config->report.error_count, 2));
    config_free(&config);
}

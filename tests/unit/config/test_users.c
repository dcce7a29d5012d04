/* SPDX-License-Identifier: Apache-2.0 */
/* What the words of users compile to. */
#include "config/users.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>

#include "base/assert.h"
#include "tests/unit/config/reading.h"

static struct config *
user_of(const char *keys)
{
    struct buffer text;
    buffer_init(&text);
    buffer_printf(&text,
                  "bourse: 1\nexchanges: {orders: {type: topic}, a.b: {}}\nqueues: {billing: {}}\n"
                  "users: {u: {auth: password, password-env: ROOT_PW, role: admin, %s}}\n",
                  keys);
    buffer_put_u8(&text, 0);
    struct config *config = reading_of((const char *)buffer_bytes(&text).data, CONFIG_FOR_CHECK);
    cr_assert(eq(sz, config->report.error_count, 0), "%s: %s", keys, config->report.items[0].text);
    buffer_fini(&text);
    return config;
}

/* Services must not make topology: words never grant configure. */
Test(users, words_grant_write_on_exchanges_and_read_on_queues_and_nothing_else)
{
    static const struct {
        const char *keys;
        const char *configure;
        const char *write;
        const char *read;
    } rows[] = {
        {"publish: [orders]", "", "^orders$", ""},
        {"consume: [billing]", "", "", "^billing$"},
        {"publish: [orders, a.b]", "", "^(orders|a\\.b)$", ""},
        {"publish: ['ord*']", "", "^ord.*$", ""},
        {"publish: [], consume: []", "", "", ""},
        {"rights: {configure: ^x, write: ^y, read: ^z}", "^x", "^y", "^z"},
        {"rights: {read: ^z}", "", "", "^z"},
        {"rights: {read: \"\"}", "", "", ""},
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct config *config = user_of(rows[i].keys);
        const struct config_user *user = &config->users[0];
        cr_expect(eq(str, (char *)user->configure, (char *)rows[i].configure), "%s", rows[i].keys);
        cr_expect(eq(str, (char *)user->write, (char *)rows[i].write), "%s", rows[i].keys);
        cr_expect(eq(str, (char *)user->read, (char *)rows[i].read), "%s", rows[i].keys);
        config_free(&config);
    }
}

Test(users, topics_narrow_the_keys_of_one_exchange)
{
    struct config *config = user_of("publish: [orders], topics: {orders: [order.*.placed, x.#]}");
    const struct config_user *user = &config->users[0];
    cr_assert(eq(sz, user->topic_count, 1));
    cr_expect(bytes_equal_text(user->topics[0].exchange, "orders"));
    cr_expect(
        eq(str, (char *)user->topics[0].write, "^(?:order\\.[^.]*\\.placed|x(?:\\.[^.]*)*)\\z"));
    cr_expect(eq(str, (char *)user->topics[0].read, ".*"));
    config_free(&config);
}

Test(users, limits_are_none_unless_given)
{
    struct config *none = user_of("limits: {}");
    struct config *some = user_of("limits: {max-connections: 0, max-channels: 9}");
    cr_expect(eq(i64, none->users[0].connections_max, -1));
    cr_expect(eq(i64, none->users[0].channels_max, -1));
    cr_expect(eq(i64, some->users[0].connections_max, 0));
    cr_expect(eq(i64, some->users[0].channels_max, 9));
    config_free(&none);
    config_free(&some);
}

/* No diagnostic repeats a password or a hash: reports end in logs. */
Test(users, diagnostics_never_show_a_secret)
{
    struct config *config =
        reading_of("bourse: 1\nusers:\n  a: {auth: cert, password-hash: CANARY}\n"
                   "  b: {auth: password, password-hash: CANARY}\n"
                   "  c: {auth: password, password-env: ROOT_PW, password-hash: CANARY}\n",
                   CONFIG_FOR_SERVE);
    struct buffer report;
    const char *text = reading_report(config, true, &report);
    cr_expect(eq(sz, config->report.error_count, 3));
    cr_expect(eq(ptr, strstr(text, "CANARY"), NULL), "%s", text);
    cr_expect(eq(ptr, strstr(text, "secret of a variable"), NULL), "%s", text);
    buffer_fini(&report);
    config_free(&config);
}

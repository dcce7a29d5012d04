/* SPDX-License-Identifier: Apache-2.0 */
/* Addresses of brokers, as RabbitMQ's clients write them. */
#include "cli/amqp/amqp_address.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"

static char *told;
static size_t told_size;

static int
read_address(struct amqp_address *address, const char *text, bool names_queue)
{
    char given[512];
    FILE *err = open_memstream(&told, &told_size);
    struct command_io io = {.out = stdout, .err = err, .in = NULL};
    snprintf(given, sizeof(given), "%s", text);
    int result = amqp_address_read(address, given, names_queue, &io);
    fclose(err);
    return result;
}

static void
expect_text(const char *found, const char *expected)
{
    cr_expect(eq(int, found == NULL, expected == NULL));
    if (found != NULL && expected != NULL) {
        cr_expect(eq(str, (char *)(uintptr_t)found, (char *)(uintptr_t)expected));
    }
}

Test(amqp_address, all_parts_are_read_and_decoded)
{
    static const struct {
        const char *text;
        const char *host, *port, *user, *password, *vhost, *queue, *shown;
    } rows[] = {
        {"amqp://h/q", "h", "5672", NULL, NULL, "/", "q", "amqp://h:5672"},
        {"amqps://h/q", "h", "5671", NULL, NULL, "/", "q", "amqps://h:5671"},
        {"amqp://u:p@h:1/v/q", "h", "1", "u", "p", "v", "q", "amqp://u@h:1"},
        {"amqp://u@h//q", "h", "5672", "u", NULL, "/", "q", "amqp://u@h:5672"},
        {"amqp://u:@h/%2F/q", "h", "5672", "u", "", "/", "q", "amqp://u@h:5672"},
        {"amqp://u:p%40%3A@h/a%2Fb/c%2Fd", "h", "5672", "u", "p@:", "a/b", "c/d",
         "amqp://u@h:5672"},
        {"amqp://u:p@p@h/q", "h", "5672", "u", "p@p", "/", "q", "amqp://u@h:5672"},
        {"amqp://[::1]:7/q", "::1", "7", NULL, NULL, "/", "q", "amqp://[::1]:7"},
        {"amqp://[::1]/q", "::1", "5672", NULL, NULL, "/", "q", "amqp://[::1]:5672"},
        {"amqp://h%0a/q", "h\n", "5672", NULL, NULL, "/", "q", "amqp://h\\n:5672"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct amqp_address address;
        cr_assert(eq(int, read_address(&address, rows[i].text, true), COMMAND_OK), "%s: %s",
                  rows[i].text, told);
        expect_text(address.host, rows[i].host);
        expect_text(address.port, rows[i].port);
        expect_text(address.user, rows[i].user);
        expect_text(address.password, rows[i].password);
        expect_text(address.vhost, rows[i].vhost);
        expect_text(address.queue, rows[i].queue);
        expect_text(address.shown, rows[i].shown);
        amqp_address_fini(&address);
        free(told);
    }
}

Test(amqp_address, without_a_queue_the_path_is_the_vhost)
{
    static const char *const rows[][2] = {
        {"amqp://h", "/"}, {"amqp://h/", "/"}, {"amqp://h/%2F", "/"}, {"amqp://h/shop", "shop"}};
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct amqp_address address;
        cr_assert(eq(int, read_address(&address, rows[i][0], false), COMMAND_OK));
        expect_text(address.vhost, rows[i][1]);
        cr_expect(address.queue == NULL);
        amqp_address_fini(&address);
        free(told);
    }
    struct amqp_address address;
    cr_expect(eq(int, read_address(&address, "amqp://h/v/q", false), COMMAND_MISUSED));
    free(told);
}

Test(amqp_address, settings_name_files_and_what_is_verified)
{
    struct amqp_address address;
    cr_assert(eq(
        int,
        read_address(&address,
                     "amqps://h/v?cacertfile=a%20b&certfile=c&keyfile=k&verify=verify_none", false),
        COMMAND_OK));
    expect_text(address.ca_file, "a b");
    expect_text(address.certificate, "c");
    expect_text(address.key, "k");
    cr_expect(address.is_unverified);
    amqp_address_fini(&address);
    free(told);
}

/* Not even a refusal may show a password. */
Test(amqp_address, what_is_refused_is_told_without_the_password)
{
    static const char *const rows[] = {
        "http://u:secret@h/q",      "amqp://u:secret@h:x/q",  "amqp://u:secret@h/%q",
        "amqp://u:secret%0@h/q",    "amqp://u:secret@/q",     "amqp://u:secret@h",
        "amqp://u:secret@h/q?x=1",  "amqp://u:secret%00@h/q", "amqp://u:secret@[::1/q",
        "amqp://u:secret@[::1]7/q", "amqp://u:secret@h/a/b/c"};
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct amqp_address address;
        cr_expect(eq(int, read_address(&address, rows[i], true), COMMAND_MISUSED), "%s", rows[i]);
        cr_expect(told_size > 0 && strstr(told, "secret") == NULL, "%s", told);
        cr_expect(address.password == NULL);
        free(told);
    }
}

Test(amqp_address, a_password_among_the_arguments_is_overwritten)
{
    char given[] = "amqp://u:secret@h:1/q";
    struct command_io io = {.out = stdout, .err = stderr, .in = NULL};
    struct amqp_address address;
    cr_assert(eq(int, amqp_address_read(&address, given, true, &io), COMMAND_OK));
    cr_expect(eq(str, given, "amqp://u:******@h:1/q"));
    expect_text(address.password, "secret");
    amqp_address_fini(&address);
}

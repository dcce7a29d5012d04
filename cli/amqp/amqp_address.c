/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/amqp/amqp_address.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "base/buffer.h"
#include "cli/command/secret.h"
#include "cli/text/cell.h"

enum { NAME_SIZE_MAX = 255, PORT_NUMBER_MAX = 65535 };

/* What is wrong is told without the text: a password may be in it. */
static int
refuse(const struct command_io *io, const char *why)
{
    return command_misused(io,
                           "the address %s; its form is "
                           "amqp[s]://[USER[:PASSWORD]@]HOST[:PORT][/VHOST[/QUEUE]], with names "
                           "percent-encoded",
                           why);
}

/* Parts -------------------------------------------------------------------------------------- */

static int
hex_digit(uint8_t letter)
{
    static const char digits[] = "0123456789abcdef";
    const char *at = letter == '\0' ? NULL : strchr(digits, letter | 0x20);
    return at == NULL ? -1 : (int)(at - digits);
}

/* The text without its percent signs; NULL: one of them stands for nothing, or for a NUL. */
static char *
decode_new(struct bytes text)
{
    char *out = xalloc(text.size + 1);
    size_t used = 0;
    for (size_t i = 0; i < text.size; i++) {
        int letter = text.data[i];
        if (letter == '%') {
            bool is_whole = text.size - i > 2;
            int high = is_whole ? hex_digit(text.data[i + 1]) : -1;
            int low = is_whole ? hex_digit(text.data[i + 2]) : -1;
            letter = high < 0 || low < 0 ? 0 : high * 16 + low;
            i += 2;
        }
        if (letter == 0) {
            explicit_bzero(out, used);
            free(out);
            return NULL;
        }
        out[used++] = (char)letter;
    }
    return out;
}

/* Splits `*rest` at the first `letter`: what is in front of it, or all. True: it was there. */
static bool
cut(struct bytes *rest, char letter, struct bytes *front_out)
{
    const uint8_t *at = rest->size == 0 ? NULL : memchr(rest->data, letter, rest->size);
    size_t size = at == NULL ? rest->size : (size_t)(at - rest->data);
    size_t taken = at == NULL ? size : size + 1;
    *front_out = bytes_make(rest->data, size);
    *rest = bytes_make(rest->data + taken, rest->size - taken);
    return at != NULL;
}

/* Takes what stands in front of the last '@', if there is one: a password may hold others. */
static bool
cut_user(struct bytes *rest, struct bytes *user_out)
{
    const uint8_t *at = rest->size == 0 ? NULL : memrchr(rest->data, '@', rest->size);
    if (at == NULL) {
        return false;
    }
    *user_out = bytes_make(rest->data, (size_t)(at - rest->data));
    *rest = bytes_make(at + 1, rest->size - user_out->size - 1);
    return true;
}

static int
read_user(struct amqp_address *address, struct bytes text, const struct command_io *io)
{
    struct bytes name;
    bool has_password = cut(&text, ':', &name);
    address->user = decode_new(name);
    address->password = has_password ? decode_new(text) : NULL;
    bool is_good = address->user != NULL && (address->password != NULL || !has_password);
    return is_good ? COMMAND_OK : refuse(io, "has a percent sign that stands for nothing");
}

static int
read_port(struct amqp_address *address, struct bytes text, const struct command_io *io)
{
    unsigned long number = 0;
    if (text.size == 0) {
        address->port = xstrdup(address->is_tls ? "5671" : "5672");
        return COMMAND_OK;
    }
    for (size_t i = 0; i < text.size && number <= PORT_NUMBER_MAX; i++) {
        bool is_digit = text.data[i] >= '0' && text.data[i] <= '9';
        number = is_digit ? number * 10 + (text.data[i] - '0') : PORT_NUMBER_MAX + 1UL;
    }
    address->port = decode_new(text);
    bool is_good = number > 0 && number <= PORT_NUMBER_MAX;
    return is_good ? COMMAND_OK : refuse(io, "has a port that is no number from 1 to 65535");
}

/* HOST, HOST:PORT, [ADDRESS], [ADDRESS]:PORT. */
static int
read_host(struct amqp_address *address, struct bytes text, const struct command_io *io)
{
    struct bytes host;
    struct bytes between = bytes_make(NULL, 0);
    if (text.size > 0 && text.data[0] == '[') {
        text = bytes_make(text.data + 1, text.size - 1);
        if (!cut(&text, ']', &host)) {
            return refuse(io, "has a bracket that does not end");
        }
        cut(&text, ':', &between);
    } else {
        cut(&text, ':', &host);
    }
    address->host = decode_new(host);
    if (address->host == NULL || address->host[0] == '\0' || between.size > 0) {
        return refuse(io, "names no host");
    }
    return read_port(address, text, io);
}

/* The path behind its first slash. A virtual host that is empty is "/". */
static int
read_path(struct amqp_address *address, struct bytes text, bool names_queue,
          const struct command_io *io)
{
    struct bytes first;
    bool has_two = cut(&text, '/', &first);
    bool is_default = first.size == 0 || (names_queue && !has_two);
    struct bytes vhost = is_default ? bytes_of("/") : first;
    struct bytes queue = has_two ? text : first;
    if (has_two && !names_queue) {
        return refuse(io, "has a queue, or a slash too many, where only a virtual host is meant");
    }
    address->vhost = decode_new(vhost);
    address->queue = names_queue ? decode_new(queue) : NULL;
    if (address->vhost == NULL || (names_queue && address->queue == NULL)) {
        return refuse(io, "has a percent sign that stands for nothing");
    }
    if (names_queue && (address->queue[0] == '\0' || memchr(queue.data, '/', queue.size) != NULL)) {
        return refuse(io, "names no queue");
    }
    if (strlen(address->vhost) > NAME_SIZE_MAX ||
        (names_queue && strlen(address->queue) > NAME_SIZE_MAX)) {
        return refuse(io, "has a name of more than 255 octets");
    }
    return COMMAND_OK;
}

static int
read_setting(struct amqp_address *address, struct bytes text, const struct command_io *io)
{
    struct bytes name;
    struct bytes value = text;
    cut(&value, '=', &name);
    char **paths[] = {&address->ca_file, &address->certificate, &address->key};
    static const char *const names[] = {"cacertfile", "certfile", "keyfile"};
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        if (bytes_equal_text(name, names[i]) && *paths[i] == NULL) {
            *paths[i] = decode_new(value);
            return *paths[i] != NULL ? COMMAND_OK : refuse(io, "has a path that cannot be read");
        }
    }
    if (bytes_equal_text(name, "verify")) {
        address->is_unverified = bytes_equal_text(value, "verify_none");
        bool is_good = address->is_unverified || bytes_equal_text(value, "verify_peer");
        return is_good ? COMMAND_OK : refuse(io, "has verify, but not verify_none or verify_peer");
    }
    return refuse(io, "has a setting that is not cacertfile, certfile, keyfile or verify");
}

static int
read_settings(struct amqp_address *address, struct bytes text, const struct command_io *io)
{
    int result = COMMAND_OK;
    while (result == COMMAND_OK && text.size > 0) {
        struct bytes setting;
        cut(&text, '&', &setting);
        result = read_setting(address, setting, io);
    }
    return result;
}

/* The whole ---------------------------------------------------------------------------------- */

static int
read_scheme(struct amqp_address *address, struct bytes *rest, const struct command_io *io)
{
    address->is_tls = bytes_starts_with(*rest, "amqps://");
    if (!address->is_tls && !bytes_starts_with(*rest, "amqp://")) {
        return refuse(io, "does not begin with amqp:// or amqps://");
    }
    size_t size = strlen(address->is_tls ? "amqps://" : "amqp://");
    *rest = bytes_make(rest->data + size, rest->size - size);
    return COMMAND_OK;
}

static int
read_parts(struct amqp_address *address, const char *text, bool names_queue,
           const struct command_io *io)
{
    struct bytes settings = bytes_of(text);
    struct bytes rest;
    struct bytes host;
    struct bytes user;
    cut(&settings, '?', &rest);
    int result = read_scheme(address, &rest, io);
    if (result != COMMAND_OK) {
        return result;
    }
    cut(&rest, '/', &host);
    if (cut_user(&host, &user)) {
        result = read_user(address, user, io);
    }
    if (result == COMMAND_OK) {
        result = read_host(address, host, io);
    }
    if (result == COMMAND_OK) {
        result = read_path(address, rest, names_queue, io);
    }
    return result == COMMAND_OK ? read_settings(address, settings, io) : result;
}

static char *
shown_new(const struct amqp_address *address)
{
    struct buffer text;
    buffer_init(&text);
    bool has_colon = strchr(address->host, ':') != NULL;
    buffer_printf(&text, "%s://", address->is_tls ? "amqps" : "amqp");
    if (address->user != NULL) {
        cell_put_escaped(&text, bytes_of(address->user));
        buffer_put_u8(&text, '@');
    }
    buffer_put_bytes(&text, bytes_of(has_colon ? "[" : ""));
    cell_put_escaped(&text, bytes_of(address->host));
    buffer_printf(&text, "%s:%s", has_colon ? "]" : "", address->port);
    buffer_put_u8(&text, '\0');
    char *shown = xstrdup((const char *)buffer_bytes(&text).data);
    buffer_fini(&text);
    return shown;
}

/* The text that is meant: that of a file or variable, or this. */
static int
find_text(char **text_out, const char *given, const struct command_io *io)
{
    if (given[0] == '@') {
        return secret_from_file(text_out, given + 1, io);
    }
    if (strncmp(given, "env:", 4) == 0) {
        return secret_from_variable(text_out, given + 4, io);
    }
    *text_out = xstrdup(given);
    return COMMAND_OK;
}

/* Overwrites a password in the process's arguments. */
static void
hide_password(const char *given)
{
    char *colon = strchr(given, ':');
    char *user = colon == NULL || strncmp(colon, "://", 3) != 0 ? NULL : strchr(colon, '/') + 2;
    char *password = user == NULL ? NULL : strchr(user, ':');
    size_t size = user == NULL ? 0 : strcspn(user, "/?");
    char *end = size == 0 ? NULL : memrchr(user, '@', size);
    if (password != NULL && end != NULL && password < end) {
        memset(password + 1, '*', (size_t)(end - password) - 1);
    }
}

static int
ask_password(struct amqp_address *address, const struct command_io *io)
{
    char prompt[512];
    int fd = io->in == NULL ? -1 : fileno(io->in);
    if (address->user == NULL || address->password != NULL || fd < 0 || isatty(fd) != 1) {
        return COMMAND_OK;
    }
    snprintf(prompt, sizeof(prompt), "password for %s", address->shown);
    return secret_from_input(&address->password, prompt, io);
}

int
amqp_address_read(struct amqp_address *address, const char *text, bool names_queue,
                  const struct command_io *io)
{
    char *meant = NULL;
    *address = (struct amqp_address){.is_tls = false};
    int result = find_text(&meant, text, io);
    if (result == COMMAND_OK) {
        result = read_parts(address, meant, names_queue, io);
    }
    if (result == COMMAND_OK) {
        address->shown = shown_new(address);
        hide_password(text);
        result = ask_password(address, io);
    }
    secret_free(&meant);
    if (result != COMMAND_OK) {
        amqp_address_fini(address);
    }
    return result;
}

void
amqp_address_fini(struct amqp_address *address)
{
    secret_free(&address->password);
    char *const texts[] = {address->host,  address->port,  address->user,
                           address->vhost, address->queue, address->certificate,
                           address->key,   address->shown, address->ca_file};
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        free(texts[i]);
    }
    *address = (struct amqp_address){.is_tls = false};
}

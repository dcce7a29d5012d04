/* SPDX-License-Identifier: Apache-2.0 */
/* Asking a running broker: HTTP with JSON over its control socket, or to the address of a context.
 * Whatever goes wrong is told here, once, and becomes an exit status. */
#ifndef BOURSE_CLI_CLIENT_CLIENT_H
#define BOURSE_CLI_CLIENT_CLIENT_H

#include <jansson.h>

#include "base/bytes.h"
#include "cli/client/context.h"
#include "cli/command/command.h"

struct client;

/* Opens what the command line means. COMMAND_OK, or what was reported. Connects with the first
 * request. */
int client_open(struct client **client_out, const struct command_line *line,
                const struct command_io *io);
/* The same of a place that a command found otherwise than by contexts; takes it, name and all. */
int client_open_at(struct client **client_out, struct context *place,
                   const struct command_line *line, const struct command_io *io);
void client_close(struct client **client);

/* The same for a client that is only to be asked for its place, or to ping: without libcurl, which
 * is not in the broker's image. */
int client_open_place(struct client **client_out, const struct command_line *line,
                      const struct command_io *io);

/* Asks whether the broker answers and lets the caller in; over a control socket without libcurl.
 * COMMAND_OK, or what was reported. */
int client_ping(struct client *client) __attribute__((warn_unused_result));

/* The virtual host that is meant: --vhost, else the context's, else "/"; and whether one was said.
 */
const char *client_vhost(const struct client *client);
bool client_has_vhost(const struct client *client);

/* What the broker is called in messages: a path or an address. */
const char *client_place(const struct client *client);

/* What comes next may take so long, unless --timeout says otherwise. Meanwhile a terminal shows
 * that it goes on. */
void client_allow(struct client *client, long seconds);

/* How long the broker looks through a long backlog, and copies its data, before it gives up. */
enum { CLIENT_LOOK_SECONDS = 120, CLIENT_BACKUP_SECONDS = 3600 };

/* A path with each "{}" of `format` replaced by the next argument, percent-encoded; the caller
 * frees it. There are as many arguments, all of them text. */
char *client_path_new(const char *format, ...);

/* Sends a request. `body` is borrowed; NULL: none. On COMMAND_OK, `*answer_out` (may be NULL) is
 * the answer's JSON, the caller's to release, or NULL when it has none. */
int client_call(struct client *client, const char *method, const char *path, const json_t *body,
                json_t **answer_out) __attribute__((warn_unused_result));

/* The same for a request whose refusals the caller knows: COMMAND_OK with the HTTP status when an
 * answer came. `*answer_out` is the caller's; NULL when it was no JSON. */
int client_try(struct client *client, const char *method, const char *path, const json_t *body,
               long *status_out, json_t **answer_out) __attribute__((warn_unused_result));

/* Says what a status means that the caller does not know better. Returns the exit status. */
int client_report(struct client *client, long status, const json_t *answer);
/* A GET whose answer goes to `out` line by line as it comes, however long that takes; a last line
 * {"error": ...} is what the broker says when it ends before its end, and is reported. */
int client_stream(struct client *client, const char *path, FILE *out)
    __attribute__((warn_unused_result));

/* The same with a function that is given whole lines, one or more, as they come, until it returns
 * false, or the command is interrupted (cli/command/interrupt.h): both are a good end. */
int client_follow(struct client *client, const char *path,
                  bool (*take)(void *context, struct bytes lines), void *context)
    __attribute__((warn_unused_result));

/* The same for a GET that may well be refused: says nothing, and returns the HTTP status; 0 when no
 * answer came. `*answer_out` is NULL when it was no JSON. */
long client_probe(struct client *client, const char *path, json_t **answer_out);

/* Whether the broker lets `user` in with `password`. Asked over a control socket alone, which leads
 * to no other machine; false elsewhere, and when it is not known. */
bool client_is_password_of(struct client *client, const char *user, const char *password);

#endif

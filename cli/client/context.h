/* SPDX-License-Identifier: Apache-2.0 */
/* Contexts: named brokers, and who one is there. They lie in a JSON file of mode 0600 in the user's
 * configuration directory; a password itself is never in it, only where it is read from. */
#ifndef BOURSE_CLI_CLIENT_CONTEXT_H
#define BOURSE_CLI_CLIENT_CONTEXT_H

#include <jansson.h>

#include "cli/command/command.h"

/* Where a broker is. All text is owned; NULL where nothing was said. One of `socket` and `url`. */
struct context {
    char *name; /* as it is called in messages */
    char *socket;
    char *url; /* https://HOST:PORT; http:// on this machine only */
    char *user;
    char *password; /* read from file or variable when the context is opened */
    char *ca_file;
    char *vhost;
};

/* What --context, else BOURSE_CONTEXT, else the current context, else the default sockets say.
 * Returns COMMAND_OK, or what was reported. */
int context_find(struct context *context, const char *wanted, const struct command_io *io);
void context_fini(struct context *context);

/* The file. `*contexts_out` is an object with "current" and "contexts"; empty when there is no file
 * yet. Owned by the caller. */
int contexts_load(json_t **contexts_out, const struct command_io *io);
int contexts_save(const json_t *contexts, const struct command_io *io);

/* True for what may be the name of a context: letters, digits, and ".-_", no dot in front. */
bool context_is_name(const char *text);

/* True when `url` is https, or http to this machine; else `*why_out` says what is wrong. */
bool context_is_url(const char *url, const char **why_out);

#endif

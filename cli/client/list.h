/* SPDX-License-Identifier: Apache-2.0 */
/* `bourse ls KIND`, `bourse queue ls` and its siblings: what there is. */
#ifndef BOURSE_CLI_CLIENT_LIST_H
#define BOURSE_CLI_CLIENT_LIST_H

#include "cli/client/client.h"
#include "cli/command/command.h"
#include "cli/output/output.h"

/* What can be listed. */
struct list_kind {
    const char *name;          /* "queues" */
    const char *singular;      /* "queue": the group of commands that has `ls` */
    const char *path;          /* of all of them: "/api/queues" */
    const char *path_bare;     /* the same without statistics */
    const char *in_vhost;      /* of those of one vhost: "/api/queues/{}"; NULL: they have none */
    const char *in_vhost_bare; /* the same without statistics */
    const char *one;           /* "/api/queues/{}/{}"; NULL: it is not shown by itself */
    const struct column *columns;
    size_t column_count;
};

/* By name or group; NULL: no such kind. */
const struct list_kind *list_kind_find(const char *name);

/* `bourse ls KIND` takes one of these, between bars. */
#define LIST_KINDS                                                                                 \
    "queues|exchanges|bindings|consumers|connections|channels|users|vhosts|policies|"              \
    "operator-policies|permissions|topic-permissions|generations"

int list_run(const struct command_line *line, const struct command_io *io);

/* `bourse queue show QUEUE`, `bourse exchange show EXCHANGE`. */
int show_run(const struct command_line *line, const struct command_io *io);

/* Runs `print` once, or with --watch again and again until it fails or the process is interrupted.
 */
int list_watch(const struct command_line *line, const struct command_io *io,
               int (*print)(struct client *client, const struct command_line *line,
                            const struct output *output));

/* Of an answer that is a page: how to see the one behind it, if there is one and nobody watches. */
void list_say_next(const struct command_line *line, const struct output *output,
                   const json_t *answer);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* Options that say which messages of a queue are meant, the same in every command of the
 * dead-letter desk. They come first in a command's own table (DESK_FILTER_OPTIONS), so that their
 * places are the same everywhere. */
#ifndef BOURSE_CLI_DESK_DESK_FILTER_H
#define BOURSE_CLI_DESK_DESK_FILTER_H

#include <jansson.h>

#include "base/buffer.h"
#include "cli/command/command.h"

enum desk_filter_option {
    FILTER_ID,
    FILTER_ORIGIN,
    FILTER_REASON,
    FILTER_CLASS,
    FILTER_KEY,
    FILTER_ORIGIN_KEY,
    FILTER_EXCHANGE,
    FILTER_HEADER,
    FILTER_MESSAGE_ID,
    FILTER_OLDER,
    FILTER_YOUNGER,
    FILTER_BATCH,
    FILTER_NOT_BATCH,
    FILTER_PLACE,
    DESK_FILTER_OPTION_COUNT,
};

/* clang-format off */
#define DESK_FILTER_OPTIONS                                                                        \
    [FILTER_ID] = {"id", "ID...", "this message; \"dlq show\" says its ID"},                       \
    [FILTER_ORIGIN] = {"origin", "QUEUE", "those that died in this queue first"},                  \
    [FILTER_REASON] = {"reason", "TEXT", "those that died last for this reason"},                  \
    [FILTER_CLASS] = {"class", "TEXT", "those whose failure note gives this class"},               \
    [FILTER_KEY] = {"routing-key", "KEY", "those with this key, or that had it before they died"}, \
    [FILTER_ORIGIN_KEY] = {"origin-key", "KEY", "those that had it: the key of their group"},      \
    [FILTER_EXCHANGE] = {"exchange", "EXCHANGE", "those that were published there last"},          \
    [FILTER_HEADER] = {"header", "NAME=VALUE", "those with this header"},                          \
    [FILTER_MESSAGE_ID] = {"message-id", "TEXT", "those with this in their message-id"},           \
    [FILTER_OLDER] = {"older", "AGE", "those in the queue for longer, such as 30s or 24h"},        \
    [FILTER_YOUNGER] = {"younger", "AGE", "those in the queue for less long"},                     \
    [FILTER_BATCH] = {"replayed-in", "BATCH", "those that were part of this replay"},              \
    [FILTER_NOT_BATCH] = {"not-replayed-in", "BATCH", "those that were not"},                      \
    [FILTER_PLACE] = {"place", "ready|waiting|parked|unacked", "those that are there"}
/* clang-format on */

/* The filter as the interface takes it in a body; an empty object when no option is given.
 * COMMAND_OK, or what was reported; the object is the caller's. */
int desk_filter_object(json_t **object_out, const struct command_line *line,
                       const struct command_io *io);

/* Appends a filter to a query: "&NAME=VALUE" for each member. */
void desk_filter_put_query(struct buffer *query, const json_t *filter);

/* A whole number of an option, at least 1; `*out` stays where it is not given. */
int desk_read_number(json_int_t *out, const struct command_line *line, size_t option,
                     json_int_t max, const struct command_io *io);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* From what the files say about exchanges and queues to what the broker declares: references are
 * checked, words become x-arguments, `from` becomes bindings. */
#ifndef BOURSE_CONFIG_TOPOLOGY_H
#define BOURSE_CONFIG_TOPOLOGY_H

#include "config/document.h"

enum {
    TOPOLOGY_BINDINGS_MAX = 256 * 1024,
    TOPOLOGY_ARGUMENT_BYTES_MAX = 64 * 1024 * 1024, /* of all objects: defaults multiply */
};

/* Fills the exchanges, queues and bindings of `config`; problems go to its report. */
void topology_compile(struct config *config, struct document *document);

/* True when a file declares the exchange or every vhost has it. */
bool topology_has_exchange(const struct document *document, struct bytes name);

/* Reports at `mark` that `name` is no exchange (or queue) of the files, with a guess at the one
 * that was meant. `what` is the key it stands under. */
void topology_report_unknown_exchange(struct config *config, const struct document *document,
                                      struct config_mark mark, const char *what, struct bytes name);
void topology_report_unknown_queue(struct config *config, const struct document *document,
                                   struct config_mark mark, const char *what, struct bytes name);

#endif

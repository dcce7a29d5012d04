/* SPDX-License-Identifier: Apache-2.0 */
/* Arguments of exchanges and queues in the words of a configuration file: `x-message-ttl: 300000`
 * is `ttl: 5m`. */
#ifndef BOURSE_BROKER_PLAN_PLAN_WORDS_H
#define BOURSE_BROKER_PLAN_PLAN_WORDS_H

#include "amqp/table.h"
#include "base/alloc.h"

/* The key under which a file says the argument: "ttl", or "arguments.NAME". In `arena`. */
const char *plan_word(struct arena *arena, struct bytes argument);

/* The same of an argument that has a word of its own; NULL: it has none. */
const char *plan_word_own(struct bytes argument);

/* Its value as the file would have it: "5m", "2GiB", "reject". In `arena`. */
const char *plan_word_value(struct arena *arena, struct bytes argument,
                            const struct table_value *value);

/* "5m", "1500ms"; "2GiB", "1500B". In `arena`. */
const char *plan_duration(struct arena *arena, int64_t ms);
const char *plan_size(struct arena *arena, int64_t octets);
const char *plan_number(struct arena *arena, int64_t number);

/* A text as a file may have it: as it is where it is made of letters, digits and ._:/-, else
 * between quotes with what is special escaped. In `arena`. */
const char *plan_quoted(struct arena *arena, struct bytes text);

/* "x-match: any, a: 1": the fields in their order; "": none. In `arena`. */
const char *plan_table_text(struct arena *arena, struct bytes table);

#endif

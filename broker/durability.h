/* SPDX-License-Identifier: Apache-2.0 */
/* The seam between the state of the core and its log: what a change says is encoded here and handed
 * over before the tick ends. Without a log everything is in memory and nothing is said. */
#ifndef BOURSE_BROKER_DURABILITY_H
#define BOURSE_BROKER_DURABILITY_H

#include "broker/core.h"

/* What a record of docs/store-format.md takes beside its texts and tables, at most. */
enum { CORE_RECORD_FIXED = 64 };

static inline bool
core_has_log(const struct core *core)
{
    return core->journal != NULL;
}

/* Call before a change whose record has so many octets of texts and tables: a change that was made
 * can be neither refused nor forgotten. STATUS_FULL: it would not fit a segment; STATUS_NO_MEMORY.
 * Without a log every change is fine. */
MUST_CHECK enum status core_prepare_record(struct core *core, uint64_t text_octets);

/* Where the next record is encoded; empty. */
struct buffer *core_begin_record(struct core *core);

/* Hands over what was encoded there; nothing when there is no log. */
void core_log_record(struct core *core);

/* The records of this tick that follow, so many octets in all, stand or fall together, where one
 * segment has room for them. */
void core_log_together(struct core *core, uint64_t record_octets);

#endif

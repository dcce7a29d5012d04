/* SPDX-License-Identifier: Apache-2.0 */
/* What a message says of its failures when it is handed out again, and as a dead letter: the
 * headers x-delivery-count, x-acquired-count (both l) and x-last-verdict (S), each only if there is
 * something to say. The message in the queue does not change: what goes out is a copy that lives
 * for the tick. Every other header keeps its place and its octets. */
#ifndef BOURSE_BROKER_DEATH_RETRY_HEADERS_H
#define BOURSE_BROKER_DEATH_RETRY_HEADERS_H

#include "base/buffer.h"
#include "base/bytes.h"
#include "broker/core/core.h"

/* What all three take at most. */
enum { RETRY_HEADERS_OCTETS_MAX = 96 };

/* Whether one of the three has this name. Pure. */
bool retry_headers_have(struct bytes name);

/* Appends `headers` (a validated table) without what it said of failures, and then what `failure`
 * says. Pure. */
void retry_headers_put(struct buffer *out, struct bytes headers, const struct failure_row *failure);

/* Makes a copy of the content of a message that has failed, with those headers; its count is the
 * caller's. `frame_max` is what the receiver takes: where its header frame would not hold them (a
 * frame cannot be split) the copy has the headers as they are. The content is in memory.
 * STATUS_NO_MEMORY: there is none. */
MUST_CHECK enum status core_copy_with_failures(struct core *core, struct content_ref content,
                                               const struct failure_row *failure,
                                               uint32_t frame_max, struct content_ref *copy_out);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* From octets to events: the protocol header, frames, methods, and contents put together. */
#ifndef BOURSE_NET_INPUT_H
#define BOURSE_NET_INPUT_H

#include "base/bytes.h"
#include "net/link.h"

/* Handles what `octets` hold and returns how many it is done with. What is left is the front of a
 * frame that is not complete, link->input_needed octets long, or what follows a pause. A body frame
 * is never left, even if it is incomplete: its octets are taken as they come. Once the link closes,
 * everything is done with. */
size_t input_parse(struct link *link, struct bytes octets);

/* `size` octets of the current body frame were read to where assembly_body_at said. */
void input_took_body(struct link *link, const uint8_t *at, size_t size);

#endif

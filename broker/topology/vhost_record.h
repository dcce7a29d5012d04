/* SPDX-License-Identifier: Apache-2.0 */
/* What a VHOST_SET record says behind the name ("The rest of a vhost" in docs/store-format.md):
 * nothing for a vhost of which people have said nothing. */
#ifndef BOURSE_BROKER_TOPOLOGY_VHOST_RECORD_H
#define BOURSE_BROKER_TOPOLOGY_VHOST_RECORD_H

#include "base/buffer.h"
#include "broker/topology/vhost.h"

void vhost_rest_encode(struct buffer *out, const struct vhost *vhost);

/* STATUS_CORRUPT: `rest` is no such thing. */
MUST_CHECK enum status vhost_rest_decode(struct vhost *vhost, struct bytes rest);

#endif

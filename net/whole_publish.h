/* SPDX-License-Identifier: Apache-2.0 */
/* The short way for the commonest input: a basic.publish whose method, header and body frames lie
 * behind each other in the read buffer. It accepts only what is certainly right and says nothing
 * about the rest: that takes the long way through frames and assemblies, which knows every fault.
 */
#ifndef BOURSE_NET_WHOLE_PUBLISH_H
#define BOURSE_NET_WHOLE_PUBLISH_H

#include "store/chunk_writer.h"

/* What it says of the content lies as the chunk writer reads it: a name that was written a moment
 * ago as pointer and size and is copied as one word of 16 octets waits until all stores before it
 * have reached the cache, and there are those of the last body. */
struct whole_publish {
    size_t size; /* octets of all its frames */
    uint16_t channel;
    bool mandatory;
    bool immediate;
    /* Views of the input: names are well-formed UTF-8, the property block is not validated. `kind`
     * and `flags` are left to whoever validates it. */
    struct content_shape shape;
    const uint8_t *body; /* in one frame */
};

/* True when `octets` begin with a publish on a channel other than 0, with at most one body frame,
 * in frames of at most `frame_max` octets; then `*publish` is filled. Never allocates. */
bool whole_publish_decode(struct whole_publish *publish, struct bytes octets, uint32_t frame_max);

/* True when the property block holds nothing that needs validation: no property but delivery mode
 * and priority, of one octet each. `*delivery_mode_out` is 0 when there is none. */
bool whole_publish_is_plain(struct bytes properties, uint8_t *delivery_mode_out);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/topology/vhost_record.h"

#include <stdlib.h>

#include "base/alloc.h"
#include "store/little_endian.h"

enum { VHOST_REST_LAYOUT = 1, VHOST_PROTECTED = 1 };

static void
put_text(struct buffer *out, const char *text)
{
    uint8_t size[sizeof(uint32_t)];
    struct bytes octets = bytes_of(text == NULL ? "" : text);
    put_u32_le(size, (uint32_t)octets.size);
    buffer_put(out, size, sizeof(size));
    buffer_put_bytes(out, octets);
}

void
vhost_rest_encode(struct buffer *out, const struct vhost *vhost)
{
    if (!vhost->is_protected && vhost->description == NULL && vhost->tags == NULL &&
        vhost->default_queue_type == NULL) {
        return;
    }
    buffer_put_u8(out, VHOST_REST_LAYOUT);
    buffer_put_u8(out, vhost->is_protected ? VHOST_PROTECTED : 0);
    put_text(out, vhost->description);
    put_text(out, vhost->tags);
    put_text(out, vhost->default_queue_type);
}

/* NULL for an empty one; a text with a NUL in it is none of ours. */
static char *
take_text(struct byte_reader *reader)
{
    const uint8_t *at = byte_reader_step(reader, sizeof(uint32_t));
    struct bytes text = byte_reader_take(reader, at == NULL ? 0 : get_u32_le(at));
    if (reader->failed || text.size == 0) {
        return NULL;
    }
    if (memchr(text.data, 0, text.size) != NULL) {
        reader->failed = true;
        return NULL;
    }
    char *copy = xalloc(text.size + 1);
    memcpy(copy, text.data, text.size);
    return copy;
}

enum status
vhost_rest_decode(struct vhost *vhost, struct bytes rest)
{
    struct byte_reader reader = byte_reader_make(rest);
    if (rest.size == 0) {
        return STATUS_OK;
    }
    uint8_t layout = byte_reader_u8(&reader);
    uint8_t flags = byte_reader_u8(&reader);
    vhost->is_protected = flags == VHOST_PROTECTED;
    vhost->description = take_text(&reader);
    vhost->tags = take_text(&reader);
    vhost->default_queue_type = take_text(&reader);
    bool is_good = layout == VHOST_REST_LAYOUT && flags <= VHOST_PROTECTED && !reader.failed &&
                   byte_reader_left(&reader) == 0;
    return is_good ? STATUS_OK : STATUS_CORRUPT;
}

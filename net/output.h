/* SPDX-License-Identifier: Apache-2.0 */
/* What a link has to write: actions encoded as frames behind each other in one buffer. The body of
 * a large content is not copied; it is a part of the stream that lies in its chunk. What the socket
 * did not take until the end of the flush is copied, unless the content was lent: that is read
 * where it lies however long it takes, and a message of any size costs a turn no more than what the
 * turn writes of it.
 *
 * An output holds memory only while it has something to write. The memory goes from link to link
 * through the pool of the network, so that a busy tick allocates nothing.
 *
 * Owner: the network thread. */
#ifndef BOURSE_NET_OUTPUT_H
#define BOURSE_NET_OUTPUT_H

#include "base/buffer.h"
#include "net/seam.h"
#include "net/transport.h"

enum {
    OUTPUT_COPY_MAX = 2048,        /* bodies up to here are copied at once */
    OUTPUT_WRITE_MAX = 128 * 1024, /* what is offered to the transport at a time */
    OUTPUT_SPARES_MAX = 16,
    OUTPUT_SPARE_SIZE_MAX = 512 * 1024,
    OUTPUT_PARTS_KEPT_MAX = 4096,
};

/* Octets of a chunk that come in the stream of one output. */
struct output_part {
    const uint8_t *data;
    size_t size;
    uint64_t at;   /* behind which octet of the buffered ones, counted from the link's first */
    uint64_t loan; /* goes back when the part is written; 0: none does */
    uint32_t next; /* in the same output, or of the free ones: its number + 1; 0 at the end */
    bool is_lent;  /* the octets stay where they are */
};

/* Shared by the outputs of a network. */
struct output_pool {
    struct buffer spares[OUTPUT_SPARES_MAX]; /* empty, with memory */
    uint32_t spare_count;
    struct output_part *parts; /* of all outputs; owned */
    uint32_t part_count;       /* with those that are free */
    uint32_t parts_used;
    uint32_t part_capacity;
    uint32_t free_part; /* number + 1; 0: none */
    uint64_t *loans;    /* that are read no more; the network takes them; owned */
    uint32_t loan_count;
    uint32_t loan_capacity;
};

struct output {
    struct buffer buffer;
    uint64_t consumed;   /* octets of the buffer that were written since the link began */
    uint32_t part_first; /* number + 1; 0: none */
    uint32_t part_last;
    uint32_t uncounted; /* octets at the front that are no part of an action */
    bool is_unsettled;  /* a part may be there that is not lent */
};

void output_pool_init(struct output_pool *pool);
void output_pool_fini(struct output_pool *pool);

/* Gives back the memory that no output uses. True when there was some. */
bool output_pool_trim(struct output_pool *pool);

/* Gives back the memory of parts, if it is much and no output has any. */
void output_pool_trim_parts(struct output_pool *pool);

/* Puts a loan with those that are to be told: nobody reads its content any more. 0 is none. */
void output_pool_return(struct output_pool *pool, uint64_t loan);

void output_init(struct output *output);
void output_fini(struct output *output, struct output_pool *pool);

static inline bool
output_is_empty(const struct output *output)
{
    return buffer_size(&output->buffer) == 0 && output->part_first == 0;
}

/* Appends what METHOD, DELIVER or CONTENT puts on the wire: net_action_octets octets. `content` is
 * what the action names (NULL for METHOD) and stays readable until output_settle, or until the
 * action's loan is among `pool->loans`. STATUS_NO_MEMORY leaves the output useless, and the loan
 * with the caller: close the link. */
MUST_CHECK enum status output_put(struct output *output, struct output_pool *pool,
                                  const struct net_action *action, const struct content *content,
                                  uint32_t frame_max);

/* Appends octets that no action accounts for (a heartbeat, a protocol header); only when the output
 * is empty. STATUS_NO_MEMORY as above. */
MUST_CHECK enum status output_put_uncounted(struct output *output, struct output_pool *pool,
                                            const uint8_t *octets, uint32_t size);

/* Writes until everything is written or OUTPUT_WRITE_MAX octets are, and less than as many more
 * (STATUS_OK), the transport takes no more (STATUS_AGAIN) or is broken (STATUS_IO, STATUS_CLOSED).
 * `*octets_out` is what it took, `*counted_out` how much of that belongs to actions; both also when
 * it broke later. */
MUST_CHECK enum status output_write(struct output *output, struct output_pool *pool,
                                    struct transport *transport, uint64_t *octets_out,
                                    uint64_t *counted_out);

/* Copies the parts that are still to be written, so that no chunk is read any more but those that
 * were lent. STATUS_NO_MEMORY as above. */
MUST_CHECK enum status output_settle(struct output *output, struct output_pool *pool);

#endif

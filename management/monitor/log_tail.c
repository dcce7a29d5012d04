/* SPDX-License-Identifier: Apache-2.0 */
#include "management/monitor/log_tail.h"

#include <stdlib.h>

#include "base/alloc.h"
#include "base/assert.h"

/* Where a line stands in the octets; lines are never split. */
struct place {
    uint32_t offset, size;
};

struct log_tail {
    struct log *log;                     /* borrowed; NULL: none */
    uint64_t oldest;                     /* number of the first line that is there */
    uint64_t next;                       /* number of the line to come */
    uint32_t end;                        /* of the line before it */
    struct place places[LOG_TAIL_LINES]; /* by number */
    char octets[LOG_TAIL_OCTETS];
};

static struct place *
place_of(struct log_tail *tail, uint64_t number)
{
    return &tail->places[number % LOG_TAIL_LINES];
}

/* The line to come gets `size` octets at tail->end; what stands there is let go of. Behind the last
 * line that fits, the octets begin anew: what was written there in the round before is older than
 * anything at the front, so it goes first. */
static void
make_room(struct log_tail *tail, uint32_t size)
{
    bool begins_anew = size > LOG_TAIL_OCTETS - tail->end;
    uint32_t from = begins_anew ? tail->end : LOG_TAIL_OCTETS;
    tail->end = begins_anew ? 0 : tail->end;
    while (tail->oldest < tail->next) {
        const struct place *place = place_of(tail, tail->oldest);
        bool is_in_the_way =
            place->offset < tail->end + size && place->offset + place->size > tail->end;
        bool is_of_last_round = place->offset >= from;
        if (!is_in_the_way && !is_of_last_round && tail->next - tail->oldest < LOG_TAIL_LINES) {
            break;
        }
        tail->oldest++;
    }
}

static void
on_line(void *context, struct bytes line)
{
    struct log_tail *tail = context;
    assert(line.size <= LOG_TAIL_OCTETS);
    make_room(tail, (uint32_t)line.size);
    memcpy(tail->octets + tail->end, line.data, line.size);
    *place_of(tail, tail->next) = (struct place){tail->end, (uint32_t)line.size};
    tail->end += (uint32_t)line.size;
    tail->next++;
}

struct log_tail *
log_tail_new(struct log *log)
{
    struct log_tail *tail = xalloc(sizeof(*tail));
    tail->log = log;
    tail->oldest = 1;
    tail->next = 1;
    log_tap(log, on_line, tail);
    return tail;
}

void
log_tail_free(struct log_tail **tail)
{
    if (*tail != NULL) {
        log_tap((*tail)->log, NULL, NULL);
        free(*tail);
        *tail = NULL;
    }
}

uint64_t
log_tail_read(struct log_tail *tail, uint64_t after, struct buffer *out)
{
    if (tail->log == NULL) {
        return tail->next;
    }
    pthread_mutex_lock(&tail->log->lock);
    uint64_t first = after >= tail->next ? tail->next : after + 1;
    first = first < tail->oldest ? tail->oldest : first;
    for (uint64_t number = first; number < tail->next; number++) {
        const struct place *place = place_of(tail, number);
        buffer_put(out, tail->octets + place->offset, place->size);
    }
    pthread_mutex_unlock(&tail->log->lock);
    return first;
}

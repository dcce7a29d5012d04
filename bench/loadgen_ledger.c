/* SPDX-License-Identifier: Apache-2.0 */

/* Count and sum of sequence numbers together tell loss from duplication even where several
 * consumers share a queue and none of them sees every number. */

#include "bench/loadgen_ledger.h"

#include <inttypes.h>
#include <stdlib.h>

#include "bench/loadgen_die.h"

void
ledger_init(struct ledger *ledger, uint32_t producers, uint32_t queues, uint32_t copies,
            uint32_t body_bytes)
{
    size_t lanes = (size_t)producers * queues;
    *ledger = (struct ledger){
        .producers = producers,
        .queues = queues,
        .copies = copies,
        .body_bytes = body_bytes,
        .sent = die_calloc(lanes, sizeof(uint64_t)),
        .received_count = die_calloc(lanes, sizeof(uint64_t)),
        .received_sum = die_calloc(lanes, sizeof(uint64_t)),
    };
}

void
ledger_fini(struct ledger *ledger)
{
    free(ledger->sent);
    free(ledger->received_count);
    free(ledger->received_sum);
    *ledger = (struct ledger){0};
}

static size_t
ledger_lane(const struct ledger *ledger, uint32_t producer, uint32_t queue)
{
    return (size_t)producer * ledger->queues + queue;
}

/* Messages that belong into the lane; one that goes to all queues was entered at queue zero. */
static uint64_t
ledger_sent(const struct ledger *ledger, uint32_t producer, uint32_t queue)
{
    return ledger->sent[ledger_lane(ledger, producer, ledger->copies > 1 ? 0 : queue)];
}

uint64_t
ledger_publish(struct ledger *ledger, uint32_t producer, uint32_t queue)
{
    ledger->published++;
    return ledger->sent[ledger_lane(ledger, producer, queue)]++;
}

void
ledger_expect(struct ledger *ledger, uint64_t count, uint32_t first_queue, uint32_t queue_count)
{
    if (ledger->copies > 1) {
        ledger->sent[0] = count;
        ledger->published = count;
        return;
    }
    for (uint32_t queue = first_queue; queue < first_queue + queue_count; queue++) {
        uint64_t share = count / ledger->queues + (queue < count % ledger->queues ? 1 : 0);
        ledger->sent[queue] = share;
        ledger->published += share;
    }
}

static void
ledger_check_order(const struct stamp *stamp, uint32_t queue, uint64_t next, bool alone)
{
    if (stamp->sequence < next) {
        die("queue %u: message %" PRIu64
            " of producer %u came twice or out of order, after %" PRIu64,
            queue, stamp->sequence, stamp->producer, next - 1);
    }
    if (alone && stamp->sequence > next) {
        die("queue %u: message %" PRIu64 " of producer %u is lost or late; %" PRIu64
            " came instead",
            queue, next, stamp->producer, stamp->sequence);
    }
}

void
ledger_deliver(struct ledger *ledger, const struct stamp *stamp, uint32_t queue, uint64_t *next,
               bool alone)
{
    ledger->delivered++;
    if (ledger->body_bytes < STAMP_BYTES) {
        return;
    }
    uint32_t stamped_queue = ledger->copies > 1 ? 0 : queue;
    if (stamp->producer >= ledger->producers || stamp->queue != stamped_queue) {
        die("queue %u: a body that is not ours or was meant for queue %u", queue, stamp->queue);
    }
    size_t lane = ledger_lane(ledger, stamp->producer, queue);
    ledger_check_order(stamp, queue, next[lane], alone);
    next[lane] = stamp->sequence + 1;
    ledger->received_count[lane]++;
    ledger->received_sum[lane] += stamp->sequence;
}

uint64_t
ledger_in_flight(const struct ledger *ledger)
{
    uint64_t everywhere = ledger->delivered / ledger->copies;
    return everywhere < ledger->published ? ledger->published - everywhere : 0;
}

static void
ledger_check_lane(const struct ledger *ledger, uint32_t producer, uint32_t queue)
{
    size_t lane = ledger_lane(ledger, producer, queue);
    uint64_t sent = ledger_sent(ledger, producer, queue);
    uint64_t received = ledger->received_count[lane];
    uint64_t sum = 0;
    if (sent > 0) {
        /* 0 + 1 + ... + (sent - 1), halved before the product so that it wraps as the sum did. */
        sum = sent % 2 == 0 ? sent / 2 * (sent - 1) : (sent - 1) / 2 * sent;
    }
    if (received != sent || ledger->received_sum[lane] != sum) {
        die("queue %u: of %" PRIu64 " messages of producer %u, %" PRIu64 " came back%s", queue,
            sent, producer, received, received == sent ? ", but not each of them once" : "");
    }
}

void
ledger_check_complete(const struct ledger *ledger)
{
    if (ledger->delivered != ledger->published * ledger->copies) {
        die("%" PRIu64 " deliveries are due and %" PRIu64 " came",
            ledger->published * ledger->copies, ledger->delivered);
    }
    if (ledger->body_bytes < STAMP_BYTES) {
        return;
    }
    for (uint32_t producer = 0; producer < ledger->producers; producer++) {
        for (uint32_t queue = 0; queue < ledger->queues; queue++) {
            ledger_check_lane(ledger, producer, queue);
        }
    }
}

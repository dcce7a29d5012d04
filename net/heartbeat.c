/* SPDX-License-Identifier: Apache-2.0 */
/* Heartbeat arithmetic. */
#include "net/heartbeat.h"

#include "base/assert.h"

static uint64_t
send_due_ms(const struct heartbeat *heartbeat)
{
    return heartbeat->last_write_ms + heartbeat->interval_ms / 2;
}

static uint64_t
silence_due_ms(const struct heartbeat *heartbeat)
{
    return heartbeat->last_read_ms + 2 * (uint64_t)heartbeat->interval_ms;
}

enum heartbeat_verdict
heartbeat_check(const struct heartbeat *heartbeat, bool is_listening, uint64_t now_ms)
{
    assert(heartbeat->interval_ms > 0);
    if (is_listening && now_ms >= silence_due_ms(heartbeat)) {
        return HEARTBEAT_PEER_GONE;
    }
    return now_ms >= send_due_ms(heartbeat) ? HEARTBEAT_SEND_DUE : HEARTBEAT_FINE;
}

uint64_t
heartbeat_due_ms(const struct heartbeat *heartbeat, bool is_listening)
{
    uint64_t due_ms = send_due_ms(heartbeat);
    if (is_listening && silence_due_ms(heartbeat) < due_ms) {
        due_ms = silence_due_ms(heartbeat);
    }
    return due_ms;
}

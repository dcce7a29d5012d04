/* SPDX-License-Identifier: Apache-2.0 */
/* AMQP 0-9-1, 4.2.7, with RabbitMQ's figures: send after half an interval, give up after two. */
#include "net/heartbeat.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>

#include "base/assert.h"

TestSuite(heartbeat);

Test(heartbeat, is_sent_after_half_an_interval_and_the_peer_is_gone_after_two)
{
    static const struct {
        uint64_t last_read_ms;
        uint64_t last_write_ms;
        bool is_listening;
        uint64_t now_ms;
        enum heartbeat_verdict verdict;
        uint64_t due_ms;
    } rows[] = {
        {1000, 1000, true, 1000, HEARTBEAT_FINE, 6000},
        {1000, 1000, true, 5999, HEARTBEAT_FINE, 6000},
        {1000, 1000, true, 6000, HEARTBEAT_SEND_DUE, 6000},
        {1000, 9000, true, 10000, HEARTBEAT_FINE, 14000},
        {1000, 18000, true, 20999, HEARTBEAT_FINE, 21000},
        {1000, 18000, true, 21000, HEARTBEAT_PEER_GONE, 21000},
        {1000, 18000, false, 21000, HEARTBEAT_FINE, 23000},
        {1000, 1000, false, 90000, HEARTBEAT_SEND_DUE, 6000},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct heartbeat heartbeat = {
            .last_read_ms = rows[i].last_read_ms,
            .last_write_ms = rows[i].last_write_ms,
            .interval_ms = 10000,
        };
        enum heartbeat_verdict verdict =
            heartbeat_check(&heartbeat, rows[i].is_listening, rows[i].now_ms);
        uint64_t due_ms = heartbeat_due_ms(&heartbeat, rows[i].is_listening);
        cr_expect(eq(int, verdict, rows[i].verdict), "row %zu", i);
        cr_expect(eq(u64, due_ms, rows[i].due_ms), "row %zu", i);
    }
}

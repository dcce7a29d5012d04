/* SPDX-License-Identifier: Apache-2.0 */
/* Alarms: when memory or disk are short nobody may publish, and clients are told why. What waits
 * meanwhile is blocked.c. */
#include "amqp/method.h"
#include "broker/connections/connection.h"
#include "broker/publishing/transaction.h"

#include <inttypes.h>

const char *
core_alarm_reason(const struct core *core)
{
    static const char *const reasons[] = {
        [0] = "",
        [ALARM_MEMORY] = "low on memory",
        [ALARM_DISK] = "low on disk",
        [ALARM_MEMORY | ALARM_DISK] = "low on memory & disk",
    };
    return reasons[core->alarms & (ALARM_MEMORY | ALARM_DISK)];
}

void
connection_send_blocked(struct connection *connection)
{
    const char *reason = core_alarm_reason(connection->core);
    if (connection->blocked_sent || reason[0] == '\0' ||
        (connection->capabilities & CAPABILITY_CONNECTION_BLOCKED) == 0) {
        return;
    }
    connection->blocked_sent = true;
    struct method blocked = {
        .id = METHOD_CONNECTION_BLOCKED,
        .connection_blocked = {.reason = bytes_of(reason)},
    };
    connection_send(connection, 0, &blocked);
}

void
connection_send_unblocked(struct connection *connection)
{
    if (connection->blocked_sent && connection->state == CONNECTION_RUNNING) {
        struct method unblocked = {.id = METHOD_CONNECTION_UNBLOCKED};
        connection_send(connection, 0, &unblocked);
    }
    connection->blocked_sent = false;
}

/* Everyone may publish again, after what is held, which takes its turns. */
static void
core_release_all(struct core *core)
{
    LIST_FOR_EACH(&core->connection_list, link)
    {
        struct connection *connection = CONTAINER_OF(link, struct connection, core_link);
        if (list_is_empty(&connection->held)) {
            connection_send_unblocked(connection);
        } else {
            connection_replay_later(connection);
        }
    }
}

void
core_set_alarm(struct core *core, enum core_alarm alarm, bool is_on)
{
    bool was_on = core->alarms != 0;
    if (is_on) {
        core->alarms |= (uint8_t)alarm;
    } else {
        core->alarms &= (uint8_t)~alarm;
    }
    if (was_on && core->alarms == 0) {
        core_release_all(core);
    }
}

static uint64_t
core_memory_used(const struct core *core)
{
    return chunk_pool_bytes(core->pool) + core->queue_memory.bytes;
}

/* What is held stays out of the comparison with the mark, so it needs a bound of its own: a quarter
 * of the mark, over all connections. Contents that are still on their way count from the moment
 * they begin, with their whole size. */
uint64_t
core_contents_allowed(const struct core *core)
{
    uint64_t mark = core->settings.memory_mark_bytes;
    if (mark == 0) {
        return UINT64_MAX;
    }
    uint64_t limit = mark + mark / 4;
    uint64_t used = core_memory_used(core);
    return core->opened_bytes + (used < limit ? limit - used : 0);
}

void
core_check_memory(struct core *core)
{
    uint64_t mark = core->settings.memory_mark_bytes;
    if (mark == 0) {
        return;
    }
    uint64_t used = core_memory_used(core);
    assert(core->held_bytes <= used);
    /* What waits for the end of the alarm must not keep it up. */
    used -= core->held_bytes;
    bool is_on = (core->alarms & ALARM_MEMORY) != 0;
    if (!is_on && used >= mark) {
        log_warn(core->log, "memory.alarm_on", "used_bytes=%" PRIu64 " mark_bytes=%" PRIu64, used,
                 mark);
        core_set_alarm(core, ALARM_MEMORY, true);
        core_watch_transactions(core, true);
    } else if (is_on && used < mark - mark / 10) {
        log_info(core->log, "memory.alarm_off", "used_bytes=%" PRIu64 " mark_bytes=%" PRIu64, used,
                 mark);
        core_set_alarm(core, ALARM_MEMORY, false);
        core_watch_transactions(core, false);
    }
}

uint64_t
core_disk_mark(uint64_t mark_bytes, uint32_t mark_percent, uint64_t total_bytes)
{
    static const uint64_t MARK_MIN = UINT64_C(1) << 30;
    if (mark_bytes != 0) {
        return mark_bytes;
    }
    if (mark_percent != 0) {
        return total_bytes / 100 * mark_percent;
    }
    uint64_t share = total_bytes / 100 * 5;
    return share > MARK_MIN ? share : MARK_MIN;
}

bool
core_disk_is_low(const struct core *core)
{
    return (core->alarms & ALARM_DISK) != 0;
}

void
core_set_disk_space(struct core *core, uint64_t free_bytes, uint64_t total_bytes)
{
    uint64_t mark = core_disk_mark(core->settings.disk_mark_bytes, core->settings.disk_mark_percent,
                                   total_bytes);
    bool is_on = core_disk_is_low(core);
    core->disk_free_bytes = free_bytes;
    core->disk_mark_bytes = mark;
    if (!is_on && free_bytes < mark) {
        log_warn(core->log, "disk.alarm_on", "free_bytes=%" PRIu64 " mark_bytes=%" PRIu64,
                 free_bytes, mark);
        core_set_alarm(core, ALARM_DISK, true);
    } else if (is_on && free_bytes >= mark + mark / 10) {
        log_info(core->log, "disk.alarm_off", "free_bytes=%" PRIu64 " mark_bytes=%" PRIu64,
                 free_bytes, mark);
        core_set_alarm(core, ALARM_DISK, false);
    }
}

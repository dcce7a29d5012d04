/* SPDX-License-Identifier: Apache-2.0 */
/* Vhosts, users, exchanges, queues and bindings as a disk may give them. The input is records
 * behind each other, as docs/store-format.md has them. They are refused, or what they make is
 * sound: it can be asked, and deleted again to the last binding. */
#include "broker/durability/durable_topology.h"

#include "tests/fuzz/core_world.h"
#include "tests/fuzz/target.h"

enum { INPUT_MAX = 16 * 1024 };

static enum status
restore(struct core *core, struct bytes octets)
{
    struct topology_restore restore;
    struct record record;
    enum status status = STATUS_OK;
    topology_restore_init(&restore, core);
    while (status == STATUS_OK && record_next(&octets, &record) == STATUS_OK) {
        status = topology_restore_record(&restore, &record);
    }
    topology_restore_fini(&restore);
    return status;
}

static void
ask_user(struct core *core, struct user *user, struct bytes vhost)
{
    static const char *const names[] = {"", "orders", "amq.topic"};
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        bool may_read =
            access_allows(core, user, vhost, ACCESS_READ, ACCESS_QUEUE, bytes_of(names[i]));
        assert(!may_read || access_may_enter(user, vhost));
    }
}

static void
ask_users(struct core *core)
{
    uint32_t position = 0;
    for (struct map_entry *entry; (entry = map_next(&core->users, &position)) != NULL;) {
        struct user *user = entry->value;
        struct user_grant grant;
        uint32_t grant_position = 0;
        assert(!user->has_secret);
        while (user_next_grant(user, &grant_position, &grant)) {
            assert(core_find_vhost(core, grant.vhost) != NULL);
            ask_user(core, user, grant.vhost);
        }
    }
}

static void
delete_queues(struct vhost *vhost)
{
    uint32_t position = 0;
    for (struct map_entry *entry; (entry = map_next(&vhost->queues, &position)) != NULL;) {
        struct queue *queue = entry->value;
        uint64_t id = queue->target.id;
        assert(core_find_queue_by_id(vhost->core, id) == queue);
        (void)vhost_delete_queue(vhost, queue);
        assert(core_find_queue_by_id(vhost->core, id) == NULL);
    }
}

/* Deleting one may take others along. */
static void
delete_exchanges(struct vhost *vhost)
{
    uint32_t position = 0;
    for (struct map_entry *entry; (entry = map_next(&vhost->exchanges, &position)) != NULL;) {
        vhost_delete_exchange(vhost, entry->value);
    }
    assert(map_count(&vhost->exchanges) == 0);
}

static void
run(struct bytes input)
{
    struct core_world world;
    struct core_settings settings = core_world_settings();
    core_world_init(&world, LOG_LEVEL_DEBUG);
    core_world_open(&world, &settings, core_world_nowhere());
    enum status status = restore(world.core, input);
    assert(status == STATUS_OK || status == STATUS_CORRUPT);
    if (status == STATUS_OK) {
        uint32_t position = 0;
        core_complete_topology(world.core, 0);
        ask_users(world.core);
        for (struct map_entry *entry; (entry = map_next(&world.core->vhosts, &position)) != NULL;) {
            delete_queues(entry->value);
            delete_exchanges(entry->value);
        }
    }
    core_world_close(&world);
}

/* Lengths of records stay, so that what is behind them is reached. */
static size_t
mutate(uint8_t *data, size_t size, size_t size_max, struct draw *draw)
{
    (void)size_max;
    struct bytes left = bytes_make(data, size);
    struct record record;
    while (record_next(&left, &record) == STATUS_OK) {
        size_t start = (size_t)(record.octets.data - data);
        if (draw_below(draw, 3) == 0 && record.octets.size > RECORD_HEADER_SIZE) {
            uint32_t room = (uint32_t)record.octets.size - RECORD_HEADER_SIZE;
            data[start + RECORD_HEADER_SIZE + draw_below(draw, room)] ^=
                (uint8_t)(1U << draw_below(draw, 8));
            break;
        }
    }
    return size;
}

const struct fuzz_target fuzz_topology = {
    .name = "topology",
    .size_max = INPUT_MAX,
    .run = run,
    .mutate = mutate,
};

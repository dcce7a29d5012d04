/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/fuzz/core_world.h"

#include <stdlib.h>

#include "broker/topology/vhost.h"
#include "queues/queue.h"

/* What a hash looks like here: slow ones are known by their prefix, the rest is the password. */
#define HASH_PREFIX "$scrypt$"

static void *
heap_map(void *context, size_t size)
{
    (void)context;
    return aligned_alloc(4096, (size + 4095) & ~(size_t)4095);
}

static void
heap_unmap(void *context, void *memory, size_t size)
{
    (void)context;
    (void)size;
    free(memory);
}

struct chunk_memory
core_world_memory(void)
{
    return (struct chunk_memory){.map = heap_map, .unmap = heap_unmap};
}

static struct clock_reading
read_clock(void *context)
{
    const struct core_world *world = context;
    return world->now;
}

static void
read_line_over(void *context, struct bytes line)
{
    (void)context;
    assert(line.size > 0);
    assert(line.data[line.size - 1] == '\n');
    for (size_t i = 0; i + 1 < line.size; i++) {
        assert(line.data[i] >= 0x20);
        assert(line.data[i] != 0x7F);
    }
    assert(bytes_is_utf8(line));
}

static enum status
start_check(void *context, uint64_t id, struct bytes password, const char *hash)
{
    struct core_world *world = context;
    if (world->check_count == CORE_WORLD_CHECKS_MAX) {
        return STATUS_FULL;
    }
    bool matches = strncmp(hash, HASH_PREFIX, sizeof(HASH_PREFIX) - 1) == 0 &&
                   bytes_equal_text(password, hash + sizeof(HASH_PREFIX) - 1);
    world->checks[world->check_count++] = (struct core_world_check){.id = id, .matches = matches};
    return STATUS_OK;
}

static void
drop_action(void *context, const struct net_action *action)
{
    (void)context;
    (void)action;
}

struct net_port
core_world_nowhere(void)
{
    return (struct net_port){.post = drop_action, .context = NULL};
}

struct core_settings
core_world_settings(void)
{
    return (struct core_settings){
        .frame_max = 131072,
        .channel_max = 2047,
        .heartbeat_s = 60,
        .message_bytes_max = UINT64_C(64) << 10,
    };
}

void
core_world_init(struct core_world *world, enum log_level level)
{
    *world = (struct core_world){.now = {.monotonic_ms = 1000000, .wall_ms = 1700000000000},
                                 .random_state = 42};
    world->log = (struct log){
        .level = level,
        .write = read_line_over,
        .clock = {.read = read_clock, .context = world},
    };
    world->pool = chunk_pool_new_with(core_world_memory());
}

void
core_world_open(struct core_world *world, const struct core_settings *settings, struct net_port net)
{
    struct core_ports ports = {
        .net = net,
        .password = {.check = start_check, .context = world},
        .random = random_seeded(&world->random_state),
    };
    world->core = core_new(settings, &ports, world->pool, &world->log, world->now);
    core_begin_tick(world->core, world->now);
    struct vhost *vhost = vhost_new(world->core, bytes_of("/"));
    core_add_vhost(world->core, vhost);
}

void
core_world_check_queues(const struct core_world *world)
{
    uint32_t vhost_position = 0;
    const struct map_entry *entry;
    while ((entry = map_next(&world->core->vhosts, &vhost_position)) != NULL) {
        const struct vhost *vhost = entry->value;
        uint32_t position = 0;
        while ((entry = map_next(&vhost->queues, &position)) != NULL) {
            queue_check(entry->value);
        }
    }
}

void
core_world_close(struct core_world *world)
{
    assert(world->core->counters.internal_errors == 0);
    core_world_check_queues(world);
    core_free(&world->core);
    chunk_pool_end_tick(world->pool, chunk_pool_tick(world->pool));
    assert(chunk_pool_bytes(world->pool) == 0);
    chunk_pool_free(&world->pool);
}

struct config_user
core_world_user(const char *name, const char *expression)
{
    return (struct config_user){
        .name = bytes_of(name),
        .auth = AUTH_PASSWORD,
        .configure = expression,
        .write = expression,
        .read = expression,
        .connections_max = -1,
        .channels_max = -1,
    };
}

enum status
core_world_put_user(struct core_world *world, const struct config_user *user)
{
    char hash[128];
    struct config_user hashed = *user;
    (void)snprintf(hash, sizeof(hash), HASH_PREFIX "%.*s", BYTES_FORMAT(user->name));
    hashed.password_hash = user->auth == AUTH_PASSWORD ? hash : NULL;
    return core_put_user(world->core, &hashed, bytes_of("/"));
}

void
core_world_answer(struct core_world *world)
{
    while (world->check_count > 0) {
        struct core_world_check check = world->checks[--world->check_count];
        core_password_done(world->core, check.id, check.matches);
    }
}

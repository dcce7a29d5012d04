/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/changes/generation.h"

#include <stdlib.h>

#include "base/assert.h"
#include "broker/connections/connection.h"
#include "broker/durability/durability.h"
#include "broker/topology/vhost.h"
#include "broker/users/user.h"
#include "store/little_endian.h"

enum { LAYOUT = 1 };

struct generations *
generations_new(void)
{
    struct generations *generations = xalloc(sizeof(*generations));
    generations->next_id = 1;
    return generations;
}

static void
generation_free(struct generation *generation)
{
    arena_fini(&generation->arena);
    free(generation);
}

void
generations_free(struct generations **generations_pointer)
{
    struct generations *generations = *generations_pointer;
    *generations_pointer = NULL;
    if (generations == NULL) {
        return;
    }
    for (size_t i = 0; i < generations->count; i++) {
        generation_free(generations->items[i]);
    }
    free(generations->items);
    free(generations);
}

/* Questions ------------------------------------------------------------------------------------ */

const struct generation *
core_generation_at(const struct core *core, size_t at)
{
    const struct generations *generations = core->generations;
    return at < generations->count ? generations->items[generations->count - 1 - at] : NULL;
}

const struct generation *
core_find_generation(const struct core *core, uint64_t id)
{
    const struct generation *generation;
    for (size_t at = 0; (generation = core_generation_at(core, at)) != NULL; at++) {
        if (generation->id == id) {
            break;
        }
    }
    return generation;
}

const struct generation *
core_current_generation(const struct core *core, struct bytes vhost)
{
    const struct generation *generation;
    for (size_t at = 0; (generation = core_generation_at(core, at)) != NULL; at++) {
        if (bytes_equal(generation->vhost, vhost)) {
            break;
        }
    }
    return generation;
}

const struct generation *
core_last_of_serve(const struct core *core)
{
    const struct generation *generation;
    for (size_t at = 0; (generation = core_generation_at(core, at)) != NULL; at++) {
        if (generation->cause == GENERATION_START || generation->cause == GENERATION_RELOAD) {
            break;
        }
    }
    return generation;
}

const char *
generation_cause_name(enum generation_cause cause)
{
    static const char *const names[GENERATION_CAUSE_COUNT] = {
        [GENERATION_START] = "start",
        [GENERATION_RELOAD] = "reload",
        [GENERATION_APPLY] = "apply",
        [GENERATION_ROLLBACK] = "rollback",
    };
    return names[cause];
}

static int
compare_alert(const void *name, const void *alert)
{
    return bytes_compare(*(const struct bytes *)name,
                         ((const struct generation_alert *)alert)->queue);
}

const struct config_alert *
core_find_alert(const struct core *core, struct bytes vhost, struct bytes queue)
{
    const struct generation *generation = core_current_generation(core, vhost);
    if (generation == NULL || generation->alert_count == 0) {
        return NULL;
    }
    const struct generation_alert *alert =
        bsearch(&queue, generation->alerts, generation->alert_count, sizeof(*alert), compare_alert);
    return alert == NULL ? NULL : &alert->limits;
}

struct bytes
core_maker_name(const struct core *core, const struct made *made)
{
    uint64_t id = made->user;
    const struct user *user = map_get(&core->user_ids, bytes_make(&id, sizeof(id)));
    return user == NULL ? bytes_of("") : user->name;
}

struct made
connection_maker(const struct connection *connection)
{
    return made_by(connection->user == NULL ? 0 : connection->user->id,
                   connection->core->now.wall_ms);
}

/* Configurations ------------------------------------------------------------------------------- */

static const char *
get_no_variable(void *context, const char *name)
{
    (void)context;
    (void)name;
    return NULL;
}

struct config *
generation_config(const struct generation *generation)
{
    static const struct config_environment nothing = {.get_variable = get_no_variable};
    return config_read_sources(generation->sources, generation->source_count, CONFIG_FOR_APPLY,
                               &nothing);
}

uint64_t
config_digest(const struct config *config)
{
    uint64_t digest = 0;
    for (size_t i = 0; i < config->source_count; i++) {
        digest = bytes_hash(config->sources[i].text, digest + 1);
    }
    return digest;
}

/* Records -------------------------------------------------------------------------------------- */

static void
put_u64_little(struct buffer *out, uint64_t value)
{
    uint8_t octets[sizeof(value)];
    put_u64_le(octets, value);
    buffer_put(out, octets, sizeof(octets));
}

static void
put_text(struct buffer *out, struct bytes text)
{
    uint8_t octets[sizeof(uint32_t)];
    assert(text.size <= UINT32_MAX);
    put_u32_le(octets, (uint32_t)text.size);
    buffer_put(out, octets, sizeof(octets));
    buffer_put_bytes(out, text);
}

static bool
has_alert(const struct config_queue *queue)
{
    return queue->alert.has_ready || queue->alert.has_oldest;
}

static size_t
count_alerts(const struct config *config)
{
    size_t count = 0;
    for (size_t i = 0; i < config->queue_count; i++) {
        count += has_alert(&config->queues[i]);
    }
    return count;
}

static void
encode(struct buffer *out, const struct generation *generation)
{
    put_u64_little(out, LAYOUT);
    put_u64_little(out, generation->digest);
    put_u64_little(out, generation->restored_id);
    put_u64_little(out, generation->alert_count);
    for (size_t i = 0; i < generation->alert_count; i++) {
        const struct config_alert *limits = &generation->alerts[i].limits;
        put_text(out, generation->alerts[i].queue);
        put_u64_little(out, limits->has_ready ? (uint64_t)limits->ready_above : UINT64_MAX);
        put_u64_little(out, limits->has_oldest ? (uint64_t)limits->oldest_above_ms : UINT64_MAX);
    }
    put_u64_little(out, generation->source_count);
    for (size_t i = 0; i < generation->source_count; i++) {
        put_text(out, bytes_of(generation->sources[i].name));
        put_text(out, generation->sources[i].text);
    }
}

uint64_t
generation_octets(const struct generation_properties *properties)
{
    enum { ALERT_OCTETS = 20, SOURCE_OCTETS = 8, FIXED_OCTETS = 5 * 8 };
    const struct config *config = properties->config;
    uint64_t octets = CORE_RECORD_FIXED + FIXED_OCTETS + properties->maker.size;
    for (size_t i = 0; i < config->queue_count; i++) {
        octets += has_alert(&config->queues[i]) ? ALERT_OCTETS + config->queues[i].name.size : 0;
    }
    for (size_t i = 0; i < config->source_count; i++) {
        octets += SOURCE_OCTETS + strlen(config->sources[i].name) + config->sources[i].text.size;
    }
    /* And those that it drives out. */
    return octets + 2 * CORE_RECORD_FIXED;
}

static uint64_t
take_u64(struct byte_reader *reader)
{
    const uint8_t *at = byte_reader_step(reader, sizeof(uint64_t));
    return at == NULL ? 0 : get_u64_le(at);
}

static struct bytes
take_text(struct byte_reader *reader)
{
    const uint8_t *at = byte_reader_step(reader, sizeof(uint32_t));
    return at == NULL ? bytes_of("") : byte_reader_take(reader, get_u32_le(at));
}

/* A number of things of which each takes at least so many octets. */
static size_t
take_count(struct byte_reader *reader, size_t size_min)
{
    uint64_t count = take_u64(reader);
    if (count > byte_reader_left(reader) / size_min) {
        reader->failed = true;
        return 0;
    }
    return (size_t)count;
}

static void
take_alerts(struct byte_reader *reader, struct generation *generation)
{
    enum { ALERT_SIZE_MIN = 20 };
    size_t count = take_count(reader, ALERT_SIZE_MIN);
    generation->alerts = arena_alloc(&generation->arena, (count + 1) * sizeof(*generation->alerts));
    generation->alert_count = count;
    for (size_t i = 0; i < count; i++) {
        struct generation_alert *alert = &generation->alerts[i];
        alert->queue = arena_copy(&generation->arena, take_text(reader));
        int64_t ready = (int64_t)take_u64(reader);
        int64_t oldest = (int64_t)take_u64(reader);
        alert->limits = (struct config_alert){
            .has_ready = ready >= 0,
            .has_oldest = oldest >= 0,
            .ready_above = ready >= 0 ? ready : 0,
            .oldest_above_ms = oldest >= 0 ? oldest : 0,
        };
    }
}

static void
take_sources(struct byte_reader *reader, struct generation *generation)
{
    enum { SOURCE_SIZE_MIN = 8 };
    size_t count = take_count(reader, SOURCE_SIZE_MIN);
    generation->sources =
        arena_alloc(&generation->arena, (count + 1) * sizeof(*generation->sources));
    generation->source_count = count;
    for (size_t i = 0; i < count; i++) {
        generation->sources[i].name =
            (const char *)arena_copy(&generation->arena, take_text(reader)).data;
        generation->sources[i].text = arena_copy(&generation->arena, take_text(reader));
    }
}

static bool
decode(struct generation *generation, struct bytes rest)
{
    struct byte_reader reader = byte_reader_make(rest);
    uint64_t layout = take_u64(&reader);
    generation->digest = take_u64(&reader);
    generation->restored_id = take_u64(&reader);
    take_alerts(&reader, generation);
    take_sources(&reader, generation);
    return layout == LAYOUT && !reader.failed && byte_reader_left(&reader) == 0;
}

/* Making --------------------------------------------------------------------------------------- */

static void
append(struct generations *generations, struct generation *generation)
{
    if (generations->count == generations->capacity) {
        generations->capacity = generations->capacity == 0 ? 8 : 2 * generations->capacity;
        generations->items =
            xrealloc(generations->items, generations->capacity * sizeof(struct generation *));
    }
    generations->items[generations->count++] = generation;
    if (generation->id >= generations->next_id) {
        generations->next_id = generation->id + 1;
    }
}

enum status
core_restore_generation(struct core *core, const struct vhost *vhost,
                        const struct record_generation *record)
{
    struct generation *generation = xalloc(sizeof(*generation));
    generation->id = record->id;
    generation->vhost_id = vhost->id;
    generation->vhost = arena_copy(&generation->arena, vhost->name);
    generation->wall_ms = record->wall_ms;
    generation->cause = (enum generation_cause)record->cause;
    generation->maker = arena_copy(&generation->arena, record->maker);
    if (record->cause >= GENERATION_CAUSE_COUNT || record->id == 0 || record->id == UINT64_MAX ||
        core_find_generation(core, record->id) != NULL || !decode(generation, record->rest)) {
        generation_free(generation);
        return STATUS_CORRUPT;
    }
    append(core->generations, generation);
    return STATUS_OK;
}

static int
compare_alerts(const void *left, const void *right)
{
    return bytes_compare(((const struct generation_alert *)left)->queue,
                         ((const struct generation_alert *)right)->queue);
}

static void
copy_alerts(struct generation *generation, const struct config *config)
{
    size_t count = count_alerts(config);
    generation->alerts = arena_alloc(&generation->arena, (count + 1) * sizeof(*generation->alerts));
    for (size_t i = 0; i < config->queue_count; i++) {
        const struct config_queue *queue = &config->queues[i];
        if (has_alert(queue)) {
            generation->alerts[generation->alert_count++] = (struct generation_alert){
                .queue = arena_copy(&generation->arena, queue->name), .limits = queue->alert};
        }
    }
    qsort(generation->alerts, count, sizeof(*generation->alerts), compare_alerts);
}

static void
copy_sources(struct generation *generation, const struct config *config)
{
    size_t count = config->source_count;
    generation->sources =
        arena_alloc(&generation->arena, (count + 1) * sizeof(*generation->sources));
    generation->source_count = count;
    for (size_t i = 0; i < count; i++) {
        generation->sources[i] = (struct config_source){
            .name = arena_strdup(&generation->arena, config->sources[i].name),
            .text = arena_copy(&generation->arena, config->sources[i].text),
        };
    }
}

static void
remember(struct core *core, const struct generation *generation)
{
    if (!core_has_log(core)) {
        return;
    }
    struct buffer rest;
    buffer_init(&rest);
    encode(&rest, generation);
    assert(!rest.failed); /* about as much as the files */
    struct record_generation record = {
        .id = generation->id,
        .vhost = generation->vhost_id,
        .wall_ms = generation->wall_ms,
        .cause = (uint32_t)generation->cause,
        .maker = generation->maker,
        .rest = buffer_bytes(&rest),
    };
    record_put_generation(core_begin_record(core), &record);
    core_log_record(core);
    buffer_fini(&rest);
}

/* The newest of its vhost, or the last one that the file of `serve` has made. */
static bool
must_stay(const struct core *core, const struct generation *generation)
{
    return core_current_generation(core, generation->vhost) == generation ||
           core_last_of_serve(core) == generation;
}

static void
drop_at(struct core *core, size_t at)
{
    struct generations *generations = core->generations;
    if (core_has_log(core)) {
        record_put_delete(core_begin_record(core), RECORD_GENERATION_DELETE,
                          generations->items[at]->id);
        core_log_record(core);
    }
    generation_free(generations->items[at]);
    generations->count--;
    memmove(&generations->items[at], &generations->items[at + 1],
            (generations->count - at) * sizeof(struct generation *));
}

/* One goes for each that comes, once there are enough. */
static void
drop_oldest(struct core *core)
{
    struct generations *generations = core->generations;
    size_t at = 0;
    while (at < generations->count && must_stay(core, generations->items[at])) {
        at++;
    }
    if (generations->count > GENERATIONS_KEPT && at < generations->count) {
        drop_at(core, at);
    }
}

void
core_forget_generations(struct core *core, uint64_t vhost_id)
{
    for (size_t at = core->generations->count; at > 0; at--) {
        if (core->generations->items[at - 1]->vhost_id == vhost_id) {
            drop_at(core, at - 1);
        }
    }
}

const struct generation *
core_add_generation(struct core *core, const struct generation_properties *properties)
{
    struct generation *generation = xalloc(sizeof(*generation));
    generation->id = core->generations->next_id;
    generation->vhost_id = properties->vhost->id;
    generation->vhost = arena_copy(&generation->arena, properties->vhost->name);
    generation->wall_ms = core->now.wall_ms;
    generation->cause = properties->cause;
    generation->maker = arena_copy(&generation->arena, properties->maker);
    generation->digest = config_digest(properties->config);
    generation->restored_id = properties->restored_id;
    copy_alerts(generation, properties->config);
    copy_sources(generation, properties->config);
    append(core->generations, generation);
    remember(core, generation);
    drop_oldest(core);
    return generation;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/watch/tap.h"

#include <stdatomic.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "broker/topology/vhost.h"
#include "routing/topic_explain.h"

struct tap {
    struct list_link link; /* core->taps */
    struct tap_wish wish;  /* texts in the arena */
    struct arena arena;
    struct buffer copied;
    uint64_t missed;
    atomic_int references;
    atomic_bool is_left;
};

/* Coming and going ----------------------------------------------------------------------------- */

struct tap *
core_open_tap(struct core *core, const struct tap_wish *wish)
{
    if (core->tap_count == TAPS_MAX) {
        return NULL;
    }
    assert(wish->body_max <= TAP_BODY_MAX);
    struct tap *tap = xalloc(sizeof(*tap));
    tap->wish = *wish;
    tap->wish.vhost = arena_copy(&tap->arena, wish->vhost);
    tap->wish.name = arena_copy(&tap->arena, wish->name);
    tap->wish.pattern = arena_copy(&tap->arena, wish->pattern);
    atomic_init(&tap->references, 2);
    atomic_init(&tap->is_left, false);
    list_append(&core->taps, &tap->link);
    core->tap_count++;
    return tap;
}

static void
tap_unref(struct tap *tap)
{
    if (atomic_fetch_sub(&tap->references, 1) == 1) {
        buffer_fini(&tap->copied);
        arena_fini(&tap->arena);
        free(tap);
    }
}

void
tap_leave(struct tap **tap)
{
    if (*tap != NULL) {
        atomic_store(&(*tap)->is_left, true);
        tap_unref(*tap);
        *tap = NULL;
    }
}

static void
close_taps(struct core *core, bool is_end)
{
    LIST_FOR_EACH(&core->taps, link)
    {
        struct tap *tap = CONTAINER_OF(link, struct tap, link);
        if (is_end || atomic_load(&tap->is_left)) {
            list_remove(link);
            core->tap_count--;
            tap_unref(tap);
        }
    }
}

void
core_close_left_taps(struct core *core)
{
    close_taps(core, false);
}

void
core_close_taps(struct core *core)
{
    close_taps(core, true);
}

/* Copying -------------------------------------------------------------------------------------- */

static void
copy(struct core *core, struct tap *tap, const struct content *content)
{
    enum { OVERHEAD = 8 + 1 + 1 + 4 + 4 + 4 };
    struct bytes body = content_body(content);
    struct bytes properties = content_properties(content);
    size_t shown = body.size < tap->wish.body_max ? body.size : tap->wish.body_max;
    size_t need = OVERHEAD + content_exchange(content).size + content_routing_key(content).size +
                  properties.size + shown;
    size_t held = buffer_size(&tap->copied);
    core_spend(core, 1);
    core->requests_go_on = true; /* somebody waits for it */
    if ((held > 0 && held + need > TAP_OCTETS_MAX) || buffer_reserve(&tap->copied, need) == NULL) {
        tap->copied.failed = false; /* what is there stays good */
        tap->missed++;
        return;
    }
    buffer_put_u64(&tap->copied, (uint64_t)core->now.wall_ms);
    buffer_put_shortstr(&tap->copied, content_exchange(content));
    buffer_put_shortstr(&tap->copied, content_routing_key(content));
    buffer_put_longstr(&tap->copied, properties);
    buffer_put_u32(&tap->copied, content->body_size);
    buffer_put_longstr(&tap->copied, bytes_make(body.data, shown));
}

static bool
is_of_vhost(const struct tap *tap, const struct vhost *vhost)
{
    return bytes_equal(tap->wish.vhost, vhost->name);
}

/* Whether the routing pass that core->routes has was at the exchange: its stamp says so, but for
 * the default exchange, which no pass marks. */
static bool
has_come_by(const struct core *core, const struct tap *tap, const struct vhost *vhost,
            const struct exchange *first)
{
    if (bytes_equal(tap->wish.name, first->name)) {
        return true;
    }
    const struct exchange *exchange =
        tap->wish.name.size == 0 ? NULL : vhost_find_exchange(vhost, tap->wish.name);
    return exchange != NULL && first->name.size > 0 && exchange->target.stamp == core->routes.stamp;
}

static bool
matches_any(const struct tap *tap, const struct bytes *keys, uint32_t key_count)
{
    bool matches = bytes_equal_text(tap->wish.pattern, "#");
    for (uint32_t i = 0; i < key_count && !matches; i++) {
        struct topic_finding finding;
        topic_explain(tap->wish.pattern, keys[i], &finding);
        matches = finding.stop == TOPIC_MATCHES;
    }
    return matches;
}

void
core_tap_exchanges(struct core *core, const struct vhost *vhost, const struct exchange *exchange,
                   const struct content *content, const struct bytes *keys, uint32_t key_count)
{
    LIST_FOR_EACH(&core->taps, link)
    {
        struct tap *tap = CONTAINER_OF(link, struct tap, link);
        if (!tap->wish.is_queue && is_of_vhost(tap, vhost) &&
            has_come_by(core, tap, vhost, exchange) && matches_any(tap, keys, key_count)) {
            copy(core, tap, content);
        }
    }
}

void
core_tap_queue(struct core *core, const struct queue *queue, const struct content *content)
{
    LIST_FOR_EACH(&core->taps, link)
    {
        struct tap *tap = CONTAINER_OF(link, struct tap, link);
        if (tap->wish.is_queue && bytes_equal(tap->wish.name, queue_name(queue)) &&
            is_of_vhost(tap, queue->vhost)) {
            copy(core, tap, content);
        }
    }
}

/* Fetching ------------------------------------------------------------------------------------- */

bool
tap_take(struct tap *tap, struct buffer *out, uint64_t *missed_out)
{
    assert(buffer_size(out) == 0);
    struct buffer empty = *out;
    *out = tap->copied;
    tap->copied = empty;
    *missed_out = tap->missed;
    tap->missed = 0;
    return buffer_size(out) > 0 || *missed_out > 0;
}

bool
tapped_next(struct byte_reader *reader, struct tapped *out)
{
    if (byte_reader_left(reader) == 0) {
        return false;
    }
    out->wall_ms = (int64_t)byte_reader_u64(reader);
    out->exchange = byte_reader_shortstr(reader);
    out->routing_key = byte_reader_shortstr(reader);
    out->properties = byte_reader_longstr(reader);
    out->body_size = byte_reader_u32(reader);
    out->body = byte_reader_longstr(reader);
    assert(!reader->failed);
    return true;
}

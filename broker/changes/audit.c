/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/changes/audit.h"

#include <inttypes.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "broker/connections/connection.h"
#include "broker/connections/house.h"
#include "broker/desk/desk.h"
#include "broker/desk/pending.h"
#include "broker/durability/durability.h"
#include "broker/topology/vhost.h"
#include "store/little_endian.h"
#include "store/record_fact.h"

struct audit {
    struct audit_entry *entries[AUDIT_KEPT]; /* by number modulo; owned, each with its texts */
    uint64_t last_number;
};

static const char EVENT_PREFIX[] = "audit.";

const char *
audit_action_event(enum audit_action action)
{
    static const char *const events[AUDIT_ACTION_COUNT] = {
        [AUDIT_REPLAY] = "audit.replay",
        [AUDIT_DROP] = "audit.drop",
        [AUDIT_PAUSE] = "audit.pause",
        [AUDIT_RESUME] = "audit.resume",
        [AUDIT_PURGE] = "audit.purge",
        [AUDIT_RELEASE] = "audit.release",
        [AUDIT_CANCEL] = "audit.cancel",
        [AUDIT_QUEUE_DELETED] = "audit.queue_deleted",
        [AUDIT_EXCHANGE_DELETED] = "audit.exchange_deleted",
        [AUDIT_UNBOUND] = "audit.unbound",
        [AUDIT_CONNECTIONS_CLOSED] = "audit.connections_closed",
        [AUDIT_TOPOLOGY_APPLIED] = "topology.applied",
        [AUDIT_DEFINITIONS_IMPORTED] = "definitions.imported",
        [AUDIT_USER_CREATED] = "user.created",
        [AUDIT_USER_CHANGED] = "user.changed",
        [AUDIT_USER_DELETED] = "user.deleted",
        [AUDIT_USER_LIMITED] = "user.limited",
        [AUDIT_RIGHTS_GRANTED] = "rights.granted",
        [AUDIT_RIGHTS_REVOKED] = "rights.revoked",
        [AUDIT_TOPICS_CHANGED] = "rights.topics_changed",
        [AUDIT_VHOST_CREATED] = "vhost.created",
        [AUDIT_VHOST_CHANGED] = "vhost.changed",
        [AUDIT_VHOST_DELETED] = "vhost.deleted",
        [AUDIT_VHOST_LIMITED] = "vhost.limited",
        [AUDIT_VHOST_PROTECTED] = "vhost.protected",
        [AUDIT_VHOST_UNPROTECTED] = "vhost.unprotected",
        [AUDIT_POLICY_PUT] = "policy.put",
        [AUDIT_POLICY_DELETED] = "policy.deleted",
        [AUDIT_PARAMETER_PUT] = "parameter.put",
        [AUDIT_PARAMETER_DELETED] = "parameter.deleted",
        [AUDIT_TRACE_STARTED] = "trace.started",
        [AUDIT_TRACE_STOPPED] = "trace.stopped",
        [AUDIT_TAKE] = "audit.take",
        [AUDIT_REJECT] = "audit.reject",
    };
    return events[action];
}

static bool
has_own_event(enum audit_action action)
{
    return strncmp(audit_action_event(action), EVENT_PREFIX, sizeof(EVENT_PREFIX) - 1) == 0;
}

const char *
audit_action_name(enum audit_action action)
{
    return audit_action_event(action) + (has_own_event(action) ? sizeof(EVENT_PREFIX) - 1 : 0);
}

struct audit *
audit_new(void)
{
    return xalloc(sizeof(struct audit));
}

void
audit_free(struct audit **audit_pointer)
{
    struct audit *audit = *audit_pointer;
    if (audit == NULL) {
        return;
    }
    *audit_pointer = NULL;
    for (uint32_t i = 0; i < AUDIT_KEPT; i++) {
        free(audit->entries[i]);
    }
    free(audit);
}

/* Keeping -------------------------------------------------------------------------------------- */

enum { TEXT_COUNT = 8 };

static void
list_texts(struct audit_entry *entry, struct bytes *texts[static TEXT_COUNT])
{
    struct bytes *all[TEXT_COUNT] = {&entry->user,  &entry->vhost,  &entry->queue,
                                     &entry->batch, &entry->filter, &entry->target,
                                     &entry->note,  &entry->outcome};
    memcpy(texts, all, sizeof(all));
}

/* NULL: no memory. */
static struct audit_entry *
copy_entry(const struct audit_entry *entry)
{
    struct audit_entry source = *entry;
    struct bytes *texts[TEXT_COUNT];
    list_texts(&source, texts);
    size_t size = sizeof(source);
    for (size_t i = 0; i < TEXT_COUNT; i++) {
        size += texts[i]->size;
    }
    struct audit_entry *copy = try_alloc(size);
    if (copy == NULL) {
        return NULL;
    }
    uint8_t *end = (uint8_t *)(copy + 1);
    for (size_t i = 0; i < TEXT_COUNT; i++) {
        if (texts[i]->size > 0) {
            memcpy(end, texts[i]->data, texts[i]->size);
        }
        *texts[i] = bytes_make(end, texts[i]->size);
        end += texts[i]->size;
    }
    *copy = source;
    return copy;
}

static void
say(const struct core *core, const struct audit_entry *entry)
{
    char user[300];
    char vhost[300];
    char queue[300];
    char batch[160];
    char note[600];
    log_info(core->log, audit_action_event(entry->action),
             "phase=%s user=%s vhost=%s queue=%s batch=%s count=%" PRIu64 " stayed=%" PRIu64
             " outcome=\"%.*s\" note=%s %.*s %.*s",
             entry->phase == AUDIT_BEGUN ? "begun" : "ended",
             log_escape(user, sizeof(user), entry->user),
             log_escape(vhost, sizeof(vhost), entry->vhost),
             log_escape(queue, sizeof(queue), entry->queue),
             log_escape(batch, sizeof(batch), entry->batch), entry->done_count, entry->stayed_count,
             BYTES_FORMAT(entry->outcome), log_escape(note, sizeof(note), entry->note),
             BYTES_FORMAT(entry->target), BYTES_FORMAT(entry->filter));
}

/* The log ------------------------------------------------------------------------------------- */

enum { AUDIT_LAYOUT = 1, NUMBER_COUNT = 4 };

static void
list_numbers(struct audit_entry *entry, uint64_t *numbers[static NUMBER_COUNT])
{
    uint64_t *all[NUMBER_COUNT] = {&entry->number, (uint64_t *)&entry->wall_ms, &entry->done_count,
                                   &entry->stayed_count};
    memcpy(numbers, all, sizeof(all));
}

static void
encode(struct buffer *out, struct audit_entry entry)
{
    uint8_t octets[sizeof(uint64_t)];
    uint64_t *numbers[NUMBER_COUNT];
    struct bytes *texts[TEXT_COUNT];
    list_numbers(&entry, numbers);
    list_texts(&entry, texts);
    buffer_put_u8(out, AUDIT_LAYOUT);
    buffer_put_u8(out, (uint8_t)entry.action);
    buffer_put_u8(out, (uint8_t)entry.phase);
    for (size_t i = 0; i < NUMBER_COUNT; i++) {
        put_u64_le(octets, *numbers[i]);
        buffer_put(out, octets, sizeof(octets));
    }
    for (size_t i = 0; i < TEXT_COUNT; i++) {
        put_u32_le(octets, (uint32_t)texts[i]->size);
        buffer_put(out, octets, sizeof(uint32_t));
        buffer_put_bytes(out, *texts[i]);
    }
}

static bool
decode(struct audit_entry *entry, struct bytes rest)
{
    struct byte_reader reader = byte_reader_make(rest);
    uint64_t *numbers[NUMBER_COUNT];
    struct bytes *texts[TEXT_COUNT];
    list_numbers(entry, numbers);
    list_texts(entry, texts);
    uint8_t layout = byte_reader_u8(&reader);
    uint8_t action = byte_reader_u8(&reader);
    uint8_t phase = byte_reader_u8(&reader);
    const uint8_t *at;
    for (size_t i = 0; i < NUMBER_COUNT; i++) {
        at = byte_reader_step(&reader, sizeof(uint64_t));
        *numbers[i] = at == NULL ? 0 : get_u64_le(at);
    }
    for (size_t i = 0; i < TEXT_COUNT; i++) {
        at = byte_reader_step(&reader, sizeof(uint32_t));
        *texts[i] = byte_reader_take(&reader, at == NULL ? 0 : get_u32_le(at));
    }
    entry->action = (enum audit_action)action;
    entry->phase = (enum audit_phase)phase;
    return !reader.failed && byte_reader_left(&reader) == 0 && layout == AUDIT_LAYOUT &&
           action < AUDIT_ACTION_COUNT && phase <= AUDIT_ENDED && entry->number != 0;
}

/* In front of what it is about, in the same log. What an operator asks for is not refused for want
 * of room for a word about it. */
static void
remember(struct core *core, const struct audit_entry *entry)
{
    struct buffer rest;
    if (!core_has_log(core)) {
        return;
    }
    buffer_init(&rest);
    encode(&rest, *entry);
    if (!rest.failed && core_prepare_record(core, buffer_size(&rest)) == STATUS_OK) {
        record_put_fact(core_begin_record(core), RECORD_FACT_AUDIT, entry->number % AUDIT_KEPT,
                        buffer_bytes(&rest));
        core_log_record(core);
    } else {
        log_warn(core->log, "audit.not_kept", "number=%" PRIu64, entry->number);
    }
    buffer_fini(&rest);
}

enum status
audit_restore(struct core *core, uint64_t id, struct bytes rest)
{
    struct audit *audit = core->audit;
    struct audit_entry entry = {.number = 0};
    if (!decode(&entry, rest) || entry.number % AUDIT_KEPT != id) {
        return STATUS_CORRUPT;
    }
    struct audit_entry **place = &audit->entries[entry.number % AUDIT_KEPT];
    if (*place != NULL) {
        return STATUS_CORRUPT;
    }
    *place = copy_entry(&entry);
    audit->last_number = entry.number > audit->last_number ? entry.number : audit->last_number;
    return STATUS_OK;
}

/* In place of the entry that has the number. */
static void
keep(struct core *core, const struct audit_entry *entry)
{
    struct audit_entry **place = &core->audit->entries[entry->number % AUDIT_KEPT];
    remember(core, entry);
    struct audit_entry *copy = copy_entry(entry);
    free(*place);
    *place = copy;
}

static void
add(struct core *core, struct audit_entry entry)
{
    entry.number = ++core->audit->last_number;
    entry.wall_ms = core->now.wall_ms;
    keep(core, &entry);
}

void
audit_add(struct core *core, struct audit_entry entry)
{
    if (has_own_event(entry.action)) {
        say(core, &entry);
    }
    add(core, entry);
}

const struct audit_entry *
audit_next(const struct core *core, uint64_t number)
{
    const struct audit *audit = core->audit;
    uint64_t oldest = audit->last_number < AUDIT_KEPT ? 1 : audit->last_number - AUDIT_KEPT + 1;
    for (uint64_t at = number < oldest ? oldest : number + 1; at <= audit->last_number; at++) {
        const struct audit_entry *entry = audit->entries[at % AUDIT_KEPT];
        if (entry != NULL) {
            return entry;
        }
    }
    return NULL;
}

/* What was done -------------------------------------------------------------------------------- */

static void
put_pair(struct buffer *out, const char *name, struct bytes text)
{
    char escaped[600];
    if (text.data != NULL) {
        buffer_printf(out, "%s%s=%s", buffer_size(out) == 0 ? "" : " ", name,
                      log_escape(escaped, sizeof(escaped), text));
    }
}

static void
put_number(struct buffer *out, const char *name, uint64_t number)
{
    if (number != 0) {
        buffer_printf(out, "%s%s=%" PRIu64, buffer_size(out) == 0 ? "" : " ", name, number);
    }
}

static struct audit_entry
done_by(const struct connection *connection, const struct audit_entry *entry)
{
    struct audit_entry whole = *entry;
    bool is_house = connection->user == core_house_user(connection->core);
    whole.phase = AUDIT_ENDED;
    whole.user = is_house ? bytes_of("(local)") : connection->user->name;
    whole.vhost = connection->vhost->name;
    whole.outcome = bytes_of("done");
    return whole;
}

void
audit_method(const struct connection *connection, const struct audit_entry *entry)
{
    if (connection->house != NULL) {
        audit_add(connection->core, done_by(connection, entry));
    }
}

/* But for the numbers. */
static bool
say_the_same(struct audit_entry *a, struct audit_entry *b)
{
    struct bytes *texts[TEXT_COUNT];
    struct bytes *others[TEXT_COUNT];
    bool are_same = a->action == b->action && a->phase == b->phase;
    list_texts(a, texts);
    list_texts(b, others);
    for (size_t i = 0; i < TEXT_COUNT; i++) {
        are_same = are_same && bytes_equal(*texts[i], *others[i]);
    }
    return are_same;
}

void
audit_method_again(const struct connection *connection, const struct audit_entry *entry)
{
    static const int64_t AGAIN_MS = 60000;
    struct core *core = connection->core;
    if (connection->house == NULL) {
        return;
    }
    struct audit_entry whole = done_by(connection, entry);
    struct audit_entry *last = core->audit->entries[core->audit->last_number % AUDIT_KEPT];
    say(core, &whole);
    if (last == NULL || core->now.wall_ms - last->wall_ms >= AGAIN_MS ||
        !say_the_same(last, &whole)) {
        add(core, whole);
        return;
    }
    whole.number = last->number;
    whole.wall_ms = core->now.wall_ms;
    whole.done_count += last->done_count;
    whole.stayed_count += last->stayed_count;
    keep(core, &whole);
}

void
audit_deleted_exchange(const struct connection *connection, struct bytes exchange)
{
    struct buffer target;
    buffer_init(&target);
    put_pair(&target, "exchange", exchange);
    audit_method(connection, &(struct audit_entry){.action = AUDIT_EXCHANGE_DELETED,
                                                   .target = buffer_bytes(&target),
                                                   .done_count = 1});
    buffer_fini(&target);
}

void
audit_unbound(const struct connection *connection, struct bytes source, struct bytes destination,
              struct bytes routing_key)
{
    struct buffer target;
    buffer_init(&target);
    put_pair(&target, "source", source);
    put_pair(&target, "destination", destination);
    put_pair(&target, "key", routing_key);
    audit_method(connection, &(struct audit_entry){.action = AUDIT_UNBOUND,
                                                   .target = buffer_bytes(&target),
                                                   .done_count = 1});
    buffer_fini(&target);
}

static void
put_filter(struct buffer *out, const struct desk_filter *filter)
{
    put_number(out, "ids", filter->ids == NULL ? 0 : filter->id_count);
    put_pair(out, "exchange", filter->exchange);
    put_pair(out, "key", filter->routing_key);
    put_pair(out, "origin_key", filter->origin_key);
    put_pair(out, "origin", filter->origin_queue);
    put_pair(out, "reason", filter->reason);
    put_pair(out, "class", filter->error_class);
    put_pair(out, "header", filter->header_name);
    put_pair(out, "header_value", filter->header_text);
    put_pair(out, "message_id", filter->message_id);
    put_pair(out, "of_batch", filter->batch);
    put_pair(out, "not_of_batch", filter->not_batch);
    put_number(out, "age_min_ms", filter->age_min_ms);
    put_number(out, "age_max_ms", filter->age_max_ms);
}

static void
put_target(struct buffer *out, const struct replay_target *target)
{
    static const char *const names[] = {
        [REPLAY_TO_ORIGIN_QUEUE] = "origin-queue",
        [REPLAY_TO_ORIGIN_EXCHANGE] = "origin-exchange",
        [REPLAY_TO_EXCHANGE] = "exchange",
    };
    put_pair(out, "to", bytes_of(names[target->to]));
    if (target->to == REPLAY_TO_EXCHANGE) {
        put_pair(out, "to_exchange", target->exchange);
        put_pair(out, "to_key", target->routing_key);
    }
}

static struct bytes
outcome_of(enum desk_state state)
{
    return bytes_of(state == DESK_IS_DONE        ? "done"
                    : state == DESK_IS_CANCELLED ? "cancelled"
                    : state == DESK_HAS_GIVEN_UP ? "given up"
                                                 : "interrupted");
}

void
audit_job(struct core *core, const struct desk_job *job, enum audit_phase phase)
{
    const struct desk_order *request = desk_job_request(job);
    const struct desk_progress *progress = desk_job_progress(job);
    bool is_replay = request->action == DESK_REPLAY;
    struct buffer filter;
    struct buffer target;
    buffer_init(&filter);
    buffer_init(&target);
    put_filter(&filter, &request->filter);
    put_number(&filter, "limit", request->limit);
    if (is_replay) {
        put_target(&target, &request->target);
    }
    struct audit_entry entry = {
        .action = is_replay ? AUDIT_REPLAY : AUDIT_DROP,
        .phase = phase,
        .user = request->user,
        .vhost = desk_job_vhost_name(job),
        .queue = desk_job_queue_name(job),
        .batch = is_replay ? request->batch : bytes_make(NULL, 0),
        .filter = buffer_bytes(&filter),
        .target = buffer_bytes(&target),
        .note = request->note,
        .outcome = phase == AUDIT_BEGUN ? bytes_of("") : outcome_of(progress->state),
        .done_count = progress->done_count,
        .stayed_count = progress->no_target_count + progress->too_large_count +
                        progress->unreadable_count + progress->not_allowed_count,
    };
    audit_add(core, entry);
    buffer_fini(&target);
    buffer_fini(&filter);
}

void
audit_pause(struct core *core, const struct queue *queue, bool is_paused, struct bytes user,
            struct bytes note)
{
    const struct vhost *vhost = queue->vhost;
    struct audit_entry entry = {
        .action = is_paused ? AUDIT_PAUSE : AUDIT_RESUME,
        .phase = AUDIT_ENDED,
        .user = user,
        .vhost = vhost->name,
        .queue = queue_name(queue),
        .note = note,
        .outcome = bytes_of("done"),
    };
    audit_add(core, entry);
}

static void
put_pending(struct buffer *out, const struct pending_request *request)
{
    static const char *const kinds[WAITING_KIND_COUNT] = {"delayed", "retry", "parked"};
    for (size_t i = 0; i < WAITING_KIND_COUNT; i++) {
        if ((request->kinds & 1U << i) != 0) {
            put_pair(out, "kind", bytes_of(kinds[i]));
        }
    }
    put_pair(out, "message_id", request->message_id);
}

void
audit_pending(struct core *core, const struct queue *queue, const struct pending_request *request,
              struct audit_entry entry)
{
    const struct vhost *vhost = queue->vhost;
    struct buffer filter;
    buffer_init(&filter);
    if (entry.filter.size == 0) {
        put_pending(&filter, request);
        entry.filter = buffer_bytes(&filter);
    }
    entry.action = request->action == PENDING_RELEASE ? AUDIT_RELEASE : AUDIT_CANCEL;
    entry.user = request->user;
    entry.vhost = vhost->name;
    entry.queue = queue_name(queue);
    entry.outcome = bytes_of(entry.phase == AUDIT_BEGUN ? ""
                             : queue->deleted           ? "given up"
                                                        : "done");
    audit_add(core, entry);
    buffer_fini(&filter);
}

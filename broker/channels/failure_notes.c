/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/channels/failure_notes.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "amqp/properties.h"
#include "amqp/reply.h"
#include "amqp/table.h"
#include "base/alloc.h"
#include "base/assert.h"
#include "broker/publishing/publish.h"
#include "broker/topology/vhost.h"
#include "broker/upkeep/ack_timeout.h"

enum { NOTES_CAPACITY_MIN = 8 };

/* Of one channel, by rising tag. */
struct failure_notes {
    uint32_t count, capacity;
    struct failure_note *items[]; /* owned */
};

/* Keeping -------------------------------------------------------------------------------------- */

/* The place of the first note whose tag is not below `tag`. */
static uint32_t
place_of(const struct failure_notes *notes, uint64_t tag)
{
    uint32_t low = 0;
    uint32_t high = notes->count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (notes->items[middle]->tag < tag) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

static bool
is_at(const struct failure_notes *notes, uint32_t place, uint64_t tag)
{
    return place < notes->count && notes->items[place]->tag == tag;
}

static void
count_memory(struct channel *channel, uint64_t freed, uint64_t taken)
{
    struct entry_memory *memory = &channel_core(channel)->queue_memory;
    assert(memory->bytes >= freed);
    memory->bytes += taken - freed;
}

static void
free_note(struct channel *channel, struct failure_note *note)
{
    count_memory(channel, note->octets, 0);
    free(note);
}

static size_t
octets_of(uint32_t capacity)
{
    return sizeof(struct failure_notes) + capacity * sizeof(struct failure_note *);
}

/* Room for one more. */
static enum status
make_room(struct channel *channel)
{
    struct failure_notes *notes = channel->notes;
    if (notes != NULL && notes->count < notes->capacity) {
        return STATUS_OK;
    }
    uint32_t capacity = notes == NULL ? NOTES_CAPACITY_MIN : notes->capacity * 2;
    struct failure_notes *larger = try_realloc(notes, octets_of(capacity));
    if (larger == NULL) {
        return STATUS_NO_MEMORY;
    }
    if (notes == NULL) {
        larger->count = 0;
        count_memory(channel, 0, octets_of(capacity));
    } else {
        count_memory(channel, octets_of(larger->capacity), octets_of(capacity));
    }
    larger->capacity = capacity;
    channel->notes = larger;
    return STATUS_OK;
}

/* The connection has one more. */
static void
put_note(struct channel *channel, uint32_t place, struct failure_note *note)
{
    struct failure_notes *notes = channel->notes;
    memmove(notes->items + place + 1, notes->items + place,
            (notes->count - place) * sizeof(struct failure_note *));
    notes->items[place] = note;
    notes->count++;
    channel->connection->note_count++;
    channel->connection->note_octets += note->octets;
    count_memory(channel, 0, note->octets);
}

/* With the last note of the channel. */
static void
free_table(struct channel *channel)
{
    count_memory(channel, octets_of(channel->notes->capacity), 0);
    free(channel->notes);
    channel->notes = NULL;
}

/* The connection has one less. */
static struct failure_note *
take_note(struct channel *channel, uint32_t place)
{
    struct failure_notes *notes = channel->notes;
    struct failure_note *note = notes->items[place];
    notes->count--;
    memmove(notes->items + place, notes->items + place + 1,
            (notes->count - place) * sizeof(struct failure_note *));
    assert(channel->connection->note_count > 0);
    channel->connection->note_count--;
    channel->connection->note_octets -= note->octets;
    if (notes->count == 0) {
        free_table(channel);
    }
    return note;
}

struct failure_note *
channel_end_note(struct channel *channel, uint64_t tag)
{
    struct failure_notes *notes = channel->notes;
    uint32_t place = notes == NULL ? 0 : place_of(notes, tag);
    return notes == NULL || !is_at(notes, place, tag) ? NULL : take_note(channel, place);
}

void
channel_drop_note(struct channel *channel, uint64_t tag)
{
    struct failure_note *note = channel_end_note(channel, tag);
    if (note != NULL) {
        free_note(channel, note);
    }
}

/* The note may be NULL, and is gone where there is no memory to carry it. */
static struct failure *
make_failure(struct channel *channel, struct failure_note *note, enum row_verdict verdict)
{
    int64_t wall_ms = channel_core(channel)->now.wall_ms;
    struct failure_attempt attempt = {.time_ms = wall_ms < 0 ? 0 : (uint64_t)wall_ms,
                                      .verdict = (uint8_t)verdict};
    struct failure *failure = failure_new(note, &attempt);
    if (failure == NULL) {
        count_memory(channel, note == NULL ? 0 : note->octets, 0);
        free(note);
        return NULL;
    }
    count_memory(channel, note == NULL ? 0 : note->octets, failure_octets(failure));
    return failure;
}

struct failure *
channel_end_failed(struct channel *channel, uint64_t tag, enum row_verdict verdict)
{
    struct failure_note *note = channel_end_note(channel, tag);
    return note == NULL ? NULL : make_failure(channel, note, verdict);
}

struct failure *
channel_end_rejected(struct channel *channel, const struct unacked *item, enum row_verdict verdict)
{
    bool has_row = (queue_entry_flags(&item->entry) & ENTRY_HAS_FAILED) != 0;
    if (!has_row) {
        return channel->notes == NULL ? NULL : channel_end_failed(channel, item->tag, verdict);
    }
    const struct failure_row *row = queue_find_failure(item->queue, item->position);
    struct failure_note *note = channel_end_note(channel, item->tag);
    bool is_told = note != NULL || (row != NULL && row->delivery_count > 0);
    return is_told ? make_failure(channel, note, verdict) : NULL;
}

void
channel_keep_note(struct channel *channel, const struct unacked *item, struct failure_row *row,
                  uint32_t number)
{
    struct failure_note *note =
        channel->notes == NULL ? NULL : channel_end_note(channel, item->tag);
    if (note != NULL) {
        count_memory(channel, note->octets, 0);
        queue_keep_note(item->queue, row, number, note);
    }
}

void
core_free_failure(struct core *core, struct failure **failure)
{
    if (*failure != NULL) {
        assert(core->queue_memory.bytes >= failure_octets(*failure));
        core->queue_memory.bytes -= failure_octets(*failure);
        failure_free(failure);
    }
}

/* Reading -------------------------------------------------------------------------------------- */

bool
channel_is_note(const struct channel *channel, const struct net_event *event)
{
    if (!bytes_equal_text(event->publish.routing_key, CONTROL_KEY_NOTE) ||
        !bytes_equal_text(event->publish.exchange, CONTROL_EXCHANGE)) {
        return false;
    }
    const struct exchange *exchange =
        vhost_find_exchange(channel_vhost(channel), event->publish.exchange);
    return exchange != NULL && exchange->predeclared;
}

/* What a note says. */
struct note_reading {
    int64_t tag;
    struct bytes consumer_tag, class, text, advice; /* `data` is NULL: not there */
};

static enum status
fault_note(struct fault *fault, const char *name, const char *what)
{
    return fault_channel(fault, REPLY_PRECONDITION_FAILED, "failure note: header '%s' %s", name,
                         what);
}

static enum status
read_text(struct bytes headers, const char *name, struct bytes *text_out, struct fault *fault)
{
    struct table_value value;
    *text_out = bytes_make(NULL, 0);
    if (!table_find(headers, name, &value)) {
        return STATUS_OK;
    }
    if (table_value_class(&value) != TABLE_CLASS_STRING) {
        return fault_note(fault, name, "is no text");
    }
    *text_out = value.raw;
    return STATUS_OK;
}

static enum status
read_tag(struct bytes headers, int64_t *tag_out, struct fault *fault)
{
    struct table_value value;
    if (!table_find(headers, "delivery-tag", &value)) {
        return fault_note(fault, "delivery-tag", "is missing");
    }
    if (table_value_class(&value) != TABLE_CLASS_INTEGER) {
        return fault_note(fault, "delivery-tag", "is no integer");
    }
    *tag_out = table_value_integer(&value);
    return STATUS_OK;
}

static enum status
read_note(struct bytes block, struct note_reading *reading, struct fault *fault)
{
    UNINITIALIZED struct properties properties;
    if (properties_decode(&properties, block, fault) != STATUS_OK) {
        return STATUS_FAULT;
    }
    struct bytes headers =
        (properties.flags & PROPERTY_HEADERS) != 0 ? properties.headers : bytes_make(NULL, 0);
    if (read_tag(headers, &reading->tag, fault) != STATUS_OK ||
        read_text(headers, "consumer-tag", &reading->consumer_tag, fault) != STATUS_OK ||
        read_text(headers, "class", &reading->class, fault) != STATUS_OK ||
        read_text(headers, "text", &reading->text, fault) != STATUS_OK ||
        read_text(headers, "advice", &reading->advice, fault) != STATUS_OK) {
        return STATUS_FAULT;
    }
    if (reading->class.data == NULL && reading->text.data == NULL && reading->advice.data == NULL) {
        return fault_channel(fault, REPLY_PRECONDITION_FAILED,
                             "failure note: none of the headers 'class', 'text' and 'advice' is "
                             "there");
    }
    return STATUS_OK;
}

static enum status
check_size(const struct net_event *event, struct fault *fault)
{
    uint64_t octets = event->publish.place.content->properties_size + event->publish.body_size;
    if (octets <= FAILURE_NOTE_OCTETS_MAX) {
        return STATUS_OK;
    }
    return fault_channel(fault, REPLY_PRECONDITION_FAILED,
                         "failure note: %" PRIu64 " octets of properties and body are more than %d",
                         octets, FAILURE_NOTE_OCTETS_MAX);
}

/* Taking --------------------------------------------------------------------------------------- */

/* Whether the delivery is over without the client's fault: it timed out, or the note waited while
 * what followed it did not (blocked.c). Such a note says nothing to anybody. */
static bool
is_late(const struct channel *channel, int64_t tag)
{
    return tag > 0 &&
           (channel_has_timed_out(channel, (uint64_t)tag) ||
            (channel->connection->runs_held && (uint64_t)tag < channel->next_delivery_tag));
}

/* Whether the connection has too much with the note, which takes the place of `replaced` (NULL: of
 * none). */
static enum status
check_bounds(const struct connection *connection, const struct failure_note *note,
             const struct failure_note *replaced, struct fault *fault)
{
    uint32_t count = connection->note_count + (replaced == NULL ? 1 : 0);
    uint64_t octets =
        connection->note_octets + note->octets - (replaced == NULL ? 0 : replaced->octets);
    if (count > FAILURE_NOTES_MAX) {
        return fault_channel(fault, REPLY_PRECONDITION_FAILED,
                             "failure note: more than %d are of open deliveries of this connection",
                             FAILURE_NOTES_MAX);
    }
    if (octets > FAILURE_NOTES_OCTETS_MAX) {
        return fault_channel(fault, REPLY_PRECONDITION_FAILED,
                             "failure note: more than %d octets are of open deliveries of this "
                             "connection",
                             FAILURE_NOTES_OCTETS_MAX);
    }
    return STATUS_OK;
}

/* Takes the note in, if there is nothing to be said against it; else it stays the caller's. */
static enum status
keep_note(struct channel *channel, struct failure_note *note, struct fault *fault)
{
    struct failure_notes *notes = channel->notes;
    uint32_t place = notes == NULL ? 0 : place_of(notes, note->tag);
    bool is_later = notes != NULL && is_at(notes, place, note->tag);
    struct failure_note *replaced = is_later ? notes->items[place] : NULL;
    struct core *core = channel_core(channel);
    if (check_bounds(channel->connection, note, replaced, fault) != STATUS_OK) {
        core->counters.failure_notes_refused++;
        return STATUS_FAULT;
    }
    if (make_room(channel) != STATUS_OK) {
        return fault_no_memory(fault);
    }
    put_note(channel, place, note);
    if (is_later) {
        free_note(channel, take_note(channel, place + 1));
    }
    core->counters.failure_notes++;
    return STATUS_OK;
}

/* A delivery of basic.get has no consumer. */
static bool
is_of_consumer(const struct unacked *item, struct bytes consumer_tag)
{
    return consumer_tag.size == 0 ||
           (item->consumer != NULL && bytes_equal(item->consumer->tag, consumer_tag));
}

static enum status
note_delivery(struct channel *channel, const struct note_reading *reading, struct fault *fault)
{
    const struct unacked *item =
        reading->tag > 0 ? unacked_table_find(&channel->unacked, (uint64_t)reading->tag) : NULL;
    if (item == NULL) {
        return is_late(channel, reading->tag)
                   ? STATUS_OK
                   : fault_channel(fault, REPLY_PRECONDITION_FAILED,
                                   "unknown delivery tag %" PRId64, reading->tag);
    }
    if (!is_of_consumer(item, reading->consumer_tag)) {
        return fault_note(fault, "consumer-tag", "is not that of the delivery");
    }
    struct failure_note *note =
        failure_note_new(item->tag, reading->class, reading->text, reading->advice);
    if (note == NULL) {
        return fault_no_memory(fault);
    }
    enum status status = keep_note(channel, note, fault);
    if (status != STATUS_OK) {
        free(note);
    }
    return status;
}

enum status
channel_take_note(struct channel *channel, const struct net_event *event, struct fault *fault)
{
    UNINITIALIZED struct note_reading reading;
    if (check_size(event, fault) != STATUS_OK ||
        read_note(content_properties(event->publish.place.content), &reading, fault) != STATUS_OK ||
        note_delivery(channel, &reading, fault) != STATUS_OK) {
        return STATUS_FAULT;
    }
    if (channel->mode == CHANNEL_CONFIRM) {
        channel_confirm_publish(channel, false);
    }
    return STATUS_OK;
}

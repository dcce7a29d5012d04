/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/failure_notes.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "amqp/properties.h"
#include "amqp/reply.h"
#include "amqp/table.h"
#include "base/alloc.h"
#include "base/assert.h"
#include "broker/ack_timeout.h"
#include "broker/publish.h"
#include "broker/vhost.h"

/* Of one channel, by rising tag. */
struct failure_notes {
    uint32_t count;
    struct failure_note *items[FAILURE_NOTES_MAX]; /* owned */
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

/* Takes the note in. STATUS_FULL: there are too many. */
static enum status
keep_note(struct channel *channel, struct failure_note *note)
{
    if (channel->notes == NULL) {
        channel->notes = xalloc(sizeof(*channel->notes));
    }
    struct failure_notes *notes = channel->notes;
    uint32_t place = place_of(notes, note->tag);
    if (is_at(notes, place, note->tag)) {
        free_note(channel, notes->items[place]);
        notes->items[place] = note;
    } else if (notes->count == FAILURE_NOTES_MAX) {
        return STATUS_FULL;
    } else {
        memmove(notes->items + place + 1, notes->items + place,
                (notes->count - place) * sizeof(struct failure_note *));
        notes->items[place] = note;
        notes->count++;
    }
    count_memory(channel, 0, note->octets);
    return STATUS_OK;
}

struct failure_note *
channel_end_note(struct channel *channel, uint64_t tag)
{
    struct failure_notes *notes = channel->notes;
    uint32_t place = notes == NULL ? 0 : place_of(notes, tag);
    if (notes == NULL || !is_at(notes, place, tag)) {
        return NULL;
    }
    struct failure_note *note = notes->items[place];
    notes->count--;
    memmove(notes->items + place, notes->items + place + 1,
            (notes->count - place) * sizeof(struct failure_note *));
    return note;
}

void
channel_drop_note(struct channel *channel, uint64_t tag)
{
    struct failure_note *note = channel_end_note(channel, tag);
    if (note != NULL) {
        free_note(channel, note);
    }
}

/* The note may be NULL. */
static struct failure *
make_failure(struct channel *channel, struct failure_note *note, enum row_verdict verdict)
{
    int64_t wall_ms = channel_core(channel)->now.wall_ms;
    struct failure_attempt attempt = {.time_ms = wall_ms < 0 ? 0 : (uint64_t)wall_ms,
                                      .verdict = (uint8_t)verdict};
    struct failure *failure = failure_new(note, &attempt);
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

void
channel_end_notes(struct channel *channel)
{
    struct failure_notes *notes = channel->notes;
    if (notes == NULL) {
        return;
    }
    for (uint32_t i = 0; i < notes->count; i++) {
        free_note(channel, notes->items[i]);
    }
    free(notes);
    channel->notes = NULL;
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
    if (keep_note(channel, note) != STATUS_OK) {
        free(note);
        return fault_channel(fault, REPLY_PRECONDITION_FAILED,
                             "failure note: more than %d are of open deliveries of this channel",
                             FAILURE_NOTES_MAX);
    }
    return STATUS_OK;
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

/* SPDX-License-Identifier: Apache-2.0 */
#include "store/log_writer.h"

#include "base/alloc.h"
#include "base/assert.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>

enum { PAGE_SIZE = 4096 };

struct log_writer {
    const struct disk *disk;
    struct disk_file *file; /* the segment under way; NULL: none yet */
    char name[STORE_NAME_SIZE];
    uint64_t segment_number;
    uint64_t segment_capacity; /* of its file */
    uint64_t written_lsn;      /* end of the last batch written */
    uint64_t durable_lsn;
    struct iovec *parts; /* of one write; owned */
    size_t part_capacity;
    struct index_shelf *shelf; /* NULL: none */
    bool is_poisoned;
    struct log_failure failure; /* what poisoned it */
};

struct log_writer *
log_writer_new(const struct disk *disk)
{
    struct log_writer *writer = xalloc(sizeof(*writer));
    writer->disk = disk;
    return writer;
}

void
log_writer_free(struct log_writer **writer_pointer)
{
    struct log_writer *writer = *writer_pointer;
    if (writer == NULL) {
        return;
    }
    *writer_pointer = NULL;
    writer->disk->close(writer->disk->context, &writer->file);
    free(writer->parts);
    free(writer);
}

void
log_writer_set_shelf(struct log_writer *writer, struct index_shelf *shelf)
{
    writer->shelf = shelf;
}

static enum status
poison(struct log_writer *writer, const char *what, const char *file, uint64_t offset,
       struct log_failure *failure_out)
{
    writer->is_poisoned = true;
    enum status status = log_failure_set(&writer->failure, what, file, offset);
    *failure_out = writer->failure;
    return status;
}

static enum status
still_poisoned(const struct log_writer *writer, struct log_failure *failure_out)
{
    *failure_out = writer->failure;
    errno = writer->failure.error;
    return STATUS_IO;
}

/* Whether the file is the segment that the batch is meant for, with its header. Sets errno where it
 * is not. */
static bool
is_segment_of(const struct log_writer *writer, struct disk_file *file, const struct batch *batch,
              struct segment_header *header_out)
{
    const struct disk *disk = writer->disk;
    uint8_t octets[SEGMENT_HEADER_SIZE];
    size_t size;
    if (disk->read(disk->context, file, octets, sizeof(octets), 0, &size) != STATUS_OK) {
        return false;
    }
    struct segment_header header;
    errno = EBADMSG;
    if (size < sizeof(octets) || segment_header_decode(&header, octets) != STATUS_OK) {
        return false;
    }
    *header_out = header;
    return header.number == batch->segment_number && header.base_lsn == batch->segment_base &&
           header.epoch == batch->header.epoch &&
           batch->end_lsn <= header.base_lsn + header.capacity;
}

/* The segment so far is full, and flushed. */
static void
change_shelf(struct log_writer *writer, const struct segment_header *next,
             const struct batch *first)
{
    if (writer->shelf != NULL) {
        assert(first->header.base_lsn == next->base_lsn + SEGMENT_HEADER_SIZE);
        index_shelf_end(writer->shelf, writer->written_lsn);
        index_shelf_begin(writer->shelf, next);
    }
}

/* Leaves the segment under way, flushed, for that of the batch. */
static enum status
enter_segment(struct log_writer *writer, const struct batch *batch, struct log_failure *failure_out)
{
    const struct disk *disk = writer->disk;
    char name[STORE_NAME_SIZE];
    store_file_name(STORE_FILE_SEGMENT, batch->segment_number, 0, name);
    struct disk_file *file;
    if (disk->open(disk->context, name, DISK_OPEN_WRITE, &file) != STATUS_OK) {
        return errno == ENOENT ? STATUS_AGAIN : poison(writer, "open", name, 0, failure_out);
    }
    enum status status = STATUS_OK;
    struct segment_header header = {0};
    if (!is_segment_of(writer, file, batch, &header)) {
        status = poison(writer, "read the header", name, 0, failure_out);
    } else if (writer->file != NULL) {
        status = log_writer_flush(writer, failure_out);
    }
    if (status != STATUS_OK) {
        disk->close(disk->context, &file);
        return status;
    }
    disk->close(disk->context, &writer->file);
    writer->file = file;
    memcpy(writer->name, name, sizeof(name));
    writer->segment_number = batch->segment_number;
    writer->segment_capacity = header.capacity;
    change_shelf(writer, &header, batch);
    return STATUS_OK;
}

/* Where the page ends that a batch ends in: so far zeros are written behind it. A page that is
 * written in part has to be read from the disk first where it is not in memory, and a segment that
 * is used again mostly is not; the batch behind this one finds its page there. */
static uint64_t
page_end(const struct log_writer *writer, uint64_t offset)
{
    uint64_t end = (offset + PAGE_SIZE - 1) & ~(uint64_t)(PAGE_SIZE - 1);
    return end < writer->segment_capacity ? end : writer->segment_capacity;
}

/* The batches that one call to the disk writes. */
struct gathering {
    size_t part_count;
    uint64_t size; /* octets, without zeros behind the last batch */
};

static bool
lies_behind(const struct batch *batch, const struct batch *previous)
{
    return batch->segment_number == previous->segment_number &&
           batch->header.base_lsn == previous->end_lsn;
}

/* Header, control section, and the zeros behind it. */
enum { OTHER_PARTS = 3 };

/* More parts than the kernel takes at once, or more octets than stay in the cache between their
 * check words and the copy that the kernel makes, are no gain. */
static bool
has_room(const struct gathering *gathering, const struct batch *batch)
{
    enum { GATHERED_OCTETS_MAX = 1024 * 1024 };
    return gathering->part_count + batch->run_count + OTHER_PARTS <= IOV_MAX &&
           gathering->size + batch_size(batch) <= GATHERED_OCTETS_MAX;
}

static void
make_part_room(struct log_writer *writer, size_t part_count)
{
    if (part_count > writer->part_capacity) {
        writer->part_capacity = 2 * part_count;
        writer->parts = xrealloc(writer->parts, writer->part_capacity * sizeof(*writer->parts));
    }
}

static void
add_part(struct log_writer *writer, struct gathering *gathering, const void *octets, size_t size)
{
    writer->parts[gathering->part_count++] =
        (struct iovec){.iov_base = (void *)(uintptr_t)octets, .iov_len = size};
    gathering->size += size;
}

static const uint8_t ZEROS[PAGE_SIZE];

/* Header, contents, records, and zeros up to where the next batch begins. */
static void
lay_out(struct log_writer *writer, struct gathering *gathering, const struct batch *batch)
{
    make_part_room(writer, gathering->part_count + batch->run_count + OTHER_PARTS);
    uint64_t end = gathering->size + batch_size(batch);
    add_part(writer, gathering, batch->header_octets, BATCH_HEADER_SIZE);
    for (size_t i = 0; i < batch->run_count; i++) {
        add_part(writer, gathering, batch->runs[i].iov_base, batch->runs[i].iov_len);
    }
    struct bytes control = buffer_bytes(&batch->control);
    add_part(writer, gathering, control.data, control.size);
    assert(gathering->size <= end);
    assert(end - gathering->size < BATCH_ALIGNMENT);
    add_part(writer, gathering, ZEROS, (size_t)(end - gathering->size));
}

/* Finishes and lays out the first batches that wait; returns the last of them. */
static struct batch *
gather(struct log_writer *writer, const struct list *waiting, struct gathering *gathering)
{
    struct list_link *link = list_first(waiting);
    struct batch *last = NULL;
    while (link != NULL) {
        struct batch *batch = CONTAINER_OF(link, struct batch, link);
        if (last != NULL && (!lies_behind(batch, last) || !has_room(gathering, batch))) {
            break;
        }
        batch_finish(batch, writer->durable_lsn, writer->shelf);
        lay_out(writer, gathering, batch);
        last = batch;
        link = list_next(waiting, link);
    }
    return last;
}

/* The zeros behind the last batch are one part with those that end its page. */
static void
fill_page(struct log_writer *writer, const struct gathering *gathering, uint64_t end)
{
    size_t padding = (size_t)(page_end(writer, end) - end);
    struct iovec *zeros = &writer->parts[gathering->part_count - 1];
    zeros->iov_len += padding;
    assert(zeros->iov_len < sizeof(ZEROS));
}

static void
move_written(struct list *waiting, struct list *written, const struct batch *last)
{
    struct list_link *link;
    do {
        link = list_pop(waiting);
        list_append(written, link);
    } while (link != &last->link);
}

enum status
log_writer_write(struct log_writer *writer, struct list *waiting, struct list *written,
                 struct log_failure *failure_out)
{
    if (writer->is_poisoned) {
        return still_poisoned(writer, failure_out);
    }
    const struct batch *first = CONTAINER_OF(list_first(waiting), struct batch, link);
    if (writer->file == NULL || writer->segment_number != first->segment_number) {
        enum status status = enter_segment(writer, first, failure_out);
        if (status != STATUS_OK) {
            return status;
        }
    }
    assert(first->header.base_lsn >= writer->written_lsn);
    struct gathering gathering = {0};
    const struct batch *last = gather(writer, waiting, &gathering);
    fill_page(writer, &gathering, last->end_lsn - last->segment_base);
    uint64_t offset = first->header.base_lsn - first->segment_base;
    const struct disk *disk = writer->disk;
    if (disk->write(disk->context, writer->file, writer->parts, gathering.part_count, offset) !=
        STATUS_OK) {
        return poison(writer, "write", writer->name, offset, failure_out);
    }
    writer->written_lsn = last->end_lsn;
    move_written(waiting, written, last);
    return STATUS_OK;
}

enum status
log_writer_flush(struct log_writer *writer, struct log_failure *failure_out)
{
    if (writer->is_poisoned) {
        return still_poisoned(writer, failure_out);
    }
    if (writer->durable_lsn == writer->written_lsn) {
        return STATUS_OK;
    }
    const struct disk *disk = writer->disk;
    if (disk->flush(disk->context, writer->file) != STATUS_OK) {
        return poison(writer, "flush", writer->name, 0, failure_out);
    }
    writer->durable_lsn = writer->written_lsn;
    return STATUS_OK;
}

uint64_t
log_writer_durable_lsn(const struct log_writer *writer)
{
    return writer->durable_lsn;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* What durability costs in user space: messages appended to the log and removed from it again, 64
 * to a batch, which is finished and laid out for a disk that keeps nothing. */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "bench/micro.h"
#include "store/journal.h"
#include "store/log_writer.h"
#include "store/record.h"
#include "store/segment.h"

enum { MESSAGES_PER_BATCH = 64, SLOT = 64 * 1024 * 1024, FIRST_SEGMENT = 1 };

static const uint64_t QUEUE = 1;

/* A disk on which every segment is there, and nothing is kept. */
struct empty_disk {
    struct disk disk;
    uint64_t segment; /* the one opened last */
};

static enum status
empty_open(void *context, const char *name, enum disk_open mode, struct disk_file **file_out)
{
    struct empty_disk *empty = context;
    uint64_t last;
    (void)mode;
    (void)store_file_parse(name, &empty->segment, &last);
    *file_out = context;
    return STATUS_OK;
}

static void
empty_close(void *context, struct disk_file **file)
{
    (void)context;
    *file = NULL;
}

static enum status
empty_write(void *context, struct disk_file *file, const struct iovec *parts, size_t part_count,
            uint64_t offset)
{
    (void)context;
    (void)file;
    micro_use((uint64_t)(uintptr_t)parts + part_count + offset);
    return STATUS_OK;
}

static enum status
empty_read(void *context, struct disk_file *file, void *out, size_t size, uint64_t offset,
           size_t *read_out)
{
    const struct empty_disk *empty = context;
    (void)file;
    (void)offset;
    assert(size == SEGMENT_HEADER_SIZE);
    struct segment_header header = {
        .number = empty->segment,
        .base_lsn = empty->segment * SLOT,
        .slot_size = SLOT,
        .capacity = SLOT,
        .epoch = 1,
    };
    segment_header_encode(&header, out);
    *read_out = size;
    return STATUS_OK;
}

static enum status
empty_flush(void *context, struct disk_file *file)
{
    (void)context;
    (void)file;
    return STATUS_OK;
}

struct log_bench {
    struct empty_disk empty;
    struct chunk_pool *pool;
    struct journal *journal;
    struct log_writer *writer;
    struct list submitted;
    uint32_t body_size;
    uint64_t lsns[MESSAGES_PER_BATCH]; /* of the last batch */
};

static void
take_batch(void *context, struct batch *batch)
{
    struct log_bench *bench = context;
    list_append(&bench->submitted, &batch->link);
}

static void
bench_init(struct log_bench *bench, uint32_t body_size)
{
    *bench = (struct log_bench){.pool = chunk_pool_new(), .body_size = body_size};
    list_init(&bench->submitted);
    bench->empty.disk = (struct disk){
        .open = empty_open,
        .close = empty_close,
        .write = empty_write,
        .read = empty_read,
        .flush = empty_flush,
        .context = &bench->empty,
    };
    struct journal_settings settings = {
        .epoch = 1,
        .segment_number = FIRST_SEGMENT,
        .segment_base = FIRST_SEGMENT * (uint64_t)SLOT,
        .segment_capacity = SLOT,
        .slot_size = SLOT,
    };
    struct journal_port port = {.submit = take_batch, .context = bench};
    bench->journal = journal_new(&settings, bench->pool, &port);
    bench->writer = log_writer_new(&bench->empty.disk);
}

static void
bench_fini(struct log_bench *bench)
{
    journal_free(&bench->journal);
    log_writer_free(&bench->writer);
    chunk_pool_end_tick(bench->pool, chunk_pool_tick(bench->pool));
    chunk_pool_free(&bench->pool);
}

/* One message of the broker's: laid in a chunk, logged, and named by nobody but the log. */
static uint64_t
append(struct log_bench *bench)
{
    struct content_shape shape = {
        .routing_key = bytes_of("bench.q00000"),
        .properties = bytes_make("\x10\x00\x02", 3),
        .body_size = bench->body_size,
        .kind = CHUNK_KIND_PERSISTENT,
        .flags = CONTENT_PERSISTENT,
    };
    struct content_ref content;
    uint8_t *body;
    uint64_t lsn;
    enum status reserved = chunk_pool_reserve(bench->pool, &shape, &content, &body);
    assert(reserved == STATUS_OK);
    enum status published = journal_publish(bench->journal, content, &QUEUE, 1, &lsn);
    assert(published == STATUS_OK);
    chunk_pool_release(bench->pool, content);
    return lsn;
}

/* What the log's thread does with what was handed over, and its reports. */
static void
write_out(struct log_bench *bench)
{
    struct log_failure failure;
    struct list written;
    list_init(&written);
    enum status status = STATUS_OK;
    while (!list_is_empty(&bench->submitted)) {
        status = log_writer_write(bench->writer, &bench->submitted, &written, &failure);
        assert(status == STATUS_OK);
    }
    for (struct list_link *link; (link = list_pop(&written)) != NULL;) {
        journal_batch_written(bench->journal, CONTAINER_OF(link, struct batch, link));
    }
    status = log_writer_flush(bench->writer, &failure);
    assert(status == STATUS_OK);
    journal_committed(bench->journal, log_writer_durable_lsn(bench->writer));
    while (journal_oldest_left(bench->journal) != NULL) {
        journal_forget_left(bench->journal);
    }
    chunk_pool_end_tick(bench->pool, chunk_pool_tick(bench->pool));
}

static void
append_and_remove(void *context, uint64_t count)
{
    struct log_bench *bench = context;
    for (uint64_t done = 0; done < count; done += MESSAGES_PER_BATCH) {
        for (int i = 0; i < MESSAGES_PER_BATCH; i++) {
            bench->lsns[i] = append(bench);
        }
        (void)journal_seal(bench->journal, true);
        write_out(bench);
        for (int i = 0; i < MESSAGES_PER_BATCH; i++) {
            journal_remove(bench->journal, QUEUE, bench->lsns[i]);
        }
    }
    (void)journal_seal(bench->journal, true);
    write_out(bench);
}

static void
measure(const struct micro *micro, const char *name, const char *words, uint32_t body_size)
{
    struct log_bench bench;
    bench_init(&bench, body_size);
    micro_run(micro, name, words, append_and_remove, &bench);
    bench_fini(&bench);
}

int
main(int argc, char **argv)
{
    struct micro micro;
    micro_init(&micro, argc, argv);
    measure(&micro, "log-16", "16 octets appended, written nowhere, removed", 16);
    measure(&micro, "log-128", "the same, 128 octets", 128);
    measure(&micro, "log-1k", "the same, 1 KiB", 1024);
    return EXIT_SUCCESS;
}

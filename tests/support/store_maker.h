/* SPDX-License-Identifier: Apache-2.0 */
/* Makes data directories as a broker would, on a disk in memory, and reads them back: what is
 * published and removed goes through the journal and the writer of the log, what comes back is
 * recovery's. */
#ifndef BOURSE_TESTS_SUPPORT_STORE_MAKER_H
#define BOURSE_TESTS_SUPPORT_STORE_MAKER_H

#include "store/chunk.h"
#include "store/journal.h"
#include "store/log_writer.h"
#include "store/recovery.h"

enum { STORE_MAKER_SLOT = 64 * 1024 };

struct store_maker {
    struct disk disk;
    uint64_t slot_size; /* STORE_MAKER_SLOT unless set before the start */
    uint64_t random_state;
    struct recovery recovery; /* of the last start */
    struct chunk_pool *pool;
    struct journal *journal;
    struct log_writer *writer;
    struct segment_header newest; /* the last segment that was prepared */
    uint64_t indexed_number;      /* segments up to here have an index */
    bool without_index;           /* leaves full segments without one */
    uint32_t prepared_ahead;      /* segments beyond the one in use; 1 unless set */
};

/* What recovery handed over. */
struct store_content {
    struct recovered_row *rows;
    size_t row_count, row_capacity;
    struct buffer records;
    size_t record_count;
    size_t binding_count, queue_count;
};

void store_maker_init(struct store_maker *maker, const struct disk *disk);
void store_maker_fini(struct store_maker *maker);

/* Recovers and begins an epoch; `content` (NULL: nobody) gets what is there. On anything but
 * STATUS_OK there is no journal, and `why` says why. */
enum status store_maker_start(struct store_maker *maker, struct store_content *content, char *why,
                              size_t why_size);
/* The process ends: nothing more is written. */
void store_maker_end(struct store_maker *maker);

/* A message of `size` octets that follow from its text, for one queue or more; its LSN. */
uint64_t store_maker_publish(struct store_maker *maker, const uint64_t *queues, uint32_t count,
                             const char *text, uint32_t size);
/* The same with what the log keeps of it in some of those queues. */
uint64_t store_maker_publish_with(struct store_maker *maker, const uint64_t *queues, uint32_t count,
                                  const struct journal_state *states, uint32_t state_count,
                                  const char *text, uint32_t size);
void store_maker_vhost(struct store_maker *maker, uint64_t id, const char *name);
void store_maker_queue(struct store_maker *maker, uint64_t id, uint64_t vhost, const char *name);
void store_maker_put(struct store_maker *maker, struct buffer *record); /* and clears it */
/* Ends the tick: writes, and flushes where somebody wants it. */
void store_maker_seal(struct store_maker *maker, bool wants_flush);

/* The octet at `at` of the body of a message with that text. */
uint8_t store_maker_octet(const char *text, uint32_t at);

void store_content_fini(struct store_content *content);
struct recovery_sink store_content_sink(struct store_content *content);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* Names and headers of the files in a data directory (docs/store-format.md). */
#ifndef BOURSE_STORE_SEGMENT_H
#define BOURSE_STORE_SEGMENT_H

#include "base/bytes.h"
#include "base/disk.h"
#include "base/status.h"

#include <stdint.h>

enum {
    SEGMENT_HEADER_SIZE = 4096,
    SEGMENT_SIZE_MIN = 64 * 1024,
    SEGMENT_FIRST_SIZE = 1024 * 1024, /* of a directory without spares; at most the slot */
    CLUSTER_ID_SIZE = 16,
    STORE_NAME_SIZE = 48,
};

enum store_file_kind {
    STORE_FILE_OTHER,
    STORE_FILE_LOCK,
    STORE_FILE_MANIFEST,
    STORE_FILE_SEGMENT,
    STORE_FILE_INDEX,
    STORE_FILE_DEAD,
    STORE_FILE_PACK,
    STORE_FILE_SNAPSHOT,
    STORE_FILE_SPARE,
    STORE_FILE_SPILL,
    STORE_FILE_BALLAST,
    STORE_FILE_TEMPORARY, /* any name that ends in .tmp */
};

#define STORE_MANIFEST_NAME "MANIFEST"
#define STORE_BALLAST_NAME "ballast"

/* Writes the file's name into `out` and returns it. `number` is the segment's number, the
 * snapshot's LSN, the spare's or the spill's number; of a pack `number` is F and `last` is L. */
const char *store_file_name(enum store_file_kind kind, uint64_t number, uint64_t last,
                            char out[static STORE_NAME_SIZE]);

/* The kind, and the numbers in the name; only well-formed names are more than OTHER. */
enum store_file_kind store_file_parse(const char *name, uint64_t *number_out, uint64_t *last_out);

struct segment_header {
    uint64_t number;
    uint64_t base_lsn;
    uint64_t slot_size;
    uint64_t capacity; /* octets of the file that may be written, header included */
    uint64_t epoch;
    uint32_t group;
    uint8_t cluster_id[CLUSTER_ID_SIZE];
};

/* The rest of the 4096 octets is zeros. */
void segment_header_encode(const struct segment_header *header,
                           uint8_t out[static SEGMENT_HEADER_SIZE]);
/* STATUS_CORRUPT: magic, version, CRC or sizes are not right. `octets` are at least 84. */
MUST_CHECK enum status segment_header_decode(struct segment_header *header, const uint8_t *octets);

struct log_failure; /* store/log_failure.h */

/* Makes `seg.<number>` from a spare (`spare` is its number) or, with `spare` 0 or one of another
 * size, as a new file full of zeros; flushed, named and with the directory flushed when it returns
 * STATUS_OK. STATUS_IO: the file it was working on is thrown away, because nobody knows what of it
 * is on the disk; when it was the directory that could not be flushed, nobody knows which names
 * are, and the process is to end (I9). `failure` may be NULL. Blocks. */
MUST_CHECK enum status segment_prepare(const struct disk *disk, const struct segment_header *header,
                                       uint64_t spare, struct log_failure *failure);

/* Makes `spare.<number>`, `octets` of zeros. */
MUST_CHECK enum status spare_prepare(const struct disk *disk, uint64_t number, uint64_t octets,
                                     struct log_failure *failure);

/* Turns a segment that is no longer needed into `spare.<spare>` (0: removes it), and removes its
 * index and dead file: only once it is certain that the segment has gone, for without them its rows
 * would come back. As above where the directory cannot be flushed. Blocks. */
MUST_CHECK enum status segment_retire(const struct disk *disk, uint64_t number, uint64_t spare,
                                      struct log_failure *failure);

/* Whether octets of the segment are also somebody else's, as those of a backup that was linked: it
 * must not be written to, and cannot become a spare. True also when that cannot be found out. */
bool segment_is_shared(const struct disk *disk, uint64_t number);

/* The same for `pack.<first>.<last>`, which never becomes a spare, and for what it took the place
 * of and could not be removed then, before it. */
MUST_CHECK enum status pack_retire(const struct disk *disk, uint64_t first, uint64_t last,
                                   struct log_failure *failure);

#endif

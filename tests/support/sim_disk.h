/* SPDX-License-Identifier: Apache-2.0 */
/* A disk in memory (base/disk.h) that can lose, tear, reorder and refuse; for tests and simulation.
 *
 * What it takes for true of a disk:
 * - A write is at once what any later read gets, and is on the disk only after a flush of its file.
 *   Until then each sector of 512 octets lives or dies by itself; of several writes to a sector any
 *   one may be the last that lives. A sector is never torn.
 * - The size of a file is such a change too. Sizes live in the order they came about: a prefix of
 *   them. A sector beyond the size that lived is gone; one below it that was lost reads as it was
 *   before, or as zeros where nothing was.
 * - A truncation lives or dies as a whole, with its size.
 * - Names that were created, renamed or removed are on the disk only after flush_directory. Until
 *   then each change lives or dies by itself, but never without an earlier one that has a name in
 *   common with it. A rename is never half done. Flushing a file does not keep its name.
 * - After a flush that failed nothing more of that file gets onto the disk, though later flushes
 *   say so: nobody may trust a second try. The same for flush_directory.
 * - A disk that copies on write (sim_disk_set_copies_on_write) needs room for every octet that is
 *   written over, until the next flush of the file, and has the room of a file that was removed
 *   back only after flush_directory.
 * - A file that is linked into another disk is a copy there, all of it on the disk: both sides know
 *   that it has two names, and nobody is to write to either.
 * - A file of which more than SIM_DISK_DIRTY_MAX octets were overwritten and not flushed is written
 *   back by itself, as a kernel would.
 *
 * The same calls and the same random numbers give the same disk. Any number of threads may use it
 * at once; recordings are replayed by one thread at a time. Names are shorter than
 * SIM_DISK_NAME_SIZE, else ENAMETOOLONG. */
#ifndef BOURSE_TESTS_SUPPORT_SIM_DISK_H
#define BOURSE_TESTS_SUPPORT_SIM_DISK_H

#include "base/bytes.h"
#include "base/disk.h"
#include "base/random.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    SIM_DISK_SECTOR = 512,
    SIM_DISK_NAME_SIZE = 64,
    SIM_DISK_DIRTY_MAX = 8 * 1024 * 1024,
};

enum sim_disk_call {
    SIM_DISK_OPEN,
    SIM_DISK_WRITE,
    SIM_DISK_READ,
    SIM_DISK_FLUSH,
    SIM_DISK_SIZE,
    SIM_DISK_TRUNCATE,
    SIM_DISK_RENAME,
    SIM_DISK_UNLINK,
    SIM_DISK_LINK,
    SIM_DISK_LINK_COUNT,
    SIM_DISK_FLUSH_DIRECTORY,
    SIM_DISK_LIST,
    SIM_DISK_SPACE,
    SIM_DISK_CALL_COUNT,
};

/* What a power cut leaves of that which was not flushed. */
enum sim_disk_policy {
    SIM_DISK_NONE,   /* nothing */
    SIM_DISK_NAMES,  /* all changes of names, nothing in the files */
    SIM_DISK_ALL,    /* everything */
    SIM_DISK_RANDOM, /* anything; how likely each piece is to live is drawn first */
};

struct sim_disk;
struct sim_recording;

struct sim_disk *sim_disk_new(void);
void sim_disk_free(struct sim_disk **disk); /* files are closed before */

/* What to call; valid while the disk lives. */
struct disk disk_of_sim(struct sim_disk *disk);

/* The same files with the same past. Nothing that is open is open in the copy; faults, capacity,
 * kind, hook, counts and recording stay behind. */
struct sim_disk *sim_disk_copy(struct sim_disk *disk);

/* Ends -------------------------------------------------------------------------------------------
 */

/* The power goes off and on again. What lives is on the disk from now on. Open files are good for
 * nothing but to be closed: every other call gives EBADF. Planned faults and the recording end.
 * `random` is needed by SIM_DISK_RANDOM alone. */
void sim_disk_crash(struct sim_disk *disk, enum sim_disk_policy policy,
                    const struct random_source *random);

/* kill -9: everything that was written lives. Otherwise as above. */
void sim_disk_kill(struct sim_disk *disk);

/* Faults -----------------------------------------------------------------------------------------
 */

/* The `nth` call of that kind from here on fails with `error` and has no effect, once; 1 is the
 * next one, 0 calls it off. One plan for each kind. */
void sim_disk_fail(struct sim_disk *disk, enum sim_disk_call call, uint64_t nth, int error);

/* The same for a write of which the first `octets` octets are written before it fails. */
void sim_disk_fail_short(struct sim_disk *disk, uint64_t nth, size_t octets, int error);

/* How many calls of that kind are left until the planned one; 0: it has failed, or none is. */
uint64_t sim_disk_fault_left(struct sim_disk *disk, enum sim_disk_call call);

/* Files grow to so many octets in all, then writes fill what is left and fail with ENOSPC. A new
 * disk has 1 TiB. */
void sim_disk_set_capacity(struct sim_disk *disk, uint64_t capacity);

/* To be said before disk_of_sim is asked, which passes it on. */
void sim_disk_set_copies_on_write(struct sim_disk *disk, bool copies_on_write);

/* What writes may still take. */
uint64_t sim_disk_free_bytes(struct sim_disk *disk);

/* Calls of that kind since the disk is new, failed ones included. */
uint64_t sim_disk_call_count(struct sim_disk *disk, enum sim_disk_call call);

/* Watching ---------------------------------------------------------------------------------------
 */

struct sim_disk_op {
    enum sim_disk_call call;
    const char *name; /* the file's name now, or what a rename was from; "" where there is none */
    const char *to;   /* of a rename, else "" */
    uint64_t offset;
    uint64_t size; /* octets written or read, the new size of a truncation, else 0 */
    int error;     /* 0: it succeeded */
};

/* Called behind each call's effect, before it returns. It must not use the disk, whose lock is
 * held: the order it sees is the order in which things happened. NULL: no hook. */
typedef void (*sim_disk_hook)(void *context, const struct sim_disk_op *op);
void sim_disk_set_hook(struct sim_disk *disk, sim_disk_hook hook, void *context);

/* Records from now on every call that changed something, or was to make it safe: files created,
 * writes (also what a failed one left), flushes (also failed ones), truncations, and what concerns
 * names. It ends at sim_disk_stop_recording, a crash or a kill; only then is it freed. */
struct sim_recording *sim_disk_record(struct sim_disk *disk);
void sim_disk_stop_recording(struct sim_disk *disk);
void sim_recording_free(struct sim_recording **recording);

uint32_t sim_recording_count(const struct sim_recording *recording);
struct sim_disk_op sim_recording_op(const struct sim_recording *recording, uint32_t position);

/* A new disk as a power cut after the first `prefix` recorded calls leaves it. Cheapest when
 * prefixes come in rising order. */
struct sim_disk *sim_disk_replay(struct sim_recording *recording, uint32_t prefix,
                                 enum sim_disk_policy policy, uint64_t seed);

/* Looking and damaging: for a disk that nobody uses at that time. Damage is on the disk at once,
 * and so is everything else then. All but the first two want the file to be there. --------------
 */

uint32_t sim_disk_file_count(struct sim_disk *disk);
const char *sim_disk_name(struct sim_disk *disk, uint32_t position); /* until names change */
bool sim_disk_has(struct sim_disk *disk, const char *name);
struct bytes sim_disk_content(struct sim_disk *disk, const char *name); /* until it is written */

void sim_disk_replace(struct sim_disk *disk, const char *name, struct bytes content); /* or makes */
void sim_disk_remove(struct sim_disk *disk, const char *name);
void sim_disk_set(struct sim_disk *disk, const char *name, uint64_t offset, struct bytes octets);
void sim_disk_flip_bit(struct sim_disk *disk, const char *name, uint64_t offset, unsigned bit);
void sim_disk_cut(struct sim_disk *disk, const char *name, uint64_t size);
void sim_disk_swap(struct sim_disk *disk, const char *one, const char *other);

#endif

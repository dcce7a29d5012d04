/* SPDX-License-Identifier: Apache-2.0 */
/* One file of the simulated disk: its octets, and what it takes to undo each change that was not
 * flushed. So a flush costs nothing, and only a crash pays. */
#ifndef BOURSE_TESTS_SUPPORT_SIM_INODE_H
#define BOURSE_TESTS_SUPPORT_SIM_INODE_H

#include "tests/support/sim_disk.h"

/* Tells of each piece that was not flushed whether it lives. */
struct sim_dice {
    const struct random_source *source; /* NULL: no need to throw */
    uint32_t odds;                      /* of 256 */
    uint32_t left;                      /* octets of `bits` not used yet */
    uint64_t bits;
};

struct sim_dice sim_dice_make(const struct random_source *source);
bool sim_dice_throw(struct sim_dice *dice);

struct sim_undo;

/* On the heap; the disk's table owns it. */
struct sim_inode {
    char name[SIM_DISK_NAME_SIZE]; /* the last that it had */
    uint32_t handles;              /* open files */
    bool is_marked;                /* named by a directory, while the disk sweeps */
    bool flush_is_broken;          /* one has failed */
    uint32_t linked_count;         /* names that it has on other disks */
    uint64_t size;
    uint64_t overwritten; /* octets that were written over since the last flush, each time */
    uint64_t capacity;    /* whole sectors; all zero behind `size` */
    uint8_t *octets;      /* owned */
    struct sim_undo *undos;
    uint32_t undo_count;
    uint32_t undo_capacity;
    uint8_t *saved; /* what the undos put back, one behind the other */
    uint64_t saved_size;
    uint64_t saved_capacity;
};

struct sim_inode *sim_inode_new(void);
void sim_inode_free(struct sim_inode **inode);
struct sim_inode *sim_inode_copy(const struct sim_inode *inode);

/* Writes the first `size` octets of `parts`. */
void sim_inode_write(struct sim_inode *inode, const struct iovec *parts, uint64_t size,
                     uint64_t offset);
size_t sim_inode_read(const struct sim_inode *inode, void *out, size_t size, uint64_t offset);
void sim_inode_truncate(struct sim_inode *inode, uint64_t size);
void sim_inode_flush(struct sim_inode *inode);

/* As on the disk from now on, whatever was flushed. */
void sim_inode_settle(struct sim_inode *inode);
void sim_inode_crash(struct sim_inode *inode, enum sim_disk_policy policy, struct sim_dice *dice);

#endif

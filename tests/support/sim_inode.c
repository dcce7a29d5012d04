/* SPDX-License-Identifier: Apache-2.0 */
/* Octets that can be taken back. Each change notes the sectors it touches as they were, so that a
 * crash walks the changes from the newest to the oldest and, sector by sector, stops where one
 * lives. */
#include "tests/support/sim_inode.h"

#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/assert.h"

static const uint64_t CAPACITY_FIRST = 8 * SIM_DISK_SECTOR;
static const uint32_t UNDOS_MAX = 1 << 16;

struct sim_undo {
    uint64_t offset; /* of the first sector that it touches */
    uint64_t size;   /* whole sectors */
    uint64_t saved;  /* how many octets of them were kept; behind those were zeros */
    uint64_t size_before;
    bool is_truncation;
};

static uint64_t
sector_floor(uint64_t offset)
{
    return offset / SIM_DISK_SECTOR * SIM_DISK_SECTOR;
}

static uint64_t
sector_ceiling(uint64_t offset)
{
    return sector_floor(offset + SIM_DISK_SECTOR - 1);
}

struct sim_dice
sim_dice_make(const struct random_source *source)
{
    uint32_t odds = source == NULL ? 0 : (uint32_t)(random_u64(source) % 257);
    return (struct sim_dice){.source = source, .odds = odds};
}

bool
sim_dice_throw(struct sim_dice *dice)
{
    if (dice->left == 0) {
        dice->bits = random_u64(dice->source);
        dice->left = sizeof(dice->bits);
    }
    uint32_t octet = dice->bits & 0xff;
    dice->bits >>= 8;
    dice->left--;
    return octet < dice->odds;
}

struct sim_inode *
sim_inode_new(void)
{
    return xalloc(sizeof(struct sim_inode));
}

void
sim_inode_free(struct sim_inode **inode)
{
    if (*inode == NULL) {
        return;
    }
    free((*inode)->octets);
    free((*inode)->undos);
    free((*inode)->saved);
    free(*inode);
    *inode = NULL;
}

static void *
copy_of(const void *memory, size_t size)
{
    return size == 0 ? NULL : memcpy(xrealloc(NULL, size), memory, size);
}

struct sim_inode *
sim_inode_copy(const struct sim_inode *inode)
{
    struct sim_inode *copy = copy_of(inode, sizeof(*inode));
    copy->handles = 0;
    copy->octets = copy_of(inode->octets, inode->capacity);
    copy->undos = copy_of(inode->undos, inode->undo_count * sizeof(*inode->undos));
    copy->undo_capacity = inode->undo_count;
    copy->saved = copy_of(inode->saved, inode->saved_size);
    copy->saved_capacity = inode->saved_size;
    return copy;
}

/* Doubles what is reserved, so that growing octet by octet stays cheap. */
static uint64_t
grown(uint64_t capacity, uint64_t least)
{
    uint64_t twice = capacity < CAPACITY_FIRST ? CAPACITY_FIRST : 2 * capacity;
    return twice < least ? least : twice;
}

static void
reserve(struct sim_inode *inode, uint64_t size)
{
    if (size <= inode->capacity) {
        return;
    }
    /* A file that is written at once takes no more than it needs. */
    uint64_t capacity =
        inode->capacity == 0 ? sector_ceiling(size) : sector_ceiling(grown(inode->capacity, size));
    inode->octets = xrealloc(inode->octets, capacity);
    memset(inode->octets + inode->capacity, 0, capacity - inode->capacity);
    inode->capacity = capacity;
}

/* Keeps the sectors of [offset, end) as they are now. */
static void
push_undo(struct sim_inode *inode, uint64_t offset, uint64_t end, bool is_truncation)
{
    if (inode->undo_count >= UNDOS_MAX || inode->saved_size > SIM_DISK_DIRTY_MAX) {
        sim_inode_flush(inode);
    }
    uint64_t first = sector_floor(offset);
    uint64_t behind = end > offset ? sector_ceiling(end) : first;
    uint64_t old_end = sector_ceiling(inode->size);
    uint64_t saved_end = behind < old_end ? behind : old_end;
    uint64_t saved = saved_end > first ? saved_end - first : 0;
    if (inode->undo_count == inode->undo_capacity) {
        inode->undo_capacity = inode->undo_capacity == 0 ? 8 : 2 * inode->undo_capacity;
        inode->undos = xrealloc(inode->undos, inode->undo_capacity * sizeof(*inode->undos));
    }
    if (inode->saved_size + saved > inode->saved_capacity) {
        inode->saved_capacity = grown(inode->saved_capacity, inode->saved_size + saved);
        inode->saved = xrealloc(inode->saved, inode->saved_capacity);
    }
    if (saved > 0) {
        memcpy(inode->saved + inode->saved_size, inode->octets + first, saved);
    }
    inode->saved_size += saved;
    inode->undos[inode->undo_count++] = (struct sim_undo){
        .offset = first,
        .size = behind - first,
        .saved = saved,
        .size_before = inode->size,
        .is_truncation = is_truncation,
    };
}

void
sim_inode_write(struct sim_inode *inode, const struct iovec *parts, uint64_t size, uint64_t offset)
{
    if (size == 0) {
        return;
    }
    reserve(inode, offset + size);
    push_undo(inode, offset, offset + size, false);
    if (offset < inode->size) {
        uint64_t behind = inode->size - offset;
        inode->overwritten += size < behind ? size : behind;
    }
    if (offset + size > inode->size) {
        inode->size = offset + size;
    }
    for (uint8_t *at = inode->octets + offset; size > 0; parts++) {
        size_t piece = parts->iov_len < size ? parts->iov_len : size;
        if (piece > 0) {
            memcpy(at, parts->iov_base, piece);
        }
        at += piece;
        size -= piece;
    }
}

size_t
sim_inode_read(const struct sim_inode *inode, void *out, size_t size, uint64_t offset)
{
    uint64_t left = offset < inode->size ? inode->size - offset : 0;
    size_t taken = left < size ? (size_t)left : size;
    if (taken > 0) {
        memcpy(out, inode->octets + offset, taken);
    }
    return taken;
}

void
sim_inode_truncate(struct sim_inode *inode, uint64_t size)
{
    if (size == inode->size) {
        return;
    }
    reserve(inode, size);
    push_undo(inode, size, size < inode->size ? inode->size : size, true);
    if (size < inode->size) {
        memset(inode->octets + size, 0, inode->size - size);
    }
    inode->size = size;
}

void
sim_inode_flush(struct sim_inode *inode)
{
    if (!inode->flush_is_broken) {
        sim_inode_settle(inode);
    }
}

void
sim_inode_settle(struct sim_inode *inode)
{
    inode->undo_count = 0;
    inode->saved_size = 0;
    inode->overwritten = 0;
    inode->flush_is_broken = false;
}

static bool
changes_size(const struct sim_inode *inode, uint32_t i)
{
    bool is_last = i + 1 == inode->undo_count;
    uint64_t size_after = is_last ? inode->size : inode->undos[i + 1].size_before;
    return size_after != inode->undos[i].size_before;
}

/* What of the sizes lives: the number of the first change that does not. */
static uint32_t
first_lost_size(const struct sim_inode *inode, const struct sim_dice *dice)
{
    uint32_t size_count = 0;
    for (uint32_t i = 0; i < inode->undo_count; i++) {
        size_count += changes_size(inode, i);
    }
    uint64_t kept = size_count == 0 ? 0 : random_u64(dice->source) % (size_count + 1);
    for (uint32_t i = 0; i < inode->undo_count; i++) {
        if (changes_size(inode, i) && kept-- == 0) {
            return i;
        }
    }
    return inode->undo_count;
}

/* The walk back of one crash. */
struct walk {
    struct sim_inode *inode;
    struct sim_dice *dice;
    uint32_t first_lost; /* size */
    bool *is_settled;    /* by sector: a change lives here, so older ones do too */
    uint32_t *undo_to;   /* by sector: the oldest truncation that is lost here */
};

static void
note_lost_truncations(const struct walk *walk)
{
    const struct sim_inode *inode = walk->inode;
    for (uint64_t i = 0; i < inode->capacity / SIM_DISK_SECTOR; i++) {
        walk->undo_to[i] = inode->undo_count;
    }
    for (uint32_t i = inode->undo_count; i-- > walk->first_lost;) {
        const struct sim_undo *undo = &inode->undos[i];
        for (uint64_t at = 0; undo->is_truncation && at < undo->size; at += SIM_DISK_SECTOR) {
            walk->undo_to[(undo->offset + at) / SIM_DISK_SECTOR] = i;
        }
    }
}

static void
restore_sector(struct sim_inode *inode, const struct sim_undo *undo, const uint8_t *saved,
               uint64_t at)
{
    uint8_t *sector = inode->octets + undo->offset + at;
    if (at < undo->saved) {
        memcpy(sector, saved + at, SIM_DISK_SECTOR);
    } else {
        memset(sector, 0, SIM_DISK_SECTOR);
    }
}

/* What was written behind a truncation that is lost went to places that the file never got. */
static bool
change_lives(const struct walk *walk, uint32_t i, uint64_t sector)
{
    if (i >= walk->undo_to[sector]) {
        return false;
    }
    return walk->inode->undos[i].is_truncation || sim_dice_throw(walk->dice);
}

static void
walk_back(const struct walk *walk)
{
    struct sim_inode *inode = walk->inode;
    const uint8_t *saved = inode->saved + inode->saved_size;
    for (uint32_t i = inode->undo_count; i-- > 0;) {
        const struct sim_undo *undo = &inode->undos[i];
        saved -= undo->saved;
        for (uint64_t at = 0; at < undo->size; at += SIM_DISK_SECTOR) {
            uint64_t sector = (undo->offset + at) / SIM_DISK_SECTOR;
            if (walk->is_settled[sector]) {
                continue;
            }
            walk->is_settled[sector] = change_lives(walk, i, sector);
            if (!walk->is_settled[sector]) {
                restore_sector(inode, undo, saved, at);
            }
        }
    }
}

/* Nothing is behind the end, so that a file that grows again shows zeros. */
static void
set_size(struct sim_inode *inode, uint64_t size)
{
    uint64_t last = inode->capacity;
    if (size < last) {
        memset(inode->octets + size, 0, last - size);
    }
    inode->size = size;
}

static void
lose_some(struct sim_inode *inode, struct sim_dice *dice)
{
    uint64_t sectors = inode->capacity / SIM_DISK_SECTOR;
    struct walk walk = {
        .inode = inode,
        .dice = dice,
        .first_lost = first_lost_size(inode, dice),
        .is_settled = xalloc(sectors * sizeof(*walk.is_settled) + 1),
        .undo_to = xalloc(sectors * sizeof(*walk.undo_to) + 1),
    };
    note_lost_truncations(&walk);
    walk_back(&walk);
    bool all_live = walk.first_lost == inode->undo_count;
    set_size(inode, all_live ? inode->size : inode->undos[walk.first_lost].size_before);
    free(walk.is_settled);
    free(walk.undo_to);
}

static void
lose_all(struct sim_inode *inode)
{
    const uint8_t *saved = inode->saved + inode->saved_size;
    for (uint32_t i = inode->undo_count; i-- > 0;) {
        const struct sim_undo *undo = &inode->undos[i];
        saved -= undo->saved;
        memset(inode->octets + undo->offset, 0, undo->size);
        if (undo->saved > 0) {
            memcpy(inode->octets + undo->offset, saved, undo->saved);
        }
    }
    set_size(inode, inode->undos[0].size_before);
}

void
sim_inode_crash(struct sim_inode *inode, enum sim_disk_policy policy, struct sim_dice *dice)
{
    if (inode->undo_count > 0 && policy == SIM_DISK_RANDOM) {
        lose_some(inode, dice);
    } else if (inode->undo_count > 0 && policy != SIM_DISK_ALL) {
        lose_all(inode);
    }
    sim_inode_settle(inode);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* What happened to a simulated disk, and disks as a power cut in the midst of it leaves them. */
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "tests/support/sim_disk_parts.h"

struct sim_note {
    enum sim_disk_call call;
    uint32_t inode;
    char name[SIM_DISK_NAME_SIZE];
    char to[SIM_DISK_NAME_SIZE];
    uint64_t offset;
    uint64_t size;
    int error;
    uint8_t *octets; /* of a write, owned; else NULL */
};

struct sim_recording {
    struct sim_disk *start; /* as it was before the first call; owned */
    struct sim_note *notes; /* owned */
    uint32_t count;
    uint32_t capacity;
    struct sim_disk *reached; /* as it was before the call `position`; owned, NULL: none yet */
    uint32_t position;
};

struct sim_recording *
sim_disk_record(struct sim_disk *disk)
{
    struct sim_recording *recording = xalloc(sizeof(*recording));
    recording->start = sim_disk_copy(disk);
    (void)pthread_mutex_lock(&disk->lock);
    disk->recording = recording;
    (void)pthread_mutex_unlock(&disk->lock);
    return recording;
}

void
sim_disk_stop_recording(struct sim_disk *disk)
{
    (void)pthread_mutex_lock(&disk->lock);
    disk->recording = NULL;
    (void)pthread_mutex_unlock(&disk->lock);
}

void
sim_recording_free(struct sim_recording **recording)
{
    if (*recording == NULL) {
        return;
    }
    for (uint32_t i = 0; i < (*recording)->count; i++) {
        free((*recording)->notes[i].octets);
    }
    free((*recording)->notes);
    sim_disk_free(&(*recording)->start);
    sim_disk_free(&(*recording)->reached);
    free(*recording);
    *recording = NULL;
}

static uint8_t *
gathered(const struct iovec *parts, uint64_t size)
{
    uint8_t *octets = xrealloc(NULL, size);
    for (uint64_t done = 0; done < size; parts++) {
        uint64_t piece = parts->iov_len < size - done ? parts->iov_len : size - done;
        if (piece > 0) {
            memcpy(octets + done, parts->iov_base, piece);
        }
        done += piece;
    }
    return octets;
}

void
sim_recording_note(struct sim_recording *recording, const struct sim_disk_op *op, uint32_t inode,
                   const struct iovec *parts)
{
    if (recording->count == recording->capacity) {
        recording->capacity = recording->capacity == 0 ? 64 : 2 * recording->capacity;
        recording->notes =
            xrealloc(recording->notes, recording->capacity * sizeof(*recording->notes));
    }
    struct sim_note *note = &recording->notes[recording->count++];
    *note = (struct sim_note){
        .call = op->call,
        .inode = inode,
        .offset = op->offset,
        .size = op->size,
        .error = op->error,
        .octets = parts == NULL ? NULL : gathered(parts, op->size),
    };
    memcpy(note->name, op->name, strlen(op->name));
    memcpy(note->to, op->to, strlen(op->to));
}

uint32_t
sim_recording_count(const struct sim_recording *recording)
{
    return recording->count;
}

struct sim_disk_op
sim_recording_op(const struct sim_recording *recording, uint32_t position)
{
    assert(position < recording->count);
    const struct sim_note *note = &recording->notes[position];
    return (struct sim_disk_op){
        .call = note->call,
        .name = note->name,
        .to = note->to,
        .offset = note->offset,
        .size = note->size,
        .error = note->error,
    };
}

static void
repeat_on_inode(struct sim_inode *inode, const struct sim_note *note)
{
    struct iovec part = {.iov_base = note->octets, .iov_len = note->size};
    if (note->call == SIM_DISK_WRITE) {
        sim_inode_write(inode, &part, note->size, note->offset);
    } else if (note->call == SIM_DISK_TRUNCATE) {
        sim_inode_truncate(inode, note->size);
    } else {
        inode->flush_is_broken |= note->error != 0;
        sim_inode_flush(inode);
    }
}

static void
repeat_on_names(struct sim_disk *disk, const struct sim_note *note)
{
    if (note->call == SIM_DISK_OPEN) {
        uint32_t inode = sim_disk_create(disk, note->name);
        assert(inode == note->inode);
    } else if (note->call == SIM_DISK_FLUSH_DIRECTORY) {
        disk->names_flush_is_broken |= note->error != 0;
        sim_disk_flush_names(disk);
    } else {
        sim_disk_change_name(disk, note->call, note->name, note->to);
    }
}

/* A file without a name was still written by who had it open; no crash shows it. */
static void
repeat(struct sim_disk *disk, const struct sim_note *note)
{
    if (note->inode == SIM_NO_INODE || note->call == SIM_DISK_OPEN) {
        repeat_on_names(disk, note);
    } else if (disk->inodes[note->inode] != NULL) {
        repeat_on_inode(disk->inodes[note->inode], note);
    }
}

struct sim_disk *
sim_disk_replay(struct sim_recording *recording, uint32_t prefix, enum sim_disk_policy policy,
                uint64_t seed)
{
    assert(prefix <= recording->count);
    if (recording->reached == NULL || recording->position > prefix) {
        sim_disk_free(&recording->reached);
        recording->reached = sim_disk_copy(recording->start);
        recording->position = 0;
    }
    while (recording->position < prefix) {
        repeat(recording->reached, &recording->notes[recording->position]);
        recording->position++;
    }
    struct sim_disk *disk = sim_disk_copy(recording->reached);
    struct random_source random = random_seeded(&seed);
    sim_disk_crash(disk, policy, &random);
    return disk;
}

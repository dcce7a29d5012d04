/* SPDX-License-Identifier: Apache-2.0 */
/* The calls of the simulated disk. Each counts, asks the plan of faults, does its work on names and
 * inodes, and tells the recording and the hook, all under one lock. */
#include "tests/support/sim_disk.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "tests/support/sim_disk_parts.h"

static const uint64_t CAPACITY_DEFAULT = UINT64_C(1) << 40;
static const uint64_t FILE_SIZE_MAX = UINT64_C(1) << 31; /* a bug of the caller, not a big file */

struct disk_file {
    uint32_t generation;
    uint32_t inode;
    bool may_write;
};

/* The disk as a whole ---------------------------------------------------------------------------
 */

struct sim_disk *
sim_disk_new(void)
{
    struct sim_disk *disk = xalloc(sizeof(*disk));
    (void)pthread_mutex_init(&disk->lock, NULL);
    disk->capacity = CAPACITY_DEFAULT;
    return disk;
}

void
sim_disk_free(struct sim_disk **disk)
{
    if (*disk == NULL) {
        return;
    }
    for (uint32_t i = 0; i < (*disk)->inode_count; i++) {
        sim_inode_free(&(*disk)->inodes[i]);
    }
    free((*disk)->inodes);
    free((*disk)->current.entries);
    free((*disk)->durable.entries);
    free((*disk)->changes.changes);
    (void)pthread_mutex_destroy(&(*disk)->lock);
    free(*disk);
    *disk = NULL;
}

static void
mark(struct sim_disk *disk, uint32_t inode)
{
    if (disk->inodes[inode] != NULL) {
        disk->inodes[inode]->is_marked = true;
    }
}

/* Frees the files that nobody can reach any more. */
static void
sweep(struct sim_disk *disk)
{
    for (uint32_t i = 0; i < disk->current.count; i++) {
        mark(disk, disk->current.entries[i].inode);
    }
    for (uint32_t i = 0; i < disk->durable.count; i++) {
        mark(disk, disk->durable.entries[i].inode);
    }
    for (uint32_t i = 0; i < disk->changes.count; i++) {
        mark(disk, disk->changes.changes[i].inode);
    }
    for (uint32_t i = 0; i < disk->inode_count; i++) {
        struct sim_inode **inode = &disk->inodes[i];
        if (*inode != NULL && !(*inode)->is_marked && (*inode)->handles == 0) {
            sim_inode_free(inode);
        } else if (*inode != NULL) {
            (*inode)->is_marked = false;
        }
    }
}

static void
copy_inodes(struct sim_disk *copy, const struct sim_disk *disk)
{
    copy->inode_count = disk->inode_count;
    copy->inode_capacity = disk->inode_count;
    copy->inodes = xalloc(disk->inode_count * sizeof(struct sim_inode *) + 1);
    for (uint32_t i = 0; i < disk->inode_count; i++) {
        if (disk->inodes[i] != NULL) {
            copy->inodes[i] = sim_inode_copy(disk->inodes[i]);
        }
    }
}

struct sim_disk *
sim_disk_copy(struct sim_disk *disk)
{
    struct sim_disk *copy = sim_disk_new();
    (void)pthread_mutex_lock(&disk->lock);
    copy_inodes(copy, disk);
    sim_names_assign(&copy->current, &disk->current);
    sim_names_assign(&copy->durable, &disk->durable);
    sim_changes_assign(&copy->changes, &disk->changes);
    copy->names_flush_is_broken = disk->names_flush_is_broken;
    (void)pthread_mutex_unlock(&disk->lock);
    sweep(copy);
    return copy;
}

static void
crash(struct sim_disk *disk, enum sim_disk_policy policy, const struct random_source *random)
{
    struct sim_dice dice = sim_dice_make(random);
    sim_changes_crash(&disk->changes, &disk->durable, policy, &dice);
    dice = sim_dice_make(random);
    sim_names_assign(&disk->current, &disk->durable);
    for (uint32_t i = 0; i < disk->inode_count; i++) {
        if (disk->inodes[i] != NULL) {
            disk->inodes[i]->handles = 0;
        }
    }
    sweep(disk);
    for (uint32_t i = 0; i < disk->inode_count; i++) {
        if (disk->inodes[i] != NULL) {
            sim_inode_crash(disk->inodes[i], policy, &dice);
        }
    }
    disk->names_flush_is_broken = false;
    disk->generation++;
    disk->recording = NULL;
    memset(disk->faults, 0, sizeof(disk->faults));
}

void
sim_disk_crash(struct sim_disk *disk, enum sim_disk_policy policy,
               const struct random_source *random)
{
    (void)pthread_mutex_lock(&disk->lock);
    crash(disk, policy, policy == SIM_DISK_RANDOM ? random : NULL);
    (void)pthread_mutex_unlock(&disk->lock);
}

void
sim_disk_kill(struct sim_disk *disk)
{
    sim_disk_crash(disk, SIM_DISK_ALL, NULL);
}

/* Faults and watching ---------------------------------------------------------------------------
 */

static void
plan_fault(struct sim_disk *disk, enum sim_disk_call call, struct sim_fault fault)
{
    (void)pthread_mutex_lock(&disk->lock);
    disk->faults[call] = fault;
    (void)pthread_mutex_unlock(&disk->lock);
}

void
sim_disk_fail(struct sim_disk *disk, enum sim_disk_call call, uint64_t nth, int error)
{
    plan_fault(disk, call, (struct sim_fault){.left = nth, .error = error});
}

void
sim_disk_fail_short(struct sim_disk *disk, uint64_t nth, size_t octets, int error)
{
    plan_fault(disk, SIM_DISK_WRITE,
               (struct sim_fault){.left = nth, .error = error, .octets = octets});
}

uint64_t
sim_disk_fault_left(struct sim_disk *disk, enum sim_disk_call call)
{
    (void)pthread_mutex_lock(&disk->lock);
    uint64_t left = disk->faults[call].left;
    (void)pthread_mutex_unlock(&disk->lock);
    return left;
}

void
sim_disk_set_capacity(struct sim_disk *disk, uint64_t capacity)
{
    (void)pthread_mutex_lock(&disk->lock);
    disk->capacity = capacity;
    (void)pthread_mutex_unlock(&disk->lock);
}

void
sim_disk_set_copies_on_write(struct sim_disk *disk, bool copies_on_write)
{
    (void)pthread_mutex_lock(&disk->lock);
    disk->copies_on_write = copies_on_write;
    (void)pthread_mutex_unlock(&disk->lock);
}

uint64_t
sim_disk_call_count(struct sim_disk *disk, enum sim_disk_call call)
{
    (void)pthread_mutex_lock(&disk->lock);
    uint64_t count = disk->counts[call];
    (void)pthread_mutex_unlock(&disk->lock);
    return count;
}

void
sim_disk_set_hook(struct sim_disk *disk, sim_disk_hook hook, void *context)
{
    (void)pthread_mutex_lock(&disk->lock);
    disk->hook = hook;
    disk->hook_context = context;
    (void)pthread_mutex_unlock(&disk->lock);
}

/* Takes the lock. True: the call may do its work; else op->error says how it fails. */
static bool
begin(struct sim_disk *disk, struct sim_disk_op *op)
{
    (void)pthread_mutex_lock(&disk->lock);
    struct sim_fault *fault = &disk->faults[op->call];
    disk->counts[op->call]++;
    if (fault->left > 0 && --fault->left == 0) {
        op->error = fault->error;
        return false;
    }
    return true;
}

/* Tells whoever watches, and releases the lock. */
static enum status
end(struct sim_disk *disk, const struct sim_disk_op *op)
{
    if (disk->hook != NULL) {
        disk->hook(disk->hook_context, op);
    }
    (void)pthread_mutex_unlock(&disk->lock);
    if (op->error != 0) {
        errno = op->error;
        return STATUS_IO;
    }
    return STATUS_OK;
}

static void
record(struct sim_disk *disk, const struct sim_disk_op *op, uint32_t inode,
       const struct iovec *parts)
{
    if (disk->recording != NULL) {
        sim_recording_note(disk->recording, op, inode, parts);
    }
}

/* The file behind a handle; NULL when the handle did not outlive a crash, and op->error then says
 * so. */
static struct sim_inode *
inode_of(struct sim_disk *disk, const struct disk_file *file, struct sim_disk_op *op)
{
    if (file->generation != disk->generation) {
        op->error = op->error == 0 ? EBADF : op->error;
        return NULL;
    }
    op->name = disk->inodes[file->inode]->name;
    return disk->inodes[file->inode];
}

/* Names ------------------------------------------------------------------------------------------
 */

static bool
name_is_plain(const char *name)
{
    return name[0] != '\0' && strchr(name, '/') == NULL && strcmp(name, ".") != 0 &&
           strcmp(name, "..") != 0;
}

static int
name_error(const char *name)
{
    if (!name_is_plain(name)) {
        return EINVAL;
    }
    return strlen(name) < SIM_DISK_NAME_SIZE ? 0 : ENAMETOOLONG;
}

void
sim_disk_change_name(struct sim_disk *disk, enum sim_disk_call call, const char *name,
                     const char *to)
{
    struct sim_change change = {.call = call, .inode = sim_names_find(&disk->current, name)};
    memcpy(change.name, name, strlen(name));
    memcpy(change.to, to, strlen(to));
    if (call == SIM_DISK_RENAME) {
        memcpy(disk->inodes[change.inode]->name, change.to, SIM_DISK_NAME_SIZE);
    }
    sim_names_apply(&disk->current, &change);
    sim_changes_push(&disk->changes, &change);
}

static uint32_t
add_inode(struct sim_disk *disk, const char *name)
{
    if (disk->inode_count == disk->inode_capacity) {
        disk->inode_capacity = disk->inode_capacity == 0 ? 16 : 2 * disk->inode_capacity;
        disk->inodes = xrealloc(disk->inodes, disk->inode_capacity * sizeof(struct sim_inode *));
    }
    struct sim_inode *inode = sim_inode_new();
    memcpy(inode->name, name, strlen(name));
    disk->inodes[disk->inode_count] = inode;
    return disk->inode_count++;
}

uint32_t
sim_disk_create(struct sim_disk *disk, const char *name)
{
    struct sim_change change = {.call = SIM_DISK_OPEN, .inode = add_inode(disk, name)};
    memcpy(change.name, name, strlen(name));
    sim_names_apply(&disk->current, &change);
    sim_changes_push(&disk->changes, &change);
    return change.inode;
}

void
sim_disk_flush_names(struct sim_disk *disk)
{
    if (disk->names_flush_is_broken) {
        return;
    }
    for (uint32_t i = 0; i < disk->changes.count; i++) {
        sim_names_apply(&disk->durable, &disk->changes.changes[i]);
    }
    disk->changes.count = 0;
    sweep(disk);
}

static int
open_inode(struct sim_disk *disk, const struct sim_disk_op *op, enum disk_open mode,
           uint32_t *inode_out)
{
    int error = name_error(op->name);
    uint32_t inode = error == 0 ? sim_names_find(&disk->current, op->name) : SIM_NO_INODE;
    if (error == 0 && mode != DISK_OPEN_CREATE && inode == SIM_NO_INODE) {
        error = ENOENT;
    }
    if (error == 0 && mode == DISK_OPEN_CREATE && inode != SIM_NO_INODE) {
        error = EEXIST;
    }
    if (error == 0 && mode == DISK_OPEN_CREATE) {
        inode = sim_disk_create(disk, op->name);
        record(disk, op, inode, NULL);
    }
    *inode_out = inode;
    return error;
}

static enum status
sim_open(void *context, const char *name, enum disk_open mode, struct disk_file **file_out)
{
    struct sim_disk *disk = context;
    struct sim_disk_op op = {.call = SIM_DISK_OPEN, .name = name, .to = ""};
    uint32_t inode = SIM_NO_INODE;
    if (begin(disk, &op)) {
        op.error = open_inode(disk, &op, mode, &inode);
    }
    if (op.error == 0) {
        struct disk_file *file = xalloc(sizeof(*file));
        *file = (struct disk_file){
            .generation = disk->generation,
            .inode = inode,
            .may_write = mode != DISK_OPEN_READ,
        };
        disk->inodes[inode]->handles++;
        *file_out = file;
    }
    return end(disk, &op);
}

static void
sim_close(void *context, struct disk_file **file)
{
    struct sim_disk *disk = context;
    if (*file == NULL) {
        return;
    }
    (void)pthread_mutex_lock(&disk->lock);
    if ((*file)->generation == disk->generation) {
        disk->inodes[(*file)->inode]->handles--;
    }
    (void)pthread_mutex_unlock(&disk->lock);
    free(*file);
    *file = NULL;
}

static int
rename_error(struct sim_disk *disk, const char *from, const char *to)
{
    int error = name_error(from);
    if (error == 0) {
        error = name_error(to);
    }
    if (error == 0 && sim_names_find(&disk->current, from) == SIM_NO_INODE) {
        error = ENOENT;
    }
    return error;
}

/* A name onto itself changes nothing. */
static enum status
sim_rename(void *context, const char *from, const char *to)
{
    struct sim_disk *disk = context;
    struct sim_disk_op op = {.call = SIM_DISK_RENAME, .name = from, .to = to};
    if (begin(disk, &op)) {
        op.error = rename_error(disk, from, to);
    }
    if (op.error == 0 && strcmp(from, to) != 0) {
        sim_disk_change_name(disk, SIM_DISK_RENAME, from, to);
        record(disk, &op, SIM_NO_INODE, NULL);
    }
    return end(disk, &op);
}

static enum status
sim_unlink(void *context, const char *name)
{
    struct sim_disk *disk = context;
    struct sim_disk_op op = {.call = SIM_DISK_UNLINK, .name = name, .to = ""};
    if (begin(disk, &op)) {
        op.error = rename_error(disk, name, name);
    }
    if (op.error == 0) {
        sim_disk_change_name(disk, SIM_DISK_UNLINK, name, "");
        record(disk, &op, SIM_NO_INODE, NULL);
    }
    return end(disk, &op);
}

/* Takes the file that is to be linked out of its disk. */
static enum status
copy_linked(struct sim_disk *disk, const char *name, struct sim_inode **copy_out)
{
    struct sim_disk_op op = {.call = SIM_DISK_LINK, .name = name, .to = name};
    if (begin(disk, &op)) {
        op.error = rename_error(disk, name, name);
    }
    if (op.error == 0) {
        struct sim_inode *inode = disk->inodes[sim_names_find(&disk->current, name)];
        inode->linked_count++;
        *copy_out = sim_inode_copy(inode);
        sim_inode_settle(*copy_out);
        (*copy_out)->handles = 0;
    }
    return end(disk, &op);
}

static enum status
sim_link(void *context, const char *name, void *to_context)
{
    struct sim_disk *to = to_context;
    struct sim_inode *copy = NULL;
    if (copy_linked(context, name, &copy) != STATUS_OK) {
        return STATUS_IO;
    }
    (void)pthread_mutex_lock(&to->lock);
    bool is_taken = sim_names_find(&to->current, name) != SIM_NO_INODE;
    if (is_taken) {
        sim_inode_free(&copy);
    } else {
        uint32_t number = sim_disk_create(to, name);
        sim_inode_free(&to->inodes[number]);
        to->inodes[number] = copy;
    }
    (void)pthread_mutex_unlock(&to->lock);
    errno = is_taken ? EEXIST : errno;
    return is_taken ? STATUS_IO : STATUS_OK;
}

static enum status
sim_link_count(void *context, struct disk_file *file, uint64_t *count_out)
{
    struct sim_disk *disk = context;
    struct sim_disk_op op = {.call = SIM_DISK_LINK_COUNT, .name = "", .to = ""};
    bool may = begin(disk, &op);
    const struct sim_inode *inode = inode_of(disk, file, &op);
    if (may && inode != NULL) {
        *count_out = 1 + (uint64_t)inode->linked_count;
    }
    return end(disk, &op);
}

static enum status
sim_flush_directory(void *context)
{
    struct sim_disk *disk = context;
    struct sim_disk_op op = {.call = SIM_DISK_FLUSH_DIRECTORY, .name = "", .to = ""};
    if (!begin(disk, &op)) {
        disk->names_flush_is_broken = true;
    }
    sim_disk_flush_names(disk);
    record(disk, &op, SIM_NO_INODE, NULL);
    return end(disk, &op);
}

/* From a copy, and without the lock: `each` may use the disk. */
static enum status
sim_list(void *context, void (*each)(void *argument, const char *name), void *argument)
{
    struct sim_disk *disk = context;
    struct sim_disk_op op = {.call = SIM_DISK_LIST, .name = "", .to = ""};
    struct sim_names names = {0};
    if (begin(disk, &op)) {
        sim_names_assign(&names, &disk->current);
    }
    enum status status = end(disk, &op);
    for (uint32_t i = 0; i < names.count; i++) {
        each(argument, names.entries[i].name);
    }
    free(names.entries);
    return status;
}

static uint64_t
octets_of_names(const struct sim_disk *disk)
{
    uint64_t used = 0;
    for (uint32_t i = 0; i < disk->current.count; i++) {
        used += disk->inodes[disk->current.entries[i].inode]->size;
    }
    return used;
}

/* With the files that have no name any more, and both states of what was written over. */
static uint64_t
octets_of_copies(const struct sim_disk *disk)
{
    uint64_t used = 0;
    for (uint32_t i = 0; i < disk->inode_count; i++) {
        const struct sim_inode *inode = disk->inodes[i];
        used += inode == NULL ? 0 : inode->size + inode->overwritten;
    }
    return used;
}

static uint64_t
free_bytes(const struct sim_disk *disk)
{
    uint64_t used = disk->copies_on_write ? octets_of_copies(disk) : octets_of_names(disk);
    return used < disk->capacity ? disk->capacity - used : 0;
}

uint64_t
sim_disk_free_bytes(struct sim_disk *disk)
{
    (void)pthread_mutex_lock(&disk->lock);
    uint64_t bytes = free_bytes(disk);
    (void)pthread_mutex_unlock(&disk->lock);
    return bytes;
}

static enum status
sim_space(void *context, struct disk_space *space_out)
{
    struct sim_disk *disk = context;
    struct sim_disk_op op = {.call = SIM_DISK_SPACE, .name = "", .to = ""};
    if (begin(disk, &op)) {
        space_out->total_bytes = disk->capacity;
        space_out->free_bytes = free_bytes(disk);
    }
    return end(disk, &op);
}

/* Files ------------------------------------------------------------------------------------------
 */

static uint64_t
parts_size(const struct iovec *parts, size_t part_count)
{
    uint64_t size = 0;
    for (size_t i = 0; i < part_count; i++) {
        size += parts[i].iov_len;
    }
    return size;
}

/* Lowers `op->size` to what fits the disk. */
static void
limit_to_capacity(struct sim_disk *disk, const struct sim_inode *inode, struct sim_disk_op *op)
{
    uint64_t end_offset = op->offset + op->size;
    /* What lies below this has its room already. */
    uint64_t first = inode->size;
    if (disk->copies_on_write && op->offset < first) {
        first = op->offset;
    }
    if (op->size == 0 || end_offset <= first) {
        return;
    }
    uint64_t room = free_bytes(disk);
    if (end_offset - first > room) {
        uint64_t end_max = first + room;
        op->size = end_max > op->offset ? end_max - op->offset : 0;
        op->error = ENOSPC;
    }
}

static int
write_error(const struct disk_file *file, const struct sim_disk_op *op)
{
    if (!file->may_write) {
        return EBADF;
    }
    return op->offset > FILE_SIZE_MAX || op->size > FILE_SIZE_MAX ? EFBIG : 0;
}

static void
write_inode(struct sim_disk *disk, const struct disk_file *file, struct sim_disk_op *op,
            const struct iovec *parts)
{
    struct sim_inode *inode = disk->inodes[file->inode];
    int error = write_error(file, op);
    if (error != 0) {
        op->error = error;
        op->size = 0;
    }
    limit_to_capacity(disk, inode, op);
    if (op->size > 0) {
        sim_inode_write(inode, parts, op->size, op->offset);
        record(disk, op, file->inode, parts);
    }
}

static enum status
sim_write(void *context, struct disk_file *file, const struct iovec *parts, size_t part_count,
          uint64_t offset)
{
    struct sim_disk *disk = context;
    uint64_t size = parts_size(parts, part_count);
    struct sim_disk_op op = {
        .call = SIM_DISK_WRITE, .name = "", .to = "", .offset = offset, .size = size};
    if (!begin(disk, &op)) {
        uint64_t octets = disk->faults[SIM_DISK_WRITE].octets;
        op.size = octets < size ? octets : size;
    }
    if (inode_of(disk, file, &op) != NULL) {
        write_inode(disk, file, &op, parts);
    }
    return end(disk, &op);
}

static enum status
sim_read(void *context, struct disk_file *file, void *out, size_t size, uint64_t offset,
         size_t *read_out)
{
    struct sim_disk *disk = context;
    struct sim_disk_op op = {.call = SIM_DISK_READ, .name = "", .to = "", .offset = offset};
    bool may = begin(disk, &op);
    const struct sim_inode *inode = inode_of(disk, file, &op);
    if (may && inode != NULL) {
        *read_out = sim_inode_read(inode, out, size, offset);
        op.size = *read_out;
    }
    return end(disk, &op);
}

static enum status
sim_flush(void *context, struct disk_file *file)
{
    struct sim_disk *disk = context;
    struct sim_disk_op op = {.call = SIM_DISK_FLUSH, .name = "", .to = ""};
    bool may = begin(disk, &op);
    struct sim_inode *inode = inode_of(disk, file, &op);
    if (inode != NULL) {
        inode->flush_is_broken |= !may;
        sim_inode_flush(inode);
        record(disk, &op, file->inode, NULL);
    }
    return end(disk, &op);
}

static enum status
sim_size(void *context, struct disk_file *file, uint64_t *size_out)
{
    struct sim_disk *disk = context;
    struct sim_disk_op op = {.call = SIM_DISK_SIZE, .name = "", .to = ""};
    bool may = begin(disk, &op);
    const struct sim_inode *inode = inode_of(disk, file, &op);
    if (may && inode != NULL) {
        *size_out = inode->size;
    }
    return end(disk, &op);
}

static int
truncate_error(struct sim_disk *disk, const struct disk_file *file, uint64_t size)
{
    const struct sim_inode *inode = disk->inodes[file->inode];
    if (!file->may_write) {
        return EINVAL;
    }
    if (size > FILE_SIZE_MAX) {
        return EFBIG;
    }
    return size > inode->size && size - inode->size > free_bytes(disk) ? ENOSPC : 0;
}

static enum status
sim_truncate(void *context, struct disk_file *file, uint64_t size)
{
    struct sim_disk *disk = context;
    struct sim_disk_op op = {.call = SIM_DISK_TRUNCATE, .name = "", .to = "", .size = size};
    bool may = begin(disk, &op);
    struct sim_inode *inode = inode_of(disk, file, &op);
    if (may && inode != NULL) {
        op.error = truncate_error(disk, file, size);
    }
    if (op.error == 0) {
        sim_inode_truncate(inode, size);
        record(disk, &op, file->inode, NULL);
    }
    return end(disk, &op);
}

static void
sim_forget(void *context, struct disk_file *file)
{
    (void)context;
    (void)file;
}

struct disk
disk_of_sim(struct sim_disk *disk)
{
    return (struct disk){
        .open = sim_open,
        .close = sim_close,
        .write = sim_write,
        .read = sim_read,
        .flush = sim_flush,
        .size = sim_size,
        .truncate = sim_truncate,
        .forget = sim_forget,
        .rename = sim_rename,
        .unlink = sim_unlink,
        .link = sim_link,
        .link_count = sim_link_count,
        .flush_directory = sim_flush_directory,
        .list = sim_list,
        .space = sim_space,
        .context = disk,
        .copies_on_write = disk->copies_on_write,
    };
}

/* Looking and damaging --------------------------------------------------------------------------
 */

uint32_t
sim_disk_file_count(struct sim_disk *disk)
{
    return disk->current.count;
}

const char *
sim_disk_name(struct sim_disk *disk, uint32_t position)
{
    assert(position < disk->current.count);
    return disk->current.entries[position].name;
}

bool
sim_disk_has(struct sim_disk *disk, const char *name)
{
    return sim_names_find(&disk->current, name) != SIM_NO_INODE;
}

static struct sim_inode *
inode_by_name(struct sim_disk *disk, const char *name)
{
    uint32_t inode = sim_names_find(&disk->current, name);
    assert(inode != SIM_NO_INODE);
    return disk->inodes[inode];
}

struct bytes
sim_disk_content(struct sim_disk *disk, const char *name)
{
    const struct sim_inode *inode = inode_by_name(disk, name);
    return bytes_make(inode->octets, inode->size);
}

/* Everything is on the disk. */
static void
settle(struct sim_disk *disk)
{
    disk->names_flush_is_broken = false;
    sim_disk_flush_names(disk);
    for (uint32_t i = 0; i < disk->inode_count; i++) {
        if (disk->inodes[i] != NULL) {
            sim_inode_settle(disk->inodes[i]);
        }
    }
}

void
sim_disk_replace(struct sim_disk *disk, const char *name, struct bytes content)
{
    if (!sim_disk_has(disk, name)) {
        (void)sim_disk_create(disk, name);
    }
    sim_inode_truncate(inode_by_name(disk, name), 0);
    sim_disk_set(disk, name, 0, content);
}

void
sim_disk_remove(struct sim_disk *disk, const char *name)
{
    sim_disk_change_name(disk, SIM_DISK_UNLINK, name, "");
    settle(disk);
}

void
sim_disk_set(struct sim_disk *disk, const char *name, uint64_t offset, struct bytes octets)
{
    struct iovec part = {.iov_base = (void *)(uintptr_t)octets.data, .iov_len = octets.size};
    sim_inode_write(inode_by_name(disk, name), &part, octets.size, offset);
    settle(disk);
}

void
sim_disk_flip_bit(struct sim_disk *disk, const char *name, uint64_t offset, unsigned bit)
{
    struct sim_inode *inode = inode_by_name(disk, name);
    assert(offset < inode->size);
    inode->octets[offset] ^= (uint8_t)(1U << bit);
    settle(disk);
}

void
sim_disk_cut(struct sim_disk *disk, const char *name, uint64_t size)
{
    sim_inode_truncate(inode_by_name(disk, name), size);
    settle(disk);
}

void
sim_disk_swap(struct sim_disk *disk, const char *one, const char *other)
{
    uint32_t inode_of_one = sim_names_find(&disk->current, one);
    uint32_t inode_of_other = sim_names_find(&disk->current, other);
    assert(inode_of_one != SIM_NO_INODE);
    assert(inode_of_other != SIM_NO_INODE);
    settle(disk);
    sim_names_put(&disk->current, one, inode_of_other);
    sim_names_put(&disk->current, other, inode_of_one);
    sim_names_assign(&disk->durable, &disk->current);
}

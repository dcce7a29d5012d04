/* SPDX-License-Identifier: Apache-2.0 */
/* A real directory: who is let in, what is refused, and that octets come back. */
#include "base/disk.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "base/assert.h"

enum {
    PATH_SIZE = 128,
};

static char root[] = "/tmp/bourse-disk-XXXXXX";
static char path[PATH_SIZE]; /* of the data directory, which is not made yet */
static char why[256];

static void
set_up(void)
{
    cr_assert(ne(ptr, mkdtemp(root), NULL));
    (void)snprintf(path, sizeof(path), "%s/data", root);
}

static void
tear_down(void)
{
    char command[PATH_SIZE];
    (void)snprintf(command, sizeof(command), "rm -rf %s", root);
    cr_expect(eq(int, system(command), 0));
}

TestSuite(disk, .init = set_up, .fini = tear_down);

static struct disk_directory *
open_directory(void)
{
    struct disk_directory *directory = disk_directory_open(path, why, sizeof(why));
    cr_assert(ne(ptr, directory, NULL), "%s", why);
    return directory;
}

static void
expect_refused(const char *name, const char *text)
{
    struct disk_directory *directory = disk_directory_open(name, why, sizeof(why));
    cr_expect(eq(ptr, directory, NULL));
    cr_expect(eq(str, why, (char *)text));
    disk_directory_close(&directory);
}

static unsigned
mode_of(const char *name)
{
    char file[PATH_SIZE * 2];
    struct stat found;
    (void)snprintf(file, sizeof(file), "%s/%s", path, name);
    cr_assert(eq(int, lstat(file, &found), 0));
    return found.st_mode & ALLPERMS;
}

static struct disk_file *
create(const struct disk *disk, const char *name)
{
    struct disk_file *file = NULL;
    cr_assert(eq(int, disk->open(disk->context, name, DISK_OPEN_CREATE, &file), STATUS_OK));
    return file;
}

static int
open_errno(const struct disk *disk, const char *name, enum disk_open mode)
{
    struct disk_file *file = NULL;
    errno = 0;
    enum status status = disk->open(disk->context, name, mode, &file);
    cr_expect(eq(ptr, file, NULL));
    return status == STATUS_IO ? errno : 0;
}

/* Data files hold messages and password hashes: nobody else reads them, whatever the umask. */
Test(disk, directory_and_files_are_private_under_any_umask)
{
    static const mode_t masks[] = {0, 0022, 0277, 0777};
    for (size_t i = 0; i < ARRAY_LEN(masks); i++) {
        (void)snprintf(path, sizeof(path), "%s/data-%zu", root, i);
        mode_t before = umask(masks[i]);
        struct disk_directory *directory = open_directory();
        struct disk disk = disk_of_directory(directory);
        struct disk_file *file = create(&disk, "seg.1");
        umask(before);
        cr_expect(eq(u32, mode_of("."), 0700));
        cr_expect(eq(u32, mode_of("seg.1"), 0600));
        cr_expect(eq(u32, mode_of("LOCK"), 0600));
        disk.close(disk.context, &file);
        cr_expect(eq(ptr, file, NULL));
        disk_directory_close(&directory);
        cr_expect(eq(ptr, directory, NULL));
    }
}

/* The line says what is wrong and what to do, for it is all that an operator sees. */
Test(disk, a_directory_that_lets_others_in_is_refused)
{
    char text[PATH_SIZE * 3];
    cr_assert(eq(int, mkdir(path, 0700), 0));
    cr_assert(eq(int, chmod(path, 0750), 0));
    (void)snprintf(text, sizeof(text),
                   "data directory %s has mode 0750 and must have mode 0700: chmod 700 %s", path,
                   path);
    expect_refused(path, text);
    cr_assert(eq(int, chmod(path, 0700), 0));
    struct disk_directory *directory = open_directory();
    disk_directory_close(&directory);
}

Test(disk, a_symbolic_link_to_a_directory_is_refused_with_a_slash_behind_it_too)
{
    char link[PATH_SIZE];
    char link_and_slash[PATH_SIZE + 1];
    char text[PATH_SIZE * 3];
    cr_assert(eq(int, mkdir(path, 0700), 0));
    (void)snprintf(link, sizeof(link), "%s/link", root);
    (void)snprintf(link_and_slash, sizeof(link_and_slash), "%s/", link);
    cr_assert(eq(int, symlink(path, link), 0));
    (void)snprintf(text, sizeof(text),
                   "data directory %s is a symbolic link: name the directory that it points to",
                   link);
    expect_refused(link, text);
    expect_refused(link_and_slash, text);
}

Test(disk, a_directory_that_cannot_be_is_refused_with_the_reason)
{
    char name[PATH_SIZE * 2];
    char text[PATH_SIZE * 4];
    (void)snprintf(name, sizeof(name), "%s/missing/data", root);
    (void)snprintf(text, sizeof(text),
                   "data directory %s cannot be made: make the directory above it first", name);
    expect_refused(name, text);

    FILE *file = fopen(path, "we");
    cr_assert(ne(ptr, file, NULL));
    (void)fclose(file);
    (void)snprintf(text, sizeof(text), "data directory %s is not a directory: name another one",
                   path);
    expect_refused(path, text);
}

/* Root may look into any broker's directory, but what it wrote its owner could not write again. */
Test(disk, another_users_directory_is_refused_but_for_root_that_reads)
{
    if (geteuid() != 0) {
        cr_skip_test("only root can give a directory away");
    }
    char text[PATH_SIZE * 3];
    cr_assert(eq(int, mkdir(path, 0700), 0));
    cr_assert(eq(int, chown(path, 12345, 12345), 0));
    (void)snprintf(
        text, sizeof(text),
        "data directory %s belongs to user 12345, and bourse runs as user 0: run it as the owner",
        path);
    expect_refused(path, text);
    struct disk_directory *directory = disk_directory_open_to_read(path, why, sizeof(why));
    cr_expect(ne(ptr, directory, NULL), "%s", why);
    disk_directory_close(&directory);
}

/* At most one process writes a data directory. */
Test(disk, a_second_opener_is_refused_until_the_first_has_closed)
{
    char text[PATH_SIZE * 3];
    struct disk_directory *directory = open_directory();
    (void)snprintf(text, sizeof(text),
                   "data directory %s is in use by another bourse process (it holds LOCK): stop it "
                   "first",
                   path);
    expect_refused(path, text);
    disk_directory_close(&directory);
    directory = open_directory();
    disk_directory_close(&directory);
}

/* Commands that examine a store leave no trace in it. */
Test(disk, opened_to_read_it_makes_and_changes_nothing)
{
    cr_expect(eq(ptr, disk_directory_open_to_read(path, why, sizeof(why)), NULL));
    cr_expect(eq(int, access(path, F_OK), -1));

    struct disk_directory *writer = open_directory();
    struct disk disk = disk_of_directory(writer);
    struct disk_file *file = create(&disk, "seg.1");
    disk.close(disk.context, &file);
    struct disk_directory *reader = disk_directory_open_to_read(path, why, sizeof(why));
    cr_assert(ne(ptr, reader, NULL), "%s", why);
    disk = disk_of_directory(reader);
    cr_expect(eq(int, open_errno(&disk, "seg.1", DISK_OPEN_WRITE), EROFS));
    cr_expect(eq(int, open_errno(&disk, "seg.2", DISK_OPEN_CREATE), EROFS));
    cr_expect(eq(int, disk.rename(disk.context, "seg.1", "seg.2"), STATUS_IO));
    cr_expect(eq(int, disk.unlink(disk.context, "seg.1"), STATUS_IO));
    cr_expect(eq(int, disk.open(disk.context, "seg.1", DISK_OPEN_READ, &file), STATUS_OK));
    disk.close(disk.context, &file);
    disk_directory_close(&reader);
    disk_directory_close(&writer);
}

Test(disk, open_says_whether_the_file_is_there)
{
    struct disk_directory *directory = open_directory();
    struct disk disk = disk_of_directory(directory);
    cr_expect(eq(int, open_errno(&disk, "seg.1", DISK_OPEN_READ), ENOENT));
    cr_expect(eq(int, open_errno(&disk, "seg.1", DISK_OPEN_WRITE), ENOENT));
    struct disk_file *file = create(&disk, "seg.1");
    cr_expect(eq(int, open_errno(&disk, "seg.1", DISK_OPEN_CREATE), EEXIST));
    disk.close(disk.context, &file);
    disk.close(disk.context, &file);
    disk_directory_close(&directory);
}

/* Nobody leads a read or a write out of the directory: not by a link, not by a name. */
Test(disk, only_plain_files_within_the_directory_are_opened)
{
    struct disk_directory *directory = open_directory();
    struct disk disk = disk_of_directory(directory);
    char name[PATH_SIZE + 16];
    (void)snprintf(name, sizeof(name), "%s/link", path);
    cr_assert(eq(int, symlink("/etc/passwd", name), 0));
    (void)snprintf(name, sizeof(name), "%s/pipe", path);
    cr_assert(eq(int, mkfifo(name, 0600), 0));
    cr_expect(eq(int, open_errno(&disk, "link", DISK_OPEN_READ), ELOOP));
    cr_expect(eq(int, open_errno(&disk, "link", DISK_OPEN_CREATE), EEXIST));
    cr_expect(eq(int, open_errno(&disk, "pipe", DISK_OPEN_READ), EINVAL));
    static const char *const names[] = {"", ".", "..", "../data/link", "/etc/passwd", "LOCK"};
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        cr_expect(eq(int, open_errno(&disk, names[i], DISK_OPEN_READ), EINVAL));
        cr_expect(eq(int, open_errno(&disk, names[i], DISK_OPEN_CREATE), EINVAL));
        cr_expect(eq(int, disk.unlink(disk.context, names[i]), STATUS_IO));
        cr_expect(eq(int, disk.rename(disk.context, "pipe", names[i]), STATUS_IO));
        cr_expect(eq(int, disk.rename(disk.context, names[i], "pipe"), STATUS_IO));
    }
    disk_directory_close(&directory);
}

/* A batch has one part for each run of contents, which may be more than the kernel takes in one
 * call; parts may be empty. */
Test(disk, many_parts_are_written_behind_each_other)
{
    enum { PARTS = 3000, PART = 7 };
    static uint8_t in[PARTS * PART];
    static uint8_t out[PARTS * PART + 10];
    static struct iovec parts[2 * PARTS];
    struct disk_directory *directory = open_directory();
    struct disk disk = disk_of_directory(directory);
    struct disk_file *file = create(&disk, "seg.1");
    for (size_t i = 0; i < sizeof(in); i++) {
        in[i] = (uint8_t)(i * 31);
    }
    for (size_t i = 0; i < PARTS; i++) {
        parts[2 * i + 1] = (struct iovec){.iov_base = in + i * PART, .iov_len = PART};
    }
    cr_assert(eq(int, disk.write(disk.context, file, parts, 2 * PARTS, 5), STATUS_OK));
    cr_expect(eq(int, disk.write(disk.context, file, parts, 1, 5), STATUS_OK), "nothing");
    cr_expect(eq(int, disk.flush(disk.context, file), STATUS_OK));

    uint64_t size = 0;
    size_t read = 0;
    cr_expect(eq(int, disk.size(disk.context, file, &size), STATUS_OK));
    cr_expect(eq(u64, size, sizeof(in) + 5));
    disk.forget(disk.context, file);
    cr_assert(eq(int, disk.read(disk.context, file, out, sizeof(out), 0, &read), STATUS_OK));
    cr_expect(eq(sz, read, sizeof(in) + 5));
    cr_expect(eq(int, memcmp(out, "\0\0\0\0\0", 5), 0));
    cr_expect(eq(int, memcmp(out + 5, in, sizeof(in)), 0));
    cr_assert(eq(int, disk.read(disk.context, file, out, sizeof(out), size, &read), STATUS_OK));
    cr_expect(eq(sz, read, 0), "behind the end");
    disk.close(disk.context, &file);
    disk_directory_close(&directory);
}

/* A limit makes the kernel cut the write short in the middle of a part; what follows says why. */
Test(disk, a_short_write_is_continued_until_the_real_error)
{
    struct disk_directory *directory = open_directory();
    struct disk disk = disk_of_directory(directory);
    struct disk_file *file = create(&disk, "seg.1");
    uint8_t octets[4096];
    memset(octets, 'x', sizeof(octets));
    struct iovec parts[] = {{octets, 1000}, {octets, 2000}, {octets, 3000}};
    struct rlimit limit = {.rlim_cur = 2500, .rlim_max = RLIM_INFINITY};
    (void)signal(SIGXFSZ, SIG_IGN);
    cr_assert(eq(int, setrlimit(RLIMIT_FSIZE, &limit), 0));
    errno = 0;
    enum status status = disk.write(disk.context, file, parts, ARRAY_LEN(parts), 0);
    int error = errno;
    limit.rlim_cur = RLIM_INFINITY;
    cr_assert(eq(int, setrlimit(RLIMIT_FSIZE, &limit), 0));
    uint64_t size = 0;
    cr_expect(eq(int, disk.size(disk.context, file, &size), STATUS_OK));
    cr_expect(eq(int, status, STATUS_IO));
    cr_expect(eq(int, error, EFBIG));
    cr_expect(eq(u64, size, 2500));
    disk.close(disk.context, &file);
    disk_directory_close(&directory);
}

Test(disk, truncates_and_refuses_to_write_what_was_opened_to_read)
{
    struct disk_directory *directory = open_directory();
    struct disk disk = disk_of_directory(directory);
    struct disk_file *file = create(&disk, "seg.1");
    uint64_t size = 0;
    cr_expect(eq(int, disk_write_bytes(&disk, file, "octets", 6, 0), STATUS_OK));
    cr_expect(eq(int, disk.truncate(disk.context, file, 3), STATUS_OK));
    cr_expect(eq(int, disk.size(disk.context, file, &size), STATUS_OK));
    cr_expect(eq(u64, size, 3));
    disk.close(disk.context, &file);
    cr_assert(eq(int, disk.open(disk.context, "seg.1", DISK_OPEN_READ, &file), STATUS_OK));
    cr_expect(eq(int, disk_write_bytes(&disk, file, "x", 1, 0), STATUS_IO));
    cr_expect(eq(int, disk.truncate(disk.context, file, 0), STATUS_IO));
    disk.close(disk.context, &file);
    disk_directory_close(&directory);
}

static void
note_name(void *argument, const char *name)
{
    char *names = argument;
    size_t length = strlen(names);
    (void)snprintf(names + length, 64 - length, "%s;", name);
}

static void
expect_names(const struct disk *disk, const char *one, const char *other)
{
    char names[64] = "";
    cr_expect(eq(int, disk->list(disk->context, note_name, names), STATUS_OK));
    cr_expect(strcmp(names, one) == 0 || strcmp(names, other) == 0, "%s", names);
}

Test(disk, names_are_listed_renamed_and_removed)
{
    struct disk_directory *directory = open_directory();
    struct disk disk = disk_of_directory(directory);
    expect_names(&disk, "", "");
    struct disk_file *one = create(&disk, "a");
    struct disk_file *two = create(&disk, "b");
    cr_expect(eq(int, disk_write_bytes(&disk, one, "from a", 6, 0), STATUS_OK));
    expect_names(&disk, "a;b;", "b;a;");
    cr_expect(eq(int, disk.rename(disk.context, "a", "b"), STATUS_OK), "replaces");
    cr_expect(eq(int, disk.flush_directory(disk.context), STATUS_OK));
    expect_names(&disk, "b;", "b;");
    disk.close(disk.context, &one);
    disk.close(disk.context, &two);

    char text[7] = "";
    size_t read = 0;
    cr_assert(eq(int, disk.open(disk.context, "b", DISK_OPEN_READ, &one), STATUS_OK));
    cr_expect(eq(int, disk.read(disk.context, one, text, 6, 0, &read), STATUS_OK));
    cr_expect(eq(str, text, "from a"));
    disk.close(disk.context, &one);
    cr_expect(eq(int, disk.unlink(disk.context, "b"), STATUS_OK));
    errno = 0;
    cr_expect(eq(int, disk.unlink(disk.context, "b"), STATUS_IO));
    cr_expect(eq(int, errno, ENOENT));
    expect_names(&disk, "", "");
    disk_directory_close(&directory);
}

/* Where a write over old octets may find no room. */
Test(disk, file_systems_that_copy_on_write_are_known_by_their_type)
{
    static const struct {
        uint32_t type;
        bool copies_on_write;
    } rows[] = {
        {0x9123683e, true},  /* Btrfs */
        {0x2fc12fc1, true},  /* ZFS */
        {0xca451a4e, true},  /* bcachefs */
        {0xef53, false},     /* ext4 */
        {0x58465342, false}, /* XFS */
        {0xf2f52010, false}, /* F2FS */
        {0x01021994, false}, /* tmpfs */
        {0, false},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        cr_expect(eq(int, disk_type_copies_on_write(rows[i].type), rows[i].copies_on_write),
                  "row %zu", i);
    }
    struct disk_directory *directory = open_directory();
    struct statfs found;
    cr_assert(eq(int, statfs(path, &found), 0));
    cr_expect(eq(int, disk_of_directory(directory).copies_on_write,
                 disk_type_copies_on_write((uint32_t)found.f_type)));
    disk_directory_close(&directory);
}

Test(disk, says_how_much_room_there_is)
{
    struct disk_directory *directory = open_directory();
    struct disk disk = disk_of_directory(directory);
    struct disk_space space = {0};
    cr_expect(eq(int, disk.space(disk.context, &space), STATUS_OK));
    cr_expect(ge(u64, space.total_bytes, 1));
    cr_expect(le(u64, space.free_bytes, space.total_bytes));
    disk_directory_close(&directory);
}

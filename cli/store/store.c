/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/store/store.h"

#include <inttypes.h>

#include "store/salvage.h"

enum { WHY_SIZE = 512, REPAIR_SALVAGE = 0 };

const struct command_option store_repair_options[STORE_REPAIR_OPTION_COUNT] = {
    {"salvage", NULL, "go on without what is damaged; without it nothing is done"},
};

static void
print_finding(void *context, const struct salvage_finding *finding)
{
    const struct command_io *io = context;
    fprintf(io->out, "%s", finding->file);
    if (finding->octets > 0 || finding->offset > 0) {
        fprintf(io->out, ": offset %" PRIu64, finding->offset);
    }
    if (finding->octets > 0) {
        fprintf(io->out, ", %" PRIu64 " octets", finding->octets);
    }
    if (finding->messages > 0) {
        fprintf(io->out, ", %" PRIu64 " message%s", finding->messages,
                finding->messages == 1 ? "" : "s");
    }
    fprintf(io->out, ": %s\n", finding->text);
}

struct disk_directory *
store_open_to_read(const char *path, const struct command_io *io)
{
    char why[WHY_SIZE];
    struct disk_directory *directory = disk_directory_open_to_read(path, why, sizeof(why));
    if (directory != NULL && !disk_directory_keep_still(directory, why, sizeof(why))) {
        disk_directory_close(&directory);
    }
    if (directory == NULL) {
        fprintf(io->err, "bourse: %s\n", why);
    }
    return directory;
}

int
store_verify_run(const struct command_line *line, const struct command_io *io)
{
    struct disk_directory *directory = store_open_to_read(line->operands[0], io);
    if (directory == NULL) {
        return COMMAND_FAILED;
    }
    struct disk disk = disk_of_directory(directory);
    struct salvage_report report = {.finding = print_finding, .context = (void *)(uintptr_t)io};
    uint64_t count;
    enum status status = verify_run(&disk, &report, &count);
    disk_directory_close(&directory);
    if (status == STATUS_OK && count == 0) {
        fputs("ok\n", io->out);
        return COMMAND_OK;
    }
    fprintf(io->err, "bourse: %" PRIu64 " finding%s\n", count, count == 1 ? "" : "s");
    return COMMAND_FAILED;
}

int
store_repair_run(const struct command_line *line, const struct command_io *io)
{
    char why[WHY_SIZE];
    if (line->options[REPAIR_SALVAGE] == NULL) {
        return command_misused(io, "\"bourse store repair\" gives up what is damaged: say so with "
                                   "--salvage, and keep a copy of the directory");
    }
    /* It is not made here when it is missing. */
    struct disk_directory *found = disk_directory_open_to_read(line->operands[0], why, sizeof(why));
    struct disk_directory *directory = NULL;
    if (found != NULL) {
        disk_directory_close(&found);
        directory = disk_directory_open(line->operands[0], why, sizeof(why));
    }
    if (directory == NULL) {
        fprintf(io->err, "bourse: %s\n", why);
        return COMMAND_FAILED;
    }
    struct disk disk = disk_of_directory(directory);
    struct salvage_report report = {.finding = print_finding, .context = (void *)(uintptr_t)io};
    uint64_t count;
    enum status status = salvage_run(&disk, &report, &count);
    disk_directory_close(&directory);
    if (status == STATUS_OK) {
        fputs(count == 0 ? "ok: nothing was damaged\n" : "ok: a broker can start on it\n", io->out);
        return COMMAND_OK;
    }
    fputs("bourse: the directory could not be made usable\n", io->err);
    return COMMAND_FAILED;
}

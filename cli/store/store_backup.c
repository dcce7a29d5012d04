/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/store/store_backup.h"

#include <inttypes.h>

#include "cli/store/store.h"
#include "store/backup.h"

static int
copy_directory(struct disk_directory *directory, const char *path, const struct command_io *io)
{
    struct backup_directory to = {.path = path};
    struct backup_target target = backup_target_directory(&to);
    struct backup *backup = backup_new(&target);
    struct disk disk = disk_of_directory(directory);
    struct backup_plan plan = {.manifest = NULL};
    struct log_failure failure;
    enum status status;
    backup_prepare(backup, &plan);
    while ((status = backup_step(backup, &disk, &failure)) == STATUS_AGAIN) {
    }
    const struct backup_report *report = backup_report(backup);
    if (status == STATUS_OK) {
        fprintf(io->out, "ok: %" PRIu64 " files linked, %" PRIu64 " copied (%" PRIu64 " octets)\n",
                report->files_linked, report->files_copied, report->octets_copied);
    } else {
        fprintf(io->err, "bourse: no copy was made: %s\n", report->why);
    }
    backup_free(&backup);
    return status == STATUS_OK ? COMMAND_OK : COMMAND_FAILED;
}

int
store_backup_run(const struct command_line *line, const struct command_io *io)
{
    struct disk_directory *directory = store_open_to_read(line->operands[0], io);
    if (directory == NULL) {
        return COMMAND_FAILED;
    }
    int result = copy_directory(directory, line->operands[1], io);
    disk_directory_close(&directory);
    return result;
}

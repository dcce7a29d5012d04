/* SPDX-License-Identifier: Apache-2.0 */
/* A broker that copies its own data while it runs: real directories, the loop turned by hand. */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/disk.h"
#include "broker/broker.h"
#include "store/backup.h"
#include "store/salvage.h"

enum { TURN_MS = 100, TURNS_MAX = 300 };

static char folder[64];
static struct log silent_log;
static bool is_done;
static enum status result;
static char reason[256];

static void
drop_line(void *context, struct bytes line)
{
    (void)context;
    (void)line;
}

static void
set_up(void)
{
    (void)snprintf(folder, sizeof(folder), "/tmp/bourse-back-up-XXXXXX");
    cr_assert(ne(ptr, mkdtemp(folder), NULL));
    silent_log =
        (struct log){.level = LOG_LEVEL_ERROR, .write = drop_line, .clock = clock_system()};
    is_done = false;
}

static void
tear_down(void)
{
    char command[128];
    (void)snprintf(command, sizeof(command), "rm -r %s", folder);
    cr_expect(eq(int, system(command), 0));
}

TestSuite(back_up, .init = set_up, .fini = tear_down);

static const char *
path_of(const char *name, char out[static 128])
{
    (void)snprintf(out, 128, "%s/%s", folder, name);
    return out;
}

static struct broker *
start(const char *name)
{
    char path[128];
    char why[512] = "";
    const char *bad = NULL;
    struct config *config = config_new_development();
    config->server.data_dir = arena_strdup(&config->arena, path_of(name, path));
    config->server.threads = 1;
    config->server.segment_bytes = 1 << 20;
    config->server.message_bytes_max = 1 << 16;
    cr_assert(config_override_listener(config, LISTENER_AMQP, "127.0.0.1:0", &bad));
    struct broker *broker = broker_new(config, &silent_log, why, sizeof(why));
    config_free(&config);
    cr_assert(ne(ptr, broker, NULL), "%s", why);
    return broker;
}

static void
on_done(void *context, enum status status, const struct backup_report *report)
{
    (void)context;
    is_done = true;
    result = status;
    (void)snprintf(reason, sizeof(reason), "%s", report->why);
}

static void
back_up(struct broker *broker, const char *name)
{
    char path[128];
    char why[256] = "";
    is_done = false;
    cr_assert(broker_back_up(broker, path_of(name, path), on_done, NULL, why, sizeof(why)), "%s",
              why);
    cr_expect(not(broker_back_up(broker, path_of("other", path), on_done, NULL, why, sizeof(why))));
    cr_expect(strstr(why, "another copy is being made") != NULL);
    for (int i = 0; i < TURNS_MAX && !is_done; i++) {
        (void)broker_turn(broker, TURN_MS);
    }
    cr_assert(is_done);
}

static void
on_finding(void *context, const struct salvage_finding *finding)
{
    (void)context;
    cr_expect(false, "%s: %s", finding->file, finding->text);
}

static void
verify(const char *name)
{
    char path[128];
    char why[256];
    uint64_t count;
    struct salvage_report report = {.finding = on_finding};
    struct disk_directory *directory =
        disk_directory_open_to_read(path_of(name, path), why, sizeof(why));
    cr_assert(ne(ptr, directory, NULL), "%s", why);
    struct disk disk = disk_of_directory(directory);
    cr_expect(eq(int, verify_run(&disk, &report, &count), STATUS_OK));
    disk_directory_close(&directory);
}

Test(back_up, a_broker_starts_on_the_copy_while_the_first_one_runs)
{
    struct broker *broker = start("data");
    back_up(broker, "copy");
    cr_assert(eq(int, result, STATUS_OK), "%s", reason);
    verify("copy");
    struct broker *second = start("copy");
    (void)broker_turn(second, 0);
    back_up(broker, "again");
    cr_expect(eq(int, result, STATUS_OK), "%s", reason);
    broker_free(&second);
    broker_free(&broker);
    verify("data");
    verify("copy");
}

Test(back_up, copy_that_cannot_be_made_is_told_and_the_broker_goes_on)
{
    struct broker *broker = start("data");
    back_up(broker, "not there/copy");
    cr_expect(eq(int, result, STATUS_REJECTED));
    cr_expect(strstr(reason, "make the directory above it first") != NULL, "%s", reason);
    back_up(broker, "data");
    cr_expect(ne(int, result, STATUS_OK), "its own directory is no place for it");
    back_up(broker, "copy");
    cr_expect(eq(int, result, STATUS_OK), "%s", reason);
    broker_free(&broker);
}

/* A copy that is under way when the broker ends is none. */
Test(back_up, copy_that_the_end_of_the_broker_cuts_short_is_told)
{
    char path[128];
    char why[256];
    struct broker *broker = start("data");
    cr_assert(broker_back_up(broker, path_of("copy", path), on_done, NULL, why, sizeof(why)));
    broker_free(&broker);
    cr_expect(is_done);
}

Test(back_up, broker_without_a_data_directory_has_nothing_to_copy)
{
    char path[128];
    char why[256] = "";
    const char *bad = NULL;
    struct config *config = config_new_development();
    config->server.is_ephemeral = true;
    cr_assert(config_override_listener(config, LISTENER_AMQP, "127.0.0.1:0", &bad));
    struct broker *broker = broker_new(config, &silent_log, why, sizeof(why));
    config_free(&config);
    cr_assert(ne(ptr, broker, NULL), "%s", why);
    cr_expect(not(broker_back_up(broker, path_of("copy", path), on_done, NULL, why, sizeof(why))));
    cr_expect(strstr(why, "nothing to copy") != NULL);
    broker_free(&broker);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* The table of commands. Help, manual page and completion come from it; so a row is all that they
 * need to know of a new command. */
#include "cli/command/command.h"

#include <stdint.h>

#include "base/assert.h"
#include "cli/amqp/bench.h"
#include "cli/amqp/drain.h"
#include "cli/client/context_commands.h"
#include "cli/client/list.h"
#include "cli/command/help.h"
#include "cli/definitions/export.h"
#include "cli/definitions/import.h"
#include "cli/desk/dead_letters.h"
#include "cli/desk/delayed.h"
#include "cli/desk/replay.h"
#include "cli/doctor/doctor.h"
#include "cli/doctor/support_bundle.h"
#include "cli/manual/completion.h"
#include "cli/manual/explain.h"
#include "cli/manual/man.h"
#include "cli/messages/messages.h"
#include "cli/messages/route.h"
#include "cli/messages/sub.h"
#include "cli/messages/trace.h"
#include "cli/objects/objects.h"
#include "cli/objects/status.h"
#include "cli/objects/users.h"
#include "cli/serve/serve.h"
#include "cli/store/backup.h"
#include "cli/store/dump.h"
#include "cli/store/store.h"
#include "cli/store/store_backup.h"
#include "cli/topology/check.h"
#include "cli/topology/test.h"
#include "cli/topology/topology.h"

#define OPTIONS(table, number) .options = (table), .option_count = (number)
/* Those that most commands about a running broker are like. */
#define LISTS(group, things, of_vhost)                                                             \
    {                                                                                              \
        .name = group " ls", .operands = "", .summary = "list " things,                            \
        .shared = ((of_vhost) ? SHARED_BY_VHOST : SHARED_BY_CLIENT) | 1 << SHARED_WATCH,           \
        .run = list_run                                                                            \
    }

static const struct command commands[] = {
    {
        .heading = "The broker",
        .name = "serve",
        .operands = "[FILE...]",
        .operand_max = SIZE_MAX,
        .summary = "run the broker",
        .details =
            "Without FILE: the one that BOURSE_CONFIG names, or development mode:\n"
            "127.0.0.1:5672, user guest, password guest,\n"
            "management on 127.0.0.1:15672, metrics on 127.0.0.1:15692, and the data directory\n"
            "./bourse-data; with one, the file's, or /var/lib/bourse.\n"
            "An option replaces what the file says under the same name; port 0 lets the\n"
            "system choose. On a directory that holds data, the file's objects are made\n"
            "where they are missing and changed where they may; nothing is deleted.\n"
            "SIGHUP reads the files again, SIGTERM stops.\n",
        OPTIONS(serve_options, SERVE_OPTION_COUNT),
        .run = serve_run,
    },
    {
        .name = "check",
        .operands = "FILE...",
        .operand_min = 1,
        .operand_max = SIZE_MAX,
        .summary = "say what is wrong with configuration files, and start nothing",
        .details = "Several files make one configuration. Prints every error and warning as\n"
                   "FILE:LINE:COL; exits with 1 when there is an error.\n",
        OPTIONS(check_options, CHECK_OPTION_COUNT),
        .run = check_run,
    },
    {
        .name = "ping",
        .operands = "",
        .summary = "ask whether it answers",
        .details = "For health checks: exits with 0 when the broker answers and lets you in.\n",
        .shared = SHARED_BY_CLIENT,
        .run = ping_run,
    },
    {
        .name = "status",
        .operands = "",
        .summary = "how it is: version, memory, disk, totals, rates, what needs attention",
        .shared = SHARED_BY_CLIENT | 1 << SHARED_WATCH,
        .run = status_run,
    },
    {
        .name = "doctor",
        .operands = "[FILE]",
        .operand_max = 1,
        .summary = "look for what could go wrong with machine and broker",
        .details =
            "Descriptors, kernel settings and clock; with a configuration file its disk and\n"
            "certificates; with a broker that answers, what it says of itself. Exits with 1\n"
            "when something is bad.\n",
        .shared = SHARED_BY_CLIENT,
        .run = doctor_run,
    },
    {
        .name = "bench",
        .operands = "[ADDRESS]",
        .operand_max = 1,
        .summary = "measure a broker: messages a second, and how long they take",
        .details =
            "ADDRESS is amqp[s]://[USER[:PASSWORD]@]HOST[:PORT][/VHOST], @FILE or env:NAME, which\n"
            "hold one; without it this machine, as guest. Messages go through a queue of its own,\n"
            "which is gone afterwards, persistent and confirmed unless options say otherwise. It\n"
            "measures what one client program sees, its own work included.\n",
        .exits = "69  the broker does not answer\n77  it does not let you in, or not do that\n",
        OPTIONS(bench_options, BENCH_OPTION_COUNT),
        .shared = SHARED_BY_TABLE | 1 << SHARED_QUIET,
        .run = bench_run,
    },
    {
        .name = "audit",
        .operands = "",
        .summary = "who changed what: messages, rights, topology, connections",
        .details =
            "The last 1,000 entries, which outlast a restart; the broker's log has all of them. "
            "What clients do over AMQP is none of it.\n",
        .shared = SHARED_BY_CLIENT | 1 << SHARED_WATCH,
        .run = dlq_audit_run,
    },
    {
        .name = "trace on",
        .operands = "",
        .summary = "have copies of all messages go to amq.rabbitmq.trace",
        .details = "A copy of each that is published or delivered in the virtual host. It costs.\n",
        .shared = SHARED_BY_VHOST,
        .run = trace_on_run,
    },
    {
        .name = "trace off",
        .operands = "",
        .summary = "end that",
        .shared = SHARED_BY_VHOST,
        .run = trace_off_run,
    },
    {
        .name = "trace status",
        .operands = "",
        .summary = "whether it is on",
        .shared = SHARED_BY_VHOST,
        .run = trace_status_run,
    },
    {
        .name = "backup",
        .operands = "DIR",
        .operand_min = 1,
        .operand_max = 1,
        .summary = "copy a running broker's data to a new directory",
        .details =
            "On the machine of the broker, which writes it. Files are linked where DIR is on the\n"
            "same file system, else copied. A broker can start on DIR.\n",
        .shared = SHARED_BY_CLIENT,
        .run = backup_run,
    },
    {
        .name = "support-bundle",
        .operands = "FILE",
        .operand_min = 1,
        .operand_max = 1,
        .summary = "write what somebody who helps wants to see, secrets masked",
        .details =
            "One JSON file, made anew, for you alone to read: what the broker says of itself\n"
            "and of its objects, and what doctor finds. No message is in it.\n",
        .shared = SHARED_BY_CLIENT,
        .run = support_bundle_run,
    },
    {
        .heading = "Topology as code",
        .name = "plan",
        .operands = "FILE...",
        .operand_min = 1,
        .operand_max = SIZE_MAX,
        .summary = "say what would have to change for a broker to be what files say",
        .details =
            "Several files make one configuration, of one vhost. Changes nothing. Passwords that\n"
            "the files leave in other files or in variables are read here, and sent as hashes.\n",
        .exits = "0: nothing would change; 2: something would.\n",
        OPTIONS(plan_options, PLAN_OPTION_COUNT),
        .shared = SHARED_BY_CLIENT,
        .run = plan_run,
    },
    {
        .name = "apply",
        .operands = "FILE...",
        .operand_min = 1,
        .operand_max = SIZE_MAX,
        .summary = "make a broker what files say, all of it or nothing",
        .details =
            "Shows the plan and asks, on a terminal; elsewhere it takes --yes or --plan. What\n"
            "would lose messages or stands under \"protect\" needs the words that the plan "
            "names.\n",
        OPTIONS(apply_options, APPLY_OPTION_COUNT),
        .shared = SHARED_BY_CLIENT,
        .run = apply_run,
    },
    {
        .name = "rollback",
        .operands = "[GENERATION]",
        .operand_max = 1,
        .summary = "apply again what was in force before",
        .details =
            "Without GENERATION: the one before. What came since stays, but with --prune. Users\n"
            "keep their passwords.\n",
        OPTIONS(rollback_options, ROLLBACK_OPTION_COUNT),
        .shared = SHARED_BY_VHOST,
        .run = rollback_run,
    },
    {
        .name = "drift",
        .operands = "",
        .summary = "say what clients have made, changed and deleted beside what was applied",
        .exits = "0: there is no drift; 2: there is.\n",
        OPTIONS(drift_options, DRIFT_OPTION_COUNT),
        .shared = SHARED_BY_VHOST,
        .run = drift_run,
    },
    LISTS("generation", "generations", true),
    {
        .name = "route",
        .operands = "EXCHANGE KEY",
        .operand_min = 2,
        .operand_max = 2,
        .summary = "explain where a message would go, and why not elsewhere",
        .details =
            "Looks at every binding on the way; \"\" is the default exchange. Exits with 1 when\n"
            "no queue gets the message. With --file it needs no broker.\n",
        OPTIONS(route_options, ROUTE_OPTION_COUNT),
        .shared = SHARED_BY_VHOST,
        .run = route_run,
    },
    {
        .name = "test",
        .operands = "FILE... TESTS",
        .operand_min = 2,
        .operand_max = SIZE_MAX,
        .summary = "check that messages go where a file of tests says, without a server",
        .details =
            "The last file holds the tests, those before it the topology. Exits with 1 when a\n"
            "test fails.\n",
        OPTIONS(test_options, TEST_OPTION_COUNT),
        .run = test_run,
    },
    {
        .name = "import",
        .operands = "FILE",
        .operand_min = 1,
        .operand_max = 1,
        .summary = "make configuration files of RabbitMQ's or LavinMQ's definitions.json",
        .details =
            "Says what cannot be taken over; files that are there are not overwritten. With\n"
            "--apply it goes into a running broker, as \"bourse apply\" does it.\n",
        OPTIONS(import_options, IMPORT_OPTION_COUNT),
        .shared = SHARED_BY_FILE | 1 << SHARED_VHOST,
        .run = import_run,
    },
    {
        .name = "export",
        .operands = "",
        .summary = "write a topology as YAML, definitions.json, a graph or AsyncAPI",
        .details = "Without --from: that of the broker. RabbitMQ is asked by the address of its "
                   "management\n"
                   "interface, or by a context that has one.\n",
        OPTIONS(export_options, EXPORT_OPTION_COUNT),
        .shared = SHARED_BY_FILE | 1 << SHARED_VHOST,
        .run = export_run,
    },
    {
        .heading = "Looking",
        .name = "ls",
        .operands = LIST_KINDS,
        .operand_min = 1,
        .operand_max = 1,
        .summary = "list what there is",
        .details = "Without --vhost that of all virtual hosts, unless the context names one.\n",
        .shared = SHARED_BY_VHOST | 1 << SHARED_WATCH,
        .run = list_run,
    },
    {
        .name = "top",
        .operands = "",
        .summary = "the longest queues and the rates, live",
        .details =
            "On a terminal it is shown anew every second; elsewhere once, or with --watch.\n",
        .shared = SHARED_BY_CLIENT | 1 << SHARED_WATCH,
        .run = top_run,
    },
    {
        .name = "peek",
        .operands = "QUEUE",
        .operand_min = 1,
        .operand_max = 1,
        .summary = "show messages of a queue and change nothing",
        .details =
            "They stay where they are, are not marked as redelivered, and keep their order.\n",
        OPTIONS(peek_options, PEEK_OPTION_COUNT),
        .shared = SHARED_BY_VHOST | 1 << SHARED_WATCH,
        .run = peek_run,
    },
    {
        .name = "sub",
        .operands = "[QUEUE]",
        .operand_max = 1,
        .summary = "look on while messages enter a queue or pass an exchange",
        .details =
            "Changes nothing: they go where they would go anyway, and nobody waits for who looks\n"
            "on. What passes faster than it is read is counted and left out. Ends with Ctrl-C.\n",
        OPTIONS(sub_options, SUB_OPTION_COUNT),
        .shared = SHARED_BY_VHOST,
        .run = sub_run,
    },
    {
        .heading = "Messages",
        .name = "get",
        .operands = "QUEUE",
        .operand_min = 1,
        .operand_max = 1,
        .summary = "take messages out of a queue and print them",
        .details = "They are gone from the queue afterwards; \"bourse peek\" leaves them there.\n",
        OPTIONS(get_options, GET_OPTION_COUNT),
        .shared = SHARED_BY_VHOST,
        .run = get_run,
    },
    {
        .name = "publish",
        .operands = "EXCHANGE KEY [BODY]",
        .operand_min = 2,
        .operand_max = 3,
        .summary = "publish a message and wait for its confirm",
        .details =
            "An empty EXCHANGE is the default one, for which KEY is a queue. Without BODY and\n"
            "--file, standard input is the body. Exits with 1 when no queue got the message.\n",
        OPTIONS(publish_options, PUBLISH_OPTION_COUNT),
        .shared = SHARED_BY_VHOST,
        .run = publish_run,
    },
    {
        .name = "purge",
        .operands = "QUEUE",
        .operand_min = 1,
        .operand_max = 1,
        .summary = "drop all ready messages of a queue",
        .details = "They are not dead-lettered. Those that consumers hold stay.\n",
        .shared = SHARED_BY_VHOST,
        .run = purge_run,
    },
    {
        .name = "pause",
        .operands = "QUEUE",
        .operand_min = 1,
        .operand_max = 1,
        .summary = "have a queue hand out nothing",
        .details =
            "It goes on taking messages. Consumers stay, and get nothing until \"resume\".\n",
        OPTIONS(pause_options, PAUSE_OPTION_COUNT),
        .shared = SHARED_BY_VHOST,
        .run = pause_run,
    },
    {
        .name = "resume",
        .operands = "QUEUE",
        .operand_min = 1,
        .operand_max = 1,
        .summary = "end a pause",
        OPTIONS(pause_options, PAUSE_OPTION_COUNT),
        .shared = SHARED_BY_VHOST,
        .run = resume_run,
    },
    {
        .name = "drain",
        .operands = "ADDRESS",
        .operand_min = 1,
        .operand_max = 1,
        .summary = "have the messages of another broker's queue come to a queue here",
        .details =
            "ADDRESS is amqp[s]://[USER[:PASSWORD]@]HOST[:PORT][/VHOST]/QUEUE of RabbitMQ or any\n"
            "other broker of AMQP 0-9-1, names percent-encoded; or @FILE or env:NAME, which hold\n"
            "one, so that no password is on the command line. It may end in ?cacertfile=FILE,\n"
            "&certfile=FILE, &keyfile=FILE, &verify=verify_none.\n"
            "Each message is confirmed by the target before the source is told to forget it:\n"
            "none is lost, and who is killed may find some twice. Properties and headers stay\n"
            "what they were. It ends when the source is empty; run again, it goes on.\n",
        .exits = "66  a queue or exchange is not there\n69  a broker does not answer\n"
                 "77  one of them does not let you in, or not do that\n",
        OPTIONS(drain_options, DRAIN_OPTION_COUNT),
        .shared = 1 << SHARED_QUIET | 1 << SHARED_OUTPUT,
        .run = drain_run,
    },
    {
        .heading = "Dead letters",
        .name = "dlq ls",
        .operands = "",
        .summary = "queues that hold dead letters or quarantined messages",
        .details = "And queues that are there for dead letters. The reason is the most frequent "
                   "one of the\n"
                   "first 1,000 messages.\n",
        .shared = SHARED_BY_VHOST | 1 << SHARED_WATCH,
        .run = dlq_ls_run,
    },
    {
        .name = "dlq show",
        .operands = "QUEUE",
        .operand_min = 1,
        .operand_max = 1,
        .summary = "show messages with where and why they died",
        .details = "Changes nothing.\n",
        OPTIONS(dlq_show_options, DLQ_SHOW_OPTION_COUNT),
        .shared = SHARED_BY_VHOST | 1 << SHARED_WATCH,
        .run = dlq_show_run,
    },
    {
        .name = "dlq group",
        .operands = "QUEUE",
        .operand_min = 1,
        .operand_max = 1,
        .summary = "count messages by origin, reason, class and key",
        .details = "Changes nothing.\n",
        OPTIONS(dlq_group_options, DLQ_GROUP_OPTION_COUNT),
        .shared = SHARED_BY_VHOST | 1 << SHARED_WATCH,
        .run = dlq_group_run,
    },
    {
        .name = "dlq replay",
        .operands = "QUEUE",
        .operand_min = 1,
        .operand_max = 1,
        .summary = "send messages back, or to an exchange",
        .details =
            "Each is in exactly one place at any time, and what could not be sent stays. Without\n"
            "a filter all messages are meant.\n",
        OPTIONS(dlq_replay_options, DLQ_REPLAY_OPTION_COUNT),
        .shared = SHARED_BY_VHOST,
        .run = dlq_replay_run,
    },
    {
        .name = "dlq drop",
        .operands = "QUEUE",
        .operand_min = 1,
        .operand_max = 1,
        .summary = "drop messages for good",
        .details = "They are no dead letters. Those that consumers hold stay.\n",
        OPTIONS(dlq_drop_options, DLQ_DROP_OPTION_COUNT),
        .shared = SHARED_BY_VHOST,
        .run = dlq_drop_run,
    },
    {
        .name = "dlq export",
        .operands = "QUEUE",
        .operand_min = 1,
        .operand_max = 1,
        .summary = "write messages as lines of JSON, and leave them there",
        OPTIONS(dlq_export_options, DLQ_EXPORT_OPTION_COUNT),
        .shared = SHARED_BY_FILE | 1 << SHARED_VHOST,
        .run = dlq_export_run,
    },
    {
        .name = "dlq jobs",
        .operands = "",
        .summary = "replays and drops, under way and over",
        .shared = SHARED_BY_CLIENT | 1 << SHARED_WATCH,
        .run = dlq_jobs_run,
    },
    {
        .name = "dlq cancel",
        .operands = "ID",
        .operand_min = 1,
        .operand_max = 1,
        .summary = "cancel a replay or a drop",
        .details = "What it has done stays done.\n",
        .shared = SHARED_BY_CLIENT,
        .run = dlq_cancel_run,
    },
    {
        .name = "dlq audit",
        .operands = "",
        .summary = "the same as audit: who did what to which messages, and why",
        .shared = SHARED_BY_CLIENT | 1 << SHARED_WATCH,
        .run = dlq_audit_run,
    },
    {
        .heading = "Messages that wait",
        .name = "delayed ls",
        .operands = "QUEUE",
        .operand_min = 1,
        .operand_max = 1,
        .summary = "messages that wait for a time, as they come due",
        OPTIONS(delayed_ls_options, DELAYED_LS_OPTION_COUNT),
        .shared = SHARED_BY_VHOST | 1 << SHARED_WATCH,
        .run = delayed_ls_run,
    },
    {
        .name = "delayed release",
        .operands = "QUEUE [KEY]",
        .operand_min = 1,
        .operand_max = 2,
        .summary = "let them in now",
        OPTIONS(delayed_settle_options, DELAYED_SETTLE_OPTION_COUNT),
        .shared = SHARED_BY_VHOST,
        .run = delayed_release_run,
    },
    {
        .name = "delayed cancel",
        .operands = "QUEUE [KEY]",
        .operand_min = 1,
        .operand_max = 2,
        .summary = "take them out for good",
        .details = "They are no dead letters.\n",
        OPTIONS(delayed_settle_options, DELAYED_SETTLE_OPTION_COUNT),
        .shared = SHARED_BY_VHOST,
        .run = delayed_cancel_run,
    },
    {
        .heading = "Queues, exchanges, bindings",
        .name = "queue ls",
        .operands = "",
        .summary = "list queues",
        .shared = SHARED_BY_VHOST | 1 << SHARED_WATCH,
        .run = list_run,
    },
    {
        .name = "queue show",
        .operands = "QUEUE",
        .operand_min = 1,
        .operand_max = 1,
        .summary = "everything about one",
        .shared = SHARED_BY_VHOST | 1 << SHARED_WATCH,
        .run = show_run,
    },
    {
        .name = "queue declare",
        .operands = "QUEUE",
        .operand_min = 1,
        .operand_max = 1,
        .summary = "make one, or see that it is as it should be",
        .details = "One that exists with other arguments is refused.\n",
        OPTIONS(queue_declare_options, QUEUE_DECLARE_OPTION_COUNT),
        .shared = SHARED_BY_VHOST,
        .run = queue_declare_run,
    },
    {
        .name = "queue delete",
        .operands = "QUEUE",
        .operand_min = 1,
        .operand_max = 1,
        .summary = "delete one, with its messages",
        OPTIONS(queue_delete_options, DELETE_OPTION_COUNT),
        .shared = SHARED_BY_VHOST,
        .run = queue_delete_run,
    },
    {
        .name = "queue purge",
        .operands = "QUEUE",
        .operand_min = 1,
        .operand_max = 1,
        .summary = "the same as \"purge\"",
        .shared = SHARED_BY_VHOST,
        .run = purge_run,
    },
    LISTS("exchange", "exchanges", true),
    {
        .name = "exchange show",
        .operands = "EXCHANGE",
        .operand_min = 1,
        .operand_max = 1,
        .summary = "everything about one",
        .shared = SHARED_BY_VHOST | 1 << SHARED_WATCH,
        .run = show_run,
    },
    {
        .name = "exchange declare",
        .operands = "EXCHANGE",
        .operand_min = 1,
        .operand_max = 1,
        .summary = "make one, or see that it is as it should be",
        OPTIONS(exchange_declare_options, EXCHANGE_DECLARE_OPTION_COUNT),
        .shared = SHARED_BY_VHOST,
        .run = exchange_declare_run,
    },
    {
        .name = "exchange delete",
        .operands = "EXCHANGE",
        .operand_min = 1,
        .operand_max = 1,
        .summary = "delete one, with its bindings",
        OPTIONS(exchange_delete_options, 1),
        .shared = SHARED_BY_VHOST,
        .run = exchange_delete_run,
    },
    LISTS("binding", "bindings", true),
    {
        .name = "binding add",
        .operands = "EXCHANGE QUEUE",
        .operand_min = 2,
        .operand_max = 2,
        .summary = "have a queue take messages from an exchange",
        OPTIONS(bind_options, BIND_OPTION_COUNT),
        .shared = SHARED_BY_VHOST,
        .run = bind_run,
    },
    {
        .name = "binding delete",
        .operands = "EXCHANGE QUEUE",
        .operand_min = 2,
        .operand_max = 2,
        .summary = "undo the binding with this key and these arguments",
        OPTIONS(bind_options, BIND_OPTION_COUNT),
        .shared = SHARED_BY_VHOST,
        .run = unbind_run,
    },
    {
        .heading = "Users, virtual hosts, policies, connections",
        .name = "user ls",
        .operands = "",
        .summary = "list users",
        .shared = SHARED_BY_CLIENT | 1 << SHARED_WATCH,
        .run = list_run,
    },
    {
        .name = "user add",
        .operands = "USER",
        .operand_min = 1,
        .operand_max = 1,
        .summary = "add one, without rights",
        .details = "The password is asked for, or read from the first line of standard input.\n",
        OPTIONS(user_add_options, USER_ADD_OPTION_COUNT),
        .shared = SHARED_BY_CLIENT,
        .run = user_add_run,
    },
    {
        .name = "user passwd",
        .operands = "USER",
        .operand_min = 1,
        .operand_max = 1,
        .summary = "give one another password",
        .details = "The password is asked for, or read from the first line of standard input.\n",
        OPTIONS(passwd_options, PASSWD_OPTION_COUNT),
        .shared = SHARED_BY_CLIENT,
        .run = user_passwd_run,
    },
    {
        .name = "user role",
        .operands = "USER none|monitor|operator|admin",
        .operand_min = 2,
        .operand_max = 2,
        .summary = "say anew what one may do here",
        .details =
            "The role replaces all tags that the user has, \"protected\" among them. The password\n"
            "stays. Rights in virtual hosts are another matter: \"bourse user rights\".\n",
        .shared = SHARED_BY_CLIENT,
        .run = user_role_run,
    },
    {
        .name = "user rights",
        .operands = "USER [CONFIGURE WRITE READ]",
        .operand_min = 1,
        .operand_max = 4,
        .summary = "show or set what one may do in a virtual host",
        .details =
            "CONFIGURE, WRITE and READ are expressions that names must match; \"^$\" allows\n"
            "nothing, \".*\" everything.\n",
        OPTIONS(rights_options, RIGHTS_OPTION_COUNT),
        .shared = SHARED_BY_VHOST,
        .run = user_rights_run,
    },
    {
        .name = "user delete",
        .operands = "USER",
        .operand_min = 1,
        .operand_max = 1,
        .summary = "delete one and close its connections",
        .shared = SHARED_BY_CLIENT,
        .run = user_delete_run,
    },
    LISTS("vhost", "virtual hosts", false),
    {
        .name = "vhost add",
        .operands = "VHOST",
        .operand_min = 1,
        .operand_max = 1,
        .summary = "add one",
        .shared = SHARED_BY_CLIENT,
        .run = vhost_add_run,
    },
    {
        .name = "vhost delete",
        .operands = "VHOST",
        .operand_min = 1,
        .operand_max = 1,
        .summary = "delete one, with all that is in it",
        .shared = SHARED_BY_CLIENT,
        .run = vhost_delete_run,
    },
    LISTS("policy", "policies", true),
    {
        .name = "policy set",
        .operands = "POLICY PATTERN DEFINITION",
        .operand_min = 3,
        .operand_max = 3,
        .summary = "make or change one",
        .details = "DEFINITION is a JSON object, such as '{\"max-length\": 1000}'.\n",
        OPTIONS(policy_set_options, POLICY_SET_OPTION_COUNT),
        .shared = SHARED_BY_VHOST,
        .run = policy_set_run,
    },
    {
        .name = "policy delete",
        .operands = "POLICY",
        .operand_min = 1,
        .operand_max = 1,
        .summary = "delete one",
        OPTIONS(policy_options, POLICY_OPTION_COUNT),
        .shared = SHARED_BY_VHOST,
        .run = policy_delete_run,
    },
    LISTS("conn", "connections", true),
    {
        .name = "conn close",
        .operands = "CONNECTION",
        .operand_min = 1,
        .operand_max = 1,
        .summary = "close one, or all of a user",
        OPTIONS(close_options, CLOSE_OPTION_COUNT),
        .shared = SHARED_BY_CLIENT,
        .run = conn_close_run,
    },
    {
        .heading = "Data of a stopped broker",
        .name = "store verify",
        .operands = "DIR",
        .operand_min = 1,
        .operand_max = 1,
        .summary = "read a stopped broker's data and say what is wrong with it",
        .details = "Reads every file, messages included, and changes nothing. Prints a line for\n"
                   "each damaged place; exits with 1 when there is one.\n",
        .run = store_verify_run,
    },
    {
        .name = "store dump",
        .operands = "DIR",
        .operand_min = 1,
        .operand_max = 1,
        .summary = "print what a stopped broker's data holds",
        .details = "Virtual hosts, users, exchanges, queues and bindings, then the messages of\n"
                   "each queue. Changes nothing. Contents of users are not printed.\n",
        OPTIONS(dump_options, DUMP_OPTION_COUNT),
        .run = dump_run,
    },
    {
        .name = "store repair",
        .operands = "DIR",
        .operand_min = 1,
        .operand_max = 1,
        .summary = "make damaged data of a stopped broker usable again",
        .details = "Says what is lost, file by file. A file that is changed is kept as\n"
                   "NAME.damaged; keep a copy of the whole directory all the same.\n",
        OPTIONS(store_repair_options, STORE_REPAIR_OPTION_COUNT),
        .run = store_repair_run,
    },
    {
        .name = "store backup",
        .operands = "DIR TARGET",
        .operand_min = 2,
        .operand_max = 2,
        .summary = "copy a stopped broker's data to a new directory",
        .details = "Files are linked where TARGET is on the same file system, else copied. A\n"
                   "broker can start on TARGET, and \"bourse store verify\" reads it.\n",
        .run = store_backup_run,
    },
    {
        .heading = "This command",
        .name = "context ls",
        .operands = "",
        .summary = "list brokers that have a name here",
        .shared = SHARED_BY_TABLE | 1 << SHARED_QUIET,
        .run = context_list_run,
    },
    {
        .name = "context add",
        .operands = "CONTEXT",
        .operand_min = 1,
        .operand_max = 1,
        .summary = "give a broker a name, or change what it stands for",
        .details = "Kept in ~/.config/bourse/contexts.json. Passwords are never in it.\n",
        OPTIONS(context_add_options, CONTEXT_ADD_OPTION_COUNT),
        .shared = 1 << SHARED_QUIET,
        .run = context_add_run,
    },
    {
        .name = "context use",
        .operands = "CONTEXT",
        .operand_min = 1,
        .operand_max = 1,
        .summary = "make it the one that commands mean",
        .shared = 1 << SHARED_QUIET,
        .run = context_use_run,
    },
    {
        .name = "context rm",
        .operands = "CONTEXT",
        .operand_min = 1,
        .operand_max = 1,
        .summary = "forget it",
        .shared = 1 << SHARED_QUIET,
        .run = context_remove_run,
    },
    {
        .name = "explain",
        .operands = "CODE|KEY",
        .operand_min = 1,
        .operand_max = 1,
        .summary = "what a reply code, exit status or key of the file means",
        .details = "Such as 404, NOT_FOUND, 69, queues.ttl. Needs no broker.\n",
        .run = explain_run,
    },
    {
        .name = "completion",
        .operands = "bash|zsh|fish",
        .operand_min = 1,
        .operand_max = 1,
        .summary = "print a script that completes commands in a shell",
        .details = "bash: source <(bourse completion bash), in ~/.bashrc.\n"
                   "zsh: bourse completion zsh > a directory of $fpath/_bourse.\n"
                   "fish: bourse completion fish > ~/.config/fish/completions/bourse.fish.\n",
        .run = completion_run,
    },
    {
        .name = "man",
        .operands = "[bourse|bourse.8|bourse.yaml|bourse-topology]",
        .operand_max = 1,
        .summary = "print the manual page of the commands, the server, the file or its topology",
        .details = "In roff: bourse man | man -l -, or into a file bourse.1 of $MANPATH.\n",
        .run = man_run,
    },
    {
        .name = "version",
        .operands = "",
        .summary = "print the version",
        .run = version_run,
    },
    {
        .name = "help",
        .operands = "[COMMAND]",
        .operand_max = 2,
        .summary = "explain a command, or list them all",
        .shared = 1 << SHARED_QUIET,
        .run = help_run,
    },
};

size_t
command_count(void)
{
    return ARRAY_LEN(commands);
}

const struct command *
command_at(size_t index)
{
    assert(index < ARRAY_LEN(commands));
    return &commands[index];
}

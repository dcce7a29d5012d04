/* SPDX-License-Identifier: Apache-2.0 */
/* bourse(8): the process that serves, as its machine sees it. */
#include "base/assert.h"
#include "cli/manual/man_pages.h"
#include "cli/manual/roff.h"

static const char description[] =
    ".SH DESCRIPTION\n"
    "A broker for AMQP 0\\-9\\-1. It reads its files, recovers its data, opens its listeners, "
    "says\n"
    "\\fIbourse ready\\fR and then serves until it is told to stop. What a file says is in\n"
    ".BR bourse.yaml (5)\nand\n.BR bourse\\-topology (5);\nhow to ask and change a broker that "
    "runs,\nin\n.BR bourse (1).\n.PP\n";

static const char behind_options[] =
    ".SH SIGNALS\n"
    ".TP\n.BR SIGTERM \", \" SIGINT\n"
    "Stop in order: publishers are held, what was promised is committed, clients are told (320),\n"
    "and the process ends within ten seconds. A second one ends it at once; what was confirmed is\n"
    "kept.\n"
    ".TP\n.B SIGHUP\n"
    "Read files and certificates again. They are taken as a whole or not at all\n"
    "(\\fIconfig.reloaded\\fR or \\fIconfig.reload_refused\\fR in the log); connections stay.\n"
    ".TP\n.B SIGKILL\n"
    "Loses nothing that was confirmed. What was being delivered is redelivered.\n"
    ".SH SOCKETS\n"
    "Those of \\fBlisteners\\fR in the file, each off unless it is named; usual ports are\n"
    ".TP\n.B 5671\nAMQP over TLS.\n"
    ".TP\n.B 5672\nAMQP in the clear, for loopback.\n"
    ".TP\n.B 15671\nManagement, console and API, over TLS.\n"
    ".TP\n.B 15672\nThe same in the clear, for loopback.\n"
    ".TP\n.B 15692\nMetrics, \\fI/healthz\\fR and \\fI/readyz\\fR, without a login.\n"
    ".PP\n"
    "The control socket, \\fBserver.control\\-socket\\fR, lets root, the broker's own user and "
    "the\n"
    "group bourse in, without a password. Without that key it is \\fIbourse.sock\\fR in the data\n"
    "directory.\n"
    ".PP\n"
    "Sockets that systemd passes take the place of the listener that they are called after, else\n"
    "of the one with their address and port.\n"
    ".SH EXIT STATUS\n"
    ".TP\n0\nIt was told to stop, and all that was promised is on disk.\n"
    ".TP\n1\nIt could not start, or could not go on: a file with errors, an address in use, data\n"
    "that is damaged or in use, a disk that fails. Standard error says which, and what to do.\n"
    ".TP\n64\nThe command line is wrong.\n"
    ".SH ENVIRONMENT\n"
    ".TP\n.B BOURSE_CONFIG\nThe file, where the command line names none.\n"
    ".TP\n.BR NOTIFY_SOCKET \", \" WATCHDOG_USEC \", \" WATCHDOG_PID\n"
    "Set by systemd: where to say that it is ready, reloads and stops, and how often that it "
    "lives.\n"
    ".TP\n.BR LISTEN_PID \", \" LISTEN_FDS \", \" LISTEN_FDNAMES\n"
    "Set by systemd: the sockets that it passes.\n"
    ".TP\nOthers\nVariables that \\fBpassword\\-env\\fR in the file names.\n"
    ".SH FILES\n"
    ".TP\n.I /etc/bourse/bourse.yaml\nWhat the packaged service reads.\n"
    ".TP\n.I /var/lib/bourse\n"
    "The data, mode 0700, for one process at a time; \\fI./bourse\\-data\\fR in development mode.\n"
    "\\fIMANIFEST\\fR and \\fIseg.*\\fR are the log, \\fILOCK\\fR says who uses it.\n"
    "Nothing in it is to be changed or copied by hand: \\fBbourse backup\\fR makes copies,\n"
    "\\fBbourse store verify\\fR looks for damage.\n"
    ".TP\n.I /run/bourse/bourse.sock\nThe control socket of the packaged service.\n"
    ".PP\nThe log goes to standard error, one event a line. Whoever reads it slowly does not hold\n"
    "the broker up: what finds no room is counted\n(\\fIbourse_log_lines_dropped_total\\fR).\n"
    ".SH SEE ALSO\n.BR bourse (1),\n.BR bourse.yaml (5),\n.BR bourse\\-topology (5),\n"
    ".BR systemctl (1)\n";

void
man_put_server(FILE *out)
{
    static const char *const words[] = {"serve"};
    size_t count = 0;
    const struct command *serve = command_find(words, 1, &count);
    const struct command_option *option;
    assert(serve != NULL);
    roff_head(out, "BOURSE", 8, "System administration", "bourse",
              "the process of the message broker");
    fputs(".SH SYNOPSIS\n.B bourse serve\n.RI [ OPTION... \"] [\" FILE... ]\n", out);
    fputs(description, out);
    roff_text(out, serve->details);
    fputs(".SH OPTIONS\n", out);
    for (size_t i = 0; (option = command_option_at(serve, i)) != NULL; i++) {
        roff_option(out, option);
    }
    fputs(behind_options, out);
}

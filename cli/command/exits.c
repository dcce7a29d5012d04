/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/command/exits.h"

#include "base/assert.h"

static const struct exit_meaning meanings[] = {
    {COMMAND_OK, "done", "Nothing is left to do."},
    {COMMAND_FAILED, "not done, or done and something is wrong",
     "Standard error says what, why and what to do."},
    {COMMAND_DIFFERS, "nothing failed, but what was compared is not the same",
     "Look at what was printed; scripts use this status to find out whether there are changes."},
    {COMMAND_WARNED, "nothing is in error, but there are warnings, and --strict was given",
     "Mend what the warnings name, or leave --strict away."},
    {COMMAND_MISUSED, "the command line itself is wrong; nothing was tried",
     "\"bourse help COMMAND\" says what the command takes."},
    {COMMAND_NOT_FOUND, "the broker has nothing of this name",
     "\"bourse ls\" shows what there is; --vhost says where to look."},
    {COMMAND_UNREACHABLE, "no broker answers, or not in time",
     "\"bourse context ls\" shows where brokers are looked for; \"bourse doctor\" looks at more."},
    {COMMAND_DENIED, "the broker does not let this user in, or not do that",
     "Use the control socket as root, as the broker's user or as a member of the group bourse, or "
     "a context with a user whose role allows it."},
};

const struct exit_meaning *
exit_meaning_at(size_t index)
{
    return index < ARRAY_LEN(meanings) ? &meanings[index] : NULL;
}

bool
exit_is_of_command(const struct exit_meaning *meaning, const struct command *command)
{
    switch (meaning->status) {
    case COMMAND_OK:
    case COMMAND_FAILED:
    case COMMAND_MISUSED:
        return true;
    case COMMAND_NOT_FOUND:
    case COMMAND_UNREACHABLE:
    case COMMAND_DENIED:
        return (command->shared & 1U << SHARED_CONTEXT) != 0;
    default:
        return false;
    }
}

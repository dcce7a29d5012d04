/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/manual/completion.h"

#include <string.h>

#include "base/assert.h"

static const struct {
    const char *shell;
    void (*print)(FILE *out);
} shells[] = {
    {"bash", completion_print_bash},
    {"zsh", completion_print_zsh},
    {"fish", completion_print_fish},
};

struct bytes
completion_first_word(const struct command *command)
{
    return bytes_make(command->name, strcspn(command->name, " "));
}

bool
completion_is_first_of_word(size_t index)
{
    struct bytes word = completion_first_word(command_at(index));
    for (size_t i = 0; i < index; i++) {
        if (bytes_equal(completion_first_word(command_at(i)), word)) {
            return false;
        }
    }
    return true;
}

void
completion_print_groups(FILE *out)
{
    for (size_t i = 0; i < command_count(); i++) {
        if (completion_is_first_of_word(i) && strchr(command_at(i)->name, ' ') != NULL) {
            fprintf(out, " %.*s", BYTES_FORMAT(completion_first_word(command_at(i))));
        }
    }
}

int
completion_run(const struct command_line *line, const struct command_io *io)
{
    for (size_t i = 0; i < ARRAY_LEN(shells); i++) {
        if (strcmp(line->operands[0], shells[i].shell) == 0) {
            shells[i].print(io->out);
        }
    }
    return COMMAND_OK;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* What to say when the broker has nothing of a name: which name, and what may have been meant. */
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "cli/client/client_parts.h"
#include "cli/command/words.h"
#include "cli/text/cell.h"
#include "config/report.h"

enum { GUESSED_SIZE_MIN = 3 }; /* a shorter name is like any other */

/* Things with names. */
struct named {
    const char *word;   /* as operands call it */
    const char *noun;   /* as the broker's reasons and ours do */
    const char *kind;   /* of `bourse ls` */
    const char *path;   /* of all of them */
    bool is_in_a_vhost; /* which the path then names */
};

static const struct named all_named[] = {
    {"QUEUE", "queue", "queues", "/api/queues/{}?disable_stats=true", true},
    {"EXCHANGE", "exchange", "exchanges", "/api/exchanges/{}?disable_stats=true", true},
    {"POLICY", "policy", "policies", "/api/policies/{}", true},
    {"USER", "user", "users", "/api/users", false},
    {"CONNECTION", "connection", "connections", "/api/connections?disable_stats=true", false},
    {"VHOST", "vhost", "vhosts", "/api/vhosts", false},
};

struct missing {
    const struct named *named; /* NULL: it is not known what is missing */
    struct bytes name;
};

/* What a command is about: the first of its operands that is the name of something. */
static struct missing
missing_of_line(const struct command_line *line)
{
    struct word word;
    for (size_t i = 0; i < line->operand_count && word_at(line->command->operands, i, &word); i++) {
        for (size_t at = 0; at < ARRAY_LEN(all_named); at++) {
            if (bytes_equal_text(word.text, all_named[at].word)) {
                return (struct missing){&all_named[at], bytes_of(line->operands[i])};
            }
        }
    }
    return (struct missing){.named = NULL};
}

/* What the broker says is missing: "... no queue 'orders' in vhost '/'", "Not Found: vhost '/'". */
static struct missing
missing_of_reason(const char *reason)
{
    for (size_t at = 0; at < 2 * ARRAY_LEN(all_named); at++) {
        const struct named *named = &all_named[at / 2];
        bool is_reply = at % 2 == 0;
        char text[64];
        (void)snprintf(text, sizeof(text), is_reply ? "NOT_FOUND - no %s '" : "Not Found: %s '",
                       named->noun);
        if (strncmp(reason, text, strlen(text)) == 0) {
            const char *name = reason + strlen(text);
            return (struct missing){named, bytes_make(name, strcspn(name, "'"))};
        }
    }
    return (struct missing){.named = NULL};
}

/* A name like the one that is missing, of those that there are. One more request is worth it: who
 * mistypes a name does not know what is there. */
static void
guess_name(struct client *client, const struct missing *missing,
           char guess[static SUGGESTION_TEXT_SIZE])
{
    json_t *rows = NULL;
    struct suggestion suggestion = suggestion_for(missing->name);
    char *path = missing->named->is_in_a_vhost
                     ? client_path_new(missing->named->path, client_vhost(client))
                     : client_path_new(missing->named->path);
    bool is_worth_it = client->curl != NULL && missing->name.size >= GUESSED_SIZE_MIN;
    if (is_worth_it && client_probe(client, path, &rows) == HTTP_OK) {
        for (size_t i = 0; i < json_array_size(rows); i++) {
            const char *name = json_string_value(json_object_get(json_array_get(rows, i), "name"));
            suggestion_offer(&suggestion, bytes_of(name == NULL ? "" : name));
        }
    }
    (void)suggestion_text(&suggestion, guess);
    json_decref(rows);
    free(path);
}

static int
report_named(struct client *client, const struct missing *missing)
{
    char guess[SUGGESTION_TEXT_SIZE];
    const char *noun = missing->named->noun;
    const char *kind = missing->named->kind;
    bool is_vhost = strcmp(noun, "vhost") == 0;
    struct buffer name;
    buffer_init(&name);
    cell_put_escaped(&name, missing->name);
    guess_name(client, missing, guess);
    int result =
        missing->named->is_in_a_vhost
            ? command_error(client->io, COMMAND_NOT_FOUND,
                            "there is no %s \"%.*s\" in vhost \"%s\"%s; \"bourse ls %s\" shows "
                            "what there is, --vhost says where to look",
                            noun, BYTES_FORMAT(buffer_bytes(&name)), client_vhost(client), guess,
                            kind)
            : command_error(client->io, COMMAND_NOT_FOUND,
                            "there is no %s \"%.*s\"%s; \"bourse ls %s\" shows what there is%s",
                            noun, BYTES_FORMAT(buffer_bytes(&name)), guess, kind,
                            is_vhost ? ", and --vhost says which is meant" : "");
    buffer_fini(&name);
    return result;
}

/* RabbitMQ's words where it knows no better, which say nothing. */
static bool
says_nothing(const char *reason)
{
    return reason[0] == '\0' || strcmp(reason, "Not Found") == 0 ||
           strcmp(reason, "Object Not Found") == 0;
}

int
client_report_missing(struct client *client, const json_t *answer)
{
    const char *reason = client_reason_of(answer);
    struct missing missing =
        says_nothing(reason) ? missing_of_line(client->line) : missing_of_reason(reason);
    if (missing.named != NULL) {
        return report_named(client, &missing);
    }
    if (!says_nothing(reason)) {
        return command_error(client->io, COMMAND_NOT_FOUND, "%s", reason);
    }
    return command_error(client->io, COMMAND_NOT_FOUND,
                         "the broker at %s has nothing like that in vhost \"%s\", or is older than "
                         "this command; \"bourse ls\" shows what there is, --vhost says where to "
                         "look",
                         client_place(client), client_vhost(client));
}

/* SPDX-License-Identifier: Apache-2.0 */
/* The two pages about files, from what `bourse explain` says of keys: each key stands on one. */
#include <string.h>

#include "base/assert.h"
#include "cli/manual/man_pages.h"
#include "cli/manual/roff.h"
#include "config/describe.h"
#include "config/key_texts.h"

/* Keys -------------------------------------------------------------------------------------- */

/* What a plan compares and changes; everything else is of the process. */
static bool
is_of_topology(const char *path)
{
    static const char *const parts[] = {"defaults", "exchanges", "from[]", "retry",
                                        "queues",   "policies",  "users",  "operator-policies",
                                        "protect"};
    size_t size = strcspn(path, ".");
    for (size_t i = 0; i < ARRAY_LEN(parts); i++) {
        if (strlen(parts[i]) == size && strncmp(path, parts[i], size) == 0) {
            return true;
        }
    }
    return false;
}

struct value_search {
    const char *path;
    char value[KEY_VALUE_SIZE];
};

static void
note_value(void *context, const char *path, const struct field_spec *field)
{
    struct value_search *search = context;
    char canonical[KEY_PATH_SIZE];
    key_canonical(path, canonical);
    if (search->value[0] == '\0' && strcmp(canonical, search->path) == 0) {
        describe_value(field, search->value);
    }
}

static void
put_key(FILE *out, const struct key_text *key)
{
    struct value_search search = {.path = key->path};
    describe_keys(note_value, &search);
    fputs(".TP\n\\fB", out);
    roff_text(out, key->path);
    fputs("\\fR: ", out);
    roff_line(out, search.value);
    roff_line(out, key->meaning);
    roff_line(out, key->cause);
    roff_line(out, key->next);
}

static void
put_keys(FILE *out, bool of_topology)
{
    const struct key_text *key;
    fputs(".SH KEYS\n", out);
    for (size_t i = 0; (key = key_text_at(i)) != NULL; i++) {
        if (is_of_topology(key->path) == of_topology) {
            put_key(out, key);
        }
    }
}

/* bourse.yaml(5) ---------------------------------------------------------------------------- */

static const char file_head[] =
    ".SH DESCRIPTION\n"
    "YAML, read by \\fBbourse serve\\fR at the start and again on SIGHUP. Several files, or a\n"
    "directory of them, are one configuration. \\fBbourse check\\fR says what is wrong, with line\n"
    "and column; \\fBbourse plan\\fR what would change in a broker that runs;\n"
    "\\fBbourse explain\\fR \\fIKEY\\fR what is said here, of one key.\n"
    ".PP\nDurations are written as 1500ms, 30s, 5m or 7d, sizes as 64KiB or 4GiB. A word in\n"
    "capitals stands for a name that you choose.\n"
    ".PP\nThis page has the keys of the process. Those of exchanges, queues, retries, policies "
    "and\nusers are in\n.BR bourse\\-topology (5).\n"
    ".SH EXAMPLE\n.nf\n"
    "bourse: 1\n"
    "listeners:\n  amqp: {bind: \"127.0.0.1:5672\"}\n"
    "users:\n  admin:\n    auth: password\n    password\\-file: admin.password\n    role: admin\n"
    "    rights: {configure: \"\", write: \"\", read: \"\"}\n"
    "  app:\n    auth: password\n    password\\-file: app.password\n"
    "    rights: {configure: \"\", write: \"orders\", read: \"billing\"}\n"
    "exchanges:\n  orders: {type: topic}\n"
    "queues:\n  billing: {from: [{exchange: orders, key: \"order.#\"}]}\n"
    ".fi\n";

void
man_put_file(FILE *out)
{
    roff_head(out, "BOURSE.YAML", 5, "File formats", "bourse.yaml",
              "settings, users and topology of the broker");
    fputs(file_head, out);
    put_keys(out, false);
    fputs(".SH FILES\n.TP\n.I /etc/bourse/bourse.yaml\nWhat the packaged service reads.\n"
          ".SH SEE ALSO\n.BR bourse (1),\n.BR bourse\\-topology (5),\n.BR bourse (8)\n",
          out);
}

/* bourse-topology(5) ------------------------------------------------------------------------ */

static const char topology_head[] =
    ".SH DESCRIPTION\n"
    "The part of\n.BR bourse.yaml (5)\nthat says which exchanges and queues a virtual host has, "
    "who\ngets what from where, and who may do what. A queue says itself from which exchanges it\n"
    "takes messages; there are no bindings beside it.\n"
    ".PP\n"
    "What it would take to make a broker what the file says is a plan: \\fBbourse plan\\fR shows\n"
    "it, \\fBbourse apply\\fR carries it out, all of it or nothing, \\fBbourse drift\\fR says "
    "what\n"
    "clients have changed since, and \\fBbourse rollback\\fR goes back. In a plan\n"
    ".RS\n.TP 4\n+\nis made,\n.TP\n~\nchanges in place, with messages and consumers,\n"
    ".TP\n!\nis deleted and made anew, for it cannot change in place,\n"
    ".TP\n\\-\nis deleted.\n.RE\n"
    ".PP\n"
    "What has messages or consumers is not deleted unless \\fB\\-\\-discard\\fR names it, what is\n"
    "under \\fBprotect\\fR not unless \\fB\\-\\-unprotect\\fR names it, and what the file does "
    "not\n"
    "name stays, unless \\fB\\-\\-prune\\fR is given.\n"
    ".SH EXAMPLE\n.nf\n"
    "bourse: 1\n"
    "vhost: shop\n"
    "exchanges:\n"
    "  orders: {type: topic, unrouted: lost}\n"
    "  lost: {type: fanout}\n"
    "  dead: {type: topic}\n"
    "retry:\n"
    "  gentle: {first: 2s, factor: 2, max: 5m, jitter: 20%, attempts: 6, then: dead}\n"
    "queues:\n"
    "  billing:\n"
    "    from: [{exchange: orders, key: \"order.*.placed\"}]\n"
    "    retry: gentle\n"
    "    limits: {max\\-bytes: 2GiB, on\\-full: reject}\n"
    "  unrouted: {from: [{exchange: lost}]}\n"
    "  dlq: {from: [{exchange: dead, key: \"#\"}], ttl: 14d}\n"
    "users:\n"
    "  checkout: {auth: cert, publish: [orders]}\n"
    "  billing: {auth: cert, consume: [billing]}\n"
    "protect: [billing, dlq]\n"
    ".fi\n";

void
man_put_topology(FILE *out)
{
    roff_head(out, "BOURSE-TOPOLOGY", 5, "File formats", "bourse-topology",
              "exchanges, queues, retries, policies and users of a virtual host");
    fputs(topology_head, out);
    put_keys(out, true);
    fputs(".SH SEE ALSO\n.BR bourse (1),\n.BR bourse.yaml (5),\n.BR bourse (8)\n", out);
}

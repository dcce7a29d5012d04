/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/definitions/definitions_users.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdlib.h>

#include "base/assert.h"
#include "broker/names/expression.h"
#include "cli/definitions/rights_words.h"
#include "cli/definitions/yaml_text.h"
#include "config/expression.h"
#include "config/literal.h"

enum { VARIABLE_SIZE = 128, RIGHTS_SIZE_MAX = 256 };

struct writer {
    FILE *out;
    struct definitions *definitions;
    const struct known *known;
    struct map permissions; /* struct definitions_permission of the vhost by user */
    bool has_head;
};

/* A list of names or patterns that an expression stands for. */
struct word_list {
    struct bytes *items;
    size_t count;
};

static bool
has_tag(const struct definitions_user *user, const char *tag)
{
    for (size_t i = 0; i < user->tag_count; i++) {
        if (bytes_equal_text(user->tags[i], tag)) {
            return true;
        }
    }
    return false;
}

/* The strongest that the tags mean; NULL: none. */
static const char *
find_role(const struct definitions_user *user)
{
    if (has_tag(user, "administrator")) {
        return "admin";
    }
    if (has_tag(user, "policymaker")) {
        return "operator";
    }
    return has_tag(user, "monitoring") ? "monitor" : NULL;
}

static void
warn_of_tags(struct writer *writer, const struct definitions_user *user, const char *role)
{
    bool is_only_management = role == NULL && has_tag(user, "management");
    if (is_only_management || has_tag(user, "impersonator")) {
        definitions_warn(writer->definitions, "user \"%.*s\": the tag %s has no role here",
                         BYTES_FORMAT(user->name),
                         is_only_management ? "management" : "impersonator");
    }
}

/* Login --------------------------------------------------------------------------------------- */

/* BOURSE_PASSWORD_ and the name in capitals. */
static void
make_variable(struct bytes name, char out[static VARIABLE_SIZE])
{
    size_t used = (size_t)snprintf(out, VARIABLE_SIZE, "BOURSE_PASSWORD_");
    for (size_t i = 0; i < name.size && used + 1 < VARIABLE_SIZE; i++) {
        out[used++] = isalnum(name.data[i]) ? (char)toupper(name.data[i]) : '_';
    }
    out[used] = '\0';
}

static void
put_login(struct writer *writer, const struct definitions_user *user)
{
    char variable[VARIABLE_SIZE];
    FILE *out = writer->out;
    switch (user->hash_kind) {
    case DEFINITIONS_NO_HASH:
        fputs("    auth: cert\n", out);
        break;
    case DEFINITIONS_MD5:
    case DEFINITIONS_FOREIGN:
        make_variable(user->name, variable);
        fprintf(out,
                "    # Its password did not come along: put one into this variable.\n"
                "    auth: password\n    password-env: %s\n",
                variable);
        break;
    default:
        fputs("    auth: password\n    password-hash: ", out);
        yaml_put_text(out, user->hash);
        fputc('\n', out);
        break;
    }
}

/* Rights -------------------------------------------------------------------------------------- */

/* Whether the file may name it: it is there, or it is a prefix of something. */
static bool
name_is_known(const struct known *known, struct bytes name, bool is_exchange)
{
    if (literal_name_problem(name) != NULL) {
        return false;
    }
    if (name_pattern_is_prefix(name)) {
        return name.size > 1;
    }
    return is_exchange ? known_has_exchange(known, name) || bytes_equal_text(name, "amq.default")
                       : known_has_queue(known, name);
}

static bool
find_names(struct writer *writer, const char *expression, bool is_exchange, struct word_list *list)
{
    if (!rights_find_names(expression, &writer->definitions->arena, &list->items, &list->count)) {
        return false;
    }
    for (size_t i = 0; i < list->count; i++) {
        if (!name_is_known(writer->known, list->items[i], is_exchange)) {
            return false;
        }
    }
    return true;
}

static void
put_list(FILE *out, const struct word_list *list)
{
    fputc('[', out);
    for (size_t i = 0; i < list->count; i++) {
        fputs(i == 0 ? "" : ", ", out);
        yaml_put_text(out, list->items[i]);
    }
    fputc(']', out);
}

static void
put_names(struct writer *writer, const char *key, const struct word_list *list)
{
    if (list->count > 0) {
        fprintf(writer->out, "    %s: ", key);
        put_list(writer->out, list);
        fputc('\n', writer->out);
    }
}

static bool
is_topic_exchange(const struct known *known, struct bytes name)
{
    const struct known_exchange *exchange = map_get(&known->exchange_index, name);
    if (exchange == NULL) {
        return bytes_equal_text(name, "amq.topic") || bytes_equal_text(name, "amq.rabbitmq.trace");
    }
    return strcmp(exchange->is->type, "topic") == 0;
}

/* Whether the words `topics` can say the right: patterns, and every binding key. */
static bool
find_patterns(struct writer *writer, const struct definitions_topic_permission *topic,
              struct word_list *list)
{
    enum { KEY_MAX = 255 };
    if (strcmp(topic->read, ".*") != 0 || !is_topic_exchange(writer->known, topic->exchange) ||
        !rights_find_patterns(topic->write, &writer->definitions->arena, &list->items,
                              &list->count)) {
        return false;
    }
    for (size_t i = 0; i < list->count; i++) {
        if (list->items[i].size > KEY_MAX) {
            return false;
        }
    }
    return true;
}

/* The first topic permission of the user in the vhost from `*at` on; NULL: no more. */
static const struct definitions_topic_permission *
next_topic(const struct writer *writer, const struct definitions_user *user, size_t *at)
{
    const struct definitions *definitions = writer->definitions;
    while (*at < definitions->topic_permissions.count) {
        const struct definitions_topic_permission *topic =
            &definitions->topic_permissions.items[(*at)++];
        if (bytes_equal(topic->user, user->name) &&
            bytes_equal(topic->vhost, writer->known->vhost)) {
            return topic;
        }
    }
    return NULL;
}

/* Whether all topic rights can stand beside words: then each narrows an exchange that is named. */
static bool
topics_are_words(struct writer *writer, const struct definitions_user *user,
                 const struct word_list *publish)
{
    const struct definitions_topic_permission *topic;
    struct word_list patterns;
    for (size_t at = 0; (topic = next_topic(writer, user, &at)) != NULL;) {
        bool is_named = publish == NULL;
        for (size_t i = 0; publish != NULL && i < publish->count; i++) {
            is_named |= name_pattern_matches(publish->items[i], topic->exchange);
        }
        if (!is_named || !find_patterns(writer, topic, &patterns)) {
            return false;
        }
    }
    return true;
}

static void
put_topic_words(struct writer *writer, const struct definitions_user *user)
{
    struct yaml_flow flow = {.out = writer->out};
    const struct definitions_topic_permission *topic;
    for (size_t at = 0; (topic = next_topic(writer, user, &at)) != NULL;) {
        struct word_list patterns = {.count = 0};
        fputs(flow.has_members ? ", " : "    topics: {", writer->out);
        flow.has_members = true;
        yaml_put_text(writer->out, topic->exchange);
        fputs(": ", writer->out);
        (void)find_patterns(writer, topic, &patterns);
        put_list(writer->out, &patterns);
    }
    fputs(flow.has_members ? "}\n" : "", writer->out);
}

/* An expression that cannot be had denies: an empty one does as well. */
static const char *
usable(struct writer *writer, const struct definitions_user *user, const char *which,
       const char *text)
{
    struct expression expression = {.code = NULL};
    struct expression_error error;
    bool is_good = text[0] == '\0' || (strlen(text) <= RIGHTS_SIZE_MAX &&
                                       expression_compile(&expression, bytes_of(text), &error));
    if (is_good) {
        expression_fini(&expression);
        return text;
    }
    definitions_warn(writer->definitions,
                     "user \"%.*s\": the %s expression cannot be used and is left empty, which "
                     "allows nothing",
                     BYTES_FORMAT(user->name), which);
    return "";
}

/* Expressions as they are, under `rights`. */
static void
put_raw_topics(struct writer *writer, const struct definitions_user *user)
{
    const struct definitions_topic_permission *topic;
    bool has_head = false;
    for (size_t at = 0; (topic = next_topic(writer, user, &at)) != NULL;) {
        struct yaml_flow flow = {.out = writer->out};
        fputs(has_head ? "" : "      topics:\n", writer->out);
        has_head = true;
        fputs("        ", writer->out);
        yaml_put_text(writer->out, topic->exchange);
        fputs(": ", writer->out);
        yaml_flow_text(&flow, "write", bytes_of(usable(writer, user, "topic", topic->write)));
        yaml_flow_text(&flow, "read", bytes_of(usable(writer, user, "topic", topic->read)));
        yaml_flow_end(&flow);
        fputc('\n', writer->out);
    }
}

static void
put_raw_rights(struct writer *writer, const struct definitions_user *user,
               const struct definitions_permission *permission, bool topics_have_words)
{
    const struct {
        const char *name, *text;
    } rights[] = {
        {"configure", usable(writer, user, "configure", permission->configure)},
        {"write", usable(writer, user, "write", permission->write)},
        {"read", usable(writer, user, "read", permission->read)},
    };
    fputs("    rights:\n", writer->out);
    for (size_t i = 0; i < ARRAY_LEN(rights); i++) {
        fprintf(writer->out, "      %s: ", rights[i].name);
        yaml_put_text(writer->out, bytes_of(rights[i].text));
        fputc('\n', writer->out);
    }
    if (topics_have_words) {
        put_topic_words(writer, user);
    } else {
        put_raw_topics(writer, user);
    }
}

static void
put_rights(struct writer *writer, const struct definitions_user *user,
           const struct definitions_permission *permission)
{
    struct word_list publish = {.count = 0};
    struct word_list consume = {.count = 0};
    if (permission == NULL) {
        return;
    }
    if (permission->configure[0] == '\0' && find_names(writer, permission->write, true, &publish) &&
        find_names(writer, permission->read, false, &consume) &&
        topics_are_words(writer, user, &publish)) {
        put_names(writer, "publish", &publish);
        put_names(writer, "consume", &consume);
        put_topic_words(writer, user);
        return;
    }
    put_raw_rights(writer, user, permission, topics_are_words(writer, user, NULL));
}

/* Users --------------------------------------------------------------------------------------- */

static void
put_limits(struct writer *writer, const struct definitions_user *user)
{
    struct yaml_flow flow = {.out = writer->out};
    const struct {
        const char *name;
        int64_t value;
    } limits[] = {
        {"max-connections", user->connections_max},
        {"max-channels", user->channels_max},
    };
    if (user->connections_max < 0 && user->channels_max < 0) {
        return;
    }
    fputs("    limits: ", writer->out);
    for (size_t i = 0; i < ARRAY_LEN(limits); i++) {
        if (limits[i].value >= 0) {
            yaml_flow_key(&flow, limits[i].name);
            fprintf(writer->out, "%" PRId64, limits[i].value);
        }
    }
    yaml_flow_end(&flow);
    fputc('\n', writer->out);
}

static void
put_user(struct writer *writer, const struct definitions_user *user)
{
    const char *role = find_role(user);
    fputs(writer->has_head ? "  " : "\nusers:\n  ", writer->out);
    writer->has_head = true;
    yaml_put_text(writer->out, user->name);
    fputs(":\n", writer->out);
    put_login(writer, user);
    put_rights(writer, user, map_get(&writer->permissions, user->name));
    if (role != NULL) {
        fprintf(writer->out, "    role: %s\n", role);
    }
    put_limits(writer, user);
    warn_of_tags(writer, user, role);
}

static bool
has_rights_anywhere(const struct definitions *definitions, struct bytes user)
{
    for (size_t i = 0; i < definitions->permissions.count; i++) {
        if (bytes_equal(definitions->permissions.items[i].user, user)) {
            return true;
        }
    }
    return false;
}

static bool
belongs_here(const struct writer *writer, const struct definitions_user *user)
{
    const struct definitions *definitions = writer->definitions;
    if (map_get(&writer->permissions, user->name) != NULL) {
        return true;
    }
    return bytes_equal(definitions->vhosts.items[0].name, writer->known->vhost) &&
           !has_rights_anywhere(definitions, user->name);
}

static bool
name_is_good(struct writer *writer, const struct definitions_user *user)
{
    const char *problem = literal_name_problem(user->name);
    if (problem != NULL) {
        definitions_warn(writer->definitions, "user \"%.*s\" is left out: the name %s",
                         BYTES_FORMAT(user->name), problem);
    }
    return problem == NULL;
}

void
definitions_write_users(struct definitions *definitions, const struct known *known, FILE *out)
{
    struct writer writer = {.out = out, .definitions = definitions, .known = known};
    map_init(&writer.permissions, (uint64_t)(uintptr_t)definitions);
    for (size_t i = 0; i < definitions->permissions.count; i++) {
        struct definitions_permission *permission = &definitions->permissions.items[i];
        if (bytes_equal(permission->vhost, known->vhost)) {
            map_put(&writer.permissions, permission->user, permission);
        }
    }
    for (size_t i = 0; i < definitions->users.count; i++) {
        const struct definitions_user *user = &definitions->users.items[i];
        if (belongs_here(&writer, user) && name_is_good(&writer, user)) {
            put_user(&writer, user);
        }
    }
    map_fini(&writer.permissions);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/users/rights.h"

#include <stdlib.h>
#include <string.h>

#include "base/buffer.h"
#include "broker/topology/vhost.h"

/* An empty expression matches nothing, nor does one that does not compile. */
static bool
right_compile(struct expression *expression, const char *pattern, struct log *log,
              struct bytes user)
{
    struct expression_error error;
    *expression = (struct expression){.code = NULL};
    if (pattern[0] == '\0' || expression_compile(expression, bytes_of(pattern), &error)) {
        return true;
    }
    char shown[300];
    char name[RESOURCE_TEXT_SIZE];
    log_error(log, "access.bad_expression", "user=%s expression=%s at=%zu reason=\"%s\"",
              log_escape(name, sizeof(name), user),
              log_escape(shown, sizeof(shown), bytes_of(pattern)), error.offset, error.reason);
    return false;
}

void
user_rights_forget_verdicts(struct user_rights *rights)
{
    uint32_t position = 0;
    struct map_entry *entry;
    while ((entry = map_next(&rights->verdicts, &position)) != NULL) {
        free(entry->value);
    }
    uint64_t seed = rights->verdicts.seed;
    map_fini(&rights->verdicts);
    map_init(&rights->verdicts, seed);
}

void
user_rights_free(struct user_rights *rights)
{
    for (size_t i = 0; i < ACCESS_RIGHT_COUNT; i++) {
        expression_fini(&rights->rights[i]);
    }
    for (size_t i = 0; i < rights->topic_count; i++) {
        for (size_t j = 0; j < ACCESS_RIGHT_COUNT; j++) {
            expression_fini(&rights->topics[i].rights[j]);
        }
    }
    free(rights->topics);
    user_rights_forget_verdicts(rights);
    map_fini(&rights->verdicts);
    expression_runner_fini(&rights->runner);
    arena_fini(&rights->arena);
    free(rights);
}

/* Appends `text` so that PCRE2 takes it literally. */
static void
buffer_put_quoted(struct buffer *out, struct bytes text)
{
    for (size_t i = 0; i < text.size; i++) {
        uint8_t octet = text.data[i];
        bool is_word = (octet >= '0' && octet <= '9') || (octet >= 'A' && octet <= 'Z') ||
                       (octet >= 'a' && octet <= 'z') || octet == '_' || octet >= 0x80;
        if (!is_word) {
            buffer_put_u8(out, '\\');
        }
        buffer_put_u8(out, octet);
    }
}

/* Replaces {username} and {vhost} in a topic expression. NULL when there is no memory. */
static char *
topic_expression_expand(const char *pattern, struct bytes user, struct bytes vhost)
{
    struct buffer out;
    buffer_init(&out);
    for (const char *at = pattern; *at != '\0';) {
        if (strncmp(at, "{username}", 10) == 0) {
            buffer_put_quoted(&out, user);
            at += 10;
        } else if (strncmp(at, "{vhost}", 7) == 0) {
            buffer_put_quoted(&out, vhost);
            at += 7;
        } else {
            buffer_put_u8(&out, (uint8_t)*at++);
        }
    }
    buffer_put_u8(&out, 0);
    char *expanded = out.failed ? NULL : xstrdup((const char *)buffer_bytes(&out).data);
    buffer_fini(&out);
    return expanded;
}

static bool
topic_right_compile(struct expression *expression, const char *pattern, struct log *log,
                    struct bytes user, struct bytes vhost)
{
    char *expanded = topic_expression_expand(pattern, user, vhost);
    bool compiled = expanded != NULL && right_compile(expression, expanded, log, user);
    free(expanded);
    return compiled;
}

/* All of them, so that one that does not compile denies and the others are what they say. */
static bool
user_rights_compile_topics(struct user_rights *rights, struct bytes user, struct log *log)
{
    const struct user_grant *given = &rights->given;
    bool is_good = true;
    rights->topics = xalloc(given->topic_count * sizeof(*rights->topics) + 1);
    rights->topic_count = given->topic_count;
    for (size_t i = 0; i < given->topic_count; i++) {
        struct topic_right *topic = &rights->topics[i];
        topic->exchange = given->topics[i].exchange;
        is_good &= topic_right_compile(&topic->rights[ACCESS_WRITE], given->topics[i].write, log,
                                       user, given->vhost);
        is_good &= topic_right_compile(&topic->rights[ACCESS_READ], given->topics[i].read, log,
                                       user, given->vhost);
    }
    return is_good;
}

bool
user_rights_compile(struct user_rights *rights, struct bytes user, struct log *log)
{
    bool is_good = true;
    for (size_t i = 0; i < ACCESS_RIGHT_COUNT; i++) {
        is_good &= right_compile(&rights->rights[i], rights->given.rights[i], log, user);
    }
    return user_rights_compile_topics(rights, user, log) && is_good;
}

static void
user_rights_take_grant(struct user_rights *rights, const struct user_grant *grant)
{
    struct arena *arena = &rights->arena;
    struct config_topic_right *topics =
        arena_alloc(arena, (grant->topic_count + 1) * sizeof(*topics));
    for (size_t i = 0; i < grant->topic_count; i++) {
        topics[i].exchange = arena_copy(arena, grant->topics[i].exchange);
        topics[i].write = arena_strdup(arena, grant->topics[i].write);
        topics[i].read = arena_strdup(arena, grant->topics[i].read);
    }
    rights->given.vhost = arena_copy(arena, grant->vhost);
    for (size_t i = 0; i < ACCESS_RIGHT_COUNT; i++) {
        rights->given.rights[i] = arena_strdup(arena, grant->rights[i]);
    }
    rights->given.topics = topics;
    rights->given.topic_count = grant->topic_count;
}

struct user_rights *
user_rights_new(const struct user_grant *grant, uint64_t seed)
{
    struct user_rights *rights = xalloc(sizeof(*rights));
    user_rights_take_grant(rights, grant);
    map_init(&rights->verdicts, seed);
    if (expression_runner_init(&rights->runner) != STATUS_OK) {
        user_rights_free(rights);
        return NULL;
    }
    return rights;
}

struct user_grant
config_user_grant(const struct config_user *config, struct bytes vhost)
{
    return (struct user_grant){
        .vhost = vhost,
        .rights = {[ACCESS_CONFIGURE] = config->configure,
                   [ACCESS_WRITE] = config->write,
                   [ACCESS_READ] = config->read},
        .topics = config->topics,
        .topic_count = config->topic_count,
    };
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Users: where their password comes from, and what they may do. */
#include "config/users.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "base/assert.h"
#include "config/expression.h"
#include "config/file.h"
#include "config/password_hash.h"
#include "config/report.h"
#include "config/topology.h"

struct compiler {
    struct config *config;
    const struct document *document;
    enum config_purpose purpose;
    const struct config_environment *environment;
};

/* What is missing on this machine may be there on the one that serves. */
static void
report_unavailable(struct compiler *compiler, struct config_mark mark, const char *what,
                   const char *name, const char *why)
{
    if (compiler->purpose == CONFIG_FOR_SERVE) {
        report_error(compiler->config, mark, "%s %s: %s", what, name, why);
    } else {
        report_warning(compiler->config, mark, "%s %s: %s", what, name, why);
    }
}

/* Secrets ------------------------------------------------------------------------------------ */

/* A password as it was read, without its final newline; NULL when it cannot be one, which is
 * reported. */
static const char *
accept_password(struct compiler *compiler, struct config_mark mark, const char *key,
                struct bytes text)
{
    if (text.size > 0 && text.data[text.size - 1] == '\n') {
        text.size--;
    }
    if (text.size > 0 && text.data[text.size - 1] == '\r') {
        text.size--;
    }
    const char *problem = NULL;
    if (text.size == 0) {
        problem = "is empty";
    } else if (text.size > PASSWORD_SIZE_MAX) {
        problem = "is longer than 1,024 octets";
    } else if (memchr(text.data, '\n', text.size) != NULL) {
        problem = "has more than one line";
    } else if (memchr(text.data, 0, text.size) != NULL) {
        problem = "contains a NUL octet";
    }
    if (problem != NULL) {
        report_error(compiler->config, mark, "the password of \"%s\" %s", key, problem);
        return NULL;
    }
    return (const char *)arena_copy(&compiler->config->arena, text).data;
}

static const char *
password_from_file(struct compiler *compiler, const struct setting *setting)
{
    uint8_t content[PASSWORD_SIZE_MAX + 2]; /* CR and LF */
    struct config_mark mark = setting->node->mark;
    const char *path =
        file_resolve(&compiler->config->arena, mark.file, (const char *)setting->value.text.data);
    const char *password = NULL;
    size_t size = 0;
    mode_t mode = 0;
    enum status status = file_read(path, content, sizeof(content), &size, &mode);
    if (status == STATUS_FULL) {
        report_error(compiler->config, mark, "%s is longer than a password of 1,024 octets", path);
    } else if (status != STATUS_OK) {
        report_unavailable(compiler, mark, "cannot read", path, strerrordesc_np(errno));
    } else {
        password = accept_password(compiler, mark, "password-file", bytes_make(content, size));
    }
    if (status == STATUS_OK && S_ISREG(mode) && (mode & (S_IROTH | S_IWOTH)) != 0) {
        report_warning(compiler->config, mark,
                       "%s can be read or written by everybody: chmod o= it", path);
    }
    explicit_bzero(content, sizeof(content));
    return password;
}

static const char *
password_from_variable(struct compiler *compiler, const struct setting *setting)
{
    const char *name = (const char *)setting->value.text.data;
    const char *value = compiler->environment->get_variable(compiler->environment->context, name);
    if (value == NULL) {
        report_unavailable(compiler, setting->node->mark, "the environment variable", name,
                           "not set");
        return NULL;
    }
    return accept_password(compiler, setting->node->mark, "password-env", bytes_of(value));
}

static const char *
checked_hash(struct compiler *compiler, const struct setting *setting)
{
    const char *problem = password_hash_problem(setting->value.text);
    if (problem != NULL) {
        report_error(compiler->config, setting->node->mark, "\"password-hash\" %s", problem);
        return NULL;
    }
    return (const char *)setting->value.text.data;
}

/* Whether the hash itself is there, and not only a word that stands for it. */
static bool
says_hash(const struct document_user *user)
{
    const struct setting *hash = &user->password_hash;
    return hash->node != NULL && !bytes_equal_text(hash->value.text, CONFIG_KEPT_SECRET);
}

static void
compile_login(struct compiler *compiler, const struct document_user *user, struct config_user *out)
{
    const struct setting *sources[] = {&user->password_file, &user->password_env,
                                       &user->password_hash};
    size_t given = 0;
    for (size_t i = 0; i < ARRAY_LEN(sources); i++) {
        given += sources[i]->node != NULL ? 1 : 0;
    }
    if (user->auth.node == NULL) {
        return; /* reported as missing or wrong */
    }
    out->auth = (enum config_auth)user->auth.value.integer;
    if (out->auth == AUTH_CERTIFICATE && given > 0) {
        report_error(compiler->config, user->auth.node->mark,
                     "\"auth: cert\" has no password; a user logs in one way or the other");
        return;
    }
    if (out->auth == AUTH_PASSWORD && given != 1) {
        report_error(compiler->config, user->auth.node->mark,
                     "\"auth: password\" needs exactly one of password-file, password-env and "
                     "password-hash");
        return;
    }
    if (compiler->purpose == CONFIG_FOR_APPLY && given > 0 && !says_hash(user)) {
        out->keeps_password = true;
    } else if (user->password_file.node != NULL) {
        out->password = password_from_file(compiler, &user->password_file);
    } else if (user->password_env.node != NULL) {
        out->password = password_from_variable(compiler, &user->password_env);
    } else if (user->password_hash.node != NULL) {
        out->password_hash = checked_hash(compiler, &user->password_hash);
    }
}

/* Words -------------------------------------------------------------------------------------- */

/* Whether the pattern stands for anything. Long lists are taken to contain it: every pattern would
 * have to walk them. */
static bool
covers_any(const struct named_list *list, struct bytes pattern)
{
    enum { WALKED_MAX = 1000 };
    if (list->count > WALKED_MAX) {
        return true;
    }
    for (size_t i = 0; i < list->count; i++) {
        const struct named *named = list->items[i];
        if (name_pattern_matches(pattern, named->name)) {
            return true;
        }
    }
    return false;
}

/* Reports a name that is nothing. `amq.default` is what rights call the default exchange. */
static void
check_granted_name(struct compiler *compiler, const struct setting *setting, const char *key,
                   bool is_exchange)
{
    const struct document *document = compiler->document;
    const struct named_list *list = is_exchange ? &document->exchanges : &document->queues;
    struct bytes name = setting->value.text;
    if (name_pattern_is_prefix(name)) {
        bool is_builtin = is_exchange && bytes_starts_with(name, "amq.");
        if (name.size == 1) {
            report_warning(compiler->config, setting->node->mark, "\"%s: *\" grants everything",
                           key);
        } else if (!is_builtin && !covers_any(list, name)) {
            report_warning(compiler->config, setting->node->mark,
                           "\"%s\" names \"%.*s\", which nothing begins with", key,
                           BYTES_FORMAT(name));
        }
    } else if (is_exchange) {
        if (!topology_has_exchange(document, name) && !bytes_equal_text(name, "amq.default")) {
            topology_report_unknown_exchange(compiler->config, document, setting->node->mark, key,
                                             name);
        }
    } else if (named_list_find(list, name) == NULL) {
        topology_report_unknown_queue(compiler->config, document, setting->node->mark, key, name);
    }
}

static const char *
compile_names(struct compiler *compiler, const struct setting_list *list, const char *key,
              bool is_exchange)
{
    struct arena *arena = &compiler->config->arena;
    struct bytes *names = arena_alloc(arena, (list->count + 1) * sizeof(*names));
    for (size_t i = 0; i < list->count; i++) {
        check_granted_name(compiler, &list->items[i], key, is_exchange);
        names[i] = list->items[i].value.text;
    }
    return expression_from_names(arena, names, list->count);
}

/* Raw expressions ---------------------------------------------------------------------------- */

static bool
matches_everything(struct bytes expression)
{
    static const char *const forms[] = {".*", "^.*", ".*$", "^.*$", "^", "$"};
    for (size_t i = 0; i < ARRAY_LEN(forms); i++) {
        if (bytes_equal_text(expression, forms[i])) {
            return true;
        }
    }
    return false;
}

static const char *
raw_right(struct compiler *compiler, const struct setting *setting, const char *name)
{
    if (setting->node == NULL) {
        return "";
    }
    if (setting->value.text.size > RIGHTS_SIZE_MAX) {
        report_error(compiler->config, setting->node->mark,
                     "\"%s\" is longer than 256 octets, the most an expression may have", name);
    } else if (matches_everything(setting->value.text)) {
        report_warning(compiler->config, setting->node->mark, "\"%s: %.*s\" grants everything",
                       name, BYTES_FORMAT(setting->value.text));
    }
    return (const char *)setting->value.text.data;
}

static void
compile_rights(struct compiler *compiler, const struct document_user *user, struct config_user *out)
{
    bool has_words = user->publish.node != NULL || user->consume.node != NULL;
    out->rights_mark = user->named.mark;
    if (user->rights.node == NULL) {
        out->configure = "";
        out->write = compile_names(compiler, &user->publish, "publish", true);
        out->read = compile_names(compiler, &user->consume, "consume", false);
        return;
    }
    out->rights_mark = user->rights.node->key_mark;
    if (has_words) {
        report_error(compiler->config, out->rights_mark,
                     "\"rights\" stands instead of \"publish\" and \"consume\", not beside them");
    }
    out->configure = raw_right(compiler, &user->rights.configure, "configure");
    out->write = raw_right(compiler, &user->rights.write, "write");
    out->read = raw_right(compiler, &user->rights.read, "read");
}

/* Topics ------------------------------------------------------------------------------------- */

static bool
may_publish(const struct document_user *user, struct bytes exchange)
{
    for (size_t i = 0; i < user->publish.count; i++) {
        if (name_pattern_matches(user->publish.items[i].value.text, exchange)) {
            return true;
        }
    }
    return user->rights.node != NULL;
}

static bool
is_topic_exchange(const struct document *document, struct bytes name)
{
    const struct document_exchange *exchange = named_list_find(&document->exchanges, name);
    if (exchange == NULL) {
        return bytes_equal_text(name, "amq.topic") || bytes_equal_text(name, "amq.rabbitmq.trace");
    }
    return exchange->type.node != NULL && exchange->type.value.integer == EXCHANGE_TYPE_TOPIC;
}

/* Narrowing that would narrow nothing is an error: someone relies on it. */
static bool
check_topic(struct compiler *compiler, const struct document_user *user,
            const struct named_literals *topic)
{
    struct bytes name = topic->named.name;
    struct config_mark mark = topic->named.mark;
    if (!topology_has_exchange(compiler->document, name)) {
        topology_report_unknown_exchange(compiler->config, compiler->document, mark, "topics",
                                         name);
        return false;
    }
    if (!is_topic_exchange(compiler->document, name)) {
        report_error(compiler->config, mark,
                     "\"topics\" names \"%.*s\", which is no topic exchange: its keys cannot be "
                     "narrowed",
                     BYTES_FORMAT(name));
        return false;
    }
    if (!may_publish(user, name)) {
        report_error(compiler->config, mark,
                     "\"topics\" narrows \"%.*s\", which is not in \"publish\"",
                     BYTES_FORMAT(name));
        return false;
    }
    if (topic->values.count == 0) {
        report_error(compiler->config, mark, "\"topics\" has no pattern for \"%.*s\"",
                     BYTES_FORMAT(name));
        return false;
    }
    return true;
}

static const char *
compile_patterns(struct compiler *compiler, const struct setting_list *list)
{
    struct arena *arena = &compiler->config->arena;
    struct bytes *patterns = arena_alloc(arena, list->count * sizeof(*patterns));
    for (size_t i = 0; i < list->count; i++) {
        patterns[i] = list->items[i].value.text;
    }
    return expression_from_patterns(arena, patterns, list->count);
}

/* Expressions as they are. An exchange that is not there may come later, but hardly ever is meant.
 */
static void
compile_raw_topics(struct compiler *compiler, const struct document_user *user,
                   struct config_user *out)
{
    for (size_t i = 0; i < user->rights.topics.count; i++) {
        const struct document_topic_rights *topic = user->rights.topics.items[i];
        struct bytes name = topic->named.name;
        if (named_list_find(&user->topics, name) != NULL) {
            report_error(compiler->config, topic->named.mark,
                         "\"%.*s\" is narrowed by \"topics\" of the user, too; keep one",
                         BYTES_FORMAT(name));
        } else if (!topology_has_exchange(compiler->document, name)) {
            report_warning(compiler->config, topic->named.mark,
                           "\"topics\" narrows the exchange \"%.*s\", which is not declared here",
                           BYTES_FORMAT(name));
        }
        out->topics[out->topic_count++] = (struct config_topic_right){
            .exchange = name,
            .write = raw_right(compiler, &topic->write, "write"),
            .read = topic->read.node == NULL ? ".*" : (const char *)topic->read.value.text.data,
        };
    }
}

static void
compile_topics(struct compiler *compiler, const struct document_user *user, struct config_user *out)
{
    size_t count = user->topics.count;
    out->topics = arena_alloc(&compiler->config->arena,
                              (count + user->rights.topics.count + 1) * sizeof(*out->topics));
    for (size_t i = 0; i < count; i++) {
        const struct named_literals *topic = user->topics.items[i];
        if (check_topic(compiler, user, topic)) {
            out->topics[out->topic_count++] = (struct config_topic_right){
                .exchange = topic->named.name,
                .write = compile_patterns(compiler, &topic->values),
                .read = ".*",
            };
        }
    }
    compile_raw_topics(compiler, user, out);
}

/* Users -------------------------------------------------------------------------------------- */

static int64_t
limit_or_none(const struct setting *setting)
{
    return setting->node == NULL ? -1 : setting->value.integer;
}

static bool
any_listener_asks_for_certificates(const struct config *config)
{
    const struct config_listener *amqps = &config->listeners[LISTENER_AMQPS];
    return amqps->tls != NULL && amqps->tls->client_cert != CLIENT_CERT_NONE;
}

static void
compile_user(struct compiler *compiler, const struct document_user *user, struct config_user *out)
{
    out->name = user->named.name;
    out->mark = user->named.mark;
    out->role = (enum config_role)user->role.value.integer;
    out->connections_max = limit_or_none(&user->limits.max_connections);
    out->channels_max = limit_or_none(&user->limits.max_channels);
    compile_login(compiler, user, out);
    compile_rights(compiler, user, out);
    compile_topics(compiler, user, out);
    if (user->auth.node != NULL && out->auth == AUTH_CERTIFICATE &&
        !any_listener_asks_for_certificates(compiler->config)) {
        report_warning(compiler->config, user->auth.node->mark,
                       "\"%.*s\" cannot log in: no amqps listener asks for client certificates",
                       BYTES_FORMAT(out->name));
    }
}

static void
check_administrator(struct config *config, const struct document *document)
{
    struct config_mark mark =
        document->users.node != NULL ? document->users.node->key_mark : document->node->mark;
    for (size_t i = 0; i < config->user_count; i++) {
        if (config->users[i].role == ROLE_ADMIN) {
            return;
        }
    }
    report_warning(config, mark, "no user has \"role: admin\"");
}

void
users_compile(struct config *config, const struct document *document, enum config_purpose purpose,
              const struct config_environment *environment)
{
    struct compiler compiler = {config, document, purpose, environment};
    size_t count = document->users.count;
    config->users = arena_alloc(&config->arena, (count + 1) * sizeof(*config->users));
    config->user_count = count;
    for (size_t i = 0; i < count; i++) {
        compile_user(&compiler, document->users.items[i], &config->users[i]);
    }
    check_administrator(config, document);
}

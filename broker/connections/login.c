/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/connections/login.h"

#include "amqp/reply.h"
#include "base/alloc.h"
#include "broker/passwords/credentials.h"
#include "broker/passwords/password.h"
#include "broker/passwords/sasl.h"
#include "broker/passwords/throttle.h"

#include <stdlib.h>

/* A password longer than this is refused unread: no check is worth its memory. */
static const size_t PASSWORD_OCTETS_MAX = 1024;

enum login_mechanism { LOGIN_PLAIN, LOGIN_AMQPLAIN, LOGIN_EXTERNAL };

static const char *const login_mechanism_names[] = {
    [LOGIN_PLAIN] = "PLAIN",
    [LOGIN_AMQPLAIN] = "AMQPLAIN",
    [LOGIN_EXTERNAL] = "EXTERNAL",
};

/* One connection that waits for a verdict. On desk->logins always, and on either desk->waiting or a
 * check's list once its delay is over. */
struct login {
    struct list_link desk_link;
    struct list_link link;
    struct connection *connection;
    enum login_mechanism mechanism;
    struct timer delay;
    uint8_t key[PASSWORD_MAC_SIZE]; /* of user, password and the hash it was last compared with */
    struct bytes user_name;         /* owned, in the same allocation */
    struct bytes password;          /* owned, in the same allocation; wiped */
    size_t size;                    /* of the octets behind the struct */
    uint8_t octets[];
};

/* A check that is with the password threads, and who waits for its verdict. */
struct login_check {
    uint64_t id;
    uint8_t key[PASSWORD_MAC_SIZE];
    struct list logins; /* of login.link */
    /* The password is already known to be wrong (or the user not to exist): the verdict does not
     * count, only the time it takes. */
    bool is_decoy;
};

struct login_desk {
    struct core *core;
    uint8_t mac_key[PASSWORD_MAC_SIZE]; /* random; never leaves the process */
    uint64_t next_check_id;
    struct list logins;      /* of login.desk_link; owns */
    struct list waiting;     /* of login.link: no room at the password threads */
    struct map checks_by_id; /* struct login_check; owns */
    struct map checks_by_key;
    struct credentials *credentials;
    struct throttle *throttle;
};

static void login_start(struct login_desk *desk, struct login *login);

struct login_desk *
login_desk_new(struct core *core)
{
    struct login_desk *desk = xalloc(sizeof(*desk));
    desk->core = core;
    desk->next_check_id = 1;
    core->ports.random.fill(core->ports.random.context, desk->mac_key, sizeof(desk->mac_key));
    list_init(&desk->logins);
    list_init(&desk->waiting);
    map_init(&desk->checks_by_id, core->seed);
    map_init(&desk->checks_by_key, core->seed);
    desk->credentials = credentials_new(core->seed);
    desk->throttle = throttle_new(core->seed);
    return desk;
}

static void
login_free(struct login_desk *desk, struct login *login)
{
    timer_cancel(&desk->core->timers, &login->delay);
    list_remove(&login->link);
    list_remove(&login->desk_link);
    explicit_bzero(login->octets, login->size);
    free(login);
}

static void
login_desk_drop_check(struct login_desk *desk, struct login_check *check)
{
    map_remove(&desk->checks_by_id, bytes_make(&check->id, sizeof(check->id)));
    map_remove(&desk->checks_by_key, bytes_make(check->key, PASSWORD_MAC_SIZE));
    free(check);
}

void
login_desk_free(struct login_desk **desk_pointer)
{
    struct login_desk *desk = *desk_pointer;
    if (desk == NULL) {
        return;
    }
    struct list_link *link;
    while ((link = list_first(&desk->logins)) != NULL) {
        login_free(desk, CONTAINER_OF(link, struct login, desk_link));
    }
    uint32_t position = 0;
    struct map_entry *entry;
    while ((entry = map_next(&desk->checks_by_id, &position)) != NULL) {
        login_desk_drop_check(desk, entry->value);
    }
    map_fini(&desk->checks_by_id);
    map_fini(&desk->checks_by_key);
    credentials_free(&desk->credentials);
    throttle_free(&desk->throttle);
    explicit_bzero(desk->mac_key, sizeof(desk->mac_key));
    free(desk);
    *desk_pointer = NULL;
}

void
login_desk_mac(const struct login_desk *desk, struct bytes user, struct bytes hash,
               struct bytes secret, uint8_t out[static PASSWORD_MAC_SIZE])
{
    password_mac(desk->mac_key, user, hash, secret, out);
}

const char *
login_mechanisms(const struct net_peer *peer)
{
    return peer->is_tls && peer->has_certificate ? "PLAIN AMQPLAIN EXTERNAL" : "PLAIN AMQPLAIN";
}

/* What a password is checked against; password_hash_nobody where there is nothing to check. */
static const char *
login_hash_of(const struct user *user)
{
    return user != NULL && user->password_hash != NULL ? user->password_hash : password_hash_nobody;
}

/* Whether this user may log in that way from where the connection comes. */
static bool
login_user_may(const struct connection *connection, const struct user *user, enum config_auth auth)
{
    return user != NULL && !user->is_disabled && user->auth == auth &&
           (!user->loopback_only || connection->peer->is_loopback);
}

static const struct user *
login_find_user(const struct login *login)
{
    return core_find_user(login->connection->core, login->user_name);
}

/* What is remembered, and what equal checks share: the hash is part of it, so that a changed
 * password, or a check that only takes time, is another question. */
static void
login_make_key(const struct login_desk *desk, const struct login *login, const char *hash,
               uint8_t out[static PASSWORD_MAC_SIZE])
{
    password_mac(desk->mac_key, login->user_name, bytes_of(hash), login->password, out);
}

static void
login_throttle_key(const struct login *login, char kind, char out[static 300],
                   struct bytes *key_out)
{
    struct bytes what = kind == 'u' ? login->user_name : bytes_of(login->connection->peer->address);
    size_t size = what.size < 298 ? what.size : 298;
    out[0] = kind;
    memcpy(out + 1, what.data, size);
    *key_out = bytes_make(out, 1 + size);
}

static void
login_note_outcome(struct login_desk *desk, const struct login *login, bool matches)
{
    static const char kinds[] = {'u', 's'};
    for (size_t i = 0; i < sizeof(kinds); i++) {
        char text[300];
        struct bytes key;
        login_throttle_key(login, kinds[i], text, &key);
        if (matches) {
            throttle_succeeded(desk->throttle, key);
        } else {
            throttle_failed(desk->throttle, key, desk->core->now.monotonic_ms);
        }
    }
}

static uint64_t
login_due_ms(const struct login_desk *desk, const struct login *login)
{
    static const char kinds[] = {'u', 's'};
    uint64_t due_ms = 0;
    for (size_t i = 0; i < sizeof(kinds); i++) {
        char text[300];
        struct bytes key;
        login_throttle_key(login, kinds[i], text, &key);
        uint64_t until = throttle_due_ms(desk->throttle, key, desk->core->now.monotonic_ms);
        due_ms = until > due_ms ? until : due_ms;
    }
    return due_ms;
}

static void
login_log_refusal(const struct login *login)
{
    char user[300];
    log_limited(login->connection->core->log, LOG_LEVEL_WARN, "login.refused",
                "conn=\"%s\" user=%s mechanism=%s", login->connection->name,
                log_escape(user, sizeof(user), login->user_name),
                login_mechanism_names[login->mechanism]);
}

/* The end of a login, whichever way; frees it before the connection is told. */
static void
login_finish(struct login_desk *desk, struct login *login, bool matches)
{
    struct connection *connection = login->connection;
    struct user *user = core_find_user(desk->core, login->user_name);
    enum login_mechanism mechanism = login->mechanism;
    matches = matches && login_user_may(connection, user, AUTH_PASSWORD);
    login_note_outcome(desk, login, matches);
    if (!matches) {
        login_log_refusal(login);
    }
    login_free(desk, login);
    if (matches) {
        connection_login_succeeded(connection, user);
    } else {
        connection_login_failed(connection, login_mechanism_names[mechanism]);
    }
}

/* Hands a check to the password threads and puts the login on its list. False: no room. */
static bool
login_submit(struct login_desk *desk, struct login *login, const char *hash, bool is_decoy)
{
    login_make_key(desk, login, hash, login->key);
    struct bytes key = bytes_make(login->key, PASSWORD_MAC_SIZE);
    struct login_check *check = map_get(&desk->checks_by_key, key);
    if (check == NULL) {
        struct password_port *port = &desk->core->ports.password;
        if (port->check(port->context, desk->next_check_id, login->password, hash) != STATUS_OK) {
            return false;
        }
        check = xalloc(sizeof(*check));
        check->id = desk->next_check_id++;
        check->is_decoy = is_decoy;
        memcpy(check->key, login->key, PASSWORD_MAC_SIZE);
        list_init(&check->logins);
        map_put(&desk->checks_by_id, bytes_make(&check->id, sizeof(check->id)), check);
        map_put(&desk->checks_by_key, bytes_make(check->key, PASSWORD_MAC_SIZE), check);
    }
    list_append(&check->logins, &login->link);
    return true;
}

static void
login_submit_or_wait(struct login_desk *desk, struct login *login, const char *hash, bool is_decoy)
{
    if (!login_submit(desk, login, hash, is_decoy)) {
        list_append(&desk->waiting, &login->link);
    }
}

static bool
login_matches_secret(const struct login_desk *desk, const struct login *login,
                     const struct user *user)
{
    uint8_t mac[PASSWORD_MAC_SIZE];
    password_mac(desk->mac_key, login->user_name, (struct bytes){.data = NULL}, login->password,
                 mac);
    return password_mac_equal(mac, user->secret_mac);
}

/* Right, and known without a slow check: then nobody who guesses beside it can make it wait. */
static bool
login_is_known_right(struct login_desk *desk, struct login *login)
{
    const struct user *user = login_find_user(login);
    login_make_key(desk, login, login_hash_of(user), login->key);
    return login_user_may(login->connection, user, AUTH_PASSWORD) &&
           (user->has_secret
                ? login_matches_secret(desk, login, user)
                : credentials_hold(desk->credentials, login->key, desk->core->now.monotonic_ms));
}

/* The login's delay is over: decide now, or ask the threads. A wrong password takes as long as a
 * slow check whatever the user is, so that time tells nothing either. */
static void
login_start(struct login_desk *desk, struct login *login)
{
    const struct user *user = login_find_user(login);
    if (login_is_known_right(desk, login)) {
        login_finish(desk, login, true);
        return;
    }
    bool is_decoy = !login_user_may(login->connection, user, AUTH_PASSWORD) || user->has_secret;
    login_submit_or_wait(desk, login, is_decoy ? password_hash_nobody : login_hash_of(user),
                         is_decoy);
}

static void
login_on_delay_over(struct timer *timer, void *context)
{
    struct login *login = CONTAINER_OF(timer, struct login, delay);
    login_start(context, login);
}

static struct login *
login_new(struct login_desk *desk, struct connection *connection, enum login_mechanism mechanism,
          struct bytes user_name, struct bytes password)
{
    size_t size = user_name.size + password.size;
    struct login *login = xalloc(sizeof(*login) + size);
    login->connection = connection;
    login->mechanism = mechanism;
    connection->mechanism = login_mechanism_names[mechanism];
    login->size = size;
    memcpy(login->octets, user_name.data, user_name.size);
    memcpy(login->octets + user_name.size, password.data, password.size);
    login->user_name = bytes_make(login->octets, user_name.size);
    login->password = bytes_make(login->octets + user_name.size, password.size);
    list_append(&desk->logins, &login->desk_link);
    return login;
}

/* Checks a user and password; the outcome may come before this returns. */
static void
login_check_password(struct login_desk *desk, struct connection *connection,
                     enum login_mechanism mechanism, struct bytes user_name, struct bytes password)
{
    struct login *login = login_new(desk, connection, mechanism, user_name, password);
    if (login_is_known_right(desk, login)) {
        login_finish(desk, login, true);
        return;
    }
    uint64_t due_ms = login_due_ms(desk, login);
    if (due_ms == 0) {
        login_start(desk, login);
    } else {
        timer_arm(&desk->core->timers, &login->delay, due_ms, login_on_delay_over, desk);
    }
}

/* EXTERNAL: the name comes from the verified certificate; the response is not looked at. */
static void
login_check_certificate(struct connection *connection)
{
    struct core *core = connection->core;
    connection->mechanism = login_mechanism_names[LOGIN_EXTERNAL];
    struct bytes name = bytes_of(connection->peer->user);
    struct user *user = name.size > 0 ? core_find_user(core, name) : NULL;
    if (connection->peer->has_certificate && login_user_may(connection, user, AUTH_CERTIFICATE)) {
        connection_login_succeeded(connection, user);
        return;
    }
    char shown[NET_SUBJECT_SIZE + 16];
    log_limited(core->log, LOG_LEVEL_WARN, "login.refused",
                "conn=\"%s\" user=%s mechanism=EXTERNAL", connection->name,
                log_escape(shown, sizeof(shown), name));
    connection_login_failed(connection, "EXTERNAL");
}

static enum status
login_fault_mechanism(struct bytes mechanism, struct fault *fault)
{
    bool is_known = bytes_equal_text(mechanism, "EXTERNAL");
    size_t size = bytes_utf8_prefix(mechanism, 64);
    return fault_connection(fault, REPLY_COMMAND_INVALID, "%s authentication mechanism '%.*s'",
                            is_known ? "invalid" : "unknown", (int)size,
                            (const char *)mechanism.data);
}

static enum status
login_begin_password(struct connection *connection, enum login_mechanism mechanism,
                     struct bytes response, struct fault *fault)
{
    struct bytes user;
    struct bytes password;
    bool is_good = mechanism == LOGIN_PLAIN ? sasl_parse_plain(response, &user, &password)
                                            : sasl_parse_amqplain(response, &user, &password);
    if (!is_good || user.size > UINT8_MAX || password.size > PASSWORD_OCTETS_MAX) {
        return fault_connection(fault, REPLY_SYNTAX_ERROR,
                                "response of authentication mechanism %s is invalid",
                                login_mechanism_names[mechanism]);
    }
    login_check_password(connection->core->logins, connection, mechanism, user, password);
    return STATUS_OK;
}

enum status
login_begin(struct connection *connection, struct bytes mechanism, struct bytes response,
            struct fault *fault)
{
    if (bytes_equal_text(mechanism, "PLAIN")) {
        return login_begin_password(connection, LOGIN_PLAIN, response, fault);
    }
    if (bytes_equal_text(mechanism, "AMQPLAIN")) {
        return login_begin_password(connection, LOGIN_AMQPLAIN, response, fault);
    }
    if (!bytes_equal_text(mechanism, "EXTERNAL") || !connection->peer->is_tls) {
        return login_fault_mechanism(mechanism, fault);
    }
    login_check_certificate(connection);
    return STATUS_OK;
}

void
login_forget(struct connection *connection)
{
    struct login_desk *desk = connection->core->logins;
    LIST_FOR_EACH(&desk->logins, link)
    {
        struct login *login = CONTAINER_OF(link, struct login, desk_link);
        if (login->connection == connection) {
            login_free(desk, login);
        }
    }
}

/* A fast hash said no: the slow one that nobody passes takes the time that is still missing. */
static bool
login_needs_decoy(const struct login *login, bool matches, bool was_decoy)
{
    return !matches && !was_decoy && !password_hash_is_slow(login_hash_of(login_find_user(login)));
}

/* The user's password was changed while the old one was being checked. */
static bool
login_is_stale(const struct login_desk *desk, const struct login *login)
{
    uint8_t key[PASSWORD_MAC_SIZE];
    login_make_key(desk, login, login_hash_of(login_find_user(login)), key);
    return !password_mac_equal(key, login->key);
}

static void
login_take_verdict(struct login_desk *desk, struct login *login, bool matches, bool was_decoy)
{
    if (!was_decoy && login_is_stale(desk, login)) {
        login_start(desk, login);
    } else if (login_needs_decoy(login, matches, was_decoy)) {
        login_submit_or_wait(desk, login, password_hash_nobody, true);
    } else {
        login_finish(desk, login, matches);
    }
}

static void
login_desk_start_waiting(struct login_desk *desk)
{
    struct list waiting;
    list_init(&waiting);
    struct list_link *link;
    while ((link = list_pop(&desk->waiting)) != NULL) {
        list_append(&waiting, link);
    }
    while ((link = list_pop(&waiting)) != NULL) {
        login_start(desk, CONTAINER_OF(link, struct login, link));
    }
}

void
login_desk_on_verdict(struct login_desk *desk, uint64_t id, bool matches)
{
    struct login_check *check = map_get(&desk->checks_by_id, bytes_make(&id, sizeof(id)));
    assert(check != NULL);
    matches = matches && !check->is_decoy;
    if (matches) {
        credentials_add(desk->credentials, check->key, desk->core->now.monotonic_ms);
    }
    struct list logins;
    list_init(&logins);
    struct list_link *link;
    while ((link = list_pop(&check->logins)) != NULL) {
        list_append(&logins, link);
    }
    bool was_decoy = check->is_decoy;
    login_desk_drop_check(desk, check);
    while ((link = list_pop(&logins)) != NULL) {
        login_take_verdict(desk, CONTAINER_OF(link, struct login, link), matches, was_decoy);
    }
    login_desk_start_waiting(desk);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Who asks, and whether that one may: by the route's row, and by what the core knows. The password
 * goes the way of AMQP's logins, with their cache and their delays. */
#include <event2/http.h>
#include <stdlib.h>

#include "amqp/reply.h"
#include "base/alloc.h"
#include "broker/connections/house.h"
#include "broker/topology/vhost.h"
#include "broker/users/access.h"
#include "management/http/http_check.h"
#include "management/http/server.h"

enum admission_verdict {
    ADMITTED,
    NOT_LOGGED_IN, /* no such user with that password */
    NOT_ABLE,      /* the role does not allow it */
    NOT_IN_VHOST,  /* no rights there */
    NO_SUCH_VHOST,
    SESSION_ENDED, /* the user has changed since it began */
};

struct admission {
    struct call_ask ask;
    struct net_peer *peer; /* owned until the login begins */
    struct house *house;   /* owned; NULL: no login is under way */
    struct buffer secret;  /* user and password; wiped */
    struct bytes user, password;
    const struct route *route;
    struct bytes vhost; /* data NULL: none is asked for */
    bool is_house;
    const struct call_user *known; /* signed in before, in the call's arena; NULL: by password */
    enum admission_verdict verdict;
    struct call_user admitted;
};

/* In the core --------------------------------------------------------------------------------- */

/* By rights: with the one who looks at everything and changes nothing, by being there. */
static enum admission_verdict
judge_vhost(const struct admission *admission, struct core *core, const struct user *user)
{
    if (admission->vhost.data == NULL) {
        return ADMITTED;
    }
    bool exists = core_find_vhost(core, admission->vhost) != NULL;
    uint8_t abilities = admission->admitted.abilities;
    bool only_looks = admission->route->method == ROUTE_GET;
    bool may_all = (abilities & (only_looks ? ABILITY_SEE_ALL : ABILITY_NONE)) != 0 ||
                   admission->route->needs == ABILITY_ADMIN;
    if (user == NULL || access_may_enter(user, admission->vhost)) {
        return exists ? ADMITTED : NO_SUCH_VHOST;
    }
    if (!exists && (abilities & ABILITY_SEE_ALL) != 0) {
        return NO_SUCH_VHOST;
    }
    return may_all && exists ? ADMITTED : NOT_IN_VHOST;
}

/* `user` NULL: the house. */
static enum admission_verdict
judge(struct admission *admission, struct core *core, const struct user *user)
{
    struct call_user *admitted = &admission->admitted;
    admitted->abilities = user == NULL ? ABILITY_ALL : abilities_of(user);
    if (user != NULL) {
        size_t size = user->name.size < CALL_USER_SIZE ? user->name.size : CALL_USER_SIZE - 1;
        memcpy(admitted->name, user->name.data, size);
        admitted->id = user->id;
        admitted->version = user->version;
    }
    if ((admitted->abilities & (uint8_t)admission->route->needs) == 0) {
        return NOT_ABLE;
    }
    return judge_vhost(admission, core, user);
}

static enum admission_verdict
judge_known(struct admission *admission, struct core *core)
{
    const struct call_user *known = admission->known;
    const struct user *user = core_find_user(core, bytes_of(known->name));
    if (user == NULL || user->is_disabled || user->id != known->id ||
        user->version != known->version) {
        return SESSION_ENDED;
    }
    return judge(admission, core, user);
}

static void
begin_login(struct admission *admission, struct core *core)
{
    admission->house = house_new(core, admission->peer);
    admission->peer = NULL;
    house_login(admission->house, admission->user, admission->password);
}

static enum request_progress
admission_step(struct request *request, struct core *core, uint32_t *budget)
{
    struct admission *admission = CONTAINER_OF(request, struct admission, ask.desk.request);
    (void)budget;
    if (admission->is_house) {
        admission->verdict = judge(admission, core, NULL);
        return REQUEST_DONE;
    }
    if (admission->known != NULL) {
        admission->verdict = judge_known(admission, core);
        return REQUEST_DONE;
    }
    if (admission->house == NULL) {
        begin_login(admission, core);
    }
    if (!house_is_answered(admission->house)) {
        return REQUEST_WAITING;
    }
    admission->verdict = admission->house->answer.reply_code != 0
                             ? NOT_LOGGED_IN
                             : judge(admission, core, house_user(admission->house));
    house_free(&admission->house);
    return REQUEST_DONE;
}

static void
admission_abandon(struct request *request, struct core *core)
{
    struct admission *admission = CONTAINER_OF(request, struct admission, ask.desk.request);
    (void)core;
    house_free(&admission->house);
}

/* Back on the admin thread --------------------------------------------------------------------- */

static void
refuse_login(struct call *call, const char *reason)
{
    if (call->http != NULL && !http_is_of_browser(call->http)) {
        call_add_header(call, "WWW-Authenticate", BASIC_REALM);
    }
    call_fail(call, 401, "%s", reason);
}

static void
admission_then(struct call *call, struct call_ask *ask)
{
    const struct admission *admission = CONTAINER_OF(ask, struct admission, ask);
    call->user = admission->admitted;
    switch (admission->verdict) {
    case ADMITTED:
        call->route->handle(call);
        break;
    case NOT_LOGGED_IN:
        refuse_login(call, "Login failed");
        break;
    case NOT_ABLE:
        call_fail(call, 401, "user '%s' has no role that allows this: %s", call->user.name,
                  call->route->summary);
        break;
    case NOT_IN_VHOST:
        call_fail(call, 401, "user '%s' has no rights in vhost '%.*s'", call->user.name,
                  BYTES_FORMAT(admission->vhost));
        break;
    case SESSION_ENDED:
        sessions_end(&call->management->sessions, call->session);
        refuse_login(call, "the user has changed: sign in again");
        break;
    case NO_SUCH_VHOST:
        call_fail(call, 404, "Not Found: vhost '%.*s'", BYTES_FORMAT(admission->vhost));
        break;
    }
}

static void
admission_free(struct call_ask *ask)
{
    struct admission *admission = CONTAINER_OF(ask, struct admission, ask);
    if (admission->secret.data != NULL) {
        explicit_bzero(admission->secret.data, admission->secret.capacity);
    }
    buffer_fini(&admission->secret);
    free(admission->peer);
    free(admission);
}

/* Who asks for another machine's name, or through a proxy, comes from elsewhere: a user who may
 * come from this machine only is not let in for the page of somebody who has had his own name mean
 * this machine. */
static struct net_peer *
copy_peer(const struct call *call, const struct server_connection *connection)
{
    struct net_peer *peer = xalloc(sizeof(*peer));
    *peer = connection->peer;
    peer->is_loopback =
        peer->is_loopback && (connection->port_kind == PORT_CONTROL || http_is_local(call->http));
    return peer;
}

static struct admission *
admission_new(struct call *call)
{
    struct admission *admission = xalloc(sizeof(*admission));
    admission->ask.desk.request.step = admission_step;
    admission->ask.desk.request.abandon = admission_abandon;
    admission->ask.then = admission_then;
    admission->ask.free = admission_free;
    admission->route = call->route;
    if ((call->route->flags & ROUTE_IN_VHOST) != 0) {
        admission->vhost = call_name(call, 0);
    }
    return admission;
}

/* Takes what the core may say of the session: it may end meanwhile. */
static void
be_known(struct admission *admission, struct call *call, const struct call_user *user)
{
    struct call_user *known = arena_alloc(&call->arena, sizeof(*known));
    *known = *user;
    admission->known = known;
}

void
admission_begin_for(struct call *call, const struct call_user *user)
{
    struct admission *admission = admission_new(call);
    admission->is_house = user->name[0] == '\0';
    be_known(admission, call, user);
    call_ask(call, &admission->ask);
}

/* By a password, or as the house. */
static void
begin_login_call(struct call *call, const struct server_connection *connection,
                 struct admission *admission)
{
    admission->peer = copy_peer(call, connection);
    admission->ask.too_late = "the password was not checked in time: after failed logins the next "
                              "one of that user, or from that address, waits up to 30 seconds";
    call_ask(call, &admission->ask);
}

/* By the session of the console. False: there is none, or it was refused. */
static bool
begin_by_session(struct call *call, const struct server_connection *connection)
{
    char id[COOKIE_SIZE];
    struct sessions *sessions = &call->management->sessions;
    if (!http_session_cookie(call->http, connection->peer.is_tls, id)) {
        return false;
    }
    const struct session *session = sessions_use(sessions, id, server_now_ms());
    if (session == NULL) {
        return false;
    }
    const char *proof =
        evhttp_find_header(evhttp_request_get_input_headers(call->http), "X-Bourse-CSRF");
    if (call->route->method != ROUTE_GET &&
        (!session_is_proven(session, proof) || http_is_of_other_origin(call->http))) {
        call_fail(call, 403,
                  "a change by a session needs the header X-Bourse-CSRF of that session");
        return true;
    }
    memcpy(call->session, session->id, sizeof(call->session));
    admission_begin_for(call, &session->user);
    return true;
}

/* User and password of a body {"name": ..., "password": ...}. */
static bool
read_sign_in(struct call *call, struct admission *admission)
{
    json_t *json = call_json(call);
    const char *name = json == NULL ? NULL : json_string_value(json_object_get(json, "name"));
    json_t *password = json == NULL ? NULL : json_object_get(json, "password");
    if (json == NULL) {
        return false;
    }
    if (name == NULL || !json_is_string(password)) {
        call_fail(call, 400, "signing in takes a name and a password");
        return false;
    }
    size_t name_size = strlen(name);
    buffer_put(&admission->secret, name, name_size);
    buffer_put(&admission->secret, json_string_value(password), json_string_length(password));
    if (admission->secret.failed) {
        call_fail(call, 503, "there is no memory for it");
        return false;
    }
    struct bytes both = buffer_bytes(&admission->secret);
    admission->user = bytes_make(both.data, name_size);
    admission->password = bytes_make(both.data + name_size, both.size - name_size);
    return true;
}

/* A password may cross a plain connection within this machine only. */
static void
begin_sign_in(struct call *call, const struct server_connection *connection)
{
    const struct net_peer *peer = &connection->peer;
    if (!peer->is_tls && !peer->is_loopback) {
        call_fail(call, 403, "signing in from another machine needs https");
        return;
    }
    if (http_is_of_other_origin(call->http)) {
        call_fail(call, 403, "a page of another site may not ask");
        return;
    }
    struct admission *admission = admission_new(call);
    if (!read_sign_in(call, admission)) {
        admission_free(&admission->ask);
        return;
    }
    begin_login_call(call, connection, admission);
}

void
admission_begin(struct call *call, const struct server_connection *connection)
{
    bool is_malformed = false;
    if ((call->route->flags & ROUTE_OPEN) != 0) {
        call->route->handle(call);
        return;
    }
    if ((call->route->flags & ROUTE_OF_SESSION) != 0 && call->route->method == ROUTE_POST) {
        begin_sign_in(call, connection);
        return;
    }
    struct admission *admission = admission_new(call);
    bool has_credentials = http_credentials(call->http, &admission->secret, &admission->user,
                                            &admission->password, &is_malformed);
    admission->is_house = connection->is_house && !has_credentials && !is_malformed;
    if (has_credentials || admission->is_house) {
        begin_login_call(call, connection, admission);
        return;
    }
    admission_free(&admission->ask);
    if (!is_malformed && begin_by_session(call, connection)) {
        return;
    }
    refuse_login(call, is_malformed ? "the Authorization header is no Basic credentials"
                                    : "Not logged in");
}

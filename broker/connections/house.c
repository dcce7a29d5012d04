/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/connections/house.h"

#include <stdlib.h>

#include "amqp/properties.h"
#include "amqp/reply.h"
#include "base/alloc.h"
#include "broker/channels/channel.h"
#include "broker/connections/login.h"
#include "broker/topology/vhost.h"
#include "broker/users/access.h"

enum { HOUSE_CHANNEL = 1 };

static const char HOUSE_NAME[] = "house";

struct user *
core_house_user(struct core *core)
{
    if (core->house_user == NULL) {
        struct user *user = xalloc(sizeof(*user));
        user->name = bytes_make(xstrdup(HOUSE_NAME), sizeof(HOUSE_NAME) - 1);
        user->role = ROLE_ADMIN;
        user->has_all_rights = true;
        user->connections_max = -1;
        user->channels_max = -1;
        map_init(&user->rights, core->seed);
        buffer_init(&user->record);
        core->house_user = user;
    }
    return core->house_user;
}

struct house *
house_new(struct core *core, struct net_peer *peer)
{
    struct house *house = xalloc(sizeof(*house));
    house->core = core;
    house->is_answered = true;
    buffer_init(&house->octets);
    struct connection *connection =
        connection_new_for_house(core, house, core->next_house_link++, peer);
    connection->capabilities = CAPABILITY_AUTHENTICATION_FAILURE_CLOSE;
    map_put(&core->connections, bytes_make(&connection->link, sizeof(connection->link)),
            connection);
    house->connection = connection;
    return house;
}

void
house_free(struct house **house_pointer)
{
    struct house *house = *house_pointer;
    if (house == NULL) {
        return;
    }
    struct connection *connection = house->connection;
    map_remove(&house->core->connections, bytes_make(&connection->link, sizeof(connection->link)));
    house->core->recent = NULL;
    connection_free(&connection);
    buffer_fini(&house->octets);
    free(house);
    *house_pointer = NULL;
}

/* Answers ------------------------------------------------------------------------------------ */

/* Something may be done with it in the next tick. */
static void
house_set_answered(struct house *house)
{
    house->is_answered = true;
    house->core->requests_go_on = true;
}

static void
house_refuse(struct house *house, uint16_t reply_code, struct bytes text)
{
    size_t size = bytes_utf8_prefix(text, sizeof(house->answer.reply_text) - 1);
    house->answer.reply_code = reply_code;
    memcpy(house->answer.reply_text, text.data, size);
    house->answer.reply_text[size] = '\0';
    house_set_answered(house);
}

static void
house_refuse_by(struct house *house, const struct fault *fault)
{
    char text[REPLY_TEXT_SIZE];
    house_refuse(house, fault->reply_code, reply_text(fault, text));
}

/* Keeps what was said; its views point into the copy. */
static bool
house_keep_method(struct house *house, struct bytes payload)
{
    struct fault fault;
    buffer_clear(&house->octets);
    buffer_put_bytes(&house->octets, payload);
    return !house->octets.failed &&
           method_decode(&house->answer.method, buffer_bytes(&house->octets), &fault) == STATUS_OK;
}

static void
house_refuse_without_memory(struct house *house)
{
    struct fault fault;
    (void)fault_connection(&fault, REPLY_RESOURCE_ERROR, "no memory for the answer");
    house_refuse_by(house, &fault);
}

static void
house_take_method(struct house *house, struct bytes payload)
{
    UNINITIALIZED struct method method;
    struct fault fault;
    enum status status = method_decode(&method, payload, &fault);
    assert(status == STATUS_OK);
    switch (method.id) {
    case METHOD_CHANNEL_CLOSE:
        house_refuse(house, method.channel_close.reply_code, method.channel_close.reply_text);
        break;
    case METHOD_CONNECTION_CLOSE:
        house_refuse(house, method.connection_close.reply_code, method.connection_close.reply_text);
        break;
    case METHOD_CONNECTION_TUNE: /* the login has succeeded */
        house_set_answered(house);
        break;
    case METHOD_CHANNEL_OPEN_OK:
    case METHOD_CONFIRM_SELECT_OK:
    case METHOD_CONNECTION_BLOCKED:
    case METHOD_CONNECTION_UNBLOCKED:
        break;
    default:
        if (house_keep_method(house, payload)) {
            house_set_answered(house);
        } else {
            house_refuse_without_memory(house);
        }
        break;
    }
}

/* Where a part of a copied content lies in the copy. */
static struct bytes
house_view(const struct house *house, size_t *at, size_t size)
{
    struct bytes octets = buffer_bytes(&house->octets);
    struct bytes view = bytes_make(octets.data + *at, size);
    *at += size;
    return view;
}

/* The method lies in front of the content in one buffer, and is decoded when that grows no more. */
static void
house_keep_message(struct house *house, struct bytes payload, const struct content *content)
{
    struct house_answer *answer = &house->answer;
    struct fault fault;
    buffer_clear(&house->octets);
    buffer_put_bytes(&house->octets, payload);
    buffer_put_bytes(&house->octets, content_exchange(content));
    buffer_put_bytes(&house->octets, content_routing_key(content));
    buffer_put_bytes(&house->octets, content_properties(content));
    buffer_put_bytes(&house->octets, content_body(content));
    if (house->octets.failed) {
        house_refuse_without_memory(house);
        return;
    }
    size_t at = 0;
    struct bytes copied = house_view(house, &at, payload.size);
    answer->exchange = house_view(house, &at, content->exchange_size);
    answer->routing_key = house_view(house, &at, content->routing_key_size);
    answer->properties = house_view(house, &at, content->properties_size);
    answer->body = house_view(house, &at, content->body_size);
    enum status status = method_decode(&answer->method, copied, &fault);
    assert(status == STATUS_OK);
    house_set_answered(house);
}

/* A returned message is only noted: its confirm follows. */
static void
house_take_content(struct house *house, const struct net_action *action)
{
    enum method_id id;
    struct fault fault;
    enum status status = method_identify(action->content.payload, &id, &fault);
    assert(status == STATUS_OK);
    if (id == METHOD_BASIC_RETURN) {
        house->answer.was_returned = true;
    } else {
        house_keep_message(house, action->content.payload, action->content.content);
    }
}

void
house_take_action(struct house *house, const struct net_action *action)
{
    switch (action->type) {
    case NET_ACTION_METHOD:
        house_take_method(house, action->method.payload);
        break;
    case NET_ACTION_CONTENT:
        house_take_content(house, action);
        break;
    case NET_ACTION_CLOSE:
        if (!house->is_answered) {
            house_refuse(house, REPLY_CONNECTION_FORCED, bytes_of("CONNECTION_FORCED"));
        }
        break;
    case NET_ACTION_DELIVER: /* it has no consumers */
    case NET_ACTION_TUNE:
    case NET_ACTION_ESTABLISHED:
    case NET_ACTION_PAUSE:
    case NET_ACTION_RESUME:
    case NET_ACTION_CHUNK_RETURNED:
        break;
    }
}

/* Logging in --------------------------------------------------------------------------------- */

static void
house_begin(struct house *house)
{
    assert(house->is_answered);
    house->is_answered = false;
    house->answer = (struct house_answer){.reply_code = 0};
}

void
house_login(struct house *house, struct bytes user, struct bytes password)
{
    struct connection *connection = house->connection;
    struct buffer response;
    struct fault fault;
    buffer_init(&response);
    buffer_put_u8(&response, 0);
    buffer_put_bytes(&response, user);
    buffer_put_u8(&response, 0);
    buffer_put_bytes(&response, password);
    house_begin(house);
    connection->state = CONNECTION_CHECKING;
    if (response.failed) {
        house_refuse_without_memory(house);
    } else if (login_begin(connection, bytes_of("PLAIN"), buffer_bytes(&response), &fault) !=
               STATUS_OK) {
        house_refuse_by(house, &fault);
    }
    if (response.data != NULL) {
        explicit_bzero(response.data, response.capacity);
    }
    buffer_fini(&response);
}

void
house_log_in_as(struct house *house, struct user *user)
{
    assert(house->connection->user == NULL);
    house->connection->user = user;
    user_ref(user);
    house->connection->state = CONNECTION_OPENING;
}

static void
house_call_now(struct house *house, const struct method *method)
{
    struct buffer payload;
    buffer_init(&payload);
    method_encode(&payload, method);
    if (payload.failed) {
        house_refuse_without_memory(house);
    } else {
        connection_on_method(house->connection, HOUSE_CHANNEL, buffer_bytes(&payload));
    }
    buffer_fini(&payload);
}

/* The channel notes nobody's failure: what is open when it ends was only looked at. */
static void
house_open_channel(struct house *house)
{
    struct method open = {.id = METHOD_CHANNEL_OPEN};
    house_begin(house);
    house_call_now(house, &open);
    struct channel *channel = connection_find_channel(house->connection, HOUSE_CHANNEL);
    assert(channel != NULL);
    channel->blames_nobody = true;
    house->is_answered = true;
}

enum status
house_enter(struct house *house, struct bytes vhost_name, struct fault *fault)
{
    struct connection *connection = house->connection;
    struct vhost *vhost = core_find_vhost(house->core, vhost_name);
    if (vhost == NULL) {
        return fault_connection(fault, REPLY_NOT_ALLOWED, "vhost %.*s not found",
                                BYTES_FORMAT(vhost_name));
    }
    if (!access_may_enter(connection->user, vhost_name)) {
        return fault_connection(fault, REPLY_NOT_ALLOWED,
                                "access to vhost '%.*s' refused for user '%.*s'",
                                BYTES_FORMAT(vhost_name), BYTES_FORMAT(connection->user->name));
    }
    connection->vhost = vhost;
    connection->state = CONNECTION_RUNNING;
    house_open_channel(house);
    return STATUS_OK;
}

/* Where nobody has connected from. */
static struct net_peer *
peer_of_house(void)
{
    struct net_peer *peer = xalloc(sizeof(*peer));
    memcpy(peer->address, HOUSE_NAME, sizeof(HOUSE_NAME));
    memcpy(peer->local_address, HOUSE_NAME, sizeof(HOUSE_NAME));
    peer->is_loopback = true;
    return peer;
}

struct house *
house_open(struct core *core, struct bytes user_name, struct bytes vhost, struct fault *fault)
{
    struct user *user =
        user_name.data == NULL ? core_house_user(core) : core_find_user(core, user_name);
    if (user == NULL || user->is_disabled) {
        (void)fault_connection(fault, REPLY_ACCESS_REFUSED, "there is no user '%.*s' any more",
                               BYTES_FORMAT(user_name));
        return NULL;
    }
    struct house *house = house_new(core, peer_of_house());
    house_log_in_as(house, user);
    if (house_enter(house, vhost, fault) != STATUS_OK) {
        house_free(&house);
    }
    return house;
}

/* Calls -------------------------------------------------------------------------------------- */

static bool
is_settlement(enum method_id id)
{
    return id == METHOD_BASIC_ACK || id == METHOD_BASIC_NACK || id == METHOD_BASIC_REJECT;
}

void
house_call(struct house *house, const struct method *method)
{
    house_begin(house);
    house_call_now(house, method);
    if (is_settlement(method->id) && !house->is_answered) {
        house_set_answered(house);
    }
}

/* The content, with a pin; not set when it cannot be kept. */
static struct content_ref
house_make_content(struct house *house, const struct house_message *message,
                   const struct properties *properties)
{
    bool is_persistent = properties->delivery_mode == DELIVERY_MODE_PERSISTENT;
    bool has_headers = (properties->flags & PROPERTY_HEADERS) != 0;
    struct content_shape shape = {
        .exchange = message->exchange,
        .routing_key = message->routing_key,
        .properties = message->properties,
        .body_size = (uint32_t)message->body.size,
        .kind = is_persistent ? CHUNK_KIND_PERSISTENT : CHUNK_KIND_TRANSIENT,
        .flags = (uint16_t)((is_persistent ? CONTENT_PERSISTENT : 0) |
                            (has_headers ? CONTENT_HAS_HEADERS : 0)),
    };
    struct content_ref ref;
    uint8_t *body;
    if (chunk_pool_reserve(house->core->pool, &shape, &ref, &body) != STATUS_OK) {
        return (struct content_ref){0};
    }
    if (message->body.size > 0) {
        memcpy(body, message->body.data, message->body.size);
    }
    return ref;
}

static void
house_select_confirms(struct house *house)
{
    if (!house->is_confirming) {
        struct method select = {.id = METHOD_CONFIRM_SELECT, .confirm_select = {.nowait = true}};
        house->is_confirming = true;
        house_call_now(house, &select);
    }
}

/* Too large a message has no content: the publish is refused where its turn comes. */
static void
house_publish_now(struct house *house, const struct house_message *message,
                  const struct properties *properties)
{
    struct core *core = house->core;
    struct content_ref ref = {0};
    struct net_event event = {
        .type = NET_EVENT_PUBLISH,
        .channel = HOUSE_CHANNEL,
        .link = house->connection->link,
        .publish = {.body_size = message->body.size,
                    .exchange = message->exchange,
                    .routing_key = message->routing_key,
                    .mandatory = true},
    };
    if (message->body.size <= core->settings.message_bytes_max) {
        ref = house_make_content(house, message, properties);
        if (!content_ref_is_set(ref)) {
            house_refuse_without_memory(house);
            return;
        }
        event.publish.place.content = chunk_pool_content(core->pool, ref);
    }
    connection_on_publish(house->connection, &event, ref);
}

void
house_publish(struct house *house, const struct house_message *message)
{
    struct core *core = house->core;
    UNINITIALIZED struct properties properties;
    UNINITIALIZED struct fault fault;
    house_begin(house);
    if (core_alarm_reason(core)[0] != '\0') {
        (void)fault_connection(&fault, REPLY_RESOURCE_ERROR, "publishers are blocked: %s",
                               core_alarm_reason(core));
        house_refuse_by(house, &fault);
        return;
    }
    if (properties_decode(&properties, message->properties, &fault) != STATUS_OK) {
        house_refuse_by(house, &fault);
        return;
    }
    house_select_confirms(house);
    house_publish_now(house, message, &properties);
}

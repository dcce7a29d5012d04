/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/survey/client_survey.h"

#include <stdio.h>

#include "amqp/reply.h"
#include "base/sampled_rates.h"
#include "broker/publishing/transaction.h"
#include "broker/topology/vhost.h"
#include "broker/users/user.h"

/* What is wanted ----------------------------------------------------------------------------- */

static bool
is_or_any(struct bytes wanted, struct bytes found)
{
    return wanted.data == NULL || (found.data != NULL && bytes_equal(wanted, found));
}

static struct bytes
name_of_user(const struct connection *connection)
{
    return connection->user == NULL ? bytes_make(NULL, 0) : connection->user->name;
}

static struct bytes
name_of_vhost(const struct connection *connection)
{
    return connection->vhost == NULL ? bytes_make(NULL, 0) : connection->vhost->name;
}

static bool
is_wanted(const struct client_survey *survey, const struct connection *connection)
{
    return connection->house == NULL && survey_may_see_user(&survey->viewer, connection->user) &&
           is_or_any(survey->vhost, name_of_vhost(connection)) &&
           is_or_any(survey->user, name_of_user(connection)) &&
           is_or_any(survey->connection, bytes_of(connection->name));
}

/* Whether it is the channel that is asked for by name. */
static bool
is_wanted_channel(const struct client_survey *survey, const struct channel *channel)
{
    enum { SUFFIX_SIZE = 16 };
    char suffix[SUFFIX_SIZE];
    struct bytes wanted = survey->channel;
    struct bytes name = bytes_of(channel->connection->name);
    if (wanted.data == NULL) {
        return true;
    }
    int size = snprintf(suffix, sizeof(suffix), " (%u)", (unsigned)channel->number);
    return wanted.size == name.size + (size_t)size &&
           bytes_equal(bytes_make(wanted.data, name.size), name) &&
           bytes_equal_text(bytes_make(wanted.data + name.size, (size_t)size), suffix);
}

/* Rows --------------------------------------------------------------------------------------- */

static const char *
state_of(const struct connection *connection)
{
    static const char *const states[] = {
        [CONNECTION_STARTING] = "starting", [CONNECTION_CHECKING] = "starting",
        [CONNECTION_TUNING] = "tuning",     [CONNECTION_OPENING] = "opening",
        [CONNECTION_RUNNING] = "running",   [CONNECTION_CLOSING] = "closing",
        [CONNECTION_CLOSED] = "closed",
    };
    if (connection->state != CONNECTION_RUNNING) {
        return states[connection->state];
    }
    if (!list_is_empty(&connection->held)) {
        return "blocked";
    }
    if (connection->blocked_sent) {
        return "blocking";
    }
    return connection->pause_reasons != 0 ? "flow" : "running";
}

static void
copy_peer(struct survey_connection *row, struct arena *arena, const struct net_peer *peer)
{
    row->host = arena_copy(arena, bytes_of(peer->local_address));
    row->port = peer->local_port;
    row->peer_host = arena_copy(arena, bytes_of(peer->address));
    row->peer_port = peer->port;
    row->is_tls = peer->is_tls;
    row->has_certificate = peer->has_certificate;
    row->tls_version = arena_copy(arena, bytes_of(peer->tls_version));
    row->tls_cipher = arena_copy(arena, bytes_of(peer->tls_cipher));
    row->certificate_user = arena_copy(arena, bytes_of(peer->user));
}

static void
read_octet_rates(struct survey_connection *row, struct connection *connection)
{
    const struct core *core = connection->core;
    const uint64_t counters[] = {connection->received_octets, connection->sent_octets};
    double rates[ARRAY_LEN(counters)];
    int64_t lived_ms = core->now.wall_ms - connection->opened_wall_ms;
    sampled_rates_look(&connection->rates, counters, ARRAY_LEN(counters), core_from_now_ms(core),
                       lived_ms < 0 ? 0 : (uint64_t)lived_ms, rates);
    row->received_rate = rates[0];
    row->sent_rate = rates[1];
}

static void
read_channel_rates(struct survey_channel *row, struct channel *channel)
{
    const struct channel_counters *now = &channel->counters;
    uint64_t now_ms = core_from_now_ms(channel_core(channel));
    uint64_t counters[CHANNEL_RATE_COUNT] = {
        [CHANNEL_RATE_PUBLISHED] = now->published,
        [CHANNEL_RATE_CONFIRMED] = channel->confirmed_number,
        [CHANNEL_RATE_RETURNED] = now->returned,
        [CHANNEL_RATE_REDELIVERED] = now->redelivered,
        [CHANNEL_RATE_GOT_NOTHING] = now->get_empty,
        [CHANNEL_RATE_ACKED] = now->acked,
    };
    memcpy(&counters[CHANNEL_RATE_DELIVERED], now->delivered, sizeof(now->delivered));
    sampled_rates_look(&channel->rates, counters, CHANNEL_RATE_COUNT, now_ms,
                       now_ms - channel->opened_ms, row->rates);
}

static void
add_connection(struct client_survey *survey, struct connection *connection)
{
    struct arena *arena = &survey->rows.arena;
    struct survey_connection *row = survey_rows_add(&survey->rows, sizeof(*row));
    row->link = connection->link;
    row->name = arena_copy(arena, bytes_of(connection->name));
    row->client_name = connection->client_name == NULL
                           ? bytes_make(NULL, 0)
                           : arena_copy(arena, bytes_of(connection->client_name));
    row->user = survey_copy(arena, name_of_user(connection));
    row->vhost = survey_copy(arena, name_of_vhost(connection));
    row->state = state_of(connection);
    row->mechanism = connection->mechanism;
    row->client_properties = survey_copy(arena, connection->client_properties);
    row->channels = connection->channel_count;
    row->channel_max = connection->channel_max;
    row->heartbeat_s = connection->heartbeat_s;
    row->frame_max = connection->frame_max;
    row->opened_wall_ms = connection->opened_wall_ms;
    row->received_octets = connection->received_octets;
    row->sent_octets = connection->sent_octets;
    row->pending_octets = connection->window_used;
    read_octet_rates(row, connection);
    copy_peer(row, arena, connection->peer);
}

static void
add_channel(struct client_survey *survey, struct channel *channel)
{
    const struct connection *connection = channel->connection;
    struct arena *arena = &survey->rows.arena;
    struct survey_channel *row = survey_rows_add(&survey->rows, sizeof(*row));
    row->link = connection->link;
    row->connection = arena_copy(arena, bytes_of(connection->name));
    row->user = survey_copy(arena, name_of_user(connection));
    row->vhost = survey_copy(arena, name_of_vhost(connection));
    row->peer_host = arena_copy(arena, bytes_of(connection->peer->address));
    row->peer_port = connection->peer->port;
    row->number = channel->number;
    row->prefetch = channel->prefetch_default;
    row->prefetch_global = channel->prefetch_global;
    row->mode = channel->mode;
    row->is_closing = channel->is_closing;
    row->is_blocked = channel->has_held;
    row->consumers = map_count(&channel->consumers);
    row->unacked = channel->unacked.count;
    row->counters = channel->counters;
    read_channel_rates(row, channel);
    row->confirmed = channel->confirmed_number;
    row->unconfirmed = channel->publish_number - channel->confirmed_number;
    row->uncommitted = transaction_publish_count(channel->transaction);
    row->uncommitted_acks = transaction_settled_count(channel->transaction);
}

static void
add_subscription(struct client_survey *survey, const struct consumer *consumer)
{
    const struct connection *connection = consumer->channel->connection;
    struct arena *arena = &survey->rows.arena;
    struct survey_subscription *row = survey_rows_add(&survey->rows, sizeof(*row));
    row->link = connection->link;
    row->vhost = survey_copy(arena, name_of_vhost(connection));
    row->queue = arena_copy(arena, queue_name(consumer->queue));
    row->consumer = survey_consumer_of(arena, consumer->queue, consumer);
}

/* The walk ----------------------------------------------------------------------------------- */

static void
spend(uint32_t *budget)
{
    *budget -= *budget > 0 ? 1 : 0;
}

/* The consumers of the channel under way, as far as the budget goes; true at their end. */
static bool
walk_consumers(struct client_survey *survey, const struct channel *channel, uint32_t *budget)
{
    const struct map *consumers = &channel->consumers;
    uint32_t places = map_places(consumers);
    survey->consumers_left = survey->consumers_left < places ? survey->consumers_left : places;
    while (*budget > 0) {
        const struct map_entry *entry = map_previous(consumers, &survey->consumers_left);
        spend(budget);
        if (entry == NULL) {
            return true;
        }
        const struct consumer *consumer = entry->value;
        if (consumer->queue != NULL) {
            add_subscription(survey, consumer);
        }
    }
    return false;
}

/* The channel goes into the list, or its consumers do; false: they are not all in it yet. */
static bool
walk_channel(struct client_survey *survey, struct channel *channel, uint32_t *budget)
{
    if (channel == NULL || channel->is_ended || !is_wanted_channel(survey, channel)) {
        return true;
    }
    if (survey->kind == SURVEY_CHANNELS) {
        add_channel(survey, channel);
        return true;
    }
    if (survey->number != channel->number) {
        survey->number = channel->number;
        survey->consumers_left = map_places(&channel->consumers);
    }
    return walk_consumers(survey, channel, budget);
}

/* Places of channels that are looked at for one row: most of them are empty. */
enum { CHANNEL_PLACES_PER_ROW = 16 };

static bool
walk_channels(struct client_survey *survey, const struct connection *connection, uint32_t *budget)
{
    uint16_t capacity = connection->channel_capacity;
    survey->channels_left = survey->channels_left < capacity ? survey->channels_left : capacity;
    while (survey->channels_left > 0 && *budget > 0) {
        uint16_t number = survey->channels_left;
        struct channel *channel = connection->channels[number - 1];
        bool is_begun = survey->number == number;
        if (!is_begun && (channel != NULL || number % CHANNEL_PLACES_PER_ROW == 0)) {
            spend(budget);
        }
        if (!walk_channel(survey, channel, budget)) {
            return false;
        }
        survey->channels_left--;
        survey->number = 0;
    }
    return survey->channels_left == 0;
}

/* What the connection has; false: it is not all in the list yet. */
static bool
walk_connection(struct client_survey *survey, struct connection *connection, uint32_t *budget)
{
    if (connection == NULL || !is_wanted(survey, connection)) {
        return true;
    }
    if (survey->kind == SURVEY_CONNECTIONS) {
        add_connection(survey, connection);
        return true;
    }
    return walk_channels(survey, connection, budget);
}

/* False: there is none any more. */
static bool
next_connection(struct client_survey *survey, const struct core *core)
{
    uint32_t places = map_places(&core->connections);
    survey->connections_left =
        survey->has_begun && survey->connections_left < places ? survey->connections_left : places;
    survey->has_begun = true;
    const struct map_entry *entry = map_previous(&core->connections, &survey->connections_left);
    if (entry == NULL) {
        return false;
    }
    const struct connection *connection = entry->value;
    survey->link = connection->link;
    survey->channels_left = connection->channel_capacity;
    survey->number = 0;
    return true;
}

enum request_progress
client_survey_step(struct client_survey *survey, struct core *core, uint32_t *budget)
{
    while (*budget > 0) {
        if (survey->link == 0) {
            spend(budget);
            if (!next_connection(survey, core)) {
                return REQUEST_DONE;
            }
        }
        uint64_t link = survey->link;
        struct connection *connection =
            map_get(&core->connections, bytes_make(&link, sizeof(link)));
        if (walk_connection(survey, connection, budget)) {
            survey->link = 0;
        }
    }
    return REQUEST_MORE;
}

void
client_survey_fini(struct client_survey *survey)
{
    survey_rows_fini(&survey->rows);
}

/* Order -------------------------------------------------------------------------------------- */

static int
compare_numbers(uint64_t first, uint64_t second)
{
    return first < second ? -1 : first > second;
}

static int
compare_connections(const void *a, const void *b)
{
    const struct survey_connection *first = a;
    const struct survey_connection *second = b;
    int order = bytes_compare(first->name, second->name);
    return order != 0 ? order : compare_numbers(first->link, second->link);
}

static int
compare_channels(const void *a, const void *b)
{
    const struct survey_channel *first = a;
    const struct survey_channel *second = b;
    int order = bytes_compare(first->connection, second->connection);
    order = order != 0 ? order : compare_numbers(first->number, second->number);
    return order != 0 ? order : compare_numbers(first->link, second->link);
}

static int
compare_subscriptions(const void *a, const void *b)
{
    const struct survey_subscription *first = a;
    const struct survey_subscription *second = b;
    int order = bytes_compare(first->vhost, second->vhost);
    order = order != 0 ? order : bytes_compare(first->queue, second->queue);
    order = order != 0 ? order : bytes_compare(first->consumer.tag, second->consumer.tag);
    order = order != 0 ? order : compare_numbers(first->link, second->link);
    return order != 0 ? order : compare_numbers(first->consumer.channel, second->consumer.channel);
}

void
client_survey_sort(struct client_survey *survey)
{
    static int (*const compare[])(const void *a, const void *b) = {
        [SURVEY_CONNECTIONS] = compare_connections,
        [SURVEY_CHANNELS] = compare_channels,
        [SURVEY_CONSUMERS] = compare_subscriptions,
    };
    survey_rows_sort(&survey->rows, compare[survey->kind]);
}

/* Closing ------------------------------------------------------------------------------------ */

static void
close_connection(struct connection *connection, struct bytes reason)
{
    enum { REASON_MAX = 200 };
    struct fault fault;
    if (connection->state < CONNECTION_RUNNING) {
        connection_drop(connection, 0);
    } else if (connection->state == CONNECTION_RUNNING) {
        struct bytes shown = bytes_make(reason.data, bytes_utf8_prefix(reason, REASON_MAX));
        (void)fault_connection(&fault, REPLY_CONNECTION_FORCED, "%.*s", BYTES_FORMAT(shown));
        connection_close(connection, &fault, 0, 0);
    }
}

/* Ending a channel may requeue much: a connection counts for many rows. */
enum request_progress
client_survey_close(const struct client_survey *survey, struct core *core, struct bytes reason,
                    uint32_t *position, uint32_t *budget)
{
    enum { ROWS_OF_CLOSING = 32 };
    assert(survey->kind == SURVEY_CONNECTIONS);
    while (*position<survey->rows.count && * budget> 0) {
        const struct survey_connection *row = survey->rows.rows[(*position)++];
        struct connection *connection = core_find_connection(core, row->link);
        if (connection != NULL) {
            close_connection(connection, reason);
        }
        *budget -= *budget < ROWS_OF_CLOSING ? *budget : ROWS_OF_CLOSING;
    }
    return *position == survey->rows.count ? REQUEST_DONE : REQUEST_MORE;
}

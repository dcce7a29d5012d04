/* SPDX-License-Identifier: Apache-2.0 */
/* Surveys (survey.h) of who is connected: connections, their channels, and the consumers on those.
 * A viewer who does not see all sees his own. The house's connections (house.h) are not shown. */
#ifndef BOURSE_BROKER_SURVEY_CLIENT_SURVEY_H
#define BOURSE_BROKER_SURVEY_CLIENT_SURVEY_H

#include "broker/channels/channel.h"
#include "broker/survey/survey.h"

struct survey_connection {
    uint64_t link;
    struct bytes name;
    struct bytes client_name; /* data NULL: it gave none */
    struct bytes user, vhost; /* data NULL: not yet */
    const char *state;        /* as RabbitMQ names it; static memory */
    const char *mechanism;    /* NULL: none yet; static memory */
    struct bytes client_properties;
    struct bytes host, peer_host, tls_version, tls_cipher, certificate_user;
    uint16_t port, peer_port, channel_max, heartbeat_s, channels;
    uint32_t frame_max;
    bool is_tls, has_certificate;
    int64_t opened_wall_ms;
    uint64_t received_octets, sent_octets, pending_octets;
    double received_rate, sent_rate; /* octets a second (base/sampled_rates.h) */
};

/* Counters of a channel that rates are shown of. */
enum channel_rate {
    CHANNEL_RATE_PUBLISHED,
    CHANNEL_RATE_CONFIRMED,
    CHANNEL_RATE_RETURNED,
    CHANNEL_RATE_DELIVERED, /* and so many more: by the way in which */
    CHANNEL_RATE_REDELIVERED = CHANNEL_RATE_DELIVERED + DELIVERY_KIND_COUNT,
    CHANNEL_RATE_GOT_NOTHING,
    CHANNEL_RATE_ACKED,
    CHANNEL_RATE_COUNT,
};

struct survey_channel {
    uint64_t link;
    struct bytes connection, user, vhost, peer_host;
    uint16_t peer_port, number, prefetch, prefetch_global;
    enum channel_mode mode;
    bool is_closing, is_blocked;
    uint32_t consumers, unacked, uncommitted, uncommitted_acks;
    uint64_t confirmed, unconfirmed;
    struct channel_counters counters;
    double rates[CHANNEL_RATE_COUNT];
};

/* A consumer, and where it consumes. */
struct survey_subscription {
    uint64_t link; /* of its connection */
    struct bytes vhost, queue;
    struct survey_consumer consumer;
};

enum client_survey_kind { SURVEY_CONNECTIONS, SURVEY_CHANNELS, SURVEY_CONSUMERS };

struct client_survey {
    struct survey_viewer viewer;
    enum client_survey_kind kind;
    /* Only these; data NULL: all. */
    struct bytes vhost, user;
    struct bytes connection; /* by its name */
    struct bytes channel;    /* by its name, "CONNECTION (NUMBER)" */
    struct survey_rows rows; /* of struct survey_connection, _channel or _subscription */
    /* Where it stands. */
    uint32_t connections_left;
    uint64_t link; /* whose channels come; 0: the next connection's */
    uint16_t channels_left;
    uint16_t number; /* of the channel whose consumers come; 0: the next one's */
    uint32_t consumers_left;
    bool has_begun;
};

/* All zero but for what is wanted, whose views live as long as the survey. */
enum request_progress client_survey_step(struct client_survey *survey, struct core *core,
                                         uint32_t *budget);
void client_survey_fini(struct client_survey *survey);

/* Puts the rows in order of their names, each once. Needs no core. */
void client_survey_sort(struct client_survey *survey);

/* Closing connections: those of a survey, as an operator asks for it. ------------------------- */

/* connection.close 320 with that text to the running connections of the survey's rows; those that
 * are not open yet are dropped. Takes rows from the budget. `*position` starts with 0. */
enum request_progress client_survey_close(const struct client_survey *survey, struct core *core,
                                          struct bytes reason, uint32_t *position,
                                          uint32_t *budget);

#endif

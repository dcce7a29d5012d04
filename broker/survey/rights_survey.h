/* SPDX-License-Identifier: Apache-2.0 */
/* Surveys (survey.h) of users and what they may do, of policies, and of the limits of users and
 * vhosts. Who may ask for which of them is the route's business. */
#ifndef BOURSE_BROKER_SURVEY_RIGHTS_SURVEY_H
#define BOURSE_BROKER_SURVEY_RIGHTS_SURVEY_H

#include "broker/core/request.h"
#include "broker/survey/survey_walk.h"
#include "broker/topology/policies.h"
#include "broker/users/user.h"

struct survey_user {
    struct bytes name, tags;    /* comma-separated */
    struct bytes password_hash; /* data NULL: none that may be shown */
    int64_t connections_max, channels_max;
    bool has_rights, from_file;
};

struct survey_permission {
    struct bytes user, vhost;
    struct bytes rights[ACCESS_RIGHT_COUNT]; /* expressions */
    struct bytes exchange;                   /* of a topic permission */
};

struct survey_policy {
    struct bytes vhost, name, pattern, definition;
    enum policy_target target;
    int32_t priority;
    bool from_file;
};

struct survey_vhost_limits {
    struct bytes vhost;
    int64_t connections_max, queues_max; /* -1: none */
};

struct survey_parameter {
    struct bytes name, value; /* JSON */
};

enum rights_survey_kind {
    SURVEY_USERS,
    SURVEY_PERMISSIONS,
    SURVEY_TOPIC_PERMISSIONS,
    SURVEY_POLICIES,
    SURVEY_VHOST_LIMITS,
    SURVEY_PARAMETERS, /* global ones */
};

struct rights_survey {
    struct survey_viewer viewer; /* of policies and limits: what vhosts it may see */
    enum rights_survey_kind kind;
    enum policy_kind policies;
    struct bytes user, vhost; /* only theirs; data NULL: all */
    struct bytes name;        /* of a policy or parameter, or the exchange of a topic permission;
                                 likewise */
    bool user_exists;         /* the user that was named is there, or none was */
    struct survey_rows rows;
    /* Where it stands. */
    uint32_t places_left; /* of users or vhosts */
    bool has_begun;
    struct bytes user_under_way; /* data NULL: the next one */
    uint32_t grants_read;        /* of that user; a position */
    uint64_t version;            /* that the user had */
    uint32_t mark;               /* rows of the users before */
};

enum request_progress rights_survey_step(struct rights_survey *survey, struct core *core,
                                         uint32_t *budget);
void rights_survey_fini(struct rights_survey *survey);
void rights_survey_sort(struct rights_survey *survey);

#endif

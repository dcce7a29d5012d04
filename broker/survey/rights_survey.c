/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/survey/rights_survey.h"

#include "broker/changes/parameters.h"
#include "broker/topology/vhost.h"
#include "broker/users/abilities.h"

static bool
is_or_any(struct bytes wanted, struct bytes found)
{
    return wanted.data == NULL || bytes_equal(wanted, found);
}

/* Users -------------------------------------------------------------------------------------- */

static void
add_user(struct rights_survey *survey, const struct user *user)
{
    struct arena *arena = &survey->rows.arena;
    struct survey_user *row = survey_rows_add(&survey->rows, sizeof(*row));
    row->name = arena_copy(arena, user->name);
    row->tags = arena_copy(arena, bytes_of(user_tags(user)));
    row->connections_max = user->connections_max;
    row->channels_max = user->channels_max;
    row->has_rights = map_count(&user->rights) > 0;
    row->from_file = user->from_file;
    if (user->password_hash != NULL) {
        row->password_hash = arena_copy(arena, bytes_of(user->password_hash));
    }
}

static void
add_permission(struct rights_survey *survey, const struct user *user,
               const struct user_grant *grant)
{
    struct arena *arena = &survey->rows.arena;
    struct survey_permission *row = survey_rows_add(&survey->rows, sizeof(*row));
    row->user = arena_copy(arena, user->name);
    row->vhost = arena_copy(arena, grant->vhost);
    for (int i = 0; i < ACCESS_RIGHT_COUNT; i++) {
        row->rights[i] = arena_copy(arena, bytes_of(grant->rights[i]));
    }
}

static void
add_topic_permissions(struct rights_survey *survey, const struct user *user,
                      const struct user_grant *grant)
{
    struct arena *arena = &survey->rows.arena;
    for (size_t i = 0; i < grant->topic_count; i++) {
        const struct config_topic_right *topic = &grant->topics[i];
        if (!is_or_any(survey->name, topic->exchange)) {
            continue;
        }
        struct survey_permission *row = survey_rows_add(&survey->rows, sizeof(*row));
        row->user = arena_copy(arena, user->name);
        row->vhost = arena_copy(arena, grant->vhost);
        row->exchange = arena_copy(arena, topic->exchange);
        row->rights[ACCESS_WRITE] = arena_copy(arena, bytes_of(topic->write));
        row->rights[ACCESS_READ] = arena_copy(arena, bytes_of(topic->read));
    }
}

/* The grants of the user under way, as far as the budget goes; true at their end. When they change
 * meanwhile, they are read from the beginning. */
static bool
walk_grants(struct rights_survey *survey, const struct user *user, uint32_t *budget)
{
    struct user_grant grant;
    if (survey->version != user->version) {
        survey->version = user->version;
        survey->grants_read = 0;
        survey->rows.count = survey->mark;
    }
    while (*budget > 0) {
        (*budget)--;
        if (!user_next_grant(user, &survey->grants_read, &grant)) {
            return true;
        }
        if (!is_or_any(survey->vhost, grant.vhost)) {
            continue;
        }
        if (survey->kind == SURVEY_PERMISSIONS) {
            add_permission(survey, user, &grant);
        } else {
            add_topic_permissions(survey, user, &grant);
        }
    }
    return false;
}

/* The next user of the walk, or the one that was asked for; NULL: there is none any more. */
static const struct user *
next_user(struct rights_survey *survey, struct core *core)
{
    uint32_t places = map_places(&core->users);
    bool has_begun = survey->has_begun;
    survey->has_begun = true;
    if (survey->user.data != NULL) {
        const struct user *user = has_begun ? NULL : core_find_user(core, survey->user);
        survey->user_exists |= user != NULL;
        return user;
    }
    survey->user_exists = true;
    survey->places_left = has_begun && survey->places_left < places ? survey->places_left : places;
    const struct map_entry *entry = map_previous(&core->users, &survey->places_left);
    return entry == NULL ? NULL : entry->value;
}

static void
begin_user(struct rights_survey *survey, const struct user *user)
{
    if (user->is_disabled) {
        return;
    }
    if (survey->kind == SURVEY_USERS) {
        add_user(survey, user);
        return;
    }
    survey->user_under_way = arena_copy(&survey->rows.arena, user->name);
    survey->grants_read = 0;
    survey->version = user->version;
    survey->mark = survey->rows.count;
}

static enum request_progress
walk_users(struct rights_survey *survey, struct core *core, uint32_t *budget)
{
    while (*budget > 0) {
        (*budget)--;
        const struct user *user;
        if (survey->user_under_way.data != NULL) {
            user = core_find_user(core, survey->user_under_way);
            if (user == NULL || walk_grants(survey, user, budget)) {
                survey->user_under_way = bytes_make(NULL, 0);
            }
            continue;
        }
        user = next_user(survey, core);
        if (user == NULL) {
            return REQUEST_DONE;
        }
        begin_user(survey, user);
    }
    return REQUEST_MORE;
}

/* Vhosts ------------------------------------------------------------------------------------- */

static void
add_policies(struct rights_survey *survey, const struct vhost *vhost, uint32_t *budget)
{
    struct arena *arena = &survey->rows.arena;
    const struct policy *policy;
    for (uint32_t i = 0; (policy = vhost_policy_at(vhost, survey->policies, i)) != NULL; i++) {
        *budget -= *budget > 0 ? 1 : 0;
        if (!is_or_any(survey->name, policy->is.name)) {
            continue;
        }
        struct survey_policy *row = survey_rows_add(&survey->rows, sizeof(*row));
        row->vhost = arena_copy(arena, vhost->name);
        row->name = arena_copy(arena, policy->is.name);
        row->pattern = arena_copy(arena, policy->is.pattern);
        row->definition = arena_copy(arena, policy->is.definition);
        row->target = policy->is.target;
        row->priority = policy->is.priority;
        row->from_file = policy->is.from_file;
    }
}

static void
add_limits(struct rights_survey *survey, const struct vhost *vhost)
{
    if (vhost->connections_max < 0 && vhost->queues_max < 0) {
        return;
    }
    struct survey_vhost_limits *row = survey_rows_add(&survey->rows, sizeof(*row));
    row->vhost = arena_copy(&survey->rows.arena, vhost->name);
    row->connections_max = vhost->connections_max;
    row->queues_max = vhost->queues_max;
}

static enum request_progress
walk_vhosts(struct rights_survey *survey, struct core *core, uint32_t *budget)
{
    while (*budget > 0) {
        (*budget)--;
        uint32_t places = map_places(&core->vhosts);
        survey->places_left =
            survey->has_begun && survey->places_left < places ? survey->places_left : places;
        survey->has_begun = true;
        const struct map_entry *entry = map_previous(&core->vhosts, &survey->places_left);
        if (entry == NULL) {
            return REQUEST_DONE;
        }
        const struct vhost *vhost = entry->value;
        if (!is_or_any(survey->vhost, vhost->name) ||
            !survey_may_see(core, &survey->viewer, vhost->name)) {
            continue;
        }
        if (survey->kind == SURVEY_POLICIES) {
            add_policies(survey, vhost, budget);
        } else {
            add_limits(survey, vhost);
        }
    }
    return REQUEST_MORE;
}

/* Parameters --------------------------------------------------------------------------------- */

/* All of them in one slice: they are bounded. */
static void
add_parameters(struct rights_survey *survey, const struct core *core, uint32_t *budget)
{
    struct arena *arena = &survey->rows.arena;
    uint32_t position = 0;
    for (struct map_entry *entry; (entry = map_next(&core->parameters, &position)) != NULL;) {
        const struct parameter *parameter = entry->value;
        *budget -= *budget > 0 ? 1 : 0;
        if (is_or_any(survey->name, parameter->name)) {
            struct survey_parameter *row = survey_rows_add(&survey->rows, sizeof(*row));
            row->name = arena_copy(arena, parameter->name);
            row->value = arena_copy(arena, parameter->value);
        }
    }
}

enum request_progress
rights_survey_step(struct rights_survey *survey, struct core *core, uint32_t *budget)
{
    if (survey->kind == SURVEY_PARAMETERS) {
        add_parameters(survey, core, budget);
        return REQUEST_DONE;
    }
    bool is_of_vhosts = survey->kind == SURVEY_POLICIES || survey->kind == SURVEY_VHOST_LIMITS;
    return is_of_vhosts ? walk_vhosts(survey, core, budget) : walk_users(survey, core, budget);
}

void
rights_survey_fini(struct rights_survey *survey)
{
    survey_rows_fini(&survey->rows);
}

/* Order -------------------------------------------------------------------------------------- */

static int
compare_users(const void *a, const void *b)
{
    return bytes_compare(((const struct survey_user *)a)->name,
                         ((const struct survey_user *)b)->name);
}

static int
compare_permissions(const void *a, const void *b)
{
    const struct survey_permission *first = a;
    const struct survey_permission *second = b;
    int order = bytes_compare(first->vhost, second->vhost);
    order = order != 0 ? order : bytes_compare(first->user, second->user);
    return order != 0 ? order : bytes_compare(first->exchange, second->exchange);
}

static int
compare_policies(const void *a, const void *b)
{
    const struct survey_policy *first = a;
    const struct survey_policy *second = b;
    int order = bytes_compare(first->vhost, second->vhost);
    return order != 0 ? order : bytes_compare(first->name, second->name);
}

static int
compare_limits(const void *a, const void *b)
{
    return bytes_compare(((const struct survey_vhost_limits *)a)->vhost,
                         ((const struct survey_vhost_limits *)b)->vhost);
}

static int
compare_parameters(const void *a, const void *b)
{
    return bytes_compare(((const struct survey_parameter *)a)->name,
                         ((const struct survey_parameter *)b)->name);
}

void
rights_survey_sort(struct rights_survey *survey)
{
    static int (*const compare[])(const void *a, const void *b) = {
        [SURVEY_USERS] = compare_users,
        [SURVEY_PERMISSIONS] = compare_permissions,
        [SURVEY_TOPIC_PERMISSIONS] = compare_permissions,
        [SURVEY_POLICIES] = compare_policies,
        [SURVEY_VHOST_LIMITS] = compare_limits,
        [SURVEY_PARAMETERS] = compare_parameters,
    };
    survey_rows_sort(&survey->rows, compare[survey->kind]);
}

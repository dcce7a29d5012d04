/* SPDX-License-Identifier: Apache-2.0 */
/* What surveys (survey.h, client_survey.h, binding_survey.h, rights_survey.h) share: who looks, a
 * walk over vhosts and what is in them that lives through changes, and rows that grow. */
#ifndef BOURSE_BROKER_SURVEY_SURVEY_WALK_H
#define BOURSE_BROKER_SURVEY_SURVEY_WALK_H

#include "base/alloc.h"
#include "broker/core/core.h"

/* Who looks. */
struct survey_viewer {
    struct bytes user; /* data NULL: the house */
    bool sees_all;     /* vhosts that it may not enter, and clients of others, too */
};

/* Whether the viewer may look into that vhost. */
bool survey_may_see(struct core *core, const struct survey_viewer *viewer, struct bytes vhost);

/* Whether the viewer may look at what that user has connected. */
bool survey_may_see_user(const struct survey_viewer *viewer, const struct user *user);

/* Which of a vhost's maps a walk is over. */
enum survey_map { SURVEY_QUEUES, SURVEY_EXCHANGES };

/* Where a walk over the queues (exchanges) of all vhosts stands, or over those of one. */
struct survey_walk {
    uint32_t vhosts_left, objects_left;
    struct bytes vhost; /* whose objects come; data NULL: the next vhost's */
    bool has_begun, is_done;
};

/* What a walk is over, and who is told of each vhost. */
struct survey_plan {
    struct core *core;
    const struct survey_viewer *viewer;
    struct bytes only; /* data NULL: all vhosts */
    enum survey_map map;
    struct arena *arena;
    void (*enter)(void *survey, const struct vhost *vhost); /* NULL: nobody */
    void *survey;
};

/* The next struct queue (struct exchange), for a row of the budget. NULL: the budget is used up, or
 * walk->is_done. Each that is there all the time is met, perhaps twice. */
void *survey_walk_next(struct survey_walk *walk, const struct survey_plan *plan, uint32_t *budget);

/* The name of the vhost of the last row, which the next one shares if it is of the same. All zero
 * is none. */
struct survey_vhost_name {
    const struct vhost *vhost; /* stays as long as the core */
    struct bytes name;         /* in the arena */
};

struct bytes survey_vhost_name(struct survey_vhost_name *last, struct arena *arena,
                               const struct vhost *vhost);

/* Which of two comes first by vhost and name. */
int survey_compare_names(struct bytes first_vhost, struct bytes first_name,
                         struct bytes second_vhost, struct bytes second_name);

/* Room for one more of `size` octets in the array; takes `rows` and returns what it became. */
void *survey_grow(void *rows, uint32_t count, uint32_t *capacity, size_t size);

/* Puts them in order, each once; returns how many are left. Needs no core. */
uint32_t survey_sort(void *rows, uint32_t count, size_t size,
                     int (*compare)(const void *a, const void *b, void *context), void *context);

/* Rows of one size, that point into the arena and live with it. All zero is none. */
struct survey_rows {
    void **rows; /* owned */
    uint32_t count, capacity;
    struct arena arena; /* owned */
};

/* One more, zero. */
void *survey_rows_add(struct survey_rows *rows, size_t size);
void survey_rows_fini(struct survey_rows *rows);

/* Puts them in order, each once. Needs no core. */
void survey_rows_sort(struct survey_rows *rows, int (*compare)(const void *a, const void *b));

/* A copy; data NULL stays so. */
struct bytes survey_copy(struct arena *arena, struct bytes text);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/survey/survey_walk.h"

#include <stdlib.h>
#include <string.h>

#include "broker/topology/vhost.h"
#include "broker/users/access.h"

bool
survey_may_see(struct core *core, const struct survey_viewer *viewer, struct bytes vhost)
{
    if (viewer->user.data == NULL) {
        return true;
    }
    const struct user *user = core_find_user(core, viewer->user);
    return user != NULL && !user->is_disabled &&
           (viewer->sees_all || access_may_enter(user, vhost));
}

bool
survey_may_see_user(const struct survey_viewer *viewer, const struct user *user)
{
    return viewer->user.data == NULL || viewer->sees_all ||
           (user != NULL && bytes_equal(user->name, viewer->user));
}

/* The walk ----------------------------------------------------------------------------------- */

static const struct map *
map_of(const struct survey_plan *plan, const struct vhost *vhost)
{
    return plan->map == SURVEY_QUEUES ? &vhost->queues : &vhost->exchanges;
}

static void
walk_enter(struct survey_walk *walk, const struct survey_plan *plan, const struct vhost *vhost)
{
    bool is_wanted = plan->only.data == NULL || bytes_equal(plan->only, vhost->name);
    if (!is_wanted || !survey_may_see(plan->core, plan->viewer, vhost->name)) {
        return;
    }
    walk->vhost = arena_copy(plan->arena, vhost->name);
    walk->objects_left = map_places(map_of(plan, vhost));
    if (plan->enter != NULL) {
        plan->enter(plan->survey, vhost);
    }
}

/* The next object of the vhost under way, which may be gone by now. */
static void *
walk_on(struct survey_walk *walk, const struct survey_plan *plan)
{
    const struct vhost *vhost = core_find_vhost(plan->core, walk->vhost);
    if (vhost == NULL) {
        return NULL;
    }
    const struct map *map = map_of(plan, vhost);
    uint32_t places = map_places(map);
    walk->objects_left = walk->objects_left < places ? walk->objects_left : places;
    const struct map_entry *entry = map_previous(map, &walk->objects_left);
    return entry == NULL ? NULL : entry->value;
}

void *
survey_walk_next(struct survey_walk *walk, const struct survey_plan *plan, uint32_t *budget)
{
    if (!walk->has_begun) {
        walk->has_begun = true;
        walk->vhosts_left = map_places(&plan->core->vhosts);
    }
    while (*budget > 0) {
        (*budget)--;
        void *object = walk->vhost.data == NULL ? NULL : walk_on(walk, plan);
        if (object != NULL) {
            return object;
        }
        walk->vhost = bytes_make(NULL, 0);
        uint32_t places = map_places(&plan->core->vhosts);
        walk->vhosts_left = walk->vhosts_left < places ? walk->vhosts_left : places;
        const struct map_entry *entry = map_previous(&plan->core->vhosts, &walk->vhosts_left);
        if (entry == NULL) {
            walk->is_done = true;
            return NULL;
        }
        walk_enter(walk, plan, entry->value);
    }
    return NULL;
}

/* Rows --------------------------------------------------------------------------------------- */

struct bytes
survey_vhost_name(struct survey_vhost_name *last, struct arena *arena, const struct vhost *vhost)
{
    if (last->vhost != vhost) {
        last->vhost = vhost;
        last->name = arena_copy(arena, vhost->name);
    }
    return last->name;
}

int
survey_compare_names(struct bytes first_vhost, struct bytes first_name, struct bytes second_vhost,
                     struct bytes second_name)
{
    bool is_same = first_vhost.data == second_vhost.data;
    int order = is_same ? 0 : bytes_compare(first_vhost, second_vhost);
    return order != 0 ? order : bytes_compare(first_name, second_name);
}

void *
survey_grow(void *rows, uint32_t count, uint32_t *capacity, size_t size)
{
    enum { CAPACITY_MIN = 64 };
    if (count < *capacity) {
        return rows;
    }
    *capacity = *capacity == 0 ? CAPACITY_MIN : *capacity * 2;
    return xrealloc(rows, *capacity * size);
}

uint32_t
survey_sort(void *rows, uint32_t count, size_t size,
            int (*compare)(const void *a, const void *b, void *context), void *context)
{
    char *all = rows;
    if (count == 0) {
        return 0;
    }
    qsort_r(rows, count, size, compare, context);
    uint32_t kept = 1;
    for (uint32_t i = 1; i < count; i++) {
        if (compare(all + i * size, all + (kept - 1) * size, context) != 0) {
            memmove(all + kept++ * size, all + i * size, size);
        }
    }
    return kept;
}

void *
survey_rows_add(struct survey_rows *rows, size_t size)
{
    rows->rows = survey_grow((void *)rows->rows, rows->count, &rows->capacity, sizeof(*rows->rows));
    void *row = arena_alloc(&rows->arena, size);
    rows->rows[rows->count++] = row;
    return row;
}

void
survey_rows_fini(struct survey_rows *rows)
{
    free((void *)rows->rows);
    rows->rows = NULL;
    arena_fini(&rows->arena);
}

static int
compare_rows(const void *a, const void *b, void *compare)
{
    int (*const *of_rows)(const void *first, const void *second) = compare;
    return (*of_rows)(*(void *const *)a, *(void *const *)b);
}

void
survey_rows_sort(struct survey_rows *rows, int (*compare)(const void *a, const void *b))
{
    rows->count = survey_sort((void *)rows->rows, rows->count, sizeof(*rows->rows), compare_rows,
                              (void *)&compare);
}

struct bytes
survey_copy(struct arena *arena, struct bytes text)
{
    return text.data == NULL ? text : arena_copy(arena, text);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Intrusive doubly linked lists: the object embeds one `struct list_link` for each list it can be
 * on. Removal clears the link, so "is it on the list?" has an answer and inserting twice is a
 * caught bug. */
#ifndef BOURSE_BASE_LIST_H
#define BOURSE_BASE_LIST_H

#include "base/assert.h"

#include <stdbool.h>

struct list_link {
    struct list_link *next; /* NULL when on no list */
    struct list_link *previous;
};

/* The head is a link of its own; an initialised list points at itself. */
struct list {
    struct list_link head;
};

static inline void
list_init(struct list *list)
{
    list->head.next = &list->head;
    list->head.previous = &list->head;
}

static inline bool
list_is_empty(const struct list *list)
{
    return list->head.next == &list->head;
}

static inline bool
list_link_is_linked(const struct list_link *link)
{
    return link->next != NULL;
}

static inline void
list_insert_before(struct list_link *position, struct list_link *link)
{
    assert(!list_link_is_linked(link));
    link->next = position;
    link->previous = position->previous;
    position->previous->next = link;
    position->previous = link;
}

static inline void
list_append(struct list *list, struct list_link *link)
{
    list_insert_before(&list->head, link);
}

static inline void
list_prepend(struct list *list, struct list_link *link)
{
    list_insert_before(list->head.next, link);
}

/* Takes `link` off whatever list it is on; does nothing when it is on none. */
static inline void
list_remove(struct list_link *link)
{
    if (!list_link_is_linked(link)) {
        return;
    }
    link->previous->next = link->next;
    link->next->previous = link->previous;
    link->next = NULL;
    link->previous = NULL;
}

static inline struct list_link *
list_first(const struct list *list)
{
    return list_is_empty(list) ? NULL : list->head.next;
}

/* Takes the first link off the list; NULL when there is none. */
static inline struct list_link *
list_pop(struct list *list)
{
    struct list_link *link = list_first(list);
    if (link != NULL) {
        list_remove(link);
    }
    return link;
}

/* The link after `link`, NULL at the end. */
static inline struct list_link *
list_next(const struct list *list, const struct list_link *link)
{
    return link->next == &list->head ? NULL : link->next;
}

/* Walks the list; the body may remove `link` itself but no other link. */
#define LIST_FOR_EACH(list, link)                                                                  \
    for (struct list_link *link = (list)->head.next, *link##_next = link->next;                    \
         link != &(list)->head; link = link##_next, link##_next = link->next)

#endif

/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/explain/explain_list.h"

#include <stdio.h>
#include <stdlib.h>

static struct bytes
listed_destination(const struct explained_binding *binding)
{
    return bytes_make(binding->destination, binding->destination_size);
}

static struct bytes
listed_key(const struct explained_binding *binding)
{
    return bytes_make(binding->key, binding->key_size);
}

/* Near misses first (of matches all distances are 0), then exchanges before queues, then by name.
 */
static int
compare(const struct explained_offer *offer, const struct explained_binding *listed)
{
    uint32_t distance = offer->verdict->matches ? 0 : offer->verdict->distance;
    if (distance != listed->distance) {
        return distance < listed->distance ? -1 : 1;
    }
    if (offer->to_exchange != listed->to_exchange) {
        return offer->to_exchange ? -1 : 1;
    }
    int order = bytes_compare(offer->destination, listed_destination(listed));
    return order != 0 ? order : bytes_compare(offer->key, listed_key(listed));
}

static uint32_t
find_place(const struct explained_bindings *list, const struct explained_offer *offer)
{
    uint32_t low = 0;
    uint32_t high = list->count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (compare(offer, &list->items[middle]) < 0) {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    return low;
}

static void
fill(struct explained_binding *listed, const struct explained_offer *offer)
{
    listed->to_exchange = offer->to_exchange;
    listed->destination_size = (uint8_t)offer->destination.size;
    listed->key_size = (uint8_t)offer->key.size;
    memcpy(listed->destination, offer->destination.data, offer->destination.size);
    if (offer->key.size > 0) {
        memcpy(listed->key, offer->key.data, offer->key.size);
    }
    listed->distance = offer->verdict->matches ? 0 : offer->verdict->distance;
    listed->message_key = offer->message_key;
    if (offer->why != NULL) {
        (void)snprintf(listed->why, sizeof(listed->why), "%s", offer->why);
    } else {
        (void)verdict_text(offer->verdict, listed->why);
    }
}

/* Room for one more, unless the list is as long as it may be. */
static void
grow(struct explained_bindings *list, uint32_t max, uint32_t *room)
{
    enum { FIRST = 4 };
    uint32_t wanted = list->capacity == 0 ? FIRST : 2 * list->capacity;
    wanted = wanted > max ? max : wanted;
    wanted = wanted - list->capacity > *room ? list->capacity + *room : wanted;
    if (wanted > list->capacity) {
        *room -= wanted - list->capacity;
        list->items = xrealloc(list->items, wanted * sizeof(*list->items));
        list->capacity = wanted;
    }
}

void
explained_bindings_offer(struct explained_bindings *list, uint32_t max, uint32_t *room,
                         const struct explained_offer *offer)
{
    list->total++;
    if (list->count == list->capacity) {
        grow(list, max, room);
    }
    uint32_t place = find_place(list, offer);
    if (place == list->capacity) {
        return;
    }
    if (list->count < list->capacity) {
        list->count++;
    }
    memmove(list->items + place + 1, list->items + place,
            (list->count - place - 1) * sizeof(*list->items));
    fill(&list->items[place], offer);
}

void
explained_bindings_clear(struct explained_bindings *list, uint32_t *room)
{
    *room += list->capacity;
    free(list->items);
    *list = (struct explained_bindings){.count = 0};
}

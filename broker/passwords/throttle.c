/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/passwords/throttle.h"

#include "base/alloc.h"
#include "base/list.h"
#include "base/map.h"

#include <stdlib.h>

static const uint64_t THROTTLE_FIRST_MS = 250;
static const uint64_t THROTTLE_MAX_MS = 30000;
/* A record without a failure for this long is as good as none. */
static const uint64_t THROTTLE_FORGET_MS = 10 * 60 * 1000;
static const uint32_t THROTTLE_RECORDS_MAX = 4096;

struct throttle_record {
    struct list_link link; /* throttle->records, the one that failed longest ago first */
    uint64_t failed_ms;
    uint64_t delay_ms; /* from failed_ms on */
    size_t key_size;
    uint8_t key[];
};

struct throttle {
    struct map by_key;
    struct list records; /* owns */
};

struct throttle *
throttle_new(uint64_t seed)
{
    struct throttle *throttle = xalloc(sizeof(*throttle));
    map_init(&throttle->by_key, seed);
    list_init(&throttle->records);
    return throttle;
}

static void
throttle_remove(struct throttle *throttle, struct throttle_record *record)
{
    list_remove(&record->link);
    map_remove(&throttle->by_key, bytes_make(record->key, record->key_size));
    free(record);
}

void
throttle_free(struct throttle **throttle_pointer)
{
    struct throttle *throttle = *throttle_pointer;
    if (throttle == NULL) {
        return;
    }
    struct list_link *link;
    while ((link = list_first(&throttle->records)) != NULL) {
        throttle_remove(throttle, CONTAINER_OF(link, struct throttle_record, link));
    }
    map_fini(&throttle->by_key);
    free(throttle);
    *throttle_pointer = NULL;
}

uint64_t
throttle_due_ms(const struct throttle *throttle, struct bytes key, uint64_t now_ms)
{
    const struct throttle_record *record = map_get(&throttle->by_key, key);
    if (record == NULL || record->failed_ms + record->delay_ms <= now_ms) {
        return 0;
    }
    return record->failed_ms + record->delay_ms;
}

static struct throttle_record *
throttle_add(struct throttle *throttle, struct bytes key)
{
    if (map_count(&throttle->by_key) >= THROTTLE_RECORDS_MAX) {
        struct list_link *oldest = list_first(&throttle->records);
        throttle_remove(throttle, CONTAINER_OF(oldest, struct throttle_record, link));
    }
    struct throttle_record *record = xalloc(sizeof(*record) + key.size);
    record->key_size = key.size;
    memcpy(record->key, key.data, key.size);
    map_put(&throttle->by_key, bytes_make(record->key, record->key_size), record);
    list_append(&throttle->records, &record->link);
    return record;
}

void
throttle_failed(struct throttle *throttle, struct bytes key, uint64_t now_ms)
{
    struct throttle_record *record = map_get(&throttle->by_key, key);
    if (record == NULL) {
        record = throttle_add(throttle, key);
    }
    bool is_stale = record->failed_ms + THROTTLE_FORGET_MS <= now_ms;
    if (record->delay_ms == 0 || is_stale) {
        record->delay_ms = THROTTLE_FIRST_MS;
    } else if (record->delay_ms < THROTTLE_MAX_MS) {
        record->delay_ms =
            record->delay_ms * 2 < THROTTLE_MAX_MS ? record->delay_ms * 2 : THROTTLE_MAX_MS;
    }
    record->failed_ms = now_ms;
    list_remove(&record->link);
    list_append(&throttle->records, &record->link);
}

void
throttle_succeeded(struct throttle *throttle, struct bytes key)
{
    struct throttle_record *record = map_get(&throttle->by_key, key);
    if (record != NULL) {
        throttle_remove(throttle, record);
    }
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/passwords/credentials.h"

#include <stdlib.h>

#include "base/alloc.h"
#include "base/list.h"
#include "base/map.h"

/* How long a verified credential is taken without a new check. */
static const uint64_t CREDENTIAL_KEPT_MS = 60000;
static const uint32_t CREDENTIALS_MAX = 4096;

struct credential {
    struct list_link link; /* credentials->list */
    uint8_t mac[PASSWORD_MAC_SIZE];
    uint64_t until_ms;
};

struct credentials {
    struct map by_mac;
    struct list list; /* the oldest first; owns */
};

struct credentials *
credentials_new(uint64_t seed)
{
    struct credentials *credentials = xalloc(sizeof(*credentials));
    map_init(&credentials->by_mac, seed);
    list_init(&credentials->list);
    return credentials;
}

static struct bytes
mac_bytes(const uint8_t mac[static PASSWORD_MAC_SIZE])
{
    return bytes_make(mac, PASSWORD_MAC_SIZE);
}

static void
credentials_drop(struct credentials *credentials, struct credential *credential)
{
    list_remove(&credential->link);
    map_remove(&credentials->by_mac, mac_bytes(credential->mac));
    free(credential);
}

static void
credentials_drop_oldest(struct credentials *credentials)
{
    struct list_link *oldest = list_first(&credentials->list);
    credentials_drop(credentials, CONTAINER_OF(oldest, struct credential, link));
}

void
credentials_free(struct credentials **credentials_pointer)
{
    struct credentials *credentials = *credentials_pointer;
    if (credentials == NULL) {
        return;
    }
    while (!list_is_empty(&credentials->list)) {
        credentials_drop_oldest(credentials);
    }
    map_fini(&credentials->by_mac);
    free(credentials);
    *credentials_pointer = NULL;
}

bool
credentials_hold(struct credentials *credentials, const uint8_t mac[static PASSWORD_MAC_SIZE],
                 uint64_t now_ms)
{
    struct credential *credential = map_get(&credentials->by_mac, mac_bytes(mac));
    if (credential != NULL && credential->until_ms <= now_ms) {
        credentials_drop(credentials, credential);
        return false;
    }
    return credential != NULL;
}

void
credentials_add(struct credentials *credentials, const uint8_t mac[static PASSWORD_MAC_SIZE],
                uint64_t now_ms)
{
    struct credential *credential = map_get(&credentials->by_mac, mac_bytes(mac));
    if (credential == NULL) {
        if (map_count(&credentials->by_mac) >= CREDENTIALS_MAX) {
            credentials_drop_oldest(credentials);
        }
        credential = xalloc(sizeof(*credential));
        memcpy(credential->mac, mac, PASSWORD_MAC_SIZE);
        map_put(&credentials->by_mac, mac_bytes(credential->mac), credential);
    }
    list_remove(&credential->link);
    list_append(&credentials->list, &credential->link);
    credential->until_ms = now_ms + CREDENTIAL_KEPT_MS;
}

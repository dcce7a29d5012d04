/* SPDX-License-Identifier: Apache-2.0 */
/* AES-256-CBC and HMAC-SHA-256, as OpenSSL seals tickets by itself. */
#include "tls/tls_tickets.h"

#include "base/alloc.h"

#include <openssl/core_names.h>
#include <openssl/rand.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

/* A key seals tickets for so long at most. */
static const uint64_t TICKET_KEY_AGE_MS = UINT64_C(12) * 3600 * 1000;

struct ticket_key {
    unsigned char name[16]; /* goes in front of the ticket, so that its key is found */
    unsigned char cipher[32];
    unsigned char mac[32];
};

struct tls_tickets {
    struct clock_source clock;
    pthread_mutex_t lock;
    struct ticket_key key; /* under `lock` */
    uint64_t made_ms;      /* monotonic; under `lock` */
};

enum { TICKET_REFUSED = 0, TICKET_GOOD = 1, TICKET_GOOD_AND_RENEWED = 2, TICKET_ERROR = -1 };

struct tls_tickets *
tls_tickets_new(struct clock_source clock)
{
    struct tls_tickets *tickets = xalloc(sizeof(*tickets));
    tickets->clock = clock;
    tickets->made_ms = clock.read(clock.context).monotonic_ms;
    if (RAND_bytes((unsigned char *)&tickets->key, sizeof(tickets->key)) != 1) {
        free(tickets);
        return NULL;
    }
    pthread_mutex_init(&tickets->lock, NULL);
    return tickets;
}

void
tls_tickets_free(struct tls_tickets **tickets_pointer)
{
    struct tls_tickets *tickets = *tickets_pointer;
    if (tickets == NULL) {
        return;
    }
    pthread_mutex_destroy(&tickets->lock);
    OPENSSL_cleanse(&tickets->key, sizeof(tickets->key));
    free(tickets);
    *tickets_pointer = NULL;
}

/* The key of this moment. Without randomness the old one goes on: better than no service. */
static struct ticket_key
current_key(struct tls_tickets *tickets)
{
    uint64_t now_ms = tickets->clock.read(tickets->clock.context).monotonic_ms;
    pthread_mutex_lock(&tickets->lock);
    struct ticket_key fresh = {0};
    if (now_ms - tickets->made_ms >= TICKET_KEY_AGE_MS &&
        RAND_bytes((unsigned char *)&fresh, sizeof(fresh)) == 1) {
        tickets->key = fresh;
        tickets->made_ms = now_ms;
    }
    struct ticket_key key = tickets->key;
    pthread_mutex_unlock(&tickets->lock);
    OPENSSL_cleanse(&fresh, sizeof(fresh));
    return key;
}

static bool
set_mac(EVP_MAC_CTX *mac, struct ticket_key *key)
{
    char digest[] = "SHA256";
    const OSSL_PARAM params[] = {
        OSSL_PARAM_construct_octet_string(OSSL_MAC_PARAM_KEY, key->mac, sizeof(key->mac)),
        OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest, 0),
        OSSL_PARAM_construct_end(),
    };
    return EVP_MAC_CTX_set_params(mac, params) == 1;
}

static int
seal(struct ticket_key *key, unsigned char *name, unsigned char *iv, EVP_CIPHER_CTX *cipher,
     EVP_MAC_CTX *mac)
{
    if (RAND_bytes(iv, EVP_CIPHER_get_iv_length(EVP_aes_256_cbc())) != 1 ||
        EVP_EncryptInit_ex(cipher, EVP_aes_256_cbc(), NULL, key->cipher, iv) != 1 ||
        !set_mac(mac, key)) {
        return TICKET_ERROR;
    }
    memcpy(name, key->name, sizeof(key->name));
    return TICKET_GOOD;
}

static int
open_sealed(struct ticket_key *key, const unsigned char *name, const unsigned char *iv,
            EVP_CIPHER_CTX *cipher, EVP_MAC_CTX *mac)
{
    if (memcmp(name, key->name, sizeof(key->name)) != 0) {
        return TICKET_REFUSED;
    }
    if (EVP_DecryptInit_ex(cipher, EVP_aes_256_cbc(), NULL, key->cipher, iv) != 1 ||
        !set_mac(mac, key)) {
        return TICKET_ERROR;
    }
    return TICKET_GOOD;
}

/* Called by OpenSSL on the thread of the connection. In TLS 1.3 a ticket is for one use. */
static int
on_ticket(SSL *ssl, unsigned char *name, unsigned char *iv, EVP_CIPHER_CTX *cipher,
          EVP_MAC_CTX *mac, int is_sealing)
{
    struct tls_tickets *tickets = SSL_CTX_get_app_data(SSL_get_SSL_CTX(ssl));
    struct ticket_key key = current_key(tickets);
    int result = is_sealing != 0 ? seal(&key, name, iv, cipher, mac)
                                 : open_sealed(&key, name, iv, cipher, mac);
    OPENSSL_cleanse(&key, sizeof(key));
    bool is_single_use = is_sealing == 0 && SSL_version(ssl) == TLS1_3_VERSION;
    return result == TICKET_GOOD && is_single_use ? TICKET_GOOD_AND_RENEWED : result;
}

void
tls_tickets_attach(struct tls_tickets *tickets, SSL_CTX *ssl)
{
    SSL_CTX_set_app_data(ssl, tickets);
    SSL_CTX_set_tlsext_ticket_key_evp_cb(ssl, on_ticket);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/passwords/password.h"

#include "base/assert.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/params.h>
#include <stdio.h>
#include <stdlib.h>

/* Cost of our own hashes: 16 MiB, five passes, about 0.3 s (OWASP's equal of 2^17, 8, 1). */
enum { SCRYPT_LN = 14, SCRYPT_R = 8, SCRYPT_P = 5, SCRYPT_SALT_SIZE = 16, SCRYPT_KEY_SIZE = 32 };

/* What a stored hash may ask for at most: the file it stands in may be hostile. */
enum { SCRYPT_LN_MAX = 16, SCRYPT_R_MAX = 16, SCRYPT_P_MAX = 16, SCRYPT_OCTETS_MAX = 64 };
static const uint64_t SCRYPT_MEMORY_MAX = UINT64_C(65) * 1024 * 1024;

enum { RABBITMQ_SALT_SIZE = 4, RABBITMQ_HASH_MAX = 64 };

const char password_hash_nobody[] =
    "$scrypt$ln=14,r=8,p=5$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

static const char SCRYPT_PREFIX[] = "$scrypt$";

struct scrypt_hash {
    unsigned ln;
    unsigned r;
    unsigned p;
    uint8_t salt[SCRYPT_OCTETS_MAX];
    size_t salt_size;
    uint8_t key[SCRYPT_OCTETS_MAX];
    size_t key_size;
};

/* Base64 with or without padding; false when it is none or does not fit. */
static bool
base64_decode(struct bytes text, uint8_t *out, size_t out_max, size_t *size_out)
{
    while (text.size > 0 && text.data[text.size - 1] == '=') {
        text.size--;
    }
    unsigned char padded[2 * SCRYPT_OCTETS_MAX];
    size_t padded_size = (text.size + 3) / 4 * 4;
    if (text.size % 4 == 1 || padded_size > sizeof(padded)) {
        return false;
    }
    memcpy(padded, text.data, text.size);
    memset(padded + text.size, '=', padded_size - text.size);
    unsigned char decoded[sizeof(padded)];
    int decoded_size = EVP_DecodeBlock(decoded, padded, (int)padded_size);
    size_t size = text.size * 3 / 4;
    if (decoded_size < 0 || size > out_max) {
        return false;
    }
    memcpy(out, decoded, size);
    *size_out = size;
    return true;
}

static void
base64_encode_bare(struct bytes octets, char *out)
{
    int size = EVP_EncodeBlock((unsigned char *)out, octets.data, (int)octets.size);
    while (size > 0 && out[size - 1] == '=') {
        size--;
    }
    out[size] = '\0';
}

/* Reads `$scrypt$ln=L,r=R,p=P$SALT$KEY` and checks that its cost is one we are willing to pay. */
static bool
scrypt_hash_parse(struct scrypt_hash *hash, const char *text)
{
    int length = 0;
    if (sscanf(text, "$scrypt$ln=%2u,r=%2u,p=%2u$%n", &hash->ln, &hash->r, &hash->p, &length) !=
            3 ||
        length == 0) {
        return false;
    }
    if (hash->ln < 1 || hash->ln > SCRYPT_LN_MAX || hash->r < 1 || hash->r > SCRYPT_R_MAX ||
        hash->p < 1 || hash->p > SCRYPT_P_MAX) {
        return false;
    }
    const char *salt = text + length;
    const char *end = strchr(salt, '$');
    return end != NULL &&
           base64_decode(bytes_make(salt, (size_t)(end - salt)), hash->salt, sizeof(hash->salt),
                         &hash->salt_size) &&
           base64_decode(bytes_of(end + 1), hash->key, sizeof(hash->key), &hash->key_size) &&
           hash->key_size >= 16;
}

static enum status
scrypt_derive(const struct scrypt_hash *hash, struct bytes password, uint8_t *key_out)
{
    int done = EVP_PBE_scrypt((const char *)password.data, password.size, hash->salt,
                              hash->salt_size, UINT64_C(1) << hash->ln, hash->r, hash->p,
                              SCRYPT_MEMORY_MAX, key_out, hash->key_size);
    return done == 1 ? STATUS_OK : STATUS_NO_MEMORY;
}

/* Derives the key and writes everything down. */
static enum status
scrypt_hash_write(struct scrypt_hash *hash, struct bytes password, char *out)
{
    char salt[2 * SCRYPT_OCTETS_MAX];
    char key[2 * SCRYPT_OCTETS_MAX];
    if (scrypt_derive(hash, password, hash->key) != STATUS_OK) {
        return STATUS_NO_MEMORY;
    }
    base64_encode_bare(bytes_make(hash->salt, hash->salt_size), salt);
    base64_encode_bare(bytes_make(hash->key, hash->key_size), key);
    int size = snprintf(out, PASSWORD_HASH_SIZE, "%sln=%u,r=%u,p=%u$%s$%s", SCRYPT_PREFIX, hash->ln,
                        hash->r, hash->p, salt, key);
    OPENSSL_cleanse(key, sizeof(key));
    return size < PASSWORD_HASH_SIZE ? STATUS_OK : STATUS_REJECTED;
}

enum status
password_hash(struct bytes password, const struct random_source *random,
              char out[static PASSWORD_HASH_SIZE])
{
    struct scrypt_hash hash = {.ln = SCRYPT_LN,
                               .r = SCRYPT_R,
                               .p = SCRYPT_P,
                               .salt_size = SCRYPT_SALT_SIZE,
                               .key_size = SCRYPT_KEY_SIZE};
    random->fill(random->context, hash.salt, SCRYPT_SALT_SIZE);
    enum status status = scrypt_hash_write(&hash, password, out);
    OPENSSL_cleanse(&hash, sizeof(hash));
    return status;
}

enum status
password_hash_again(struct bytes password, const char *salt, char out[static PASSWORD_HASH_SIZE])
{
    /* Any key will do to be parsed: it is made anew. */
    static const char some_key[] = "$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
    struct scrypt_hash hash;
    char text[PASSWORD_HASH_SIZE];
    int size = snprintf(text, sizeof(text), "%s%s", salt, some_key);
    if (size >= PASSWORD_HASH_SIZE || !scrypt_hash_parse(&hash, text) || hash.salt_size == 0) {
        return STATUS_REJECTED;
    }
    enum status status = scrypt_hash_write(&hash, password, out);
    OPENSSL_cleanse(&hash, sizeof(hash));
    return status;
}

static enum status
password_verify_scrypt(struct bytes password, const char *text)
{
    struct scrypt_hash hash;
    if (!scrypt_hash_parse(&hash, text)) {
        return STATUS_REJECTED;
    }
    uint8_t key[SCRYPT_OCTETS_MAX];
    enum status status = scrypt_derive(&hash, password, key);
    if (status == STATUS_OK && CRYPTO_memcmp(key, hash.key, hash.key_size) != 0) {
        status = STATUS_REJECTED;
    }
    OPENSSL_cleanse(key, sizeof(key));
    return status;
}

/* RabbitMQ's digests, told apart by their length. */
static const struct rabbitmq_form {
    size_t size;
    const EVP_MD *(*digest)(void);
    const char *algorithm;
} rabbitmq_forms[] = {
    {16, EVP_md5, "rabbit_password_hashing_md5"},
    {32, EVP_sha256, "rabbit_password_hashing_sha256"},
    {64, EVP_sha512, "rabbit_password_hashing_sha512"},
};

/* base64(salt[4] || H(salt || password)), decoded to `stored`; NULL: the text is in no such form.
 */
static const struct rabbitmq_form *
rabbitmq_hash_parse(const char *text, uint8_t stored[static RABBITMQ_SALT_SIZE + RABBITMQ_HASH_MAX])
{
    size_t size;
    if (!base64_decode(bytes_of(text), stored, RABBITMQ_SALT_SIZE + RABBITMQ_HASH_MAX, &size)) {
        return NULL;
    }
    for (size_t i = 0; i < ARRAY_LEN(rabbitmq_forms); i++) {
        if (size == RABBITMQ_SALT_SIZE + rabbitmq_forms[i].size) {
            return &rabbitmq_forms[i];
        }
    }
    return NULL;
}

const char *
password_hash_algorithm(const char *hash)
{
    struct scrypt_hash parsed;
    uint8_t stored[RABBITMQ_SALT_SIZE + RABBITMQ_HASH_MAX];
    if (password_hash_is_slow(hash)) {
        return scrypt_hash_parse(&parsed, hash) ? "bourse_password_hashing_scrypt" : NULL;
    }
    const struct rabbitmq_form *form = rabbitmq_hash_parse(hash, stored);
    return form == NULL ? NULL : form->algorithm;
}

/* H(salt || password). */
static enum status
rabbitmq_digest(const struct rabbitmq_form *form, const uint8_t *salt, struct bytes password,
                uint8_t out[static EVP_MAX_MD_SIZE])
{
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    bool done = context != NULL && EVP_DigestInit_ex(context, form->digest(), NULL) == 1 &&
                EVP_DigestUpdate(context, salt, RABBITMQ_SALT_SIZE) == 1 &&
                EVP_DigestUpdate(context, password.data, password.size) == 1 &&
                EVP_DigestFinal_ex(context, out, NULL) == 1;
    EVP_MD_CTX_free(context);
    return done ? STATUS_OK : STATUS_NO_MEMORY;
}

enum status
password_hash_for_rabbitmq(struct bytes password, const struct random_source *random,
                           char out[static PASSWORD_HASH_SIZE])
{
    static const struct rabbitmq_form sha256 = {32, EVP_sha256, NULL};
    uint8_t salted[RABBITMQ_SALT_SIZE + EVP_MAX_MD_SIZE];
    random->fill(random->context, salted, RABBITMQ_SALT_SIZE);
    if (rabbitmq_digest(&sha256, salted, password, salted + RABBITMQ_SALT_SIZE) != STATUS_OK) {
        return STATUS_NO_MEMORY;
    }
    (void)EVP_EncodeBlock((unsigned char *)out, salted, RABBITMQ_SALT_SIZE + (int)sha256.size);
    return STATUS_OK;
}

static enum status
password_verify_rabbitmq(struct bytes password, const char *text)
{
    uint8_t stored[RABBITMQ_SALT_SIZE + RABBITMQ_HASH_MAX];
    uint8_t computed[EVP_MAX_MD_SIZE];
    const struct rabbitmq_form *form = rabbitmq_hash_parse(text, stored);
    if (form == NULL) {
        return STATUS_REJECTED;
    }
    if (rabbitmq_digest(form, stored, password, computed) != STATUS_OK) {
        return STATUS_NO_MEMORY;
    }
    return CRYPTO_memcmp(computed, stored + RABBITMQ_SALT_SIZE, form->size) == 0 ? STATUS_OK
                                                                                 : STATUS_REJECTED;
}

bool
password_hash_is_slow(const char *hash)
{
    return strncmp(hash, SCRYPT_PREFIX, sizeof(SCRYPT_PREFIX) - 1) == 0;
}

enum status
password_verify(struct bytes password, const char *hash)
{
    return password_hash_is_slow(hash) ? password_verify_scrypt(password, hash)
                                       : password_verify_rabbitmq(password, hash);
}

static void
mac_update(EVP_MAC_CTX *context, struct bytes part)
{
    uint8_t size[8];
    put_u64(size, part.size);
    int done = EVP_MAC_update(context, size, sizeof(size)) == 1 &&
               EVP_MAC_update(context, part.data, part.size) == 1;
    assert(done);
}

void
password_mac(const uint8_t key[static PASSWORD_MAC_SIZE], struct bytes user, struct bytes hash,
             struct bytes secret, uint8_t out[static PASSWORD_MAC_SIZE])
{
    EVP_MAC *mac = EVP_MAC_fetch(NULL, "HMAC", NULL);
    assert(mac != NULL);
    EVP_MAC_CTX *context = EVP_MAC_CTX_new(mac);
    assert(context != NULL);
    char digest[] = "SHA256";
    OSSL_PARAM parameters[] = {OSSL_PARAM_utf8_string("digest", digest, sizeof(digest) - 1),
                               OSSL_PARAM_END};
    int started = EVP_MAC_init(context, key, PASSWORD_MAC_SIZE, parameters);
    assert(started == 1);
    mac_update(context, user);
    mac_update(context, hash);
    mac_update(context, secret);
    size_t size = 0;
    int finished = EVP_MAC_final(context, out, &size, PASSWORD_MAC_SIZE);
    assert(finished == 1);
    assert(size == PASSWORD_MAC_SIZE);
    EVP_MAC_CTX_free(context);
    EVP_MAC_free(mac);
}

bool
password_mac_equal(const uint8_t a[static PASSWORD_MAC_SIZE],
                   const uint8_t b[static PASSWORD_MAC_SIZE])
{
    return CRYPTO_memcmp(a, b, PASSWORD_MAC_SIZE) == 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Forms of password hashes: what `bourse check` accepts the broker can check a password against.
 * The input is the hash as it stands in a file. Costs are put down first, so that a run takes
 * microseconds, and digests are replaced by the right ones. */
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/buffer.h"
#include "broker/passwords/password.h"
#include "config/password_hash.h"
#include "tests/fuzz/target.h"

enum { INPUT_MAX = 320, DIGEST_MAX = 64, SALT_MAX = 128, RABBITMQ_SALT_SIZE = 4 };

static const char PASSWORD[] = "open sesame";

static struct bytes
password_bytes(void)
{
    return bytes_of(PASSWORD);
}

static int
base64_value(uint8_t octet)
{
    static const char alphabet[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const char *at = memchr(alphabet, octet, sizeof(alphabet) - 1);
    return at == NULL ? -1 : (int)(at - alphabet);
}

/* Decodes base64 without padding that is known to be good. */
static size_t
base64_decode(struct bytes text, uint8_t *out)
{
    uint32_t bits = 0;
    unsigned count = 0;
    size_t size = 0;
    for (size_t i = 0; i < text.size; i++) {
        int value = base64_value(text.data[i]);
        assert(value >= 0);
        bits = bits << 6 | (uint32_t)value;
        count += 6;
        if (count >= 8) {
            count -= 8;
            out[size++] = (uint8_t)(bits >> count);
        }
    }
    return size;
}

static void
put_base64(struct buffer *out, const uint8_t *octets, size_t size, bool is_padded)
{
    char text[2 * DIGEST_MAX + 16];
    int length = EVP_EncodeBlock((unsigned char *)text, octets, (int)size);
    while (!is_padded && length > 0 && text[length - 1] == '=') {
        length--;
    }
    buffer_put(out, text, (size_t)length);
}

/* Puts the cheapest parameters in place of those between the second and the third `$`. */
static void
check_scrypt(struct bytes text)
{
    const uint8_t *end = text.data + text.size;
    const uint8_t *parameters = text.data + sizeof("$scrypt$") - 1;
    const uint8_t *salt = memchr(parameters, '$', (size_t)(end - parameters));
    assert(salt != NULL);
    salt++;
    const uint8_t *key = memchr(salt, '$', (size_t)(end - salt));
    assert(key != NULL);
    key++;
    uint8_t salt_octets[SALT_MAX];
    uint8_t derived[DIGEST_MAX];
    size_t salt_size = base64_decode(bytes_make(salt, (size_t)(key - 1 - salt)), salt_octets);
    size_t key_size = (size_t)(end - key) * 3 / 4;
    assert(key_size <= DIGEST_MAX);
    int done = EVP_PBE_scrypt(PASSWORD, sizeof(PASSWORD) - 1, salt_octets, salt_size, 2, 1, 1, 0,
                              derived, key_size);
    assert(done == 1);
    struct buffer right;
    buffer_init(&right);
    buffer_printf(&right, "$scrypt$ln=1,r=1,p=1$");
    buffer_put(&right, salt, (size_t)(key - salt));
    put_base64(&right, derived, key_size, false);
    assert(password_hash_problem(buffer_bytes(&right)) == NULL);
    buffer_put_u8(&right, 0);
    const char *hash = (const char *)buffer_bytes(&right).data;
    assert(password_hash_is_slow(hash));
    assert(password_verify(password_bytes(), hash) == STATUS_OK);
    assert(password_verify(bytes_of("open"), hash) == STATUS_REJECTED);
    buffer_fini(&right);
}

static void
check_rabbitmq(struct bytes text)
{
    while (text.size > 0 && text.data[text.size - 1] == '=') {
        text.size--;
    }
    uint8_t octets[RABBITMQ_SALT_SIZE + DIGEST_MAX + 3];
    size_t size = base64_decode(text, octets);
    uint8_t salted[RABBITMQ_SALT_SIZE + sizeof(PASSWORD) - 1];
    memcpy(salted, octets, RABBITMQ_SALT_SIZE);
    memcpy(salted + RABBITMQ_SALT_SIZE, PASSWORD, sizeof(PASSWORD) - 1);
    const EVP_MD *digest = size == RABBITMQ_SALT_SIZE + 32 ? EVP_sha256() : EVP_sha512();
    int done = EVP_Digest(salted, sizeof(salted), octets + RABBITMQ_SALT_SIZE, NULL, digest, NULL);
    assert(done == 1);
    struct buffer right;
    buffer_init(&right);
    put_base64(&right, octets, size, true);
    assert(password_hash_problem(buffer_bytes(&right)) == NULL);
    buffer_put_u8(&right, 0);
    const char *hash = (const char *)buffer_bytes(&right).data;
    assert(!password_hash_is_slow(hash));
    assert(password_verify(password_bytes(), hash) == STATUS_OK);
    assert(password_verify(bytes_of("open"), hash) == STATUS_REJECTED);
    buffer_fini(&right);
}

/* Whatever the form: no hash that costs too much is tried here. */
static bool
is_cheap(const char *text)
{
    unsigned ln = 0;
    unsigned r = 0;
    unsigned p = 0;
    if (!password_hash_is_slow(text)) {
        return true;
    }
    return sscanf(text, "$scrypt$ln=%2u,r=%2u,p=%2u", &ln, &r, &p) < 3 || (ln < 4 && r * p < 5);
}

static void
run(struct bytes input)
{
    if (input.size > 0 && memchr(input.data, 0, input.size) != NULL) {
        return; /* no file brings it this far */
    }
    char *text = calloc(1, input.size + 1);
    if (input.size > 0) {
        memcpy(text, input.data, input.size);
    }
    struct bytes form = bytes_of(text);
    bool is_accepted = password_hash_problem(form) == NULL;
    if (is_cheap(text)) {
        enum status status = password_verify(password_bytes(), text);
        assert(status == STATUS_OK || status == STATUS_REJECTED);
    }
    if (is_accepted && password_hash_is_slow(text)) {
        check_scrypt(form);
    } else if (is_accepted) {
        check_rabbitmq(form);
    }
    free(text);
}

const struct fuzz_target fuzz_password = {.name = "password", .size_max = INPUT_MAX, .run = run};

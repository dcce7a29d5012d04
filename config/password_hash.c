/* SPDX-License-Identifier: Apache-2.0 */
/* The syntax of password hashes; checking passwords is the broker's. */
#include "config/password_hash.h"

#include "base/assert.h"

enum {
    SALT_SIZE_MIN = 8,
    SALT_SIZE_MAX = 64,
    HASH_SIZE_MIN = 16,
    HASH_SIZE_MAX = 64,
    LOG_N_MAX = 16,
    R_MAX = 16,
    P_MAX = 16,
    MEMORY_MAX = 64 * 1024 * 1024, /* 128 * r * N */
    WORK_MAX = 1 << 22,            /* r * p * N: six times that of ln=14,r=8,p=5 */
    RABBITMQ_SALT_SIZE = 4,
    SHA256_SIZE = 32,
    SHA512_SIZE = 64,
};

static bool
is_base64(uint8_t octet)
{
    return (octet >= 'A' && octet <= 'Z') || (octet >= 'a' && octet <= 'z') ||
           (octet >= '0' && octet <= '9') || octet == '+' || octet == '/';
}

/* How many octets unpadded base64 stands for; 0 when it is none. */
static size_t
base64_size(struct bytes text)
{
    for (size_t i = 0; i < text.size; i++) {
        if (!is_base64(text.data[i])) {
            return 0;
        }
    }
    return text.size % 4 == 1 ? 0 : text.size * 3 / 4;
}

/* The part up to the next `separator`, which is stepped over; all there is when there is none. */
static struct bytes
take_until(struct bytes *rest, char separator)
{
    const uint8_t *found = rest->size == 0 ? NULL : memchr(rest->data, separator, rest->size);
    struct bytes part = *rest;
    if (found == NULL) {
        *rest = bytes_make(rest->data + rest->size, 0);
        return part;
    }
    part.size = (size_t)(found - rest->data);
    *rest = bytes_make(found + 1, rest->size - part.size - 1);
    return part;
}

/* The number in `NAME=NUMBER`; 0 when it is not there or over `max`. */
static uint64_t
take_parameter(struct bytes *rest, const char *prefix, uint64_t max)
{
    struct bytes part = take_until(rest, ',');
    size_t at = strlen(prefix);
    uint64_t value = 0;
    if (!bytes_starts_with(part, prefix) || part.size == at || part.data[at] == '0') {
        return 0;
    }
    for (; at < part.size; at++) {
        if (part.data[at] < '0' || part.data[at] > '9' || value > max) {
            return 0;
        }
        value = value * 10 + (uint64_t)(part.data[at] - '0');
    }
    return value <= max ? value : 0;
}

static const char *
scrypt_problem(struct bytes rest)
{
    struct bytes parameters = take_until(&rest, '$');
    struct bytes salt = take_until(&rest, '$');
    size_t salt_size = base64_size(salt);
    size_t hash_size = base64_size(rest);
    uint64_t log_n = take_parameter(&parameters, "ln=", LOG_N_MAX);
    uint64_t r = take_parameter(&parameters, "r=", R_MAX);
    uint64_t p = take_parameter(&parameters, "p=", P_MAX);

    if (log_n == 0 || r == 0 || p == 0 || parameters.size > 0) {
        return "has parameters other than ln=1...16,r=1...16,p=1...16";
    }
    if ((UINT64_C(128) * r) << log_n > MEMORY_MAX) {
        return "asks for more than 64 MiB of memory";
    }
    if ((r * p) << log_n > WORK_MAX) {
        return "asks for too much work";
    }
    if (salt_size < SALT_SIZE_MIN || salt_size > SALT_SIZE_MAX) {
        return "has no salt of 8 to 64 octets in base64 without padding";
    }
    if (hash_size < HASH_SIZE_MIN || hash_size > HASH_SIZE_MAX) {
        return "has no hash of 16 to 64 octets in base64 without padding";
    }
    return NULL;
}

static const char *
rabbitmq_problem(struct bytes text)
{
    size_t padded = text.size;
    while (text.size > 0 && padded - text.size < 2 && text.data[text.size - 1] == '=') {
        text.size--;
    }
    size_t size = base64_size(text);
    bool is_known =
        size == RABBITMQ_SALT_SIZE + SHA256_SIZE || size == RABBITMQ_SALT_SIZE + SHA512_SIZE;
    if (padded % 4 != 0 || !is_known) {
        return "is neither $scrypt$ln=...,r=...,p=...$SALT$HASH nor RabbitMQ's base64 form";
    }
    return NULL;
}

const char *
password_hash_problem(struct bytes text)
{
    static const char scrypt_prefix[] = "$scrypt$";
    size_t prefix = sizeof(scrypt_prefix) - 1;
    if (!bytes_starts_with(text, scrypt_prefix)) {
        return rabbitmq_problem(text);
    }
    return scrypt_problem(bytes_make(text.data + prefix, text.size - prefix));
}

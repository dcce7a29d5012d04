/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/passwords/sasl.h"

#include "amqp/table.h"
#include "base/assert.h"

bool
sasl_parse_plain(struct bytes response, struct bytes *user_out, struct bytes *password_out)
{
    if (response.size < 2 || response.data[0] != 0) {
        return false;
    }
    const uint8_t *user = response.data + 1;
    const uint8_t *end = response.data + response.size;
    const uint8_t *separator = memchr(user, 0, (size_t)(end - user));
    if (separator == NULL || memchr(separator + 1, 0, (size_t)(end - separator - 1)) != NULL) {
        return false;
    }
    *user_out = bytes_make(user, (size_t)(separator - user));
    *password_out = bytes_make(separator + 1, (size_t)(end - separator - 1));
    return true;
}

bool
sasl_parse_amqplain(struct bytes response, struct bytes *user_out, struct bytes *password_out)
{
    struct fault ignored;
    struct table_value user;
    struct table_value password;
    if (table_validate(response, TABLE_FIELDS_MAX, &ignored) != STATUS_OK ||
        !table_find(response, "LOGIN", &user) || !table_find(response, "PASSWORD", &password)) {
        return false;
    }
    const struct table_value *const values[] = {&user, &password};
    for (size_t i = 0; i < ARRAY_LEN(values); i++) {
        enum table_class class = table_value_class(values[i]);
        if (class != TABLE_CLASS_STRING && class != TABLE_CLASS_BINARY) {
            return false;
        }
    }
    *user_out = user.raw;
    *password_out = password.raw;
    return true;
}

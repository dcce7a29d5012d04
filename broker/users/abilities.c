/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/users/abilities.h"

uint8_t
abilities_of_role(enum config_role role)
{
    static const uint8_t abilities[] = {
        [ROLE_NONE] = ABILITY_NONE,
        [ROLE_MONITOR] = ABILITY_LOOK | ABILITY_SEE_ALL,
        [ROLE_OPERATOR] = ABILITY_LOOK | ABILITY_SEE_ALL | ABILITY_OPERATE | ABILITY_POLICY,
        [ROLE_ADMIN] = ABILITY_ALL,
    };
    return abilities[role];
}

/* What one of RabbitMQ's tags allows; others say something to people only. "monitoring" looks and
 * changes nothing, unless another tag lets it. */
static uint8_t
abilities_of_tag(struct bytes tag)
{
    static const struct {
        const char *name;
        uint8_t abilities;
    } tags[] = {
        {"administrator", ABILITY_ALL},
        {"monitoring", ABILITY_LOOK | ABILITY_SEE_ALL},
        {"policymaker", ABILITY_LOOK | ABILITY_OPERATE | ABILITY_POLICY},
        {"management", ABILITY_LOOK | ABILITY_OPERATE},
    };
    for (size_t i = 0; i < ARRAY_LEN(tags); i++) {
        if (bytes_equal_text(tag, tags[i].name)) {
            return tags[i].abilities;
        }
    }
    return ABILITY_NONE;
}

static bool
is_separator(uint8_t octet)
{
    return octet == ',' || octet == ' ';
}

uint8_t
abilities_of_tags(struct bytes tags)
{
    uint8_t abilities = ABILITY_NONE;
    size_t start = 0;
    for (size_t at = 0; at <= tags.size; at++) {
        if (at == tags.size || is_separator(tags.data[at])) {
            abilities |= abilities_of_tag(bytes_make(tags.data + start, at - start));
            start = at + 1;
        }
    }
    return abilities;
}

uint8_t
abilities_of(const struct user *user)
{
    if (user->is_disabled) {
        return ABILITY_NONE;
    }
    return user->tags != NULL ? abilities_of_tags(bytes_of(user->tags))
                              : abilities_of_role(user->role);
}

const char *
user_tags(const struct user *user)
{
    static const char *const tags[] = {
        [ROLE_NONE] = "",
        [ROLE_MONITOR] = "monitoring",
        [ROLE_OPERATOR] = "monitoring,policymaker,management",
        [ROLE_ADMIN] = "administrator",
    };
    return user->tags != NULL ? user->tags : tags[user->role];
}

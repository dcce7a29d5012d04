/* SPDX-License-Identifier: Apache-2.0 */
/* Values of a configuration: durations, sizes, numbers, names and addresses. The input is an octet
 * for the kind (`A` to `L`, in the order of enum literal_type; lower case: in quotes; `@`: an
 * address) and the text. */
#include "config/literal.h"

#include <stdlib.h>

#include "tests/fuzz/target.h"

enum { INPUT_MAX = 128 };

static const struct literal_word words[] = {{"none", 1}, {"full", 2}, {"quorum", 3}, {NULL, 0}};

struct unit {
    const char *text;
    int64_t factor;
};

/* Digits and a unit, counted with more bits than any of them needs. */
static bool
reference_quantity(struct bytes text, const struct unit *units, int64_t *value_out)
{
    unsigned __int128 value = 0;
    size_t digits = 0;
    while (digits < text.size && text.data[digits] >= '0' && text.data[digits] <= '9') {
        value = value * 10 + (unsigned)(text.data[digits] - '0');
        value = value > UINT64_MAX ? UINT64_MAX : value;
        digits++;
    }
    struct bytes rest = bytes_make(text.data + digits, text.size - digits);
    for (; digits > 0 && units->text != NULL; units++) {
        if (bytes_equal_text(rest, units->text)) {
            value *= (unsigned __int128)units->factor;
            *value_out = value > INT64_MAX ? INT64_MAX : (int64_t)value;
            return true;
        }
    }
    return false;
}

static void
check_quantity(const struct literal_rule *rule, struct bytes text, bool is_read,
               const struct literal *literal)
{
    static const struct unit durations[] = {{"ms", 1},      {"s", 1000},     {"m", 60000},
                                            {"h", 3600000}, {"d", 86400000}, {"w", 604800000},
                                            {NULL, 0}};
    static const struct unit sizes[] = {{"B", 1},
                                        {"KiB", 1024},
                                        {"MiB", 1048576},
                                        {"GiB", 1073741824},
                                        {"KB", 1000},
                                        {"MB", 1000000},
                                        {"TiB", 1099511627776},
                                        {"GB", 1000000000},
                                        {"TB", 1000000000000},
                                        {NULL, 0}};
    int64_t value = 0;
    bool is_right =
        reference_quantity(text, rule->type == LITERAL_DURATION ? durations : sizes, &value) &&
        value >= rule->min && value <= rule->max;
    assert(is_read == is_right);
    assert(!is_read || literal->integer == value);
}

static void
check_literal(const struct literal_rule *rule, const struct node *node)
{
    char why[LITERAL_WHY_SIZE] = "";
    struct literal literal = {.integer = -77};
    bool is_read = literal_parse(rule, node, &literal, why);
    assert(memchr(why, 0, sizeof(why)) != NULL);
    if (!is_read) {
        assert(why[0] != '\0');
        assert(literal.integer == -77); /* outputs are written on success only */
        assert(!bytes_is_utf8(node->text) || bytes_is_utf8(bytes_of(why)));
    } else {
        assert(bytes_equal(literal.text, node->text));
    }
    if (rule->type == LITERAL_DURATION || rule->type == LITERAL_SIZE) {
        check_quantity(rule, node->text, is_read, &literal);
    }
}

static void
check_address(const char *text)
{
    char host[64];
    char again[64];
    char written[80];
    uint16_t port;
    uint16_t port_again;
    const char *why = NULL;
    if (!config_parse_address(text, host, &port, &why)) {
        assert(why != NULL);
        return;
    }
    bool is_ipv6 = strchr(host, ':') != NULL;
    (void)snprintf(written, sizeof(written), is_ipv6 ? "[%s]:%u" : "%s:%u", host, (unsigned)port);
    bool is_read = config_parse_address(written, again, &port_again, &why);
    assert(is_read);
    assert(strcmp(host, again) == 0);
    assert(port == port_again);
}

static void
run(struct bytes input)
{
    if (input.size < 1 || memchr(input.data, 0, input.size) != NULL) {
        return; /* a node holds no NUL */
    }
    size_t size = input.size - 1;
    uint8_t *text = calloc(1, size + 1);
    memcpy(text, input.data + 1, size);
    if (input.data[0] == '@') {
        check_address((const char *)text);
    } else {
        bool is_plain = input.data[0] < 'a';
        struct literal_rule rule = {
            .type =
                (enum literal_type)(((input.data[0] & 0x1F) + LITERAL_WORD) % (LITERAL_WORD + 1)),
            .min = 5,
            .max = INT64_C(1) << 40,
            .words = words,
        };
        struct node node = {
            .kind = NODE_SCALAR, .is_plain = is_plain, .text = bytes_make(text, size)};
        /* YAML: a node without text that is not quoted is null. */
        if (!node_is_null(&node)) {
            check_literal(&rule, &node);
        }
    }
    free(text);
}

const struct fuzz_target fuzz_literal = {.name = "literal", .size_max = INPUT_MAX, .run = run};

/* SPDX-License-Identifier: Apache-2.0 */
/* Single values of a configuration file: what kinds there are, how each is written, and the text of
 * the error when one is not. */
#ifndef BOURSE_CONFIG_LITERAL_H
#define BOURSE_CONFIG_LITERAL_H

#include "config/yaml_tree.h"

enum literal_type {
    LITERAL_BOOLEAN,         /* true, false */
    LITERAL_INTEGER,         /* 1000000 */
    LITERAL_NUMBER,          /* 2 or 1.5 */
    LITERAL_DURATION,        /* 500ms s m h d w; the value is in milliseconds */
    LITERAL_SIZE,            /* 2GiB, 500KB; the value is in octets */
    LITERAL_SIZE_OR_PERCENT, /* 2GiB or 40% */
    LITERAL_PERCENT,         /* 20%, or one of `words` */
    LITERAL_TEXT,            /* at least one octet */
    LITERAL_ANY_TEXT,        /* may be empty */
    LITERAL_NAME,            /* of an AMQP object: 1 to 255 octets, no control characters */
    LITERAL_KEY,             /* a routing key: 0 to 255 octets */
    LITERAL_WORD,            /* one of `words` */
};

/* A word of the file and what it stands for; a list ends with a NULL text. */
struct literal_word {
    const char *text;
    int64_t value;
};

struct literal_rule {
    enum literal_type type;
    int64_t
        min; /* bounds of INTEGER, DURATION and SIZE, in the value's unit; both 0: none below 0 */
    int64_t max;
    const struct literal_word *words;
};

struct literal {
    int64_t integer;   /* also 0 or 1 of a boolean, the value of a word, the number of percent */
    double number;     /* LITERAL_NUMBER */
    bool is_percent;   /* LITERAL_SIZE_OR_PERCENT, LITERAL_PERCENT */
    bool is_word;      /* LITERAL_PERCENT */
    struct bytes text; /* as written; NUL-terminated */
};

enum { LITERAL_WHY_SIZE = 256 };

/* Reads the scalar `node` as `rule` says. False: `why` says what is wrong in the form that follows
 * the key's name, such as `takes a duration such as 500ms, 30s or 24h, not "soon"`. */
bool literal_parse(const struct literal_rule *rule, const struct node *node,
                   struct literal *literal_out, char why[static LITERAL_WHY_SIZE]);

/* Reads a plain scalar as YAML's core schema does. */
bool literal_is_boolean(const struct node *node, bool *value_out);
bool literal_is_integer(const struct node *node, int64_t *value_out);
bool literal_is_number(const struct node *node, double *value_out);

/* Why `name` is no name for an exchange, a queue or a user; NULL when it is one. Static memory. */
const char *literal_name_problem(struct bytes name);

#endif

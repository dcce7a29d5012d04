/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/definitions/queue_words.h"

#include "base/assert.h"

/* Ten years in ms: the longest time a word takes. */
static const int64_t TEN_YEARS_MS = INT64_C(315360000000);

struct finder {
    struct bytes arguments;
    const char *taken[32]; /* names of arguments that words say */
    size_t taken_count;
};

static void
take(struct finder *finder, const char *name)
{
    assert(finder->taken_count < ARRAY_LEN(finder->taken));
    finder->taken[finder->taken_count++] = name;
}

static bool
is_taken(const struct finder *finder, struct bytes name)
{
    for (size_t i = 0; i < finder->taken_count; i++) {
        if (bytes_equal_text(name, finder->taken[i])) {
            return true;
        }
    }
    return false;
}

/* An integer between the bounds; false: there is none, or a word could not say it. */
static bool
find_integer(const struct finder *finder, const char *name, int64_t min, int64_t max, int64_t *out)
{
    struct table_value value;
    *out = -1;
    if (!table_find(finder->arguments, name, &value) ||
        table_value_class(&value) != TABLE_CLASS_INTEGER) {
        return false;
    }
    int64_t integer = table_value_integer(&value);
    if (integer < min || integer > max) {
        return false;
    }
    *out = integer;
    return true;
}

static void
take_integer(struct finder *finder, const char *name, int64_t min, int64_t max, int64_t *out)
{
    if (find_integer(finder, name, min, max, out)) {
        take(finder, name);
    }
}

/* data NULL: there is no such text. */
static struct bytes
find_text(const struct finder *finder, const char *name)
{
    struct table_value value;
    bool is_text = table_find(finder->arguments, name, &value) &&
                   table_value_class(&value) == TABLE_CLASS_STRING;
    return is_text ? value.raw : bytes_make(NULL, 0);
}

static bool
is_given(const struct finder *finder, const char *name)
{
    struct table_value value;
    return table_find(finder->arguments, name, &value);
}

static void
find_type(struct finder *finder, struct queue_words *words)
{
    struct bytes type = find_text(finder, "x-queue-type");
    if (type.data != NULL &&
        (bytes_equal_text(type, "classic") || bytes_equal_text(type, "quorum"))) {
        words->type = type;
        take(finder, "x-queue-type");
    }
}

/* A limit in words always says what happens when it is reached. */
static void
find_limits(struct finder *finder, struct queue_words *words)
{
    static const struct {
        const char *overflow, *word;
    } pairs[] = {
        {"reject-publish", "reject"},
        {"drop-head", "drop-oldest"},
        {"reject-publish-dlx", "dead-letter"},
    };
    struct bytes overflow = find_text(finder, "x-overflow");
    for (size_t i = 0; i < ARRAY_LEN(pairs) && overflow.data != NULL; i++) {
        if (bytes_equal_text(overflow, pairs[i].overflow)) {
            words->on_full = pairs[i].word;
        }
    }
    bool needs_target = words->on_full != NULL && strcmp(words->on_full, "dead-letter") == 0;
    if (words->on_full == NULL || (needs_target && !is_given(finder, "x-dead-letter-exchange"))) {
        words->on_full = NULL;
        return;
    }
    take(finder, "x-overflow");
    take_integer(finder, "x-max-length", 0, INT64_MAX, &words->max_length);
    take_integer(finder, "x-max-length-bytes", 0, INT64_MAX, &words->max_length_bytes);
}

static void
find_plain(struct finder *finder, struct queue_words *words)
{
    struct table_value value;
    take_integer(finder, "x-message-ttl", 0, TEN_YEARS_MS, &words->ttl_ms);
    take_integer(finder, "x-expires", 1, TEN_YEARS_MS, &words->expires_ms);
    take_integer(finder, "x-max-priority", 1, 255, &words->priorities);
    take_integer(finder, "x-consumer-timeout", 1, TEN_YEARS_MS, &words->ack_timeout_ms);
    take_integer(finder, "x-release-rate", 1, 1000000, &words->release_rate);
    if (table_find(finder->arguments, "x-single-active-consumer", &value) &&
        table_value_class(&value) == TABLE_CLASS_BOOLEAN && table_value_boolean(&value)) {
        words->single_active = true;
        take(finder, "x-single-active-consumer");
    }
}

/* Retry --------------------------------------------------------------------------------------- */

static bool
find_factor(const struct finder *finder, double *out)
{
    struct table_value value;
    if (!table_find(finder->arguments, "x-delayed-retry-multiplier", &value)) {
        return false;
    }
    switch (table_value_class(&value)) {
    case TABLE_CLASS_INTEGER:
        *out = (double)table_value_integer(&value);
        break;
    case TABLE_CLASS_FLOAT:
        *out = table_value_float(&value);
        break;
    default:
        return false;
    }
    return *out >= 1 && *out <= 1000;
}

static bool
find_jitter(const struct finder *finder, struct retry_words *retry)
{
    struct bytes text = find_text(finder, "x-delayed-retry-jitter");
    retry->jitter_is_full = text.data != NULL && bytes_equal_text(text, "full");
    return retry->jitter_is_full ||
           find_integer(finder, "x-delayed-retry-jitter", 0, 100, &retry->jitter_percent);
}

/* An argument that a block may leave away; false: it is there, and no block can say it. */
static bool
find_optional_time(const struct finder *finder, const char *name, int64_t *out)
{
    *out = -1;
    return !is_given(finder, name) || find_integer(finder, name, 1, TEN_YEARS_MS, out);
}

static bool
find_optional_text(const struct finder *finder, const char *name, struct bytes *out)
{
    *out = find_text(finder, name);
    return !is_given(finder, name) || out->data != NULL;
}

/* Verdicts one behind the other without blanks, as a block writes them. */
static bool
is_plain_list(struct bytes counts)
{
    enum { LIST_MAX = 40 };
    for (size_t i = 0; i < counts.size; i++) {
        uint8_t octet = counts.data[i];
        if (!(octet >= 'a' && octet <= 'z') && octet != ',') {
            return false;
        }
    }
    return counts.data == NULL || (counts.size > 0 && counts.size <= LIST_MAX);
}

/* A block always compiles to type, first delay, factor, jitter and limit. */
static bool
find_retry_block(const struct finder *finder, struct retry_words *retry)
{
    int64_t limit;
    struct bytes type = find_text(finder, "x-delayed-retry-type");
    bool is_whole =
        type.data != NULL && bytes_equal_text(type, "all") &&
        find_integer(finder, "x-delayed-retry-min", 1, TEN_YEARS_MS, &retry->first_ms) &&
        find_factor(finder, &retry->factor) && find_jitter(finder, retry) &&
        find_integer(finder, "x-delivery-limit", 0, 999999, &limit) &&
        find_optional_time(finder, "x-delayed-retry-max", &retry->max_ms) &&
        find_optional_time(finder, "x-delayed-retry-max-age", &retry->max_age_ms) &&
        find_optional_text(finder, "x-delayed-retry-counts", &retry->counts) &&
        find_optional_text(finder, "x-delayed-retry-order", &retry->order) &&
        is_plain_list(retry->counts);
    retry->attempts = is_whole ? limit + 1 : 0;
    return is_whole;
}

static void
find_retry(struct finder *finder, struct queue_words *words)
{
    static const char *const names[] = {
        "x-delayed-retry-type",   "x-delayed-retry-min",     "x-delayed-retry-max",
        "x-delayed-retry-jitter", "x-delayed-retry-max-age", "x-delayed-retry-multiplier",
        "x-delivery-limit",       "x-delayed-retry-counts",  "x-delayed-retry-order",
    };
    struct retry_words retry = {.is_there = true};
    if (!find_retry_block(finder, &retry)) {
        return;
    }
    words->retry = retry;
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        take(finder, names[i]);
    }
}

/* With a retry block and no key of its own, the exchange is where it goes then. */
static void
find_dead_letter(struct finder *finder, struct queue_words *words,
                 bool (*knows_exchange)(void *context, struct bytes name), void *context)
{
    struct bytes exchange = find_text(finder, "x-dead-letter-exchange");
    struct bytes key = find_text(finder, "x-dead-letter-routing-key");
    bool has_key = is_given(finder, "x-dead-letter-routing-key");
    enum { KEY_MAX = 255 };
    if (exchange.data == NULL || (has_key && (key.data == NULL || key.size > KEY_MAX)) ||
        (exchange.size > 0 && !knows_exchange(context, exchange))) {
        return;
    }
    take(finder, "x-dead-letter-exchange");
    if (has_key) {
        take(finder, "x-dead-letter-routing-key");
        words->dead_letter_key = key;
    }
    if (words->retry.is_there && !has_key && exchange.size > 0) {
        words->retry.then = exchange;
    } else {
        words->dead_letter_exchange = exchange;
    }
}

static struct bytes
copy_rest(const struct finder *finder, struct arena *arena)
{
    struct byte_reader reader = byte_reader_make(finder->arguments);
    struct buffer rest;
    struct bytes name;
    struct table_value value;
    buffer_init(&rest);
    while (table_next(&reader, &name, &value)) {
        if (!is_taken(finder, name)) {
            table_put_value(&rest, name, &value);
        }
    }
    struct bytes copy = arena_copy(arena, buffer_bytes(&rest));
    buffer_fini(&rest);
    return copy;
}

void
queue_words_find(struct queue_words *words, struct bytes arguments,
                 bool (*knows_exchange)(void *context, struct bytes name), void *context,
                 struct arena *arena)
{
    struct finder finder = {.arguments = arguments};
    *words = (struct queue_words){.max_length = -1, .max_length_bytes = -1};
    find_type(&finder, words);
    find_limits(&finder, words);
    find_plain(&finder, words);
    find_retry(&finder, words);
    find_dead_letter(&finder, words, knows_exchange, context);
    bool lost_target = words->on_full != NULL && strcmp(words->on_full, "dead-letter") == 0 &&
                       words->dead_letter_exchange.data == NULL && words->retry.then.data == NULL;
    if (lost_target) { /* the word would ask for one: both stay arguments */
        words->on_full = NULL;
        words->max_length = -1;
        words->max_length_bytes = -1;
        for (size_t i = 0; i < finder.taken_count; i++) {
            bool is_limit = strcmp(finder.taken[i], "x-overflow") == 0 ||
                            strncmp(finder.taken[i], "x-max-length", 12) == 0;
            finder.taken[i] = is_limit ? "" : finder.taken[i];
        }
    }
    words->rest = copy_rest(&finder, arena);
}

static bool
texts_equal(struct bytes a, struct bytes b)
{
    return (a.data == NULL) == (b.data == NULL) && bytes_equal(a, b);
}

bool
retry_words_equal(const struct retry_words *a, const struct retry_words *b)
{
    bool is_same_factor = a->factor <= b->factor && a->factor >= b->factor;
    return a->first_ms == b->first_ms && a->max_ms == b->max_ms && is_same_factor &&
           a->jitter_is_full == b->jitter_is_full && a->jitter_percent == b->jitter_percent &&
           a->attempts == b->attempts && a->max_age_ms == b->max_age_ms &&
           texts_equal(a->counts, b->counts) && texts_equal(a->order, b->order) &&
           texts_equal(a->then, b->then);
}

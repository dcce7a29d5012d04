/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/sim/history.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "tests/sim/history_parts.h"

void
history_init(struct history *history)
{
    *history = (struct history){0};
    for (uint32_t name = 0; name < HISTORY_NAMES; name++) {
        history->queue_by_name[name] = HISTORY_NONE;
        history->exchange_by_name[name] = HISTORY_NONE;
    }
}

void
history_fini(struct history *history)
{
    for (uint32_t i = 0; i < history->queue_count; i++) {
        free(history->queues[i].copies);
        free(history->queues[i].dying);
        free(history->queues[i].positions);
        free(history->queues[i].consumers);
        free(history->queues[i].pauses.items);
    }
    free(history->queues);
    free(history->exchanges);
    free(history->bindings);
    free(history->messages);
    free(history->unfinished);
    free(history->chains);
    free(history->logged);
    free(history->returns);
    *history = (struct history){0};
}

void *
history_grow(void *array, uint32_t count, uint32_t *capacity, size_t size)
{
    if (count < *capacity) {
        return array;
    }
    *capacity = *capacity == 0 ? 16 : *capacity * 2;
    return xrealloc(array, *capacity * size);
}

static void
count_wrong(struct history *history, enum history_rule rule)
{
    history->wrong_count++;
    history->wrongs[rule]++;
    switch (rule) {
    case HISTORY_LOST:
        history->sums.lost++;
        break;
    case HISTORY_UNEXPECTED:
        history->sums.unexpected++;
        break;
    case HISTORY_DUPLICATED:
        history->sums.duplicated++;
        break;
    default:
        break;
    }
}

void
history_wrong(struct history *history, enum history_rule rule, const char *text, ...)
{
    count_wrong(history, rule);
    if (history->first_wrong[0] != '\0') {
        return;
    }
    int size = snprintf(history->first_wrong, sizeof(history->first_wrong),
                        "%s: ", history_rule_name(rule));
    va_list arguments;
    va_start(arguments, text);
    (void)vsnprintf(history->first_wrong + size, sizeof(history->first_wrong) - (size_t)size, text,
                    arguments);
    va_end(arguments);
}

const char *
history_rule_name(enum history_rule rule)
{
    static const char *const names[] = {
        [HISTORY_LOST] = "lost",
        [HISTORY_UNEXPECTED] = "unexpected",
        [HISTORY_DUPLICATED] = "duplicated",
        [HISTORY_ORDER] = "order",
        [HISTORY_BODY] = "body",
        [HISTORY_EARLY] = "early",
        [HISTORY_TOPOLOGY] = "topology",
        [HISTORY_ANSWER] = "answer",
    };
    return names[rule];
}

void
history_promise(struct history *history, struct history_span span, uint64_t flushed,
                const char *what)
{
    if (span.last > flushed) {
        history_wrong(history, HISTORY_EARLY,
                      "%s left though the log was on the disk only up to %" PRIu64
                      ", and it needs %" PRIu64,
                      what, flushed, span.last);
    }
    if (span.last > history->promised) {
        history->promised = span.last;
    }
}

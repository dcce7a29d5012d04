/* SPDX-License-Identifier: Apache-2.0 */
#include "management/routes/queue_page.h"

#include <stdlib.h>

#include "base/alloc.h"
#include "broker/survey/queue_keys.h"
#include "management/http/server.h"
#include "management/views/list_page.h"
#include "management/views/queue_json.h"

/* Sorting and filtering ---------------------------------------------------------------------- */

static struct bytes
name_of(const void *row)
{
    return ((const struct queue_key *)row)->name;
}

static int
compare_names(const void *a, const void *b)
{
    return bytes_compare(name_of(a), name_of(b));
}

static int
compare_vhosts(const void *a, const void *b)
{
    return bytes_compare(((const struct queue_key *)a)->vhost,
                         ((const struct queue_key *)b)->vhost);
}

static int
compare_numbers(const void *a, const void *b)
{
    uint64_t first = ((const struct queue_key *)a)->number;
    uint64_t second = ((const struct queue_key *)b)->number;
    return first < second ? -1 : first > second;
}

/* Beside each other; the columns of queue_list_kind that keys can be sorted by. */
static const struct list_column key_columns[] = {
    {"name", compare_names},
    {"vhost", compare_vhosts},
    {"messages", compare_numbers},
    {"messages_ready", compare_numbers},
    {"messages_unacknowledged", compare_numbers},
    {"message_bytes", compare_numbers},
    {"message_bytes_ready", compare_numbers},
    {"consumers", compare_numbers},
    {"durable", compare_numbers},
};
static const enum queue_number key_numbers[ARRAY_LEN(key_columns)] = {
    QUEUE_NUMBER_NONE,        QUEUE_NUMBER_NONE,      QUEUE_NUMBER_MESSAGES,
    QUEUE_NUMBER_READY,       QUEUE_NUMBER_UNACKED,   QUEUE_NUMBER_READY_BYTES,
    QUEUE_NUMBER_READY_BYTES, QUEUE_NUMBER_CONSUMERS, QUEUE_NUMBER_DURABLE,
};

static const struct list_kind key_list_kind = {
    .name = name_of,
    .columns = key_columns,
    .column_count = ARRAY_LEN(key_columns),
};

/* What is to be known of each queue for the order; false: more than keys have. An order that nobody
 * knows is that of the names. */
static bool
find_number(const struct call *call, enum queue_number *number_out)
{
    const char *sort = call_parameter(call, "sort");
    *number_out = QUEUE_NUMBER_NONE;
    for (size_t i = 0; sort != NULL && i < ARRAY_LEN(key_columns); i++) {
        if (strcmp(sort, key_columns[i].name) == 0) {
            *number_out = key_numbers[i];
            return true;
        }
    }
    return sort == NULL || !list_has_column(&queue_list_kind, sort);
}

/* The queues of the page --------------------------------------------------------------------- */

struct page_ask {
    struct call_ask ask;
    struct queue_key_survey found; /* owned: what `keys` are views of */
    const void **keys;             /* struct queue_key, those of the page in order; owned */
    struct list_slice slice;
    size_t at; /* of the keys: the next one that is read */
    struct queue_survey queues;
};

static enum request_progress
page_step(struct request *request, struct core *core, uint32_t *budget)
{
    struct page_ask *ask = CONTAINER_OF(request, struct page_ask, ask.desk.request);
    for (; ask->at<ask->slice.count && * budget> 0; (*budget)--) {
        const struct queue_key *key = ask->keys[ask->at++];
        ask->queues.vhost = key->vhost;
        ask->queues.queue = key->name;
        (void)queue_survey_step(&ask->queues, core, budget);
    }
    return ask->at == ask->slice.count ? REQUEST_DONE : REQUEST_MORE;
}

/* Those that were deleted in between are not there. */
static void
page_then(struct call *call, struct call_ask *call_ask)
{
    struct page_ask *ask = CONTAINER_OF(call_ask, struct page_ask, ask);
    struct list_kind kind = queue_list_kind;
    kind.context = call->management->node;
    ask->slice.count = ask->queues.count;
    list_answer_slice(call, &kind, (const void *const *)ask->queues.rows, &ask->slice);
}

static void
page_free(struct call_ask *call_ask)
{
    struct page_ask *ask = CONTAINER_OF(call_ask, struct page_ask, ask);
    queue_survey_fini(&ask->queues);
    queue_key_survey_fini(&ask->found);
    free((void *)ask->keys);
    free(ask);
}

/* All queues by their keys ------------------------------------------------------------------- */

struct keys_ask {
    struct call_ask ask;
    struct queue_key_survey found;
};

static enum request_progress
keys_step(struct request *request, struct core *core, uint32_t *budget)
{
    struct keys_ask *ask = CONTAINER_OF(request, struct keys_ask, ask.desk.request);
    return queue_key_survey_step(&ask->found, core, budget);
}

/* Takes the keys from `ask`. */
static void
ask_for_page(struct call *call, struct keys_ask *keys_ask, const void **rows,
             const struct list_slice *slice)
{
    struct page_ask *ask = xalloc(sizeof(*ask));
    ask->ask.desk.request.step = page_step;
    ask->ask.then = page_then;
    ask->ask.free = page_free;
    ask->slice = *slice;
    ask->keys = xalloc(slice->count * sizeof(*ask->keys));
    for (size_t i = 0; i < slice->count; i++) {
        ask->keys[i] = rows[slice->first + i];
    }
    ask->queues.viewer = call_viewer(call);
    ask->queues.leaves_clocks = call_flag(call, "disable_stats");
    ask->found = keys_ask->found;
    keys_ask->found = (struct queue_key_survey){.count = 0};
    call_ask(call, &ask->ask);
}

static void
keys_then(struct call *call, struct call_ask *call_ask)
{
    struct keys_ask *ask = CONTAINER_OF(call_ask, struct keys_ask, ask);
    struct list_slice slice;
    queue_key_survey_sort(&ask->found);
    const void **rows = xalloc((ask->found.count + 1) * sizeof(*rows));
    for (uint32_t i = 0; i < ask->found.count; i++) {
        rows[i] = &ask->found.keys[i];
    }
    if (list_select(call, &key_list_kind, rows, ask->found.count, &slice)) {
        ask_for_page(call, ask, rows, &slice);
    }
    free((void *)rows);
}

static void
keys_free(struct call_ask *call_ask)
{
    struct keys_ask *ask = CONTAINER_OF(call_ask, struct keys_ask, ask);
    queue_key_survey_fini(&ask->found);
    free(ask);
}

bool
queue_page_ask(struct call *call, struct bytes vhost)
{
    enum queue_number number;
    if (call_parameter(call, "page") == NULL || !find_number(call, &number)) {
        return false;
    }
    struct keys_ask *ask = xalloc(sizeof(*ask));
    ask->ask.desk.request.step = keys_step;
    ask->ask.then = keys_then;
    ask->ask.free = keys_free;
    ask->found.viewer = call_viewer(call);
    ask->found.vhost = vhost;
    ask->found.number = number;
    call_ask(call, &ask->ask);
    return true;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/desk/desk_filter.h"

#include <stdlib.h>
#include <string.h>

#include "amqp/table.h"
#include "base/alloc.h"

/* The texts of a filter, one after the other. */
enum { TEXT_COUNT = 11 };

static void
list_texts(struct desk_filter *filter, struct bytes *texts[static TEXT_COUNT])
{
    struct bytes *all[TEXT_COUNT] = {
        &filter->exchange,   &filter->routing_key, &filter->origin_key,  &filter->origin_queue,
        &filter->reason,     &filter->error_class, &filter->header_name, &filter->header_text,
        &filter->message_id, &filter->batch,       &filter->not_batch,
    };
    memcpy(texts, all, sizeof(all));
}

static int
compare_ids(const void *left, const void *right)
{
    const struct desk_id *a = left;
    const struct desk_id *b = right;
    return (a->position > b->position) - (a->position < b->position);
}

static uint32_t
drop_doubles(struct desk_id *ids, uint32_t count)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < count; i++) {
        if (kept == 0 || ids[kept - 1].position != ids[i].position) {
            ids[kept++] = ids[i];
        }
    }
    return kept;
}

struct desk_filter *
desk_filter_copy(const struct desk_filter *filter)
{
    struct desk_filter source = *filter;
    struct bytes *texts[TEXT_COUNT];
    list_texts(&source, texts);
    size_t ids_size = filter->id_count * sizeof(struct desk_id);
    size_t size = sizeof(source) + ids_size;
    for (size_t i = 0; i < TEXT_COUNT; i++) {
        size += texts[i]->size;
    }
    struct desk_filter *copy = try_alloc(size);
    if (copy == NULL) {
        return NULL;
    }
    struct desk_id *ids = (struct desk_id *)(copy + 1);
    uint8_t *end = (uint8_t *)(ids + filter->id_count);
    for (size_t i = 0; i < TEXT_COUNT; i++) {
        if (texts[i]->data != NULL) {
            memcpy(end, texts[i]->data, texts[i]->size);
            *texts[i] = bytes_make(end, texts[i]->size);
            end += texts[i]->size;
        }
    }
    *copy = source;
    copy->places = filter->places == 0 ? DESK_EVERYWHERE : filter->places;
    if (filter->ids != NULL) {
        memcpy(ids, filter->ids, ids_size);
        qsort(ids, filter->id_count, sizeof(*ids), compare_ids);
        copy->ids = ids;
        copy->id_count = drop_doubles(ids, filter->id_count);
    }
    return copy;
}

bool
desk_filter_needs_content(const struct desk_filter *filter)
{
    return filter->exchange.data != NULL || filter->routing_key.data != NULL ||
           filter->origin_key.data != NULL || filter->origin_queue.data != NULL ||
           filter->reason.data != NULL || filter->error_class.data != NULL ||
           filter->header_name.data != NULL || filter->message_id.data != NULL ||
           filter->batch.data != NULL || filter->not_batch.data != NULL;
}

static bool
has_id(const struct desk_filter *filter, const struct desk_row *row)
{
    struct desk_id wanted = {.position = row->position};
    const struct desk_id *found =
        bsearch(&wanted, filter->ids, filter->id_count, sizeof(wanted), compare_ids);
    return found != NULL && found->lsn == queue_entry_lsn(&row->entry);
}

static bool
has_age(const struct desk_filter *filter, const struct core *core, const struct queue *queue,
        const struct desk_row *row)
{
    if (filter->age_min_ms == 0 && filter->age_max_ms == 0) {
        return true;
    }
    uint64_t age_ms = desk_row_age_ms(core, queue, row);
    return age_ms >= filter->age_min_ms &&
           (filter->age_max_ms == 0 || age_ms <= filter->age_max_ms);
}

bool
desk_filter_may_mean(const struct desk_filter *filter, const struct core *core,
                     const struct queue *queue, const struct desk_row *row)
{
    return (filter->places & 1U << row->place) != 0 &&
           (filter->ids == NULL || has_id(filter, row)) && has_age(filter, core, queue, row);
}

static bool
is_wanted(struct bytes wanted, struct bytes text)
{
    return wanted.data == NULL || bytes_equal(wanted, text);
}

/* The same of a text that need not be UTF-8, which is shown with U+FFFD for each octet that is of
 * no character: whoever has seen it asks for what was seen. */
static bool
is_wanted_as_shown(struct bytes wanted, struct bytes text)
{
    static const char replacement[] = "\xef\xbf\xbd";
    if (is_wanted(wanted, text)) {
        return true;
    }
    while (text.size > 0) {
        size_t size = bytes_utf8_char(text);
        struct bytes shown = size > 0 ? bytes_make(text.data, size) : bytes_of(replacement);
        if (wanted.size < shown.size || memcmp(wanted.data, shown.data, shown.size) != 0) {
            return false;
        }
        wanted = bytes_make(wanted.data + shown.size, wanted.size - shown.size);
        size += size == 0 ? 1 : 0;
        text = bytes_make(text.data + size, text.size - size);
    }
    return wanted.size == 0;
}

static bool
is_part_of(struct bytes part, struct bytes text)
{
    return part.size == 0 ||
           (text.size > 0 && memmem(text.data, text.size, part.data, part.size) != NULL);
}

static bool
has_header(const struct desk_filter *filter, struct bytes headers)
{
    char name[UINT8_MAX + 1];
    char text[512];
    struct table_value value;
    if (filter->header_name.size > UINT8_MAX) {
        return false;
    }
    memcpy(name, filter->header_name.data, filter->header_name.size);
    name[filter->header_name.size] = '\0';
    if (!table_find(headers, name, &value)) {
        return false;
    }
    if (value.type == 'S') {
        return is_wanted_as_shown(filter->header_text, value.raw);
    }
    return bytes_equal_text(filter->header_text, table_value_text(&value, text, sizeof(text)));
}

bool
desk_filter_means(const struct desk_filter *filter, const struct desk_row *row,
                  const struct desk_facts *facts)
{
    struct bytes own_key = content_routing_key(row->content);
    return is_wanted(filter->exchange, content_exchange(row->content)) &&
           (is_wanted(filter->routing_key, own_key) ||
            is_wanted(filter->routing_key, facts->routing_key)) &&
           is_wanted(filter->origin_queue, facts->origin_queue) &&
           is_wanted(filter->reason, facts->reason) &&
           is_wanted(filter->origin_key, facts->routing_key) &&
           is_wanted_as_shown(filter->error_class, facts->error_class) &&
           is_wanted(filter->batch, facts->replay_batch) &&
           (filter->not_batch.data == NULL ||
            !bytes_equal(filter->not_batch, facts->replay_batch)) &&
           (filter->message_id.data == NULL ||
            is_part_of(filter->message_id, facts->properties.message_id)) &&
           (filter->header_name.data == NULL || has_header(filter, facts->properties.headers));
}

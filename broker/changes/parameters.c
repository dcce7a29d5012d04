/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/changes/parameters.h"

#include <stdlib.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "broker/durability/durability.h"
#include "broker/topology/vhost.h"
#include "store/little_endian.h"
#include "store/record_fact.h"

enum { PARAMETER_LAYOUT = 1, NAME_SIZE_MAX = 255, REST_FIXED = 2 };

static struct parameter *
parameter_new(uint64_t id, struct bytes name, struct bytes value)
{
    struct parameter *parameter = xalloc(sizeof(*parameter) + name.size + value.size);
    uint8_t *texts = (uint8_t *)(parameter + 1);
    memcpy(texts, name.data, name.size);
    memcpy(texts + name.size, value.data, value.size);
    parameter->id = id;
    parameter->name = bytes_make(texts, name.size);
    parameter->value = bytes_make(texts + name.size, value.size);
    return parameter;
}

/* The log ------------------------------------------------------------------------------------ */

static void
remember(struct core *core, const struct parameter *parameter)
{
    struct buffer rest;
    if (!core_has_log(core)) {
        return;
    }
    buffer_init(&rest);
    buffer_put_u8(&rest, PARAMETER_LAYOUT);
    buffer_put_u8(&rest, (uint8_t)parameter->name.size);
    buffer_put_bytes(&rest, parameter->name);
    buffer_put_bytes(&rest, parameter->value);
    assert(!rest.failed); /* a few KiB */
    record_put_fact(core_begin_record(core), RECORD_FACT_PARAMETER, parameter->id,
                    buffer_bytes(&rest));
    buffer_fini(&rest);
    core_log_record(core);
}

enum status
parameter_restore(struct core *core, uint64_t id, struct bytes rest)
{
    struct byte_reader reader = byte_reader_make(rest);
    uint8_t layout = byte_reader_u8(&reader);
    struct bytes name = byte_reader_take(&reader, byte_reader_u8(&reader));
    if (reader.failed || layout != PARAMETER_LAYOUT || name.size == 0 ||
        map_get(&core->parameters, name) != NULL) {
        return STATUS_CORRUPT;
    }
    struct bytes value = byte_reader_take(&reader, byte_reader_left(&reader));
    struct parameter *parameter = parameter_new(id, name, value);
    map_put(&core->parameters, parameter->name, parameter);
    return STATUS_OK;
}

/* Changes ------------------------------------------------------------------------------------ */

static void
log_change(const struct change *change, enum audit_action action, struct bytes name)
{
    char text[RESOURCE_TEXT_SIZE];
    change_log(change, action, bytes_of(""), "name=%s", log_escape(text, sizeof(text), name));
}

static bool
check_parameter(struct change *change, struct bytes name, struct bytes value)
{
    const struct map *parameters = &change->core->parameters;
    if (name.size == 0 || name.size > NAME_SIZE_MAX) {
        (void)change_refuse(change, "the name of a parameter has 1 to 255 octets");
        return false;
    }
    if (value.size > PARAMETER_VALUE_MAX) {
        (void)change_refuse(change, "the value of a parameter has at most %d octets of JSON",
                            PARAMETER_VALUE_MAX);
        return false;
    }
    if (map_count(parameters) >= PARAMETERS_MAX && map_get(parameters, name) == NULL) {
        (void)change_refuse(change, "there are %d global parameters, and no room for more",
                            PARAMETERS_MAX);
        return false;
    }
    return change_has_room(change, REST_FIXED + name.size + value.size);
}

enum change_outcome
change_put_parameter(struct change *change, struct bytes name, struct bytes value)
{
    struct core *core = change->core;
    if (!check_parameter(change, name, value)) {
        return CHANGE_REFUSED;
    }
    struct parameter *old = map_remove(&core->parameters, name);
    bool is_same = old != NULL && bytes_equal(old->value, value);
    uint64_t id = old == NULL ? core_new_id(core, true) : old->id;
    struct parameter *parameter = parameter_new(id, name, value);
    map_put(&core->parameters, parameter->name, parameter);
    if (!is_same) {
        remember(core, parameter);
        log_change(change, AUDIT_PARAMETER_PUT, name);
    }
    bool existed = old != NULL;
    free(old);
    return existed ? CHANGE_DONE : CHANGE_MADE;
}

enum change_outcome
change_delete_parameter(struct change *change, struct bytes name)
{
    struct core *core = change->core;
    if (map_get(&core->parameters, name) == NULL) {
        return CHANGE_NOT_FOUND;
    }
    if (!change_has_room(change, 0)) {
        return CHANGE_REFUSED;
    }
    struct parameter *parameter = map_remove(&core->parameters, name);
    if (core_has_log(core)) {
        record_put_fact_delete(core_begin_record(core), RECORD_FACT_PARAMETER, parameter->id);
        core_log_record(core);
    }
    log_change(change, AUDIT_PARAMETER_DELETED, name);
    free(parameter);
    return CHANGE_DONE;
}

/* Questions ---------------------------------------------------------------------------------- */

struct bytes
core_parameter(const struct core *core, struct bytes name)
{
    const struct parameter *parameter = map_get(&core->parameters, name);
    return parameter == NULL ? bytes_make(NULL, 0) : parameter->value;
}

/* What is no text is none. */
struct bytes
core_cluster_name(const struct core *core)
{
    struct bytes value = core_parameter(core, bytes_of("cluster_name"));
    return value.size > 0 && value.data[0] == '"' ? value : bytes_make(NULL, 0);
}

void
parameters_free(struct map *parameters)
{
    uint32_t position = 0;
    for (struct map_entry *entry; (entry = map_next(parameters, &position)) != NULL;) {
        free(entry->value);
    }
    map_fini(parameters);
}

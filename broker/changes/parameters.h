/* SPDX-License-Identifier: Apache-2.0 */
/* Global parameters: names with a value that tools of an operator keep in the broker, which itself
 * reads only one of them, `cluster_name`. A value is a text of JSON and is not looked into. They
 * are kept in the log (docs/store-format.md, "A parameter").
 *
 * Owner: the core thread. */
#ifndef BOURSE_BROKER_CHANGES_PARAMETERS_H
#define BOURSE_BROKER_CHANGES_PARAMETERS_H

#include "base/map.h"
#include "broker/changes/change.h"

enum { PARAMETERS_MAX = 1000, PARAMETER_VALUE_MAX = 32 * 1024 };

struct parameter {
    uint64_t id;        /* in the log */
    struct bytes name;  /* owned, in the same allocation */
    struct bytes value; /* owned, in the same allocation */
};

/* Makes it, or gives it another value. Refused are an empty name or one above 255 octets, a value
 * above PARAMETER_VALUE_MAX, and more than PARAMETERS_MAX of them. */
enum change_outcome change_put_parameter(struct change *change, struct bytes name,
                                         struct bytes value);
enum change_outcome change_delete_parameter(struct change *change, struct bytes name);

/* The value of one; data NULL: there is none. */
struct bytes core_parameter(const struct core *core, struct bytes name);

/* The name of the cluster as JSON has it; data NULL: nobody has given it one. */
struct bytes core_cluster_name(const struct core *core);

/* From the log. STATUS_CORRUPT: the record makes no sense. */
MUST_CHECK enum status parameter_restore(struct core *core, uint64_t id, struct bytes rest);

/* With the core; the map is core->parameters, of struct parameter by name. */
void parameters_free(struct map *parameters);

#endif

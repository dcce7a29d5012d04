/* SPDX-License-Identifier: Apache-2.0 */
/* Where each setting of a queue is kept. Within the folder only. */
#ifndef BOURSE_QUEUES_SETTINGS_FILL_H
#define BOURSE_QUEUES_SETTINGS_FILL_H

#include "queues/settings.h"

struct setting_row {
    const char *argument; /* "x-message-ttl"; keys of policies lack the "x-" */
    void (*read)(void *field, const struct table_value *value); /* which was validated */
    size_t offset, size; /* of its field in struct queue_settings */
    bool is_text;        /* the field is a view */
};

const struct setting_row *setting_row(enum queue_setting setting);

/* Brings in line what follows from values and sources: call when they have changed. */
void queue_settings_finish(struct queue_settings *settings);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* Rows of definitions that say who there is, and who may do what where: users, vhosts and rights.
 * False: the row is none, and the reader has said why. */
#ifndef BOURSE_MANAGEMENT_DEFINITIONS_DEFINITIONS_READ_ACCESS_H
#define BOURSE_MANAGEMENT_DEFINITIONS_DEFINITIONS_READ_ACCESS_H

#include "management/definitions/definitions_reader.h"

bool definitions_read_user(struct definitions_reader *reader, const json_t *row);
bool definitions_read_vhost(struct definitions_reader *reader, const json_t *row);
bool definitions_read_permission(struct definitions_reader *reader, const json_t *row);
bool definitions_read_topic_permission(struct definitions_reader *reader, const json_t *row);

#endif

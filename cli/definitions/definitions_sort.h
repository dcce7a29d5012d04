/* SPDX-License-Identifier: Apache-2.0 */
/* The order in which a broker names its objects is none that lasts: sorted by their names, the same
 * topology gives the same text, and two of them can be compared line by line. */
#ifndef BOURSE_CLI_DEFINITIONS_DEFINITIONS_SORT_H
#define BOURSE_CLI_DEFINITIONS_DEFINITIONS_SORT_H

#include "management/definitions/definitions.h"

void definitions_sort(struct definitions *definitions);

#endif

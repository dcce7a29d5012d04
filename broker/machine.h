/* SPDX-License-Identifier: Apache-2.0 */
/* What the machine allows this process: asked once, at start. */
#ifndef BOURSE_BROKER_MACHINE_H
#define BOURSE_BROKER_MACHINE_H

#include <stdint.h>

/* Octets of memory that this process may use: RAM, or the lowest limit of its
 * cgroups where that is lower. */
uint64_t machine_memory_bytes(void);

/* Processors that this process may use at once, at least 1: those it may run on, or its cgroups'
 * share of time where that is less. */
uint32_t machine_processors(void);

/* "bourse@" and what the machine is called, cut to fit; returns `out`. */
enum { MACHINE_NODE_NAME_SIZE = 80 };
const char *machine_node_name(char out[static MACHINE_NODE_NAME_SIZE]);

#endif

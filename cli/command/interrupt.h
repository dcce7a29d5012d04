/* SPDX-License-Identifier: Apache-2.0 */
/* Ctrl-C, and SIGTERM, for commands that go on until they are told to stop: the first asks for an
 * orderly end, the second ends the process. */
#ifndef BOURSE_CLI_COMMAND_INTERRUPT_H
#define BOURSE_CLI_COMMAND_INTERRUPT_H

#include <stdbool.h>

/* From now on signals are noted; calls that wait return with EINTR. A peer or reader that has gone
 * shows in errno and sends no signal. */
void interrupt_watch(void);

bool interrupt_came(void);

#endif

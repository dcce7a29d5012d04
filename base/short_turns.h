/* SPDX-License-Identifier: Apache-2.0 */
/* What a thread asks of the system's scheduler. */
#ifndef BOURSE_BASE_SHORT_TURNS_H
#define BOURSE_BASE_SHORT_TURNS_H

/* Has the calling thread run in turns of half a millisecond where processors are short, instead of
 * some three: it comes to its turn the sooner after it was woken, and takes no more in all. Its
 * policy and niceness stay. Linux knows of it since 6.12; before, nothing changes. */
void short_turns_ask(void);

#endif

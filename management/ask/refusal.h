/* SPDX-License-Identifier: Apache-2.0 */
/* What became of something that was asked for, where that was refused: as a client of AMQP would
 * have been told. */
#ifndef BOURSE_MANAGEMENT_ASK_REFUSAL_H
#define BOURSE_MANAGEMENT_ASK_REFUSAL_H

#include "base/status.h"

/* All zero is none. */
struct refusal {
    uint16_t reply_code; /* 0: none */
    char reply_text[256];
};

/* The text of a fault as it stands on the wire: "NOT_FOUND - no queue 'q' in vhost '/'". */
void refusal_set(struct refusal *refusal, const struct fault *fault);

/* A text that is whole already. */
void refusal_set_text(struct refusal *refusal, uint16_t reply_code, const char *text);

#endif

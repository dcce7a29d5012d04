/* SPDX-License-Identifier: Apache-2.0 */
/* Slows guessing: every failed login of a user, and from a source, doubles how long the next check
 * for it has to wait (250 ms to 30 s). A success clears the record. Bounded: when full, the record
 * that failed longest ago makes room. Reads no clock. */
#ifndef BOURSE_BROKER_PASSWORDS_THROTTLE_H
#define BOURSE_BROKER_PASSWORDS_THROTTLE_H

#include "base/bytes.h"

struct throttle;

struct throttle *throttle_new(uint64_t seed);
void throttle_free(struct throttle **throttle);

/* Monotonic milliseconds before which no check for `key` should start; 0: at once. */
uint64_t throttle_due_ms(const struct throttle *throttle, struct bytes key, uint64_t now_ms);

void throttle_failed(struct throttle *throttle, struct bytes key, uint64_t now_ms);
void throttle_succeeded(struct throttle *throttle, struct bytes key);

#endif

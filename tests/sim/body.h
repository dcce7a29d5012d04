/* SPDX-License-Identifier: Apache-2.0 */
/* Bodies of messages: their number, and behind it octets that follow from the number, so that any
 * body tells whose it is and whether it is whole. */
#ifndef BOURSE_TESTS_SIM_BODY_H
#define BOURSE_TESTS_SIM_BODY_H

#include "base/bytes.h"

enum { BODY_SIZE_MIN = 8 };

void body_fill(uint8_t *out, uint32_t number, uint32_t size);

/* The number that the body claims to have; UINT32_MAX when it is too short to have one. */
uint32_t body_number(struct bytes body);

bool body_is_right(struct bytes body, uint32_t number, uint32_t size);

#endif

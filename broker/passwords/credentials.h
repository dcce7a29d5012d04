/* SPDX-License-Identifier: Apache-2.0 */
/* Credentials that were right a short while ago, so that a reconnecting fleet costs one slow check.
 * They are remembered by a keyed digest of user, hash and password (password_mac): a changed hash
 * is a new question. Bounded: when full, the oldest makes room. Reads no clock. */
#ifndef BOURSE_BROKER_PASSWORDS_CREDENTIALS_H
#define BOURSE_BROKER_PASSWORDS_CREDENTIALS_H

#include "broker/passwords/password.h"

struct credentials;

struct credentials *credentials_new(uint64_t seed);
void credentials_free(struct credentials **credentials);

/* Whether `mac` was right less than a minute before `now_ms` (monotonic). */
bool credentials_hold(struct credentials *credentials, const uint8_t mac[static PASSWORD_MAC_SIZE],
                      uint64_t now_ms);

void credentials_add(struct credentials *credentials, const uint8_t mac[static PASSWORD_MAC_SIZE],
                     uint64_t now_ms);

#endif

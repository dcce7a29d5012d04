/* SPDX-License-Identifier: Apache-2.0 */
/* What the responses of the SASL mechanisms say. Pure functions over what a stranger sent; views
 * point into the response. */
#ifndef BOURSE_BROKER_PASSWORDS_SASL_H
#define BOURSE_BROKER_PASSWORDS_SASL_H

#include "base/bytes.h"

/* PLAIN (RFC 4616): NUL user NUL password, with no authorisation identity in front. False when the
 * response is anything else. */
bool sasl_parse_plain(struct bytes response, struct bytes *user_out, struct bytes *password_out);

/* AMQPLAIN: the body of a field table with LOGIN and PASSWORD, each a string or octets. */
bool sasl_parse_amqplain(struct bytes response, struct bytes *user_out, struct bytes *password_out);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* Records of facts: small things that a broker keeps beside its topology, each under a kind and a
 * number. The last one that was set under both is what holds. What the octets mean, and how many
 * numbers there are, is the business of whoever sets them. */
#ifndef BOURSE_STORE_RECORD_FACT_H
#define BOURSE_STORE_RECORD_FACT_H

#include "store/record.h"

/* Kinds, as docs/store-format.md counts them. */
enum record_fact_kind {
    RECORD_FACT_PARAMETER = 1, /* a global parameter */
    RECORD_FACT_AUDIT = 2,     /* what an operator has done; its number is a place in a ring */
};

/* Encoding: appends to `out`; a lack of memory shows in out->failed. */
void record_put_fact(struct buffer *out, uint32_t kind, uint64_t id, struct bytes rest);
void record_put_fact_delete(struct buffer *out, uint32_t kind, uint64_t id);

/* Of record.c: fills in what the record has. False when it has not that form. */
MUST_CHECK bool record_decode_fact(struct record *record);

#endif

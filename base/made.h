/* SPDX-License-Identifier: Apache-2.0 */
/* By whom something was made, and when: 8 octets, for there are many things. */
#ifndef BOURSE_BASE_MADE_H
#define BOURSE_BASE_MADE_H

#include <stdint.h>

struct made {
    uint32_t user;   /* the number of a user in the log; 0: a file, or not known */
    uint32_t wall_s; /* seconds since 1970; 0: not known */
};

static inline struct made
made_by(uint64_t user, int64_t wall_ms)
{
    int64_t wall_s = wall_ms / 1000;
    return (struct made){
        .user = user > UINT32_MAX ? 0 : (uint32_t)user,
        .wall_s = wall_s < 0 || wall_s > UINT32_MAX ? 0 : (uint32_t)wall_s,
    };
}

#endif

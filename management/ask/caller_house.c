/* SPDX-License-Identifier: Apache-2.0 */
#include "management/ask/caller_house.h"

struct house *
caller_house_open(struct core *core, const struct call *call, struct refusal *refusal)
{
    struct fault fault;
    struct house *house = house_open(core, call_user_name(call), call_name(call, 0), &fault);
    if (house == NULL) {
        refusal_set_text(refusal, fault.reply_code, fault.text);
    }
    return house;
}

bool
caller_house_was_refused(const struct house *house, struct refusal *refusal)
{
    const struct house_answer *answer = &house->answer;
    if (answer->reply_code != 0) {
        refusal_set_text(refusal, answer->reply_code, answer->reply_text);
    }
    return answer->reply_code != 0;
}

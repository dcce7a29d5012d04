/* SPDX-License-Identifier: Apache-2.0 */
/* Health of the process, for who restarts it and who sends it clients. Both go through the core:
 * one that hangs is not well. */
#include "management/ask/survey_ask.h"
#include "management/http/server.h"
#include "management/routes/handlers.h"

static void
write_ok(struct call *call, struct survey_ask *ask)
{
    (void)ask;
    call_answer_octets(call, 200, "text/plain; charset=utf-8", bytes_of("ok\n"));
}

void
handle_alive(struct call *call)
{
    call_ask(call, &survey_ask_new(write_ok)->ask);
}

void
handle_ready(struct call *call)
{
    if (!atomic_load(&call->management->is_ready)) {
        call_fail(call, 503, "the broker is starting or stopping");
        return;
    }
    call_ask(call, &survey_ask_new(write_ok)->ask);
}

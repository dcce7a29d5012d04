/* SPDX-License-Identifier: Apache-2.0 */
/* Which queues are found: by settings and bindings, however small the slices are. */
#include "broker/survey/dead_letter_survey.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>

#include "amqp/table.h"
#include "tests/unit/broker/messaging.h"

static struct rig *rig;
static uint64_t a;

static void
set_up(void)
{
    rig = messaging_rig(NULL);
    a = messaging_client(rig);
}

static void
tear_down(void)
{
    rig_free(&rig);
}

TestSuite(dead_letter_survey, .init = set_up, .fini = tear_down);

/* `key` NULL: messages keep theirs. */
static void
declare_source(const char *name, const char *exchange, const char *key)
{
    struct buffer arguments;
    buffer_init(&arguments);
    table_put_text(&arguments, "x-dead-letter-exchange", bytes_of(exchange));
    if (key != NULL) {
        table_put_text(&arguments, "x-dead-letter-routing-key", bytes_of(key));
    }
    declare_queue_as(
        rig, a,
        &(struct queue_declare){.queue = bytes_of(name), .arguments = buffer_bytes(&arguments)});
    buffer_fini(&arguments);
}

static void
survey(struct dead_letter_survey *survey, uint32_t slice)
{
    *survey = (struct dead_letter_survey){0};
    uint32_t budget;
    do {
        budget = slice;
    } while (dead_letter_survey_step(survey, rig->core, &budget) == REQUEST_MORE);
    dead_letter_survey_sort(survey);
}

Test(dead_letter_survey, targets_are_found_by_key_and_by_binding)
{
    static const uint32_t slices[] = {1, 2, 3, 256};
    declare_queue(rig, a, "by key");
    declare_queue(rig, a, "by binding");
    declare_queue(rig, a, "neither");
    declare_exchange(rig, a, "dlx", "fanout", NULL);
    bind_queue(rig, a, "by binding", "dlx", "");
    declare_source("one", "", "by key");
    declare_source("two", "dlx", NULL);
    declare_source("three", "", NULL);
    publish_numbers(rig, a, "by key", 1, 2);
    for (size_t i = 0; i < sizeof(slices) / sizeof(slices[0]); i++) {
        struct dead_letter_survey found;
        survey(&found, slices[i]);
        cr_assert(eq(u32, found.count, 2));
        cr_expect(bytes_equal_text(found.rows[0].name, "by binding"));
        cr_expect(eq(u64, found.rows[0].messages, 0));
        cr_expect(bytes_equal_text(found.rows[1].name, "by key"));
        cr_expect(found.rows[1].is_target);
        cr_expect(eq(u64, found.rows[1].messages, 2));
        dead_letter_survey_fini(&found);
    }
}

Test(dead_letter_survey, who_may_not_look_finds_nothing)
{
    declare_queue(rig, a, "dead");
    declare_source("one", "", "dead");
    struct dead_letter_survey found = {.viewer = {.user = bytes_of("stranger")}};
    uint32_t budget = 256;
    cr_assert(eq(int, (int)dead_letter_survey_step(&found, rig->core, &budget), REQUEST_DONE));
    cr_expect(eq(u32, found.count, 0));
    dead_letter_survey_fini(&found);
}

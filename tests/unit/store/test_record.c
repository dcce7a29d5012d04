/* SPDX-License-Identifier: Apache-2.0 */
#include "store/batch_header.h"
#include "store/record.h"
#include "store/record_fact.h"

#include "store/little_endian.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>

static struct buffer out;

static void
set_up(void)
{
    buffer_init(&out);
}

static void
tear_down(void)
{
    buffer_fini(&out);
}

TestSuite(record, .init = set_up, .fini = tear_down);

static struct record
only_record(void)
{
    struct bytes left = buffer_bytes(&out);
    struct record record;
    cr_assert(eq(int, record_next(&left, &record), STATUS_OK));
    cr_assert(eq(sz, left.size, 0));
    return record;
}

/* What was put comes back, for every kind of record. */
Test(record, publish_keeps_place_and_queues)
{
    uint64_t queues[] = {7, 9 | RECORD_QUEUE_HANDED_OUT};
    record_put_publish(&out, 64, 123, queues, 2);
    struct record record = only_record();
    cr_expect(eq(int, (int)record.type, RECORD_PUBLISH));
    cr_expect(eq(u32, record.publish.offset, 64));
    cr_expect(eq(u32, record.publish.size, 123));
    cr_expect(eq(u32, record.publish.queue_count, 2));
    cr_expect(eq(u64, record_queue(&record, 0), 7));
    cr_expect(eq(u64, record_queue(&record, 1), queues[1]));
}

Test(record, acks_keep_messages_in_any_order)
{
    static const uint64_t lsns[] = {4160, 5000 * 8, 64, UINT64_C(1) << 60, 4168, 4168};
    struct record_ack_writer writer;
    record_ack_begin(&writer, &out, 3, lsns[0]);
    for (size_t i = 1; i < sizeof(lsns) / sizeof(*lsns); i++) {
        record_ack_add(&writer, &out, lsns[i]);
    }
    record_ack_end(&writer, &out);
    struct record record = only_record();
    cr_expect(eq(u64, record.ack.queue, 3));
    struct record_ack_position position = {0};
    uint64_t lsn;
    for (size_t i = 0; i < sizeof(lsns) / sizeof(*lsns); i++) {
        cr_assert(record_ack_next(&record, &position, &lsn));
        cr_expect(eq(u64, lsn, lsns[i]));
    }
    cr_expect(not(record_ack_next(&record, &position, &lsn)));
}

/* The budget of the design: about two octets for a message that is acknowledged in order. */
Test(record, an_ack_in_order_takes_two_octets)
{
    struct record_ack_writer writer;
    record_ack_begin(&writer, &out, 1, 4160);
    size_t before = buffer_size(&out);
    for (uint64_t i = 1; i <= 100; i++) {
        record_ack_add(&writer, &out, 4160 + i * 1096);
    }
    cr_expect(eq(sz, buffer_size(&out) - before, 200));
}

static const struct row_state FULL_STATE = {
    .due_ms = UINT64_C(2082758400123),
    .deadline_ms = UINT64_C(1) << 62,
    .arrival_ms = 1,
    .delivery_count = UINT32_MAX,
    .acquired_count = 3,
    .verdict = ROW_VERDICT_TIMEOUT,
    .priority = 255,
};

/* Each part alone, all of them, and none: a state may also take back what was known. */
Test(record, row_state_keeps_what_it_has)
{
    const struct row_state states[] = {
        FULL_STATE,
        {.due_ms = FULL_STATE.due_ms},
        {.deadline_ms = FULL_STATE.deadline_ms},
        {.arrival_ms = FULL_STATE.arrival_ms},
        {.delivery_count = 7},
        {.acquired_count = 8},
        {.verdict = ROW_VERDICT_NACK},
        {.priority = 9},
        {0},
    };
    uint64_t queues[] = {7, 9 | RECORD_QUEUE_HANDED_OUT, 11};
    for (size_t i = 0; i < sizeof(states) / sizeof(*states); i++) {
        buffer_clear(&out);
        record_put_row_state(&out, 4160, &states[i], NULL, i % 2 == 0, queues, 3);
        cr_expect(le(sz, buffer_size(&out), record_row_state_size_max(3)));
        struct record record = only_record();
        cr_expect(eq(int, (int)record.type, RECORD_ROW_STATE));
        cr_expect(eq(u64, record.row_state.lsn, 4160));
        cr_expect(row_state_equals(&record.row_state.state, &states[i]), "state %zu", i);
        cr_expect(eq(int, record.row_state.came_with_message, i % 2 == 0));
        cr_expect(eq(ptr, (void *)record.row_state.attempts, NULL));
        cr_expect(eq(u32, record.row_state.queue_count, 3));
        cr_expect(eq(u64, record_state_queue(&record, 1), 9));
        cr_expect(eq(u64, record_state_queue(&record, 2), 11));
    }
}

static const struct row_attempts FULL_ATTEMPTS = {
    .times_ms = {1, UINT32_MAX, 3, 0, 5},
    .verdicts = 1 | 2 << 3 | 3 << 6 | 4 << 12,
};

/* With the other parts or alone; of a message that never failed nothing is said. */
Test(record, row_state_keeps_the_attempts_that_failed)
{
    const struct row_state states[] = {FULL_STATE, {.delivery_count = 7}, {0}};
    static const struct row_attempts none;
    uint64_t queues[] = {7, 9};
    for (size_t i = 0; i < sizeof(states) / sizeof(*states); i++) {
        buffer_clear(&out);
        record_put_row_state(&out, 4160, &states[i], &FULL_ATTEMPTS, false, queues, 2);
        cr_expect(le(sz, buffer_size(&out), record_row_state_size_max(2)));
        struct record record = only_record();
        cr_expect(row_state_equals(&record.row_state.state, &states[i]), "state %zu", i);
        struct row_attempts attempts = record_state_attempts(&record);
        cr_expect(row_attempts_equals(&attempts, &FULL_ATTEMPTS), "state %zu", i);
        cr_expect(eq(u64, record_state_queue(&record, 1), 9));
        size_t size = buffer_size(&out);
        buffer_clear(&out);
        record_put_row_state(&out, 4160, &states[i], &none, false, queues, 2);
        cr_expect(eq(sz, size - buffer_size(&out), ROW_ATTEMPTS_SIZE));
    }
}

Test(record, verdicts_of_attempts_that_cannot_be_are_refused)
{
    uint64_t queue = 7;
    record_put_row_state(&out, 4160, &(struct row_state){0}, &FULL_ATTEMPTS, false, &queue, 1);
    (void)only_record();
    for (int i = 0; i < 6; i++) {
        uint8_t copy[64];
        struct record record;
        cr_assert(eq(sz, buffer_size(&out), 56));
        memcpy(copy, out.data + out.start, 56);
        uint16_t verdicts = (uint16_t)(i < 5 ? 5 << i * 3 : 1 << 15);
        memcpy(copy + 24 + 20, &verdicts, 2);
        struct bytes left = bytes_make(copy, 56);
        cr_expect(eq(int, record_next(&left, &record), STATUS_CORRUPT), "verdict %d", i);
    }
}

/* What a TTL costs in the log, for a message that goes to one queue. */
Test(record, a_deadline_takes_forty_octets)
{
    uint64_t queue = 7;
    struct row_state state = {.deadline_ms = FULL_STATE.deadline_ms};
    record_put_row_state(&out, 4160, &state, NULL, true, &queue, 1);
    cr_expect(eq(sz, buffer_size(&out), 40));
}

/* Each field that can say what no version of us has written. */
Test(record, row_state_that_cannot_be_is_refused)
{
    static const struct {
        size_t at;
        uint8_t octets[8];
        size_t size;
    } changes[] = {
        {8, {7}, 1},            /* an LSN that is none */
        {8, {0}, 8},            /* below every message */
        {16, {0x40 | 0x0f}, 1}, /* a part that nobody knows */
        {16, {0x20 | 0x0f}, 1}, /* attempts that there is no room for */
        {16, {0x0e}, 1},        /* one part less than there is room for */
        {17, {5}, 1},           /* a verdict */
        {20, {0}, 4},           /* no queue */
        {20, {2}, 1},           /* one queue more than there is room for */
        {20, {0xff, 0xff, 0xff, 0xff}, 4},
        {31, {0x80}, 1}, /* times beyond 2^63 */
        {39, {0x80}, 1},
        {47, {0x80}, 1},
        {56, {0}, 8},    /* a queue that is none */
        {63, {0x80}, 1}, /* a flag that belongs to PUBLISH */
        {4, {16}, 1},    /* shorter than its fixed part */
        {4, {56}, 1},    /* cut within its parts */
    };
    uint64_t queue = 7;
    record_put_row_state(&out, 4160, &FULL_STATE, NULL, false, &queue, 1);
    (void)only_record();
    cr_assert(eq(sz, buffer_size(&out), 64));
    for (size_t i = 0; i < sizeof(changes) / sizeof(*changes); i++) {
        uint8_t copy[64];
        struct record record;
        memcpy(copy, out.data + out.start, sizeof(copy));
        memcpy(copy + changes[i].at, changes[i].octets, changes[i].size);
        struct bytes left = bytes_make(copy, sizeof(copy));
        cr_expect(eq(int, record_next(&left, &record), STATUS_CORRUPT), "change %zu", i);
    }
}

Test(record, topology_keeps_every_field)
{
    record_put_vhost(&out, 1, -1, 10, RECORD_FROM_FILE, bytes_of("/"));
    record_put_user(&out, 2, RECORD_DISABLED, bytes_of("ada"), bytes_of("rest"));
    record_put_exchange(&out, 3, 1, RECORD_INTERNAL, bytes_of("x"), bytes_of("topic"),
                        bytes_of("args"));
    record_put_queue(&out, 4, 1, RECORD_AUTO_DELETE, bytes_of("q"), bytes_make(NULL, 0));
    record_put_binding(&out, RECORD_BINDING_SET, 3, 4, 0, bytes_of("key"), bytes_of("a"));
    record_put_delete(&out, RECORD_QUEUE_DELETE, 4);
    record_put_epoch(&out, 77);
    record_put_handout(&out, 4, 4160);
    const struct record_policy policy = {
        .id = 5,
        .vhost = 1,
        .flags = RECORD_OPERATOR,
        .priority = -9,
        .target = 3,
        .name = bytes_of("limits"),
        .pattern = bytes_of("^q"),
        .definition = bytes_of("keys"),
    };
    record_put_policy(&out, &policy);
    record_put_delete(&out, RECORD_POLICY_DELETE, 5);
    struct bytes left = buffer_bytes(&out);
    struct record records[10];
    for (size_t i = 0; i < 10; i++) {
        cr_assert(eq(int, record_next(&left, &records[i]), STATUS_OK));
    }
    cr_expect(eq(int, record_next(&left, &records[0]), STATUS_AGAIN));
    cr_expect(records[0].vhost.connections_max == -1 && records[0].vhost.queues_max == 10);
    cr_expect(bytes_equal_text(records[1].user.rest, "rest"));
    cr_expect(eq(u32, records[1].user.flags, RECORD_DISABLED));
    cr_expect(bytes_equal_text(records[2].exchange.type, "topic"));
    cr_expect(bytes_equal_text(records[2].exchange.arguments, "args"));
    cr_expect(bytes_equal_text(records[3].queue.name, "q"));
    cr_expect(eq(sz, records[3].queue.arguments.size, 0));
    cr_expect(eq(u64, records[4].binding.target, 4));
    cr_expect(bytes_equal_text(records[4].binding.routing_key, "key"));
    cr_expect(eq(u64, records[5].deleted.id, 4));
    cr_expect(eq(u64, records[6].epoch.epoch, 77));
    cr_expect(eq(u64, records[7].handout.lsn, 4160));
    cr_expect(eq(u64, records[8].policy.id, 5));
    cr_expect(eq(u64, records[8].policy.vhost, 1));
    cr_expect(eq(u32, records[8].policy.flags, RECORD_OPERATOR));
    cr_expect(eq(int, records[8].policy.priority, -9));
    cr_expect(eq(u32, records[8].policy.target, 3));
    cr_expect(bytes_equal_text(records[8].policy.name, "limits"));
    cr_expect(bytes_equal_text(records[8].policy.pattern, "^q"));
    cr_expect(bytes_equal_text(records[8].policy.definition, "keys"));
    cr_expect(eq(u64, records[9].deleted.id, 5));
}

/* Who made it is told beside the object, and does not show in its flags. */
Test(record, topology_keeps_who_made_it)
{
    const struct made made = {.user = 9, .wall_s = 1764144000};
    record_put_made_exchange(&out, 3, 1, RECORD_PROTECTED, made, bytes_of("x"), bytes_of("topic"),
                             bytes_of("args"));
    record_put_made_queue(&out, 4, 1, 0, made, bytes_of("q"), bytes_of("more"));
    record_put_queue(&out, 5, 1, 0, bytes_of("r"), bytes_of(""));
    struct bytes left = buffer_bytes(&out);
    struct record records[3];
    for (size_t i = 0; i < 3; i++) {
        cr_assert(eq(int, record_next(&left, &records[i]), STATUS_OK));
    }
    cr_expect(eq(u32, records[0].exchange.flags, RECORD_PROTECTED));
    cr_expect(eq(u32, records[0].exchange.made.user, 9));
    cr_expect(eq(u32, records[0].exchange.made.wall_s, made.wall_s));
    cr_expect(bytes_equal_text(records[0].exchange.type, "topic"));
    cr_expect(bytes_equal_text(records[0].exchange.arguments, "args"));
    cr_expect(eq(u32, records[1].queue.flags, 0));
    cr_expect(eq(u32, records[1].queue.made.user, 9));
    cr_expect(bytes_equal_text(records[1].queue.arguments, "more"));
    cr_expect(eq(u32, records[2].queue.made.user, 0));
    cr_expect(eq(u32, records[2].queue.made.wall_s, 0));
}

Test(record, generation_keeps_every_field)
{
    const struct record_generation generation = {
        .id = 7,
        .vhost = 1,
        .wall_ms = INT64_C(1764144000123),
        .cause = 3,
        .maker = bytes_of("oncall"),
        .rest = bytes_of("texts"),
    };
    record_put_generation(&out, &generation);
    record_put_delete(&out, RECORD_GENERATION_DELETE, 6);
    struct bytes left = buffer_bytes(&out);
    struct record record;
    cr_assert(eq(int, record_next(&left, &record), STATUS_OK));
    cr_expect(eq(u64, record.generation.id, 7));
    cr_expect(eq(u64, record.generation.vhost, 1));
    cr_expect(eq(i64, record.generation.wall_ms, generation.wall_ms));
    cr_expect(eq(u32, record.generation.cause, 3));
    cr_expect(bytes_equal_text(record.generation.maker, "oncall"));
    cr_expect(bytes_equal_text(record.generation.rest, "texts"));
    cr_assert(eq(int, record_next(&left, &record), STATUS_OK));
    cr_expect(eq(int, (int)record.type, RECORD_GENERATION_DELETE));
    cr_expect(eq(u64, record.deleted.id, 6));
}

Test(record, fact_keeps_kind_number_and_octets)
{
    record_put_fact(&out, RECORD_FACT_AUDIT, 41, bytes_of("what was done"));
    record_put_fact(&out, 77, 0, bytes_of(""));
    record_put_fact_delete(&out, RECORD_FACT_PARAMETER, 6);
    struct bytes left = buffer_bytes(&out);
    struct record record;
    cr_assert(eq(int, record_next(&left, &record), STATUS_OK));
    cr_expect(eq(int, (int)record.type, RECORD_FACT_SET));
    cr_expect(eq(u32, record.fact.kind, RECORD_FACT_AUDIT));
    cr_expect(eq(u64, record.fact.id, 41));
    cr_expect(bytes_equal_text(record.fact.rest, "what was done"));
    cr_assert(eq(int, record_next(&left, &record), STATUS_OK));
    cr_expect(eq(u32, record.fact.kind, 77), "what it means is not the store's business");
    cr_expect(eq(sz, record.fact.rest.size, 0));
    cr_assert(eq(int, record_next(&left, &record), STATUS_OK));
    cr_expect(eq(int, (int)record.type, RECORD_FACT_DELETE));
    cr_expect(eq(u64, record.fact.id, 6));
    cr_expect(eq(int, record_next(&left, &record), STATUS_AGAIN));
}

/* Octets from a disk are never trusted: every cut and every changed octet either decodes within the
 * record or is refused. The address sanitizer watches. */
Test(record, damage_never_leads_outside_the_record)
{
    uint64_t queues[] = {1, 2, 3};
    struct record_ack_writer writer;
    record_put_publish(&out, 0, 40, queues, 3);
    record_ack_begin(&writer, &out, 1, 4160);
    record_ack_add(&writer, &out, 8000);
    record_ack_end(&writer, &out);
    record_put_queue(&out, 4, 1, 0, bytes_of("queue"), bytes_of("arguments"));
    record_put_row_state(&out, 4160, &FULL_STATE, &FULL_ATTEMPTS, true, queues, 3);
    record_put_fact(&out, RECORD_FACT_PARAMETER, 5, bytes_of("octets"));
    struct bytes whole = buffer_bytes(&out);
    for (size_t at = 0; at < whole.size; at++) {
        for (unsigned bit = 0; bit < 8; bit++) {
            uint8_t *copy = malloc(whole.size);
            memcpy(copy, whole.data, whole.size);
            copy[at] ^= (uint8_t)(1 << bit);
            struct bytes left = bytes_make(copy, whole.size);
            struct record record;
            while (record_next(&left, &record) == STATUS_OK) {
                struct record_ack_position position = {0};
                uint64_t lsn;
                while (record.type == RECORD_ACK && record_ack_next(&record, &position, &lsn)) {
                }
                if (record.type == RECORD_ROW_STATE) {
                    (void)record_state_queue(&record, record.row_state.queue_count - 1);
                }
            }
            free(copy);
        }
    }
}

/* Newer versions may add records that older ones can do without. */
Test(record, an_unknown_record_is_skipped_only_if_its_flag_says_so)
{
    uint8_t octets[8] = {200, RECORD_IGNORABLE};
    put_u32_le(octets + 4, 8);
    struct bytes left = bytes_make(octets, 8);
    struct record record;
    cr_expect(eq(int, record_next(&left, &record), STATUS_OK));
    cr_expect(eq(int, (int)record.type, RECORD_NOTE));
    octets[1] = 0;
    left = bytes_make(octets, 8);
    cr_expect(eq(int, record_next(&left, &record), STATUS_CORRUPT));
}

Test(record, a_batch_header_comes_back_or_is_refused)
{
    struct batch_header header = {
        .flags = BATCH_FIRST_OF_EPOCH,
        .base_lsn = 4096,
        .data_size = 80,
        .control_size = 24,
        .record_count = 2,
        .epoch = 5,
        .durable_lsn = 99,
        .wall_ms = -5,
        .skipped = 3,
    };
    uint8_t octets[BATCH_HEADER_SIZE];
    struct batch_header back;
    batch_header_encode(&header, octets);
    cr_assert(eq(int, batch_header_decode(&back, octets), STATUS_OK));
    cr_expect(eq(u64, back.durable_lsn, 99));
    cr_expect(back.wall_ms == -5);
    cr_expect(eq(u64, batch_header_end(&back), 4096 + 192));
    for (size_t i = 0; i < sizeof(octets); i++) {
        octets[i] ^= 1;
        cr_expect(eq(int, batch_header_decode(&back, octets), STATUS_CORRUPT));
        octets[i] ^= 1;
    }
}

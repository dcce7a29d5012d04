/* SPDX-License-Identifier: Apache-2.0 */
/* Contents that come in pieces: order and size rules of AMQP 0-9-1, 4.2.6, budget, many channels.
 */
#include "net/assembly.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <stdlib.h>

#include "base/assert.h"
#include "tests/support/alloc_faults.h"
#include "tests/support/chunk_feed.h"

static struct chunk_pool *pool;
static struct chunk_feed feed;
static struct assembly_table table;
static struct assembly_limits limits;
static struct fault fault;
static struct assembled assembled;

static void
set_up(void)
{
    pool = chunk_pool_new();
    chunk_feed_init(&feed, pool, 0, chunk_memory_anonymous());
    chunk_pool_share_thread(pool, 0, feed.writer);
    assembly_table_init(&table);
    limits = (struct assembly_limits){.message_bytes_max = 1000000, .bytes_max = 3000000};
}

static void
tear_down(void)
{
    assembly_table_fini(&table, feed.writer);
    chunk_writer_report(feed.writer);
    chunk_pool_end_tick(pool, chunk_pool_tick(pool));
    cr_expect(eq(u64, chunk_pool_bytes(pool), 0), "no content is left behind");
    chunk_pool_free(&pool);
    chunk_feed_fini(&feed);
}

TestSuite(assembly, .init = set_up, .fini = tear_down);

static enum status
begin(uint16_t channel, const char *routing_key)
{
    struct basic_publish publish = {
        .exchange = bytes_of("x"),
        .routing_key = bytes_of(routing_key),
        .mandatory = true,
    };
    return assembly_begin(&table, channel, &publish, &fault);
}

/* A header with the property block `properties`, or without properties when that is empty. */
static enum status
header(uint16_t channel, uint16_t class_id, uint64_t body_size, struct bytes properties)
{
    uint8_t payload[64] = {0};
    put_u16(payload, class_id);
    put_u64(payload + 4, body_size);
    if (properties.size > 0) {
        memcpy(payload + 12, properties.data, properties.size);
    }
    size_t size = 12 + (properties.size > 0 ? properties.size : 2);
    return assembly_header(&table, feed.writer, &limits, channel, bytes_make(payload, size),
                           &assembled, &fault);
}

static enum status
plain_header(uint16_t channel, uint64_t body_size)
{
    return header(channel, CLASS_BASIC, body_size, bytes_make(NULL, 0));
}

/* A whole body frame that is in order. */
static enum status
body(uint16_t channel, const char *text)
{
    enum status status = assembly_check_body(&table, channel, (uint32_t)strlen(text), &fault);
    cr_assert(eq(int, status, STATUS_OK));
    assembly_body(&table, channel, bytes_of(text));
    return assembly_end_body(&table, feed.writer, channel, &assembled);
}

static bool
assembled_is(const char *routing_key, const char *text)
{
    const struct content *content = assembled.place.content;
    bool is_right = bytes_equal_text(assembled.routing_key, routing_key) &&
                    bytes_equal_text(content_routing_key(content), routing_key) &&
                    bytes_equal_text(content_body(content), text);
    chunk_pool_release(pool, chunk_feed_receive(&feed, assembled.place));
    assembled_fini(&assembled);
    return is_right;
}

Test(assembly, content_is_complete_with_its_last_octet)
{
    cr_expect(eq(int, begin(1, "key"), STATUS_OK));
    cr_expect(assembly_is_due(&table, 1));
    cr_expect(not(assembly_has_header(&table, 1)));
    cr_expect(eq(int, plain_header(1, 6), STATUS_AGAIN));
    cr_expect(assembly_has_header(&table, 1));
    cr_expect(eq(int, body(1, "abc"), STATUS_AGAIN));
    cr_expect(eq(int, body(1, ""), STATUS_AGAIN));
    cr_expect(eq(int, body(1, "def"), STATUS_OK));
    cr_expect(not(assembly_is_due(&table, 1)));
    cr_expect(eq(u64, assembled.body_size, 6));
    cr_expect(assembled.mandatory);
    cr_expect(not(assembled.immediate));
    cr_expect(bytes_equal_text(assembled.exchange, "x"));
    cr_expect(assembled_is("key", "abcdef"));
}

Test(assembly, empty_body_is_complete_with_its_header)
{
    cr_expect(eq(int, begin(1, ""), STATUS_OK));
    cr_expect(eq(int, plain_header(1, 0), STATUS_OK));
    cr_expect(assembled_is("", ""));
}

Test(assembly, empty_table_holds_no_memory)
{
    cr_assert(eq(int, begin(1, "key"), STATUS_OK));
    cr_assert(eq(int, plain_header(1, 0), STATUS_OK));
    cr_expect(assembled_is("key", ""));
    assembly_trim(&table);
    cr_expect(zero(ptr, table.slots));
    cr_expect(zero(ptr, table.index));
    cr_expect(eq(u64, table.bytes, 0));
}

/* 4.2.6: contents of different channels may be mixed frame by frame. */
Test(assembly, channels_do_not_disturb_each_other)
{
    cr_expect(eq(int, begin(2, "two"), STATUS_OK));
    cr_expect(eq(int, begin(1, "one"), STATUS_OK));
    cr_expect(eq(int, plain_header(1, 2), STATUS_AGAIN));
    cr_expect(eq(int, begin(3, "three"), STATUS_OK));
    cr_expect(eq(int, plain_header(2, 4), STATUS_AGAIN));
    cr_expect(eq(int, body(2, "ab"), STATUS_AGAIN));
    cr_expect(eq(int, body(1, "XY"), STATUS_OK));
    cr_expect(assembled_is("one", "XY"));
    cr_expect(eq(int, plain_header(3, 0), STATUS_OK));
    cr_expect(assembled_is("three", ""));
    cr_expect(eq(int, body(2, "cd"), STATUS_OK));
    cr_expect(assembled_is("two", "abcd"));
}

/* Every breach, with what the peer is told. */
Test(assembly, breaches_have_the_code_and_the_text_that_clients_know)
{
    enum step { HEADER, BODY };
    static const struct {
        const char *what;
        bool has_publish;
        bool has_header;
        enum step step;
        uint16_t class_id;
        uint64_t size;
        const char *properties;
        size_t properties_size;
        uint16_t reply_code;
        const char *text;
    } rows[] = {
        {"header without method", false, false, HEADER, 60, 1, "", 0, 505,
         "expected method frame, got non method frame instead"},
        {"body without method", false, false, BODY, 0, 1, "", 0, 505,
         "expected method frame, got non method frame instead"},
        {"body without header", true, false, BODY, 0, 1, "", 0, 505,
         "expected content header for class 60, got non content header frame instead"},
        {"second header", true, true, HEADER, 60, 1, "", 0, 505,
         "expected content body, got non content body frame instead"},
        {"another class", true, false, HEADER, 50, 1, "", 0, 505,
         "expected content header for class 60, got one for class 50 instead"},
        {"body too long", true, true, BODY, 0, 6, "", 0, 501,
         "body frame of 6 octets is longer than the 5 that are left of the content"},
        {"announced too large", true, false, HEADER, 60, 536870913, "", 0, 501,
         "content body of 536870913 octets is larger than the limit of 536870912"},
        {"announced absurdly large", true, false, HEADER, 60, UINT64_MAX, "", 0, 501,
         "content body of 18446744073709551615 octets is larger than the limit of 536870912"},
        {"property cut short", true, false, HEADER, 60, 1, "\x80\x00\x09x", 4, 502, NULL},
        {"undefined flag", true, false, HEADER, 60, 1, "\x00\x02", 2, 502, NULL},
        {"headers that are no table", true, false, HEADER, 60, 1, "\x20\x00\x00\x00\x00\x03\x01x?",
         9, 501, NULL},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        if (rows[i].has_publish) {
            cr_assert(eq(int, begin(1, "key"), STATUS_OK));
        }
        if (rows[i].has_header) {
            cr_assert(eq(int, plain_header(1, 5), STATUS_AGAIN));
        }
        struct bytes properties = bytes_make(rows[i].properties, rows[i].properties_size);
        enum status status = rows[i].step == HEADER
                                 ? header(1, rows[i].class_id, rows[i].size, properties)
                                 : assembly_check_body(&table, 1, (uint32_t)rows[i].size, &fault);
        cr_expect(eq(int, status, STATUS_FAULT), "%s", rows[i].what);
        cr_expect(eq(int, fault.scope, FAULT_CONNECTION), "%s", rows[i].what);
        cr_expect(eq(int, fault.reply_code, rows[i].reply_code), "%s", rows[i].what);
        if (rows[i].text != NULL) {
            cr_expect(eq(str, fault.text, (char *)(uintptr_t)rows[i].text), "%s", rows[i].what);
        }
        assembly_table_fini(&table, feed.writer);
    }
}

Test(assembly, header_payload_that_is_too_short_is_a_syntax_error)
{
    cr_assert(eq(int, begin(1, "key"), STATUS_OK));
    enum status status = assembly_header(&table, feed.writer, &limits, 1, bytes_make("\0\x3c\0", 3),
                                         &assembled, &fault);
    cr_expect(eq(int, status, STATUS_FAULT));
    cr_expect(eq(int, fault.reply_code, 502));
}

/* The largest body that is kept and the smallest that is not. */
Test(assembly, body_over_the_limit_is_reported_at_its_header_and_then_dropped)
{
    limits.message_bytes_max = 4;
    cr_assert(eq(int, begin(1, "key"), STATUS_OK));
    cr_expect(eq(int, plain_header(1, 4), STATUS_AGAIN));
    cr_expect(eq(int, body(1, "full"), STATUS_OK));
    cr_expect(assembled_is("key", "full"));

    cr_assert(eq(int, begin(1, "key"), STATUS_OK));
    cr_expect(eq(int, plain_header(1, 5), STATUS_OK));
    cr_expect(zero(ptr, (void *)assembled.place.content));
    cr_expect(eq(u64, assembled.body_size, 5));
    cr_expect(bytes_equal_text(assembled.routing_key, "key"));
    assembled_fini(&assembled);
    cr_expect(assembly_is_due(&table, 1));
    cr_expect(zero(ptr, assembly_body_at(&table, 1)));
    cr_expect(eq(int, body(1, "fu"), STATUS_AGAIN));
    cr_expect(eq(int, assembly_check_body(&table, 1, 4, &fault), STATUS_FAULT));
    cr_expect(eq(int, body(1, "lle"), STATUS_AGAIN));
    cr_expect(not(assembly_is_due(&table, 1)));
}

Test(assembly, delivery_mode_and_headers_show_in_the_content)
{
    static const struct {
        const char *properties;
        size_t size;
        uint16_t flags;
    } rows[] = {
        {"\x10\x00\x01", 3, 0},
        {"\x10\x00\x02", 3, CONTENT_PERSISTENT},
        {"\x20\x00\x00\x00\x00\x00", 6, CONTENT_HAS_HEADERS},
        {"\x30\x00\x00\x00\x00\x00\x02", 7, CONTENT_HAS_HEADERS | CONTENT_PERSISTENT},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct bytes properties = bytes_make(rows[i].properties, rows[i].size);
        cr_assert(eq(int, begin(1, "key"), STATUS_OK));
        cr_assert(eq(int, header(1, CLASS_BASIC, 0, properties), STATUS_OK), "row %zu", i);
        const struct content *content = assembled.place.content;
        cr_expect(eq(int, content->flags, rows[i].flags), "row %zu", i);
        cr_expect(bytes_equal(content_properties(content), properties), "row %zu", i);
        cr_expect(assembled_is("key", ""));
    }
}

/* Half-published messages on many channels must not take all memory. */
Test(assembly, contents_over_the_budget_are_a_resource_error)
{
    for (uint16_t channel = 1; channel <= 2; channel++) {
        cr_assert(eq(int, begin(channel, "key"), STATUS_OK));
        cr_assert(eq(int, plain_header(channel, 1000000), STATUS_AGAIN));
    }
    cr_assert(eq(int, begin(3, "key"), STATUS_OK));
    cr_expect(eq(int, plain_header(3, 1000000), STATUS_FAULT));
    cr_expect(eq(int, fault.reply_code, 506));
    cr_expect(eq(str, fault.text,
                 "unfinished messages of this connection take more than 3000000 octets"));
}

Test(assembly, names_that_wait_for_their_header_count_in_the_budget)
{
    limits.bytes_max = 4000;
    char key[256];
    memset(key, 'k', 255);
    key[255] = '\0';
    enum status status = STATUS_OK;
    uint16_t channel = 1;
    for (; channel < 100 && status == STATUS_OK; channel++) {
        cr_assert(eq(int, begin(channel, key), STATUS_OK));
        status = assembly_keep_names(&table, &limits, &fault);
    }
    cr_expect(eq(int, status, STATUS_FAULT));
    cr_expect(eq(int, fault.reply_code, 506));
    cr_expect(lt(int, channel, 20));
}

Test(assembly, names_outlive_the_read_buffer_once_they_are_kept)
{
    char key[] = "key";
    cr_assert(eq(int, begin(1, key), STATUS_OK));
    cr_assert(eq(int, assembly_keep_names(&table, &limits, &fault), STATUS_OK));
    memset(key, '?', 3);
    cr_assert(eq(int, plain_header(1, 0), STATUS_OK));
    cr_expect(assembled_is("key", ""));

    /* And without a content, too. */
    key[0] = 'a';
    key[1] = 'b';
    key[2] = 'c';
    limits.message_bytes_max = 1;
    cr_assert(eq(int, begin(1, key), STATUS_OK));
    cr_assert(eq(int, assembly_keep_names(&table, &limits, &fault), STATUS_OK));
    memset(key, '?', 3);
    cr_assert(eq(int, plain_header(1, 2), STATUS_OK));
    cr_expect(bytes_equal_text(assembled.routing_key, "abc"));
    assembled_fini(&assembled);
}

Test(assembly, missing_memory_is_a_resource_error)
{
    static const char *const steps[] = {"index", "slots", "names"};
    for (uint32_t nth = 1; nth <= ARRAY_LEN(steps); nth++) {
        alloc_faults_plan(nth);
        enum status status = begin(1, "key");
        if (status == STATUS_OK) {
            status = assembly_keep_names(&table, &limits, &fault);
        }
        alloc_faults_plan(0);
        cr_expect(eq(int, status, STATUS_FAULT), "%s", steps[nth - 1]);
        cr_expect(eq(int, fault.reply_code, 506), "%s", steps[nth - 1]);
        cr_expect(eq(str, fault.text, "no memory for an unfinished message"));
        assembly_table_fini(&table, feed.writer);
    }
}

Test(assembly, writer_without_memory_is_a_resource_error)
{
    cr_assert(eq(int, begin(1, "key"), STATUS_OK));
    alloc_faults_plan(1);
    cr_expect(eq(int, plain_header(1, 10), STATUS_FAULT));
    cr_expect(eq(int, fault.reply_code, 506));
    cr_expect(eq(str, fault.text, "no memory for a message of 10 octets"));
}

/* Part of closing a channel: its peer may have sent any number of publishes meanwhile. */
Test(assembly, channel_that_the_core_closed_swallows_contents_until_it_is_forgotten)
{
    cr_assert(eq(int, begin(1, "key"), STATUS_OK));
    cr_assert(eq(int, plain_header(1, 3), STATUS_AGAIN));
    cr_assert(eq(int, assembly_discard(&table, feed.writer, 1), STATUS_OK));

    cr_expect(assembly_is_discarding(&table, 1));
    cr_expect(not(assembly_is_due(&table, 1)));
    cr_expect(eq(int, body(1, "abcdefgh"), STATUS_AGAIN));
    cr_expect(eq(int, plain_header(1, 3), STATUS_AGAIN));
    cr_expect(eq(int, plain_header(1, UINT64_MAX), STATUS_AGAIN));
    cr_expect(zero(ptr, assembly_body_at(&table, 1)));
    cr_expect(eq(int, assembly_discard(&table, feed.writer, 1), STATUS_OK));

    assembly_forget(&table, 1);
    cr_expect(not(assembly_is_discarding(&table, 1)));
    assembly_trim(&table);
    cr_expect(zero(ptr, table.slots));
}

Test(assembly, forgetting_a_channel_leaves_what_it_assembles_alone)
{
    cr_assert(eq(int, begin(1, "key"), STATUS_OK));
    assembly_forget(&table, 1);
    cr_expect(assembly_is_due(&table, 1));
}

Test(assembly, discarding_needs_memory_and_says_so)
{
    alloc_faults_plan(1);
    cr_expect(eq(int, assembly_discard(&table, feed.writer, 9), STATUS_NO_MEMORY));
}

/* A reader may put octets into the content itself. */
Test(assembly, octets_read_in_place_are_not_copied)
{
    cr_assert(eq(int, begin(1, "key"), STATUS_OK));
    cr_assert(eq(int, plain_header(1, 4), STATUS_AGAIN));
    cr_assert(eq(int, assembly_check_body(&table, 1, 4, &fault), STATUS_OK));
    uint8_t *at = assembly_body_at(&table, 1);
    at[0] = 'a';
    at[1] = 'b';
    assembly_body(&table, 1, bytes_make(at, 2));
    cr_expect(eq(ptr, assembly_body_at(&table, 1), at + 2));
    assembly_body(&table, 1, bytes_of("cd"));
    cr_expect(eq(int, assembly_end_body(&table, feed.writer, 1, &assembled), STATUS_OK));
    cr_expect(assembled_is("key", "abcd"));
}

/* Against a model with every channel number in play. */
Test(assembly, thousands_of_channels_in_random_order_keep_their_own_contents)
{
    enum { CHANNELS = 3000, STEPS = 60000 };
    static uint8_t progress[CHANNELS]; /* 0 nothing, 1 method, 2 header and no body yet, 3 half */
    limits.bytes_max = 100000000;
    uint64_t seed = 7;
    for (int step = 0; step < STEPS; step++) {
        seed = seed * 6364136223846793005U + 1442695040888963407U;
        uint16_t at = (uint16_t)((seed >> 33) % CHANNELS);
        uint16_t channel = (uint16_t)(at * 21 + 5);
        char text[16];
        snprintf(text, sizeof(text), "%04u", at);
        char half[3] = {text[progress[at] == 3 ? 2 : 0], text[progress[at] == 3 ? 3 : 1], '\0'};
        switch (progress[at]) {
        case 0:
            cr_assert(not(assembly_is_due(&table, channel)));
            cr_assert(eq(int, begin(channel, text), STATUS_OK));
            cr_assert(eq(int, assembly_keep_names(&table, &limits, &fault), STATUS_OK));
            break;
        case 1:
            cr_assert(eq(int, plain_header(channel, 4), STATUS_AGAIN));
            break;
        case 2:
            cr_assert(eq(int, body(channel, half), STATUS_AGAIN));
            break;
        default:
            cr_assert(eq(int, body(channel, half), STATUS_OK));
            cr_assert(assembled_is(text, text));
            break;
        }
        progress[at] = (uint8_t)((progress[at] + 1) % 4);
    }
}

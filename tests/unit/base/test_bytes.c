/* SPDX-License-Identifier: Apache-2.0 */
/* Views of octets: UTF-8, order, hashing, and a reader that never steps over the end. */
#include "base/bytes.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>

#include "base/assert.h"
#include "tests/support/exact_copy.h"

/* An initializer of a struct bytes. */
#define LITERAL(text)                                                                              \
    {                                                                                              \
        (const uint8_t *)(text), sizeof(text) - 1                                                  \
    }

static const struct {
    struct bytes text;
    bool is_utf8;
} utf8_rows[] = {
    {LITERAL(""), true},
    {LITERAL("a"), true},
    {LITERAL("orders.eu.paid.and.more"), true},
    {LITERAL("a\0b"), true},
    {LITERAL("\xC2\x80"), true},         /* U+0080, the first of two octets */
    {LITERAL("\xDF\xBF"), true},         /* U+07FF, the last */
    {LITERAL("\xE0\xA0\x80"), true},     /* U+0800 */
    {LITERAL("\xED\x9F\xBF"), true},     /* U+D7FF, the last before the surrogates */
    {LITERAL("\xEE\x80\x80"), true},     /* U+E000, the first behind them */
    {LITERAL("\xEF\xBF\xBF"), true},     /* U+FFFF */
    {LITERAL("\xF0\x90\x80\x80"), true}, /* U+10000 */
    {LITERAL("\xF4\x8F\xBF\xBF"), true}, /* U+10FFFF, the last of all */
    {LITERAL("12345678\xC3\xA4"), true}, /* behind a word of ASCII */
    {LITERAL("1234567\xC3\xA4"), true},  /* across the end of a word */
    {LITERAL("12345678\xC3\xA4 90123"), true},
    {LITERAL("\x80"), false}, /* a continuation alone */
    {LITERAL("\xBF"), false},
    {LITERAL("\xC0\x80"), false},         /* NUL, overlong */
    {LITERAL("\xC1\xBF"), false},         /* overlong */
    {LITERAL("\xE0\x9F\xBF"), false},     /* overlong */
    {LITERAL("\xF0\x8F\xBF\xBF"), false}, /* overlong */
    {LITERAL("\xED\xA0\x80"), false},     /* U+D800, a surrogate */
    {LITERAL("\xED\xBF\xBF"), false},     /* U+DFFF */
    {LITERAL("\xF4\x90\x80\x80"), false}, /* U+110000 */
    {LITERAL("\xF5\x80\x80\x80"), false}, /* no such lead */
    {LITERAL("\xFF"), false},
    {LITERAL("\xC3"), false}, /* cut short */
    {LITERAL("\xE2\x82"), false},
    {LITERAL("\xF0\x9F\x98"), false},
    {LITERAL("\xC3"
             "a"),
     false}, /* no continuation */
    {LITERAL("\xE2\x82"
             "a"),
     false},
    {LITERAL("12345678\xFF"), false},
    {LITERAL("1234567890123\xC3"), false},
    {LITERAL("\xC3\xA4 345678\xFF"), false},
};

/* RFC 3629, section 4. */
Test(bytes, utf8_is_what_rfc_3629_says_and_nothing_else)
{
    for (size_t i = 0; i < ARRAY_LEN(utf8_rows); i++) {
        struct bytes copy = exact_copy(utf8_rows[i].text);
        cr_expect(eq(int, bytes_is_utf8(copy), utf8_rows[i].is_utf8), "row %zu", i);
        exact_copy_free(copy);
    }
}

/* The check takes eight octets at a time; a bad one must not hide at any place of a word. */
Test(bytes, a_bad_octet_is_found_at_every_place)
{
    for (size_t size = 1; size <= 40; size++) {
        for (size_t bad = 0; bad < size; bad++) {
            uint8_t text[40];
            memset(text, 'x', sizeof(text));
            text[bad] = 0xFE;
            struct bytes copy = exact_copy(bytes_make(text, size));
            cr_expect(not(bytes_is_utf8(copy)), "octet %zu of %zu", bad, size);
            exact_copy_free(copy);
        }
    }
}

Test(bytes, a_prefix_never_ends_within_a_character)
{
    static const struct {
        struct bytes text;
        size_t size_max;
        size_t prefix;
    } rows[] = {
        {LITERAL(""), 5, 0},
        {LITERAL("abc"), 5, 3},
        {LITERAL("abc"), 2, 2},
        {LITERAL("abc"), 0, 0},
        {LITERAL("a\xC3\xA4"), 3, 3},
        {LITERAL("a\xC3\xA4"), 2, 1},
        {LITERAL("\xE2\x82\xAC"), 3, 3},
        {LITERAL("\xE2\x82\xAC"), 2, 0},
        {LITERAL("\xE2\x82\xAC"), 1, 0},
        {LITERAL("x\xF0\x9F\x98\x80y"), 5, 5},
        {LITERAL("x\xF0\x9F\x98\x80y"), 4, 1},
        {LITERAL("x\xF0\x9F\x98\x80y"), 3, 1},
        {LITERAL("x\xF0\x9F\x98\x80y"), 2, 1},
        {LITERAL("x\xF0\x9F\x98"), 9, 1},        /* cut before it came to us */
        {LITERAL("\x80\x80\x80\x80\x80"), 4, 4}, /* no UTF-8 anyway: cut where asked */
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct bytes copy = exact_copy(rows[i].text);
        cr_expect(eq(sz, bytes_utf8_prefix(copy, rows[i].size_max), rows[i].prefix), "row %zu", i);
        exact_copy_free(copy);
    }
}

Test(bytes, compare_orders_octets_and_puts_a_prefix_first)
{
    cr_expect(lt(int, bytes_compare(bytes_of("a"), bytes_of("b")), 0));
    cr_expect(ge(int, bytes_compare(bytes_of("b"), bytes_of("a")), 1));
    cr_expect(lt(int, bytes_compare(bytes_of("a"), bytes_of("ab")), 0));
    cr_expect(ge(int, bytes_compare(bytes_of("ab"), bytes_of("a")), 1));
    cr_expect(eq(int, bytes_compare(bytes_of("ab"), bytes_of("ab")), 0));
    cr_expect(lt(int, bytes_compare(bytes_of("\x7F"), bytes_of("\x80")), 0), "octets are unsigned");
    cr_expect(eq(int, bytes_compare(bytes_make(NULL, 0), bytes_of("")), 0));
}

Test(bytes, starts_with_is_true_for_prefixes_only)
{
    cr_expect(bytes_starts_with(bytes_of("amq.topic"), "amq."));
    cr_expect(bytes_starts_with(bytes_of("amq."), "amq."));
    cr_expect(not(bytes_starts_with(bytes_of("amq"), "amq.")));
    cr_expect(not(bytes_starts_with(bytes_of("xamq."), "amq.")));
    cr_expect(bytes_starts_with(bytes_make(NULL, 0), ""));
}

Test(bytes, the_hash_depends_on_octets_and_seed)
{
    cr_expect(eq(u64, bytes_hash(bytes_of("orders"), 1), bytes_hash(bytes_of("orders"), 1)));
    cr_expect(ne(u64, bytes_hash(bytes_of("orders"), 1), bytes_hash(bytes_of("orders"), 2)));
    cr_expect(ne(u64, bytes_hash(bytes_of("orders"), 1), bytes_hash(bytes_of("orderz"), 1)));
    cr_expect(eq(u64, bytes_hash(bytes_make(NULL, 0), 1), bytes_hash(bytes_of(""), 1)));
}

Test(byte_reader, reads_big_endian_values_in_their_order)
{
    static const uint8_t octets[] = {0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x07, 0x08,
                                     0x09, 0x0A, 0x0B, 0x0C, 0x0D, 0x0E, 0x0F, 2,
                                     'h',  'i',  0,    0,    0,    1,    '!'};
    struct byte_reader reader = byte_reader_make(bytes_make(octets, sizeof(octets)));
    cr_expect(eq(u8, byte_reader_u8(&reader), 0x01));
    cr_expect(eq(u16, byte_reader_u16(&reader), 0x0203));
    cr_expect(eq(u32, byte_reader_u32(&reader), 0x04050607));
    cr_expect(eq(u64, byte_reader_u64(&reader), UINT64_C(0x08090A0B0C0D0E0F)));
    cr_expect(bytes_equal_text(byte_reader_shortstr(&reader), "hi"));
    cr_expect(bytes_equal_text(byte_reader_longstr(&reader), "!"));
    cr_expect(eq(sz, byte_reader_left(&reader), 0));
    cr_expect(not(reader.failed));
}

/* Each kind of read, one octet short: it fails, reads as nothing, and moves nothing. */
Test(byte_reader, a_read_over_the_end_fails_for_good)
{
    static const uint8_t octets[8] = {0, 0, 0, 5, 'a', 'b', 'c', 'd'};
    for (int kind = 0; kind < 6; kind++) {
        static const size_t sizes[] = {0, 1, 3, 7, 4, 8};
        struct bytes copy = exact_copy(bytes_make(octets + (kind == 4 ? 3 : 0), sizes[kind]));
        struct byte_reader reader = byte_reader_make(copy);
        uint64_t value = 0;
        struct bytes text = {0};
        switch (kind) {
        case 0:
            value = byte_reader_u8(&reader);
            break;
        case 1:
            value = byte_reader_u16(&reader);
            break;
        case 2:
            value = byte_reader_u32(&reader);
            break;
        case 3:
            value = byte_reader_u64(&reader);
            break;
        case 4:
            text = byte_reader_shortstr(&reader);
            break;
        default:
            text = byte_reader_longstr(&reader);
            break;
        }
        cr_expect(reader.failed, "kind %d", kind);
        cr_expect(eq(u64, value, 0));
        cr_expect(eq(sz, text.size, 0));
        cr_expect(eq(ptr, (void *)reader.next, (void *)copy.data), "kind %d moved", kind);
        cr_expect(eq(u8, byte_reader_u8(&reader), 0), "it stays failed");
        exact_copy_free(copy);
    }
}

/* 2^32-1 octets announced: no arithmetic may wrap. */
Test(byte_reader, an_enormous_length_is_refused)
{
    static const uint8_t octets[] = {0xFF, 0xFF, 0xFF, 0xFF, 'x'};
    struct byte_reader reader = byte_reader_make(bytes_make(octets, sizeof(octets)));
    cr_expect(eq(sz, byte_reader_longstr(&reader).size, 0));
    cr_expect(reader.failed);
    reader = byte_reader_make(bytes_make(octets, sizeof(octets)));
    cr_expect(eq(sz, byte_reader_take(&reader, SIZE_MAX).size, 0));
    cr_expect(reader.failed);
}

Test(byte_reader, nothing_can_be_read_from_nothing_but_nothing)
{
    struct byte_reader reader = byte_reader_make(bytes_make(NULL, 0));
    cr_expect(eq(sz, byte_reader_take(&reader, 0).size, 0));
    cr_expect(not(reader.failed));
    cr_expect(eq(u8, byte_reader_u8(&reader), 0));
    cr_expect(reader.failed);
}

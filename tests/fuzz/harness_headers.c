/* SPDX-License-Identifier: Apache-2.0 */
/* Header matching against the obvious way. The input is two tables, binding arguments and message
 * headers, behind the length of the first: `size size arguments headers`. */
#include "routing/header_match.h"

#include "tests/fuzz/make.h"
#include "tests/fuzz/reference.h"
#include "tests/fuzz/target.h"
#include "tests/support/exact_copy.h"

enum { INPUT_MAX = 4096, LENGTH_SIZE = 2 };

/* The first header of that name. */
static bool
find_header(struct bytes headers, struct bytes name, struct table_value *value_out)
{
    struct byte_reader reader = byte_reader_make(headers);
    struct bytes other;
    while (table_next(&reader, &other, value_out)) {
        if (bytes_equal(other, name)) {
            return true;
        }
    }
    return false;
}

static bool
reference_matches(struct bytes arguments, struct bytes headers)
{
    struct bytes mode = bytes_of("all");
    struct table_value value;
    if (table_find(arguments, "x-match", &value)) {
        mode = value.raw;
    }
    bool is_any = bytes_starts_with(mode, "any");
    bool with_x = mode.size > 3;
    struct byte_reader reader = byte_reader_make(arguments);
    struct bytes name;
    while (table_next(&reader, &name, &value)) {
        bool counts = with_x ? !bytes_equal_text(name, "x-match") : !bytes_starts_with(name, "x-");
        struct table_value header;
        if (!counts) {
            continue;
        }
        bool is_there = find_header(headers, name, &header) &&
                        (value.type == 'V' || reference_value_equal(&value, &header));
        if (is_there == is_any) {
            return is_any;
        }
    }
    return !is_any;
}

static void
check(struct bytes arguments, struct bytes headers)
{
    struct fault fault;
    if (table_validate(arguments, TABLE_FIELDS_MAX, &fault) != STATUS_OK ||
        table_validate(headers, TABLE_HEADER_FIELDS_MAX, &fault) != STATUS_OK) {
        return;
    }
    if (header_match_check(arguments, &fault) != STATUS_OK) {
        assert(fault.reply_code == 406);
        assert(fault.scope == FAULT_CHANNEL);
        return;
    }
    struct header_match match;
    struct header_index index;
    header_match_init(&match, arguments, 7);
    header_index_init(&index, 7);
    header_index_read(&index, arguments); /* an index is used again */
    header_index_read(&index, headers);
    assert(header_match_matches(&match, &index) == reference_matches(arguments, headers));
    header_index_fini(&index);
    header_match_fini(&match);
}

static void
run(struct bytes input)
{
    if (input.size < LENGTH_SIZE) {
        return;
    }
    size_t rest = input.size - LENGTH_SIZE;
    size_t size = get_u16(input.data);
    size = size < rest ? size : rest;
    struct bytes arguments = exact_copy(bytes_make(input.data + LENGTH_SIZE, size));
    struct bytes headers = exact_copy(bytes_make(input.data + LENGTH_SIZE + size, rest - size));
    check(arguments, headers);
    exact_copy_free(arguments);
    exact_copy_free(headers);
}

/* New arguments in front of the headers, or headers that are made from the arguments. */
static size_t
mutate(uint8_t *data, size_t size, size_t size_max, struct draw *draw)
{
    struct maker maker;
    maker_init(&maker, draw);
    struct bytes arguments = make_table(&maker, "headers");
    struct bytes headers = make_table(&maker, "headers");
    size_t needed = LENGTH_SIZE + 2 * arguments.size + headers.size + 64;
    if (needed <= size_max) {
        put_u16(data, (uint16_t)arguments.size);
        uint8_t *at = data + LENGTH_SIZE;
        memcpy(at, arguments.data, arguments.size);
        at += arguments.size;
        if (draw_chance(draw, 70)) {
            memcpy(at, arguments.data, arguments.size);
            at += draw_chance(draw, 50)
                      ? mutate_table(at, arguments.size, 64 + arguments.size, draw)
                      : arguments.size;
        }
        if (draw_chance(draw, 50)) {
            memcpy(at, headers.data, headers.size);
            at += headers.size;
        }
        size = (size_t)(at - data);
    }
    maker_fini(&maker);
    return size;
}

const struct fuzz_target fuzz_headers = {
    .name = "headers", .size_max = INPUT_MAX, .run = run, .mutate = mutate};

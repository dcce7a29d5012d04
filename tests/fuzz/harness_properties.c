/* SPDX-License-Identifier: Apache-2.0 */
/* Property blocks: what decodes encodes to the same octets; the short way of a whole publish
 * (net/whole_publish.h) never accepts what the long way refuses. The input is a block. */
#include "amqp/properties.h"

#include "amqp/table.h"
#include "net/whole_publish.h"
#include "tests/fuzz/make.h"
#include "tests/fuzz/target.h"
#include "tests/support/exact_copy.h"

enum { INPUT_MAX = 4096, FLAG_WORD_SIZE = 2 };

static void
check_decoded(const struct properties *properties, struct bytes block)
{
    struct buffer encoded;
    buffer_init(&encoded);
    properties_encode(&encoded, properties);
    assert(bytes_equal(buffer_bytes(&encoded), block));
    buffer_fini(&encoded);
    struct fault fault;
    assert(table_validate(properties->headers, TABLE_HEADER_FIELDS_MAX, &fault) == STATUS_OK);
}

static void
run(struct bytes input)
{
    struct bytes block = exact_copy(input);
    struct properties properties = {.delivery_mode = 0xAA};
    struct fault fault;
    uint8_t delivery_mode = 0;
    bool is_plain = block.size >= FLAG_WORD_SIZE && whole_publish_is_plain(block, &delivery_mode);
    if (properties_decode(&properties, block, &fault) == STATUS_OK) {
        check_decoded(&properties, block);
        assert(!is_plain || delivery_mode == properties.delivery_mode);
    } else {
        assert(!is_plain);
        assert(fault.reply_code == 501 || fault.reply_code == 502);
        assert(properties.delivery_mode == 0xAA); /* outputs are written on success only */
    }
    exact_copy_free(block);
}

static size_t
mutate(uint8_t *data, size_t size, size_t size_max, struct draw *draw)
{
    struct maker maker;
    maker_init(&maker, draw);
    struct bytes made = make_properties(&maker);
    if (made.size <= size_max) {
        memcpy(data, made.data, made.size);
        size = made.size;
    }
    if (size > 0 && draw_chance(draw, 50)) {
        data[draw_below(draw, (uint32_t)size)] = (uint8_t)draw_number(draw);
    }
    maker_fini(&maker);
    return size;
}

const struct fuzz_target fuzz_properties = {
    .name = "properties", .size_max = INPUT_MAX, .run = run, .mutate = mutate};

/* SPDX-License-Identifier: Apache-2.0 */
/* The topic trie against the reference matcher, and what a pass may cost. The input is lines:
 * `+KEY` binds, `-KEY` takes a binding away (of the target that got it last), `KEY` routes. */
#include "routing/topic_trie.h"

#include "tests/fuzz/reference.h"
#include "tests/fuzz/target.h"

enum { INPUT_MAX = 2048, BINDINGS_MAX = 64, TARGETS = 5 };

struct bound {
    struct bytes key;
    struct route_target *target;
};

struct world {
    struct topic_trie *trie;
    struct route_target targets[TARGETS];
    struct bound bindings[BINDINGS_MAX];
    size_t count;
    struct route_set set;
};

static void
bind(struct world *world, struct bytes key)
{
    if (world->count == BINDINGS_MAX) {
        return;
    }
    /* Every third binding goes where the one before it went. */
    struct route_target *target = &world->targets[(world->count * 2 / 3) % TARGETS];
    topic_trie_bind(world->trie, key, target);
    world->bindings[world->count++] = (struct bound){.key = key, .target = target};
}

static void
unbind(struct world *world, struct bytes key)
{
    for (size_t i = world->count; i > 0; i--) {
        struct bound *bound = &world->bindings[i - 1];
        if (bytes_equal(bound->key, key)) {
            topic_trie_unbind(world->trie, key, bound->target);
            *bound = world->bindings[--world->count];
            return;
        }
    }
}

static bool
is_expected(const struct world *world, const struct route_target *target, struct bytes key)
{
    for (size_t i = 0; i < world->count; i++) {
        if (world->bindings[i].target == target &&
            reference_topic_matches(world->bindings[i].key, key)) {
            return true;
        }
    }
    return false;
}

static void
route(struct world *world, struct bytes key)
{
    route_set_begin(&world->set);
    topic_trie_route(world->trie, key, &world->set);
    size_t expected = 0;
    for (size_t i = 0; i < TARGETS; i++) {
        bool is_found = world->targets[i].stamp == world->set.stamp;
        assert(is_found == is_expected(world, &world->targets[i], key));
        expected += is_found;
    }
    assert(world->set.count == expected);
    uint64_t visits = topic_trie_visit_count(world->trie);
    uint64_t nodes = topic_trie_node_count(world->trie);
    assert(visits <= nodes);
    assert(visits <= nodes * (reference_word_count(key) + 1));
}

static void
handle_line(struct world *world, struct bytes line)
{
    bool is_command = line.size > 0 && (line.data[0] == '+' || line.data[0] == '-');
    struct bytes key = is_command ? bytes_make(line.data + 1, line.size - 1) : line;
    if (key.size > TOPIC_KEY_SIZE_MAX) {
        return;
    }
    if (!is_command) {
        route(world, key);
    } else if (line.data[0] == '+') {
        bind(world, key);
    } else {
        unbind(world, key);
    }
}

static void
run(struct bytes input)
{
    struct world world = {.trie = topic_trie_new(7)};
    route_set_init(&world.set);
    for (uint64_t i = 0; i < TARGETS; i++) {
        route_target_init(&world.targets[i], ROUTE_TARGET_QUEUE, i + 1);
    }
    while (input.size > 0) {
        const uint8_t *end = memchr(input.data, '\n', input.size);
        size_t size = end != NULL ? (size_t)(end - input.data) : input.size;
        handle_line(&world, bytes_make(input.data, size));
        size += end != NULL;
        input = bytes_make(input.data + size, input.size - size);
    }
    while (world.count > 0) {
        unbind(&world, world.bindings[world.count - 1].key);
    }
    assert(topic_trie_node_count(world.trie) == 1);
    route_set_fini(&world.set);
    topic_trie_free(&world.trie);
}

/* Puts a line made of few words somewhere. */
static size_t
mutate(uint8_t *data, size_t size, size_t size_max, struct draw *draw)
{
    static const char *const words[] = {"#", "*", "a", "b", "", "aa", "c", "#", "*"};
    char line[128];
    size_t used = 0;
    if (draw_chance(draw, 65)) {
        line[used++] = draw_chance(draw, 80) ? '+' : '-';
    }
    for (uint32_t count = draw_below(draw, 12); count > 0; count--) {
        const char *word = words[draw_below(draw, ARRAY_LEN(words))];
        for (; *word != '\0'; word++) {
            line[used++] = *word;
        }
        if (count > 1) {
            line[used++] = '.';
        }
    }
    line[used++] = '\n';
    if (size + used > size_max) {
        return size / 2;
    }
    size_t at = draw_below(draw, (uint32_t)size + 1);
    while (at > 0 && data[at - 1] != '\n') {
        at--;
    }
    memmove(data + at + used, data + at, size - at);
    memcpy(data + at, line, used);
    return size + used;
}

const struct fuzz_target fuzz_topic = {
    .name = "topic", .size_max = INPUT_MAX, .run = run, .mutate = mutate};

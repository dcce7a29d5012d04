/* SPDX-License-Identifier: Apache-2.0 */
/* Permission expressions, as a file has them and as its words become them. The input is lines. The
 * first begins with `/`: an expression, then one for topics (`/` again), then names that it is
 * asked about. It begins with `*` or `#`: what follows on this line and on those that begin alike
 * are names, or topic patterns, and what they allow is held against the obvious way of matching. */
#include "config/expression.h"

#include <time.h>

#include "broker/connections/connection.h"
#include "tests/fuzz/core_world.h"
#include "tests/fuzz/reference.h"
#include "tests/fuzz/target.h"

enum { INPUT_MAX = 1024, EXPRESSION_MAX = 256, PATTERNS_MAX = 8, CPU_MS_MAX = 250 };

/* What the match limits may refuse although it matches. */
enum { LIMITLESS_KEY_MAX = 48, LIMITLESS_HASHES_MAX = 2 };

static struct bytes
next_line(struct bytes *rest)
{
    const uint8_t *end = rest->size == 0 ? NULL : memchr(rest->data, '\n', rest->size);
    size_t size = end != NULL ? (size_t)(end - rest->data) : rest->size;
    struct bytes line = bytes_make(rest->data, size);
    size += end != NULL;
    *rest = size == 0 ? *rest : bytes_make(rest->data + size, rest->size - size);
    return line;
}

static uint64_t
cpu_ms(void)
{
    struct timespec now;
    int done = clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    assert(done == 0);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

/* Whether the user may configure a queue of that name, and write to that key: asked twice, since
 * the second answer is a remembered one. */
static bool
ask(struct core_world *world, struct bytes name, bool is_topic)
{
    struct vhost *vhost = map_get(&world->core->vhosts, bytes_of("/"));
    struct connection connection = {.core = world->core, .vhost = vhost};
    connection.user = core_find_user(world->core, bytes_of("guest"));
    struct fault fault = {.reply_code = 403, .scope = FAULT_CHANNEL};
    enum status status[2];
    uint64_t start_ms = cpu_ms();
    for (size_t i = 0; i < ARRAY_LEN(status); i++) {
        status[i] =
            is_topic ? access_require_topic(&connection, ACCESS_WRITE, bytes_of("x"), name, &fault)
                     : access_require(&connection, ACCESS_CONFIGURE, ACCESS_QUEUE, name, &fault);
    }
    assert(cpu_ms() - start_ms <= CPU_MS_MAX);
    assert(status[0] == status[1]);
    assert(status[0] == STATUS_OK || (fault.reply_code == 403 && fault.scope == FAULT_CHANNEL));
    return status[0] == STATUS_OK;
}

static bool
put_guest(struct core_world *world, const char *expression, const char *topic_expression)
{
    struct config_user guest = core_world_user("guest", expression);
    struct config_topic_right topic = {
        .exchange = bytes_of("x"), .write = topic_expression, .read = ".*"};
    guest.topics = &topic;
    guest.topic_count = 1;
    return core_world_put_user(world, &guest) == STATUS_OK;
}

static const char *
expression_of(struct arena *arena, struct bytes line)
{
    struct bytes text = bytes_make(line.data + 1, line.size - 1);
    text.size = text.size < EXPRESSION_MAX ? text.size : EXPRESSION_MAX;
    return (const char *)arena_copy(arena, text).data;
}

static void
ask_expressions(struct core_world *world, struct arena *arena, struct bytes first,
                struct bytes rest)
{
    const char *expression = expression_of(arena, first);
    const char *topic = "^{username}\\.{vhost}";
    if (rest.size > 0 && rest.data[0] == '/') {
        topic = expression_of(arena, next_line(&rest));
    }
    uint64_t start_ms = cpu_ms();
    bool is_good = put_guest(world, expression, topic);
    assert(cpu_ms() - start_ms <= CPU_MS_MAX);
    while (is_good && rest.size > 0) {
        struct bytes name = next_line(&rest);
        (void)ask(world, name, false);
        (void)ask(world, name, true);
    }
}

static bool
any_matches(const struct bytes *patterns, size_t count, struct bytes name, bool is_topic)
{
    for (size_t i = 0; i < count; i++) {
        if (is_topic ? reference_topic_matches(patterns[i], name)
                     : name_pattern_matches(patterns[i], name)) {
            return true;
        }
    }
    return false;
}

/* True where nothing but a match limit could make a difference. */
static bool
may_run_into_limit(const struct bytes *patterns, size_t count, struct bytes name)
{
    size_t hashes = 0;
    for (size_t i = 0; i < count; i++) {
        for (size_t j = 0; j < patterns[i].size; j++) {
            hashes += patterns[i].data[j] == '#';
        }
    }
    return name.size > LIMITLESS_KEY_MAX || hashes > LIMITLESS_HASHES_MAX;
}

static void
ask_words(struct core_world *world, struct arena *arena, struct bytes rest)
{
    struct bytes patterns[PATTERNS_MAX];
    size_t count = 0;
    uint8_t mark = rest.data[0];
    bool is_topic = mark == '#';
    while (count < PATTERNS_MAX && rest.size > 0 && rest.data[0] == mark) {
        struct bytes line = next_line(&rest);
        patterns[count] = bytes_make(line.data + 1, line.size - 1);
        patterns[count].size = patterns[count].size < UINT8_MAX ? patterns[count].size : UINT8_MAX;
        count++;
    }
    const char *expression = is_topic ? expression_from_patterns(arena, patterns, count)
                                      : expression_from_names(arena, patterns, count);
    if (strlen(expression) != bytes_of(expression).size ||
        memchr(expression, '{', strlen(expression))) {
        return; /* a name with braces is replaced in topic expressions only */
    }
    bool is_good = put_guest(world, expression, expression);
    assert(is_good);
    while (rest.size > 0) {
        struct bytes name = next_line(&rest);
        name.size = name.size < UINT8_MAX ? name.size : UINT8_MAX;
        bool is_allowed = ask(world, name, is_topic);
        bool matches = any_matches(patterns, count, name, is_topic);
        assert(!is_allowed || matches);
        assert(is_allowed || !matches || may_run_into_limit(patterns, count, name));
    }
}

static void
run(struct bytes input)
{
    if (input.size == 0 || memchr(input.data, 0, input.size) != NULL) {
        return; /* no file brings a NUL */
    }
    struct core_world world;
    struct arena arena;
    struct core_settings settings = core_world_settings();
    core_world_init(&world, LOG_LEVEL_DEBUG);
    core_world_open(&world, &settings, core_world_nowhere());
    arena_init(&arena);
    if (input.data[0] == '/') {
        struct bytes rest = input;
        struct bytes first = next_line(&rest);
        ask_expressions(&world, &arena, first, rest);
    } else if (input.data[0] == '*' || input.data[0] == '#') {
        ask_words(&world, &arena, input);
    }
    arena_fini(&arena);
    core_world_close(&world);
}

const struct fuzz_target fuzz_access = {.name = "access", .size_max = INPUT_MAX, .run = run};

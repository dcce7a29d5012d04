/* SPDX-License-Identifier: Apache-2.0 */
/* The seam through rings: what is posted comes out on the other side, bit by bit and in order. */
#include "net/seam_ring.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>

#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/random.h"

enum {
    RING_SIZE = 256,      /* four of the busy items */
    OCTETS_MAX = 1 << 20, /* a budget that is never used up */
    WAITING_MAX = 1000,
    TEXT_SIZE = 70 * 1000, /* a method may be longer than a ring */
};

static struct ring *event_ring;
static struct ring *action_ring;
static struct seam_network_end network;
static struct seam_core_end core;
static uint64_t random_state;

/* Values that wait in a ring, in order, and what came out. */
static struct net_event events_in[WAITING_MAX];
static struct net_action actions_in[WAITING_MAX];
static struct fault faults_in[WAITING_MAX];
static size_t in_count;
static size_t out_count;

static uint8_t text[TEXT_SIZE]; /* random; views of it stand for views of anything */
static struct content *content; /* 5 octets of exchange, 7 of routing key */

static void
set_up(void)
{
    event_ring = ring_new(RING_SIZE, NULL, NULL);
    action_ring = ring_new(RING_SIZE, NULL, NULL);
    seam_network_end_init(&network, event_ring, action_ring);
    seam_core_end_init(&core, event_ring, action_ring);
    random_state = 1;
    in_count = 0;
    out_count = 0;
    struct random_source random = random_seeded(&random_state);
    random.fill(random.context, text, sizeof(text));
    content = calloc(1, sizeof(*content) + 12);
    content->exchange_size = 5;
    content->routing_key_size = 7;
    memcpy(content->octets, "logs.orders.", 12);
}

static void
tear_down(void)
{
    ring_free(&event_ring);
    ring_free(&action_ring);
    free(content);
}

TestSuite(seam_ring, .init = set_up, .fini = tear_down);

static uint64_t
draw(void)
{
    struct random_source random = random_seeded(&random_state);
    return random_u64(&random);
}

static bool
flip(void)
{
    return draw() % 2 == 0;
}

/* A view of at least `size_min` and at most `size_max` octets; mostly a short one. */
static struct bytes
draw_bytes(size_t size_min, size_t size_max)
{
    size_t range = draw() % 20 == 0 ? size_max - size_min : 20;
    size_t size = size_min + (size_t)(draw() % (range + 1));
    return bytes_make(text + draw() % (sizeof(text) - size + 1), size);
}

static const struct chunk_notice *
draw_notice(void)
{
    static struct chunk_notice notice;
    notice = (struct chunk_notice){
        .memory = text + draw() % TEXT_SIZE,
        .capacity = (uint32_t)draw(),
        .fill = (uint32_t)draw(),
        .chunk = (uint32_t)draw(),
        .kind = (enum chunk_kind)(draw() % CHUNK_KIND_COUNT),
        .is_own = flip(),
    };
    return &notice;
}

/* Events -------------------------------------------------------------------------------------- */

static void
draw_publish(struct net_event *event)
{
    event->publish.body_size = draw();
    event->publish.mandatory = flip();
    event->publish.immediate = flip();
    event->publish.exchange = draw_bytes(0, 255);
    event->publish.routing_key = draw_bytes(0, 255);
    if (flip()) {
        event->publish.place = (struct chunk_place){.content = content, .chunk = (uint32_t)draw()};
        event->publish.exchange = content_exchange(content);
        event->publish.routing_key = content_routing_key(content);
    }
}

static void
draw_fault(struct net_event *event, struct fault *fault)
{
    enum fault_scope scope = flip() ? FAULT_CHANNEL : FAULT_CONNECTION;
    char words[FAULT_TEXT_SIZE];
    size_t size = (size_t)(draw() % FAULT_TEXT_SIZE);
    memset(words, 'w', sizeof(words));
    (void)fault_set(fault, scope, (uint16_t)draw(), "%.*s", (int)size, words);
    event->fault.fault = fault;
    event->fault.class_id = (uint16_t)draw();
    event->fault.method_id = (uint16_t)draw();
}

static struct net_event
draw_event(enum net_event_type type, struct fault *fault)
{
    struct net_event event = {.type = type, .channel = (uint16_t)draw(), .link = draw()};
    switch (type) {
    case NET_EVENT_OPENED:
        event.opened.peer = (struct net_peer *)(text + draw() % TEXT_SIZE);
        break;
    case NET_EVENT_METHOD:
        event.method.payload = draw_bytes(4, sizeof(text));
        break;
    case NET_EVENT_PUBLISH:
        draw_publish(&event);
        break;
    case NET_EVENT_FAULT:
        draw_fault(&event, fault);
        break;
    case NET_EVENT_WRITTEN:
        event.written.octets = draw();
        break;
    case NET_EVENT_CLOSED:
        event.closed.reason = (enum net_close_reason)(draw() % (NET_CLOSE_ERROR + 1));
        break;
    case NET_EVENT_CHUNK_OPENED:
    case NET_EVENT_CHUNK_CLOSED:
        event.chunk = *draw_notice();
        break;
    case NET_EVENT_LOAN_RETURNED:
        event.returned.loan = draw();
        break;
    }
    return event;
}

static void
expect_publish(const struct net_event *event, const struct net_event *expected)
{
    cr_assert(
        eq(ptr, (void *)event->publish.place.content, (void *)expected->publish.place.content));
    if (expected->publish.place.content != NULL) {
        cr_assert(eq(u32, event->publish.place.chunk, expected->publish.place.chunk));
    }
    cr_assert(eq(u64, event->publish.body_size, expected->publish.body_size));
    cr_assert(eq(int, event->publish.mandatory, expected->publish.mandatory));
    cr_assert(eq(int, event->publish.immediate, expected->publish.immediate));
    cr_assert(bytes_equal(event->publish.exchange, expected->publish.exchange));
    cr_assert(bytes_equal(event->publish.routing_key, expected->publish.routing_key));
}

static void
expect_fault(const struct net_event *event, const struct net_event *expected)
{
    cr_assert(eq(int, event->fault.fault->scope, expected->fault.fault->scope));
    cr_assert(eq(u16, event->fault.fault->reply_code, expected->fault.fault->reply_code));
    cr_assert(eq(str, (char *)event->fault.fault->text, (char *)expected->fault.fault->text));
    cr_assert(eq(u16, event->fault.class_id, expected->fault.class_id));
    cr_assert(eq(u16, event->fault.method_id, expected->fault.method_id));
}

static void
expect_notice(const struct chunk_notice *notice, const struct chunk_notice *expected)
{
    cr_assert(eq(ptr, notice->memory, expected->memory));
    cr_assert(eq(u32, notice->capacity, expected->capacity));
    cr_assert(eq(u32, notice->fill, expected->fill));
    cr_assert(eq(u32, notice->chunk, expected->chunk));
    cr_assert(eq(int, notice->kind, expected->kind));
    cr_assert(eq(int, notice->is_own, expected->is_own));
}

static void
on_event(void *context, const struct net_event *event)
{
    (void)context;
    cr_assert(lt(sz, out_count, in_count));
    const struct net_event *expected = &events_in[out_count++ % WAITING_MAX];
    cr_assert(eq(int, event->type, expected->type));
    cr_assert(eq(u16, event->channel, expected->channel));
    cr_assert(eq(u64, event->link, expected->link));
    switch (event->type) {
    case NET_EVENT_OPENED:
        cr_assert(eq(ptr, (void *)event->opened.peer, (void *)expected->opened.peer));
        break;
    case NET_EVENT_METHOD:
        cr_assert(bytes_equal(event->method.payload, expected->method.payload));
        break;
    case NET_EVENT_PUBLISH:
        expect_publish(event, expected);
        break;
    case NET_EVENT_FAULT:
        expect_fault(event, expected);
        break;
    case NET_EVENT_WRITTEN:
        cr_assert(eq(u64, event->written.octets, expected->written.octets));
        break;
    case NET_EVENT_CLOSED:
        cr_assert(eq(int, event->closed.reason, expected->closed.reason));
        break;
    case NET_EVENT_CHUNK_OPENED:
    case NET_EVENT_CHUNK_CLOSED:
        expect_notice(&event->chunk, &expected->chunk);
        break;
    case NET_EVENT_LOAN_RETURNED:
        cr_assert(eq(u64, event->returned.loan, expected->returned.loan));
        break;
    }
}

static const struct net_events EVENTS = {.handle = on_event};

static void
post_event(enum net_event_type type)
{
    size_t at = in_count++ % WAITING_MAX;
    events_in[at] = draw_event(type, &faults_in[at]);
    seam_post_event(&network, &events_in[at]);
}

Test(seam_ring, every_event_comes_out_as_it_went_in)
{
    for (uint32_t turn = 0; turn < 5000; turn++) {
        for (uint64_t i = draw() % 10; i > 0 && in_count - out_count < WAITING_MAX; i--) {
            post_event((enum net_event_type)(draw() % (NET_EVENT_LOAN_RETURNED + 1)));
        }
        ring_flush(event_ring);
        seam_take_events(&core, (size_t)(draw() % 200), &EVENTS);
    }
    do {
        ring_flush(event_ring);
    } while (seam_take_events(&core, OCTETS_MAX, &EVENTS) > 0);
    cr_expect(eq(sz, out_count, in_count));
    cr_expect(lt(sz, 10000, out_count));
}

/* Actions ------------------------------------------------------------------------------------- */

static void
draw_deliver(struct net_action *action)
{
    action->deliver.content = content;
    action->deliver.delivery_tag = draw();
    action->deliver.redelivered = flip();
    action->deliver.consumer_tag = draw_bytes(0, 255);
    action->deliver.exchange = flip() ? content_exchange(content) : draw_bytes(0, 255);
    action->deliver.routing_key = flip() ? content_routing_key(content) : draw_bytes(0, 255);
}

static struct net_action
draw_action(enum net_action_type type)
{
    struct net_action action = {.type = type, .channel = (uint16_t)draw(), .link = draw()};
    switch (type) {
    case NET_ACTION_METHOD:
        action.method.payload = draw_bytes(4, sizeof(text));
        break;
    case NET_ACTION_DELIVER:
        draw_deliver(&action);
        action.loan = flip() ? draw() : 0;
        break;
    case NET_ACTION_CONTENT:
        action.content.content = content;
        action.content.payload = draw_bytes(4, 1000);
        action.loan = flip() ? draw() : 0;
        break;
    case NET_ACTION_TUNE:
        action.tune.frame_max = (uint32_t)draw();
        action.tune.heartbeat_s = (uint16_t)draw();
        break;
    case NET_ACTION_ESTABLISHED:
    case NET_ACTION_PAUSE:
    case NET_ACTION_RESUME:
        break;
    case NET_ACTION_CLOSE:
        action.close.linger_ms = (uint32_t)draw();
        break;
    case NET_ACTION_CHUNK_RETURNED:
        action.chunk_returned.memory = text + draw() % TEXT_SIZE;
        action.chunk_returned.capacity = (size_t)draw();
        break;
    }
    return action;
}

static void
expect_deliver(const struct net_action *action, const struct net_action *expected)
{
    cr_assert(eq(ptr, (void *)action->deliver.content, (void *)expected->deliver.content));
    cr_assert(eq(u64, action->deliver.delivery_tag, expected->deliver.delivery_tag));
    cr_assert(eq(int, action->deliver.redelivered, expected->deliver.redelivered));
    cr_assert(bytes_equal(action->deliver.consumer_tag, expected->deliver.consumer_tag));
    cr_assert(bytes_equal(action->deliver.exchange, expected->deliver.exchange));
    cr_assert(bytes_equal(action->deliver.routing_key, expected->deliver.routing_key));
}

static void
on_action(void *context, const struct net_action *action)
{
    (void)context;
    cr_assert(lt(sz, out_count, in_count));
    const struct net_action *expected = &actions_in[out_count++ % WAITING_MAX];
    cr_assert(eq(int, action->type, expected->type));
    cr_assert(eq(u16, action->channel, expected->channel));
    cr_assert(eq(u64, action->link, expected->link));
    cr_assert(eq(u64, action->loan, expected->loan));
    switch (action->type) {
    case NET_ACTION_METHOD:
        cr_assert(bytes_equal(action->method.payload, expected->method.payload));
        break;
    case NET_ACTION_DELIVER:
        expect_deliver(action, expected);
        break;
    case NET_ACTION_CONTENT:
        cr_assert(eq(ptr, (void *)action->content.content, (void *)expected->content.content));
        cr_assert(bytes_equal(action->content.payload, expected->content.payload));
        break;
    case NET_ACTION_TUNE:
        cr_assert(eq(u32, action->tune.frame_max, expected->tune.frame_max));
        cr_assert(eq(u16, action->tune.heartbeat_s, expected->tune.heartbeat_s));
        break;
    case NET_ACTION_ESTABLISHED:
    case NET_ACTION_PAUSE:
    case NET_ACTION_RESUME:
        break;
    case NET_ACTION_CLOSE:
        cr_assert(eq(u32, action->close.linger_ms, expected->close.linger_ms));
        break;
    case NET_ACTION_CHUNK_RETURNED:
        cr_assert(eq(ptr, action->chunk_returned.memory, expected->chunk_returned.memory));
        cr_assert(eq(sz, action->chunk_returned.capacity, expected->chunk_returned.capacity));
        break;
    }
}

static const struct net_port PORT = {.post = on_action};

static void
post_action(enum net_action_type type)
{
    size_t at = in_count++ % WAITING_MAX;
    actions_in[at] = draw_action(type);
    seam_post_action(&core, &actions_in[at]);
}

Test(seam_ring, every_action_comes_out_as_it_went_in)
{
    uint64_t tick = 0;
    for (uint32_t turn = 0; turn < 5000; turn++) {
        for (uint64_t i = draw() % 10; i > 0 && in_count - out_count < WAITING_MAX; i--) {
            post_action((enum net_action_type)(draw() % (NET_ACTION_CHUNK_RETURNED + 1)));
        }
        seam_flush_actions(&core, ++tick);
        seam_take_actions(&network, (size_t)(draw() % 200), &PORT);
    }
    do {
        seam_flush_actions(&core, ++tick);
    } while (seam_take_actions(&network, OCTETS_MAX, &PORT) > 0);
    cr_expect(eq(sz, out_count, in_count));
    cr_expect(lt(sz, 10000, out_count));
}

/* Sizes and budgets --------------------------------------------------------------------------- */

static void
ignore_event(void *context, const struct net_event *event)
{
    (void)context;
    (void)event;
}

static void
ignore_action(void *context, const struct net_action *action)
{
    (void)context;
    (void)action;
}

static const struct net_events NO_EVENTS = {.handle = ignore_event};
static const struct net_port NO_PORT = {.post = ignore_action};

/* The names of a content are read from it, on either side. */
Test(seam_ring, a_publish_and_a_delivery_take_a_cache_line_at_most)
{
    struct net_event publish = {
        .type = NET_EVENT_PUBLISH,
        .publish = {.place = {.content = content},
                    .exchange = content_exchange(content),
                    .routing_key = content_routing_key(content)},
    };
    seam_post_event(&network, &publish);
    ring_flush(event_ring);
    cr_expect(le(sz, seam_take_events(&core, OCTETS_MAX, &NO_EVENTS), 64));

    struct net_action deliver = {
        .type = NET_ACTION_DELIVER,
        .deliver = {.content = content,
                    .consumer_tag = bytes_of("amq.ctag-0123456789012345678"),
                    .exchange = content_exchange(content),
                    .routing_key = content_routing_key(content)},
    };
    seam_post_action(&core, &deliver);
    ring_flush(action_ring);
    cr_expect(le(sz, seam_take_actions(&network, OCTETS_MAX, &NO_PORT), 64));
}

/* So that a turn stays short, whatever has come. */
Test(seam_ring, no_more_is_taken_than_the_budget_allows)
{
    for (int i = 0; i < 4; i++) {
        struct net_event written = {.type = NET_EVENT_WRITTEN, .written = {.octets = 1}};
        struct net_action tune = {.type = NET_ACTION_TUNE};
        seam_post_event(&network, &written);
        seam_post_action(&core, &tune);
    }
    ring_flush(event_ring);
    seam_flush_actions(&core, 1);
    cr_expect(eq(sz, seam_take_events(&core, 0, &NO_EVENTS), 0));
    cr_expect(eq(sz, seam_take_events(&core, 25, &NO_EVENTS), 48));
    cr_expect(eq(sz, seam_take_actions(&network, 48, &NO_PORT), 48));
    cr_expect(eq(sz, seam_take_events(&core, OCTETS_MAX, &NO_EVENTS), 48));
    cr_expect(eq(sz, seam_take_actions(&network, OCTETS_MAX, &NO_PORT), 48));
    cr_expect(eq(sz, seam_take_events(&core, OCTETS_MAX, &NO_EVENTS), 0));
}

/* Marks --------------------------------------------------------------------------------------- */

static void
post_delivery(void)
{
    struct net_action action = {.type = NET_ACTION_DELIVER, .deliver = {.content = content}};
    seam_post_action(&core, &action);
}

static void
take_actions(void)
{
    seam_take_actions(&network, OCTETS_MAX, &NO_PORT);
}

static void
report(void)
{
    seam_report_passed(&network);
    ring_flush(event_ring);
    seam_take_events(&core, OCTETS_MAX, &NO_EVENTS);
}

Test(seam_ring, a_network_that_was_told_of_no_content_has_passed_every_tick)
{
    for (uint64_t tick = 1; tick < 4; tick++) {
        struct net_action action = {.type = NET_ACTION_PAUSE};
        seam_post_action(&core, &action);
        seam_flush_actions(&core, tick);
        cr_expect(eq(u64, core.passed_tick, tick));
    }
}

/* Between the two it still reads the content. */
Test(seam_ring, a_tick_is_passed_when_the_network_says_so_and_not_when_it_takes_it)
{
    seam_flush_actions(&core, 1);
    post_delivery();
    seam_flush_actions(&core, 2);
    cr_expect(eq(u64, core.passed_tick, 1));
    report();
    cr_expect(eq(u64, core.passed_tick, 1));
    take_actions();
    ring_flush(event_ring);
    seam_take_events(&core, OCTETS_MAX, &NO_EVENTS);
    cr_expect(eq(u64, core.passed_tick, 1));
    report();
    cr_expect(eq(u64, core.passed_tick, 2));
    seam_flush_actions(&core, 3);
    cr_expect(eq(u64, core.passed_tick, 3));
}

/* Not only deliveries. */
Test(seam_ring, the_answer_to_a_get_names_a_content_as_well)
{
    struct net_action action = {
        .type = NET_ACTION_CONTENT,
        .content = {.content = content, .payload = bytes_make(text, 4)},
    };
    seam_post_action(&core, &action);
    seam_flush_actions(&core, 1);
    cr_expect(eq(u64, core.passed_tick, 0));
    take_actions();
    report();
    cr_expect(eq(u64, core.passed_tick, 1));
}

Test(seam_ring, what_is_reported_late_does_not_speak_for_later_ticks)
{
    post_delivery();
    seam_flush_actions(&core, 1);
    take_actions();
    post_delivery();
    seam_flush_actions(&core, 2);
    seam_flush_actions(&core, 3);
    report();
    cr_expect(eq(u64, core.passed_tick, 1));
    seam_flush_actions(&core, 4);
    cr_expect(eq(u64, core.passed_tick, 1));
    take_actions();
    report();
    cr_expect(eq(u64, core.passed_tick, 2));
    seam_flush_actions(&core, 5);
    cr_expect(eq(u64, core.passed_tick, 5));
}

/* The mark is behind what the budget has left in the ring. */
Test(seam_ring, a_tick_that_was_taken_in_part_is_not_passed)
{
    post_delivery();
    post_delivery();
    seam_flush_actions(&core, 1);
    seam_take_actions(&network, 1, &NO_PORT);
    report();
    cr_expect(eq(u64, core.passed_tick, 0));
    take_actions();
    report();
    cr_expect(eq(u64, core.passed_tick, 1));
}

/* Malformed items ------------------------------------------------------------------------------
 * Only this program writes to the rings, so what cannot be is a bug of it. */

/* An item of `size` octets, of which all behind the size say `octet`. */
static void
put_item(struct ring *ring, size_t size, int octet)
{
    uint8_t *item = ring_append(ring, size);
    memset(item + sizeof(struct ring_item), octet, size - sizeof(struct ring_item));
    ring_flush(ring);
}

Test(seam_ring, an_event_of_unknown_type_is_a_bug, .signal = SIGABRT)
{
    put_item(event_ring, 24, NET_EVENT_LOAN_RETURNED + 1);
    seam_take_events(&core, OCTETS_MAX, &NO_EVENTS);
}

Test(seam_ring, an_action_of_unknown_type_is_a_bug, .signal = SIGABRT)
{
    put_item(action_ring, 24, NET_ACTION_CHUNK_RETURNED + 1);
    seam_take_actions(&network, OCTETS_MAX, &NO_PORT);
}

Test(seam_ring, an_event_that_is_too_short_is_a_bug, .signal = SIGABRT)
{
    put_item(event_ring, 16, NET_EVENT_WRITTEN);
    seam_take_events(&core, OCTETS_MAX, &NO_EVENTS);
}

Test(seam_ring, names_that_are_longer_than_the_item_are_a_bug, .signal = SIGABRT)
{
    put_item(action_ring, 36, NET_ACTION_DELIVER); /* three names of an octet each, and one octet */
    seam_take_actions(&network, OCTETS_MAX, &NO_PORT);
}

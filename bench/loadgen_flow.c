/* SPDX-License-Identifier: Apache-2.0 */

/* One thread, one epoll loop. Each turn reads once from every socket that has something, publishes
 * what is allowed, and waits only if nothing moved. Sockets are watched edge-triggered, so a
 * connection stays readable here until a read came back empty. */

#include "bench/loadgen_flow.h"

#include <inttypes.h>
#include <openssl/ssl.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "bench/loadgen_clock.h"
#include "bench/loadgen_consumer.h"
#include "bench/loadgen_die.h"
#include "bench/loadgen_producer.h"

enum {
    FLOW_EVENTS = 64,
    FLOW_WAIT_MS_MAX = 50,
    FLOW_STALL_S = 20,          /* no progress for so long while draining means loss */
    FLOW_BACKLOG_STALL_S = 120, /* the same where a broker may have to make room on the disk */
    FLOW_SURPLUS_MS = 100,      /* how long to look for messages that came once too often */
};

struct flow {
    const struct options *options;
    struct flow_result *result;
    struct topology topology;
    struct ledger ledger;
    struct producer *producers; /* owned */
    uint32_t producer_count;    /* none in a drain, whose ledger still knows the one of the fill */
    struct consumer *consumers; /* owned */
    int epoll_fd;
    bool publishing;       /* false while draining */
    bool measuring;        /* latencies are recorded */
    uint64_t progress_ns;  /* when the next line about progress is due */
    uint64_t start_ns;     /* of the fill or drain */
    uint32_t first_to_try; /* the producer that goes first in this turn */
};

/* What stood in the books at one moment. */
struct flow_sample {
    uint64_t at_ns;
    uint64_t published;
    uint64_t delivered;
    uint64_t confirmed;
    struct proc_cpu broker_cpu;
    struct proc_cpu own_cpu;
};

static void
flow_watch(const struct flow *flow, const struct link *link, void *owner, bool is_producer)
{
    /* Owners are aligned, so the lowest bit of the address is free to tell them apart. */
    struct epoll_event event = {
        .events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET,
        .data.u64 = (uint64_t)(uintptr_t)owner | (is_producer ? 1U : 0U),
    };
    if (epoll_ctl(flow->epoll_fd, EPOLL_CTL_ADD, link->fd, &event) != 0) {
        die_errno("epoll_ctl");
    }
}

static void
flow_open(struct flow *flow, SSL_CTX *tls)
{
    const struct options *options = flow->options;
    flow->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (flow->epoll_fd < 0) {
        die_errno("epoll_create1");
    }
    flow->producer_count = options->drain_count > 0 ? 0 : options->producers;
    flow->consumers = die_calloc(options->consumers, sizeof *flow->consumers);
    flow->producers = die_calloc(flow->producer_count, sizeof *flow->producers);
    for (uint32_t i = 0; i < options->consumers; i++) {
        struct consumer *consumer = &flow->consumers[i];
        consumer_open(consumer, i, &flow->topology, &flow->ledger, tls);
        flow_watch(flow, &consumer->link, consumer, false);
    }
    for (uint32_t i = 0; i < flow->producer_count; i++) {
        struct producer *producer = &flow->producers[i];
        producer_open(producer, i, &flow->topology, &flow->ledger, tls);
        flow_watch(flow, &producer->link, producer, true);
    }
}

static void
flow_close(struct flow *flow)
{
    for (uint32_t i = 0; i < flow->producer_count; i++) {
        flow->result->blocked_count += flow->producers[i].link.blocked_count;
        producer_close(&flow->producers[i]);
    }
    for (uint32_t i = 0; i < flow->options->consumers; i++) {
        consumer_close(&flow->consumers[i]);
    }
    free(flow->producers);
    free(flow->consumers);
    close(flow->epoll_fd);
}

static void
flow_take_event(const struct epoll_event *event)
{
    uintptr_t owner = (uintptr_t)event->data.u64;
    bool readable = event->events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR);
    bool writable = event->events & (EPOLLOUT | EPOLLHUP | EPOLLERR);
    if (owner & 1U) {
        struct producer *producer = (struct producer *)(owner & ~(uintptr_t)1);
        producer->readable |= readable;
        producer->writable |= writable;
    } else {
        struct consumer *consumer = (struct consumer *)owner;
        consumer->readable |= readable;
        consumer->writable |= writable;
    }
}

/* Waits for sockets, at most `wait_ns`. */
static void
flow_wait(struct flow *flow, uint64_t wait_ns)
{
    struct epoll_event events[FLOW_EVENTS];
    struct timespec timeout = {.tv_sec = (time_t)(wait_ns / 1000000000),
                               .tv_nsec = (long)(wait_ns % 1000000000)};
    int count = epoll_pwait2(flow->epoll_fd, events, FLOW_EVENTS, &timeout, NULL);
    for (int i = 0; i < count; i++) {
        flow_take_event(&events[i]);
    }
}

static uint64_t
flow_room(const struct flow *flow)
{
    if (flow->options->fill_count > 0) {
        return flow->options->fill_count - flow->ledger.published;
    }
    if (flow->options->consumers == 0) {
        return UINT64_MAX;
    }
    uint64_t in_flight = ledger_in_flight(&flow->ledger);
    uint64_t max = flow->options->in_flight_max;
    return in_flight < max ? max - in_flight : 0;
}

static bool
flow_read_all(struct flow *flow)
{
    bool more = false;
    bool timed = flow->measuring && flow->options->rate_per_s > 0;
    for (uint32_t i = 0; i < flow->options->consumers; i++) {
        struct consumer *consumer = &flow->consumers[i];
        if (consumer->readable) {
            consumer_read(consumer, timed ? &flow->result->latency : NULL);
        }
        consumer_flush(consumer);
        more |= consumer->readable;
    }
    for (uint32_t i = 0; i < flow->producer_count; i++) {
        struct producer *producer = &flow->producers[i];
        if (producer->readable) {
            producer_read(producer, clock_now_ns(), timed ? &flow->result->confirm_latency : NULL);
        }
        more |= producer->readable;
    }
    return more;
}

/* The producers take turns at being first, or the first would take all the room. */
static void
flow_publish_all(struct flow *flow)
{
    uint32_t producers = flow->producer_count;
    bool timed = flow->measuring && flow->options->rate_per_s > 0;
    for (uint32_t i = 0; i < producers; i++) {
        struct producer *producer = &flow->producers[(flow->first_to_try + i) % producers];
        if (!flow->publishing) {
            producer_flush(producer);
        } else if (producer->writable) {
            producer_publish(producer, flow_room(flow), clock_now_ns(),
                             timed ? &flow->result->lag : NULL);
        }
    }
    flow->first_to_try = producers > 0 ? (flow->first_to_try + 1) % producers : 0;
}

/* How long the loop may sleep: not past `until_ns`, nor past the next message that is due. */
static uint64_t
flow_wait_ns(const struct flow *flow, uint64_t until_ns)
{
    uint64_t now_ns = clock_now_ns();
    uint64_t wake_ns = now_ns + FLOW_WAIT_MS_MAX * UINT64_C(1000000);
    wake_ns = until_ns < wake_ns ? until_ns : wake_ns;
    bool paced = flow->publishing && flow->options->rate_per_s > 0 && flow_room(flow) > 0;
    for (uint32_t i = 0; paced && i < flow->producer_count; i++) {
        const struct producer *producer = &flow->producers[i];
        bool may = producer->writable && confirms_room(&producer->confirms) > 0;
        if (may && producer->due_ns < wake_ns) {
            wake_ns = producer->due_ns;
        }
    }
    return wake_ns > now_ns ? wake_ns - now_ns : 0;
}

/* Whether a producer could go on at once, without waiting for any event. */
static bool
flow_can_publish(const struct flow *flow)
{
    if (!flow->publishing || flow->options->rate_per_s > 0 || flow_room(flow) == 0) {
        return false;
    }
    for (uint32_t i = 0; i < flow->producer_count; i++) {
        const struct producer *producer = &flow->producers[i];
        if (producer->writable && confirms_room(&producer->confirms) > 0) {
            return true;
        }
    }
    return false;
}

static void
flow_turn(struct flow *flow, uint64_t until_ns)
{
    bool more = flow_read_all(flow);
    flow_publish_all(flow);
    bool busy = more || flow_can_publish(flow);
    flow_wait(flow, busy ? 0 : flow_wait_ns(flow, until_ns));
}

static void
flow_run_for(struct flow *flow, double seconds)
{
    uint64_t until_ns = clock_now_ns() + clock_ns_of_s(seconds);
    while (clock_now_ns() < until_ns) {
        flow_turn(flow, until_ns);
    }
}

static struct flow_sample
flow_sample_now(const struct flow *flow)
{
    struct flow_sample sample = {
        .at_ns = clock_now_ns(),
        .published = flow->ledger.published,
        .delivered = flow->ledger.delivered,
        .confirmed = flow->ledger.confirmed,
        .own_cpu = proc_cpu_of_self(),
    };
    if (flow->options->broker_pid != 0) {
        sample.broker_cpu = proc_cpu_of(flow->options->broker_pid);
    }
    return sample;
}

static void
flow_keep(const struct flow *flow, const struct flow_sample *before,
          const struct flow_sample *after)
{
    struct flow_result *result = flow->result;
    result->seconds = (double)(after->at_ns - before->at_ns) / 1e9;
    result->published = after->published - before->published;
    result->delivered = after->delivered - before->delivered;
    result->confirmed = after->confirmed - before->confirmed;
    result->broker_cpu = proc_cpu_since(before->broker_cpu, after->broker_cpu);
    result->own_cpu = proc_cpu_since(before->own_cpu, after->own_cpu);
    if (flow->options->broker_pid != 0) {
        result->broker_rss_bytes = proc_rss_bytes(flow->options->broker_pid);
    }
}

static void
flow_measure(struct flow *flow)
{
    flow->measuring = true;
    struct flow_sample before = flow_sample_now(flow);
    flow_run_for(flow, flow->options->duration_s);
    struct flow_sample after = flow_sample_now(flow);
    flow->measuring = false;
    flow_keep(flow, &before, &after);
}

static bool
flow_is_settled(const struct flow *flow)
{
    for (uint32_t i = 0; i < flow->producer_count; i++) {
        if (!producer_is_settled(&flow->producers[i])) {
            return false;
        }
    }
    if (flow->ledger.published < flow->options->fill_count) {
        return false;
    }
    return flow->options->consumers == 0 ||
           flow->ledger.delivered >= flow->ledger.published * flow->topology.copies;
}

static void
flow_say_progress(struct flow *flow, uint64_t now_ns)
{
    if (!flow->options->progress || now_ns < flow->progress_ns) {
        return;
    }
    fprintf(stderr, "progress %.2f %" PRIu64 " %" PRIu64 "\n",
            (double)(now_ns - flow->start_ns) / 1e9, flow->ledger.confirmed,
            flow->ledger.delivered);
    flow->progress_ns = now_ns + UINT64_C(1000000000);
}

/* Runs until everything is published, confirmed and delivered that has to be. Bounded: it gives up
 * when nothing has moved for `stall_s`. */
static void
flow_settle(struct flow *flow, uint64_t stall_s)
{
    uint64_t moved_ns = clock_now_ns();
    uint64_t progress = 0;
    while (!flow_is_settled(flow)) {
        uint64_t now_ns = clock_now_ns();
        flow_turn(flow, now_ns + FLOW_WAIT_MS_MAX * UINT64_C(1000000));
        flow_say_progress(flow, now_ns);
        if (progress != flow->ledger.delivered + flow->ledger.confirmed) {
            progress = flow->ledger.delivered + flow->ledger.confirmed;
            moved_ns = now_ns;
        }
        if (now_ns - moved_ns > stall_s * UINT64_C(1000000000)) {
            die("nothing came for %" PRIu64 " s: %" PRIu64 " published, %" PRIu64
                " confirmed, %" PRIu64 " of %" PRIu64 " delivered",
                stall_s, flow->ledger.published, flow->ledger.confirmed, flow->ledger.delivered,
                flow->ledger.published * flow->topology.copies);
        }
    }
}

/* Looks for messages that come once too often, and acknowledges what is left. */
static void
flow_finish(struct flow *flow)
{
    flow_run_for(flow, FLOW_SURPLUS_MS / 1e3);
    for (uint32_t i = 0; i < flow->options->consumers; i++) {
        consumer_ack_rest(&flow->consumers[i]);
    }
}

static void
flow_drain(struct flow *flow)
{
    flow->publishing = false;
    flow_settle(flow, FLOW_STALL_S);
    flow_finish(flow);
}

/* A fill or a drain, whichever the options say; all of it is measured. */
static void
flow_move_backlog(struct flow *flow)
{
    flow->publishing = flow->options->fill_count > 0;
    struct flow_sample before = flow_sample_now(flow);
    flow->start_ns = before.at_ns;
    flow_settle(flow, FLOW_BACKLOG_STALL_S);
    struct flow_sample after = flow_sample_now(flow);
    flow->publishing = false;
    flow_keep(flow, &before, &after);
    flow_finish(flow);
}

static void
flow_start(struct flow *flow)
{
    uint64_t now_ns = clock_now_ns();
    if (flow->options->rate_per_s > 0) {
        /* The kernel would round wake-ups to 50 us, which is of the order of what is measured. */
        prctl(PR_SET_TIMERSLACK, 1UL, 0UL, 0UL, 0UL);
        for (uint32_t i = 0; i < flow->producer_count; i++) {
            producer_start_rate(&flow->producers[i], now_ns);
        }
    }
    flow->publishing = true;
}

void
flow_run(const struct options *options, struct flow_result *result)
{
    struct flow flow = {.options = options, .result = result};
    struct link control;
    SSL_CTX *tls = link_tls_new(options);
    *result = (struct flow_result){0};
    topology_init(&flow.topology, options);
    ledger_init(&flow.ledger, options->producers, options->queues, flow.topology.copies,
                options->body_bytes);
    link_open(&control, options, tls, "control");
    if (options->drain_count > 0) {
        ledger_expect(&flow.ledger, options->drain_count, options->drain_from,
                      options->drain_queues);
    } else {
        topology_declare(&flow.topology, &control);
    }
    result->bind_seconds = flow.topology.bind_seconds;
    flow_open(&flow, tls);

    if (options->fill_count > 0 || options->drain_count > 0) {
        flow_move_backlog(&flow);
    } else {
        flow_start(&flow);
        flow_run_for(&flow, options->warmup_s);
        flow_measure(&flow);
        flow_drain(&flow);
    }
    result->published_in_all = flow.ledger.published;
    if (options->consumers > 0) {
        ledger_check_complete(&flow.ledger);
    }
    flow_close(&flow);

    if (options->fill_count == 0 && options->drain_queues == options->queues) {
        topology_delete(&flow.topology, &control);
    }
    link_close(&control);
    ledger_fini(&flow.ledger);
    topology_fini(&flow.topology);
    SSL_CTX_free(tls);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Numbers for Prometheus: /metrics adds all objects up, /metrics/per-object has each queue as well,
 * /metrics/detailed families and queues of choice. */
#include <stdlib.h>
#include <string.h>

#include "broker/changes/parameters.h"
#include "management/http/server.h"
#include "management/monitor/metrics.h"
#include "management/routes/handlers.h"

enum endpoint { ENDPOINT_AGGREGATED, ENDPOINT_PER_OBJECT, ENDPOINT_DETAILED };

/* First the sums, then, if they are wanted, the queues. */
struct scrape {
    struct call_ask ask;
    enum endpoint endpoint;
    uint32_t sets, families;
    struct measure measure;
    struct queue_survey queues;
    struct bytes cluster_name; /* JSON; of the arena of `measure` */
};

static enum request_progress
step(struct request *request, struct core *core, uint32_t *budget)
{
    struct scrape *scrape = CONTAINER_OF(request, struct scrape, ask.desk.request);
    if (scrape->cluster_name.data == NULL) {
        scrape->cluster_name = survey_copy(&scrape->measure.arena, core_cluster_name(core));
    }
    if ((scrape->families & FAMILY_TOTALS) != 0 && !scrape->measure.counting.is_done &&
        measure_step(&scrape->measure, core, budget) == REQUEST_MORE) {
        return REQUEST_MORE;
    }
    if ((scrape->families & ~(uint32_t)FAMILY_TOTALS) == 0) {
        return REQUEST_DONE;
    }
    return *budget == 0 ? REQUEST_MORE : queue_survey_step(&scrape->queues, core, budget);
}

/* So that what scrapes this besides /metrics has nothing twice. */
static const char *
rabbitmq_prefix(const struct scrape *scrape)
{
    return scrape->endpoint == ENDPOINT_DETAILED ? "rabbitmq_detailed_" : "rabbitmq_";
}

static void
put_head(struct buffer *out, struct management *management, const struct scrape *scrape)
{
    static const char *const names[] = {"aggregated", "per-object", "detailed"};
    struct metric_totals totals;
    metrics_put_identity(out, management, names[scrape->endpoint], scrape->sets,
                         scrape->cluster_name);
    if ((scrape->families & FAMILY_TOTALS) != 0) {
        metrics_read_totals(management, &scrape->measure, &totals);
        metrics_put_totals(
            out, management, &totals,
            &(struct totals_style){.sets = scrape->sets,
                                   .rabbitmq_prefix = rabbitmq_prefix(scrape),
                                   .without_queues = scrape->endpoint != ENDPOINT_AGGREGATED});
    }
}

/* Queues, a piece at a time. */
struct queue_stream {
    struct queue_survey queues; /* owned */
    struct queue_metrics metrics;
};

static void
free_stream(void *state)
{
    struct queue_stream *stream = state;
    queue_metrics_fini(&stream->metrics);
    queue_survey_fini(&stream->queues);
    free(stream);
}

static void
send_piece(struct call *call)
{
    static const size_t PIECE = 256 * (size_t)1024;
    struct queue_stream *stream = call->state;
    struct buffer piece;
    buffer_init(&piece);
    (void)queue_metrics_put(&stream->metrics, &piece, PIECE);
    if (buffer_size(&piece) == 0 && !piece.failed) {
        call_stream_end(call);
    } else {
        call_stream_send(call, &piece, send_piece);
    }
    buffer_fini(&piece);
}

static uint32_t
count_parameters(const struct call *call, const char *name)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < call->query_count; i++) {
        count += strcmp(call->query[i].name, name) == 0 ? 1 : 0;
    }
    return count;
}

static bool
is_asked_for(const struct call *call, const struct survey_queue *queue)
{
    const char *name = call_parameter(call, "queue");
    for (uint32_t i = 0; i < call->query_count; i++) {
        if (strcmp(call->query[i].name, "vhost") == 0 &&
            bytes_equal_text(queue->vhost, call->query[i].value)) {
            return name == NULL || bytes_equal_text(queue->name, name);
        }
    }
    return false;
}

/* A survey is of one vhost or of all: of several, what nobody asked for is left out here. */
static void
leave_out_others(const struct call *call, struct scrape *scrape)
{
    uint32_t count = 0;
    if (scrape->endpoint != ENDPOINT_DETAILED || count_parameters(call, "vhost") < 2) {
        return;
    }
    for (uint32_t i = 0; i < scrape->queues.count; i++) {
        if (is_asked_for(call, scrape->queues.rows[i])) {
            scrape->queues.rows[count++] = scrape->queues.rows[i];
        }
    }
    scrape->queues.count = count;
}

/* The survey passes to the answer. */
static void
stream_queues(struct call *call, struct scrape *scrape, struct buffer *head)
{
    struct queue_stream *stream = xalloc(sizeof(*stream));
    leave_out_others(call, scrape);
    queue_survey_sort(&scrape->queues);
    stream->queues = scrape->queues;
    scrape->queues = (struct queue_survey){0};
    stream->metrics = (struct queue_metrics){
        .queues = &stream->queues,
        .families = scrape->families,
        .sets = scrape->sets,
        .rabbitmq_prefix = rabbitmq_prefix(scrape),
    };
    call->state = stream;
    call->free_state = free_stream;
    if (!queue_metrics_begin(&stream->metrics)) {
        call_fail(call, 503, "there is no memory for the names of all queues");
        return;
    }
    call_stream_begin(call, METRIC_CONTENT_TYPE);
    call_stream_send(call, head, send_piece);
}

static void
then(struct call *call, struct call_ask *ask)
{
    struct scrape *scrape = CONTAINER_OF(ask, struct scrape, ask);
    struct buffer head;
    buffer_init(&head);
    put_head(&head, call->management, scrape);
    if (scrape->endpoint == ENDPOINT_AGGREGATED) {
        call_answer_buffer(call, 200, METRIC_CONTENT_TYPE, &head);
    } else {
        stream_queues(call, scrape, &head);
    }
    buffer_fini(&head);
}

static void
free_scrape(struct call_ask *ask)
{
    struct scrape *scrape = CONTAINER_OF(ask, struct scrape, ask);
    measure_fini(&scrape->measure);
    queue_survey_fini(&scrape->queues);
    free(scrape);
}

/* What `prefix` asks for; 0: it was answered. */
static uint32_t
wanted_sets(struct call *call)
{
    const char *prefix = call_parameter(call, "prefix");
    if (prefix == NULL) {
        return METRICS_OWN | METRICS_RABBITMQ;
    }
    if (strcmp(prefix, "bourse") == 0) {
        return METRICS_OWN;
    }
    if (strcmp(prefix, "rabbitmq") == 0) {
        return METRICS_RABBITMQ;
    }
    call_fail(call, 400, "prefix is \"bourse\" or \"rabbitmq\"; without it there are both");
    return 0;
}

static struct scrape *
scrape_new(enum endpoint endpoint, uint32_t sets, uint32_t families)
{
    struct scrape *scrape = xalloc(sizeof(*scrape));
    scrape->ask.desk.request.step = step;
    scrape->ask.then = then;
    scrape->ask.free = free_scrape;
    scrape->endpoint = endpoint;
    scrape->sets = sets;
    scrape->families = families;
    scrape->queues.viewer.sees_all = true;
    return scrape;
}

void
handle_metrics(struct call *call)
{
    uint32_t sets = wanted_sets(call);
    if (sets != 0) {
        call_ask(call, &scrape_new(ENDPOINT_AGGREGATED, sets, FAMILY_TOTALS)->ask);
    }
}

void
handle_metrics_of_objects(struct call *call)
{
    uint32_t sets = wanted_sets(call);
    if (sets != 0) {
        call_ask(call, &scrape_new(ENDPOINT_PER_OBJECT, sets, FAMILY_ALL)->ask);
    }
}

/* All `family` parameters. False: it was answered. */
static bool
read_families(struct call *call, uint32_t *families_out)
{
    uint32_t families = 0;
    for (uint32_t i = 0; i < call->query_count; i++) {
        uint32_t found;
        if (strcmp(call->query[i].name, "family") != 0) {
            continue;
        }
        if (!metrics_find_family(call->query[i].value, &found)) {
            call_fail(call, 400, "there is no family \"%s\"; try queue_coarse_metrics",
                      call->query[i].value);
            return false;
        }
        families |= found;
    }
    *families_out = families;
    return true;
}

void
handle_metrics_in_detail(struct call *call)
{
    uint32_t families;
    uint32_t sets = wanted_sets(call);
    if (sets == 0 || !read_families(call, &families)) {
        return;
    }
    struct scrape *scrape = scrape_new(ENDPOINT_DETAILED, sets, families);
    const char *vhost = call_parameter(call, "vhost");
    const char *queue = call_parameter(call, "queue");
    if (count_parameters(call, "vhost") > 1) {
        call_ask(call, &scrape->ask);
        return;
    }
    if (queue != NULL && vhost == NULL) {
        vhost = "/";
    }
    if (vhost != NULL) {
        scrape->queues.vhost = bytes_of(vhost);
    }
    if (queue != NULL) {
        scrape->queues.queue = bytes_of(queue);
    }
    call_ask(call, &scrape->ask);
}

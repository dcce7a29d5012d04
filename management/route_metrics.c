/* SPDX-License-Identifier: Apache-2.0 */
/* Numbers for Prometheus: /metrics adds all objects up, /metrics/per-object has each queue as well,
 * /metrics/detailed families and queues of choice. */
#include <stdlib.h>
#include <string.h>

#include "management/handlers.h"
#include "management/metrics.h"
#include "management/server.h"

enum endpoint { ENDPOINT_AGGREGATED, ENDPOINT_PER_OBJECT, ENDPOINT_DETAILED };

/* First the sums, then, if they are wanted, the queues. */
struct scrape {
    struct call_ask ask;
    enum endpoint endpoint;
    uint32_t sets, families;
    struct measure measure;
    struct queue_survey queues;
};

static enum request_progress
step(struct request *request, struct core *core, uint32_t *budget)
{
    struct scrape *scrape = CONTAINER_OF(request, struct scrape, ask.desk.request);
    if ((scrape->families & FAMILY_TOTALS) != 0 && !scrape->measure.counting.is_done &&
        measure_step(&scrape->measure, core, budget) == REQUEST_MORE) {
        return REQUEST_MORE;
    }
    if ((scrape->families & ~(uint32_t)FAMILY_TOTALS) == 0) {
        return REQUEST_DONE;
    }
    return *budget == 0 ? REQUEST_MORE : queue_survey_step(&scrape->queues, core, budget);
}

static void
put_all(struct buffer *out, struct management *management, struct scrape *scrape)
{
    static const char *const names[] = {"aggregated", "per-object", "detailed"};
    struct metric_totals totals;
    metrics_put_identity(out, management, names[scrape->endpoint], scrape->sets);
    if ((scrape->families & FAMILY_TOTALS) != 0) {
        metrics_read_totals(management, &scrape->measure, &totals);
        metrics_put_totals(out, management, &totals, scrape->sets,
                           scrape->endpoint != ENDPOINT_AGGREGATED);
    }
    if (scrape->endpoint != ENDPOINT_AGGREGATED) {
        queue_survey_sort(&scrape->queues);
        metrics_put_queues(out, &scrape->queues, scrape->families, scrape->sets,
                           scrape->endpoint == ENDPOINT_DETAILED ? "rabbitmq_detailed_"
                                                                 : "rabbitmq_");
    }
}

static void
then(struct call *call, struct call_ask *ask)
{
    struct scrape *scrape = CONTAINER_OF(ask, struct scrape, ask);
    struct buffer out;
    buffer_init(&out);
    put_all(&out, call->management, scrape);
    call_answer_buffer(call, 200, METRIC_CONTENT_TYPE, &out);
    buffer_fini(&out);
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

/* SPDX-License-Identifier: Apache-2.0 */
/* The text format of Prometheus (exposition format 0.0.4): families of samples, each with HELP and
 * TYPE once. Label values are escaped here; names and help are texts of ours. */
#ifndef BOURSE_MANAGEMENT_MONITOR_METRIC_TEXT_H
#define BOURSE_MANAGEMENT_MONITOR_METRIC_TEXT_H

#include "base/buffer.h"

#define METRIC_CONTENT_TYPE "text/plain; version=0.0.4; charset=utf-8"

enum metric_kind { METRIC_COUNTER, METRIC_GAUGE, METRIC_HISTOGRAM };

/* The two lines in front of a family; `prefix` and `name` together are its name. */
void metric_begin(struct buffer *out, const char *prefix, const char *name, enum metric_kind kind,
                  const char *help);

/* One sample. `labels` is what stands between the braces, NULL or empty: nothing. */
void metric_put(struct buffer *out, const char *prefix, const char *name, const char *labels,
                uint64_t value);
/* The same of a value in `per_unit`ths (1000: milliseconds as seconds), as a decimal fraction. */
void metric_put_scaled(struct buffer *out, const char *prefix, const char *name, const char *labels,
                       uint64_t value, uint64_t per_unit);

/* One of several labels: `name="value"`, behind a comma unless `out` is empty. */
void metric_put_label(struct buffer *out, const char *name, struct bytes value);

/* A histogram of counts that are not added up yet. `bounds` are the texts of the upper ends, of
 * which the last is "+Inf". */
struct metric_histogram {
    const uint64_t *counts;
    const char *const *bounds;
    size_t count;
    uint64_t sum, per_unit; /* of the sum */
};
void metric_put_histogram(struct buffer *out, const char *prefix, const char *name,
                          const char *labels, const struct metric_histogram *histogram);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* The last lines of the log, for who looks from afar: LOG_TAIL_LINES lines, or as many as
 * LOG_TAIL_OCTETS hold. Lines are numbered from 1 on, so that a reader asks for what is new to it.
 *
 * Any thread writes lines, under the log's lock; reading takes it for as long as the copy takes. */
#ifndef BOURSE_MANAGEMENT_MONITOR_LOG_TAIL_H
#define BOURSE_MANAGEMENT_MONITOR_LOG_TAIL_H

#include "base/buffer.h"
#include "base/log.h"

enum { LOG_TAIL_LINES = 512, LOG_TAIL_OCTETS = 128 * 1024 };

struct log_tail;

/* Collects from now on. `log` is borrowed and outlives the tail; NULL: there will be none. */
struct log_tail *log_tail_new(struct log *log);
void log_tail_free(struct log_tail **tail);

/* Appends the lines behind number `after` to `out`, each with its newline, and returns the number
 * of the first of them; that of the next line to come when there is none. */
uint64_t log_tail_read(struct log_tail *tail, uint64_t after, struct buffer *out);

#endif

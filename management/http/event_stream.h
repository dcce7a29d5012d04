/* SPDX-License-Identifier: Apache-2.0 */
/* GET /api/bourse/events: what some GET routes answer, told again whenever it has changed, as
 * server-sent events.
 *
 * A watch is one such question in the name of one user. Streams of the same user that ask the same
 * share it, so that many consoles cost what one does. It is asked once a second, or more rarely: so
 * rarely that the core gives it no more than a part in three hundred of its time. Each time the
 * user is judged anew: who has lost a right sees nothing more, and whose session is over has the
 * stream ended.
 *
 * Bounds: STREAMS_MAX streams, STREAM_WATCHES_MAX questions each; a reader who leaves
 * STREAM_BACKLOG_MAX octets unread is told no more until he has read, then what is so by then; who
 * takes nothing at all for five seconds is cut off.
 *
 * Owner: the admin thread. */
#ifndef BOURSE_MANAGEMENT_HTTP_EVENT_STREAM_H
#define BOURSE_MANAGEMENT_HTTP_EVENT_STREAM_H

#include "base/bytes.h"
#include "base/list.h"

enum { STREAMS_MAX = 64, STREAM_WATCHES_MAX = 8, STREAM_BACKLOG_MAX = 1024 * 1024 };

struct call;
struct event;
struct event_stream;
struct watch;

struct event_streams {
    struct list streams, watches; /* struct event_stream, struct watch; own them */
    uint32_t stream_count;
    struct event *pulse; /* owned; NULL: no stream is there */
};

void event_streams_init(struct event_streams *streams);
/* No connection is there any more. */
void event_streams_fini(struct event_streams *streams);

/* The connection of the stream is going away. */
void event_stream_close(struct event_stream *stream);

/* Who answers its route. */
void handle_events(struct call *call);

/* What came of a watch's call. */
void watch_answered(struct watch *watch, int status, struct bytes octets);

#endif

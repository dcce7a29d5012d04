/* SPDX-License-Identifier: Apache-2.0 */
/* The head of a request as it comes in, before libevent takes it apart and forgets what it does not
 * understand: the request line and the headers, by which the size of the body is bounded before any
 * of it is kept, and what no head may have. */
#ifndef BOURSE_MANAGEMENT_HTTP_HTTP_HEAD_H
#define BOURSE_MANAGEMENT_HTTP_HTTP_HEAD_H

#include "base/buffer.h"
#include "management/http/route.h"

/* All zero: nothing has come. */
struct http_head {
    struct buffer line;   /* owned; the request line, without its end, as far as it has come */
    struct buffer fields; /* owned; the headers behind it, each with its LF and without its CR */
    size_t size;          /* octets of the head, so far */
    bool has_line;        /* all of the request line has come */
    bool is_over;         /* so has the empty line behind the last header */
    bool has_control;     /* a control character was among it */
    bool has_fold;        /* a header goes on in a line that begins with a space */
    bool is_in_text;      /* of the line that has not ended: something has come */
};

/* The next request. */
void http_head_begin(struct http_head *head);
void http_head_fini(struct http_head *head);

/* Takes what has come, up to the end of the head; returns how many octets that was: what is behind
 * them is ignored. */
size_t http_head_take(struct http_head *head, struct bytes octets);

/* Method and path, without the query, of the request line; views. False: it is none, or its method
 * is one that no route has. */
bool http_head_split(const struct http_head *head, enum route_method *method_out,
                     struct bytes *path_out);

/* The value of the first header of that name, in letters of any case, without the blanks around it;
 * a view. Data NULL: there is none yet. */
struct bytes http_head_find(const struct http_head *head, const char *name);

#endif

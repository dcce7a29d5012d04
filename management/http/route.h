/* SPDX-License-Identifier: Apache-2.0 */
/* The routes of the HTTP interface, in one table (management/routes/table.c): for each method and
 * path who may call it, how large its body may be, and who answers. Nothing else decides about
 * access: a test walks the table with every role.
 *
 * A path is a pattern of segments: a word stands for itself, `{name}` for one segment of any text.
 * What came in is split at "/" before it is percent-decoded, so that an encoded slash is part of a
 * name. A segment must be UTF-8 and have no NUL; "+" is a plus. */
#ifndef BOURSE_MANAGEMENT_HTTP_ROUTE_H
#define BOURSE_MANAGEMENT_HTTP_ROUTE_H

#include "base/bytes.h"
#include "broker/users/abilities.h"

enum { ROUTE_NAMES_MAX = 6, ROUTE_SEGMENTS_MAX = 12 };

enum route_method { ROUTE_GET, ROUTE_PUT, ROUTE_POST, ROUTE_DELETE, ROUTE_METHOD_COUNT };

enum route_flag {
    ROUTE_OPEN = 1 << 0,          /* without a login */
    ROUTE_IN_VHOST = 1 << 1,      /* its first name is a vhost: 404 when there is none, 401 when the
                                     caller may not enter it (and does not see all, for GET) */
    ROUTE_ON_METRICS = 1 << 2,    /* served by the metrics listener only */
    ROUTE_EVERYWHERE = 1 << 3,    /* by that as well */
    ROUTE_TAKES_FORM = 1 << 4,    /* its body may be multipart/form-data */
    ROUTE_PLUS_IS_SPACE = 1 << 5, /* a name that is not found is looked for with spaces for "+" */
    ROUTE_OF_SESSION = 1 << 6,    /* one's own session: POST has user and password in its body */
    ROUTE_WATCHED = 1 << 7,       /* GET /api/bourse/events may tell of it */
    ROUTE_ONLY_ASKS = 1 << 8,     /* POST that changes nothing: what is asked for is in its body */
};

struct call;

struct route {
    enum route_method method;
    const char *path;   /* "/api/queues/{vhost}/{queue}" */
    enum ability needs; /* ABILITY_NONE only with ROUTE_OPEN */
    uint32_t flags;     /* of enum route_flag */
    size_t body_max;    /* octets; 0: it takes no body */
    void (*handle)(struct call *call);
    const char *summary; /* one line for the description of the interface */
};

extern const struct route routes[];
extern const size_t route_count;

/* What a path was taken apart to. Names are in the order of the pattern. */
struct route_match {
    const struct route *route;
    struct bytes names[ROUTE_NAMES_MAX];
    uint32_t name_count;
    uint32_t allowed; /* bit 1 << METHOD of those that the path has */
};

/* A path split and decoded. */
struct route_path {
    struct bytes segments[ROUTE_SEGMENTS_MAX];
    uint32_t count;
};

enum route_verdict {
    ROUTE_FOUND,
    ROUTE_NO_PATH,   /* 404 */
    ROUTE_NO_METHOD, /* 405; match->allowed says which there are */
};

/* Takes the path apart (what is in front of "?"), decoding into `out`, which has as many octets as
 * the path. False with the reason: it does not begin with "/", has a malformed escape, a NUL or
 * what is no UTF-8, or too many segments. */
bool route_split(struct bytes path, uint8_t *out, struct route_path *path_out,
                 const char **why_out);

/* Looks the path up in a table. */
enum route_verdict route_find(const struct route *table, size_t count, enum route_method method,
                              const struct route_path *path, struct route_match *match);

/* "GET, PUT" for the header Allow. */
const char *route_allowed_text(uint32_t allowed, char out[static 64]);

#endif

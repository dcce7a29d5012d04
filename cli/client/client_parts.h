/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of the HTTP client share: client.c asks, client_report.c says what went wrong. */
#ifndef BOURSE_CLI_CLIENT_CLIENT_PARTS_H
#define BOURSE_CLI_CLIENT_CLIENT_PARTS_H

#include "base/buffer.h"
#include "cli/client/client.h"
#include "cli/client/curl_library.h"
#include "cli/output/progress.h"

enum { HTTP_OK = 200, HTTP_REDIRECT = 300, HTTP_UNAUTHORIZED = 401 };

struct client {
    struct curl_library library;
    CURL *curl;
    struct context context;
    const struct command_io *io;
    const struct command_line *line; /* what was asked of the command; borrowed */
    const char *vhost;
    long timeout_s;
    bool has_timeout; /* it was given */
    struct progress progress;
    bool is_quiet;
    uint64_t asked_ms;     /* of a clock that never goes back */
    uint64_t taken_octets; /* of an answer that is passed on as it comes */
    struct buffer answer;  /* of the last request */
    bool is_too_long;
    /* Who is given whole lines of an answer; NULL: it is kept. */
    bool (*take)(void *context, struct bytes lines);
    void *take_context;
    bool has_enough;   /* that one wants no more */
    bool is_following; /* it goes on until then, or until it is interrupted */
};

/* Says why no answer came. Returns the exit status. */
int client_report_no_answer(const struct client *client, CURLcode code);

/* Says what it is that the broker does not have. Returns the exit status. */
int client_report_missing(struct client *client, const json_t *answer);

/* What the broker gives as its reason; an empty text when it gives none. The text lives as long as
 * `answer`. */
const char *client_reason_of(const json_t *answer);

#endif

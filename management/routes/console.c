/* SPDX-License-Identifier: Apache-2.0 */
/* The web console: its page, which names the others with their version, and these. */
#include <event2/http.h>
#include <stdio.h>
#include <stdlib.h>

#include "management/http/server.h"
#include "management/http/web_files.h"
#include "management/routes/handlers.h"

static const char *
request_header(const struct call *call, const char *name)
{
    return evhttp_find_header(evhttp_request_get_input_headers(call->http), name);
}

/* "gzip" among those that are taken; a weight of 0 is what nobody sends. */
static bool
takes_gzip(const struct call *call)
{
    const char *accepted = request_header(call, "Accept-Encoding");
    return accepted != NULL && strstr(accepted, "gzip") != NULL;
}

static void
answer_file(struct call *call, const struct web_file *file)
{
    struct bytes octets = bytes_make(file->data, (size_t)(file->data_end - file->data));
    call_add_header(call, "Vary", "Accept-Encoding");
    if (takes_gzip(call)) {
        octets = bytes_make(file->gzip, (size_t)(file->gzip_end - file->gzip));
        call_add_header(call, "Content-Encoding", "gzip");
    }
    call_answer_octets(call, 200, file->type, octets);
}

/* True: the client has this version, and was told so. */
static bool
is_known(struct call *call, const char *version)
{
    char tag[WEB_VERSION_SIZE + 2];
    (void)snprintf(tag, sizeof(tag), "\"%s\"", version);
    const char *known = request_header(call, "If-None-Match");
    bool is_same = known != NULL && strstr(known, tag) != NULL;
    call_add_header(call, "ETag", tag);
    if (is_same) {
        call_answer(call, 304);
    }
    return is_same;
}

/* Puts the version where the page has @version@. */
static void
fill_in(struct buffer *out, struct bytes page, const char *version)
{
    static const char MARK[] = "@version@";
    static const size_t MARK_SIZE = sizeof(MARK) - 1;
    const uint8_t *mark;
    while ((mark = memmem(page.data, page.size, MARK, MARK_SIZE)) != NULL) {
        size_t before = (size_t)(mark - page.data);
        buffer_put(out, page.data, before);
        buffer_put_bytes(out, bytes_of(version));
        page = bytes_make(mark + MARK_SIZE, page.size - before - MARK_SIZE);
    }
    buffer_put_bytes(out, page);
}

void
handle_console(struct call *call)
{
    char version[WEB_VERSION_SIZE];
    const struct web_file *file = web_find(bytes_of("index.html"));
    struct buffer page;
    web_version(version);
    call_add_header(call, "Cache-Control", "no-cache");
    if (is_known(call, version)) {
        return;
    }
    buffer_init(&page);
    fill_in(&page, bytes_make(file->data, (size_t)(file->data_end - file->data)), version);
    call_answer_octets(call, page.failed ? 503 : 200, file->type, buffer_bytes(&page));
    buffer_fini(&page);
}

void
handle_console_file(struct call *call)
{
    char version[WEB_VERSION_SIZE];
    const struct web_file *file = web_find(call_name(call, 1));
    web_version(version);
    if (file == NULL || !bytes_equal_text(call_name(call, 0), version)) {
        call_fail(call, 404, "Not Found");
        return;
    }
    call_add_header(call, "Cache-Control", "public, max-age=31536000, immutable");
    if (!is_known(call, version)) {
        answer_file(call, file);
    }
}

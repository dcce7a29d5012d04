/* SPDX-License-Identifier: Apache-2.0 */
#include "management/http/web_files.h"

#include <inttypes.h>
#include <stdio.h>

#include "base/assert.h"

/* Octets of a file and of its compressed form, which the Makefile lays beside the objects; without
 * it, where code is only looked at, there are none. */
#ifdef WEB_SENT
#define PUT_OCTETS(symbol, name)                                                                   \
    __asm__(".section .rodata\n"                                                                   \
            ".global web_" #symbol "\nweb_" #symbol ":\n"                                          \
            ".incbin \"" WEB_SENT "/" name "\"\n"                                                  \
            ".global web_" #symbol "_end\nweb_" #symbol "_end:\n"                                  \
            ".global web_" #symbol "_gzip\nweb_" #symbol "_gzip:\n"                                \
            ".incbin \"" WEB_SENT "/" name ".gz\"\n"                                               \
            ".global web_" #symbol "_gzip_end\nweb_" #symbol "_gzip_end:\n"                        \
            ".byte 0\n.previous\n");
#else
#define PUT_OCTETS(symbol, name)
#endif
#define FILE_OCTETS(symbol, name)                                                                  \
    PUT_OCTETS(symbol, name)                                                                       \
    extern const uint8_t web_##symbol[], web_##symbol##_end[], web_##symbol##_gzip[],              \
        web_##symbol##_gzip_end[];

#define FOR_EACH_FILE(DO)                                                                          \
    DO(index, "index.html", "text/html; charset=utf-8")                                            \
    DO(style, "style.css", "text/css; charset=utf-8")                                              \
    DO(app, "app.js", "text/javascript; charset=utf-8")                                            \
    DO(dom, "dom.js", "text/javascript; charset=utf-8")                                            \
    DO(api, "api.js", "text/javascript; charset=utf-8")                                            \
    DO(table, "table.js", "text/javascript; charset=utf-8")                                        \
    DO(overview, "overview.js", "text/javascript; charset=utf-8")                                  \
    DO(queues, "queues.js", "text/javascript; charset=utf-8")                                      \
    DO(letters, "letters.js", "text/javascript; charset=utf-8")                                    \
    DO(routes, "routes.js", "text/javascript; charset=utf-8")                                      \
    DO(operation, "operation.js", "text/javascript; charset=utf-8")                                \
    DO(plan, "plan.js", "text/javascript; charset=utf-8")                                          \
    DO(icon, "icon.svg", "image/svg+xml")

#define DEFINE(symbol, name, type) FILE_OCTETS(symbol, name)
FOR_EACH_FILE(DEFINE)

#define ROW(symbol, name, type)                                                                    \
    {name, type, web_##symbol, web_##symbol##_end, web_##symbol##_gzip, web_##symbol##_gzip_end},
const struct web_file web_files[] = {FOR_EACH_FILE(ROW)};
const size_t web_file_count = ARRAY_LEN(web_files);

void
web_version(char out[static WEB_VERSION_SIZE])
{
    uint64_t hash = 0;
    for (size_t i = 0; i < web_file_count; i++) {
        const struct web_file *file = &web_files[i];
        hash = bytes_hash(bytes_make(file->data, (size_t)(file->data_end - file->data)), hash);
    }
    (void)snprintf(out, WEB_VERSION_SIZE, "%016" PRIx64, hash);
}

const struct web_file *
web_find(struct bytes name)
{
    for (size_t i = 0; i < web_file_count; i++) {
        if (bytes_equal_text(name, web_files[i].name)) {
            return &web_files[i];
        }
    }
    return NULL;
}

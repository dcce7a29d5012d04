/* SPDX-License-Identifier: Apache-2.0 */
/* The files of the web console (management/web/), part of the binary: as they are but for the lines
 * that only comment, and compressed when it was built. All but the page itself lie under a path
 * with the hash of all of them, so that a browser may keep them for good, and a module finds
 * another beside it. */
#ifndef BOURSE_MANAGEMENT_HTTP_WEB_FILES_H
#define BOURSE_MANAGEMENT_HTTP_WEB_FILES_H

#include "base/bytes.h"

struct web_file {
    const char *name; /* "app.js" */
    const char *type; /* for Content-Type */
    const uint8_t *data, *data_end;
    const uint8_t *gzip, *gzip_end;
};

extern const struct web_file web_files[];
extern const size_t web_file_count;

/* 16 hexadecimal digits that change with any of the files. */
enum { WEB_VERSION_SIZE = 17 };
void web_version(char out[static WEB_VERSION_SIZE]);

/* NULL: there is none. */
const struct web_file *web_find(struct bytes name);

#endif

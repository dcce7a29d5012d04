/* SPDX-License-Identifier: Apache-2.0 */
/* One part of a form that a browser sends with a file (multipart/form-data, RFC 7578). */
#ifndef BOURSE_MANAGEMENT_HTTP_MULTIPART_H
#define BOURSE_MANAGEMENT_HTTP_MULTIPART_H

#include "base/bytes.h"

/* The content of the first part called `name`; a view of `body`. False: `content_type` is no such
 * form or says no boundary, the body is cut short, or it has no such part. */
bool multipart_find(const char *content_type, struct bytes body, const char *name,
                    struct bytes *out);

#endif

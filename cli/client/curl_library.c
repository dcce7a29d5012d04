/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/client/curl_library.h"

#include <stddef.h>

#include "cli/command/dynamic.h"

#define FUNCTION(member, symbol)                                                                   \
    {                                                                                              \
        symbol, offsetof(struct curl_library, member)                                              \
    }

static const struct dynamic_function functions[] = {
    FUNCTION(global_init, "curl_global_init"),
    FUNCTION(global_cleanup, "curl_global_cleanup"),
    FUNCTION(easy_init, "curl_easy_init"),
    FUNCTION(easy_setopt, "curl_easy_setopt"),
    FUNCTION(easy_perform, "curl_easy_perform"),
    FUNCTION(easy_getinfo, "curl_easy_getinfo"),
    FUNCTION(easy_reset, "curl_easy_reset"),
    FUNCTION(easy_strerror, "curl_easy_strerror"),
    FUNCTION(easy_cleanup, "curl_easy_cleanup"),
    FUNCTION(slist_append, "curl_slist_append"),
    FUNCTION(slist_free_all, "curl_slist_free_all"),
    {NULL, 0},
};

bool
curl_library_open(struct curl_library *library)
{
    return dynamic_open("libcurl.so.4", functions, library) ||
           dynamic_open("libcurl-gnutls.so.4", functions, library);
}

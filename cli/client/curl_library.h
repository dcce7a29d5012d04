/* SPDX-License-Identifier: Apache-2.0 */
/* libcurl, opened by the command that needs it: `serve` and what works on files do without, and so
 * does a machine on which nothing else runs. */
#ifndef BOURSE_CLI_CLIENT_CURL_LIBRARY_H
#define BOURSE_CLI_CLIENT_CURL_LIBRARY_H

#include <curl/curl.h>

#include <stdbool.h>

/* The functions of the library that we use, under their own names. */
struct curl_library {
    __typeof__(curl_global_init) *global_init;
    __typeof__(curl_global_cleanup) *global_cleanup;
    __typeof__(curl_easy_init) *easy_init;
    __typeof__(curl_easy_setopt) *easy_setopt;
    __typeof__(curl_easy_perform) *easy_perform;
    __typeof__(curl_easy_getinfo) *easy_getinfo;
    __typeof__(curl_easy_reset) *easy_reset;
    __typeof__(curl_easy_strerror) *easy_strerror;
    __typeof__(curl_easy_cleanup) *easy_cleanup;
    __typeof__(curl_slist_append) *slist_append;
    __typeof__(curl_slist_free_all) *slist_free_all;
};

/* False when the library is not installed, or is not what its name says. It stays open until the
 * process ends. */
bool curl_library_open(struct curl_library *library);

#endif

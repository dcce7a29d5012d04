/* SPDX-License-Identifier: Apache-2.0 */
/* One question to a broker over its control socket that needs no library: for health checks where
 * only the broker is installed, such as in its image. */
#ifndef BOURSE_CLI_CLIENT_SOCKET_PROBE_H
#define BOURSE_CLI_CLIENT_SOCKET_PROBE_H

#include <stdint.h>

/* The HTTP status of a GET for `path`, which needs no escaping; 0 when no answer came within
 * `timeout_ms`, and errno says why: that of connect(2), ETIMEDOUT, or EPROTO for what is no HTTP.
 */
int socket_probe(const char *socket_path, const char *path, int64_t timeout_ms);

#endif

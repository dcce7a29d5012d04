/* SPDX-License-Identifier: Apache-2.0 */
/* How much of a request's body is kept, decided when its head has come and before libevent has seen
 * the head's end. Where a route takes more than a stranger may send, or the client asks whether it
 * may (Expect), the request is held until the core has said who it is: nobody has many MiB kept, or
 * is told to go on, who is refused afterwards. Who it is not is told 401, and what it goes on
 * sending is thrown away. What the route asks for besides is judged when the request is whole
 * (admission.c).
 *
 * Owner: the admin thread. */
#ifndef BOURSE_MANAGEMENT_HTTP_BODY_GATE_H
#define BOURSE_MANAGEMENT_HTTP_BODY_GATE_H

#include "management/http/server.h"

/* What anybody may send: as much as most routes take. */
enum { BODY_OF_STRANGERS = 64 * 1024 };

/* The request line has come: no more than a stranger's body is kept. */
void body_gate_bound(struct server_connection *connection);

/* All of the head has come: lets in what the route takes, or holds the request. */
void body_gate_meet(struct server_connection *connection);

/* The connection goes, or its request is there without having waited. */
void body_gate_leave(struct server_connection *connection);

#endif

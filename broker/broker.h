/* SPDX-License-Identifier: Apache-2.0 */
/* The parts made into a server: a core, its network, message memory, password threads, TLS contexts
 * and listeners, and the loop that turns them. One process may hold any number of brokers. */
#ifndef BOURSE_BROKER_BROKER_H
#define BOURSE_BROKER_BROKER_H

#include "base/log.h"
#include "base/status.h"
#include "config/config.h"
#include "store/flushes.h"

#include <stdio.h>

struct broker;
struct request_desk;

/* Builds everything, applies the topology and opens the listeners for AMQP; what the topology
 * changed is on disk when broker_when_settled says so. `config` is borrowed for the call, `log` for
 * longer. NULL: `why` says in one line what is missing (an address in use, a
 * certificate that cannot be read). */
struct broker *broker_new(const struct config *config, struct log *log, char *why, size_t why_size);

/* After broker_run has returned, or instead of it. */
void broker_free(struct broker **broker);

/* Writes " amqp://ADDR:PORT amqps://ADDR:PORT ..." without newline: every address it listens on,
 * with the port in use. */
void broker_print_addresses(const struct broker *broker, FILE *out);

/* One of those addresses; views live as long as the broker. */
struct broker_address {
    const char *scheme; /* "amqp", "amqps" */
    const char *host;
    uint16_t port;
    bool is_tls;
};

/* The next one, from position 0 on; false behind the last. */
bool broker_next_address(const struct broker *broker, size_t *position,
                         struct broker_address *address_out);

/* Where one other thread asks the core (request_desk.h); to be asked for before the loop turns. The
 * broker's. NULL: errno says why there is none. */
struct request_desk *broker_requests(struct broker *broker);

/* What is asked there comes back refused, from now on, and what is under way too: when the broker
 * stops, and before whoever asks is taken down. On the broker's own thread. */
void broker_refuse_requests(struct broker *broker);

/* Turns the loop until a stop was asked for and carried out: at most ten seconds from the request.
 */
void broker_run(struct broker *broker);

/* One turn of the loop, waiting at most `wait_ms`; for tests that drive two brokers in one process.
 * False once a stop has been carried out. */
bool broker_turn(struct broker *broker, uint64_t wait_ms);

/* Calls `ready(context)` in the broker's loop whenever `fd` is readable: a signalfd. */
MUST_CHECK enum status broker_watch(struct broker *broker, int fd, void (*ready)(void *context),
                                    void *context);

/* Calls `settled(context)` once, when everything that configurations have changed so far is on
 * disk: at once, or later in the broker's loop. The last caller counts. */
void broker_when_settled(struct broker *broker, void (*settled)(void *context), void *context);

/* Only from the broker's own thread (from a watch, say). Drains: no new connections, what was
 * promised is committed and said, 320 to every client. Ends when they are gone, or after ten
 * seconds. A second call changes nothing. */
void broker_stop(struct broker *broker);

/* Copies the data directory to `path`: see data_directory_back_up, which `done` is passed to. False
 * when there is nothing to copy, for everything is in memory, or a copy is being made already:
 * `why` says which. */
struct backup_report;
bool broker_back_up(struct broker *broker, const char *path,
                    void (*done)(void *context, enum status status,
                                 const struct backup_report *report),
                    void *context, char *why, size_t why_size);

/* How long flushes of the log took (store/flushes.h): added to `flushes`, unless everything is in
 * memory. Any thread may ask. */
void broker_add_flushes(const struct broker *broker, struct store_flushes *flushes);

/* Applies additions, changed users, rights and certificates of a configuration that was read anew.
 * Takes `config`. Done when broker_when_settled says so. STATUS_REJECTED: nothing changed, `why`
 * says the reason. */
MUST_CHECK enum status broker_reload(struct broker *broker, struct config *config, char *why,
                                     size_t why_size);

#endif

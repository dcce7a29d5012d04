/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/files/certificates.h"

#include <inttypes.h>

#include "config/report.h"
#include "tls/certificate_key.h"
#include "tls/certificate_time.h"

static const int64_t MS_PER_DAY = INT64_C(86400) * 1000;

static void
examine(struct config *config, const struct config_tls *tls, int64_t wall_ms)
{
    int64_t end_ms;
    if (tls->certificate == NULL || !certificate_file_end(tls->certificate, &end_ms)) {
        return; /* that it cannot be read is told elsewhere */
    }
    int64_t days = (end_ms - wall_ms) / MS_PER_DAY;
    if (end_ms <= wall_ms) {
        report_warning(config, tls->mark,
                       "%s has expired, %" PRId64 " day%s ago: clients refuse it", tls->certificate,
                       -days, days == -1 ? "" : "s");
    } else if (days < CERTIFICATE_DAYS_WARNED) {
        report_warning(config, tls->mark, "%s expires in %" PRId64 " day%s: renew it",
                       tls->certificate, days, days == 1 ? "" : "s");
    }
}

/* Files that cannot be read are told elsewhere, or belong to the machine that serves. */
static void
examine_key(struct config *config, const struct config_tls *tls)
{
    if (tls->certificate != NULL && tls->key != NULL &&
        certificate_key_check(tls->certificate, tls->key) == CERTIFICATE_KEY_OF_ANOTHER) {
        report_error(config, tls->mark, "%s is not the key of %s: give the one it was made with",
                     tls->key, tls->certificate);
    }
}

/* One block may serve several listeners. */
static bool
is_seen(const struct config *config, int kind)
{
    for (int before = 0; before < kind; before++) {
        if (config->listeners[before].tls == config->listeners[kind].tls) {
            return true;
        }
    }
    return false;
}

void
certificates_examine(struct config *config, int64_t wall_ms)
{
    for (int kind = 0; kind < LISTENER_KIND_COUNT; kind++) {
        const struct config_tls *tls = config->listeners[kind].tls;
        if (tls != NULL && !is_seen(config, kind)) {
            examine(config, tls, wall_ms);
            examine_key(config, tls);
        }
    }
}

/* SPDX-License-Identifier: Apache-2.0 */
/* A tls block of the configuration as the TLS side takes it. */
#ifndef BOURSE_BROKER_TLS_SETTINGS_H
#define BOURSE_BROKER_TLS_SETTINGS_H

#include "config/config.h"
#include "tls/tls_context.h"

/* Points into `tls`. */
struct tls_settings tls_settings_of(const struct config_tls *tls);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/tls_settings.h"

_Static_assert((int)CLIENT_CERT_REQUIRE == (int)TLS_CLIENT_CERT_REQUIRE, "same words, same order");
_Static_assert((int)USER_FROM_SAN_URI == (int)TLS_USER_FROM_SAN_URI, "same words, same order");

struct tls_settings
tls_settings_of(const struct config_tls *tls)
{
    return (struct tls_settings){
        .certificate = tls->certificate,
        .key = tls->key,
        .client_ca = tls->client_ca,
        .client_crl = tls->client_crl,
        .ocsp = tls->ocsp,
        .client_cert = (enum tls_client_cert)tls->client_cert,
        .user_from = (enum tls_user_from)tls->user_from,
        .min_version = tls->min_version,
    };
}

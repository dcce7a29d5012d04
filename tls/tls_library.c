/* SPDX-License-Identifier: Apache-2.0 */
#include "tls/tls_library.h"

#include <openssl/ssl.h>

void
tls_library_leave_texts(void)
{
    static const uint64_t no_texts =
        OPENSSL_INIT_NO_LOAD_CRYPTO_STRINGS | OPENSSL_INIT_NO_LOAD_SSL_STRINGS;
    (void)OPENSSL_init_ssl(no_texts, NULL);
}

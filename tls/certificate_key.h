/* SPDX-License-Identifier: Apache-2.0 */
/* Whether a key is that of a certificate. */
#ifndef BOURSE_TLS_CERTIFICATE_KEY_H
#define BOURSE_TLS_CERTIFICATE_KEY_H

enum certificate_key_verdict {
    CERTIFICATE_KEY_FITS,
    CERTIFICATE_KEY_OF_ANOTHER,
    CERTIFICATE_KEY_UNREADABLE, /* one of both, or the key has a passphrase */
};

/* Of PEM files; of a chain the first certificate is meant. */
enum certificate_key_verdict certificate_key_check(const char *certificate, const char *key);

#endif

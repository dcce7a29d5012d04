/* SPDX-License-Identifier: Apache-2.0 */
/* OpenSSL as a library, before anything of it is used. */
#ifndef BOURSE_TLS_TLS_LIBRARY_H
#define BOURSE_TLS_TLS_LIBRARY_H

/* To be called before any other use of OpenSSL, by a process without a TLS listener: the texts of
 * errors, which nobody would see, are then never read. They are half a MiB of an idle broker. */
void tls_library_leave_texts(void);

#endif

# SPDX-License-Identifier: Apache-2.0
"""Certificates for tests, made with the openssl command: an authority, servers, clients."""

import os
import ssl
import subprocess


def _openssl(*arguments, cwd):
    subprocess.run(["openssl", *arguments], cwd=cwd, check=True, capture_output=True)


class Authority:
    """A certificate authority in `directory`. `issue` makes NAME.pem and NAME.key there."""

    def __init__(self, directory, name="ca"):
        self.directory, self.name = str(directory), name
        os.makedirs(self.directory, exist_ok=True)
        _openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                 "-keyout", f"{name}.key", "-out", f"{name}.pem", "-days", "30",
                 "-subj", f"/CN=bourse test {name}", cwd=self.directory)

    def path(self, file):
        return os.path.join(self.directory, file)

    @property
    def certificate(self):
        return self.path(f"{self.name}.pem")

    def issue(self, name, subject=None, san=None, usage="clientAuth", days=30, key=True):
        """(certificate path, key path). A negative `days` makes one that has expired."""
        subject = subject or f"/CN={name}"
        _openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                 "-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj", subject,
                 cwd=self.directory)
        with open(self.path(f"{name}.ext"), "w") as file:
            file.write(f"extendedKeyUsage={usage}\nbasicConstraints=CA:FALSE\n")
            if san:
                file.write(f"subjectAltName={san}\n")
        lifetime = ["-days", str(days)]
        if days < 0:
            return self._issue_expired(name)
        _openssl("x509", "-req", "-in", f"{name}.csr", "-CA", f"{self.name}.pem",
                 "-CAkey", f"{self.name}.key", "-CAcreateserial", "-out", f"{name}.pem",
                 "-extfile", f"{name}.ext", *lifetime, cwd=self.directory)
        return self.path(f"{name}.pem"), self.path(f"{name}.key")

    def _issue_expired(self, name):
        """`openssl x509` cannot date back, `openssl ca` can."""
        with open(self.path("index.txt"), "w"), open(self.path("serial"), "w") as serial:
            serial.write("1000\n")
        with open(self.path("ca.cnf"), "w") as file:
            file.write("[ca]\ndefault_ca=d\n[d]\ndatabase=index.txt\nserial=serial\n"
                       "new_certs_dir=.\n"
                       "default_md=sha256\npolicy=p\nunique_subject=no\n[p]\ncommonName=supplied\n")
        _openssl("ca", "-batch", "-config", "ca.cnf", "-in", f"{name}.csr", "-out", f"{name}.pem",
                 "-cert", f"{self.name}.pem", "-keyfile", f"{self.name}.key", "-notext",
                 "-extfile", f"{name}.ext", "-startdate", "20200101000000Z",
                 "-enddate", "20210101000000Z", cwd=self.directory)
        return self.path(f"{name}.pem"), self.path(f"{name}.key")

    def issue_server(self, name="server", san="DNS:localhost,IP:127.0.0.1", **options):
        return self.issue(name, san=san, usage="serverAuth", **options)

    def client_context(self, certificate=None, minimum=None, maximum=None):
        """An SSL context that trusts this authority; `certificate` is (certificate, key)."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.load_verify_locations(self.certificate)
        if minimum:
            # Old versions need security level 0 on our side, else the client itself refuses.
            context.set_ciphers("ALL:@SECLEVEL=0")
            context.minimum_version = minimum
        if maximum:
            context.maximum_version = maximum
        if certificate:
            context.load_cert_chain(*certificate)
        return context


def revoke(authority, certificate, target):
    """Writes a revocation list with `certificate` to the path `target`."""
    with open(authority.path("crl-index.txt"), "w"), \
            open(authority.path("crl-number"), "w") as number:
        number.write("01\n")
    with open(authority.path("crl.cnf"), "w") as file:
        file.write("[ca]\ndefault_ca=d\n[d]\ndatabase=crl-index.txt\ncrlnumber=crl-number\n"
                   "default_md=sha256\ndefault_crl_days=30\n")
    signer = ["-cert", f"{authority.name}.pem", "-keyfile", f"{authority.name}.key"]
    _openssl("ca", "-config", "crl.cnf", *signer, "-revoke", certificate, cwd=authority.directory)
    _openssl("ca", "-config", "crl.cnf", *signer, "-gencrl", "-out", str(target),
             cwd=authority.directory)

# SPDX-License-Identifier: Apache-2.0
"""The shop of tests/interop/shop.yaml, with certificates and passwords, ready to be served."""

import os
import shutil

from . import broker, certs

FILE = os.path.join(broker.REPOSITORY, "tests", "interop", "shop.yaml")
CERTIFICATE_USERS = ("checkout", "billing", "warehouse")
PASSWORD_USERS = ("mailer", "bi", "oncall", "tester")


class Shop:
    """Files of a shop in `directory`. `passwords` maps the names of PASSWORD_USERS to secrets."""

    def __init__(self, directory, passwords):
        self.directory, self.passwords = str(directory), passwords
        self.authority = certs.Authority(os.path.join(self.directory, "tls"))
        self.authority.issue_server()
        self.client_certificates = {
            user: self.authority.issue(f"client-{user}", subject="/CN=not-used",
                                       san=f"URI:spiffe://shop/{user}")
            for user in CERTIFICATE_USERS}
        secrets = os.path.join(self.directory, "secrets")
        os.mkdir(secrets, 0o700)
        for user in PASSWORD_USERS:
            with open(os.path.join(secrets, user), "w") as file:
                file.write(passwords[user] + "\n")
            os.chmod(file.name, 0o600)
        self.file = os.path.join(self.directory, "shop.yaml")
        shutil.copy(FILE, self.file)

    def serve(self):
        return broker.Bourse(self.file, listen=("amqp", "amqps"))

    def tls(self, user=None):
        """A TLS context; with the user's certificate if there is one."""
        return self.authority.client_context(self.client_certificates.get(user))

    def open(self, running, user):
        """An open connection of one of the shop's users over TLS."""
        if user in CERTIFICATE_USERS:
            return running.connect(self.tls(user)).open(vhost="shop", mechanism="EXTERNAL")
        return running.connect(self.tls()).open(vhost="shop", user=user,
                                                password=self.passwords[user])

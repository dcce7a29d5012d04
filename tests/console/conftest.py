# SPDX-License-Identifier: Apache-2.0
"""One browser for all tests, and a broker with a user of each role for each file."""

import base64
import http.client
import json
import urllib.parse

import pytest

from support import broker as brokers
from console import browser as browsers

CONFIG = """
bourse: 1
users:
  admin: {auth: password, password-file: pw, role: admin,
          rights: {configure: ".*", write: ".*", read: ".*"}}
  operator: {auth: password, password-file: pw, role: operator,
             rights: {configure: ".*", write: ".*", read: ".*"}}
  monitor: {auth: password, password-file: pw, role: monitor,
            rights: {configure: ".*", write: ".*", read: ".*"}}
listeners:
  amqp: {bind: "127.0.0.1:0"}
  http: {bind: "127.0.0.1:0"}
"""


class Api:
    def __init__(self, address):
        self.address = address

    def call(self, method, path, body=None):
        connection = http.client.HTTPConnection(*self.address, timeout=15)
        headers = {"Authorization": "Basic " + base64.b64encode(b"admin:secret").decode()}
        if body is not None:
            headers["Content-Type"] = "application/json"
        connection.request(method, path, None if body is None else json.dumps(body), headers)
        answer = connection.getresponse()
        text = answer.read()
        connection.close()
        assert answer.status < 300, (method, path, answer.status, text)
        return json.loads(text) if text else None

    def queue(self, name, **arguments):
        self.call("PUT", "/api/queues/%2F/" + part(name), {"arguments": arguments})


def part(name):
    return urllib.parse.quote(name, safe="")


@pytest.fixture(scope="module")
def broker(tmp_path_factory, request):
    """With the TOPOLOGY of the tests' file, if it has one, behind the users and listeners."""
    folder = tmp_path_factory.mktemp("console")
    (folder / "pw").write_text("secret")
    (folder / "pw").chmod(0o600)
    (folder / "shop.yaml").write_text(CONFIG + getattr(request.module, "TOPOLOGY", ""))
    running = brokers.Bourse("shop.yaml", listen=(), options=["--http", "127.0.0.1:0"], cwd=folder)
    running.config = folder / "shop.yaml"
    running.http = running.addresses["http"][0]
    running.api = Api(running.http)
    yield running
    running.stop()


@pytest.fixture(scope="session")
def chromium():
    driver = browsers.start()
    yield driver
    driver.quit()


@pytest.fixture
def browser(chromium, broker):
    """Signed in as admin; what the browser complained about fails the test."""
    chromium.driver.delete_all_cookies()
    chromium.sign_in(broker.http)
    yield chromium
    complaints = chromium.complaints()
    assert complaints == []
    assert chromium.executed() == 0


@pytest.fixture
def channel(broker):
    connection = broker.connect().open(user="admin", password="secret")
    yield connection.channel()
    connection.close()

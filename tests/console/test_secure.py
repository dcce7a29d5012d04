# SPDX-License-Identifier: Apache-2.0
"""The console over HTTPS, as it is meant to be used from elsewhere."""

import datetime

import pytest

from support import broker as brokers
from support import certs


@pytest.fixture(scope="module")
def secure(tmp_path_factory):
    folder = tmp_path_factory.mktemp("secure")
    certificate, key = certs.Authority(folder / "ca").issue_server(days=20)
    (folder / "pw").write_text("secret")
    (folder / "pw").chmod(0o600)
    (folder / "bourse.yaml").write_text(f"""bourse: 1
users:
  admin: {{auth: password, password-file: pw, role: admin}}
listeners:
  amqp: {{bind: "127.0.0.1:0"}}
  https:
    bind: "127.0.0.1:0"
    tls: {{certificate: {certificate}, key: {key}}}
""")
    with brokers.Bourse(folder / "bourse.yaml", listen=(), options=["--https", "127.0.0.1:0"]) as running:
        yield running


def test_the_session_is_a_host_cookie_and_the_certificates_days_are_counted(chromium, secure):
    chromium.driver.delete_all_cookies()
    chromium.sign_in(secure.addresses["https"][0], scheme="https")
    [cookie] = chromium.driver.get_cookies()
    assert cookie["name"] == f"__Host-bourse-session-{secure.addresses['https'][0][1]}"
    assert cookie["secure"] and cookie["httpOnly"] and cookie["path"] == "/"
    assert cookie["sameSite"] == "Strict"
    chromium.wait(lambda: chromium.has("//div[@class='tile ' and contains(., 'Certificate')]"), "a tile")
    tile = chromium.text_of("//div[contains(@class, 'tile') and contains(., 'Certificate')]")
    left = datetime.timedelta(days=20).days
    assert f"{left} days" in tile or f"{left - 1} days" in tile
    assert "https" in tile
    chromium.driver.refresh()
    chromium.wait_text("Needs attention")
    assert chromium.complaints() == []
    chromium.press("Sign out")
    chromium.wait_text("Password")
    assert chromium.driver.get_cookies() == []

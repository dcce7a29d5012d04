# SPDX-License-Identifier: Apache-2.0
"""No secret in any log (threat T22): passwords planted by every test of the run are looked for in
all that all brokers of the run have written."""

import os
import re

import pytest

from support import amqp, broker as brokers

pytestmark = pytest.mark.bourse_only


# Every way in which a password can pass through the broker, with debug logs on.
def test_every_way_of_handling_a_password(serve, canaries):
    broker = serve("""
        bourse: 1
        server: {log: {level: debug}}
        users:
          plain: {auth: password, password-file: plain.pw,
                  rights: {configure: "", write: "", read: ""}}
          env: {auth: password, password-env: ENV_SECRET,
                rights: {configure: "", write: "", read: ""}}
        listeners: {amqp: {bind: "127.0.0.1:0"}}
        """, passwords=["plain"], environment={"ENV_SECRET": canaries["env"]})
    for mechanism in ("PLAIN", "AMQPLAIN"):
        conn = broker.open(user="plain", password=canaries["plain"], mechanism=mechanism)
        conn.call(0, "connection.update-secret", new_secret=canaries["plain"], reason="test")
        conn.close()
        conn = broker.connect()
        conn.read_start()
        conn.send_start_ok(user="plain", password=canaries["wrong"], mechanism=mechanism)
        conn.expect_close(403)
    broker.open(user="env", password=canaries["env"]).close()
    # A password where none belongs: in the place of the user, and in a response that is broken.
    for response in (f"\0{canaries['as user']}\0x", f"{canaries['no nul']}",
                     f"\0{canaries['one nul']}"):
        conn = amqp.Connection(broker.amqp, source="127.0.12.1")
        conn.read_start()
        conn.send_start_ok(response=response.encode())
        conn.expect_end(403, 502)
    broker.reload()
    broker.signal(15)
    broker.wait_exit()
    text = broker.log.text() + broker.stdout.text()
    assert "login.refused" in text
    for name, secret in canaries.items():
        if name != "as user":       # a user name is no secret; we log it to tell who failed
            assert secret not in text, name
    del canaries["as user"]


def test_neither_arguments_nor_environment_show_secrets_of_files(shop_broker, shop):
    shop.open(shop_broker, "tester").close()
    for name in ("cmdline", "environ"):
        with open(f"/proc/{shop_broker.pid}/{name}", "rb") as file:
            text = file.read().decode(errors="replace")
        assert not any(secret in text for secret in shop.passwords.values())


def test_a_secret_file_readable_by_all_is_a_warning(write_config, tmp_path, canaries):
    path = write_config("""
        bourse: 1
        users: {u: {auth: password, password-file: u.pw,
                    rights: {configure: "", write: "", read: ""}}}
        listeners: {amqp: {bind: "127.0.0.1:0"}}
        """, passwords=["u"])
    os.chmod(tmp_path / "u.pw", 0o644)
    result = brokers.run_command("check", str(path))
    assert re.search(r"warning: .*u\.pw", result.stderr) and canaries["u"] not in result.stderr


@pytest.mark.last
def test_no_planted_secret_is_in_any_log_of_this_run(canaries):
    assert len(canaries) >= 3
    text = "\n".join(brokers.all_logs)
    for name, secret in canaries.items():
        assert secret not in text, f"the secret of {name} is in a log"

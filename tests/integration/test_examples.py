# SPDX-License-Identifier: Apache-2.0
"""What lies in examples/ works as it lies there, and nothing lies there that no test runs."""

import os
import re
import shutil
import subprocess
import sys

import pytest

from support import broker as brokers

pytestmark = pytest.mark.bourse_only

EXAMPLES = os.path.join(brokers.REPOSITORY, "examples")

PLACE_ORDER = """
import sys
sys.path.insert(0, {examples!r})
import place_order
place_order.main(*{words!r}, port={port})
"""


@pytest.fixture(name="shop_folder", scope="module")
def fixture_shop_folder(tmp_path_factory):
    """The examples with certificates and passwords where `make run` has them: beside them."""
    folder = tmp_path_factory.mktemp("shop-example")
    shutil.copytree(EXAMPLES, folder / "examples", ignore=shutil.ignore_patterns("node_modules"))
    for tool, kind, users in (("dev-certs", "tls", ("checkout", "billing", "warehouse")),
                              ("dev-secrets", "secrets", ("mailer", "oncall"))):
        subprocess.run([os.path.join(brokers.REPOSITORY, "tools", tool),
                        folder / "build/dev" / kind, *users], check=True, capture_output=True)
    return folder


@pytest.fixture(name="shop", scope="module")
def fixture_shop(shop_folder):
    file = shop_folder / "examples" / "shop.yaml"
    with brokers.Bourse(file, listen=("amqp", "amqps")) as running:
        yield running


def place_order(shop_folder, shop, *words):
    """The finished examples/place_order.py WORDS against this broker."""
    program = PLACE_ORDER.format(examples=str(shop_folder / "examples"), words=list(words),
                                 port=shop.amqps[1])
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True,
                          timeout=30, cwd=shop_folder)


def test_an_order_is_placed_by_a_certificate_and_waits_where_it_should(shop_folder, shop):
    pytest.importorskip("pika")
    done = place_order(shop_folder, shop, "order.eu.placed", '{"order": 7}')
    assert (done.returncode, done.stdout) == (0, "confirmed: order.eu.placed\n"), done.stderr
    connection = shop.open(vhost="shop", user="bi", password="analytics-demo")
    assert connection.channel().get("analytics").body == b'{"order": 7}'
    connection.close()


def test_what_the_file_does_not_grant_is_told(shop_folder, shop):
    pytest.importorskip("pika")
    done = place_order(shop_folder, shop, "order.eu.paid")
    assert done.returncode == 1 and done.stderr.startswith("refused: 403 ACCESS_REFUSED"), done


# An example without an administrator is administered by its control socket.
@pytest.mark.parametrize("name", [name for name in sorted(os.listdir(EXAMPLES))
                                  if name.endswith(".yaml")])
def test_a_topology_of_the_examples_has_nothing_to_complain_about(name, shop_folder):
    checked = brokers.run_command("check", str(shop_folder / "examples" / name))
    told = [line for line in (checked.stdout + checked.stderr).splitlines()
            if "warning:" in line and 'no user has "role: admin"' not in line]
    assert (checked.returncode, told) == (0, [])


# The page of the examples has them all, and says which test runs each.
def test_every_example_is_on_the_page_with_a_test_that_is_there():
    with open(os.path.join(EXAMPLES, "README.md"), encoding="utf-8") as file:
        page = file.read()
    for name in os.listdir(EXAMPLES):
        assert name == "README.md" or f"]({name})" in page, name
    for path in re.findall(r"\]\((\.\./tests/[^)]*)\)", page):
        assert os.path.exists(os.path.join(EXAMPLES, path)), path


# `make demo`, twice: what one run leaves behind is nothing to the next.
def test_the_demo_comes_out_as_told():
    for _run in range(2):
        done = subprocess.run([sys.executable, os.path.join(brokers.REPOSITORY, "tools", "demo.py"), brokers.binary()],
                              capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        assert "all as told" in done.stdout and "which goes to dlq" in done.stdout

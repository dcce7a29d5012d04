# SPDX-License-Identifier: Apache-2.0
"""Fixtures of the integration and interop tests.

`broker` is one Bourse in development mode for the whole run; tests share it and therefore use
names of their own (`amqp.unique`, exclusive queues). A test about configuration starts its own
with `serve`. With `--peer rabbitmq` the protocol tests run against Debian's rabbitmq-server
instead, which is how their expectations were checked.
"""

import os
import secrets
import shutil
import signal
import textwrap

import pytest

from support import amqp, broker as brokers, certs, shop as shops


def pytest_addoption(parser):
    parser.addoption("--peer", choices=("bourse", "rabbitmq"), default="bourse",
                     help="which broker the shared fixtures start")
    parser.addoption("--address", metavar="HOST:PORT",
                     help="a peer that runs already, instead of one started for this run")


def pytest_configure():
    """A shell has what it puts into the background ignore these, and so would all that is started here."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGQUIT, signal.SIG_DFL)


def pytest_collection_modifyitems(config, items):
    if config.getoption("--peer") == "rabbitmq":
        for item in items:
            for name in ("differs", "bourse_only"):
                if item.get_closest_marker(name):
                    item.add_marker(pytest.mark.skip(reason="about Bourse"))
    items.sort(key=lambda item: item.get_closest_marker("last") is not None)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item):
    outcome = yield
    item.has_failed = getattr(item, "has_failed", False) or outcome.get_result().failed


@pytest.fixture
def tmp_path(request, tmp_path):
    """Without its files once the test has passed: a run's data directories are 15 GiB. What failed
    keeps them, to be looked at."""
    yield tmp_path
    if not getattr(request.node, "has_failed", False):
        shutil.rmtree(tmp_path, ignore_errors=True)


@pytest.fixture(scope="session")
def peer(request):
    """The name of the broker behind the `broker` fixture."""
    return request.config.getoption("--peer")


class _Running:
    """A broker that somebody else started; we only connect to it."""

    def __init__(self, address):
        self.amqp = brokers.parse_address(address)

    def connect(self, **options):
        return amqp.Connection(self.amqp, **options)

    def open(self, **options):
        return self.connect().open(**options)


@pytest.fixture(scope="session")
def broker(request, peer):
    """The shared broker: development mode, guest/guest, vhost '/'."""
    if request.config.getoption("--address"):
        yield _Running(request.config.getoption("--address"))
        return
    if peer == "rabbitmq":
        with brokers.RabbitMQ() as running:
            yield running
        return
    running = brokers.Bourse()
    yield running
    running.stop()


@pytest.fixture(scope="session")
def oracle(request, peer):
    """Debian's rabbitmq-server."""
    if not brokers.RabbitMQ.installed():
        pytest.skip("rabbitmq-server is not installed")
    if peer == "rabbitmq":
        yield request.getfixturevalue("broker")
        return
    with brokers.RabbitMQ() as running:
        yield running


@pytest.fixture
def connect(broker):
    """Opens connections to the shared broker; drops what is left of them at the end."""
    opened = []

    def open_one(raw=False, **options):
        connection = broker.connect()
        opened.append(connection)
        return connection if raw else connection.open(**options)

    yield open_one
    for connection in opened:
        connection.drop()


@pytest.fixture
def conn(connect):
    return connect()


@pytest.fixture
def ch(conn):
    return conn.channel()


@pytest.fixture(scope="session")
def authority(tmp_path_factory):
    """One certificate authority with a server certificate for the whole run."""
    made = certs.Authority(tmp_path_factory.mktemp("certs"))
    made.issue_server()
    return made


@pytest.fixture(scope="session")
def canaries():
    """Secrets that a test hands to a broker, by name; none of them may appear in a log."""
    return CANARIES


class _Canaries(dict):
    def __missing__(self, name):
        self[name] = f"canary-{secrets.token_hex(12)}"
        return self[name]


CANARIES = _Canaries()


@pytest.fixture
def write_config(tmp_path, canaries):
    """Writes a YAML file (dedented) into the test's directory and returns its path. `passwords`
    are written beside it as NAME.pw, so that the file can say password-file: NAME.pw."""

    def write(text, passwords=(), name="bourse.yaml"):
        for user in passwords:
            secret = tmp_path / f"{user}.pw"
            secret.write_text(canaries[user] + "\n")
            secret.chmod(0o600)
        path = tmp_path / name
        path.write_text(textwrap.dedent(text))
        return path

    return write


@pytest.fixture
def serve(write_config):
    """Starts a Bourse with a configuration of the test's own: serve(yaml_text, passwords=…)."""
    running = []

    def start(text=None, passwords=(), **options):
        config = write_config(text, passwords) if text is not None else None
        running.append(brokers.Bourse(config, **options))
        return running[-1]

    yield start
    for one in running:
        one.stop()


@pytest.fixture(scope="session")
def repository():
    return brokers.REPOSITORY


def pytest_report_header(config):
    if config.getoption("--peer") == "bourse":
        return f"broker: {os.path.relpath(brokers.binary(), brokers.REPOSITORY)}"
    return "broker: rabbitmq-server"




@pytest.fixture(scope="session")
def shop(tmp_path_factory, canaries):
    """The files of the shop: topology, certificates, passwords."""
    return shops.Shop(tmp_path_factory.mktemp("shop"), canaries)


@pytest.fixture(scope="session")
def shop_broker(shop):
    """A Bourse that serves the shop over TLS and plain TCP."""
    running = shop.serve()
    yield running
    running.stop()

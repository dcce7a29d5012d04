# SPDX-License-Identifier: Apache-2.0
"""Other people's clients against a running broker: over plain TCP in development mode, and over TLS
against the shop as its user `tester`."""

import os
import subprocess

import pytest
import yaml

from support import broker as brokers, shop as shops

HERE = os.path.dirname(os.path.abspath(__file__))
CLIENTS = os.path.join(HERE, "clients")
BUILD = os.path.join(brokers.REPOSITORY, "build", "interop")
TIMEOUT_S = 90

STORY = ["connect", "declare", "publish", "confirm", "return", "consume", "ack", "nack", "cancel",
         "reconnect"]
PYTHON = "/usr/bin/python3"


def program(name):
    return os.path.join(CLIENTS, name)


@pytest.fixture(scope="session")
def librabbitmq_client():
    """The C program, compiled here as a user of the library would."""
    target = os.path.join(BUILD, "librabbitmq_client")
    os.makedirs(BUILD, exist_ok=True)
    subprocess.run(["cc", "-Wall", "-Wextra", "-Werror", "-o", target,
                    program("librabbitmq_client.c"), "-lrabbitmq"], check=True)
    return target


# client → (command as a function of the test's fixtures, the steps it must reach)
COMMANDS = {
    "pika": (lambda _: [PYTHON, program("pika_client.py")], [*STORY, "expire"]),
    "aio-pika": (lambda _: [PYTHON, program("aio_pika_client.py")], STORY),
    "kombu": (lambda _: [PYTHON, program("kombu_client.py")], STORY),
    "celery": (lambda _: [PYTHON, program("celery_client.py")],
               ["task", "group", "retry", "countdown", "eta", "backoff", "priority", "control",
                "worker stopped"]),
    "amqp-tools": (lambda _: [program("amqp_tools_client.sh")],
                   ["connect", "declare", "publish", "get", "consume", "ack", "cancel",
                    "reconnect"]),
    "librabbitmq": (lambda request: [request.getfixturevalue("librabbitmq_client")], STORY),
    "amqplib": (lambda request: ["env", "NODE_PATH=" + request.getfixturevalue("node_modules"),
                                 "node", program("amqplib_client.js")], [*STORY, "expire"]),
    "php-amqplib": (lambda _: ["php", program("php_amqplib_client.php")], [*STORY, "x-death"]),
    "bunny": (lambda _: ["ruby", program("bunny_client.rb")],
              ["connect", "declare", "publish", "retry", "x-death", "deaths", "close"]),
}


def run(command):
    result = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S, cwd=CLIENTS,
                            env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"})
    assert result.returncode == 0, result.stdout + result.stderr
    return [line.removeprefix("ok ") for line in result.stdout.splitlines()
            if line.startswith("ok ")]


@pytest.mark.parametrize("client", COMMANDS)
def test_in_development_mode_over_plain_tcp(request, broker, client):
    make_command, steps = COMMANDS[client]
    host, port = broker.amqp
    done = run(make_command(request) + [f"amqp://guest:guest@{host}:{port}/%2F"])
    assert set(steps) <= set(done), done


# RabbitMQ 3.10 takes no time to live above 2^32 ms.
@pytest.mark.bourse_only
def test_the_ladder_of_delays_of_celery(broker):
    host, port = broker.amqp
    done = run([PYTHON, program("kombu_ladder_client.py"), f"amqp://guest:guest@{host}:{port}/%2F"])
    assert done == ["declare", "publish", "delay", "close"]


@pytest.mark.bourse_only
@pytest.mark.parametrize("client", COMMANDS)
def test_with_the_shop_over_tls(request, shop, shop_broker, client):
    make_command, steps = COMMANDS[client]
    _host, port = shop_broker.amqps
    url = f"amqps://tester:{shop.passwords['tester']}@localhost:{port}/shop"
    done = run(make_command(request) + [url, shop.authority.certificate])
    assert set(steps) <= set(done), done


# The clients run against what the example promises, not against a shop of their own.
@pytest.mark.bourse_only
def test_the_shop_is_that_of_the_examples_with_a_tester():
    with open(shops.FILE) as file:
        ours = yaml.safe_load(file)
    with open(os.path.join(brokers.REPOSITORY, "examples", "shop.yaml")) as file:
        example = yaml.safe_load(file)
    assert ours["users"].pop("tester")["rights"] == {"configure": ".*", "write": ".*", "read": ".*"}
    for key in ("bourse", "vhost", "defaults", "exchanges", "retry", "queues", "protect"):
        assert ours[key] == example[key], key
    for users in (ours["users"], example["users"]):
        for user in users.values():
            for source in ("password-file", "password-hash", "password-env"):
                user.pop(source, None)
    assert ours["users"] == example["users"]

# SPDX-License-Identifier: Apache-2.0
"""The programs of docs/tutorials.md against Bourse and against Debian's rabbitmq-server: what they
print is the same, with pika and with amqplib, and when each side of a step is another one's."""

import os
import signal
import subprocess

import pytest

from support import amqp, broker as brokers

TUTORIALS = os.path.join(brokers.REPOSITORY, "examples", "tutorials")
TIMEOUT_S = 30
LANGUAGES = ("pika", "amqplib")

pytestmark = pytest.mark.bourse_only


@pytest.fixture(name="url", scope="module", params=["bourse", "rabbitmq"])
def fixture_url(request):
    """Of a broker of the tutorials' own: what one step leaves, no other broker has."""
    if request.param == "rabbitmq" and not brokers.RabbitMQ.installed():
        pytest.skip("rabbitmq-server is not installed")
    with brokers.Bourse() if request.param == "bourse" else brokers.RabbitMQ() as running:
        yield "amqp://guest:guest@{}:{}/%2F".format(*running.amqp)


class Program:
    """One that goes on until it is interrupted; each line it prints is waited for."""

    def __init__(self, command, env):
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                        env=env)
        self.output = brokers.LogReader(self.process.stdout)
        self.errors = brokers.LogReader(self.process.stderr)
        self.output.wait_for("^waiting$", TIMEOUT_S)

    def wait_for(self, count):
        """Its first `count` lines behind the one that says that it waits."""
        with self.output.arrived:
            self.output.arrived.wait_for(lambda: len(self.output.lines) > count or
                                         self.output.ended, TIMEOUT_S)
        return self.output.lines[1:]

    def end(self):
        """As by Ctrl-C."""
        self.process.send_signal(signal.SIGINT)
        assert self.process.wait(TIMEOUT_S) == 0, self.errors.text()

    def kill(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(TIMEOUT_S)


class Tutorials:
    """Runs the programs of a language."""

    def __init__(self, url, node_modules):
        self.address = brokers.parse_address(url.split("@")[-1].split("/")[0])
        self.env = {**os.environ, "AMQP_URL": url, "NODE_PATH": node_modules,
                    "PYTHONDONTWRITEBYTECODE": "1"}
        self.programs = []

    def command(self, language, name, words):
        suffix = {"pika": "py", "amqplib": "js"}[language]
        start = {"pika": "/usr/bin/python3", "amqplib": "node"}[language]
        return [start, os.path.join(TUTORIALS, language, f"{name}.{suffix}"), *words]

    def run(self, language, name, *words, status=0):
        done = subprocess.run(self.command(language, name, words), env=self.env, text=True,
                              capture_output=True, timeout=TIMEOUT_S)
        assert done.returncode == status, done.stdout + done.stderr
        return done.stdout.splitlines()

    def drop(self, queue):
        """Deletes a queue; how many messages it had."""
        connection = amqp.Connection(self.address).open()
        deleted = connection.channel().call("queue.delete", queue=queue)
        connection.close()
        return deleted.message_count

    def start(self, language, name, *words):
        self.programs.append(Program(self.command(language, name, words), self.env))
        return self.programs[-1]


@pytest.fixture(name="tutorials")
def fixture_tutorials(url, node_modules):
    running = Tutorials(url, node_modules)
    yield running
    for program in running.programs:
        program.kill()


# Who sends, and who receives: each program meets one of the other language.
pairs = pytest.mark.parametrize("one, other", [LANGUAGES, LANGUAGES[::-1]], ids="-".join)


@pairs
def test_hello(tutorials, one, other):
    assert tutorials.run(one, "hello", "send", "good morning", "käse") == [
        "sent: good morning", "sent: käse"]
    receiver = tutorials.start(other, "hello", "receive")
    assert receiver.wait_for(2) == ["received: good morning", "received: käse"]
    tutorials.run(one, "hello", "send", "good night")
    assert receiver.wait_for(3)[2:] == ["received: good night"]
    receiver.end()


@pairs
def test_work_goes_to_who_is_free_and_survives_a_worker(tutorials, one, other):
    slow = tutorials.start(one, "work", "work")
    assert tutorials.run(other, "work", "add", "large", "600") == ["added: large"]
    assert slow.wait_for(1) == ["begins: large"]
    for name in ("a", "b", "c"):
        tutorials.run(one, "work", "add", name, "0")
    quick = tutorials.start(other, "work", "work")
    assert quick.wait_for(6) == [f"{what}: {name}" for name in ("a", "b", "c")
                                 for what in ("begins", "done")]
    quick.end()
    slow.kill()
    # What is left would take ten minutes.
    again = tutorials.start(other, "work", "work")
    assert again.wait_for(1) == ["begins again: large"]
    again.kill()
    tutorials.drop("tutorial.work")


@pairs
def test_news_reach_every_listener_that_is_there(tutorials, one, other):
    assert tutorials.run(one, "news", "publish", "unheard") == ["published: unheard"]
    listeners = [tutorials.start(language, "news", "listen") for language in (one, other)]
    tutorials.run(other, "news", "publish", "rain", "sun")
    for listener in listeners:
        assert listener.wait_for(2) == ["news: rain", "news: sun"]
        listener.end()


@pairs
def test_parcels_go_by_their_key(tutorials, one, other):
    south = tutorials.start(one, "parcels", "watch", "rome", "athens")
    north = tutorials.start(other, "parcels", "watch", "oslo")
    assert tutorials.run(one, "parcels", "send", "oslo", "coat") == ["sent to oslo: coat"]
    tutorials.run(other, "parcels", "send", "paris", "hat")
    tutorials.run(one, "parcels", "send", "athens", "fan")
    tutorials.run(other, "parcels", "send", "rome", "glasses")
    assert south.wait_for(2) == ["for athens: fan", "for rome: glasses"]
    assert north.wait_for(1) == ["for oslo: coat"]


@pairs
def test_weather_is_chosen_by_patterns(tutorials, one, other):
    wind = tutorials.start(one, "weather", "watch", "*.*.wind")
    north = tutorials.start(other, "weather", "watch", "north.#", "#.wind")
    for key, text in (("north.harbour.wind", "7"), ("north.hill.rain", "3"),
                      ("south.beach.wind", "2"), ("south.beach.sun", "9"), ("north", "dark")):
        assert tutorials.run(one, "weather", "report", key, text) == [f"reported {key}: {text}"]
    assert north.wait_for(4) == ["north.harbour.wind: 7", "north.hill.rain: 3",
                                 "south.beach.wind: 2", "north: dark"]
    assert wind.wait_for(2) == ["north.harbour.wind: 7", "south.beach.wind: 2"]


@pairs
def test_prices_are_asked_and_answered(tutorials, one, other):
    server = tutorials.start(one, "prices", "serve")
    assert tutorials.run(other, "prices", "ask", "melon", "3") == ["3 melon: 870 cents"]
    assert tutorials.run(other, "prices", "ask", "plum", "1") == ["there is no plum"]
    server.end()


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_ledger_is_confirmed(tutorials, language):
    assert tutorials.run(language, "ledger", "each", "5") == ["confirmed: 5"]
    assert tutorials.run(language, "ledger", "stream", "1000") == ["confirmed: 1000"]
    assert tutorials.run(language, "ledger", "lost") == ["returned: no queue takes it"]
    assert tutorials.drop("tutorial.ledger") == 1005


# A page that shows programs that are not there, or leaves some out, helps nobody.
def test_every_program_is_on_the_page():
    with open(os.path.join(brokers.REPOSITORY, "docs", "tutorials.md")) as file:
        page = file.read()
    for language in LANGUAGES:
        for name in sorted(os.listdir(os.path.join(TUTORIALS, language))):
            if name.endswith((".py", ".js")):
                assert f"examples/tutorials/{language}/{name}" in page, name


@pytest.mark.parametrize("name", ["hello", "work", "news", "parcels", "weather", "prices",
                                  "ledger"])
@pytest.mark.parametrize("language", LANGUAGES)
def test_without_words_a_program_says_how_it_is_used(node_modules, language, name):
    tutorials = Tutorials("amqp://x@127.0.0.1:1/", node_modules)
    command = tutorials.command(language, name, [])
    done = subprocess.run(command, env=tutorials.env, capture_output=True, text=True,
                          timeout=TIMEOUT_S)
    assert done.returncode == 1 and name in done.stderr and "Traceback" not in done.stderr

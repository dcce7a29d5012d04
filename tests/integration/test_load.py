# SPDX-License-Identifier: Apache-2.0
"""Everything at once against one broker: producers with and without confirms, transactions,
consumers that acknowledge, refuse, or vanish, connections and topology that come and go over TCP
and TLS, reloads, a backlog beyond the memory mark, and a restart. Nothing that was confirmed or
committed is lost, whoever interferes. Under the thread sanitizer this is what the broker's threads are seen
with; it says the same of every other build."""

import shutil
import threading

import pytest

from support import amqp, broker as brokers

pytestmark = pytest.mark.bourse_only

TIMEOUT_S = 60
BODY_SIZE = 4000
MESSAGES = 3000     # of each producer; four bring 48 MB
WINDOW = 50


def body(producer, number):
    return (b"%s %06d " % (producer.encode(), number)).ljust(BODY_SIZE, b".")


class Load:
    """A broker, a way to log in, and the threads that use it."""

    def __init__(self, broker, authority, password):
        self.broker, self.authority, self.password = broker, authority, password
        self.over = threading.Event()
        self.threads, self.failures = [], []
        self.promised = set()       # bodies that were confirmed or committed
        self.seen = set()

    def open(self, tls=False):
        """Not through broker.connect: its list of connections belongs to the main thread."""
        context = self.authority.client_context() if tls else None
        address = self.broker.amqps if tls else self.broker.amqp
        connection = amqp.Connection(address, tls=context, timeout_s=TIMEOUT_S)
        return connection.open(user="u", password=self.password)

    def start(self, work, *arguments):
        """Runs `work` in a thread of its own; what it raises is the test's failure."""
        def run():
            try:
                work(*arguments)
            except Exception as error:      # pylint: disable=broad-except
                self.failures.append((work.__name__, arguments, error))
                raise
        thread = threading.Thread(target=run, daemon=True)
        self.threads.append(thread)
        thread.start()
        return thread

    def finish(self, threads):
        for thread in threads:
            thread.join(TIMEOUT_S)
            assert not thread.is_alive(), "it hangs"
        assert not self.failures, self.failures

    def declare(self):
        connection = self.open()
        connection.channel().declare("load", durable=True)
        connection.close()

    # -- those who publish

    def publish_with_confirms(self, name, tls):
        connection = self.open(tls)
        channel = connection.channel()
        channel.call("confirm.select")
        confirmed = 0
        for number in range(1, MESSAGES + 1):
            channel.publish("", "load", body(name, number), delivery_mode=2)
            while number - confirmed >= WINDOW or (number == MESSAGES and confirmed < number):
                confirmed = channel.expect("basic.ack").delivery_tag
        self.promised.update(body(name, number) for number in range(1, MESSAGES + 1))
        connection.close()

    def publish_in_transactions(self, name, tls):
        connection = self.open(tls)
        channel = connection.channel()
        channel.call("tx.select")
        for number in range(1, MESSAGES + 1):
            channel.publish("", "load", body(name, number), delivery_mode=2)
            if number % WINDOW == 0:
                channel.call("tx.rollback" if number % (4 * WINDOW) == 0 else "tx.commit")
        kept = [number for number in range(1, MESSAGES + 1)
                if (number - 1) // WINDOW % 4 != 3]
        self.promised.update(body(name, number) for number in kept)
        connection.close()

    def publish_without_confirms(self):
        """A topic with several queues, transient, and a return now and then."""
        connection = self.open()
        channel = connection.channel()
        channel.call("exchange.declare", exchange="news", type="topic", auto_delete=True)
        queues = [channel.temp_queue() for _ in range(3)]
        for queue in queues:
            channel.bind(queue, "news", "a.#")
            channel.consume(queue, no_ack=True)
        for number in range(MESSAGES // 4):
            channel.publish("news", "a.b", b"%d" % number)
            channel.publish("news", "nobody", b"", mandatory=True)
        wanted = len(queues) * (MESSAGES // 4)
        while wanted > 0:
            wanted -= channel.expect("basic.deliver", "basic.return").name == "basic.deliver"
        connection.close()

    # -- those who take

    def take(self, tls):
        """Acknowledges nine in ten, gives the tenth back once, until nobody publishes any more."""
        connection = self.open(tls)
        channel = connection.channel()
        channel.call("basic.qos", prefetch_count=100)
        channel.consume("load")
        count = 0
        while True:
            try:
                delivery = channel.delivery(timeout_s=0.2)
            except amqp.Unexpected:
                if self.over.is_set():
                    break
                continue
            count += 1
            if count % 10 == 0 and not delivery.redelivered:
                channel.nack(delivery.delivery_tag)
                continue
            self.seen.add(delivery.body)
            channel.ack(delivery.delivery_tag)
        channel.ping()
        connection.close()

    def take_and_vanish(self):
        """Takes some, acknowledges none, and is gone; again and again."""
        while not self.over.is_set():
            connection = self.open()
            channel = connection.channel()
            channel.call("basic.qos", prefetch_count=20)
            channel.consume("load")
            try:
                channel.delivery(timeout_s=0.2)
            except amqp.Unexpected:
                pass
            connection.drop()

    # -- those who disturb

    def come_and_go(self, tls):
        while not self.over.is_set():
            connection = self.open(tls)
            channel = connection.channel()
            queue = amqp.unique("passing")
            channel.declare(queue, durable=True)
            channel.bind(queue, "amq.topic", "x.*")
            channel.publish("amq.topic", "x.y", b"z", delivery_mode=2)
            channel.delete(queue)
            connection.close()

    def reload(self):
        while not self.over.is_set():
            self.broker.reload(r"config\.reloaded")


@pytest.fixture
def start(tmp_path, authority, write_config, canaries):
    """start() serves the file; again after that broker has stopped, on the same directory."""
    for name in ("server.pem", "server.key"):
        shutil.copy(authority.path(name), tmp_path / name)
    config = write_config(brokers.LITTLE_MEMORY, ["u"])
    started = []

    def serve():
        started.append(brokers.Bourse(config, data_dir=tmp_path / "data"))
        return Load(started[-1], authority, canaries["u"])

    yield serve
    for broker in started:
        if broker.process.poll() is None:
            broker.stop()


def test_nothing_promised_is_lost_whoever_interferes(start):
    load = start()
    load.declare()
    publishers = [load.start(load.publish_with_confirms, "plain", False),
                  load.start(load.publish_with_confirms, "tls", True),
                  load.start(load.publish_in_transactions, "tx", False),
                  load.start(load.publish_without_confirms)]
    others = [load.start(load.take, False), load.start(load.take, True),
              load.start(load.take_and_vanish), load.start(load.come_and_go, False),
              load.start(load.come_and_go, True), load.start(load.reload)]
    load.finish(publishers)
    load.over.set()
    load.finish(others)
    load.broker.stop()

    after = start()
    channel = after.open().channel()
    left = channel.drain("load")
    channel.connection.close()
    missing = load.promised - load.seen - set(left)
    assert not missing, f"{len(missing)} of {len(load.promised)} are lost"
    assert load.seen | set(left) <= load.promised, "what was rolled back came"
    after.broker.stop()


# With nobody to take them the messages leave memory, and come back from the disk in order.
def test_a_backlog_beyond_the_memory_mark_comes_back_through_a_restart(start):
    load = start()
    load.declare()
    names = ("a", "b", "c", "d")
    load.finish([load.start(load.publish_with_confirms, name, name in "bd") for name in names])
    load.broker.stop()

    after = start()
    bodies = after.open(tls=True).channel()
    bodies.call("basic.qos", prefetch_count=100)
    bodies.consume("load")
    got = {name: [] for name in names}
    for number in range(len(names) * MESSAGES):
        delivery = bodies.delivery()
        got[delivery.body[:1].decode()].append(delivery.body)
        if number % 50 == 49:
            bodies.ack(delivery.delivery_tag, multiple=True)
    bodies.connection.close()
    for name in names:
        assert got[name] == [body(name, number) for number in range(1, MESSAGES + 1)]
    after.broker.stop()

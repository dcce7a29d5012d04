# SPDX-License-Identifier: Apache-2.0
"""The same traffic is traced by Debian's rabbitmq-server and by Bourse, and the traces are compared
field by field with their types. Differences on purpose are those of
docs/differences-from-rabbitmq.md."""

import collections
import re

import pytest

from support import broker as brokers, differences, wire
from support.api import Api
from support.wire import Typed

pytestmark = [pytest.mark.bourse_only,
              pytest.mark.skipif(not brokers.RabbitMQ.installed(),
                                 reason="rabbitmq-server is not installed")]

TIMEOUT_S = 20

# Every property, and header fields of every type that RabbitMQ keeps.
PROPERTIES = {
    "content_type": "text/plain", "content_encoding": "none", "delivery_mode": 2, "priority": 3,
    "correlation_id": "c-1", "reply_to": "somewhere", "expiration": "60000", "message_id": "m-1",
    "timestamp": 1700000000, "type": "t", "user_id": "guest", "app_id": "a", "cluster_id": "cl",
    "headers": {"text": "ä", "flag": True, "none": None, "list": [1, "two", [3]],
                "table": {"x": {"y": "z"}}, "byte": Typed("b", -5), "short": Typed("s", -300),
                "int": Typed("I", 70000), "long": Typed("l", 1 << 40), "float": Typed("f", 0.5),
                "double": Typed("d", 0.25), "time": Typed("T", 1700000000),
                "decimal": Typed("D", (2, 314)), "octets": Typed("x", b"\0\xff")},
}


LATE = 5000000000


def publish_of_every_kind(channel):
    """A message without and with properties, to each exchange, to several queues, and to none."""
    channel.publish("", "fire-a", b"plain")
    channel.publish("", "fire-a", b"", **PROPERTIES)
    channel.publish("fire-direct", "k", b"one queue")
    channel.publish("fire-fanout", "ignored", b"two queues")
    channel.publish("fire-fanout", "", b"an empty key", headers={})
    channel.publish("fire-direct", "nobody", b"no queue")
    channel.publish("fire-direct", "nobody", b"returned", mandatory=True)
    channel.expect("basic.return")
    channel.publish("fire-direct", "k", b"copies", headers={"CC": ["fire-x", "fire-y"],
                                                            "BCC": ["fire-z"]})
    channel.publish("fire-over", "k", b"through an exchange")
    channel.publish("fire-direct", "k", b"x" * 300000)


def take_in_every_way(channel):
    """Got, delivered, delivered again, without acknowledgement, and after a death."""
    for _ in range(2):
        channel.call("basic.get", queue="fire-b", no_ack=False)
    channel.call("basic.recover", requeue=True)
    channel.call("basic.get", queue="fire-b", no_ack=True)
    channel.call("basic.qos", prefetch_count=1)
    tag = channel.consume("fire-a", no_ack=False)
    method = channel.delivery()
    channel.nack(method.delivery_tag, requeue=True)
    again = channel.delivery()
    channel.call("basic.cancel", consumer_tag=tag)
    channel.ack(again.delivery_tag)
    channel.publish("", "fire-mortal", b"dies", headers={"kept": "yes"})
    dying = channel.call("basic.get", queue="fire-mortal", no_ack=False)
    channel.reject(dying.delivery_tag, requeue=False)
    for _ in range(50):
        if channel.call("basic.get", queue="fire-dead", no_ack=True).name == "basic.get-ok":
            break


def declare(channel):
    for name, kind in (("fire-direct", "direct"), ("fire-fanout", "fanout"),
                       ("fire-over", "fanout"), ("fire-late", "fanout")):
        channel.call("exchange.declare", exchange=name, type=kind)
    for name, arguments in (("fire-a", {}), ("fire-b", {}), ("fire-dead", {}), (
            "fire-mortal", {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": "fire-dead"})):
        channel.call("queue.declare", queue=name, durable=True, arguments=arguments)
    channel.call("exchange.bind", destination="fire-direct", source="fire-over")
    for queue, exchange, key in (("fire-a", "fire-direct", "k"), ("fire-a", "fire-fanout", ""),
                                 ("fire-b", "fire-fanout", ""), ("fire-b", "fire-direct", "fire-z")):
        channel.bind(queue, exchange, key)


def played(running, switch_on):
    """The traces of all of it, by their routing keys, in their order."""
    observer = running.open()
    watch = observer.channel()
    watch.call("queue.declare", queue="fire-traces", exclusive=True)
    watch.bind("fire-traces", "amq.rabbitmq.trace", "#")
    connection = running.open()
    channel = connection.channel()
    declare(channel)
    channel.publish("", "fire-a", b"before it was switched on")
    channel.call("basic.get", queue="fire-a", no_ack=True)
    switch_on()
    # A channel learns of it when it begins.
    channel = connection.channel()
    publish_of_every_kind(channel)
    take_in_every_way(channel)
    channel.publish("fire-late", "", b"", timestamp=LATE)
    channel.publish("fire-fanout", "the last one", b"")
    watch.consume("fire-traces", no_ack=True)
    traces = collections.defaultdict(list)
    is_last = False
    while not is_last:
        trace = watch.delivery(timeout_s=TIMEOUT_S)
        fields = described(trace)
        traces[trace.routing_key].append(fields)
        is_last = "'the last one'" in repr(fields["headers"]["routing_keys"])
    observer.drop()
    connection.drop()
    return traces


def without_deaths(value):
    """Without the time of a death, and what the difference `x-last-death` is about."""
    if isinstance(value, Typed):
        return Typed(value.letter, without_deaths(value.value))
    if isinstance(value, list):
        return [without_deaths(item) for item in value]
    if not isinstance(value, dict):
        return value
    return {name: "a time" if name == "time" and "reason" in value else without_deaths(item)
            for name, item in value.items() if not name.startswith("x-last-death-")}


def described(trace):
    """Everything about it, with what is another one in every run made alike."""
    size, properties = wire.decode_header(trace.raw_header, typed=True)
    headers = without_deaths(properties.pop("headers"))
    for name, pattern in (("node", r"^\w+@[\w.-]+$"),
                          ("connection", r"^127\.0\.0\.1:\d+ -> 127\.0\.0\.1:\d+$")):
        value = headers[name]
        assert value.letter == "S" and re.match(pattern, value.value), (name, value)
        headers[name] = name
    if "routed_queues" in headers:
        headers["routed_queues"] = sorted(repr(queue) for queue in headers["routed_queues"].value)
    assert size == len(trace.body)
    return {"exchange": trace.exchange, "key": trace.routing_key, "redelivered": trace.redelivered,
            "body": trace.body[:40], "size": size, "properties": properties, "headers": headers}


@pytest.fixture(name="all_traces", scope="module")
def fixture_all_traces():
    """Those of RabbitMQ, and ours."""
    with brokers.RabbitMQ() as oracle:
        theirs = played(oracle, lambda: oracle.ctl("trace_on"))
    with brokers.Bourse(listen=("amqp", "http")) as broker:
        api = Api(broker.addresses["http"][0])

        def switch_on():
            assert api.call("PUT", "vhosts/%2F", {"tracing": True})[0] == 204

        yield theirs, played(broker, switch_on)


@pytest.fixture(name="traces")
def fixture_traces(all_traces):
    return tuple({key: found for key, found in traces.items() if key != "publish.fire-late"}
                 for traces in all_traces)


@pytest.fixture(name="late_traces")
def fixture_late_traces(all_traces):
    return tuple(traces["publish.fire-late"] for traces in all_traces)


def test_both_trace_the_same_messages(traces):
    theirs, ours = traces
    assert {key: len(found) for key, found in theirs.items()} == {
        key: len(found) for key, found in ours.items()}


def test_every_field_of_every_trace_is_the_same(traces):
    theirs, ours = traces
    different = [(key, number, name, one[name], other[name])
                 for key, expected in theirs.items()
                 for number, (one, other) in enumerate(zip(expected, ours[key]))
                 for name in sorted(one.keys() | other.keys()) if one[name] != other[name]]
    assert different == []


# The difference `late-timestamp` of the list.
def test_a_timestamp_that_is_too_late_for_four_octets_is_kept(late_traces):
    theirs, ours = ([trace["headers"]["properties"].value["timestamp"] for trace in traces]
                    for traces in late_traces)
    assert "late-timestamp" in differences.listed()
    assert ours == [Typed("l", LATE)] and theirs == [Typed("I", LATE - (1 << 32))]

# SPDX-License-Identifier: Apache-2.0
"""x-arguments of queues and consumers: every row's type, range and reason of refusal."""

import pytest

from support import amqp, wire

TEN_YEARS_MS = 315_360_000_000

# Declares that succeed.
GOOD = [
    ("x-expires", 1), ("x-expires", wire.Typed("l", TEN_YEARS_MS)),
    ("x-expires", wire.Typed("b", 5)),
    ("x-message-ttl", 0), ("x-message-ttl", wire.Typed("l", TEN_YEARS_MS)),
    ("x-max-length", 0), ("x-max-length", wire.Typed("l", 2**40)),
    ("x-max-length-bytes", 0), ("x-max-length-bytes", wire.Typed("l", 2**40)),
    ("x-overflow", "drop-head"), ("x-overflow", "reject-publish"),
    ("x-overflow", "reject-publish-dlx"),
    ("x-dead-letter-exchange", ""), ("x-dead-letter-exchange", "need-not-exist"),
    ("x-max-priority", 0), ("x-max-priority", 1), ("x-max-priority", 255),
    ("x-single-active-consumer", True), ("x-single-active-consumer", False),
    ("x-queue-type", "classic"), ("x-queue-version", 2),
    ("x-unknown", 5), ("anything", "else"), ("x-custom", {"a": [1, None]}),
]

GOOD_BOURSE = [
    ("x-consumer-timeout", 0), ("x-consumer-timeout", 1000),
    ("x-delivery-limit", -1), ("x-delivery-limit", 0), ("x-delivery-limit", 20),
    ("x-delayed-retry-type", "all"), ("x-delayed-retry-type", "failed"),
    ("x-delayed-retry-type", "returned"), ("x-delayed-retry-type", "disabled"),
    ("x-delayed-retry-min", 1), ("x-delayed-retry-max", 1000),
]


def declare_options(extra):
    return {"queue": amqp.unique("q"), "exclusive": True, "arguments": extra}


@pytest.mark.parametrize("name, value", GOOD)
def test_a_valid_argument_is_accepted(ch, name, value):
    ch.call("queue.declare", **declare_options({name: value}))


@pytest.mark.differs("3.10 keeps these to quorum queues")
@pytest.mark.parametrize("name, value", GOOD_BOURSE)
def test_arguments_of_quorum_queues_are_accepted_on_every_queue(ch, name, value):
    ch.call("queue.declare", **declare_options({name: value}))


# argument, value, a word of the reason (None: RabbitMQ's own wording differs by version)
BAD = [
    ("x-expires", 0, "value_zero"), ("x-expires", -1, "value_negative"),
    ("x-expires", wire.Typed("l", TEN_YEARS_MS + 1), "value_too_large"),
    ("x-expires", "60000", None), ("x-expires", 1.5, None), ("x-expires", True, None),
    ("x-message-ttl", -1, "value_negative"),
    ("x-message-ttl", wire.Typed("l", TEN_YEARS_MS + 1), "value_too_large"),
    ("x-message-ttl", "60000", None), ("x-message-ttl", None, None),
    ("x-max-length", -1, "value_negative"), ("x-max-length", "5", None),
    ("x-max-length", wire.Typed("l", -2**63), "value_negative"),
    ("x-max-length-bytes", -1, "value_negative"), ("x-max-length-bytes", "5", None),
    ("x-overflow", "drop-tail", "invalid_overflow"), ("x-overflow", 5, None),
    ("x-dead-letter-exchange", 5, None),
    ("x-dead-letter-routing-key", "k", "routing_key_but_no_dlx_defined"),
    ("x-dead-letter-routing-key", 5, None),
    ("x-max-priority", 256, "max_value_exceeded"), ("x-max-priority", -1, None),
    ("x-max-priority", "5", None),
    ("x-single-active-consumer", "true", None), ("x-single-active-consumer", 1, None),
    ("x-queue-type", "unheard-of", None), ("x-queue-type", 5, None),
    ("x-queue-mode", "fast", None),
    ("x-queue-version", 9, None),
]

BAD_BOURSE = [
    ("x-consumer-timeout", -1, "value_negative"), ("x-consumer-timeout", "5", None),
    ("x-delivery-limit", "3", None),
    ("x-delayed-retry-type", "sometimes", None), ("x-delayed-retry-min", 0, None),
    ("x-delayed-retry-max", 0, None), ("x-delayed-retry-min", "1s", None),
    ("x-queue-type", "stream", None), ("x-max-age", "1D", None),
    ("x-stream-max-segment-size-bytes", 5, None), ("x-stream-filter-size-bytes", 16, None),
]


def refused(ch, name, value, reason):
    options = declare_options({name: value})
    close = ch.refused("queue.declare", 406, None, **options)
    assert close.reply_text.startswith("PRECONDITION_FAILED - invalid"), close
    assert reason is None or reason in close.reply_text, close
    ch.refused("queue.declare", 404, queue=options["queue"], passive=True)
    return close


@pytest.mark.parametrize("name, value, reason", BAD)
def test_an_invalid_argument_is_406_and_creates_nothing(ch, name, value, reason):
    refused(ch, name, value, reason)


@pytest.mark.differs("arguments of later versions")
@pytest.mark.parametrize("name, value, reason", BAD_BOURSE)
def test_an_invalid_argument_of_later_versions_is_406(ch, name, value, reason):
    refused(ch, name, value, reason)


@pytest.mark.parametrize("name, value", [("x-expires", 0), ("x-message-ttl", -1),
                                         ("x-max-length", -1)])
def test_the_refusal_names_argument_and_queue(ch, name, value):
    options = declare_options({name: value})
    close = ch.refused("queue.declare", 406, None, **options)
    assert close.reply_text.startswith(f"PRECONDITION_FAILED - invalid arg '{name}' for queue "
                                       f"'{options['queue']}' in vhost '/': ")


def test_a_dead_letter_routing_key_goes_with_an_exchange(ch):
    ch.call("queue.declare", **declare_options({"x-dead-letter-exchange": "",
                                                "x-dead-letter-routing-key": "k"}))


# -- quorum queues: what cannot be is refused

QUORUM_REFUSED = [
    {"durable": False}, {"durable": True, "exclusive": True}, {"durable": True, "queue": ""},
    {"durable": True, "arguments": {"x-queue-type": "quorum", "x-max-priority": 5}},
]


@pytest.mark.bourse_only
@pytest.mark.parametrize("options", QUORUM_REFUSED)
def test_an_impossible_quorum_queue_is_406(ch, options):
    ch.refused("queue.declare", 406, None, **{"queue": amqp.unique("q"),
                                              "arguments": {"x-queue-type": "quorum"}, **options})


@pytest.mark.bourse_only
def test_a_durable_quorum_queue_is_declared(ch):
    name = amqp.unique("q")
    arguments = {"x-queue-type": "quorum", "x-dead-letter-strategy": "at-least-once",
                 "x-quorum-initial-group-size": 1, "x-overflow": "reject-publish",
                 "x-dead-letter-exchange": ""}
    ch.declare(name, durable=True, arguments=arguments)
    ch.declare(name, durable=True, arguments=arguments)
    ch.call("queue.delete", queue=name)


# -- consumer arguments

@pytest.mark.parametrize("arguments", [
    {"x-priority": 10}, {"x-priority": -10}, {"x-priority": wire.Typed("l", 2**40)},
    {"x-cancel-on-ha-failover": True}, {"x-unknown": "fine"},
])
def test_a_valid_consumer_argument_is_accepted(ch, arguments):
    ch.consume(ch.temp_queue(), arguments=arguments)


@pytest.mark.parametrize("value", ["high", 1.5])
def test_a_consumer_priority_that_is_no_integer_is_406(ch, value):
    ch.refused("basic.consume", 406, None, queue=ch.temp_queue(), arguments={"x-priority": value})

# SPDX-License-Identifier: Apache-2.0
"""Which situation gives which reply code and text. Clients match on both, letter for letter."""

import pytest

from support import amqp

LOCKED = ("RESOURCE_LOCKED - cannot obtain exclusive access to locked queue '{}' in vhost '/'. It "
          "could be originally declared on another connection or the exclusive property value does "
          "not match that of the original declaration.")


def missing_queue(name):
    return f"NOT_FOUND - no queue '{name}' in vhost '/'"


def missing_exchange(name):
    return f"NOT_FOUND - no exchange '{name}' in vhost '/'"


# -- 404

MISSING_QUEUE = [
    ("queue.declare", {"queue": "gone", "passive": True}),
    ("queue.declare", {"queue": "gone", "passive": True, "nowait": True}),
    ("queue.bind", {"queue": "gone", "exchange": "amq.direct"}),
    ("queue.purge", {"queue": "gone"}),
    ("basic.get", {"queue": "gone"}),
    ("basic.consume", {"queue": "gone"}),
]


@pytest.mark.parametrize("name, arguments", MISSING_QUEUE, ids=lambda value: str(value)[:40])
def test_a_missing_queue_is_404(ch, name, arguments):
    ch.refused(name, 404, missing_queue("gone"), **arguments)


MISSING_EXCHANGE = [
    ("exchange.declare", {"exchange": "gone", "type": "direct", "passive": True}),
    ("exchange.declare", {"exchange": "gone", "type": "direct", "passive": True, "nowait": True}),
    ("exchange.declare", {"exchange": "gone", "type": "", "passive": True}),
    ("exchange.bind", {"destination": "gone", "source": "amq.direct"}),
    ("exchange.bind", {"destination": "amq.direct", "source": "gone"}),
]


@pytest.mark.parametrize("name, arguments", MISSING_EXCHANGE, ids=lambda value: str(value)[:40])
def test_a_missing_exchange_is_404(ch, name, arguments):
    ch.refused(name, 404, missing_exchange("gone"), **arguments)


def test_binding_a_queue_to_a_missing_exchange_is_404(ch):
    ch.refused("queue.bind", 404, missing_exchange("gone"), queue=ch.temp_queue(), exchange="gone")


def test_publishing_to_a_missing_exchange_is_404(ch):
    ch.publish("gone", "key", b"lost")
    close = ch.expect_close(404, missing_exchange("gone"))
    assert (close.class_id, close.method_id) == (60, 40)


NO_NAME = [("queue.bind", {"exchange": "amq.direct"}), ("queue.purge", {}),
           ("queue.unbind", {"exchange": "amq.direct"}), ("queue.delete", {}),
           ("basic.get", {}), ("basic.consume", {})]


@pytest.mark.parametrize("name, arguments", NO_NAME, ids=[row[0] for row in NO_NAME])
def test_an_empty_queue_name_without_a_declared_queue_is_404(ch, name, arguments):
    ch.refused(name, 404, "NOT_FOUND - no previously declared queue", **arguments)


# -- 403

def test_declaring_a_queue_with_the_reserved_prefix_is_403(ch):
    ch.refused("queue.declare", 403, "ACCESS_REFUSED - queue name 'amq.mine' contains reserved "
               "prefix 'amq.*'", queue="amq.mine")


def test_the_reserved_prefix_is_refused_even_for_a_queue_that_exists(ch):
    name = ch.temp_queue()
    ch.refused("queue.declare", 403, f"ACCESS_REFUSED - queue name '{name}' contains reserved "
               "prefix 'amq.*'", queue=name, exclusive=True)


def test_declaring_an_exchange_with_the_reserved_prefix_is_403(ch):
    ch.refused("exchange.declare", 403, "ACCESS_REFUSED - exchange name 'amq.mine' contains "
               "reserved prefix 'amq.*'", exchange="amq.mine", type="direct")


DEFAULT_EXCHANGE = [
    ("exchange.declare", {"exchange": "", "type": "direct", "durable": True}),
    ("exchange.delete", {"exchange": ""}),
    ("exchange.bind", {"destination": "", "source": "amq.direct"}),
    ("exchange.bind", {"destination": "amq.direct", "source": ""}),
    ("exchange.unbind", {"destination": "", "source": "amq.direct"}),
]


@pytest.mark.parametrize("name, arguments", DEFAULT_EXCHANGE, ids=lambda value: str(value)[:50])
def test_the_default_exchange_is_not_to_be_touched(ch, name, arguments):
    ch.refused(name, 403, "ACCESS_REFUSED - operation not permitted on the default exchange",
               **arguments)


@pytest.mark.parametrize("name", ["queue.bind", "queue.unbind"])
def test_binding_a_queue_to_the_default_exchange_is_403(ch, name):
    ch.refused(name, 403, "ACCESS_REFUSED - operation not permitted on the default exchange",
               queue=ch.temp_queue(), exchange="", routing_key="k")


@pytest.mark.parametrize("exchange", ["amq.direct", "amq.fanout", "amq.topic", "amq.headers",
                                      "amq.match", "amq.rabbitmq.trace"])
def test_a_predeclared_exchange_cannot_be_deleted(ch, exchange):
    ch.refused("exchange.delete", 403, f"ACCESS_REFUSED - deletion of system exchange '{exchange}' "
               "in vhost '/' not allowed", exchange=exchange)


def test_publishing_to_an_internal_exchange_is_403(ch):
    name = ch.temp_exchange(internal=True)
    ch.publish(name, "k", b"x")
    ch.expect_close(403, f"ACCESS_REFUSED - cannot publish to internal exchange '{name}' in "
                    "vhost '/'")


def test_consuming_beside_an_exclusive_consumer_is_403(ch, conn):
    queue = ch.temp_queue()
    ch.consume(queue, exclusive=True)
    conn.channel().refused("basic.consume",
                           403, f"ACCESS_REFUSED - queue '{queue}' in vhost '/' in "
                           "exclusive use", queue=queue)


def test_an_exclusive_consumer_beside_others_is_403(ch, conn):
    queue = ch.temp_queue()
    ch.consume(queue)
    conn.channel().refused("basic.consume",
                           403, f"ACCESS_REFUSED - queue '{queue}' in vhost '/' in "
                           "exclusive use", queue=queue, exclusive=True)


# -- 405

LOCKED_OPERATIONS = [
    ("queue.declare", {}), ("queue.declare", {"passive": True}),
    ("queue.declare", {"exclusive": True}), ("queue.declare", {"durable": True}),
    ("queue.bind", {"exchange": "amq.direct"}), ("queue.purge", {}), ("queue.delete", {}),
    ("queue.delete", {"if_empty": True}),
    ("basic.get", {}), ("basic.consume", {}),
]


@pytest.mark.parametrize("name, arguments", LOCKED_OPERATIONS, ids=lambda value: str(value)[:40])
def test_a_queue_exclusive_to_another_connection_is_405(ch, connect, name, arguments):
    queue = amqp.unique("locked")
    ch.declare(queue, exclusive=True)
    connect().channel().refused(name, 405, LOCKED.format(queue), queue=queue, **arguments)


# Errata 8: exclusivity is looked at before equivalence, on the owner's connection too.
@pytest.mark.parametrize("was, now", [(True, False), (False, True)])
def test_redeclaring_with_another_exclusive_flag_is_405(ch, was, now):
    queue = amqp.unique("exclusive")
    ch.declare(queue, exclusive=was, auto_delete=True)
    ch.refused("queue.declare", 405, LOCKED.format(queue), queue=queue, exclusive=now,
               auto_delete=False, durable=True)


# -- 406

def precondition(text):
    return "PRECONDITION_FAILED - " + text


def test_redeclaring_a_queue_with_other_properties_is_406(ch):
    queue = amqp.unique("q")
    ch.declare(queue, durable=True, auto_delete=False)
    try:
        for changed, text in (
                ({},
                 "'durable' for queue '{}' in vhost '/': received 'false' but current is 'true'"),
                ({"durable": True,
                  "auto_delete": True}, "'auto_delete' for queue '{}' in vhost '/': "
                 "received 'true' but current is 'false'")):
            ch.refused("queue.declare", 406,
                       precondition("inequivalent arg " + text.format(queue)), queue=queue,
                       **changed)
    finally:
        ch.call("queue.delete", queue=queue)


@pytest.mark.parametrize("was, now, text", [
    ({}, {"x-message-ttl": 5}, "received the value '5' of type 'signedint' but current is none"),
    ({"x-message-ttl": 5}, {}, "received none but current is the value '5' of type 'signedint'"),
    ({"x-message-ttl": 5}, {"x-message-ttl": 6}, "received '6' but current is '5'"),
])
def test_redeclaring_a_queue_with_other_arguments_is_406(ch, was, now, text):
    queue = amqp.unique("q")
    ch.declare(queue, exclusive=True, arguments=was)
    ch.refused("queue.declare", 406, precondition(
        f"inequivalent arg 'x-message-ttl' for queue '{queue}' in vhost '/': {text}"),
        queue=queue, exclusive=True, arguments=now)


@pytest.mark.parametrize("changed, text", [
    ({"type": "fanout"}, "'type' for exchange '{}' in vhost '/': received 'fanout' but current is "
     "'direct'"),
    ({"durable": True}, "'durable' for exchange '{}' in vhost '/': received 'true' but current is "
     "'false'"),
    ({"auto_delete": True}, "'auto_delete' for exchange '{}' in vhost '/': received 'true' but "
     "current is 'false'"),
    ({"internal": True},
     "'internal' for exchange '{}' in vhost '/': received 'true' but current is "
     "'false'"),
    ({"arguments": {"alternate-exchange": "ae"}}, "'alternate-exchange' for exchange '{}' in vhost "
     "'/': received the value 'ae' of type 'longstr' but current is none"),
])
def test_redeclaring_an_exchange_with_other_properties_is_406(ch, changed, text):
    name = ch.temp_exchange()
    declared = {"exchange": name, "type": "direct", **changed}
    ch.refused("exchange.declare", 406, precondition("inequivalent arg " + text.format(name)),
               **declared)
    ch.call("exchange.delete", exchange=name)


@pytest.mark.differs("503 on the connection in 3.10")
def test_an_unknown_exchange_type_is_406(ch):
    ch.refused("exchange.declare", 406, precondition("unknown exchange type 'x-nonsense'"),
               exchange=amqp.unique("x"), type="x-nonsense")


def test_deleting_a_queue_in_use_or_not_empty_is_406(ch, conn):
    queue = ch.temp_queue()
    ch.publish("", queue, b"x")
    ch.refused("queue.delete", 406, precondition(f"queue '{queue}' in vhost '/' not empty"),
               queue=queue, if_empty=True)
    conn.channel(40).consume(queue)
    ch.refused("queue.delete", 406, precondition(f"queue '{queue}' in vhost '/' in use"),
               queue=queue, if_unused=True)


# if-empty is looked at first.
def test_of_two_unmet_conditions_of_delete_the_first_is_not_empty(ch, conn):
    queue, consumer = ch.temp_queue(), conn.channel()
    consumer.call("basic.qos", prefetch_count=1)
    consumer.consume(queue)
    ch.publish("", queue, b"out for delivery")
    ch.publish("", queue, b"ready")
    consumer.delivery()
    ch.ping()
    ch.refused("queue.delete", 406, precondition(f"queue '{queue}' in vhost '/' not empty"),
               queue=queue, if_empty=True, if_unused=True)


def test_deleting_an_exchange_that_is_a_source_is_406_with_if_unused(ch):
    name = ch.temp_exchange()
    ch.bind(ch.temp_queue(), name, "k")
    ch.refused("exchange.delete", 406, precondition(f"exchange '{name}' in vhost '/' in use"),
               exchange=name, if_unused=True)


@pytest.mark.parametrize("name, arguments", [
    ("basic.ack", {}), ("basic.ack", {"multiple": True}), ("basic.reject", {"requeue": True}),
    ("basic.nack", {}), ("basic.nack", {"multiple": True, "requeue": True}),
])
def test_an_unknown_delivery_tag_is_406(ch, name, arguments):
    ch.refused(name, 406, precondition("unknown delivery tag 7"), delivery_tag=7, **arguments)


# Tag 0 means "everything" only with multiple.
@pytest.mark.parametrize("name", ["basic.ack", "basic.reject", "basic.nack"])
def test_delivery_tag_0_without_multiple_is_unknown(ch, name):
    ch.refused(name, 406, precondition("unknown delivery tag 0"), delivery_tag=0)


def test_acknowledging_twice_is_406(ch):
    queue = ch.temp_queue()
    ch.publish("", queue, b"x")
    ch.ack(ch.get(queue, no_ack=False).delivery_tag)
    ch.refused("basic.ack", 406, precondition("unknown delivery tag 1"), delivery_tag=1)


# After one multiple ack the tags below are as unknown as the tag itself.
def test_acknowledging_below_a_multiple_ack_is_406(ch):
    queue = ch.temp_queue()
    for _ in range(3):
        ch.publish("", queue, b"x")
        ch.get(queue, no_ack=False)
    ch.ack(2, multiple=True)
    ch.refused("basic.ack", 406, precondition("unknown delivery tag 1"), delivery_tag=1)


def test_tx_and_confirm_do_not_mix(ch):
    ch.call("confirm.select")
    ch.refused("tx.select", 406, precondition("cannot switch from confirm to tx mode"))
    ch.call("tx.select")
    ch.refused("confirm.select", 406, precondition("cannot switch from tx to confirm mode"))


@pytest.mark.parametrize("name", ["tx.commit", "tx.rollback"])
def test_a_transaction_method_without_select_is_406(ch, name):
    ch.refused(name, 406, precondition("channel is not transactional"))


def refused_publish(ch, code, text, key="k", exchange="amq.direct", **properties):
    ch.publish(exchange, key, b"x", **properties)
    close = ch.expect_close(code, text)
    ch.call("channel.open")
    return close


def test_a_user_id_other_than_the_login_is_406(ch):
    refused_publish(ch,
                    406, precondition("user_id property set to 'root' but authenticated user was "
                                          "'guest'"), user_id="root")


def test_the_own_user_id_is_accepted(ch):
    queue = ch.temp_queue()
    ch.publish("", queue, b"x", user_id="guest")
    assert ch.get(queue).properties == {"user_id": "guest"}


@pytest.mark.parametrize("expiration", ["abc", "-1", "1.5", "12h", "", " 5", "315360000001",
                                        "99999999999999999999"])
def test_a_bad_expiration_is_406(ch, expiration):
    close = refused_publish(ch, 406, None, expiration=expiration)
    assert close.reply_text.startswith(precondition(f"invalid expiration '{expiration}': ")), close


@pytest.mark.parametrize("expiration, reason", [
    ("abc", "no_integer"), ("-1", "value_negative"), ("12h", "leftover_string"),
])
def test_the_refusal_of_an_expiration_gives_the_reason(ch, expiration, reason):
    close = refused_publish(ch, 406, None, expiration=expiration)
    assert reason in close.reply_text


@pytest.mark.parametrize("header", ["CC", "BCC"])
@pytest.mark.parametrize("value", ["key", 5, {"a": 1}, True])
def test_cc_and_bcc_that_are_not_arrays_are_406(ch, header, value):
    close = refused_publish(ch, 406, None, headers={header: value})
    assert close.reply_text.startswith(precondition("invalid message: ")), close


# -- errors of the connection

@pytest.mark.parametrize("name, arguments, text", [
    ("basic.qos", {"prefetch_size": 10}, "NOT_IMPLEMENTED - prefetch_size!=0 (10)"),
    ("channel.flow", {"active": False}, "NOT_IMPLEMENTED - active=false"),
])
def test_what_is_not_implemented_is_540(ch, name, arguments, text):
    ch.send(name, **arguments)
    ch.connection.expect_close(540, text)


@pytest.mark.parametrize("name", ["basic.recover", "basic.recover-async"])
def test_recover_without_requeue_is_540(ch, name):
    ch.send(name, requeue=False)
    ch.connection.expect_close(540, "NOT_IMPLEMENTED - requeue=false")


def test_immediate_is_540(ch):
    ch.publish("amq.direct", "k", b"x", immediate=True)
    ch.connection.expect_close(540, "NOT_IMPLEMENTED - immediate=true")


# Names of 255 octets make a text that does not fit; it is cut to 255 octets, between characters.
@pytest.mark.differs("3.10 cuts inside a character")
def test_a_long_reply_text_is_cut_at_255_octets_and_stays_utf_8(ch):
    name = "ü" * 127
    close = ch.refused("queue.declare", 404, None, queue=name, passive=True)
    text = close.reply_text.encode("utf-8", "surrogateescape")
    assert 250 <= len(text) <= 255
    assert text.decode("utf-8").startswith("NOT_FOUND - no queue 'üü")

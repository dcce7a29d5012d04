# SPDX-License-Identifier: Apache-2.0
"""The shop of the example: its topology works, and its users may do what the file says and nothing
else, declare included."""

import pytest

pytestmark = pytest.mark.bourse_only

QUEUES = ["billing", "warehouse", "mail", "analytics", "orders.unrouted", "dlq"]
EXCHANGES = ["orders", "order-events", "orders.lost", "dead"]

KEYS = ["order.eu.placed", "order.us.placed", "order.eu.paid", "order.eu.shipped", "anything", ""]

# user → (queues to consume from, {exchange: keys that may be published})
MAY = {
    "checkout": ([], {"orders": ["order.eu.placed", "order.us.placed"]}),
    "billing": (["billing"], {"orders": ["order.eu.paid"]}),
    "warehouse": (["warehouse"], {"orders": KEYS}),
    "mailer": (["mail"], {}),
    "bi": (["analytics"], {}),
    "oncall": (["dlq"], {}),
}


@pytest.fixture
def as_user(shop, shop_broker):
    """as_user(name) is a channel of that user over TLS."""
    opened = []

    def channel(user):
        opened.append(shop.open(shop_broker, user))
        return opened[-1].channel()

    yield channel
    for conn in opened:
        conn.close()


@pytest.fixture
def tester(as_user):
    channel = as_user("tester")
    for queue in QUEUES:
        channel.call("queue.purge", queue=queue)
    return channel


def test_the_topology_of_the_file_is_there(tester):
    for exchange, kind in zip(EXCHANGES, ["topic", "fanout", "fanout", "topic"]):
        arguments = {"alternate-exchange": "orders.lost"} if exchange == "orders" else {}
        tester.call("exchange.declare", exchange=exchange, type=kind, durable=True,
                    arguments=arguments)
    for queue in QUEUES:
        assert tester.counts(queue) == (0, 0)


@pytest.mark.parametrize("key, expected", [
    ("order.eu.placed", ["billing", "warehouse", "mail", "analytics"]),
    ("order.asia.placed", ["warehouse", "mail", "analytics"]),
    ("order.eu.paid", ["warehouse"]), ("order", ["warehouse"]),
    ("something.else", ["orders.unrouted"]),
])
def test_a_message_reaches_the_queues_that_the_file_binds(tester, key, expected):
    tester.publish("orders", key, b"an order", mandatory=True)
    tester.ping()
    assert [queue for queue in QUEUES if tester.counts(queue)[0]] == [
        queue for queue in QUEUES if queue in expected]


def test_an_order_is_placed_billed_and_mailed(tester, as_user):
    tester.ping()
    checkout, billing, mailer = as_user("checkout"), as_user("billing"), as_user("mailer")
    checkout.call("confirm.select")
    checkout.publish("orders", "order.eu.placed", b"order 1", delivery_mode=2)
    checkout.expect("basic.ack")
    billing.consume("billing")
    order = billing.delivery()
    assert (order.exchange, order.routing_key, order.body) == ("orders", "order.eu.placed",
                                                               b"order 1")
    billing.publish("orders", "order.eu.paid", b"invoice 1")
    billing.ack(order.delivery_tag)
    billing.ping()
    assert mailer.get("mail").body == b"order 1"


@pytest.mark.parametrize("user", MAY)
def test_a_user_consumes_from_its_own_queues_only(as_user, user):
    channel = as_user(user)
    for queue in QUEUES:
        for name in ("queue.purge", "basic.get", "basic.consume"):
            if queue in MAY[user][0]:
                channel.call(name, queue=queue)
            else:
                channel.refused(name, 403, f"ACCESS_REFUSED - read access to queue '{queue}' in "
                                f"vhost 'shop' refused for user '{user}'", queue=queue)
    channel.call("channel.close")


@pytest.mark.parametrize("user", MAY)
def test_a_user_publishes_what_the_file_says_only(as_user, tester, user):
    channel = as_user(user)
    for exchange in EXCHANGES + ["", "amq.direct", "amq.topic", "amq.fanout"]:
        for key in KEYS:
            channel.publish(exchange, key, b"x")
            channel.send("channel.flow", active=True)
            answer = channel.expect("channel.flow-ok", "channel.close")
            if key in MAY[user][1].get(exchange, []):
                assert answer.name == "channel.flow-ok", answer
            else:
                assert answer.name == "channel.close" and answer.reply_code == 403, (exchange, key)
                channel.send("channel.close-ok")
                channel.call("channel.open")


@pytest.mark.parametrize("user", MAY)
def test_nobody_of_the_shop_may_change_its_topology(as_user, user):
    channel = as_user(user)
    for name, arguments in [
        ("queue.declare", {"queue": "mine"}), ("queue.declare", {"exclusive": True}),
        ("queue.declare", {"queue": "billing", "durable": True}),
        ("queue.delete", {"queue": "mail"}),
        ("exchange.declare", {"exchange": "mine", "type": "fanout"}),
        ("exchange.declare", {"exchange": "orders", "type": "topic", "durable": True}),
        ("exchange.delete", {"exchange": "orders"}),
        ("queue.bind", {"queue": "billing", "exchange": "orders", "routing_key": "#"}),
        ("queue.unbind",
         {"queue": "billing", "exchange": "orders", "routing_key": "order.eu.placed"}),
        ("exchange.bind", {"destination": "dead", "source": "orders"}),
        ("exchange.unbind", {"destination": "order-events", "source": "orders"}),
    ]:
        channel.refused(name, 403, None, **arguments)


# Certificates are for EXTERNAL only, passwords for PLAIN and AMQPLAIN only.
def test_a_certificate_user_has_no_password(shop, shop_broker):
    for password in ("", "billing", shop.passwords["tester"]):
        conn = shop_broker.connect(shop.tls("billing"))
        conn.read_start()
        conn.send_start_ok(user="billing", password=password)
        conn.expect_close(403, timeout_s=20)


@pytest.mark.parametrize("mechanism", ["PLAIN", "AMQPLAIN"])
def test_password_users_log_in_over_tls_and_plain(shop, shop_broker, mechanism):
    for tls in (shop.tls(), None):
        conn = shop_broker.connect(tls)
        conn.open(vhost="shop", user="oncall", password=shop.passwords["oncall"],
                  mechanism=mechanism)
        conn.close()

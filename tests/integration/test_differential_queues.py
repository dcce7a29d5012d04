# SPDX-License-Identifier: Apache-2.0
"""What becomes of messages in time and by failure, played to Debian's rabbitmq-server and to Bourse:
what arrives where, in which order, with which headers, and how publishers are answered.

`support/script.py` says what a step is and what a transcript shows; the differences that are on
purpose are listed in docs/differences-from-rabbitmq.md.
"""

import json

import pytest

import test_differential
from support import differences, wire
from support.script import (Script, arrive, call, confirms, depth, gone, publish, send, take,
                            verdicts)

SOURCE, DEAD = "life-source", "life-dead"
TEN_YEARS_MS = 315_360_000_000
TOO_LONG_MS = wire.Typed("l", TEN_YEARS_MS + 1)

TO_DEAD = {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": DEAD}


def declare(queue, arguments=None, exclusive=True, **options):
    return call("queue.declare", queue=queue, exclusive=exclusive, arguments=arguments or {},
                **options)


def source(**arguments):
    """A queue whose dead letters go to DEAD, and that one: arguments without their `x-`."""
    return [declare(DEAD), declare(SOURCE, {**TO_DEAD, **named(arguments)})]


def named(arguments):
    return {"x-" + name.replace("_", "-"): value for name, value in arguments.items()}


def say(*bodies, queue=SOURCE, **properties):
    return [publish("", queue, body, **properties) for body in bodies]


def exchange(name, kind="direct", **arguments):
    return call("exchange.declare", exchange=name, type=kind, auto_delete=True,
                arguments=arguments)


def bind(queue, name, key="", **arguments):
    return call("queue.bind", queue=queue, exchange=name, routing_key=key, arguments=arguments)


def consume(queue=SOURCE, tag="t", **options):
    return call("basic.consume", queue=queue, consumer_tag=tag, **options)


def reject(queue=SOURCE, count=1, **options):
    return arrive(queue, count, settle="reject", **options)


def get(queue=SOURCE, **options):
    return call("basic.get", queue=queue, **options)


TIME_TO_LIVE = [
    Script("a queue's time to live",
           *source(message_ttl=30), *say(b"1", b"2", b"3"), arrive(DEAD, 3), depth(SOURCE, 0)),
    Script("a message's expiration",
           *source(), *say(b"1", b"2", expiration="20", delivery_mode=2), arrive(DEAD, 2)),
    Script("the shorter of both",
           *source(message_ttl=20), *say(b"long", expiration="60000"), arrive(DEAD, 1),
           declare("life-other", {**TO_DEAD, "x-message-ttl": 60000}),
           *say(b"short", queue="life-other", expiration="20"), arrive(DEAD, 1)),
    Script("a short life behind a long one",
           *source(), *say(b"long", expiration="60000"), *say(b"short", expiration="20"),
           arrive(DEAD, 1, within_s=1.5, differs="ttl-anywhere"),
           arrive(SOURCE, 1), arrive(DEAD, 1, within_s=1.5, differs="ttl-anywhere")),
    Script("expired messages do not count",
           *source(), *say(b"1", b"2", expiration="20"), *say(b"stays"), depth(SOURCE, 1),
           arrive(SOURCE, 1), arrive(DEAD, 2)),
    Script("without a dead-letter exchange they are gone",
           declare(SOURCE, {"x-message-ttl": 20}), *say(b"1", b"2"), depth(SOURCE, 0),
           get(no_ack=True)),
    Script("a time of 0 without a consumer",
           *source(message_ttl=0), *say(b"1"), arrive(DEAD, 1), get(no_ack=True),
           *say(b"2", expiration="0"), arrive(DEAD, 1)),
    Script("a time of 0 and a consumer that waits",
           *source(message_ttl=0), consume(no_ack=True), *say(b"1"), take(1)),
    Script("a time of 0 and a consumer whose prefetch is used up",
           *source(message_ttl=0), call("basic.qos", prefetch_count=1), consume(), *say(b"1"),
           take(1), *say(b"2"), arrive(DEAD, 1), send("basic.ack", delivery_tag=1)),
    # The other queue's dead letters are the clock: what is dead by then tells how late it is.
    Script("what is handed out does not expire",
           *source(), *say(b"held", expiration="100"), get(),
           declare("life-clock", {**TO_DEAD, "x-message-ttl": 250}),
           *say(b"250 ms later", queue="life-clock"), arrive(DEAD, 1),
           send("basic.ack", delivery_tag=1), depth(DEAD, 0)),
    Script("requeueing keeps the deadline",
           *source(), *say(b"held", expiration="300"), get(),
           declare("life-clock", {**TO_DEAD, "x-message-ttl": 350}),
           *say(b"350 ms later", queue="life-clock"), arrive(DEAD, 1),
           send("basic.reject", delivery_tag=1, requeue=True),
           *say(b"after 100 ms more", queue="life-clock", expiration="100"), arrive(DEAD, 2)),
    Script("requeueing before the deadline",
           *source(), *say(b"held", expiration="300"), get(),
           send("basic.nack", delivery_tag=1, requeue=True), arrive(DEAD, 1)),
    Script("a lost channel keeps the deadline",
           *source(), *say(b"held", expiration="300"), get(channel=2), call("channel.close",
                                                                            channel=2),
           arrive(DEAD, 1)),
    Script("the order of deaths",
           *source(), *[publish("", SOURCE, str(number), expiration=str(20 + 40 * number))
                        for number in range(4)], arrive(DEAD, 4)),
    Script("a purge is no death",
           *source(message_ttl=60000), *say(b"1", b"2"), call("queue.purge", queue=SOURCE),
           call("queue.delete", queue=SOURCE), depth(DEAD, 0)),
    Script("the longest times",
           declare(SOURCE, {"x-message-ttl": wire.Typed("l", TEN_YEARS_MS)}),
           *say(b"1", expiration=str(TEN_YEARS_MS)), arrive(SOURCE, 1)),
    Script("expirations that are none",
           declare(SOURCE), *[publish("", SOURCE, b"x", expiration=text)
                              for text in ("-1", "1 ", " 1", "+1", "0x1", "1e3", "ten",
                                           str(TEN_YEARS_MS + 1))],
           publish("", SOURCE, b"x", expiration="9" * 30, differs="broken-texts")),
]

DEAD_LETTERS = [
    Script("rejected one by one",
           *source(), *say(b"1", b"2", b"3"), reject(count=3), arrive(DEAD, 3)),
    Script("who died last",
           *source(), *say(b"1"), reject(), arrive(DEAD, 1, differs="x-last-death")),
    Script("nacked together",
           *source(), *say(b"1", b"2", b"3"), get(), get(), get(),
           send("basic.nack", delivery_tag=2, multiple=True, requeue=False), arrive(DEAD, 2),
           send("basic.nack", delivery_tag=0, multiple=True, requeue=False), arrive(DEAD, 1)),
    Script("everything of a message is kept",
           *source(),
           publish("", SOURCE, b"x" * 9000, content_type="a/b", content_encoding="c",
                   delivery_mode=1, priority=7, correlation_id="c", reply_to="r",
                   expiration="60000", message_id="m", timestamp=1, type="t", user_id="guest",
                   app_id="a", cluster_id="cl",
                   headers={"i": wire.Typed("I", 1), "l": wire.Typed("l", 1),
                            "s": wire.Typed("s", 1), "b": wire.Typed("b", -1),
                            "B": wire.Typed("B", 200), "f": wire.Typed("f", 0.5),
                            "d": 1.5, "n": None, "t": True, "S": "text",
                            "T": wire.Typed("T", 7), "x": wire.Typed("x", b"\0"),
                            "A": [1, "x", {"y": False}], "F": {"z": {"zz": 1}}}),
           reject(), arrive(DEAD, 1)),
    Script("the order of headers",
           *source(), *say(b"1", headers={"z": 1, "a": 2}), reject(),
           arrive(DEAD, 1, order=True, differs="header-order")),
    Script("a dead-letter routing key takes the place of all keys",
           exchange("life-x", "topic"), declare(DEAD), bind(DEAD, "life-x", "#"),
           declare(SOURCE, {"x-dead-letter-exchange": "life-x", "x-dead-letter-routing-key": "k"}),
           *say(b"1", headers={"CC": ["cc"], "BCC": ["bcc"], "mine": 1}), reject(),
           arrive(DEAD, 1)),
    Script("an empty dead-letter routing key",
           exchange("life-x", "direct"), declare(DEAD), bind(DEAD, "life-x", ""),
           declare(SOURCE, {"x-dead-letter-exchange": "life-x", "x-dead-letter-routing-key": ""}),
           *say(b"1"), reject(), arrive(DEAD, 1)),
    Script("without one all keys count",
           exchange("life-x", "direct"), declare(DEAD), declare("life-cc"), declare("life-bcc"),
           bind(DEAD, "life-x", SOURCE), bind("life-cc", "life-x", "cc"),
           bind("life-bcc", "life-x", "bcc"), declare(SOURCE, {"x-dead-letter-exchange": "life-x"}),
           *say(b"1", headers={"CC": ["cc", "other"], "BCC": ["bcc"]}), reject(),
           arrive(DEAD, 1), arrive("life-cc", 1), arrive("life-bcc", 1)),
    Script("to the default exchange under its own key is a circle",
           declare(SOURCE, {"x-dead-letter-exchange": "", "x-message-ttl": 20}), *say(b"1"),
           depth(SOURCE, 0)),
    Script("an exchange that is not there yet",
           declare(DEAD), declare(SOURCE, {"x-dead-letter-exchange": "life-late"}), *say(b"lost"),
           reject(), exchange("life-late", "fanout"), bind(DEAD, "life-late"), *say(b"found"),
           reject(), arrive(DEAD, 1)),
    Script("an exchange that nobody may publish to",
           call("exchange.declare", exchange="life-i", type="fanout", internal=True,
                auto_delete=True),
           declare(DEAD), bind(DEAD, "life-i"),
           declare(SOURCE, {"x-dead-letter-exchange": "life-i"}), *say(b"1"), reject(),
           arrive(DEAD, 1)),
    Script("an exchange with an alternate one",
           exchange("life-ae", "fanout"),
           exchange("life-x", "direct", **{"alternate-exchange": "life-ae"}), declare(DEAD),
           bind(DEAD, "life-ae"), declare(SOURCE, {"x-dead-letter-exchange": "life-x"}),
           *say(b"1"), reject(), arrive(DEAD, 1), call("exchange.delete", exchange="life-x")),
    Script("a headers exchange reads the headers of the death",
           exchange("life-h", "headers"), declare(DEAD),
           bind(DEAD, "life-h", **{"x-match": "all", "kind": "order"}),
           declare(SOURCE, {"x-dead-letter-exchange": "life-h"}),
           *say(b"1", headers={"kind": "order"}), *say(b"2", headers={"kind": "other"}),
           reject(count=2), arrive(DEAD, 1), depth(DEAD, 0)),
    Script("several queues behind it",
           exchange("life-x", "fanout"), declare(DEAD), declare("life-too"), bind(DEAD, "life-x"),
           bind("life-too", "life-x"), declare(SOURCE, {"x-dead-letter-exchange": "life-x"}),
           *say(b"1", b"2"), reject(count=2), arrive(DEAD, 2), arrive("life-too", 2)),
    Script("what a consumer that waits is told",
           *source(), consume(DEAD, no_ack=True), *say(b"1"), reject(channel=2), take(1)),
    Script("a transaction decides",
           *source(), *say(b"1"), call("tx.select", channel=2), get(channel=2),
           send("basic.reject", delivery_tag=1, requeue=False, channel=2), depth(DEAD, 0),
           call("tx.commit", channel=2), arrive(DEAD, 1)),
    Script("dying again elsewhere",
           declare(DEAD), declare("life-middle", {**TO_DEAD, "x-message-ttl": 20}),
           declare(SOURCE, {"x-dead-letter-exchange": "",
                            "x-dead-letter-routing-key": "life-middle"}),
           *say(b"1", expiration="60000"), reject(), arrive(DEAD, 1)),
    Script("dying a third time",
           declare(DEAD), declare("life-second", {**TO_DEAD, "x-message-ttl": 20}),
           declare("life-first", {"x-dead-letter-exchange": "", "x-message-ttl": 20,
                                  "x-dead-letter-routing-key": "life-second"}),
           declare(SOURCE, {"x-dead-letter-exchange": "",
                            "x-dead-letter-routing-key": "life-first"}),
           *say(b"1"), reject(), arrive(DEAD, 1, differs="x-death-order")),
    Script("two that wait for each other end it",
           declare("life-ping", {"x-dead-letter-exchange": "", "x-message-ttl": 20,
                                 "x-dead-letter-routing-key": "life-pong"}),
           declare("life-pong", {"x-dead-letter-exchange": "", "x-message-ttl": 20,
                                 "x-dead-letter-routing-key": "life-ping"}),
           *say(b"1", queue="life-ping"), depth("life-ping", 0), depth("life-pong", 0),
           depth("life-ping", 0)),
    # As Sneakers and many others retry: rejected into a queue whose messages expire back.
    Script("ping and pong, and how often",
           declare(SOURCE, {"x-dead-letter-exchange": "",
                            "x-dead-letter-routing-key": "life-wait"}),
           declare("life-wait", {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": SOURCE,
                                 "x-message-ttl": 20}),
           *say(b"job", headers={"attempt": "mine"}, delivery_mode=2), *[reject()] * 4,
           arrive(SOURCE, 1)),
    Script("ping and pong over a topic exchange with a copy",
           exchange("life-retry", "topic"), declare(SOURCE, {"x-dead-letter-exchange": "life-retry",
                                                            "x-dead-letter-routing-key": "wait.a"}),
           declare("life-wait", {"x-dead-letter-exchange": "life-retry",
                                 "x-dead-letter-routing-key": "work.a", "x-message-ttl": 20}),
           declare(DEAD), bind(SOURCE, "life-retry", "work.#"), bind("life-wait", "life-retry",
                                                                     "wait.#"),
           bind(DEAD, "life-retry", "wait.#"), publish("life-retry", "work.b", b"job",
                                                        headers={"CC": ["nowhere"]}),
           reject(), reject(), arrive(SOURCE, 1), arrive(DEAD, 2)),
    Script("a rejection makes a circle legal",
           declare(SOURCE, {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": SOURCE}),
           *say(b"1"), *[reject()] * 3, arrive(SOURCE, 1)),
    Script("counts that a client sends",
           *source(),
           *say(b"1", headers={"x-death": [{"count": wire.Typed("l", 5), "reason": "rejected",
                                            "queue": SOURCE, "exchange": "", "routing-keys": [],
                                            "time": wire.Typed("T", 7)}]}),
           reject(), arrive(DEAD, 1, differs="x-death-of-clients")),
    Script("a client's x-death that is none",
           *source(), *say(b"1", headers={"x-death": "text"}), get(no_ack=True)),
    Script("publishing again what has died",
           *source(), *say(b"1"), reject(), arrive(DEAD, 1),
           *say(b"1", headers={"x-first-death-queue": "elsewhere"}), reject(), arrive(DEAD, 1)),
    Script("an exclusive consumer's rejection", *source(), consume(exclusive=True), *say(b"1"),
           take(1), send("basic.reject", delivery_tag=1, requeue=False), arrive(DEAD, 1)),
    Script("requeueing is no death", *source(), *say(b"1"),
           arrive(SOURCE, 1, settle="requeue"), arrive(SOURCE, 1), depth(DEAD, 0)),
]

LENGTH_LIMITS = [
    Script("the head is dropped",
           *source(max_length=2), *say(b"1", b"2", b"3", b"4"), arrive(DEAD, 2),
           arrive(SOURCE, 2)),
    Script("by octets",
           *source(max_length_bytes=10), *say(b"12345", b"6789", b"a", b"bcdefg"), arrive(DEAD, 2),
           arrive(SOURCE, 2)),
    Script("by octets alone too much",
           *source(max_length_bytes=10), *say(b"1", b"x" * 11, b"2"), arrive(DEAD, 2),
           arrive(SOURCE, 1)),
    Script("by either",
           *source(max_length=3, max_length_bytes=10), *say(b"1", b"2", b"3", b"4", b"x" * 9),
           arrive(DEAD, 3), arrive(SOURCE, 2)),
    Script("a length of 0",
           *source(max_length=0), *say(b"1"), arrive(DEAD, 1), consume(no_ack=True), *say(b"2"),
           take(1)),
    Script("no octets at all",
           *source(max_length_bytes=0), *say(b"", b"1"), arrive(DEAD, 2), depth(SOURCE, 0)),
    Script("what is handed out does not count",
           *source(max_length=1), *say(b"1"), get(), *say(b"2"), depth(SOURCE, 1),
           send("basic.ack", delivery_tag=1), *say(b"3"), arrive(DEAD, 1), arrive(SOURCE, 1)),
    Script("what comes back may be too much",
           *source(max_length=1), *say(b"1"), get(), *say(b"2"),
           send("basic.reject", delivery_tag=1, requeue=True), arrive(DEAD, 1), arrive(SOURCE, 1)),
    Script("publishes are refused",
           declare(SOURCE, named({"max_length": 2, "overflow": "reject-publish"})),
           call("confirm.select"), *say(b"1", b"2", b"3", b"4"), verdicts(4), arrive(SOURCE, 2),
           *say(b"5"), verdicts(1), arrive(SOURCE, 1), depth(SOURCE, 0)),
    Script("publishes are refused by octets",
           declare(SOURCE, named({"max_length_bytes": 10, "overflow": "reject-publish"})),
           call("confirm.select"), *say(b"123456", b"7890", b"a", b""), verdicts(4),
           depth(SOURCE, 3)),
    Script("refused without confirms",
           declare(SOURCE, named({"max_length": 1, "overflow": "reject-publish"})),
           *say(b"1", b"2", mandatory=True), arrive(SOURCE, 1), depth(SOURCE, 0)),
    Script("refused and dead-lettered",
           *source(max_length=1, overflow="reject-publish-dlx"), call("confirm.select"),
           *say(b"1", b"2", b"3"), verdicts(3), arrive(DEAD, 2), arrive(SOURCE, 1)),
    Script("refused by one of two",
           exchange("life-x", "fanout"),
           declare(SOURCE, named({"max_length": 1, "overflow": "reject-publish"})),
           declare("life-too"), bind(SOURCE, "life-x"), bind("life-too", "life-x"),
           call("confirm.select"), *[publish("life-x", "", body) for body in (b"1", b"2")],
           verdicts(2), arrive(SOURCE, 1), arrive("life-too", 2)),
    Script("dead letters come to a queue that refuses",
           declare(DEAD, named({"max_length": 1, "overflow": "reject-publish"})),
           declare(SOURCE, TO_DEAD), *say(b"1", b"2"), reject(count=2), arrive(DEAD, 1),
           arrive(DEAD, 1, within_s=1.5, differs="dead-letters-above-the-limit")),
    Script("dead letters come to a queue that drops",
           exchange("life-x", "fanout"), declare(DEAD, named({"max_length": 1})),
           declare("life-all"), bind(DEAD, "life-x"), bind("life-all", "life-x"),
           declare(SOURCE, {"x-dead-letter-exchange": "life-x"}), *say(b"1", b"2"),
           reject(count=2), arrive("life-all", 2), arrive(DEAD, 1), depth(DEAD, 0)),
    Script("a transaction that does not fit",
           declare(SOURCE, named({"max_length": 1, "overflow": "reject-publish"})),
           call("tx.select", channel=2), publish("", SOURCE, b"1", channel=2),
           publish("", SOURCE, b"2", channel=2), call("tx.commit", channel=2), arrive(SOURCE, 1),
           depth(SOURCE, 0)),
    Script("overflow without a limit",
           declare(SOURCE, named({"overflow": "reject-publish"})), call("confirm.select"),
           *say(b"1", b"2"), confirms(2), depth(SOURCE, 2)),
]

QUEUES_THAT_EXPIRE = [
    Script("a queue that nobody uses",
           declare(DEAD), declare(SOURCE, {**TO_DEAD, "x-expires": 100}), *say(b"1"), gone(SOURCE),
           depth(DEAD, 0)),
    Script("a consumer uses it",
           declare(SOURCE, {"x-expires": 300}), consume(),
           declare("life-clock", {"x-message-ttl": 500}), *say(b"1", queue="life-clock"),
           depth("life-clock", 0), call("queue.purge", queue=SOURCE),
           call("basic.cancel", consumer_tag="t"), gone(SOURCE)),
]

SPREADING = [
    Script("consistent hashing",
           exchange("life-ch", "x-consistent-hash"), declare(SOURCE), bind(SOURCE, "life-ch", "1"),
           *[publish("life-ch", key, key, mandatory=True) for key in ("a", "b", "c", "")],
           arrive(SOURCE, 4), bind(SOURCE, "life-ch", "x"), bind(SOURCE, "life-ch", ""),
           bind(SOURCE, "life-ch", "-1"), bind(SOURCE, "life-ch", "0"),
           bind(SOURCE, "life-ch", "1.5")),
    Script("consistent hashing by property or header",
           exchange("life-ch", "x-consistent-hash", **{"hash-property": "unheard_of"}),
           exchange("life-ch", "x-consistent-hash", **{"hash-property": "message_id",
                                                       "hash-header": "h"}),
           exchange("life-ch", "x-consistent-hash", **{"hash-property": "message_id"}),
           declare(SOURCE), bind(SOURCE, "life-ch", "1"),
           publish("life-ch", "k", b"1", message_id="m"), arrive(SOURCE, 1)),
    Script("the others",
           exchange("life-mh", "x-modulus-hash"), exchange("life-r", "x-random"), declare(SOURCE),
           publish("life-mh", "k", b"lost", mandatory=True),
           publish("life-r", "k", b"lost", mandatory=True),
           bind(SOURCE, "life-mh", "a"), bind(SOURCE, "life-r", "b"),
           publish("life-mh", "k", b"1", mandatory=True),
           publish("life-r", "k", b"2", mandatory=True), arrive(SOURCE, 2)),
    Script("dead letters are spread as well",
           exchange("life-ch", "x-consistent-hash"), declare(DEAD), bind(DEAD, "life-ch", "1"),
           declare(SOURCE, {"x-dead-letter-exchange": "life-ch"}), *say(b"1"), reject(),
           arrive(DEAD, 1)),
]

def ask_priorities(*priorities):
    return [publish("", SOURCE, str(number), priority=priority)
            for number, priority in enumerate(priorities)]


PRIORITIES = [
    Script("the more urgent first, and in order among equals",
           *source(max_priority=5), *ask_priorities(0, 5, 3, 5, 1, 0, 3), arrive(SOURCE, 7)),
    Script("none is the least, and too much is the most",
           *source(max_priority=3), *say(b"none"), *ask_priorities(9, 3, 1, 255), arrive(SOURCE, 5)),
    Script("what comes back comes to its level",
           *source(max_priority=2), *ask_priorities(0, 1, 2), get(), get(),
           send("basic.nack", delivery_tag=2, multiple=True, requeue=True), arrive(SOURCE, 3)),
    Script("the least urgent of 1",
           *source(max_priority=1), *ask_priorities(0, 1, 0, 1), arrive(SOURCE, 4)),
    Script("without levels",
           *source(), *ask_priorities(0, 5, 3), arrive(SOURCE, 3)),
    Script("expiry in each level",
           *source(max_priority=2), publish("", SOURCE, b"1", priority=1, expiration="20"),
           publish("", SOURCE, b"2", priority=2),
           arrive(DEAD, 1, within_s=1.5, differs="ttl-anywhere"), arrive(SOURCE, 1)),
    Script("dead letters keep their priority",
           declare(DEAD, {"x-max-priority": 5}), declare(SOURCE, TO_DEAD), *ask_priorities(1, 4),
           reject(count=2), depth(DEAD, 2), arrive(DEAD, 2)),
    Script("a consumer that waits takes what comes",
           *source(max_priority=5), call("basic.qos", prefetch_count=1), consume(),
           *ask_priorities(1, 0, 5), take(1), send("basic.ack", delivery_tag=1), take(1),
           send("basic.ack", delivery_tag=2), take(1)),
    Script("a declaration with another number of levels",
           declare(SOURCE, {"x-max-priority": 5}), declare(SOURCE, {"x-max-priority": 6}),
           declare(SOURCE), declare(SOURCE, {"x-max-priority": wire.Typed("b", 5)})),
]


def quorum(name, **arguments):
    return declare(name, {"x-queue-type": "quorum", **arguments}, exclusive=False, durable=True)


def with_quorum(name, *steps, limit=2, **arguments):
    """SOURCE is a quorum queue with a limit, whose dead go to DEAD."""
    return Script(name, declare(DEAD), quorum(SOURCE, **{"x-delivery-limit": limit, **TO_DEAD,
                                                         **arguments}),
                  *steps, call("queue.delete", queue=SOURCE))


FIRST = "first-delivery-count"

QUORUM_QUEUES = [
    with_quorum("failures are counted", *say(b"1"), get(differs=FIRST),
                send("basic.reject", delivery_tag=1, requeue=True),
                get(differs="acquired-count")),
    with_quorum("after the limit it is dead", *say(b"1"),
                arrive(SOURCE, 3, settle="requeue", differs="acquired-count"),
                arrive(DEAD, 1, differs="acquired-count"), depth(SOURCE, 0)),
    with_quorum("a limit of 0", *say(b"1"), arrive(SOURCE, 1, settle="requeue", differs=FIRST),
                arrive(DEAD, 1, differs="acquired-count"), limit=0),
    with_quorum("rejected is dead at once", *say(b"1"), reject(differs=FIRST), arrive(DEAD, 1)),
    with_quorum("nacked counts as well", *say(b"1"), get(differs=FIRST),
                *[step for tag in (1, 2)
                  for step in (send("basic.nack", delivery_tag=tag, requeue=True),
                               get(differs="acquired-count"))],
                send("basic.nack", delivery_tag=3, requeue=True), get(),
                arrive(DEAD, 1, differs="acquired-count")),
    with_quorum("what was fetched ahead and lost", *say(b"1", b"2"), consume(channel=2),
                take(2, channel=2), call("channel.close", channel=2),
                arrive(SOURCE, 2, differs="prefetch-uncounted")),
    with_quorum("what recover gives back", *say(b"1"), get(differs=FIRST),
                call("basic.recover", requeue=True), get(differs="recover-uncounted")),
    with_quorum("priorities", publish("", SOURCE, b"1", priority=1),
                publish("", SOURCE, b"5", priority=5), *say(b"none"),
                arrive(SOURCE, 3, differs="priorities-of-quorum")),
    with_quorum("one limit for a channel",
                call("basic.qos", prefetch_count=1, global_=True),
                consume(differs="global-qos-on-quorum"),
                call("basic.cancel", consumer_tag="t")),
    with_quorum("deleted only if empty",
                call("queue.delete", queue=SOURCE, if_empty=True, differs="conditions-on-quorum"),
                call("queue.delete", queue=SOURCE, if_unused=True, differs="conditions-on-quorum")),
]

# Values of every kind for every argument: the text of each refusal is compared.
OTHER_TYPES = ["5", 1.5, True, None, {"a": 1}, [1], wire.Typed("T", 5), wire.Typed("D", (1, 15)),
               wire.Typed("x", b"5")]
WIDTHS = [wire.Typed(letter, 5) for letter in "bBsuIil"]
NUMBERS = [*OTHER_TYPES, *WIDTHS, -1, 0, wire.Typed("l", -2**63), TOO_LONG_MS,
           wire.Typed("l", 2**63 - 1)]
TEXTS = ["", "unheard-of", 5, 1.5, True, None, {"a": 1}, ["x"]]
ON_QUORUM = {"x-queue-type": "quorum"}


class Differs:
    """A value for which the brokers differ, and the name of that difference."""

    def __init__(self, value, name):
        self.value, self.name = value, name


def all_differ(values, name):
    return [Differs(value, name) for value in values]


def argument(name, values, beside=None, **options):
    """Declares a queue with each value in turn, and those `beside` it."""
    steps = []
    for value in values:
        differs = value.name if isinstance(value, Differs) else None
        value = value.value if isinstance(value, Differs) else value
        steps += [declare(SOURCE, {**(beside or {}), name: value}, differs=differs, **options),
                  call("queue.delete", queue=SOURCE)]
    return Script(f"argument {name}" + (f" beside {', '.join(beside)}" if beside else ""), *steps)


def quorum_argument(name, values):
    return argument(name, values, ON_QUORUM, exclusive=False, durable=True)


ARGUMENTS = [
    argument("x-expires", NUMBERS), argument("x-message-ttl", NUMBERS),
    argument("x-max-length", NUMBERS), argument("x-max-length-bytes", NUMBERS),
    argument("x-max-priority", [*OTHER_TYPES, *WIDTHS, -1, 0, 255, 256, wire.Typed("l", 2**40)]),
    argument("x-overflow", [*TEXTS, "drop-head", "reject-publish", "reject-publish-dlx"]),
    argument("x-dead-letter-exchange", [*TEXTS, "amq.direct", "with\nbreak"]),
    argument("x-dead-letter-routing-key", TEXTS),
    argument("x-dead-letter-routing-key", TEXTS, {"x-dead-letter-exchange": ""}),
    argument("x-single-active-consumer", ["true", 1, 0, None, 1.5, {"a": 1}, True, False]),
    argument("x-queue-type", [Differs("", "no-type"), Differs("undefined", "no-type"),
                              *TEXTS[1:], "classic", "Classic"]),
    argument("x-queue-mode", [*TEXTS, "lazy", "default"]),
    argument("x-queue-version", [*OTHER_TYPES, -1, 0, Differs(1, "queue-version-1"), 2, 3]),
    argument("x-queue-master-locator", [*TEXTS, "client-local", "min-masters"]),
    # What only the other type has.
    argument("x-dead-letter-strategy",
             all_differ(["", 5, "at-most-once", "at-least-once"], "name-of-the-type")),
    argument("x-quorum-initial-group-size", all_differ(["", 0, 1], "name-of-the-type")),
    argument("x-max-age", all_differ(["", 5, "1D"], "name-of-the-type")),
    argument("x-stream-max-segment-size-bytes", all_differ([-1, 1, "5"], "name-of-the-type")),
    argument("x-delivery-limit", all_differ([-1, 0, 3, "3"], "limit-on-both-types")),
    argument("x-queue-leader-locator",
             all_differ(["", "client-local", "balanced", 5], "locator-on-both-types")),
    # On quorum queues.
    quorum_argument("x-dead-letter-strategy", [*TEXTS, "at-most-once"]),
    quorum_argument("x-delivery-limit", [*all_differ(OTHER_TYPES, "limit-of-any-type"), *WIDTHS, 0,
                                         -1, Differs(-2, "limit-of-any-type")]),
    quorum_argument("x-quorum-initial-group-size", [*OTHER_TYPES, -1, 0, 1]),
    quorum_argument("x-queue-leader-locator", [*TEXTS, "client-local", "balanced"]),
    quorum_argument("x-overflow", ["drop-head", "reject-publish", "reject-publish-dlx",
                                   "unheard-of"]),
    quorum_argument("x-message-ttl", [5, -1, "5"]), quorum_argument("x-expires", [5000, 0, "5"]),
    quorum_argument("x-max-priority", all_differ([5, 0], "name-of-the-type")),
    quorum_argument("x-single-active-consumer", [True, "true"]),
    quorum_argument("x-max-age", all_differ(["1D"], "name-of-the-type")),
    quorum_argument("x-queue-mode", all_differ(["lazy"], "name-of-the-type")),
    quorum_argument("x-queue-version", all_differ([2], "name-of-the-type")),
    Script("properties of quorum queues",
           *[call("queue.declare", queue=SOURCE, arguments=ON_QUORUM, **options)
             for options in ({"durable": False}, {"durable": True, "exclusive": True},
                             {"durable": True, "auto_delete": True})]),
]

SCRIPTS = (TIME_TO_LIVE + DEAD_LETTERS + LENGTH_LIMITS + QUEUES_THAT_EXPIRE + SPREADING
           + PRIORITIES + QUORUM_QUEUES + ARGUMENTS)


@pytest.mark.bourse_only
@pytest.mark.parametrize("script", SCRIPTS, ids=[script.name for script in SCRIPTS])
def test_both_brokers_do_alike(broker, oracle, script):
    differences.compare(script, oracle, broker)


# Queues "life-by-…" are under policies; the same definitions go to both brokers.
def policy(pattern, definition, **options):
    return {"pattern": pattern, "apply-to": "queues", "definition": definition, **options}


POLICIES = {
    "life-ttl": policy("^life-by-ttl$", {"message-ttl": 30, "dead-letter-exchange": "",
                                         "dead-letter-routing-key": DEAD}),
    "life-weaker": policy("^life-by-ttl$", {"message-ttl": 86_400_000}, priority=-1),
    "life-refuse": policy("^life-by-refusal$", {"max-length": 2, "overflow": "reject-publish"}),
    "life-drop": policy("^life-by-drop", {"max-length": 3, "dead-letter-exchange": "life-none",
                                          "dead-letter-routing-key": DEAD}),
    "life-expires": policy("^life-by-expiry$", {"expires": 100}),
    "life-alternate": policy("^life-by-alternate$", {"alternate-exchange": "life-ae"},
                             **{"apply-to": "exchanges"}),
}
OPERATOR_POLICIES = {"life-operator": policy("^life-by-drop-1$", {"max-length": 1})}

UNDER_POLICIES = [
    Script("time to live by policy",
           declare(DEAD), declare("life-by-ttl"), *say(b"1", queue="life-by-ttl"),
           arrive(DEAD, 1)),
    Script("a shorter time by argument",
           declare("life-by-ttl", {"x-message-ttl": 10}), *say(b"1", queue="life-by-ttl"),
           depth("life-by-ttl", 0)),
    Script("a declaration is compared with arguments only",
           declare("life-by-ttl"), declare("life-by-ttl"),
           declare("life-by-ttl", {"x-message-ttl": 30})),
    Script("publishes are refused by policy",
           declare("life-by-refusal"), call("confirm.select"),
           *say(b"1", b"2", b"3", queue="life-by-refusal"), verdicts(3)),
    Script("an argument's dead-letter exchange beside a policy's",
           declare(DEAD), declare("life-by-drop-2", {"x-dead-letter-exchange": ""}),
           *say(b"1", b"2", b"3", b"4", queue="life-by-drop-2"), arrive(DEAD, 1),
           depth("life-by-drop-2", 3)),
    Script("an operator's limit is the smaller one",
           declare("life-by-drop-1"), *say(b"1", b"2", queue="life-by-drop-1"),
           depth("life-by-drop-1", 1), arrive("life-by-drop-1", 1)),
    Script("an argument is the smaller one",
           declare("life-by-drop-2", {"x-max-length": 2}),
           *say(b"1", b"2", b"3", queue="life-by-drop-2"), depth("life-by-drop-2", 2)),
    Script("a queue expires by policy", declare("life-by-expiry"), gone("life-by-expiry")),
    Script("an alternate exchange by policy",
           exchange("life-ae", "fanout"), declare(SOURCE), bind(SOURCE, "life-ae"),
           exchange("life-by-alternate"), publish("life-by-alternate", "k", b"1", mandatory=True),
           arrive(SOURCE, 1), call("exchange.delete", exchange="life-by-alternate")),
]

POLICY_FILE = f"""
    bourse: 1
    users:
      guest: {{auth: password, password-file: guest.pw,
              rights: {{configure: ".*", write: ".*", read: ".*"}}}}
    listeners:
      amqp: {{bind: "127.0.0.1:0"}}
    policies: {json.dumps(POLICIES)}
    operator-policies: {json.dumps(OPERATOR_POLICIES)}
"""


@pytest.fixture(scope="module")
def oracle_with_policies(oracle):
    named_policies = [{"vhost": "/", "name": name, "priority": 0, **one}
                      for name, one in POLICIES.items()]
    operators = [{"vhost": "/", "component": "operator_policy", "name": name,
                  "value": {"priority": 0, **one}} for name, one in OPERATOR_POLICIES.items()]
    oracle.import_definitions({"policies": named_policies, "parameters": operators})
    return oracle


@pytest.mark.bourse_only
def test_policies_do_alike(serve, oracle_with_policies, write_config, tmp_path):
    (tmp_path / "guest.pw").write_text("guest\n")
    (tmp_path / "guest.pw").chmod(0o600)
    broker = serve(POLICY_FILE)
    for script in UNDER_POLICIES:
        differences.compare(script, oracle_with_policies, broker)


# A row of the table that no step stands for says nothing; an unlisted difference fails by itself.
@pytest.mark.bourse_only
def test_every_difference_that_is_listed_is_looked_at():
    scripts = SCRIPTS + UNDER_POLICIES + test_differential.SCRIPTS
    used = {step.differs for script in scripts for step in script.steps if step.differs}
    in_traces = {"late-timestamp"}  # tests/interop/test_firehose.py
    assert used | in_traces == set(differences.listed())

# SPDX-License-Identifier: Apache-2.0
"""Every subcommand of rabbitmqadmin, which comes with rabbitmq-server, against both brokers in the same
state: it ends in the same way, and never with a complaint of Python's."""

import shutil
import subprocess

import pytest

from support import broker as brokers
from support.walk import Side

pytestmark = [pytest.mark.skipif(not brokers.RabbitMQ.installed(),
                                 reason="rabbitmq-server is not installed"),
              pytest.mark.skipif(shutil.which("rabbitmqadmin") is None,
                                 reason="rabbitmqadmin is not installed")]

# In this order; a command that is to end otherwise than with RabbitMQ says so.
COMMANDS = """
list users
list vhosts
list connections
list exchanges
list bindings
list permissions
list channels
list consumers
list queues
list policies
list operator_policies
list nodes
list parameters
list vhost_limits
list queues name messages message_stats.publish_details.rate
-V shop list queues
--sort=messages --sort-reverse list queues name messages
-f long list exchanges
-f raw_json list queues
-f pretty_json list queues
-f tsv list bindings
-f kvp list users
-f bash list queues
show overview
show overview rabbitmq_version message_stats
-V shop declare exchange name=ra type=topic
-V shop declare exchange name=ra type=topic internal=true
-V shop declare exchange name=rb type=fanout auto_delete=true arguments={"alternate-exchange":"dir"}
-V shop declare queue name=rq
-V shop declare queue name=rq durable=false
-V shop declare queue name=rq2 durable=true arguments={"x-max-length":5} queue_type=quorum
-V shop declare queue name=rq3 queue_type=none
-V shop declare binding source=ra destination=rq routing_key=a.b
-V shop declare binding source=ra destination=rq destination_type=queue routing_key=a.b arguments={"x":1}
-V shop declare binding source=ra destination=dlx destination_type=exchange
-V shop declare binding source=ra destination=none
declare vhost name=rv tracing=true
declare user name=ru password=x tags=administrator
declare user name=rh password_hash=kI3GCqW5JLMJa4iX1lo7X4D6XbYqlLgxIs30+P6tENUV2POR tags=monitoring
declare permission vhost=rv user=ru configure=.* write=.* read=.*
declare permission vhost=none user=ru configure=.* write=.* read=.*
-V shop declare parameter component=shovel name=x value={}
-V shop declare policy name=rp pattern=a definition={"max-length":1} apply-to=queues priority=2
-V shop declare policy name=rp2 pattern=a definition={"none":1}
declare operator_policy --vhost=shop name=rop pattern=a definition={"max-length":1} apply-to=queues
declare vhost_limit vhost=shop name=max-queues value=50
declare vhost_limit vhost=shop name=none value=50
-V shop publish exchange=amq.default routing_key=rq payload=hello properties={"delivery_mode":2}
-V shop publish exchange=amq.default routing_key=rq payload=aGk= payload_encoding=base64
-V shop publish exchange=amq.default routing_key=none payload=x
-V shop publish exchange=none routing_key=none payload=x
-V shop get queue=rq count=5
-V shop get queue=rq ackmode=ack_requeue_false count=1 encoding=base64
-V shop get queue=rq ackmode=reject_requeue_false count=1 payload_file=PAYLOAD
-V shop get queue=none
-V shop purge queue name=rq
-V shop purge queue name=none
-V shop delete binding source=ra destination=rq destination_type=queue properties_key=a.b
-V shop delete queue name=rq
-V shop delete queue name=none
-V shop delete exchange name=ra
-V shop delete exchange name=amq.topic
-V shop delete policy name=rp
-V shop delete policy name=none
-V shop delete parameter component=operator_policy name=rop
delete operator_policy --vhost=shop name=rop
delete vhost_limit vhost=shop name=max-queues
delete permission vhost=rv user=ru
delete user name=ru
delete vhost name=rv
delete vhost name=none
close connection name=none
close connection name=CONNECTION
-u mgm -p pw list queues name
-u mgm -p wrong list queues name
-u plain -p pw list queues
-V none list queues
-V shop export EXPORT
-V shop import EXPORT
export EXPORT
import EXPORT
""".strip().splitlines()


@pytest.fixture(name="sides", scope="module")
def fixture_sides():
    with brokers.RabbitMQ(management=True) as rabbit, \
            brokers.Bourse(listen=("amqp", "http")) as bourse:
        sides = [Side(bourse, bourse.addresses["http"][0]), Side(rabbit, rabbit.http)]
        yield sides
        for side in sides:
            side.stop()


def run(side, command, directory):
    host, port = side.address
    names = {"PAYLOAD": str(directory / "payload"), "EXPORT": str(directory / "export.json")}
    if "CONNECTION" in command:
        names["CONNECTION"] = side.found("connections")[0]["name"]
    words = []
    for word in command.split():
        key, _, value = word.partition("=")
        words.append(f"{key}={names[value]}" if value in names else names.get(word, word))
    done = subprocess.run(["rabbitmqadmin", "-H", host, "-P", str(port), *words], capture_output=True,
                          text=True, timeout=60, check=False)
    return done.returncode, done.stdout + done.stderr


def test_every_subcommand_ends_as_with_rabbitmq(sides, tmp_path):
    wrong = []
    places = [tmp_path / "bourse", tmp_path / "rabbitmq"]
    for place in places:
        place.mkdir()
    for command in COMMANDS:
        ours, theirs = [run(side, command, place) for side, place in zip(sides, places)]
        if ours[0] != theirs[0] or "Traceback" in ours[1]:
            wrong.append(f"{command}: {ours}, RabbitMQ {theirs}")
    assert not wrong, "\n".join(wrong)
    assert [place.joinpath("payload").read_bytes() for place in places][0] == \
        places[1].joinpath("payload").read_bytes()

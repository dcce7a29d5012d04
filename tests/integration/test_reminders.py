# SPDX-License-Identifier: Apache-2.0
"""The delayed reminders of the examples: the file is what a broker takes, and the client works."""

import os
import subprocess
import sys
import time

import pytest

from support import broker as brokers

pytestmark = pytest.mark.bourse_only

EXAMPLES = os.path.join(brokers.REPOSITORY, "examples")

CLIENT = """
import sys
sys.path.insert(0, {examples!r})
import remind
remind.main({words!r}, {port})
"""


def run_client(broker, *words):
    """examples/remind.py WORDS against this broker; what it prints."""
    program = CLIENT.format(examples=EXAMPLES, words=list(words), port=broker.amqp[1])
    return subprocess.run([sys.executable, "-c", program], check=True, capture_output=True,
                          text=True, timeout=30).stdout


@pytest.fixture
def broker(tmp_path):
    pytest.importorskip("pika")
    with open(os.path.join(EXAMPLES, "reminders.yaml")) as file:
        text = file.read().replace("127.0.0.1:5672", "127.0.0.1:0")
    config = tmp_path / "reminders.yaml"
    config.write_text(text)
    running = brokers.Bourse(str(config), data_dir=tmp_path / "data")
    yield running
    running.stop()


def test_reminders_come_when_they_are_due(broker):
    began = time.monotonic()
    assert run_client(broker, "1s", "later").strip()
    run_client(broker, "1970-01-01T09:00", "overdue")
    run_client(broker, "7d", "next week")
    assert run_client(broker, "--wait", "2") == "overdue\nlater\n"
    assert time.monotonic() - began >= 1

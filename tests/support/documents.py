# SPDX-License-Identifier: Apache-2.0
"""Examples of the documents, so that a test can run what a reader is told."""

import pathlib
import re

from . import broker

# What an example leaves out: somebody who may do everything, and where to connect to.
STAGE = """
users:
  reader: {auth: password, password-file: reader.pw,
           rights: {configure: ".*", write: ".*", read: ".*"}}
listeners:
  amqp: {bind: "127.0.0.1:0"}
"""


def examples(name, language="yaml"):
    """The code blocks of docs/NAME in that language, in their order."""
    text = pathlib.Path(broker.REPOSITORY, "docs", name).read_text()
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def events():
    """The names of all events that docs/logs.md has."""
    text = pathlib.Path(broker.REPOSITORY, "docs", "logs.md").read_text()
    cells = re.findall(r"^\| (`[^|]+) \| [a-z, ]+ \|", text, re.MULTILINE)
    return {name for cell in cells for name in re.findall(r"`([a-z_]+\.[a-z_]+)`", cell)}


def serve_example(serve, canaries, name, number=0):
    """A channel to a broker that runs the example of docs/NAME."""
    running = serve(examples(name)[number] + STAGE, passwords=("reader",))
    return running.open(user="reader", password=canaries["reader"]).channel()

# SPDX-License-Identifier: Apache-2.0
"""Asks a broker what is there: one question per channel, so that a 404 spoils no other."""

from crash.clients import PASSWORD, USER
from crash.link import Actor, Link


class Inspector(Actor):
    """Sends `questions`, (method name, arguments) each, all at once. When `answers` holds one for
    each of them it closes its connection; `done` tells. An answer is the method that came."""

    def __init__(self, campaign, questions):
        self.campaign, self.questions = campaign, list(questions)
        self.answers, self.link = {}, None

    def begin(self, address):
        self.answers = {}
        self.link = Link(address, self.campaign.selector, self, USER, PASSWORD)

    @property
    def done(self):
        return len(self.answers) == len(self.questions)

    def on_open(self, link):
        for channel, (name, arguments) in enumerate(self.questions, 1):
            link.send(channel, "channel.open")
            link.send(channel, name, **arguments)
        link.flush()

    def on_method(self, link, channel, method):
        if method.name == "channel.open-ok":
            return
        self.answers[channel - 1] = method
        if method.name == "channel.close":
            link.send(channel, "channel.close-ok")
        if self.done:
            link.send(0, "connection.close", reply_code=200)

    def results(self):
        """(question's arguments, answer), in the order of the questions."""
        return [(arguments, self.answers[at]) for at, (_, arguments) in enumerate(self.questions)]

    def turn(self):
        """Nothing to do but to wait."""


def count_questions(queues):
    return [("queue.declare", {"queue": queue, "passive": True}) for queue in queues]
